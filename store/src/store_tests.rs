use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use causeway_replica::key::{Key, prefix_range};
use causeway_replica::view::{Batch, Cf, View};

use super::{Store, is_one_prefix};
use crate::{Identity, Provenance, StoreConfig, StoreError, Ticket};

pub(crate) const IDENTITY: Identity = Identity { cluster: [7; 16], site: 1, node: 0, shard_count: 16 };
const WAIT: Duration = Duration::from_secs(60);

pub(crate) fn config() -> StoreConfig {
    StoreConfig { cache_bytes: 8 << 20, memtable_bytes_max: 8 << 20, ..StoreConfig::new(IDENTITY) }
}

pub(crate) fn row(cf: Cf, key: &'static str, value: &'static str) -> Batch {
    let mut batch = Batch::default();
    batch.put(cf, Bytes::from_static(key.as_bytes()), Bytes::from_static(value.as_bytes()));
    batch
}

#[test]
fn a_write_is_visible_at_once_and_durable_after_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &config()).unwrap();
    let ticket = store.write(&row(Cf::Meta, "k", "v")).unwrap();
    assert_eq!(store.get(Cf::Meta, b"k").unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(store.durable(), Ticket(0), "nobody has synced");
    let seen: Arc<Mutex<Vec<Ticket>>> = Arc::default();
    let reports = seen.clone();
    let syncs = store.stats().unwrap().log_syncs;
    let commits = store.start_commits(move |t| reports.lock().unwrap().push(t), |e| panic!("{e}")).unwrap();
    assert!(store.wait_durable(ticket, WAIT).unwrap());
    assert_eq!(commits.stop(), Ok(ticket));
    assert_eq!(*seen.lock().unwrap(), [ticket]);
    assert_eq!(store.stats().unwrap().log_syncs, syncs + 1, "the file itself was synced");
}

#[test]
fn read_markers_alone_do_not_ask_for_a_sync() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &config()).unwrap();
    let lazy = store.write(&row(Cf::Read, "k", "v")).unwrap();
    let mut mixed = row(Cf::Read, "k", "v");
    mixed.append(row(Cf::Log, "k", "v"));
    // Nobody syncs yet; which of them urges shows in what the commit thread would do next.
    assert!(!store.tickets().is_urgent());
    let urgent = store.write(&mixed).unwrap();
    assert!(store.tickets().is_urgent() && lazy < urgent);
}

#[test]
fn a_store_is_new_until_it_is_said_to_be_intact() {
    let folder = tempfile::tempdir().unwrap();
    let provenance = || Store::open(folder.path(), &config()).unwrap().provenance().unwrap();
    assert_eq!(provenance(), Provenance::New);
    assert_eq!(provenance(), Provenance::New, "a restart is no catch-up");
    Store::open(folder.path(), &config()).unwrap().set_intact().unwrap();
    assert_eq!(provenance(), Provenance::Intact);
    Store::open(folder.path(), &config()).unwrap().set_restored().unwrap();
    assert_eq!(provenance(), Provenance::Restored);
}

#[test]
fn another_node_s_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &config()).unwrap();
    let second = Store::open(folder.path(), &config());
    assert!(matches!(second, Err(StoreError::Open { .. })), "one process at a time: {second:?}");
    store.set_intact().unwrap();
    drop(store);
    let other = StoreConfig { identity: Identity { node: 5, ..IDENTITY }, ..config() };
    let refused = Store::open(folder.path(), &other);
    assert!(matches!(refused, Err(StoreError::Identity { field: "node", .. })), "{refused:?}");
    Store::open(folder.path(), &config()).unwrap();
}

#[test]
fn a_folder_without_its_identity_is_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &config()).unwrap();
    store.set_intact().unwrap();
    let mut batch = Batch::default();
    batch.delete(Cf::Local, Key::Identity.encode());
    store.write(&batch).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = Store::open(folder.path(), &config()).unwrap();
    assert_eq!(store.provenance().unwrap(), Provenance::Restored);
    assert!(store.get(Cf::Local, &Key::Identity.encode()).unwrap().is_some(), "and has a new one");
}

#[test]
fn a_failed_store_takes_no_writes_and_still_reads() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &config()).unwrap();
    store.write(&row(Cf::Meta, "k", "v")).unwrap();
    let full = StoreError::io("syncing the log", "IO error: No space left on device: while appending");
    assert!(matches!(full, StoreError::DiskFull { .. }), "{full:?}");
    store.tickets().fail(&full);
    assert_eq!(store.write(&row(Cf::Meta, "k", "w")), Err(StoreError::Stopped(Box::new(full.clone()))));
    assert_eq!(store.failed(), Some(full));
    assert_eq!(store.get(Cf::Meta, b"k").unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn an_empty_batch_has_a_ticket_and_becomes_durable() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &config()).unwrap();
    let commits = store.start_commits(|_| {}, |e| panic!("{e}")).unwrap();
    let ticket = store.write(&Batch::default()).unwrap();
    assert!(store.wait_durable(ticket, WAIT).unwrap());
    drop(commits);
}

#[test]
fn one_prefix_is_told_from_several() {
    let room = |last: u8, rest: &[u8]| [&[5; 15][..], &[last], rest].concat();
    let one = [
        (room(1, b""), room(1, b"x")),
        (room(1, b"a"), room(1, b"b")),
        (room(1, b"a"), room(2, b"")),
        (room(0xff, b"a"), [&[5; 14][..], &[6, 0]].concat()),
    ];
    for (start, end) in &one {
        assert!(is_one_prefix(start, end), "{start:?}..{end:?}");
    }
    let several = [
        (room(1, b"a"), room(2, b"\0")),
        (room(1, b"a"), room(3, b"")),
        (vec![5; 15], room(1, b"a")),
        (room(1, b"a"), vec![6]),
        (vec![0xff; 16], vec![0xff; 300]),
    ];
    for (start, end) in &several[..4] {
        assert!(!is_one_prefix(start, end), "{start:?}..{end:?}");
    }
    assert!(is_one_prefix(&several[4].0, &several[4].1), "the highest room has nothing behind it");
    let (start, end) = prefix_range(&[7; 16]);
    assert!(is_one_prefix(&start, &[&end[..], &[]].concat()));
}

#[test]
fn figures_follow_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &config()).unwrap();
    for number in 0..1000_u64 {
        let mut batch = Batch::default();
        let key = [&[9; 16][..], &number.to_be_bytes()].concat();
        batch.put(Cf::Op, key.into(), Bytes::from(number.to_be_bytes().repeat(20)));
        store.write(&batch).unwrap();
    }
    let before = store.stats().unwrap();
    assert!(before.memtable_bytes > 0);
    assert_eq!((before.written, before.durable), (Ticket(1000), Ticket(0)));
    store.flush().unwrap();
    let after = store.stats().unwrap();
    assert!(after.data_bytes > 10_000, "{after:?}");
    assert!(after.rows.contains(&("op", 1000)), "{after:?}");
    assert!(!after.writes_stalled);
    let all = store.approximate_bytes(Cf::Op, &[0], &[0xff]);
    assert!(all > 10_000 && store.approximate_bytes(Cf::Op, &[0], &[1]) == 0);
    assert_eq!(store.approximate_bytes(Cf::Op, &[1], &[0]), 0);
}
