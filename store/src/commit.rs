//! Group commit: tickets, and the one thread that syncs the log for everybody.
//!
//! While that thread has nothing to do, a writer may sync in its place ([`SyncLead`]): two hand-offs between
//! threads cost as much as half a sync.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use causeway_replica::io::Ticket;

use crate::StoreError;

/// How long a write that nobody waits for (read markers) may stay unsynced, ms.
const LAZY_SYNC_MS_MAX: u64 = 250;

/// Whether somebody waits for a write to become durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// Sync as soon as the sync before it has ended.
    Now,
    /// Sync with the next urgent write, or after [`LAZY_SYNC_MS_MAX`].
    Lazy,
}

/// Gives out tickets and knows which are durable.
///
/// The order is what makes group commit right. A ticket is taken *after* its write has returned, under one
/// lock: so when `written` is t, every write with a ticket up to t is in the log's buffer, and none of them is
/// still on its way, however many threads write. The commit thread reads `written` under the same lock,
/// *then* flushes and syncs, and so covers all of them. Writes that return meanwhile may be covered too,
/// and are reported by the next sync.
#[derive(Default, Debug)]
pub(crate) struct Tickets {
    state: Mutex<State>,
    /// Whoever holds it syncs. There from the start of the commit thread to its end.
    committer: Mutex<Option<Committer>>,
    /// The commit thread waits here for work.
    work: Condvar,
    /// Everybody else waits here for progress.
    progress: Condvar,
}

#[derive(Default, Debug)]
struct State {
    /// The last ticket given out.
    written: u64,
    /// The last ticket that somebody waits for.
    urgent: u64,
    /// When the first unsynced lazy write was made.
    lazy_since: Option<Instant>,
    /// Every write up to this ticket is synced.
    durable: u64,
    /// Set once and never cleared; `durable` does not rise any more.
    failed: Option<StoreError>,
    /// The commit thread waits, and nobody has woken it yet.
    waiting: bool,
    /// A writer syncs, or is about to.
    led: bool,
    /// There is, or was, a commit thread.
    started: bool,
    /// It shall sync what there is and end.
    stopping: bool,
    figures: Figures,
}

/// Figures about syncs since the start.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Figures {
    pub syncs: u64,
    pub sync_ns_total: u64,
    pub sync_ns_max: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Gives out the ticket of a write that *has returned*.
    pub fn issue(&self, urgency: Urgency) -> Ticket {
        let mut state = self.lock();
        state.written += 1;
        let ticket = state.written;
        let is_news = match urgency {
            Urgency::Now => {
                state.urgent = ticket;
                true
            }
            Urgency::Lazy => {
                let first = state.lazy_since.is_none();
                state.lazy_since.get_or_insert_with(Instant::now);
                first
            }
        };
        // A commit thread that is not waiting looks here before it does, and one is woken once.
        let has_work = is_news && std::mem::take(&mut state.waiting);
        drop(state);
        if has_work {
            self.work.notify_one();
        }
        Ticket(ticket)
    }

    /// [`Tickets::issue`] of an urgent write whose writer would sync in the commit thread's place: it may, if
    /// that thread waits for work and nobody else does so already.
    pub fn issue_to_lead(self: &Arc<Self>) -> (Ticket, Option<SyncLead>) {
        let mut state = self.lock();
        if !state.waiting || state.led {
            drop(state);
            return (self.issue(Urgency::Now), None);
        }
        state.led = true;
        state.written += 1;
        state.urgent = state.written;
        let ticket = Ticket(state.written);
        drop(state);
        (ticket, Some(SyncLead { tickets: self.clone() }))
    }

    /// The last ticket given out.
    pub fn written(&self) -> Ticket {
        Ticket(self.lock().written)
    }

    pub fn durable(&self) -> Ticket {
        Ticket(self.lock().durable)
    }

    /// Whether somebody waits for a sync.
    #[cfg(test)]
    pub fn is_urgent(&self) -> bool {
        let state = self.lock();
        state.urgent > state.durable
    }

    /// Whether the commit thread waits for work.
    #[cfg(test)]
    pub fn is_waiting(&self) -> bool {
        self.lock().waiting
    }

    pub fn figures(&self) -> Figures {
        self.lock().figures
    }

    /// The first failure, if there was one.
    pub fn failed(&self) -> Option<StoreError> {
        self.lock().failed.clone()
    }

    /// Ends all writing: nothing becomes durable after this. Returns whether it was the first failure.
    pub fn fail(&self, error: &StoreError) -> bool {
        let mut state = self.lock();
        let first = state.failed.is_none();
        if first {
            state.failed = Some(error.clone());
        }
        drop(state);
        self.work.notify_all();
        self.progress.notify_all();
        first
    }

    /// Waits until a ticket is durable; `false` if it is not after `timeout`.
    pub fn wait(&self, ticket: Ticket, timeout: Duration) -> Result<bool, StoreError> {
        let waiting = |state: &mut State| state.durable < ticket.0 && state.failed.is_none();
        let (state, _) =
            self.progress.wait_timeout_while(self.lock(), timeout, waiting).unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            _ if state.durable >= ticket.0 => Ok(true),
            Some(error) => Err(StoreError::Stopped(Box::new(error.clone()))),
            None => Ok(false),
        }
    }

    /// Waits for something to sync; `false` when the commit thread shall end.
    fn wait_for_work(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() || (state.stopping && state.written == state.durable) {
                return false;
            }
            let lazy_left =
                state.lazy_since.map(|since| Duration::from_millis(LAZY_SYNC_MS_MAX).saturating_sub(since.elapsed()));
            if state.urgent > state.durable || state.stopping || lazy_left == Some(Duration::ZERO) {
                return true;
            }
            state.waiting = true;
            state = match lazy_left {
                Some(left) => self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting = false;
        }
    }

    /// Syncs what was written up to now, unless somebody has meanwhile; reports it, or its failure.
    fn commit(&self) {
        let mut committer = lock(&self.committer);
        let Some(committer) = committer.as_mut() else { return };
        // Read under the lock of those who sync, so that tickets become durable in order.
        let mut state = self.lock();
        let ticket = Ticket(state.written);
        if state.failed.is_some() || state.durable == ticket.0 {
            return;
        }
        state.lazy_since = None;
        drop(state);
        // A panic (of a callback) must not leave everybody waiting for a sync that never comes.
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let start = Instant::now();
            (committer.sync)()?;
            if self.synced(ticket, start.elapsed()) {
                (committer.durable)(ticket);
            }
            Ok(())
        }));
        let result = ended.unwrap_or_else(|_| Err(StoreError::io("syncing the log", "a callback panicked")));
        if let Err(error) = result
            && self.fail(&error)
        {
            (committer.failure)(&error);
        }
    }

    /// Records a sync that began when `ticket` was the last one written. `false` if the store failed
    /// meanwhile: then it does not count.
    fn synced(&self, ticket: Ticket, took: Duration) -> bool {
        let mut state = self.lock();
        if state.failed.is_some() {
            return false;
        }
        assert!(state.durable <= ticket.0 && ticket.0 <= state.written, "tickets go backwards");
        state.durable = ticket.0;
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let figures = &mut state.figures;
        figures.syncs += 1;
        figures.sync_ns_total = figures.sync_ns_total.saturating_add(took_ns);
        figures.sync_ns_max = figures.sync_ns_max.max(took_ns);
        drop(state);
        self.progress.notify_all();
        true
    }

    /// Whether this is the first start of a commit thread.
    fn start(&self) -> bool {
        !std::mem::replace(&mut self.lock().started, true)
    }

    fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_all();
    }
}

/// What a sync is, and who is told of it. None of it may block: nothing is synced meanwhile.
pub(crate) struct Committer {
    /// Syncs everything that was written before it is called.
    pub sync: Box<dyn FnMut() -> Result<(), StoreError> + Send>,
    /// Told of each new durable ticket, in rising order.
    pub durable: Box<dyn FnMut(Ticket) + Send>,
    /// Told of the first failure, if a sync was it.
    pub failure: Box<dyn FnMut(&StoreError) + Send>,
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Committer")
    }
}

/// A writer's right to sync in the commit thread's place, and its duty: until it does, or drops this, its
/// write is durable only if another write's sync covers it.
#[derive(Debug)]
#[must_use = "the write waits for this sync"]
pub struct SyncLead {
    tickets: Arc<Tickets>,
}

impl SyncLead {
    /// Syncs all that is written. The store's callbacks run on this thread; a failure is reported to them.
    pub fn sync(self) {
        self.tickets.commit();
    }
}

impl Drop for SyncLead {
    /// What was not synced is the commit thread's again.
    fn drop(&mut self) {
        let mut state = self.tickets.lock();
        state.led = false;
        let left = state.urgent > state.durable && std::mem::take(&mut state.waiting);
        drop(state);
        if left {
            self.tickets.work.notify_one();
        }
    }
}

/// The running commit thread. Dropping it stops it as [`CommitThread::stop`] does, without the result.
#[derive(Debug)]
pub struct CommitThread {
    tickets: Arc<Tickets>,
    thread: Option<JoinHandle<()>>,
}

impl CommitThread {
    pub(crate) fn start(tickets: Arc<Tickets>, committer: Committer) -> Result<Self, StoreError> {
        if !tickets.start() {
            return Err(StoreError::io("starting the commit thread", "this store has one, or had one that stopped"));
        }
        *lock(&tickets.committer) = Some(committer);
        let shared = tickets.clone();
        let body = move || {
            while shared.wait_for_work() {
                shared.commit();
            }
            // It holds the store, which holds it.
            *lock(&shared.committer) = None;
        };
        let spawned = std::thread::Builder::new().name("commit".into()).spawn(body);
        let thread = spawned.map_err(|e| {
            *lock(&tickets.committer) = None;
            StoreError::io("starting the commit thread", e)
        })?;
        Ok(Self { tickets, thread: Some(thread) })
    }

    /// Syncs what was written before this call, reports it, and ends the thread. Writers must have stopped:
    /// what they write from now on is not synced. Returns the last durable ticket.
    pub fn stop(mut self) -> Result<Ticket, StoreError> {
        self.end();
        match self.tickets.failed() {
            Some(error) => Err(StoreError::Stopped(Box::new(error))),
            None => Ok(self.tickets.durable()),
        }
    }

    fn end(&mut self) {
        self.tickets.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the failure hook was printed by the thread; the failure itself is recorded.
            let _ = thread.join();
        }
    }
}

impl Drop for CommitThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// The failure hook of a relay: a node that cannot promise durability must stop at once, so that its peers and
/// clients turn to other sites, and so that nobody tries again on pages that the kernel has dropped.
pub fn abort_on_failure(error: &StoreError) {
    eprintln!("fatal: {error}");
    std::process::abort();
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
