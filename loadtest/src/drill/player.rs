//! A client of a run: its session, what it saw, and what it has yet to send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use causeway_protocol::{RequestId, RoomId};

use super::clock::RunClock;
use crate::ledger::{Ledger, Seen};
use crate::rng::Rng;
use crate::sdk::{Happening, Pending, RefusedFor, SdkError, Session, happening};
use crate::stamp::{CONTENT_TYPE, CONTENT_TYPE_ACTION, LoadStamp, digest};
use crate::workload::{Kind, PlanEvent};

/// A change of a client's home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// When, microseconds since the run's start.
    pub at_us: u64,
    /// The new home's name.
    pub to: String,
    /// Why.
    pub reason: String,
}

/// What a client keeps while it plays.
#[derive(Default)]
pub struct PlayerState {
    /// What it was shown.
    pub seen: Seen,
    /// Its homes.
    pub moves: Vec<Move>,
    /// What waits because the outbox was full, in order.
    backlog: VecDeque<Job>,
    /// Highest place shown of each sender in each room, to count overtakes.
    last_of_sender: BTreeMap<(u32, u32), RequestId>,
    /// Messages shown below an earlier one of their sender.
    pub overtakes: u64,
}

/// Something to be sent.
struct Job {
    room: u32,
    kind: Kind,
    /// A message's number.
    no: Option<u32>,
    body: Bytes,
}

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
    /// Microseconds.
    pub late_send_max: AtomicU64,
}

fn add(counter: &AtomicU64) {
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

/// One client.
pub struct Player {
    /// Its number.
    pub number: u32,
    /// Its session.
    pub session: Session,
    state: Mutex<PlayerState>,
    stage: Arc<Stage>,
}

impl Player {
    /// A client with an open session.
    pub fn new(number: u32, session: Session, stage: Arc<Stage>) -> Self {
        Self { number, session, state: Mutex::default(), stage }
    }

    /// What it keeps. Never locked inside the ledger's lock: the other way round is what clients do.
    pub fn state(&self) -> MutexGuard<'_, PlayerState> {
        lock(&self.state)
    }

    /// Notes everything that the SDK tells, until the session ends.
    pub async fn watch(self: Arc<Self>) {
        let mut events = Vec::new();
        while self.session.next(&mut events).await {
            events.drain(..).for_each(|event| self.note(happening(event)));
        }
    }

    fn note(&self, happening: Happening) {
        let at_us = self.stage.now_us();
        let mut state = self.state();
        match happening {
            Happening::Message { room, id, content } => match LoadStamp::read(&content) {
                Some(stamp) => {
                    if state.seen.show(stamp.no, id, at_us) {
                        add(&self.stage.tally.delivered);
                        state.count_overtake(self.stage.index_of(room), stamp.no, id, &self.stage);
                    }
                }
                None => state.seen.foreign += 1,
            },
            Happening::Gap { room, lowest } => {
                if let Some(room) = self.stage.index_of(room) {
                    state.seen.gap(room, lowest, at_us);
                }
            }
            Happening::Moved { to, reason } => state.moves.push(Move { at_us, to, reason }),
            Happening::Other => {}
        }
    }

    /// Does what the plan says, or as soon as the outbox takes it: false if it has to wait.
    pub fn play(self: &Arc<Self>, event: &PlanEvent) -> bool {
        let no = event.kind.is_message().then(|| self.stage.ledger().open(event.room, self.number, event.at_us));
        let body = match no {
            Some(no) => LoadStamp { no, intended_us: event.at_us }.stamp(event.body.as_bytes()),
            None => Bytes::copy_from_slice(event.body.as_bytes()),
        };
        if let Some(no) = no
            && let Some(sent) = self.stage.ledger().get_mut(no)
        {
            sent.digest = digest(&body);
        }
        self.state().backlog.push_back(Job { room: event.room, kind: event.kind, no, body });
        self.drain()
    }

    /// Sends what waits, in order, as far as the outbox takes it. False if something still waits.
    pub fn drain(self: &Arc<Self>) -> bool {
        loop {
            let mut state = self.state();
            let Some(job) = state.backlog.front() else { return true };
            let (kind, room) = (job.kind, job.room);
            if kind == Kind::Join {
                // Before it can be shown anything of it.
                state.seen.asked.insert(room);
            }
            let Some(job) = state.backlog.front() else { return true };
            match self.hand_over(job) {
                Ok(pending) => {
                    let Some(job) = state.backlog.pop_front() else { return true };
                    if job.kind == Kind::Leave {
                        state.seen.left.insert(job.room);
                    }
                    drop(state);
                    self.follow(&job, pending);
                }
                Err(SdkError::Full) => {
                    add(&self.stage.tally.outbox_full);
                    return false;
                }
                Err(SdkError::Other(why)) => {
                    // Nothing was promised about it; the verdict counts it as never answered.
                    tracing::warn!(client = self.number, why, "a request was not taken");
                    state.backlog.pop_front();
                }
            }
        }
    }

    fn hand_over(&self, job: &Job) -> Result<Pending, SdkError> {
        let no_room = || SdkError::Other("the room is not made yet".to_owned());
        let room = *self.stage.rooms.get().and_then(|r| r.get(job.room as usize)).ok_or_else(no_room)?;
        match job.kind {
            Kind::Message => self.session.send(room, CONTENT_TYPE, job.body.clone()),
            Kind::Action => self.session.send(room, CONTENT_TYPE_ACTION, job.body.clone()),
            Kind::Join => self.session.join(room),
            Kind::Leave => self.session.leave(room),
            Kind::Topic => self.session.set_name(room, &String::from_utf8_lossy(&job.body)),
        }
    }

    /// Waits for the acks of what was handed over.
    fn follow(self: &Arc<Self>, job: &Job, pending: Pending) {
        let (room, no) = (job.room, job.no);
        let player = Arc::clone(self);
        match (job.kind, no) {
            (Kind::Join, _) => {
                tokio::spawn(async move {
                    if pending.stored().await.is_ok() {
                        let now = player.stage.now_us();
                        player.state().seen.joined_us.entry(room).or_insert(now);
                    }
                });
            }
            (_, Some(no)) => {
                let now = self.stage.now_us();
                add(&self.stage.tally.sent);
                if let Some(sent) = self.stage.ledger().get_mut(no) {
                    sent.id = pending.id();
                    let late = now.saturating_sub(sent.intended_us);
                    self.stage.tally.late_send_max.fetch_max(late, Ordering::Relaxed);
                }
                tokio::spawn(async move { player.stage.follow_message(no, &pending).await });
            }
            _ => {}
        }
    }
}

impl PlayerState {
    fn count_overtake(&mut self, room: Option<u32>, no: u32, id: RequestId, stage: &Stage) {
        let sender = stage.ledger().get(no).map(|s| s.client);
        if let (Some(room), Some(sender)) = (room, sender) {
            let last = self.last_of_sender.entry((room, sender)).or_insert(id);
            self.overtakes += u64::from(id < *last);
            *last = id.max(*last);
        }
    }
}

impl Stage {
    fn index_of(&self, room: RoomId) -> Option<u32> {
        self.room_index.get()?.get(&room).copied()
    }

    async fn follow_message(&self, no: u32, pending: &Pending) {
        let stored = pending.stored().await;
        self.note_answer(no, pending, stored, &self.tally.stored, |sent, at| sent.stored_us = Some(at));
        if stored.is_ok() {
            let replicated = pending.replicated().await;
            self.note_answer(no, pending, replicated, &self.tally.replicated, |sent, at| sent.replicated_us = Some(at));
        }
    }

    fn note_answer(
        &self,
        no: u32,
        pending: &Pending,
        answer: Result<(), RefusedFor>,
        counter: &AtomicU64,
        note: impl FnOnce(&mut crate::ledger::Sent, u64),
    ) {
        let now = self.now_us();
        let mut ledger = self.ledger();
        let Some(sent) = ledger.get_mut(no) else { return };
        sent.id = pending.id();
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
