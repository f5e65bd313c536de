//! Direct rooms: of two users, whoever makes them, wherever.

use causeway_protocol::{Code, RoomId, SiteId, UserId, wire, wire::request::Kind};

use super::cluster::{A, B, C, Cluster, Site, Wish, user};
use crate::read;

fn open(sites: &mut Cluster, at: SiteId, by: &UserId, with: &UserId) -> Wish {
    let create = wire::Create { direct: with.as_str().into(), ..Default::default() };
    let wish = sites.wish(by, Some(RoomId::direct(by, with)), Kind::Create(create));
    sites.submit(at, &wish);
    wish
}

fn members(site: &Site, room: RoomId, of: [&UserId; 2]) -> [bool; 2] {
    of.map(|user| site.is_member(room, user))
}

#[test]
fn both_make_it_at_once_and_it_is_one_room() {
    let mut sites = Cluster::new(&[A, B, C]);
    let (ann, bob) = (user("ann"), user("bob"));
    sites.cut(A, B);
    let (one, other) = (open(&mut sites, A, &ann, &bob), open(&mut sites, B, &bob, &ann));
    assert_eq!(one.room, other.room);
    sites.settle();
    // Each writes at once, where the other one's request is not known.
    let (hello, hi) = (sites.say(A, &ann, one.room), sites.say(B, &bob, one.room));
    sites.heal(A, B);
    sites.settle();
    for (at, wish) in [(A, &one), (B, &other), (A, &hello), (B, &hi)] {
        assert!(sites.site(at).acked(wish).is_some(), "{:?}", sites.site(at).refused(wish));
    }
    for at in [A, B, C] {
        assert_eq!(members(sites.site(at), one.room, [&ann, &bob]), [true, true]);
        let site = sites.site(at);
        let face = read::room_face(&site.rows, site.shard.durable(), &one.room).unwrap();
        assert_eq!((face.direct_with(&ann), face.direct_with(&bob)), (Some(&bob), Some(&ann)));
        assert!(!face.open && !face.channel && face.name.is_empty());
    }
    sites.assert_converged();
}

#[test]
fn nobody_else_is_in_it_and_nobody_rules_it() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
    let room = open(&mut sites, A, &ann, &bob).room;
    sites.settle();
    let name = || bob.as_str().to_owned();
    let refused = [
        (&eve, Kind::Join(wire::Join {}), Code::UnknownRoom),
        (&eve, Kind::Message(wire::Message::default()), Code::UnknownRoom),
        (&eve, Kind::Create(wire::Create { direct: name(), ..Default::default() }), Code::RoomMismatch),
        (&ann, Kind::Create(wire::Create { direct: "ann".into(), ..Default::default() }), Code::Malformed),
        (&ann, Kind::Create(wire::Create { direct: name(), open: true, ..Default::default() }), Code::Malformed),
        (&ann, Kind::Invite(wire::Invite { user: "eve".into() }), Code::NotPermitted),
        (&ann, Kind::SetName(wire::SetName { name: "ours".into() }), Code::NotPermitted),
        (&ann, Kind::SetRole(wire::SetRole { user: name(), role: 1 }), Code::NotPermitted),
        (&ann, Kind::SetRole(wire::SetRole { user: "ann".into(), role: 1 }), Code::NotPermitted),
        (&ann, Kind::Kick(wire::Kick { user: name(), reason: String::new() }), Code::NotPermitted),
        (&ann, Kind::Ban(wire::Ban { user: name(), reason: String::new(), until_ms: 0 }), Code::NotPermitted),
    ];
    for (by, kind, code) in refused {
        let wish = sites.wish(by, Some(room), kind.clone());
        sites.submit(A, &wish);
        sites.settle();
        assert_eq!(sites.site(A).refused(&wish), Some(code), "{by:?}: {kind:?}");
    }
}

#[test]
fn who_left_comes_back_when_it_is_made_again() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = open(&mut sites, A, &ann, &bob).room;
    sites.settle();
    sites.leave(A, &bob, room);
    sites.settle();
    assert_eq!(members(sites.site(B), room, [&ann, &bob]), [true, false]);
    let again = open(&mut sites, B, &ann, &bob);
    sites.settle();
    assert!(sites.site(B).acked(&again).is_some());
    assert_eq!(members(sites.site(A), room, [&ann, &bob]), [true, true]);
    sites.assert_converged();
    // But not without end: a removal lists what made somebody a member.
    let mut code = None;
    for _ in 0..40 {
        let wish = open(&mut sites, A, &ann, &bob);
        sites.settle();
        code = sites.site(A).refused(&wish);
    }
    assert_eq!(code, Some(Code::NotPermitted));
}

#[test]
fn it_opens_as_what_it_is_though_the_second_making_is_not_durable() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = open(&mut sites, A, &ann, &bob).room;
    sites.settle();
    open(&mut sites, A, &bob, &ann);
    let site = sites.site(A);
    let face = read::room_face(&site.rows, site.shard.durable(), &room).unwrap();
    assert_eq!(face.direct_with(&ann), Some(&bob));
}
