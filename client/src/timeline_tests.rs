//! What is shown depends on which events came, not on their order or number.

use causeway_protocol::wire::request::Kind;
use causeway_protocol::{DeviceId, Origin, RoomId, SiteId, Stamp, wire};
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::machine::{Covers, Delivery, Item, Position};
use crate::quic::{of_delivery, of_history};

fn id(n: u64) -> RequestId {
    RequestId { stamp: Stamp(n), device: DeviceId(7) }
}

fn event(n: u64, user: &str, kind: Kind, text: Option<&str>) -> Event {
    let body = text.map(|text| wire::Body {
        salt: Bytes::from_static(&[0; 16]),
        content_type: "text/plain".into(),
        content: Bytes::copy_from_slice(text.as_bytes()),
    });
    let request = wire::Request {
        id: Some(id(n).to_wire()),
        room: Bytes::from_static(&[1; 16]),
        body_hash: Bytes::new(),
        kind: Some(kind),
    };
    let request = request.encode_to_vec().into();
    let body = body.map(|body| body.encode_to_vec().into());
    let room = Bytes::from_static(&[1; 16]);
    of_history(wire::Event { room, dot: None, user: user.into(), request, body, past: None }).expect("an event")
}

fn message(n: u64, user: &str, text: &str) -> Event {
    event(n, user, Kind::Message(wire::Message { reply_to: None }), Some(text))
}

fn edit(n: u64, user: &str, target: u64, text: Option<&str>) -> Event {
    event(n, user, Kind::Edit(wire::Edit { target: Some(id(target).to_wire()) }), text)
}

fn redact(n: u64, user: &str, target: u64) -> Event {
    event(n, user, Kind::Redact(wire::Redact { target: Some(id(target).to_wire()) }), None)
}

fn react(n: u64, user: &str, target: u64, symbol: &str) -> Event {
    let (target, symbol) = (Some(id(target).to_wire()), symbol.into());
    event(n, user, Kind::React(wire::React { target, symbol }), None)
}

fn unreact(n: u64, user: &str, target: u64, symbol: &str) -> Event {
    let (target, symbol) = (Some(id(target).to_wire()), symbol.into());
    event(n, user, Kind::Unreact(wire::Unreact { target, symbol }), None)
}

fn of(events: &[Event]) -> Timeline {
    let mut timeline = Timeline::new(100);
    events.iter().for_each(|event| _ = timeline.see(event));
    timeline
}

fn shown(timeline: &Timeline, n: u64) -> Option<(String, bool)> {
    match timeline.get(id(n))?.content() {
        Content::Text { content, edited, .. } => Some((String::from_utf8_lossy(content).into_owned(), edited)),
        Content::Gone => Some(("(gone)".into(), false)),
        Content::Unknown => Some(("(unknown)".into(), false)),
    }
}

fn text(timeline: &Timeline, n: u64) -> String {
    shown(timeline, n).expect("an entry").0
}

#[test]
fn the_authors_last_edit_is_shown_and_nobody_elses() {
    let mut timeline = of(&[message(1, "ann", "helo")]);
    assert_eq!(shown(&timeline, 1), Some(("helo".into(), false)));
    timeline.see(&edit(5, "ann", 1, Some("hello")));
    timeline.see(&edit(3, "ann", 1, Some("hallo")));
    timeline.see(&edit(9, "eve", 1, Some("I was wrong")));
    assert_eq!(shown(&timeline, 1), Some(("hello".into(), true)));
}

#[test]
fn a_redaction_by_the_author_wins_over_every_edit() {
    let mut timeline = of(&[message(1, "ann", "secret"), edit(2, "ann", 1, Some("secrets"))]);
    timeline.see(&redact(3, "eve", 1));
    assert_eq!(text(&timeline, 1), "secrets", "eve is not the author");
    timeline.see(&redact(4, "ann", 1));
    timeline.see(&edit(9, "ann", 1, Some("back again")));
    assert_eq!(text(&timeline, 1), "(gone)");
}

#[test]
fn what_is_not_here_has_a_place_that_fills_in() {
    let reply = event(5, "bob", Kind::Message(wire::Message { reply_to: Some(id(1).to_wire()) }), Some("yes"));
    let mut timeline = of(&[reply, edit(6, "ann", 2, Some("edited"))]);
    assert_eq!((text(&timeline, 1), text(&timeline, 2)), ("(unknown)".into(), "(unknown)".into()));
    timeline.see(&message(1, "ann", "shall we?"));
    timeline.see(&message(2, "ann", "now?"));
    assert_eq!((text(&timeline, 1), text(&timeline, 2)), ("shall we?".into(), "edited".into()));
}

#[test]
fn reactions_are_counted_once_a_user() {
    let mut timeline = of(&[message(1, "ann", "cake")]);
    let events =
        [react(2, "bob", 1, "+1"), react(3, "bob", 1, "+1"), react(4, "cat", 1, "+1"), react(5, "bob", 1, "♥")];
    events.iter().for_each(|event| _ = timeline.see(event));
    let entry = timeline.get(id(1)).expect("an entry");
    assert_eq!(entry.reactions(), BTreeMap::from([("+1", vec!["bob", "cat"]), ("♥", vec!["bob"])]));
    timeline.see(&unreact(6, "bob", 1, "+1"));
    timeline.see(&react(2, "bob", 1, "+1"));
    let entry = timeline.get(id(1)).expect("an entry");
    assert_eq!(entry.reactions(), BTreeMap::from([("+1", vec!["cat"]), ("♥", vec!["bob"])]));
}

#[test]
fn the_oldest_go_first() {
    let mut timeline = Timeline::new(2);
    [message(3, "ann", "c"), message(2, "ann", "b"), message(1, "ann", "a")].iter().for_each(|e| _ = timeline.see(e));
    assert_eq!(timeline.iter().map(|(place, _)| place).collect::<Vec<_>>(), [id(2), id(3)]);
}

/// Events of three messages. Each has an id of its own, and now and then one comes with its body and without.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = (1u64..4, prop::sample::select(vec!["ann", "bob"]), 0..6);
    prop::collection::vec(one, 1..20).prop_map(|all| {
        let event = |(n, (target, user, what)): (u64, (u64, &str, i32))| match what {
            0 => vec![message(target, "ann", "original")],
            1 => vec![edit(n, user, target, Some(&format!("edit {n}")))],
            2 => vec![edit(n, user, target, Some("gone")), edit(n, user, target, None)],
            3 => vec![redact(n, user, target)],
            4 => vec![react(n, user, target, "+1")],
            _ => vec![unreact(n, user, target, "+1")],
        };
        (4..).zip(all).flat_map(event).collect()
    })
}

/// Come live, from the first site.
fn live(seq: u64, event: &Event, past: Option<Vector>) -> Event {
    let (wire, user) = match event {
        Event::Message(m) => (Kind::Message(wire::Message { reply_to: None }), &m.user),
        Event::Change(c) => match &c.kind {
            ChangeKind::Banned { user, .. } => {
                (Kind::Ban(wire::Ban { user: user.clone(), reason: String::new(), until_ms: 0 }), &c.user)
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let dot = dot(seq);
    let request = wire::Request { id: Some(id(seq).to_wire()), kind: Some(wire), ..Default::default() };
    let room = RoomId([1; 16]);
    of_delivery(Delivery {
        position: Position { room, covers: Covers::Dot(dot, id(seq)) },
        item: Item::Request { id: id(seq), user: user.clone(), request, body: None, past },
    })
}

fn dot(seq: u64) -> Dot {
    Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 1 }, seq }
}

#[test]
fn a_ban_takes_away_what_its_site_did_not_know_and_only_the_targets() {
    let said = |n, user: &str| live(n, &message(n, user, "text"), None);
    let ban = event(5, "ann", Kind::Ban(wire::Ban { user: "eve".into(), ..Default::default() }), None);
    let banned = live(5, &ban, Some(Vector::from_iter([dot(2)])));
    let mut timeline = of(&[said(1, "eve"), said(2, "eve"), said(3, "eve"), said(4, "bob"), banned]);
    let here = |timeline: &Timeline| timeline.iter().map(|(place, _)| place).collect::<Vec<_>>();
    assert_eq!(here(&timeline), [id(1), id(2), id(4)]);
    // The site has judged what comes after it.
    timeline.see(&said(6, "eve"));
    assert_eq!(here(&timeline), [id(1), id(2), id(4), id(6)]);
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_look_the_same(
        events in events(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let straight = of(&events);
        let mut shuffled = Timeline::new(100);
        order.iter().for_each(|at| _ = shuffled.see(&events[at.index(events.len())]));
        events.iter().rev().for_each(|event| _ = shuffled.see(event));
        for n in 1..4 {
            prop_assert_eq!(shown(&straight, n), shown(&shuffled, n));
            let reactions = |t: &Timeline| t.get(id(n)).map(|e| format!("{:?}", e.reactions()));
            prop_assert_eq!(reactions(&straight), reactions(&shuffled));
        }
    }
}
