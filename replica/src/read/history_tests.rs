//! Pages of history, and unread counts.

use causeway_protocol::{Code, Dot, Message, RequestId, RoomId, Stamp, Vector, limits, wire, wire::request::Kind};
use proptest::prelude::*;

use super::fixture::{Fixture, SHARDS, origin, rows_of, user};
use super::*;

fn ask(site: &Fixture, name: &str, request: &wire::HistoryRequest) -> wire::HistoryPage {
    history(&site.view, site, SHARDS, &user(name), request).unwrap()
}

fn page(site: &Fixture, room: RoomId, from: Option<RequestId>, forward: bool, limit: u32) -> wire::HistoryPage {
    let from = from.map(RequestId::to_wire);
    ask(site, "ann", &wire::HistoryRequest { room: room.to_wire(), from, forward, limit })
}

fn ids(page: &wire::HistoryPage) -> Vec<RequestId> {
    assert_eq!(page.code, 0, "{}", page.detail);
    page.events
        .iter()
        .map(|event| {
            let request = wire::Request::decode(event.request.clone()).unwrap();
            RequestId::from_wire(&request.id.unwrap())
        })
        .collect()
}

fn message() -> Kind {
    Kind::Message(wire::Message::default())
}

#[test]
fn history_goes_both_ways_from_any_place_and_says_whether_there_is_more() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let sent: Vec<RequestId> = (0..5).map(|_| site.message(1, room, "ann").0).collect();
    site.sync();
    let newest = page(&site, room, None, false, 2);
    assert_eq!((ids(&newest), newest.more), (sent[3..].to_vec(), true));
    let before = page(&site, room, Some(sent[3]), false, 10);
    assert_eq!((ids(&before)[1..].to_vec(), before.more), (sent[..3].to_vec(), false));
    let after = page(&site, room, Some(sent[1]), true, 2);
    assert_eq!((ids(&after), after.more), (sent[2..4].to_vec(), true));
    let last = page(&site, room, Some(sent[2]), true, 2);
    assert_eq!((ids(&last), last.more), (sent[3..].to_vec(), false));
}

#[test]
fn history_is_in_the_order_of_places_whatever_came_first() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (early, _) = site.message(1, room, "ann");
    let late = site.request_at(2, room, "bob", message(), Stamp(9)).0;
    site.sync();
    let all = ids(&page(&site, room, None, true, 10));
    assert_eq!((all[0], all[2]), (late, early));
}

#[test]
fn history_ends_where_durability_does() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (kept, _) = site.message(1, room, "ann");
    site.sync();
    let (unsynced, _) = site.message(1, room, "ann");
    let newest = page(&site, room, None, false, 1);
    assert_eq!(ids(&newest), [kept]);
    assert!(!page(&site, room, Some(kept), true, 1).more);
    site.sync();
    assert_eq!(ids(&page(&site, room, None, false, 1)), [unsynced]);
}

#[test]
fn an_event_of_history_has_a_durable_dot_of_its_request() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (id, at_two) = site.message(2, room, "ann");
    site.sync();
    site.again(1, room, id);
    let event = page(&site, room, None, false, 1).events.remove(0);
    assert_eq!(Dot::from_wire(&event.dot.unwrap()).unwrap(), at_two);
}

#[test]
fn a_page_of_the_largest_messages_fits_a_frame() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let ids_sent: Vec<RequestId> = (0..40).map(|_| site.message(1, room, "ann").0).collect();
    for id in &ids_sent {
        site.set_body(room, *id, Bytes::from(vec![b'x'; limits::BODY_BYTES_MAX]));
    }
    site.sync();
    let (mut from, mut got) = (None, Vec::new());
    loop {
        let page = page(&site, room, from, false, limits::HISTORY_PAGE_MAX);
        assert!(causeway_protocol::encode_frame(&page).len() > limits::FRAME_BYTES_MAX / 2 || !page.more);
        let mut ids = ids(&page);
        from = Some(ids[0]);
        ids.reverse();
        got.extend(ids);
        assert!(got.len() <= ids_sent.len() + 1);
        if !page.more {
            break;
        }
    }
    got.reverse();
    assert_eq!(got[1..], ids_sent);
}

#[test]
fn who_may_not_read_is_told_why() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let code = |site: &Fixture, name: &str, room: Bytes, limit| {
        ask(site, name, &wire::HistoryRequest { room, from: None, forward: false, limit }).code
    };
    let shown = room.to_wire();
    assert_eq!(code(&site, "eve", shown.clone(), 1), Code::NotPermitted.number());
    assert_eq!(code(&site, "ann", RoomId([9; 16]).to_wire(), 1), Code::UnknownRoom.number());
    assert_eq!(code(&site, "ann", Bytes::from_static(b"short"), 1), Code::Malformed.number());
    for limit in [0, limits::HISTORY_PAGE_MAX + 1] {
        assert_eq!(code(&site, "ann", shown.clone(), limit), Code::Malformed.number());
    }
    let unsynced = site.unsynced_room(1, "ann").to_wire();
    assert_eq!(code(&site, "ann", unsynced, 1), Code::UnknownRoom.number());
    site.unready.insert(room.shard(SHARDS));
    assert_eq!(code(&site, "ann", shown, 1), Code::NotReady.number());
}

#[test]
fn unread_counts_messages_beyond_the_marker_late_ones_too() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let unread = |site: &Fixture| page(site, room, None, false, 1).unread;
    site.message(1, room, "bob");
    site.sync();
    assert_eq!(unread(&site), 1);
    site.mark(room, "ann", &site.durable_of(room));
    assert_eq!(unread(&site), 0);
    // It lies above everything read, and has come just now.
    let (late, _) = site.request_at(2, room, "bob", message(), Stamp(9));
    site.join(1, room, "eve");
    site.message(1, room, "bob");
    assert_eq!(unread(&site), 0);
    site.sync();
    assert_eq!(unread(&site), 2);
    site.again(1, room, late);
    site.sync();
    assert_eq!(unread(&site), 2);
}

#[test]
fn unread_stops_counting_at_its_limit() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    for _ in 0..limits::UNREAD_MAX + 20 {
        site.message(1, room, "bob");
    }
    site.sync();
    assert_eq!(page(&site, room, None, false, 1).unread, limits::UNREAD_MAX);
}

proptest! {
    #[test]
    fn paging_either_way_gives_every_durable_row_once(
        ops in prop::collection::vec((1u16..4, 1u64..1_000, any::<bool>()), 0..40),
        synced in any::<prop::sample::Index>(),
        limit in 1u32..9,
        forward in any::<bool>(),
        marker in prop::collection::vec((1u16..4, 1u64..20), 0..3),
    ) {
        let mut site = Fixture::default();
        let room = site.room("ann");
        let mut taken = std::collections::BTreeSet::new();
        for (at, stamp, hidden) in &ops {
            if taken.insert(*stamp) {
                let by = if stamp % 3 == 0 { "ann" } else { "bob" };
                let (id, _) = site.request_at(*at, room, by, message(), Stamp(*stamp));
                if *hidden {
                    site.hide(room, id);
                }
            }
        }
        site.sync_some(synced.index(taken.len() + 1));
        let marker: Vector = marker.into_iter().map(|(at, seq)| Dot { origin: origin(at), seq }).collect();
        site.mark(room, "ann", &marker);
        let durable = site.durable_of(room);
        let shown = |row: &wire::RequestRow| !row.hidden && rows::covered(row, &durable).unwrap();
        let mut wanted: Vec<RequestId> =
            rows_of(&site.view, room).into_iter().filter(|(_, row)| shown(row)).map(|(id, _)| id).collect();
        let (mut got, mut from) = (Vec::new(), None);
        loop {
            let page = page(&site, room, from, forward, limit);
            let mut ids = ids(&page);
            prop_assert!(ids.is_sorted() && ids.len() <= limit as usize);
            if !forward {
                ids.reverse();
            }
            from = ids.last().copied();
            got.extend(ids);
            prop_assert!(got.len() <= wanted.len());
            let unread = rows_of(&site.view, room)
                .iter()
                .filter(|(id, row)| id.stamp.0 < 1_000 && row.user != "ann" && shown(row) && !rows::covered(row, &marker).unwrap())
                .count() as u64;
            prop_assert_eq!(page.unread, unread);
            if !page.more {
                break;
            }
        }
        if !forward {
            wanted.reverse();
        }
        prop_assert_eq!(got, wanted);
    }
}
