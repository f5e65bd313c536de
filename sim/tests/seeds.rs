//! Seeds as tests: the same seed twice is the same run, known bad ones stay good, a few hundred hold, and each
//! deliberate defect is seen.

use causeway_sim::trace::Trace;
use causeway_sim::{Break, Outcome, run};

/// Seeds that every test run plays.
const SEEDS: std::ops::Range<u64> = 0..150;
/// Every deliberate defect is seen within so many seeds; a dropped recount, the rarest, breaks four of them.
const DEFECT_SEEDS: u64 = 1_000;

fn play(seed: u64, defect: Option<Break>) -> Outcome {
    run(seed, defect, Trace::silent())
}

fn assert_holds(seed: u64) {
    let outcome = play(seed, None);
    if let Some(violation) = outcome.violation {
        panic!(
            "seed {seed}: {}: {}\nreplay: cargo run --release -p causeway-sim -- --replay {seed}",
            violation.invariant, violation.detail
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3, 44, 555] {
        let (first, second) = (play(seed, None), play(seed, None));
        assert_eq!((first.trace_hash, first.events), (second.trace_hash, second.events), "seed {seed}");
        assert_eq!(first.coverage, second.coverage, "seed {seed}");
    }
    assert_ne!(play(1, None).trace_hash, play(2, None).trace_hash);
}

#[test]
fn a_told_trace_is_the_silent_one() {
    let told = run(7, None, Trace::told(|_| {}));
    assert_eq!(told.trace_hash, play(7, None).trace_hash);
}

#[test]
fn known_bad_seeds_hold() {
    let seeds = include_str!("../known_bad_seeds.txt").lines().map(|line| line.split('#').next().unwrap_or(""));
    for seed in seeds.map(str::trim).filter(|seed| !seed.is_empty()) {
        assert_holds(seed.parse().unwrap_or_else(|e| panic!("{seed:?} in known_bad_seeds.txt: {e}")));
    }
}

#[test]
fn some_seeds_hold() {
    SEEDS.for_each(assert_holds);
}

#[test]
fn every_deliberate_defect_is_seen() {
    causeway_sim::run::catch_panics();
    for (name, defect) in Break::ALL {
        let seen = (0..DEFECT_SEEDS).any(|seed| play(seed, Some(defect)).violation.is_some());
        assert!(seen, "{name} was not seen in {DEFECT_SEEDS} seeds");
    }
}
