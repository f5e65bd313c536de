//! Budgets: what must not get slower. Exits with 1 where one is exceeded.
//!
//! The commit is compared with the bare disk (append and `fdatasync` of the same bytes) in the same run, turn
//! by turn, so that the figure means the same on any machine. The others are times, with limits several times
//! above what a slow core needs: they catch a change of order, not of a few per cent.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use causeway_bench::{Chat, Host, event_frame, op, row};
use causeway_mailbox::{Limits, Popped, Registry, Wakes, queue};
use causeway_protocol::{FrameDecoder, encode_frame, wire};
use causeway_replica::io::Input;
use causeway_replica::view::{Batch, Cf};
use causeway_store::{Identity, Store, StoreConfig, abort_on_failure};

/// Turns of each side of the comparison.
const TURNS: usize = 400;
/// Longer than any sync takes.
const WAIT: Duration = Duration::from_secs(60);
/// Members of a room.
const MEMBERS: usize = 1_000;
/// Repetitions of what takes microseconds.
const RUN: usize = 10_000;

struct Budget {
    what: &'static str,
    unit: &'static str,
    limit: f64,
    measure: fn() -> f64,
}

const BUDGETS: [Budget; 6] = [
    // A sync of RocksDB's log costs what a sync costs, plus two changes of thread.
    Budget { what: "commit, 1 row a batch", unit: "x bare disk", limit: 2.0, measure: || commit(1) },
    // Memtables, filters and checksums of 64 rows come on top of the same sync.
    Budget { what: "commit, 64 rows a batch", unit: "x bare disk", limit: 4.0, measure: || commit(64) },
    Budget { what: "encode an event", unit: "ns", limit: 2_000.0, measure: encode },
    Budget { what: "decode an event", unit: "ns", limit: 2_000.0, measure: decode },
    Budget { what: "accept a request, 64 a batch", unit: "ns", limit: 100_000.0, measure: accept },
    Budget { what: "deliver an event to a member", unit: "ns", limit: 2_000.0, measure: deliver },
];

fn main() {
    // Cargo passes flags of its own; a name picks one budget.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut exceeded = false;
    for budget in BUDGETS.iter().filter(|budget| budget.what.contains(&wanted)) {
        let found = (budget.measure)();
        let verdict = if found <= budget.limit { "within" } else { "EXCEEDED" };
        println!("{:32} {found:10.2} {:12} budget {:10} {verdict}", budget.what, budget.unit, budget.limit);
        exceeded |= found > budget.limit;
    }
    std::process::exit(i32::from(exceeded));
}

/// Median time of a synced batch through the store, over that of the same bytes appended and synced.
fn commit(rows: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let identity = Identity { cluster: [1; 16], site: 1, node: 0, shard_count: 1 };
    let store = Store::open(&folder.path().join("db"), &StoreConfig::new(identity)).expect("a new store");
    let commits = store.start_commits(|_| {}, abort_on_failure).expect("a thread");
    let mut file = File::create(folder.path().join("bare")).expect("a new file");
    let (mut through_store, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let mut batch = Batch::default();
        for number in 0..rows {
            let (key, value) = row((turn * rows + number) as u64);
            batch.put(Cf::Request, key, value);
        }
        let bytes = vec![7; batch.bytes()];
        let start = Instant::now();
        file.write_all(&bytes).and_then(|()| file.sync_data()).expect("the disk");
        bare.push(start.elapsed());
        let start = Instant::now();
        let ticket = store.write(&batch).expect("a write");
        assert!(store.wait_durable(ticket, WAIT).expect("a sync"), "the disk hangs");
        through_store.push(start.elapsed());
    }
    commits.stop().expect("a last sync");
    median(through_store).as_secs_f64() / median(bare).as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Mean time of one of `items` that `work` does, ns: the best of a few runs, since what disturbs only adds.
fn best_ns(items: usize, mut work: impl FnMut()) -> f64 {
    let run = |()| {
        let start = Instant::now();
        work();
        start.elapsed().as_nanos() as f64 / items as f64
    };
    [(); 5].map(run).into_iter().fold(f64::INFINITY, f64::min)
}

fn encode() -> f64 {
    let event = event_frame();
    best_ns(RUN, || (0..RUN).for_each(|_| drop(std::hint::black_box(encode_frame(std::hint::black_box(&event))))))
}

fn decode() -> f64 {
    let (frame, _) = op();
    let mut decoder = FrameDecoder::default();
    best_ns(RUN, || {
        for _ in 0..RUN {
            decoder.push(std::hint::black_box(&frame));
            let event = decoder.next::<wire::EventFrame>("EventFrame").expect("own frame");
            assert!(std::hint::black_box(event).is_some());
        }
    })
}

fn accept() -> f64 {
    let mut chat = Chat::new();
    let mut host = Host::alone(&mut chat);
    best_ns(RUN, || {
        for number in 0..RUN {
            host.step(Input::Submit(chat.message()));
            if number % 64 == 63 {
                host.commit();
            }
        }
        host.commit();
    })
}

fn deliver() -> f64 {
    let registry = Registry::new();
    let mut members: Vec<_> = (0..MEMBERS)
        .map(|_| {
            let (sender, receiver) = queue(Limits { items_max: 1_024, bytes_max: 1 << 20 });
            let mut subscriber = registry.subscriber(sender);
            subscriber.subscribe(1);
            (subscriber, receiver)
        })
        .collect();
    let (frame, _) = op();
    best_ns(MEMBERS, || {
        registry.deliver(&1, &frame, &mut Wakes::default());
        for (_, receiver) in &mut members {
            assert!(matches!(receiver.try_pop(), Some(Popped::Item(_))));
        }
    })
}
