//! Group commit: tickets, and the one thread that syncs the log for everybody.

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

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits for something to sync and returns the ticket up to which a sync that starts now counts; `None`
    /// when the commit thread shall end.
    fn next(&self) -> Option<Ticket> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() || (state.stopping && state.written == state.durable) {
                return None;
            }
            let lazy_left =
                state.lazy_since.map(|since| Duration::from_millis(LAZY_SYNC_MS_MAX).saturating_sub(since.elapsed()));
            if state.urgent > state.durable || state.stopping || lazy_left == Some(Duration::ZERO) {
                state.lazy_since = None;
                return Some(Ticket(state.written));
            }
            state.waiting = true;
            state = match lazy_left {
                Some(left) => self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting = false;
        }
    }

    /// Records a sync that began after [`Tickets::next`] returned `ticket`. `false` if the store failed
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

/// What the commit thread does between two looks at the tickets.
pub(crate) struct Committer<S, D> {
    /// Syncs everything that was written before it is called.
    pub sync: S,
    /// Told of each new durable ticket, in rising order.
    pub durable: D,
}

impl<S: FnMut() -> Result<(), StoreError>, D: FnMut(Ticket)> Committer<S, D> {
    /// Runs until stopped or failed.
    pub fn run(&mut self, tickets: &Tickets) -> Result<(), StoreError> {
        while let Some(ticket) = tickets.next() {
            let start = Instant::now();
            (self.sync)()?;
            if tickets.synced(ticket, start.elapsed()) {
                (self.durable)(ticket);
            }
        }
        Ok(())
    }
}

/// The running commit thread. Dropping it stops it as [`CommitThread::stop`] does, without the result.
#[derive(Debug)]
pub struct CommitThread {
    tickets: Arc<Tickets>,
    thread: Option<JoinHandle<()>>,
}

impl CommitThread {
    pub(crate) fn start<S, D, F>(
        tickets: Arc<Tickets>,
        mut committer: Committer<S, D>,
        failure: F,
    ) -> Result<Self, StoreError>
    where
        S: FnMut() -> Result<(), StoreError> + Send + 'static,
        D: FnMut(Ticket) + Send + 'static,
        F: FnOnce(&StoreError) + Send + 'static,
    {
        if !tickets.start() {
            return Err(StoreError::io("starting the commit thread", "this store has one, or had one that stopped"));
        }
        let shared = tickets.clone();
        let body = move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| committer.run(&shared)));
            // A panic (of a callback) must not leave everybody waiting for a sync that never comes.
            let result = ended.unwrap_or_else(|_| Err(StoreError::io("commit thread", "it panicked")));
            if let Err(error) = result
                && shared.fail(&error)
            {
                failure(&error);
            }
        };
        let thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(body)
            .map_err(|e| StoreError::io("starting the commit thread", e))?;
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
