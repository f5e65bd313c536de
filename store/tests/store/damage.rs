//! What is on disk is not what was written: the log cut or changed, a file changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use causeway_replica::view::{Batch, Cf, View};
use causeway_store::{Provenance, Store, StoreError};

use crate::subject::{config, open};

const BATCHES: u64 = 100;
const WAIT: Duration = Duration::from_secs(60);

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Writes batches of two rows each and syncs them.
fn fill(store: &Store) {
    let commits = store.start_commits(|_| {}, |error| panic!("{error}")).unwrap();
    let mut last = store.durable();
    for number in 0..BATCHES {
        let mut batch = Batch::default();
        batch.put(Cf::Log, key(number), Bytes::from(vec![3; 100]));
        batch.put(Cf::Order, key(number), Bytes::from(vec![4; 100]));
        last = store.write(&batch).unwrap();
    }
    assert!(store.wait_durable(last, WAIT).unwrap());
    commits.stop().unwrap();
}

/// The largest file with an extension.
fn file(folder: &Path, extension: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.path().extension().is_some_and(|e| e == extension));
    files.max_by_key(|entry| entry.metadata().unwrap().len()).unwrap().path()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn numbers(store: &Store, cf: Cf) -> Vec<u64> {
    let mut found = Vec::new();
    store
        .scan(cf, &[], &[0xff; 9], &mut |key, _| {
            found.push(u64::from_be_bytes(key.try_into().unwrap()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    found
}

#[test]
fn a_log_that_ends_in_half_a_record_opens_without_that_record() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()));
    change(&file(folder.path(), "log"), |bytes| bytes.truncate(bytes.len() / 2));
    let store = open(folder.path());
    let found = numbers(&store, Cf::Log);
    assert!(!found.is_empty() && found.len() < BATCHES as usize);
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
    assert_eq!(numbers(&store, Cf::Order), found, "no half batch");
}

/// What a flush, which switches logs, has come to when power fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Begun,
    Done,
}

/// A store whose log is two files, each with half of the batches. Returns the older one.
fn fill_two_logs(folder: &Path, flush: Flush) -> PathBuf {
    let store = open(folder);
    let manifest = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let manifest = manifest.into_iter().find(|path| path.to_str().unwrap().contains("MANIFEST")).unwrap();
    let mut before = 0;
    let commits = store.start_commits(|_| {}, |error| panic!("{error}")).unwrap();
    for number in 0..BATCHES {
        if number == BATCHES / 2 {
            // The log is switched when one family's memtable is; the others keep the old one alive.
            before = manifest.metadata().unwrap().len();
            store.flush_family(Cf::Meta).unwrap();
        }
        let mut batch = Batch::default();
        batch.put(Cf::Log, key(number), Bytes::from(vec![3; 100]));
        batch.put(Cf::Order, key(number), Bytes::from(vec![4; 100]));
        batch.put(Cf::Meta, key(number), Bytes::new());
        store.write(&batch).unwrap();
    }
    commits.stop().unwrap();
    drop(store);
    if flush == Flush::Begun {
        // What makes the flushed rows part of the store is its entry in the manifest.
        change(&manifest, |bytes| bytes.truncate(before as usize));
    }
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    assert_eq!(logs.len(), 2);
    logs.swap_remove(0)
}

#[test]
fn two_logs_open_with_everything() {
    for flush in [Flush::Begun, Flush::Done] {
        let folder = tempfile::tempdir().unwrap();
        fill_two_logs(folder.path(), flush);
        let store = open(folder.path());
        for cf in [Cf::Log, Cf::Order, Cf::Meta] {
            assert_eq!(numbers(&store, cf), (0..BATCHES).collect::<Vec<_>>());
        }
        assert_eq!(store.cut(), None);
    }
}

/// The kernel may write a newer log before an older one's unsynced end. Without that end nothing that follows
/// it may stay: a later batch without an earlier one is a state that never was.
#[test]
fn a_hole_between_two_logs_ends_the_data_there() {
    let folder = tempfile::tempdir().unwrap();
    let older = fill_two_logs(folder.path(), Flush::Begun);
    change(&older, |bytes| bytes.truncate(bytes.len() / 2));
    let store = open(folder.path());
    let found = numbers(&store, Cf::Log);
    assert!(!found.is_empty() && found.len() < (BATCHES / 2) as usize, "{}", found.len());
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
    assert_eq!(numbers(&store, Cf::Order), found, "no half batch");
    assert!(store.cut().is_some());
    drop(store);
    assert_eq!(numbers(&open(folder.path()), Cf::Log), found, "and it stays so");
}

/// Before a flush is done its log is synced: that this log lacks its end is no power failure's work.
#[test]
fn a_hole_in_what_was_synced_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let older = fill_two_logs(folder.path(), Flush::Done);
    change(&older, |bytes| bytes.truncate(bytes.len() / 2));
    let result = Store::open(folder.path(), &config());
    assert!(matches!(result, Err(StoreError::Open { .. })), "{result:?}");
}

#[test]
fn a_lost_log_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let older = fill_two_logs(folder.path(), Flush::Begun);
    std::fs::remove_file(older).unwrap();
    let result = Store::open(folder.path(), &config());
    assert!(matches!(result, Err(StoreError::Open { .. })), "{result:?}");
}

/// Killed between two files of its making, a store must not stay unusable; an intact one without its log has
/// lost something.
#[test]
fn a_store_without_any_log_opens_only_if_it_must_catch_up_anyhow() {
    let folder = tempfile::tempdir().unwrap();
    let lose_logs = || std::fs::remove_file(file(folder.path(), "log")).unwrap();
    drop(open(folder.path()));
    lose_logs();
    let store = open(folder.path());
    assert_eq!(store.provenance(), Ok(Provenance::New));
    store.set_intact().unwrap();
    drop(store);
    lose_logs();
    let result = Store::open(folder.path(), &config());
    assert!(matches!(result, Err(StoreError::Open { .. })), "{result:?}");
}

#[test]
fn a_changed_byte_in_the_log_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fill(&open(folder.path()));
    change(&file(folder.path(), "log"), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let result = Store::open(folder.path(), &config());
    assert!(matches!(result, Err(StoreError::Open { .. })), "{result:?}");
}

#[test]
fn a_changed_byte_in_a_file_fails_the_reads_that_meet_it_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    fill(&store);
    store.flush().unwrap();
    drop(store);
    change(&file(folder.path(), "sst"), |bytes| bytes[100] ^= 1);
    let store = open(folder.path());
    let whole = |cf| store.scan(cf, &[], &[0xff; 9], &mut |_, _| std::ops::ControlFlow::Continue(()));
    let results = [whole(Cf::Log), whole(Cf::Order)];
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1, "{results:?}");
    let (damaged, sound) = if results[0].is_err() { (Cf::Log, Cf::Order) } else { (Cf::Order, Cf::Log) };
    let error = store.get(damaged, &key(0)).unwrap_err();
    assert_eq!(error.family, damaged.name());
    assert!(store.get(sound, &key(0)).unwrap().is_some());
}
