//! A client of a run: its session, what it saw, and what it has yet to send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use causeway_protocol::{RequestId, RoomId};

use super::stage::{Stage, add, lock};
use crate::acts::What;
use crate::ledger::Seen;
use crate::sdk::{Happening, Pending, SdkError, Session, happening};
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
    /// When it last said that it had read a room, microseconds since the run's start.
    pub marked_us: BTreeMap<u32, u64>,
}

/// Something to be sent.
struct Job {
    room: u32,
    kind: Kind,
    intended_us: u64,
    /// A message's number.
    no: Option<u32>,
    /// The number of the message that it is about.
    target: Option<u32>,
    body: Bytes,
}

/// What became of a job.
enum Handed {
    /// A message is on its way.
    Message(Pending),
    /// Another request is on its way, and may name a message by this id.
    Act(Pending, What, Option<RequestId>),
    /// There is nothing to wait for.
    Done,
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
            Happening::Gone { id, .. } => match self.stage.ledger().number_of(id) {
                Some(no) => {
                    if state.seen.show(no, id, at_us) {
                        add(&self.stage.tally.delivered);
                    }
                }
                None => state.seen.foreign += 1,
            },
            Happening::Change { id, .. } => state.seen.show_change(id),
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
        let edited = event.target.filter(|_| event.kind == Kind::Edit);
        let body = match no.or(edited) {
            Some(no) => LoadStamp { no, intended_us: event.at_us }.stamp(event.body.as_bytes()),
            None => Bytes::copy_from_slice(event.body.as_bytes()),
        };
        if let Some(no) = no
            && let Some(sent) = self.stage.ledger().get_mut(no)
        {
            sent.digest = digest(&body);
        }
        let PlanEvent { room, kind, target, at_us: intended_us, .. } = *event;
        self.state().backlog.push_back(Job { room, kind, intended_us, no, target, body });
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
                Ok(handed) => {
                    let Some(job) = state.backlog.pop_front() else { return true };
                    if job.kind == Kind::Leave {
                        state.seen.left.insert(job.room);
                    } else if job.kind == Kind::Mark {
                        state.marked_us.insert(job.room, self.stage.now_us());
                    }
                    drop(state);
                    self.follow(&job, handed);
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

    fn hand_over(&self, job: &Job) -> Result<Handed, SdkError> {
        let no_room = || SdkError::Other("the room is not made yet".to_owned());
        let room = *self.stage.rooms.get().and_then(|r| r.get(job.room as usize)).ok_or_else(no_room)?;
        let act = |pending: Pending, what| Handed::Act(pending, what, None);
        match job.kind {
            Kind::Message => self.session.send(room, CONTENT_TYPE, job.body.clone()).map(Handed::Message),
            Kind::Action => self.session.send(room, CONTENT_TYPE_ACTION, job.body.clone()).map(Handed::Message),
            Kind::Join => self.session.join(room).map(|pending| act(pending, What::Join)),
            Kind::Leave => self.session.leave(room).map(|pending| act(pending, What::Leave)),
            Kind::Topic => {
                let name = String::from_utf8_lossy(&job.body);
                self.session.set_name(room, &name).map(|pending| act(pending, What::Name((*name).into())))
            }
            Kind::Mark => {
                self.session.mark_read(room);
                add(&self.stage.tally.marks);
                Ok(Handed::Done)
            }
            Kind::Edit | Kind::Redact | Kind::React | Kind::Unreact => self.change(job, room),
        }
    }

    /// Does something with a message that was sent before, by the id that it has now.
    fn change(&self, job: &Job, room: RoomId) -> Result<Handed, SdkError> {
        let sent = job.target.and_then(|no| self.stage.ledger().get(no).map(|sent| (no, sent.id, sent.refused)));
        let Some((target, id, None)) = sent.filter(|(_, id, _)| *id != RequestId::MIN) else {
            add(&self.stage.tally.skipped);
            return Ok(Handed::Done);
        };
        let symbol = || Box::from(&*String::from_utf8_lossy(&job.body));
        let (pending, what) = match job.kind {
            Kind::Edit => {
                let digest = digest(&job.body);
                (self.session.edit(room, id, job.body.clone())?, What::Edit { target, digest })
            }
            Kind::Redact => (self.session.redact(room, id)?, What::Redact { target }),
            Kind::Unreact => {
                let symbol: Box<str> = symbol();
                (self.session.unreact(room, id, &symbol)?, What::Unreact { target, symbol })
            }
            _ => {
                let symbol: Box<str> = symbol();
                (self.session.react(room, id, &symbol)?, What::React { target, symbol })
            }
        };
        Ok(Handed::Act(pending, what, Some(id)))
    }

    /// Waits for the acks of what was handed over.
    fn follow(self: &Arc<Self>, job: &Job, handed: Handed) {
        let room = job.room;
        let player = Arc::clone(self);
        match (handed, job.no) {
            (Handed::Message(pending), Some(no)) => {
                let now = self.stage.now_us();
                add(&self.stage.tally.sent);
                self.stage.ledger().name(no, pending.id());
                self.stage.tally.late_send_max.fetch_max(now.saturating_sub(job.intended_us), Ordering::Relaxed);
                tokio::spawn(async move { player.stage.follow_message(no, &pending).await });
            }
            (Handed::Act(pending, what, aimed), _) => {
                let joins = what == What::Join;
                let of = (room, self.number, job.intended_us);
                let act = self.stage.ledger().open_act(of, what, pending.id(), aimed);
                tokio::spawn(async move {
                    let stored = || {
                        if joins {
                            let now = player.stage.now_us();
                            player.state().seen.joined_us.entry(room).or_insert(now);
                        }
                    };
                    player.stage.follow_act(act, &pending, stored).await;
                });
            }
            (Handed::Message(_), None) | (Handed::Done, _) => {}
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
