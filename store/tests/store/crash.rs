//! What a killed process, and one whose disk failed, leave behind. The child is this test binary again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use causeway_replica::view::{Batch, Cf, View};
use causeway_store::{Store, StoreConfig, StoreError, Ticket};

use crate::subject::config;

/// Names the child's folder, and makes it the child.
const FOLDER: &str = "CAUSEWAY_TEST_STORE";
/// The first batch number that the child writes.
const FIRST: &str = "CAUSEWAY_TEST_FIRST";

const WRITERS: u64 = 3;
const ROUNDS: u64 = 6;
/// Batches that a writer waits for, one by one, before it writes as fast as it can.
const PACED: u64 = 20;
/// Far more than it takes to be killed or to fail.
const BATCHES_MAX: u64 = 1_000_000;
const WAIT: Duration = Duration::from_secs(60);

/// So small that memtables are flushed and logs are switched all the time.
fn small() -> StoreConfig {
    StoreConfig { memtable_bytes_max: 1 << 20, wal_bytes_max: 1 << 20, ..config() }
}

fn key(writer: u64, batch: u64) -> Bytes {
    Bytes::from([&[writer as u8; 16][..], &batch.to_be_bytes()].concat())
}

/// One batch: a row in each of three families, in two of them large, and the writer's own counter.
fn batch(writer: u64, number: u64) -> Batch {
    let mut batch = Batch::default();
    for cf in [Cf::Op, Cf::Request, Cf::Log] {
        let bytes = if cf == Cf::Log { 8 } else { 50 + (number * 37 % 700) as usize };
        batch.put(cf, key(writer, number), Bytes::from(vec![number as u8; bytes]));
    }
    batch.put(Cf::Meta, Bytes::copy_from_slice(&writer.to_be_bytes()), Bytes::copy_from_slice(&number.to_be_bytes()));
    batch
}

/// Prints `durable WRITER NUMBER` for each batch whose ticket was reported, and `failed` when the disk did.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = Store::open(Path::new(&folder), &small()).unwrap();
    let tickets: Arc<Mutex<BTreeMap<Ticket, (u64, u64)>>> = Arc::default();
    let reported = tickets.clone();
    let durable = move |ticket: Ticket| {
        let mut tickets = reported.lock().unwrap();
        let later = tickets.split_off(&Ticket(ticket.0 + 1));
        let mut out = std::io::stdout().lock();
        for (writer, number) in std::mem::replace(&mut *tickets, later).into_values() {
            writeln!(out, "durable {writer} {number}").unwrap();
        }
        out.flush().unwrap();
    };
    let _commits = store.start_commits(durable, |error| println!("failed: {error}")).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, tickets) = (&store, &tickets);
            scope.spawn(move || {
                for number in first..BATCHES_MAX {
                    let Ok(ticket) = store.write(&batch(writer, number)) else { return };
                    tickets.lock().unwrap().insert(ticket, (writer, number));
                    if number < first + PACED {
                        // An error shows at the next write.
                        let _ = store.wait_durable(ticket, WAIT);
                    }
                }
            });
        }
    });
    // Only a failed disk leads here: nothing gets better from now on.
    let durable = store.durable();
    assert!(store.failed().is_some());
    assert!(matches!(store.write(&batch(0, BATCHES_MAX)), Err(StoreError::Stopped(_))));
    assert!(store.get(Cf::Log, &key(0, first)).unwrap().is_some(), "reads go on");
    let stopped = store.wait_durable(Ticket(u64::MAX), WAIT);
    assert!(matches!(stopped, Err(StoreError::Stopped(_))), "{stopped:?}");
    assert_eq!(store.durable(), durable);
    println!("gave up");
    std::io::stdout().flush().unwrap();
}

fn spawn(mut command: Command, folder: &Path, first: u64) -> Child {
    let name = concat!(module_path!(), "::child");
    let name = name.split_once("::").unwrap().1;
    command.args([name, "--exact", "--nocapture"]);
    command.env(FOLDER, folder).env(FIRST, first.to_string()).stdout(Stdio::piped()).spawn().unwrap()
}

fn own_binary() -> std::path::PathBuf {
    std::env::current_exe().unwrap()
}

fn parse(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("durable ")?.split(' ').map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

/// Checks every promise against what is on disk, and returns the highest batch number that is.
fn check(store: &Store, reported: &BTreeSet<(u64, u64)>) -> u64 {
    for (writer, number) in reported {
        let key = key(*writer, *number);
        let row = store.get(Cf::Log, &key).unwrap();
        assert!(row.is_some(), "batch {number} of writer {writer} was reported durable and is gone");
    }
    let rows = |cf: Cf, writer: u64| {
        let mut numbers = BTreeSet::new();
        let (start, end) = (key(writer, 0), key(writer, u64::MAX));
        store
            .scan(cf, &start, &end, &mut |key, value| {
                let number = u64::from_be_bytes(*key.last_chunk().unwrap());
                let row = batch(writer, number);
                let want = row.rows().find(|(c, ..)| *c == cf).and_then(|(_, _, value)| value).unwrap();
                assert_eq!(value, want);
                numbers.insert(number);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        numbers
    };
    let mut highest = 0;
    for writer in 0..WRITERS {
        let numbers = rows(Cf::Log, writer);
        assert_eq!(rows(Cf::Op, writer), numbers, "torn batches of writer {writer}");
        assert_eq!(rows(Cf::Request, writer), numbers, "torn batches of writer {writer}");
        let counter = store.get(Cf::Meta, &writer.to_be_bytes()).unwrap();
        let last = counter.map(|value| u64::from_be_bytes(value[..].try_into().unwrap()));
        assert_eq!(numbers.last().copied(), last, "the counter of writer {writer}");
        highest = highest.max(last.unwrap_or(0));
    }
    highest
}

#[test]
fn a_killed_process_has_kept_every_durable_batch_and_no_half_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut reported = BTreeSet::new();
    let mut first = 1;
    for round in 0..ROUNDS {
        let mut child = spawn(Command::new(own_binary()), folder.path(), first);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed after a few reports, or after several flushes: another point each round.
        let reports = 1 + round * round * 400 + u64::from(std::process::id()) % 97;
        let before = reported.len() as u64;
        while (reported.len() as u64) < before + reports {
            let line = lines.next().expect("the child ended by itself").unwrap();
            reported.extend(parse(&line));
        }
        child.kill().unwrap();
        let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
        child.wait().unwrap();
        // The last line may be cut, and read as another number.
        rest.pop();
        reported.extend(rest.iter().filter_map(|line| parse(line)));
        let store = Store::open(folder.path(), &small()).unwrap();
        assert_eq!(store.cut(), None, "a killed process leaves no gap: what it wrote, the kernel has");
        first = check(&store, &reported) + 1;
    }
    assert!(reported.len() as u64 > ROUNDS);
}

#[test]
fn after_the_disk_fails_nothing_is_reported_and_everything_reported_is_there() {
    let folder = tempfile::tempdir().unwrap();
    // A process whose files may not grow: the log's next block cannot be written.
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; ulimit -f 2000; exec "$0" "$@""#]).arg(own_binary());
    let mut child = spawn(shell, folder.path(), 1);
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    assert!(lines.iter().any(|line| line == "gave up"), "{lines:?}");
    let failed = lines.iter().position(|line| line.starts_with("failed: "));
    if let Some(failed) = failed {
        assert!(lines[failed..].iter().all(|line| parse(line).is_none()), "reported after the failure");
    }
    let reported: BTreeSet<_> = lines.iter().filter_map(|line| parse(line)).collect();
    assert!(!reported.is_empty(), "it failed before anything was durable: {lines:?}");
    check(&Store::open(folder.path(), &small()).unwrap(), &reported);
}
