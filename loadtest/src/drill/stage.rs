//! What all clients of a run share: the ledger, the rooms, the clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use causeway_protocol::RoomId;

use super::clock::RunClock;
use crate::acts::Act;
use crate::ledger::{Ledger, Sent};
use crate::rng::Rng;
use crate::sdk::{Pending, RefusedFor};

/// Counts for those who watch. The verdict does not rest on them.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Tally {
    pub sent: AtomicU64,
    pub stored: AtomicU64,
    pub replicated: AtomicU64,
    pub delivered: AtomicU64,
    pub refused: AtomicU64,
    pub outbox_full: AtomicU64,
    /// What was not done because the message that it is about was not sent yet.
    pub skipped: AtomicU64,
    pub marks: AtomicU64,
    /// Microseconds.
    pub late_send_max: AtomicU64,
}

/// Counts one more.
pub fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What all clients of a run share.
pub struct Stage {
    /// Part of every user's name: two runs on the same sites do not share their users, and so not their rooms.
    pub run: String,
    /// Every message.
    pub ledger: Mutex<Ledger>,
    /// Counts.
    pub tally: Tally,
    /// Set when the run starts.
    pub clock: OnceLock<RunClock>,
    /// The rooms' ids, by index.
    pub rooms: OnceLock<Vec<RoomId>>,
    /// And back.
    pub room_index: OnceLock<BTreeMap<RoomId, u32>>,
}

impl Stage {
    /// Before the run.
    pub fn new() -> Self {
        Self {
            run: format!("{:08x}", Rng::fresh_seed() as u32),
            ledger: Mutex::default(),
            tally: Tally::default(),
            clock: OnceLock::new(),
            rooms: OnceLock::new(),
            room_index: OnceLock::new(),
        }
    }

    /// Microseconds since the run's start; 0 before it.
    pub fn now_us(&self) -> u64 {
        self.clock.get().map_or(0, RunClock::now_us)
    }

    /// The ledger.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

/// A panic elsewhere ends the run anyway; it does not make these values unreadable.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage {
    /// A room's index.
    pub fn index_of(&self, room: RoomId) -> Option<u32> {
        self.room_index.get()?.get(&room).copied()
    }

    /// Waits for the acks of a message.
    pub async fn follow_message(&self, no: u32, pending: &Pending) {
        let stored = pending.stored().await;
        self.note_answer(no, pending, stored, &self.tally.stored, |sent, at| sent.stored_us = Some(at));
        if stored.is_ok() {
            let replicated = pending.replicated().await;
            self.note_answer(no, pending, replicated, &self.tally.replicated, |sent, at| sent.replicated_us = Some(at));
        }
    }

    /// Waits for the acks of something else; `on_stored` is called between them.
    pub async fn follow_act(&self, act: usize, pending: &Pending, on_stored: impl FnOnce()) {
        let stored = pending.stored().await;
        self.note_act(act, pending, stored, |act| act.stored = true);
        if stored.is_ok() {
            on_stored();
            let replicated = pending.replicated().await;
            self.note_act(act, pending, replicated, |act| act.replicated = true);
        }
    }

    fn note_act(&self, no: usize, pending: &Pending, answer: Result<(), RefusedFor>, note: impl FnOnce(&mut Act)) {
        let mut ledger = self.ledger();
        let Some(act) = ledger.acts.get_mut(no) else { return };
        act.id = pending.id();
        match answer {
            Ok(()) => note(act),
            Err(refused) => act.refused = Some(refused.0),
        }
    }

    fn note_answer(
        &self,
        no: u32,
        pending: &Pending,
        answer: Result<(), RefusedFor>,
        counter: &AtomicU64,
        note: impl FnOnce(&mut Sent, u64),
    ) {
        let now = self.now_us();
        let mut ledger = self.ledger();
        ledger.name(no, pending.id());
        let Some(sent) = ledger.get_mut(no) else { return };
        match answer {
            Ok(()) => {
                add(counter);
                note(sent, now);
            }
            Err(refused) => {
                add(&self.tally.refused);
                sent.refused = Some(refused.0);
            }
        }
    }
}
