//! The store: writes, look-ups, and the shard on top of it with every batch synced.

use std::time::Duration;

use causeway_bench::{Chat, Host, row};
use causeway_protocol::SiteId;
use causeway_replica::io::Input;
use causeway_replica::view::{Batch, Cf, View};
use causeway_store::{CommitThread, Identity, Store, StoreConfig, abort_on_failure};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tempfile::TempDir;

const BATCH: [usize; 2] = [1, 64];
/// Rows that the look-ups meet.
const ROWS: u64 = 100_000;
/// Longer than any sync takes.
const WAIT: Duration = Duration::from_secs(60);

struct Disk {
    store: Store,
    commits: Option<CommitThread>,
    _folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let identity = Identity { cluster: [1; 16], site: 1, node: 0, shard_count: 1 };
        let store = Store::open(folder.path(), &StoreConfig::new(identity)).expect("a new store");
        let commits = Some(store.start_commits(|_| {}, abort_on_failure).expect("a thread"));
        Self { store, commits, _folder: folder }
    }

    fn write_and_sync(&self, batch: &Batch) {
        let ticket = self.store.write(batch).expect("a write");
        assert!(self.store.wait_durable(ticket, WAIT).expect("a sync"), "the disk hangs");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(commits) = self.commits.take() {
            commits.stop().expect("a last sync");
        }
    }
}

/// One row in each batch, unsynced.
#[divan::bench]
fn write(bencher: Bencher) {
    let disk = Disk::new();
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        let (key, value) = row(number);
        number += 1;
        let mut batch = Batch::default();
        batch.put(Cf::Request, key, value);
        disk.store.write(&batch).expect("a write")
    });
}

/// Rows in one batch, synced.
#[divan::bench(args = BATCH)]
fn write_and_sync(bencher: Bencher, rows: usize) {
    let disk = Disk::new();
    let mut number = 0;
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        let mut batch = Batch::default();
        for _ in 0..rows {
            let (key, value) = row(number);
            number += 1;
            batch.put(Cf::Request, key, value);
        }
        disk.write_and_sync(&batch);
    });
}

/// Messages through the shard on the store, each batch synced before the next: the latency of ack 1, and with
/// 64 in a batch what one thread reaches.
#[divan::bench(args = BATCH)]
fn accept_and_sync(bencher: Bencher, messages: usize) {
    let disk = Disk::new();
    let mut chat = Chat::new();
    let mut host = Host::new(SiteId(1), &[SiteId(1)]);
    commit(&mut host, &disk, [Input::Submit(chat.create())]);
    bencher.counter(ItemsCount::new(messages)).bench_local(|| {
        let inputs: Vec<Input> = (0..messages).map(|_| Input::Submit(chat.message())).collect();
        commit(&mut host, &disk, inputs);
    });
}

fn commit(host: &mut Host, disk: &Disk, inputs: impl IntoIterator<Item = Input>) {
    for input in inputs {
        host.step_on(input, &disk.store);
    }
    let ticket = disk.store.write(&host.take_batch()).expect("a write");
    host.seal(ticket);
    assert!(disk.store.wait_durable(ticket, WAIT).expect("a sync"), "the disk hangs");
    host.step_on(Input::Durable(ticket), &disk.store);
    black_box(host.take_effects());
}

/// Look-ups of rows that exist, and of rows that do not (every new request is one).
#[divan::bench(args = [true, false])]
fn look_up(bencher: Bencher, exists: bool) {
    let disk = Disk::new();
    for number in 0..ROWS {
        let (key, value) = row(number);
        let mut batch = Batch::default();
        batch.put(Cf::Request, key, value);
        disk.store.write(&batch).expect("a write");
    }
    disk.store.flush().expect("a flush");
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        number = (number + 7) % ROWS;
        let (key, _) = row(if exists { number } else { number + ROWS });
        assert_eq!(disk.store.get(Cf::Request, &key).expect("a read").is_some(), exists);
    });
}
