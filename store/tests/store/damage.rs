//! What is on disk is not what was written: the log cut or changed, a file changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use causeway_replica::view::{Batch, Cf, View};
use causeway_store::{Store, StoreError};

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
