//! The file store against crashes: torn tails, damage, SIGKILL in the middle of writes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::contract_tests::{added, committed, dot, id};
use super::*;

/// Tells the test binary, run as a child, where to write until it is killed.
const CHILD: &str = "CAUSEWAY_TEST_STORE_CHILD";

fn numbers(saved: &Saved) -> Vec<u64> {
    saved.outbox.iter().map(|held| held.no.0).collect()
}

#[test]
fn a_log_cut_anywhere_opens_with_the_whole_records_before_the_cut_and_takes_new_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("client.log");
    let mut ends = Vec::new();
    let mut store = FileStore::open(&path, Sync::System).expect("opens");
    for no in 1..=4 {
        store.save(&[added(no, 40), committed(1, Covers::Dot(dot(1, no), id(no)))]).expect("saves");
        ends.push(std::fs::metadata(&path).expect("is there").len() as usize);
    }
    drop(store);
    let whole = std::fs::read(&path).expect("reads");
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).expect("writes");
        let mut store = FileStore::open(&path, Sync::System).expect("a torn log opens");
        let complete = ends.iter().filter(|end| **end <= cut).count();
        let held = numbers(&store.load().expect("loads"));
        assert!(held.len() == complete || held.len() == complete + 1, "cut at {cut}: {held:?}");
        store.save(&[added(9, 5)]).expect("saves");
        drop(store);
        let mut again = FileStore::open(&path, Sync::System).expect("opens");
        assert_eq!(numbers(&again.load().expect("loads")).last(), Some(&9), "cut at {cut}");
    }
}

#[test]
fn an_unsound_end_is_kept_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("client.log");
    let mut store = FileStore::open(&path, Sync::System).expect("opens");
    store.save(&[added(1, 10), added(2, 10)]).expect("saves");
    drop(store);
    let mut bytes = std::fs::read(&path).expect("reads");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).expect("writes");
    let mut store = FileStore::open(&path, Sync::System).expect("opens");
    assert_eq!(numbers(&store.load().expect("loads")), [1]);
    assert!(folder.path().join("client.log.damaged").exists());
}

#[test]
fn a_second_client_and_a_foreign_file_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("client.log");
    let _first = FileStore::open(&path, Sync::System).expect("opens");
    let second = FileStore::open(&path, Sync::System).err().map(|e| e.kind());
    assert_eq!(second, Some(io::ErrorKind::WouldBlock));
    let foreign = folder.path().join("letter.txt");
    std::fs::write(&foreign, "Dear Ann, how are you?").expect("writes");
    let refused = FileStore::open(&foreign, Sync::System).err().map(|e| e.kind());
    assert_eq!(refused, Some(io::ErrorKind::InvalidData));
    assert_eq!(std::fs::read(&foreign).expect("reads"), b"Dear Ann, how are you?");
}

#[test]
fn a_long_log_is_compacted_and_holds_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("client.log");
    let mut store = FileStore::open(&path, Sync::System).expect("opens");
    for no in 1..=2_000 {
        let commit = committed(1, Covers::Dot(dot(1, no), id(no)));
        store.save(&[added(no, 2_000), commit]).expect("saves");
        if no > 3 {
            store.save(&[Change::Removed(RequestNo(no - 3))]).expect("saves");
        }
    }
    let bytes = std::fs::metadata(&path).expect("is there").len();
    assert!(bytes < 3 << 20, "{bytes} bytes of some {}", 2_000 * 2_100);
    let before = store.load().expect("loads");
    drop(store);
    let mut again = FileStore::open(&path, Sync::System).expect("opens");
    assert_eq!(again.load().expect("loads"), before);
    assert_eq!(numbers(&before), [1_998, 1_999, 2_000]);
    assert_eq!(before.cursors.values().map(|c| c.shown.len()).sum::<usize>(), SHOWN_PER_ROOM_MAX);
}

#[test]
fn what_was_saved_survives_sigkill_in_the_middle_of_writes() {
    for (round, sync) in [(0, "system"), (1, "disk"), (2, "system")] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.log");
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "store::file_tests::child_that_writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, format!("{sync}:{}", path.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut saved = 0;
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let enough = 150 + round * 333;
        while saved < enough {
            let line = lines.next().expect("the child writes on").expect("text");
            // The test harness prints lines of its own.
            if let Some(no) = line.rsplit("saved ").next().and_then(|no| no.parse().ok()) {
                saved = no;
            }
        }
        child.kill().expect("a running child");
        child.wait().expect("an ended child");
        let said = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("saved ")?.parse().ok()).max();
        let saved = said.unwrap_or(saved);

        let mut store = FileStore::open(&path, Sync::System).expect("opens after the kill");
        let held = numbers(&store.load().expect("loads"));
        // The child keeps the last fifty; one batch more than it could announce may be there.
        let first = held.first().copied().expect("some");
        assert!(held.windows(2).all(|pair| pair[1] == pair[0] + 1), "a hole: {held:?}");
        assert!(held.last().is_some_and(|last| *last >= saved), "{saved} was saved, {:?} is there", held.last());
        assert!(first <= saved.saturating_sub(48).max(1), "{first} is the first, {saved} was saved");
    }
}

#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let (sync, path) = order.split_once(':').expect("sync:path");
    let sync = if sync == "disk" { Sync::Disk } else { Sync::System };
    let mut store = FileStore::open(path, sync).expect("opens");
    let mut out = std::io::stdout();
    for no in 1.. {
        let mut changes = vec![added(no, 700 + no as usize % 4_000)];
        if no > 50 {
            changes.push(Change::Removed(RequestNo(no - 50)));
        }
        store.save(&changes).expect("saves");
        // The parent has gone if this fails.
        if writeln!(out, "saved {no}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

/// A machine counts on from the highest number that is saved.
#[test]
fn a_request_whose_number_no_client_reaches_ends_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("client.log");
    let mut store = FileStore::open(&path, Sync::System).expect("opens");
    store.save(&[added(1, 10), added(u64::MAX, 10), added(2, 10)]).expect("saves");
    drop(store);
    let mut store = FileStore::open(&path, Sync::System).expect("opens");
    assert_eq!(numbers(&store.load().expect("loads")), [1]);
}
