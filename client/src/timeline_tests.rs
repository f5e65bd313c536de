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
    of_history(wire::Event { room, user: user.into(), request, body, ..Default::default() }).expect("an event")
}

fn message(n: u64, user: &str, text: &str) -> Event {
    event(n, user, Kind::Message(wire::Message::default()), Some(text))
}

fn edit(n: u64, user: &str, target: u64, text: Option<&str>) -> Event {
    event(n, user, Kind::Edit(wire::Edit { target: Some(id(target).to_wire()) }), text)
}

fn redact(n: u64, user: &str, target: u64) -> Event {
    event(n, user, Kind::Redact(wire::Redact { target: Some(id(target).to_wire()), ..Default::default() }), None)
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
fn a_message_goes_at_its_time_with_its_edits_and_nothing_else_does() {
    let until = |n: u64, text: &str, at_ms: u64| {
        let mut event = message(n, "ann", text);
        if let Event::Message(message) = &mut event {
            message.expires_ms = Some(at_ms);
        }
        event
    };
    let mut timeline = of(&[until(1, "soon", 500), until(2, "later", 600), message(3, "ann", "for good")]);
    timeline.see(&edit(4, "ann", 1, Some("very soon")));
    assert_eq!(timeline.expire(499), []);
    assert_eq!(shown(&timeline, 1), Some(("very soon".into(), true)));
    assert_eq!(timeline.expire(500), [id(1)]);
    assert_eq!(timeline.expire(500), [], "told once");
    assert_eq!([1, 2, 3].map(|n| text(&timeline, n)), ["(gone)", "later", "for good"]);
    // What comes again, from a site or a page of history that still had it, does not bring it back.
    timeline.see(&edit(4, "ann", 1, Some("very soon")));
    assert_eq!(text(&timeline, 1), "(gone)");
    assert_eq!(timeline.expire(600), [id(2)]);
}

#[test]
fn what_is_not_here_has_a_place_that_fills_in() {
    let reply = event(
        5,
        "bob",
        Kind::Message(wire::Message { reply_to: Some(id(1).to_wire()), ..Default::default() }),
        Some("yes"),
    );
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
    let one = (1u64..4, prop::sample::select(vec!["ann", "bob"]), 0..7);
    prop::collection::vec(one, 1..20).prop_map(|all| {
        let event = |(n, (target, user, what)): (u64, (u64, &str, i32))| match what {
            0 => vec![message(target, "ann", "original")],
            1 => vec![edit(n, user, target, Some(&format!("edit {n}")))],
            2 => vec![edit(n, user, target, Some("gone")), edit(n, user, target, None)],
            3 => vec![redact(n, user, target)],
            4 => vec![react(n, user, target, "+1")],
            5 => vec![erased(n, user)],
            _ => vec![unreact(n, user, target, "+1")],
        };
        (4..).zip(all).flat_map(event).collect()
    })
}

/// By whom it is about; from history, so without its past.
fn erased(n: u64, user: &str) -> Event {
    live(n, user, Kind::Erase(wire::Erase {}), None)
}

#[test]
fn what_an_erased_user_wrote_before_stays_in_its_place_without_content() {
    let all = [said(4, "eve"), said(5, "bob"), edit(6, "eve", 4, Some("edited")), erased(8, "eve"), said(9, "eve")];
    for order in [[0, 1, 2, 3, 4], [3, 2, 0, 4, 1], [4, 3, 1, 2, 0]] {
        let mut timeline = Timeline::new(10);
        order.iter().for_each(|at| _ = timeline.see(&all[*at]));
        let content = |n| timeline.get(id(n)).unwrap().content();
        assert_eq!(content(4), Content::Gone, "{order:?}");
        assert!(matches!(content(5), Content::Text { .. }) && matches!(content(9), Content::Text { .. }), "{order:?}");
    }
    // What was done elsewhere meanwhile is hidden: it is as if it had not come.
    let mut timeline = Timeline::new(10);
    [said(4, "eve"), said(7, "eve")].iter().for_each(|event| _ = timeline.see(event));
    let past = Some(Vector::from_iter([dot(4)]));
    timeline.see(&live(8, "eve", Kind::Erase(wire::Erase {}), past));
    assert_eq!(timeline.get(id(4)).unwrap().content(), Content::Gone);
    assert!(timeline.get(id(7)).is_none());
}

/// Come live, from the first site: what it is about is text, and its number is its place and its acceptance.
fn live(n: u64, user: &str, kind: Kind, past: Option<Vector>) -> Event {
    let room = RoomId([1; 16]);
    let body =
        wire::Body { content_type: "text/plain".into(), content: format!("live {n}").into(), salt: Bytes::new() };
    let body = matches!(kind, Kind::Message(_) | Kind::Edit(_)).then(|| body.encode_to_vec().into());
    let request = wire::Request { id: Some(id(n).to_wire()), kind: Some(kind), ..Default::default() };
    of_delivery(Delivery {
        position: Position { room, covers: Covers::Dot(dot(n), id(n)) },
        item: Item::Request { id: id(n), user: user.into(), request, body, deadline_ms: 0, past },
    })
}

fn dot(seq: u64) -> Dot {
    Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 1 }, seq }
}

fn said(n: u64, user: &str) -> Event {
    live(n, user, Kind::Message(wire::Message::default()), None)
}

fn answered(n: u64, user: &str, to: u64) -> Event {
    live(n, user, Kind::Message(wire::Message { reply_to: Some(id(to).to_wire()), ..Default::default() }), None)
}

fn edited(n: u64, user: &str, target: u64) -> Event {
    live(n, user, Kind::Edit(wire::Edit { target: Some(id(target).to_wire()) }), None)
}

fn reacted(n: u64, user: &str, target: u64, symbol: &str) -> Event {
    let (target, symbol) = (Some(id(target).to_wire()), symbol.into());
    live(n, user, Kind::React(wire::React { target, symbol }), None)
}

/// By ann, who knew what the first site had done up to then.
fn banned(n: u64, user: &str, up_to: u64) -> Event {
    let ban = wire::Ban { user: user.into(), ..Default::default() };
    live(n, "ann", Kind::Ban(ban), Some(Vector::from_iter([dot(up_to)])))
}

/// All that is to be seen of it.
fn look(timeline: &Timeline) -> Vec<String> {
    let entry = |(place, entry): (RequestId, &Entry)| {
        let message = entry.message().map(|message| (&message.user, message.reply_to));
        format!("{} {message:?} {:?} {:?}", place.stamp.0, entry.content(), entry.reactions())
    };
    timeline.iter().map(entry).collect()
}

fn places(timeline: &Timeline) -> Vec<u64> {
    timeline.iter().map(|(place, _)| place.stamp.0).collect()
}

#[test]
fn a_ban_takes_away_what_its_site_did_not_know_and_only_the_targets() {
    let mut timeline = of(&[said(1, "eve"), said(2, "eve"), said(3, "eve"), said(4, "bob"), banned(5, "eve", 2)]);
    assert_eq!(places(&timeline), [1, 2, 4]);
    // The site has judged what comes after it.
    timeline.see(&said(6, "eve"));
    assert_eq!(places(&timeline), [1, 2, 4, 6]);
    timeline.see(&banned(5, "eve", 2));
    assert_eq!(places(&timeline), [1, 2, 4, 6], "a ban that comes again is the same ban");
    timeline.see(&banned(7, "eve", 2));
    assert_eq!(places(&timeline), [1, 2, 4], "another one is not");
}

#[test]
fn a_ban_takes_edits_and_reactions_away_and_what_was_there_before_shows_again() {
    let mut timeline = of(&[
        said(1, "eve"),
        edited(2, "eve", 1),
        reacted(3, "eve", 1, "+1"),
        edited(4, "eve", 1),
        reacted(5, "eve", 1, "+1"),
        reacted(6, "eve", 1, "♥"),
        reacted(7, "bob", 1, "♥"),
    ]);
    assert_eq!(text(&timeline, 1), "live 4");
    timeline.see(&banned(8, "eve", 3));
    assert_eq!(shown(&timeline, 1), Some(("live 2".into(), true)));
    let reactions = |t: &Timeline| format!("{:?}", t.get(id(1)).expect("an entry").reactions());
    assert_eq!(reactions(&timeline), r#"{"+1": ["eve"], "♥": ["bob"]}"#);
    timeline.see(&banned(9, "eve", 0));
    timeline.see(&unreact(10, "bob", 1, "♥"));
    assert_eq!(look(&timeline), [r#"1 None Unknown {}"#], "bob has referred to it");
}

#[test]
fn what_others_refer_to_keeps_its_place_without_the_message() {
    let timeline = of(&[
        said(1, "eve"),
        said(2, "eve"),
        said(3, "eve"),
        reacted(4, "bob", 1, "+1"),
        answered(5, "bob", 2),
        answered(6, "eve", 3),
        banned(7, "eve", 0),
    ]);
    assert_eq!((text(&timeline, 1), text(&timeline, 2)), ("(unknown)".into(), "(unknown)".into()));
    assert_eq!(places(&timeline), [1, 2, 5], "eve's answer kept no place either");
}

#[test]
fn a_kick_and_a_demotion_to_reader_take_away_and_other_roles_do_not() {
    let past = || Some(Vector::new());
    let role = |role: Role| Kind::SetRole(wire::SetRole { user: "eve".into(), role: role.number() });
    let kick = Kind::Kick(wire::Kick { user: "eve".into(), reason: String::new() });
    let left = |kind: Kind, past| places(&of(&[said(1, "eve"), said(2, "bob"), live(3, "ann", kind, past)]));
    assert_eq!(left(kick.clone(), past()), [2]);
    assert_eq!(left(role(Role::Reader), past()), [2]);
    assert_eq!(left(role(Role::Member), past()), [1, 2]);
    assert_eq!(left(role(Role::Reader), None), [1, 2], "no demotion");
    assert_eq!(left(kick, None), [1, 2], "from history");
}

#[test]
fn what_came_from_history_is_not_taken_away_but_a_live_copy_of_it_is() {
    let ban = banned(5, "eve", 0);
    let history = message(1, "eve", "text");
    assert_eq!(text(&of(&[history.clone(), ban.clone()]), 1), "text");
    assert_eq!(places(&of(&[history.clone(), said(1, "eve"), ban.clone()])), [0; 0]);
    let mut timeline = of(&[said(1, "eve"), history.clone(), ban]);
    assert_eq!(places(&timeline), [0; 0]);
    timeline.see(&history);
    assert_eq!(text(&timeline, 1), "text", "the site shows it");
}

#[test]
fn an_edits_and_a_reactions_acceptance_is_not_forgotten_for_a_copy_from_history() {
    let bobs = said(1, "eve");
    let (again, gone) = (edit(2, "eve", 1, Some("again")), edit(2, "eve", 1, None));
    let all = [bobs, edited(2, "eve", 1), again, gone, reacted(3, "eve", 1, "+1"), react(3, "eve", 1, "+1")];
    let mut timeline = of(&all);
    assert_eq!(text(&timeline, 1), "(gone)");
    timeline.see(&banned(4, "eve", 1));
    assert_eq!(look(&timeline), look(&of(&all[..1])));
}

/// What ann and bob do, live, each with a place of its own.
fn live_events(from: u64) -> impl Strategy<Value = Vec<Event>> {
    let one = (prop::sample::select(vec!["ann", "bob"]), 0..5, 1u64..12);
    prop::collection::vec(one, 1..12).prop_map(move |all| {
        let event = |(n, (user, what, target)): (u64, (&str, i32, u64))| match what {
            0 => said(n, user),
            1 => answered(n, user, target),
            2 => edited(n, user, target),
            3 => reacted(n, user, target, "+1"),
            _ => live(
                n,
                user,
                Kind::Unreact(wire::Unreact { target: Some(id(target).to_wire()), symbol: "+1".into() }),
                None,
            ),
        };
        (from..).zip(all).map(event).collect()
    })
}

/// Whether it is bob's, of a kind that a ban takes, and accepted after this.
fn is_taken(event: &Event, up_to: u64) -> bool {
    match event {
        Event::Message(m) => m.user == "bob" && m.id.stamp.0 > up_to,
        Event::Change(c) => {
            let taken = matches!(c.kind, ChangeKind::Edited { .. } | ChangeKind::Reacted { .. });
            c.user == "bob" && taken && c.id.stamp.0 > up_to
        }
        other => panic!("{other:?}"),
    }
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

    #[test]
    fn after_a_ban_it_is_as_if_what_it_takes_had_never_come(
        before in live_events(1),
        after in live_events(21),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        up_to in 0u64..12,
    ) {
        let kept: Vec<Event> =
            before.iter().filter(|event| !is_taken(event, up_to)).chain(&after).cloned().collect();
        let mut banned_between = Timeline::new(100);
        order.iter().for_each(|at| _ = banned_between.see(&before[at.index(before.len())]));
        before.iter().rev().for_each(|event| _ = banned_between.see(event));
        banned_between.see(&banned(20, "bob", up_to));
        after.iter().rev().for_each(|event| _ = banned_between.see(event));
        banned_between.see(&banned(20, "bob", up_to));
        prop_assert_eq!(look(&of(&kept)), look(&banned_between));
    }
}
