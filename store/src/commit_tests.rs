use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway_replica::io::Ticket;

use super::{CommitThread, Committer, Tickets, Urgency};
use crate::StoreError;

const WAIT: Duration = Duration::from_secs(60);

fn ok() -> Result<(), StoreError> {
    Ok(())
}

fn broken() -> StoreError {
    StoreError::io("syncing the log", "Input/output error")
}

fn start(
    tickets: &Arc<Tickets>,
    sync: impl FnMut() -> Result<(), StoreError> + Send + 'static,
    durable: impl FnMut(Ticket) + Send + 'static,
) -> CommitThread {
    let failure = |error: &StoreError| panic!("{error}");
    CommitThread::start(tickets.clone(), committer(sync, durable, failure)).unwrap()
}

fn committer(
    sync: impl FnMut() -> Result<(), StoreError> + Send + 'static,
    durable: impl FnMut(Ticket) + Send + 'static,
    failure: impl FnMut(&StoreError) + Send + 'static,
) -> Committer {
    Committer { sync: Box::new(sync), durable: Box::new(durable), failure: Box::new(failure) }
}

#[test]
fn tickets_rise_and_become_durable_in_order() {
    let tickets = Arc::new(Tickets::default());
    let seen: Arc<Mutex<Vec<Ticket>>> = Arc::default();
    let reports = seen.clone();
    let commits = start(&tickets, ok, move |ticket| reports.lock().unwrap().push(ticket));
    for number in 1..=100 {
        assert_eq!(tickets.issue(Urgency::Now), Ticket(number));
        assert!(tickets.durable() <= Ticket(number));
    }
    assert!(tickets.wait(Ticket(100), WAIT).unwrap());
    assert_eq!(commits.stop(), Ok(Ticket(100)));
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted() && seen.last() == Some(&Ticket(100)), "{seen:?}");
    assert_eq!(tickets.figures().syncs, seen.len() as u64);
}

/// A log with a buffer, as the threads and the disk see it.
#[derive(Default)]
struct Log {
    /// Tickets of the written entries; 0 while the writer has not been given one.
    entries: Mutex<Vec<Arc<AtomicU64>>>,
    synced: AtomicU64,
}

#[test]
fn a_durable_ticket_covers_every_lower_ticket_of_every_writer() {
    const WRITERS: usize = 4;
    const WRITES: usize = 3_000;
    let tickets = Arc::new(Tickets::default());
    let log = Arc::new(Log::default());
    let violated = Arc::new(AtomicBool::new(false));
    let (disk, seen, wrong) = (log.clone(), log.clone(), violated.clone());
    let sync = move || {
        let length = disk.entries.lock().unwrap().len();
        disk.synced.store(length as u64, Ordering::SeqCst);
        Ok(())
    };
    // What is beyond the synced length and has a ticket must have one beyond the durable ticket.
    let durable = move |ticket: Ticket| {
        let entries = seen.entries.lock().unwrap();
        let unsynced = &entries[seen.synced.load(Ordering::SeqCst) as usize..];
        let lost = unsynced.iter().any(|entry| (1..=ticket.0).contains(&entry.load(Ordering::SeqCst)));
        wrong.fetch_or(lost, Ordering::SeqCst);
    };
    let commits = start(&tickets, sync, durable);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..WRITES {
                    let entry = Arc::new(AtomicU64::new(0));
                    log.entries.lock().unwrap().push(entry.clone());
                    let (ticket, lead) = tickets.issue_to_lead();
                    entry.store(ticket.0, Ordering::SeqCst);
                    if let Some(lead) = lead {
                        lead.sync();
                    }
                }
            });
        }
    });
    assert_eq!(commits.stop(), Ok(Ticket((WRITERS * WRITES) as u64)));
    assert!(!violated.load(Ordering::SeqCst));
}

#[test]
fn a_write_that_returns_during_a_sync_waits_for_the_next() {
    let tickets = Arc::new(Tickets::default());
    let (shared, mut syncs) = (tickets.clone(), 0);
    let seen: Arc<Mutex<Vec<Ticket>>> = Arc::default();
    let reports = seen.clone();
    let sync = move || {
        syncs += 1;
        if syncs == 1 {
            shared.issue(Urgency::Now);
        }
        Ok(())
    };
    let commits = start(&tickets, sync, move |ticket| reports.lock().unwrap().push(ticket));
    tickets.issue(Urgency::Now);
    assert!(tickets.wait(Ticket(2), WAIT).unwrap());
    assert_eq!(commits.stop(), Ok(Ticket(2)));
    assert_eq!(*seen.lock().unwrap(), [Ticket(1), Ticket(2)]);
}

#[test]
fn after_a_failed_sync_nothing_is_durable_although_the_next_would_succeed() {
    let tickets = Arc::new(Tickets::default());
    let seen: Arc<Mutex<Vec<Ticket>>> = Arc::default();
    let failures: Arc<Mutex<Vec<StoreError>>> = Arc::default();
    let (reports, hook) = (seen.clone(), failures.clone());
    let mut syncs = 0;
    let sync = move || {
        syncs += 1;
        if syncs == 2 { Err(broken()) } else { Ok(()) }
    };
    let durable = move |ticket| reports.lock().unwrap().push(ticket);
    let failure = move |error: &StoreError| hook.lock().unwrap().push(error.clone());
    let commits = CommitThread::start(tickets.clone(), committer(sync, durable, failure)).unwrap();

    tickets.issue(Urgency::Now);
    assert!(tickets.wait(Ticket(1), WAIT).unwrap());
    tickets.issue(Urgency::Now);
    let stopped = StoreError::Stopped(Box::new(broken()));
    assert_eq!(tickets.wait(Ticket(2), WAIT), Err(stopped.clone()));
    tickets.issue(Urgency::Now);
    assert_eq!(tickets.wait(Ticket(3), WAIT), Err(stopped.clone()));
    assert_eq!(tickets.wait(Ticket(1), WAIT), Ok(true), "what was durable stays so");
    assert_eq!(commits.stop(), Err(stopped));
    assert_eq!(tickets.durable(), Ticket(1));
    assert_eq!(*seen.lock().unwrap(), [Ticket(1)]);
    assert_eq!(*failures.lock().unwrap(), [broken()], "told once");
}

#[test]
fn a_sync_during_which_a_write_fails_does_not_count() {
    let tickets = Arc::new(Tickets::default());
    let shared = tickets.clone();
    let sync = move || {
        shared.fail(&broken());
        Ok(())
    };
    let commits = start(&tickets, sync, |ticket| panic!("{ticket:?} was reported"));
    tickets.issue(Urgency::Now);
    assert!(tickets.wait(Ticket(1), WAIT).is_err());
    assert!(commits.stop().is_err());
    assert_eq!((tickets.durable(), tickets.failed()), (Ticket(0), Some(broken())));
}

#[test]
fn the_first_failure_is_kept() {
    let tickets = Tickets::default();
    assert!(tickets.fail(&broken()));
    assert!(!tickets.fail(&StoreError::io("writing", "No space left on device")));
    assert_eq!(tickets.failed(), Some(broken()));
}

#[test]
fn a_panic_in_a_callback_is_a_failure() {
    let tickets = Arc::new(Tickets::default());
    let failures = Arc::new(AtomicU64::new(0));
    let hook = failures.clone();
    let failure = move |_: &StoreError| {
        hook.fetch_add(1, Ordering::SeqCst);
    };
    let durable = |_| panic!("on purpose");
    let commits = CommitThread::start(tickets.clone(), committer(ok, durable, failure)).unwrap();
    tickets.issue(Urgency::Now);
    assert!(tickets.wait(Ticket(1), WAIT).is_ok_and(|durable| durable), "the sync itself succeeded");
    assert!(commits.stop().is_err());
    assert_eq!(failures.load(Ordering::SeqCst), 1);
}

#[test]
fn a_lazy_write_is_synced_though_nobody_urges() {
    let tickets = Arc::new(Tickets::default());
    let commits = start(&tickets, ok, |_| {});
    until_waiting(&tickets);
    tickets.issue(Urgency::Lazy);
    tickets.issue(Urgency::Lazy);
    assert!(tickets.wait(Ticket(2), WAIT).unwrap());
    assert_eq!(tickets.figures().syncs, 1, "both are synced at once");
    commits.stop().unwrap();
}

#[test]
fn an_urgent_write_wakes_a_thread_that_waits() {
    let tickets = Arc::new(Tickets::default());
    let commits = start(&tickets, ok, |_| {});
    for number in 1..=3 {
        until_waiting(&tickets);
        tickets.issue(Urgency::Now);
        assert!(tickets.wait(Ticket(number), WAIT).unwrap());
    }
    commits.stop().unwrap();
}

fn until_waiting(tickets: &Tickets) {
    while !tickets.is_waiting() {
        std::thread::yield_now();
    }
}

#[test]
fn an_urgent_write_takes_the_lazy_ones_along() {
    let tickets = Arc::new(Tickets::default());
    tickets.issue(Urgency::Lazy);
    tickets.issue(Urgency::Now);
    tickets.issue(Urgency::Lazy);
    let commits = start(&tickets, ok, |_| {});
    assert!(tickets.wait(Ticket(3), WAIT).unwrap());
    assert_eq!(commits.stop(), Ok(Ticket(3)));
    assert_eq!(tickets.figures().syncs, 1);
}

#[test]
fn a_second_commit_thread_is_refused() {
    let tickets = Arc::new(Tickets::default());
    let commits = start(&tickets, ok, |_| {});
    let second = || CommitThread::start(tickets.clone(), committer(ok, |_| {}, |_| {}));
    assert!(second().is_err());
    commits.stop().unwrap();
    assert!(second().is_err(), "it would end at once and leave writers waiting");
}

#[test]
fn stopping_syncs_what_was_written_and_waiting_has_an_end() {
    let tickets = Arc::new(Tickets::default());
    assert_eq!(tickets.wait(Ticket(1), Duration::from_millis(1)), Ok(false));
    tickets.issue(Urgency::Lazy);
    let commits = start(&tickets, ok, |_| {});
    assert_eq!(commits.stop(), Ok(Ticket(1)));
}

#[test]
fn a_writer_syncs_in_the_place_of_an_idle_commit_thread() {
    let tickets = Arc::new(Tickets::default());
    let here = std::thread::current().id();
    let seen: Arc<Mutex<Vec<(Ticket, bool)>>> = Arc::default();
    let reports = seen.clone();
    let durable = move |ticket| reports.lock().unwrap().push((ticket, std::thread::current().id() == here));
    let commits = start(&tickets, ok, durable);
    for number in 1..=3 {
        until_waiting(&tickets);
        let (ticket, lead) = tickets.issue_to_lead();
        assert_eq!((ticket, tickets.durable()), (Ticket(number), Ticket(number - 1)));
        lead.expect("nobody else syncs").sync();
        assert_eq!(tickets.durable(), ticket);
    }
    assert_eq!(commits.stop(), Ok(Ticket(3)));
    assert_eq!(*seen.lock().unwrap(), [(Ticket(1), true), (Ticket(2), true), (Ticket(3), true)]);
}

#[test]
fn of_two_writers_one_leads_and_the_commit_thread_syncs_for_the_other() {
    let tickets = Arc::new(Tickets::default());
    let commits = start(&tickets, ok, |_| {});
    until_waiting(&tickets);
    let (_, lead) = tickets.issue_to_lead();
    let (second, none) = tickets.issue_to_lead();
    assert!(none.is_none());
    assert!(tickets.wait(second, WAIT).unwrap(), "though the first has not synced yet");
    lead.unwrap().sync();
    assert_eq!(tickets.figures().syncs, 1, "there was nothing left for it");
    commits.stop().unwrap();
}

#[test]
fn a_sync_that_a_writer_gives_up_is_the_commit_threads() {
    let tickets = Arc::new(Tickets::default());
    let commits = start(&tickets, ok, |_| {});
    until_waiting(&tickets);
    let (ticket, lead) = tickets.issue_to_lead();
    drop(lead.unwrap());
    assert!(tickets.wait(ticket, WAIT).unwrap());
    commits.stop().unwrap();
}

#[test]
fn a_writers_failed_sync_is_final_too() {
    let tickets = Arc::new(Tickets::default());
    let failures: Arc<Mutex<Vec<StoreError>>> = Arc::default();
    let hook = failures.clone();
    let failure = move |error: &StoreError| hook.lock().unwrap().push(error.clone());
    let durable = |ticket| panic!("{ticket:?} was reported");
    let commits = CommitThread::start(tickets.clone(), committer(|| Err(broken()), durable, failure)).unwrap();
    until_waiting(&tickets);
    let (ticket, lead) = tickets.issue_to_lead();
    lead.unwrap().sync();
    assert!(tickets.wait(ticket, WAIT).is_err());
    assert!(commits.stop().is_err());
    assert_eq!(*failures.lock().unwrap(), [broken()], "told once");
}
