//! Who asks to be let in, and what answers it.

use causeway_protocol::{Code, RoomId, SiteId, UserId, limits, wire, wire::request::Kind};

use super::cluster::{A, B, Cluster, Wish, user};
use crate::read;

fn does(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Wish {
    let wish = sites.wish(user, Some(room), kind);
    sites.submit(at, &wish);
    wish
}

fn invite(user: &UserId) -> Kind {
    Kind::Invite(wire::Invite { user: user.to_string() })
}

fn decline(user: &UserId) -> Kind {
    Kind::Decline(wire::Decline { user: user.to_string() })
}

fn knock() -> Kind {
    Kind::Knock(wire::Knock {})
}

fn lets_ask(knock: bool) -> Kind {
    Kind::SetProfile(wire::SetProfile { knock: Some(knock), ..Default::default() })
}

fn asking(sites: &mut Cluster, at: SiteId, room: RoomId) -> Vec<String> {
    let site = sites.site(at);
    let durable = site.shard.durable().clone();
    read::knocks(&site.rows, &durable, &room).unwrap()
}

fn refused(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Option<Code> {
    let wish = does(sites, at, user, room, kind);
    sites.settle();
    sites.site(at).refused(&wish)
}

/// A closed room of ann's with bob, a member, that lets people ask.
fn room(sites: &mut Cluster) -> RoomId {
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, false);
    sites.settle();
    does(sites, A, &ann, room, invite(&bob));
    sites.settle();
    sites.join(A, &bob, room);
    sites.settle();
    does(sites, A, &ann, room, lets_ask(true));
    sites.settle();
    room
}

#[test]
fn who_asks_is_let_in_by_an_invitation_and_by_nothing_else() {
    let mut sites = Cluster::new(&[A, B]);
    let (bob, cat) = (user("bob"), user("cat"));
    let room = room(&mut sites);
    assert_eq!(refused(&mut sites, B, &cat, room, Kind::Join(wire::Join {})), Some(Code::NotPermitted));
    assert_eq!(refused(&mut sites, B, &cat, room, knock()), None);
    assert_eq!([asking(&mut sites, A, room), asking(&mut sites, B, room)], [["cat"], ["cat"]]);
    assert_eq!(refused(&mut sites, B, &cat, room, knock()), Some(Code::NotPermitted), "asked already");
    assert_eq!(refused(&mut sites, B, &cat, room, Kind::Join(wire::Join {})), Some(Code::NotPermitted));
    assert_eq!(refused(&mut sites, A, &bob, room, decline(&cat)), Some(Code::NotPermitted), "a moderator's");
    assert_eq!(refused(&mut sites, A, &bob, room, knock()), Some(Code::NotPermitted), "a member");
    assert_eq!(refused(&mut sites, A, &bob, room, invite(&cat)), None);
    assert_eq!(asking(&mut sites, B, room), [""; 0]);
    assert_eq!(refused(&mut sites, B, &cat, room, Kind::Join(wire::Join {})), None);
    assert!(sites.site(A).is_member(room, &cat));
    sites.assert_converged();
}

#[test]
fn a_no_can_be_asked_again_and_asking_can_be_taken_back() {
    let mut sites = Cluster::new(&[A]);
    let (ann, cat) = (user("ann"), user("cat"));
    let room = room(&mut sites);
    assert_eq!(refused(&mut sites, A, &ann, room, decline(&cat)), Some(Code::NotPermitted), "nobody asks");
    for answer in [(&ann, decline(&cat)), (&cat, Kind::Leave(wire::Leave {}))] {
        assert_eq!(refused(&mut sites, A, &cat, room, knock()), None);
        assert_eq!(asking(&mut sites, A, room), ["cat"]);
        assert_eq!(refused(&mut sites, A, answer.0, room, answer.1), None);
        assert_eq!(asking(&mut sites, A, room), [""; 0]);
    }
    does(&mut sites, A, &ann, room, lets_ask(false));
    sites.settle();
    assert_eq!(refused(&mut sites, A, &cat, room, knock()), Some(Code::UnknownRoom), "it is not seen any more");
}

#[test]
fn an_answer_takes_what_it_saw_and_a_ban_what_it_did_not() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, cat, eve) = (user("ann"), user("cat"), user("eve"));
    let room = room(&mut sites);
    assert_eq!(refused(&mut sites, A, &cat, room, knock()), None);
    sites.cut(A, B);
    // Taken back and asked again where the answer is not known.
    assert_eq!(refused(&mut sites, B, &cat, room, Kind::Leave(wire::Leave {})), None);
    assert_eq!(refused(&mut sites, B, &cat, room, knock()), None);
    assert_eq!(refused(&mut sites, A, &ann, room, decline(&cat)), None);
    assert_eq!(refused(&mut sites, B, &eve, room, knock()), None);
    let ban = Kind::Ban(wire::Ban { user: "eve".into(), ..Default::default() });
    assert_eq!(refused(&mut sites, A, &ann, room, ban), None);
    sites.heal(A, B);
    sites.settle();
    for at in [A, B] {
        assert_eq!(asking(&mut sites, at, room), ["cat"], "{at:?}");
    }
    assert_eq!(refused(&mut sites, A, &eve, room, knock()), Some(Code::NotPermitted), "banned");
    sites.assert_converged();
}

#[test]
fn so_many_ask_at_a_time() {
    let mut sites = Cluster::new(&[A]);
    let room = room(&mut sites);
    for n in 0..=limits::KNOCKS_PER_ROOM_MAX {
        let is_refused = refused(&mut sites, A, &user(&format!("user{n:03}")), room, knock()).is_some();
        assert_eq!(is_refused, n == limits::KNOCKS_PER_ROOM_MAX, "{n}");
    }
    assert_eq!(asking(&mut sites, A, room).len(), 50, "so many are told");
    assert_eq!(refused(&mut sites, A, &user("user000"), room, Kind::Leave(wire::Leave {})), None);
    assert_eq!(refused(&mut sites, A, &user("zoe"), room, knock()), None);
}
