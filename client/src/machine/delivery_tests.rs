//! Deliveries: each request once, cursors that never go back, gaps, commits, restarts.

use causeway_protocol::{Dot, Origin, SiteId, Vector};

use super::fake_cluster::{Cluster, config, room};
use super::*;
use crate::store::{MemoryStore, Store};

#[test]
fn a_message_that_a_dead_site_had_delivered_is_not_shown_again_when_its_author_sends_it_to_a_survivor() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    let id = c.other_says(0, room(1), 0);
    c.run(10);
    assert_eq!(c.times_shown(id), 1);
    c.sites[0].silent = true;
    c.resent_by_other(0, 1, id);
    c.run_until("a failover", |c| c.home() == Some(1));
    c.run(100);
    assert_eq!(c.times_shown(id), 1);
    assert!(c.machine.counters().duplicates >= 1);
    let second = Dot { origin: Origin { site: SiteId(2), node: 0, incarnation: 101 }, seq: 1 };
    assert!(c.machine.cursor(room(1)).is_some_and(|cursor| cursor.covers(&second)));
}

#[test]
fn late_arrivals_with_old_stamps_are_shown_once_too() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    let new = c.other_says(0, room(1), 400);
    let old = c.other_says(0, room(1), 0);
    c.run(10);
    c.sites[0].silent = true;
    c.resent_by_other(0, 1, old);
    c.resent_by_other(0, 1, new);
    c.run_until("a failover", |c| c.home() == Some(1));
    c.run(100);
    assert_eq!((c.times_shown(old), c.times_shown(new)), (1, 1));
}

#[test]
fn what_a_connection_that_is_not_home_brings_is_not_delivered() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    let former = c.active_link(0).expect("a session");
    c.go_away(0);
    c.run_until("a move", |c| c.home() == Some(1));
    let name = "stray".to_owned();
    let stray = wire::RoomOpened {
        room: room(3).to_wire(),
        name,
        open: true,
        channel: false,
        named: None,
        ..Default::default()
    };
    c.event(0, former, wire::event_frame::Frame::RoomOpened(stray));
    c.run(50);
    assert!(
        c.items.iter().all(
            |item| item.item != Item::Opened { name: "stray".to_owned(), open: true, channel: false, direct: None }
        )
    );
}

#[test]
fn a_revocation_comes_with_its_past_and_one_that_makes_no_sense_does_not_come() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    let link = c.active_link(0).expect("a session");
    let dot = |seq| Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 100 }, seq };
    let past = Vector::from_iter([dot(4)]);
    let kick = |seq, past| {
        let id = RequestId { stamp: Stamp(seq), device: DeviceId(99) };
        let kind = wire::request::Kind::Kick(wire::Kick { user: "eve".to_owned(), reason: String::new() });
        let request = wire::Request { id: Some(id.to_wire()), kind: Some(kind), ..Default::default() };
        wire::event_frame::Frame::Event(wire::Event {
            room: room(1).to_wire(),
            dot: Some(dot(seq).to_wire()),
            user: "bob".to_owned(),
            request: request.encode_to_vec().into(),
            body: None,
            past,
            deadline_ms: 0,
        })
    };
    c.event(0, link, kick(5, Some(past.to_wire())));
    c.event(0, link, kick(6, Some(wire::Vector { entries: vec![wire::Dot::default()] })));
    c.run(10);
    let came: Vec<_> = c.items.iter().filter(|d| matches!(d.item, Item::Request { .. })).collect();
    assert!(matches!(&came[..], [Delivery { item: Item::Request { past: Some(got), .. }, .. }] if *got == past));
    assert_eq!(c.machine.counters().malformed, 1);
}

/// A request with the highest stamp of all leaves none above it for those that answer it.
#[test]
fn the_highest_stamp_of_all_does_not_stop_the_minting_of_ids() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    let link = c.active_link(0).expect("a session");
    let id = RequestId { stamp: Stamp(u64::MAX), device: DeviceId(99) };
    let kind = Some(wire::request::Kind::Join(wire::Join {}));
    let request = wire::Request { id: Some(id.to_wire()), kind, ..Default::default() };
    c.event(
        0,
        link,
        wire::event_frame::Frame::Event(wire::Event {
            room: room(1).to_wire(),
            dot: Some(Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 100 }, seq: 1 }.to_wire()),
            user: "eve".to_owned(),
            request: request.encode_to_vec().into(),
            ..Default::default()
        }),
    );
    c.run(10);
    let said: std::collections::BTreeSet<_> = (0..4).map(|n| c.say(room(1), &n.to_string()).id).collect();
    assert_eq!(said.len(), 4);
}

/// No site would welcome a client whose cursors name more origins than a vector may.
#[test]
fn a_cursor_that_no_hello_could_tell_is_not_taken() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    let link = c.active_link(0).expect("a session");
    let max = causeway_protocol::limits::VECTOR_ENTRIES_MAX;
    let dot = |n: usize| Dot { origin: Origin { site: SiteId(9), node: 0, incarnation: n as u64 }, seq: 1 };
    let caught_up = |dots: std::ops::Range<usize>| {
        let vector = Some(dots.map(dot).collect::<Vector>().to_wire());
        wire::event_frame::Frame::CaughtUp(wire::CaughtUp { room: room(1).to_wire(), vector })
    };
    c.event(0, link, caught_up(0..max));
    c.event(0, link, caught_up(max..max + 1));
    c.run(10);
    let entries = c.machine.cursor(room(1)).map_or(0, Vector::len);
    assert_eq!((entries, c.machine.counters().malformed), (max, 1));
    // What is within it goes on.
    c.event(0, link, caught_up(0..1));
    c.run(10);
    assert_eq!(c.machine.counters().malformed, 1);
}

#[test]
fn the_page_after_a_gap_moves_the_cursor_only_at_its_end() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    let link = c.active_link(0).expect("a session");
    let gap = wire::Gap { room: room(1).to_wire(), from: None, to: None, lowest: None, missing: 7 };
    c.event(0, link, wire::event_frame::Frame::Gap(gap));
    // A page in the order of places need not be in the order of an origin's log.
    let (high, low) = (c.other_says(0, room(1), 0), c.other_says(0, room(1), 1));
    c.run(10);
    assert_eq!((c.times_shown(high), c.times_shown(low)), (1, 1));
    assert!(c.machine.cursor(room(1)).is_some_and(Vector::is_empty));
    assert!(c.items.iter().any(|d| matches!(d.position.covers, Covers::Page(_))));
    let all = Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 100 }, seq: 2 };
    let vector = Some(Vector::from_iter([all]).to_wire());
    c.event(0, link, wire::event_frame::Frame::CaughtUp(wire::CaughtUp { room: room(1).to_wire(), vector }));
    c.run(10);
    assert!(c.machine.cursor(room(1)).is_some_and(|cursor| cursor.covers(&all)));
}

#[test]
fn after_a_restart_the_uncommitted_is_shown_again_and_the_committed_is_not() {
    let mut before = Cluster::new(1);
    before.run(1_000);
    let done = before.other_says(0, room(1), 0);
    before.run(10);
    before.commit = false;
    let open = before.other_says(0, room(1), 1);
    before.run(10);
    let mut store = MemoryStore::new();
    store.save(&before.changes).expect("memory");
    let saved = store.load().expect("memory");

    let start = Start { nonce: 9, seed: 3, outbox: saved.outbox, cursors: saved.cursors };
    let mut c = Cluster::with(config(2), start);
    c.run(1_000);
    let known = c.other_says(0, room(1), 0);
    assert_eq!(known, done, "the same request, under the dot that was committed");
    c.run(10);
    assert_eq!(c.times_shown(done), 0);
    assert_ne!(open, done);
    // A second acceptance, under a dot that no cursor covers.
    c.resent_by_other(0, 1, done);
    c.sites[0].silent = true;
    c.run_until("a failover", |c| c.home() == Some(1));
    c.run(100);
    assert_eq!(c.times_shown(done), 0);
}

#[test]
fn the_memory_of_shown_requests_is_bounded() {
    let mut config = config(1);
    config.limits.shown_per_room_max = 1_000;
    config.limits.shown_total_max = 2_500;
    config.limits.shown_per_room_min = 64;
    let mut rooms = rooms::Rooms::default();
    for n in 0..50_000_u64 {
        let id = RequestId { stamp: Stamp(n), device: DeviceId(1) };
        rooms.remember(room((n % 5) as u8), id, &config.limits);
    }
    let held: usize = (0..5).map(|n| rooms.get(room(n)).map_or(0, |r| r.shown.len())).sum();
    assert!((1_500..5 * (1_000 + 256)).contains(&held), "{held}");
    let last = RequestId { stamp: Stamp(49_999), device: DeviceId(1) };
    assert!(rooms.get(room(4)).is_some_and(|r| r.shown.contains(last)));
}

#[test]
fn read_markers_go_to_the_new_home_as_well() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.other_says(0, room(1), 0);
    c.run(10);
    c.machine.mark_read(c.now, room(1));
    c.drain();
    c.run(10);
    assert_eq!(c.marks.len(), 1);
    c.go_away(0);
    c.run_until("a move", |c| c.home() == Some(1));
    c.run(10);
    assert_eq!(c.marks.len(), 2);
}
