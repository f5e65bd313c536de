//! Rooms of a user, and what a cursor lacks.

use std::collections::BTreeMap;

use causeway_protocol::{Dot, RequestId, Role, RoomId, Stamp, Vector, wire, wire::request::Kind};
use proptest::prelude::*;

use super::fixture::{Fixture, SHARDS, rows_of, user};
use super::*;

fn since(site: &Fixture, room: RoomId, cursor: &Vector) -> RoomPage {
    room_since(&site.view, &room, &site.durable_of(room), cursor, usize::MAX, usize::MAX).unwrap()
}

fn ids(events: &[PageEvent]) -> Vec<RequestId> {
    events.iter().map(|event| event.id).collect()
}

fn rooms(site: &Fixture, name: &str) -> Vec<RoomId> {
    rooms_of(&site.view, site, SHARDS, &user(name), None, 100).unwrap().rooms
}

fn vector(dots: &[Dot]) -> Vector {
    dots.iter().copied().collect()
}

#[test]
fn a_cursor_gets_what_lies_beyond_it_in_causal_order() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (first, at_first) = site.message(1, room, "ann");
    let (second, _) = site.message(2, room, "bob");
    let (third, _) = site.message(1, room, "ann");
    site.sync();
    let page = since(&site, room, &vector(&[at_first]));
    assert_eq!(ids(&page.events), [second, third]);
    assert_eq!(page.cursor, site.durable_of(room));
    assert!(!page.more);
    assert_eq!(ids(&since(&site, room, &Vector::new()).events)[1..], [first, second, third]);
}

/// So that a resume elsewhere need not look at what other rooms of the shard did meanwhile.
#[test]
fn a_cursor_at_the_end_covers_the_whole_shard() {
    let mut site = Fixture::default();
    let rooms: Vec<RoomId> = (0..=SHARDS).map(|_| site.room("ann")).collect();
    let same = |a: &RoomId| rooms.iter().find(|b| *b != a && b.shard(SHARDS) == a.shard(SHARDS));
    let (room, other) = rooms.iter().find_map(|room| Some((*room, *same(room)?))).unwrap();
    site.message(3, other, "ann");
    site.sync();
    assert_eq!(since(&site, room, &Vector::new()).cursor, site.durable_of(other));
}

#[test]
fn nothing_unsynced_is_read() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let cursor = site.durable_of(room);
    let (kept, _) = site.message(2, room, "bob");
    site.sync();
    site.message(2, room, "bob");
    site.message(1, room, "ann");
    let page = since(&site, room, &cursor);
    assert_eq!(ids(&page.events), [kept]);
    assert_eq!(page.cursor, site.durable_of(room));
}

#[test]
fn a_request_with_a_dot_that_the_cursor_has_is_not_sent_again() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (id, elsewhere) = site.message(2, room, "bob");
    site.again(1, room, id);
    let (next, _) = site.message(1, room, "ann");
    site.sync();
    let mut cursor = vector(&[elsewhere]);
    cursor.raise(since(&site, room, &Vector::new()).events[0].dot);
    assert_eq!(ids(&since(&site, room, &cursor).events), [next]);
}

#[test]
fn a_request_accepted_twice_is_sent_once() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let cursor = site.durable_of(room);
    let (id, _) = site.message(2, room, "bob");
    site.again(1, room, id);
    site.sync();
    let page = since(&site, room, &cursor);
    assert_eq!(ids(&page.events), [id]);
    assert_eq!((page.ops, page.cursor), (2, site.durable_of(room)));
}

#[test]
fn a_hidden_request_is_passed_over() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let cursor = site.durable_of(room);
    let (hidden, _) = site.message(1, room, "bob");
    let (shown, _) = site.message(1, room, "ann");
    site.hide(room, hidden);
    site.sync();
    let page = since(&site, room, &cursor);
    assert_eq!(ids(&page.events), [shown]);
    assert_eq!(page.cursor, site.durable_of(room));
}

#[test]
fn pages_by_ops_or_bytes_make_the_same_whole() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    for n in 0..200 {
        let (id, _) = site.message(1 + n % 3, room, "ann");
        if n % 5 == 0 {
            site.again(1 + (n + 1) % 3, room, id);
        }
    }
    site.sync();
    let whole = since(&site, room, &Vector::new());
    assert_eq!(whole.events.len(), 201);
    for (ops_max, bytes_max) in [(1, usize::MAX), (7, usize::MAX), (usize::MAX, 1), (usize::MAX, 1_000)] {
        let (mut cursor, mut events, mut more) = (Vector::new(), Vec::new(), true);
        while more {
            let page = room_since(&site.view, &room, &site.durable_of(room), &cursor, ops_max, bytes_max).unwrap();
            assert!((1..=ops_max).contains(&page.ops));
            (cursor, more) = (page.cursor, page.more);
            events.extend(page.events);
        }
        assert_eq!(events, whole.events);
        assert_eq!(cursor, whole.cursor);
    }
}

#[test]
fn a_forged_cursor_beyond_everything_gets_nothing() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.message(1, room, "ann");
    site.sync();
    let forged: Vector = site.durable_of(room).iter().map(|dot| Dot { origin: dot.origin, seq: u64::MAX }).collect();
    assert!(since(&site, room, &forged).events.is_empty());
    assert!(!is_far_behind(&site.view, &room, &site.durable_of(room), &forged, 0).unwrap());
}

#[test]
fn far_behind_is_more_ops_than_the_limit() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let cursor = site.durable_of(room);
    site.message(1, room, "ann");
    site.message(2, room, "bob");
    site.sync();
    site.message(2, room, "bob");
    let far = |cursor: &Vector, max| is_far_behind(&site.view, &room, &site.durable_of(room), cursor, max).unwrap();
    assert!(far(&cursor, 1));
    assert!(!far(&cursor, 2));
    assert!(far(&Vector::new(), 2));
}

#[test]
fn the_newest_page_names_what_it_leaves_out() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let cursor = site.durable_of(room);
    let late = site.request_at(2, room, "bob", Kind::Message(wire::Message::default()), Stamp(5)).0;
    let sent: Vec<RequestId> = (0..10).map(|n| site.message(1 + n % 2, room, "ann").0).collect();
    site.sync();
    let page = newest_page(&site.view, &room, &site.durable_of(room), &cursor, 4, usize::MAX).unwrap();
    assert_eq!(ids(&page.events), sent[6..]);
    assert_eq!((page.missing, page.lowest), (7, Some(late)));
    assert_eq!(page.cursor, site.durable_of(room));
    let all = newest_page(&site.view, &room, &site.durable_of(room), &cursor, 11, usize::MAX).unwrap();
    assert_eq!((all.missing, all.lowest), (0, None));
}

#[test]
fn a_newest_page_cut_short_is_resumed_without_loss() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    // Accepted at site 1 first, and again at site 2 after others of site 1.
    let (twice, _) = site.message(1, room, "ann");
    site.message(1, room, "ann");
    site.message(1, room, "ann");
    site.again(2, room, twice);
    site.sync();
    let page = newest_page(&site.view, &room, &site.durable_of(room), &Vector::new(), 3, usize::MAX).unwrap();
    assert!(page.events.iter().any(|event| event.id == twice));
    for cut in 0..=page.events.len() {
        let (got, lost) = page.events.split_at(cut);
        let cursor: Vector = got.iter().map(|event| event.dot).collect();
        let resumed = ids(&since(&site, room, &cursor).events);
        assert!(lost.iter().all(|event| resumed.contains(&event.id)), "cut after {cut}");
    }
}

#[test]
fn a_count_that_stops_names_the_lowest_place_of_all() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let cursor = site.durable_of(room);
    for _ in 0..MISSING_MAX + 5 {
        site.message(1, room, "ann");
    }
    site.sync();
    let page = |cursor| newest_page(&site.view, &room, &site.durable_of(room), cursor, 3, usize::MAX).unwrap();
    let counted = page(&cursor);
    assert_eq!(counted.events.len(), 3);
    assert_eq!((counted.missing, counted.lowest), (MISSING_MAX, Some(RequestId::MIN)));
    let looked_up = page(&Vector::new());
    assert_eq!(looked_up.events, counted.events);
    assert_eq!(
        (looked_up.missing, looked_up.lowest),
        (MISSING_MAX, rows_of(&site.view, room).first().map(|row| row.0))
    );
}

#[test]
fn of_a_room_that_is_new_to_the_client_the_head_says_how_much_is_left_out() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let made = rows_of(&site.view, room)[0].0;
    let (twice, _) = site.message(1, room, "ann");
    for n in 0..9 {
        site.message(1 + n % 2, room, "ann");
    }
    site.again(2, room, twice);
    site.sync();
    let page = |max| newest_page(&site.view, &room, &site.durable_of(room), &Vector::new(), max, usize::MAX).unwrap();
    assert_eq!((page(4).missing, page(4).lowest), (7, Some(made)));
    assert_eq!(page(4).cursor, site.durable_of(room));
    assert_eq!((page(11).missing, page(11).lowest), (0, None));
}

#[test]
fn a_room_shows_once_its_membership_is_durable() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    assert_eq!(rooms(&site, "ann"), [room]);
    site.join(1, room, "bob");
    assert_eq!(rooms(&site, "bob"), []);
    site.sync();
    assert_eq!(rooms(&site, "bob"), [room]);
    site.leave(1, room, "bob");
    assert_eq!(rooms(&site, "bob"), []);
}

#[test]
fn rooms_of_shards_that_are_not_ready_wait() {
    let mut site = Fixture::default();
    let mut all: Vec<RoomId> = (0..8).map(|_| site.room("ann")).collect();
    all.sort();
    let shard = all[0].shard(SHARDS);
    site.unready.insert(shard);
    all.retain(|room| room.shard(SHARDS) != shard);
    assert_eq!(rooms(&site, "ann"), all);
}

#[test]
fn a_list_of_rooms_comes_in_parts() {
    let mut site = Fixture::default();
    let mut all: Vec<RoomId> = (0..7).map(|_| site.room("ann")).collect();
    site.room("bob");
    all.sort();
    for max in [1, 3, 7, 8] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let list = rooms_of(&site.view, &site, SHARDS, &user("ann"), after, max).unwrap();
            listed.extend(list.rooms);
            assert!(listed.len() <= all.len());
            after = list.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, all, "in parts of {max}");
    }
}

#[test]
fn a_room_shows_its_name_once_that_is_durable() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let face = |site: &Fixture| room_face(&site.view, &site.durable_of(room), &room).unwrap();
    let made = face(&site).named;
    let first = face(&site);
    assert_eq!((first.name.as_str(), first.open, first.channel, first.pair), ("ann's", true, false, None));
    assert_eq!((first.profile.open, first.profile.writers), (true, Role::Member.number()));
    let (named, _) = site.request(1, room, "ann", Kind::SetName(wire::SetName { name: "ours".into() }));
    assert_eq!((face(&site).name.as_str(), face(&site).named), ("", None));
    site.sync();
    assert_eq!((face(&site).name.as_str(), face(&site).named), ("ours", Some(named)));
    assert!(made < Some(named));
}

#[test]
fn a_broken_row_is_an_error_and_names_its_family() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (id, _) = site.message(1, room, "ann");
    site.sync();
    let key = crate::key::Key::Request(room, id);
    let mut batch = crate::view::Batch::default();
    batch.put(key.family(), key.encode(), Bytes::from_static(b"\xff"));
    site.view.apply(&batch);
    let error = room_since(&site.view, &room, &site.durable_of(room), &Vector::new(), 9, 9_999).unwrap_err();
    assert_eq!(error.family, "request");
    batch.delete(key.family(), key.encode());
    site.view.apply(&batch);
    let error = room_since(&site.view, &room, &site.durable_of(room), &Vector::new(), 9, 9_999).unwrap_err();
    assert!(error.reason.contains("no row"), "{error}");
}

proptest! {
    /// Whatever was accepted where and how often, and whatever the cursor: the page has exactly the durable
    /// requests of which the cursor covers no dot, each once, and each origin's in its order.
    #[test]
    fn a_page_is_what_brute_force_says(
        ops in prop::collection::vec((1u16..4, any::<bool>(), any::<prop::sample::Index>()), 1..60),
        synced in any::<prop::sample::Index>(),
        cursor in prop::collection::vec((1u16..4, 0u64..20), 0..4),
    ) {
        let mut site = Fixture::default();
        let room = site.room("ann");
        let mut sent = Vec::new();
        for (at, again, which) in &ops {
            if *again && !sent.is_empty() {
                site.again(*at, room, sent[which.index(sent.len())]);
            } else {
                sent.push(site.message(*at, room, "ann").0);
            }
        }
        site.sync_some(synced.index(ops.len() + 1));
        let cursor: Vector =
            cursor.into_iter().map(|(at, seq)| Dot { origin: super::fixture::origin(at), seq }).collect();
        let durable = site.durable_of(room);
        let page = since(&site, room, &cursor);
        let mut got = ids(&page.events);
        let mut seen = BTreeMap::new();
        for event in &page.events {
            prop_assert!(durable.covers(&event.dot) && !cursor.covers(&event.dot));
            let before = seen.insert(event.dot.origin, event.dot.seq).unwrap_or(0);
            prop_assert!(before < event.dot.seq);
        }
        got.sort();
        let wanted: Vec<RequestId> = rows_of(&site.view, room)
            .into_iter()
            .filter(|(_, row)| rows::covered(row, &durable).unwrap() && !rows::covered(row, &cursor).unwrap())
            .map(|(id, _)| id)
            .collect();
        prop_assert_eq!(got, wanted);
    }
}

/// Elements are merged before the requests that their tags and markers name.
#[test]
fn a_room_in_the_middle_of_a_merge_is_not_broken() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let key = crate::key::Key::Request(room, rows_of(&site.view, room)[0].0);
    let mut batch = crate::view::Batch::default();
    batch.delete(key.family(), key.encode());
    site.view.apply(&batch);
    assert_eq!(rooms(&site, "ann"), []);
    let face = room_face(&site.view, &site.durable_of(room), &room).unwrap();
    assert_eq!((face.name.as_str(), face.named, face.open), ("", None, false));
}
