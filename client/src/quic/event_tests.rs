//! What the application sees of each kind of request.

use causeway_protocol::wire::request::Kind;
use causeway_protocol::{
    Bytes, DeviceId, Dot, Message as _, Origin, RequestId, Role, RoomId, SiteId, Stamp, Vector, wire,
};

use super::event::{of_delivery, of_history};
use super::*;
use crate::machine::{Covers, Delivery, Item, Position};

const ROOM: RoomId = RoomId([1; 16]);

fn id() -> RequestId {
    RequestId { stamp: Stamp(7), device: DeviceId(8) }
}

fn dot(seq: u64) -> Dot {
    Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 1 }, seq }
}

fn request(kind: Kind) -> wire::Request {
    wire::Request { id: Some(id().to_wire()), room: ROOM.to_wire(), body_hash: Bytes::new(), kind: Some(kind) }
}

fn live(kind: Kind, past: Option<Vector>) -> Change {
    let item = Item::Request { id: id(), user: "ann".into(), request: request(kind), body: None, deadline_ms: 0, past };
    let position = Position { room: ROOM, covers: Covers::Dot(dot(9), id()) };
    match of_delivery(Delivery { position, item }) {
        Event::Change(change) => change,
        other => panic!("{other:?}"),
    }
}

fn kind_of(kind: Kind) -> ChangeKind {
    live(kind, None).kind
}

#[test]
fn rights_that_are_given_and_taken_are_changes() {
    let (user, reason) = ("eve".to_owned(), "noise".to_owned());
    let set = |role| kind_of(Kind::SetRole(wire::SetRole { user: "eve".into(), role }));
    assert_eq!(set(3), ChangeKind::RoleSet { user: user.clone(), role: Some(Role::Moderator) });
    assert_eq!(set(9), ChangeKind::RoleSet { user: user.clone(), role: None }, "a newer version's");
    let kick = Kind::Kick(wire::Kick { user: user.clone(), reason: reason.clone() });
    assert_eq!(kind_of(kick), ChangeKind::Kicked { user: user.clone(), reason: reason.clone() });
    let ban = Kind::Ban(wire::Ban { user: user.clone(), reason: reason.clone(), until_ms: 300 });
    assert_eq!(kind_of(ban), ChangeKind::Banned { user: user.clone(), reason, until_ms: 300 });
    assert_eq!(kind_of(Kind::LiftBan(wire::LiftBan { user: user.clone() })), ChangeKind::BanLifted(user));
}

#[test]
fn a_channel_is_one_in_its_creation_and_when_it_opens() {
    for channel in [false, true] {
        let create = Kind::Create(wire::Create { name: "news".into(), open: !channel, channel, ..Default::default() });
        assert_eq!(kind_of(create), ChangeKind::Created { name: "news".into(), open: !channel, channel, direct: None });
        let item = Item::Opened { name: "news".into(), open: !channel, channel, direct: None };
        let opened = of_delivery(Delivery { position: Position { room: ROOM, covers: Covers::Nothing }, item });
        assert_eq!(
            opened,
            Event::RoomOpened { room: ROOM, name: "news".into(), open: !channel, channel, direct: None }
        );
    }
}

#[test]
fn a_live_revocation_has_its_past_and_one_from_history_has_none() {
    let past = Vector::from_iter([dot(4)]);
    let kick = || Kind::Kick(wire::Kick { user: "eve".into(), reason: String::new() });
    let change = live(kick(), Some(past.clone()));
    assert_eq!((change.past.as_ref(), change.dot()), (Some(&past), Some(dot(9))));
    let event = wire::Event {
        room: ROOM.to_wire(),
        dot: Some(dot(9).to_wire()),
        user: "ann".into(),
        request: request(kick()).encode_to_vec().into(),
        body: None,
        past: Some(past.to_wire()),
        deadline_ms: 0,
    };
    let Some(Event::Change(change)) = of_history(event) else { panic!("a change") };
    assert_eq!((change.past.as_ref(), change.dot()), (None, None), "history comes in any order");
}
