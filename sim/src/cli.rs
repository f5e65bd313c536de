//! The command line: run many seeds, or replay one.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway_sim::coverage::{Coverage, EXPECTED};
use causeway_sim::trace::Trace;
use causeway_sim::{
    Break, Outcome,
    run::{catch_panics, run as run_seed},
};

/// Seeds after which all of [`EXPECTED`] must have been reached.
const SEEDS_FOR_COVERAGE: u64 = 500;
/// Failures printed in full.
const FAILURES_SHOWN_MAX: usize = 20;

/// Deterministic simulation of Causeway.
#[derive(clap::Parser, Debug)]
#[command(version)]
pub struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Seeds to run at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Stop at the first failure.
    #[arg(long)]
    fail_fast: bool,
    /// Replay one seed and print its trace.
    #[arg(long)]
    replay: Option<u64>,
    /// Switch on a deliberate defect: seeds must fail.
    #[arg(long = "break", value_name = "NAME")]
    defect: Option<Break>,
    /// Print what was reached.
    #[arg(long)]
    coverage: bool,
}

struct Totals {
    done: u64,
    events: u64,
    coverage: Coverage,
    failures: Vec<Outcome>,
}

/// Does what the arguments say.
pub fn run(args: &Args) -> ExitCode {
    // A panic of the code under test is caught and reported as a violation, with its seed.
    catch_panics();
    match args.replay {
        Some(seed) => replay(seed, args.defect),
        None => many(args),
    }
}

fn replay(seed: u64, defect: Option<Break>) -> ExitCode {
    // The pipe's reader may leave: what is printed then is nobody's loss.
    let outcome = run_seed(
        seed,
        defect,
        Trace::told(|line| _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{line}\n"))),
    );
    println!("trace {:016x}, {} events, {} virtual ms", outcome.trace_hash, outcome.events, outcome.took / 1_000);
    match outcome.violation {
        None => {
            println!("seed {seed}: all invariants hold");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: BROKEN: {}: {}", violation.invariant, violation.detail);
            ExitCode::FAILURE
        }
    }
}

fn many(args: &Args) -> ExitCode {
    let next = AtomicU64::new(args.start);
    let end = args.start.saturating_add(args.seeds);
    let totals = Mutex::new(Totals { done: 0, events: 0, coverage: Coverage::default(), failures: Vec::new() });
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| worker(args, &next, end, &totals));
        }
    });
    let totals = totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report(args, totals)
}

fn worker(args: &Args, next: &AtomicU64, end: u64, totals: &Mutex<Totals>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        let outcome = run_seed(seed, args.defect, Trace::silent());
        let mut totals = totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        totals.done += 1;
        totals.events += outcome.events;
        totals.coverage.merge(&outcome.coverage);
        if totals.done.is_multiple_of((args.seeds / 20).max(1)) {
            println!(
                "{:>7} of {} seeds, {} failed",
                totals.done,
                args.seeds,
                totals.failures.len() + usize::from(outcome.violation.is_some())
            );
        }
        if let Some(violation) = &outcome.violation {
            if totals.failures.len() < FAILURES_SHOWN_MAX {
                let defect = args.defect.map(|d| format!(" --break {d}")).unwrap_or_default();
                println!("seed {seed}: BROKEN: {}: {}", violation.invariant, violation.detail);
                println!("    replay: cargo run --release -p causeway-sim -- --replay {seed}{defect}");
            }
            totals.failures.push(outcome);
            if args.fail_fast {
                next.store(end, Ordering::Relaxed);
            }
        }
    }
}

fn report(args: &Args, totals: Totals) -> ExitCode {
    if args.coverage {
        totals.coverage.iter().for_each(|(what, times)| println!("{times:>12}  {what}"));
    }
    let mut reasons = std::collections::BTreeMap::<&str, u64>::new();
    for violation in totals.failures.iter().filter_map(|outcome| outcome.violation.as_ref()) {
        *reasons.entry(violation.invariant).or_insert(0) += 1;
    }
    reasons.iter().for_each(|(invariant, times)| println!("{times:>12}  seeds broke: {invariant}"));
    let first = totals.failures.iter().map(|outcome| outcome.seed).min();
    println!("{} seeds, {} events, {} failed", totals.done, totals.events, totals.failures.len());
    if let (Some(defect), Some(first)) = (args.defect, first) {
        println!("{defect}: first failure at seed {first}, the {}. one", first - args.start + 1);
    }
    let missing: Vec<&&str> = EXPECTED.iter().filter(|what| totals.coverage.count(what) == 0).collect();
    if args.defect.is_none() && args.seeds >= SEEDS_FOR_COVERAGE && !missing.is_empty() {
        println!("never reached: {missing:?}");
        return ExitCode::FAILURE;
    }
    if totals.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
