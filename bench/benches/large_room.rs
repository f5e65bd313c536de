//! What is asked of a room of 100,000 members and 1,000,000 messages, against one of a thousandth of each: in a relay's store,
//! rows read and written, which must not be more, and times, whose ratio must stay below a limit. Exits with 1 where one is
//! exceeded.
//!
//! Writes are timed without their sync, which no room makes longer. `--members N` is another size.

use std::path::Path;
use std::time::Instant;

use causeway_bench::large_room::{LargeRoom, OnDisk, Size, acts, measure};
use causeway_store::{Identity, Store, StoreConfig};

/// Members of the large room.
const MEMBERS: usize = 100_000;
/// Members of the small room.
const MEMBERS_SMALL: usize = 100;
/// Messages a member.
const MESSAGES: usize = 10;
/// Times that each act is done, in each room.
const TIMES: usize = 20;
/// What an act may take in the large room, times that in the small one. Its rows lie in more and larger files.
const RATIO_MAX: f64 = 5.0;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--members").skip(1);
    let members = arguments.next().map_or(MEMBERS, |text| text.parse().expect("--members takes a number"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut small = fill(&folder.path().join("small"), MEMBERS_SMALL);
    let mut large = fill(&folder.path().join("large"), members);
    println!("{:30} {:>14} {:>14} {:>10} {:>10} {:>6}", "", "read", "written", "small", "large", "ratio");
    let mut exceeded = false;
    for (in_small, in_large) in acts().iter().zip(&acts()) {
        let (small, large) = (measure(&mut small, in_small, TIMES), measure(&mut large, in_large, TIMES));
        let ratio = large.time.as_secs_f64() / small.time.as_secs_f64();
        let is_more = large.read > small.read || large.written > small.written;
        let verdict = if !is_more && ratio <= RATIO_MAX { "within" } else { "EXCEEDED" };
        let pair = |small, large| format!("{small} {large}");
        println!(
            "{:30} {:>14} {:>14} {:>10.1?} {:>10.1?} {ratio:6.2} {verdict}",
            in_small.name,
            pair(small.read, large.read),
            pair(small.written, large.written),
            small.time,
            large.time
        );
        exceeded |= verdict == "EXCEEDED";
    }
    std::process::exit(i32::from(exceeded));
}

fn fill(path: &Path, members: usize) -> LargeRoom<OnDisk> {
    let identity = Identity { cluster: [1; 16], site: 1, node: 0, shard_count: 1 };
    let store = Store::open(path, &StoreConfig::new(identity)).expect("a new store");
    let start = Instant::now();
    let size = Size { members, messages: members * MESSAGES };
    let room = LargeRoom::fill(OnDisk(store), size);
    println!("{} members, {} messages: filled in {:.1?}", size.members, size.messages, start.elapsed());
    room
}
