//! What a client's driver and its callers share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, watch};

use super::event::Event;
use super::handle::Cell;
use crate::machine::{Machine, Now, Position, RequestNo};

/// Both clocks of the host.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: self.start.elapsed().as_millis() as u64, wall_ms: wall.as_millis() as u64 }
    }

    pub(super) fn instant(&self, mono_ms: u64) -> Instant {
        self.start + std::time::Duration::from_millis(mono_ms)
    }
}

pub(super) struct State {
    pub(super) machine: Machine,
    pub(super) handles: BTreeMap<RequestNo, Arc<Cell>>,
    /// Events for the application, oldest first.
    pub(super) events: VecDeque<Event>,
    /// What the events handed out last cover; committed when the application comes back.
    pub(super) handed: Vec<Position>,
    /// The driver does not read events until some are taken.
    pub(super) paused: bool,
    /// The driver is gone.
    pub(super) ended: bool,
    pub(super) store_error: Option<String>,
}

pub(super) struct Shared {
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// Wakes the driver.
    pub(super) driver: AtomicWaker,
    /// There are events, or there will be no more.
    pub(super) events_ready: Notify,
    /// The home site's connection.
    pub(super) home: watch::Sender<Option<quinn::Connection>>,
    /// The driver is gone.
    pub(super) ended: Notify,
}

impl Shared {
    pub(super) fn new(clock: Clock, machine: Machine) -> Arc<Self> {
        let state = State {
            machine,
            handles: BTreeMap::new(),
            events: VecDeque::new(),
            handed: Vec::new(),
            paused: false,
            ended: false,
            store_error: None,
        };
        Arc::new(Self {
            clock,
            state: Mutex::new(state),
            driver: AtomicWaker::new(),
            events_ready: Notify::new(),
            home: watch::Sender::new(None),
            ended: Notify::new(),
        })
    }

    /// # Panics
    /// If a thread panicked while it held the state: the session machine may be in the middle of a step.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
