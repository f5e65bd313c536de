//! Topic, avatar, who may join and write, and pinned messages.

use causeway_protocol::{Code, RequestId, RoomId, SiteId, UserId, limits, wire, wire::request::Kind};

use super::cluster::{A, B, Cluster, Wish, user};
use crate::read::{self, RoomFace};

fn does(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Wish {
    let wish = sites.wish(user, Some(room), kind);
    sites.submit(at, &wish);
    wish
}

fn topic(text: &str) -> Kind {
    Kind::SetProfile(wire::SetProfile { topic: Some(text.into()), ..Default::default() })
}

fn rules(open: Option<bool>, writers: Option<u32>) -> Kind {
    Kind::SetProfile(wire::SetProfile { open, writers, ..Default::default() })
}

fn pin(target: &Wish) -> Kind {
    Kind::Pin(wire::Pin { target: Some(target.id.to_wire()) })
}

fn unpin(target: &Wish) -> Kind {
    Kind::Unpin(wire::Unpin { target: Some(target.id.to_wire()) })
}

fn face(sites: &mut Cluster, at: SiteId, room: RoomId) -> RoomFace {
    let site = sites.site(at);
    read::room_face(&site.rows, site.shard.durable(), &room).unwrap()
}

fn pins(sites: &mut Cluster, at: SiteId, room: RoomId) -> Vec<RequestId> {
    let site = sites.site(at);
    read::pins(&site.rows, site.shard.durable(), &room).unwrap()
}

/// What became of a request at a site.
fn outcome(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Option<Code> {
    let wish = does(sites, at, user, room, kind);
    sites.settle();
    let refused = sites.site(at).refused(&wish);
    assert_eq!(refused.is_none(), sites.site(at).acked(&wish).is_some());
    refused
}

#[test]
fn fields_change_each_by_itself_and_the_higher_id_holds() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.join(A, &bob, room);
    sites.settle();
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, topic("first"));
    does(&mut sites, B, &bob, room, topic("second"));
    let avatar = wire::SetProfile { avatar: Some("img:1".into()), ..Default::default() };
    does(&mut sites, A, &bob, room, Kind::SetProfile(avatar));
    sites.settle();
    assert_eq!(face(&mut sites, A, room).profile.topic, "first");
    sites.heal(A, B);
    sites.settle();
    for at in [A, B] {
        let profile = face(&mut sites, at, room).profile;
        assert_eq!((profile.topic.as_str(), profile.avatar.as_str()), ("second", "img:1"));
        assert!(profile.topic_by.is_some() && profile.open_by.is_none());
    }
    sites.assert_converged();
}

#[test]
fn admins_say_who_may_join_and_write() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
    let room = sites.create(A, &ann, true);
    sites.settle();
    let message = || Kind::Message(wire::Message::default());
    assert_eq!(outcome(&mut sites, A, &bob, room, Kind::Join(wire::Join {})), None);
    assert_eq!(outcome(&mut sites, A, &bob, room, rules(Some(false), None)), Some(Code::NotPermitted));
    assert_eq!(outcome(&mut sites, A, &bob, room, rules(None, Some(2))), Some(Code::NotPermitted));
    assert_eq!(outcome(&mut sites, A, &bob, room, message()), None);
    assert_eq!(outcome(&mut sites, A, &ann, room, rules(Some(false), Some(3))), None);
    // Closed: who was not asked sees nothing of it. Who is a member stays one, and may no longer write.
    assert_eq!(outcome(&mut sites, A, &eve, room, Kind::Join(wire::Join {})), Some(Code::UnknownRoom));
    assert!(!face(&mut sites, A, room).open);
    assert_eq!(outcome(&mut sites, A, &bob, room, message()), Some(Code::NotPermitted));
    assert_eq!(outcome(&mut sites, A, &ann, room, message()), None);
    assert_eq!(outcome(&mut sites, A, &ann, room, rules(Some(true), Some(2))), None);
    assert_eq!(outcome(&mut sites, A, &eve, room, Kind::Join(wire::Join {})), None);
    assert_eq!(outcome(&mut sites, A, &bob, room, message()), None);
    for bad in [
        Kind::SetProfile(wire::SetProfile::default()),
        rules(None, Some(1)),
        rules(None, Some(6)),
        topic("two\nlines"),
        topic(&"x".repeat(limits::TOPIC_BYTES_MAX + 1)),
    ] {
        assert_eq!(outcome(&mut sites, A, &ann, room, bad.clone()), Some(Code::Malformed), "{bad:?}");
    }
}

#[test]
fn a_pin_stands_against_an_unpinning_that_did_not_see_it() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.join(A, &bob, room);
    let said = sites.say(A, &ann, room);
    sites.settle();
    assert_eq!(outcome(&mut sites, B, &bob, room, pin(&said)), Some(Code::NotPermitted));
    assert_eq!(outcome(&mut sites, B, &ann, room, pin(&said)), None);
    sites.settle();
    assert_eq!(pins(&mut sites, A, room), [said.id]);
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, unpin(&said));
    does(&mut sites, B, &ann, room, pin(&said));
    sites.settle();
    assert_eq!((pins(&mut sites, A, room), pins(&mut sites, B, room)), (vec![], vec![said.id]));
    sites.heal(A, B);
    sites.settle();
    assert_eq!((pins(&mut sites, A, room), pins(&mut sites, B, room)), (vec![said.id], vec![said.id]));
    assert_eq!(outcome(&mut sites, B, &ann, room, unpin(&said)), None);
    sites.settle();
    assert_eq!(pins(&mut sites, A, room), []);
    sites.assert_converged();
}

#[test]
fn a_room_has_so_many_pins_and_no_more() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let said: Vec<Wish> = (0..=limits::PINS_PER_ROOM_MAX).map(|_| sites.say(A, &ann, room)).collect();
    sites.settle();
    let (last, fitting) = said.split_last().unwrap();
    for target in fitting {
        assert_eq!(outcome(&mut sites, A, &ann, room, pin(target)), None);
    }
    assert_eq!(outcome(&mut sites, A, &ann, room, pin(last)), Some(Code::NotPermitted));
    assert_eq!(outcome(&mut sites, A, &ann, room, pin(&fitting[0])), Some(Code::NotPermitted));
    assert_eq!(outcome(&mut sites, A, &ann, room, unpin(&fitting[0])), None);
    assert_eq!(outcome(&mut sites, A, &ann, room, pin(last)), None);
}
