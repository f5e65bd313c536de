//! The contract of `Store`, run on every implementation: random changes, reopened at random moments.

use std::collections::BTreeMap;

use causeway_protocol::{Bytes, DeviceId, Dot, Origin, RequestId, RoomId, SiteId, Stamp, Vector};
use proptest::prelude::*;

use super::*;
use crate::machine::Position;

pub(super) fn id(n: u64) -> RequestId {
    RequestId { stamp: Stamp(n), device: DeviceId(n % 7) }
}

pub(super) fn room(n: u8) -> RoomId {
    RoomId([n; 16])
}

pub(super) fn dot(site: u16, seq: u64) -> Dot {
    Dot { origin: Origin { site: SiteId(site), node: 0, incarnation: 5 }, seq }
}

pub(super) fn added(no: u64, body: usize) -> Change {
    Change::Added(SavedRequest {
        no: RequestNo(no),
        nonce: 3,
        id: id(no),
        room: room(no as u8 % 4),
        request: Bytes::from(vec![1; 30]),
        body: (body > 0).then(|| Bytes::from(vec![2; body])),
    })
}

pub(super) fn committed(room_no: u8, covers: Covers) -> Change {
    Change::Committed(Position { room: room(room_no), covers })
}

fn change() -> impl Strategy<Value = Change> {
    let vector = prop::collection::vec((1_u16..4, 1_u64..50), 0..4);
    prop_oneof![
        4 => (0_u64..40, 0_usize..300).prop_map(|(no, body)| added(no, body)),
        3 => (0_u64..40).prop_map(|no| Change::Removed(RequestNo(no))),
        4 => (0_u8..3, 1_u16..4, 1_u64..50, 0_u64..90)
            .prop_map(|(r, site, seq, n)| committed(r, Covers::Dot(dot(site, seq), id(n)))),
        1 => (0_u8..3, 0_u64..90).prop_map(|(r, n)| committed(r, Covers::Page(id(n)))),
        1 => (0_u8..3, vector).prop_map(|(r, dots)| {
            committed(r, Covers::Vector(dots.into_iter().map(|(site, seq)| dot(site, seq)).collect()))
        }),
    ]
}

/// What the specification says that changes amount to, told another way than the stores do it.
fn expected(changes: &[Change]) -> (Vec<SavedRequest>, BTreeMap<RoomId, Vector>) {
    let mut outbox = Vec::<SavedRequest>::new();
    let mut cursors = BTreeMap::<RoomId, Vector>::new();
    for change in changes {
        match change {
            Change::Added(saved) => {
                outbox.retain(|held| held.no != saved.no);
                outbox.push(saved.clone());
            }
            Change::Removed(no) => outbox.retain(|held| held.no != *no),
            Change::Committed(position) => {
                let cursor = cursors.entry(position.room).or_default();
                match &position.covers {
                    Covers::Dot(dot, _) => cursor.raise(*dot),
                    Covers::Vector(vector) => cursor.join(vector),
                    Covers::Page(_) | Covers::Nothing => {}
                }
            }
        }
    }
    outbox.sort_by_key(|held| held.no);
    (outbox, cursors)
}

fn holds_the_contract(batches: &[Vec<Change>], mut open: impl FnMut() -> Box<dyn Store>) {
    let mut all = Vec::new();
    let mut store = open();
    for (n, batch) in batches.iter().enumerate() {
        store.save(batch).expect("the medium is well");
        all.extend(batch.iter().cloned());
        if n % 3 == 0 {
            drop(store);
            store = open();
        }
        let saved = store.load().expect("the medium is well");
        let (outbox, cursors) = expected(&all);
        assert_eq!(saved.outbox, outbox);
        let vectors: BTreeMap<_, _> = saved.cursors.iter().map(|(room, saved)| (*room, saved.vector.clone())).collect();
        assert_eq!(vectors, cursors);
        assert!(saved.cursors.values().all(|saved| saved.shown.len() <= SHOWN_PER_ROOM_MAX));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_store_holds_the_contract(batches in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..20)) {
        let store = MemoryStore::new();
        holds_the_contract(&batches, || Box::new(store.clone()));
    }

    #[test]
    fn the_file_store_holds_the_contract(batches in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..20)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.log");
        holds_the_contract(&batches, || Box::new(FileStore::open(&path, Sync::System).expect("opens")));
    }
}
