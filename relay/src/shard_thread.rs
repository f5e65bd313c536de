//! A shard thread: takes inputs, steps its shards, writes once for all of them, carries out the effects.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use causeway_mailbox::Wakes;
use causeway_protocol::{ShardId, SiteId};
use causeway_replica::io::{Counters, Input, Now, Output, Outputs, ShardConfig, Ticket};
use causeway_replica::session::SessionInput;
use causeway_replica::view::{Batch, ViewError};
use causeway_replica::{Shard, ShardStatus};
use causeway_store::SyncLead;
use tokio::sync::mpsc;

use crate::core::Core;
use crate::mail::{Live, News, Note};
use crate::shard_input::{LinkEpoch, ShardInbox, ThreadInput};

/// Inputs of one round. A round ends in one write: more would delay the first of them, fewer would write more
/// often.
const INPUTS_PER_ROUND_MAX: usize = 1_024;

/// What a thread answers to `ThreadInput::Report`.
#[derive(Debug)]
pub struct Report {
    /// Each of its shards.
    pub shards: Vec<(ShardStatus, Counters)>,
}

struct Owned {
    id: ShardId,
    shard: Shard,
    out: Outputs,
    /// The tickets under which its writes were sealed and that are not durable.
    sealed: VecDeque<Ticket>,
    /// The links that its replica knows to be up. An effect for an earlier link is not sent on a later one.
    links: Vec<(SiteId, LinkEpoch)>,
    /// In this round's list of touched shards.
    touched: bool,
}

/// One thread's state.
pub struct ShardThread {
    core: Arc<Core>,
    inbox: Arc<ShardInbox>,
    shards: Vec<Owned>,
    /// Shards that this round stepped, by index, in the order of their first step.
    touched: Vec<usize>,
    /// Writes that are not durable: ticket and time of writing.
    writes: VecDeque<(Ticket, Instant)>,
    /// When each shard's timer is due, `mono_ms`.
    timers: Vec<Option<u64>>,
    wakes: Wakes,
    stopping: bool,
}

impl ShardThread {
    /// Takes up the shards that belong to a thread.
    ///
    /// # Errors
    /// A shard's rows could not be read.
    pub fn open(core: &Arc<Core>, thread: usize, must_catch_up: bool) -> Result<Self, ViewError> {
        let now = core.clock.now();
        let ids = (0..core.config.shards).map(ShardId).filter(|id| core.inboxes.thread_of(*id) == thread);
        let mut shards = Vec::new();
        for id in ids {
            let config = ShardConfig {
                shard: id,
                shard_count: core.config.shards,
                origin: core.origin,
                sites: core.config.sites(),
                must_catch_up,
                log_bytes_max: core.config.log_bytes_max,
                user_rooms_max: core.config.limits.user_rooms_max,
                room_members_max: core.config.limits.room_members_max,
            };
            let shard = Shard::open(config, &core.store, now)?;
            core.published.publish(id, shard.durable().clone());
            core.published.set_ready(id, shard.is_ready());
            let (out, sealed, links) = (Outputs::default(), VecDeque::new(), Vec::new());
            shards.push(Owned { id, shard, out, sealed, links, touched: false });
        }
        Ok(Self {
            core: core.clone(),
            inbox: core.inboxes.all()[thread].clone(),
            timers: shards.iter().map(|owned| owned.shard.next_timer()).collect(),
            shards,
            touched: Vec::new(),
            writes: VecDeque::new(),
            wakes: Wakes::default(),
            stopping: false,
        })
    }

    /// Runs until `ThreadInput::Stop` and until all that was written before it is durable.
    ///
    /// # Panics
    /// A read failed. What the shards hold in memory and on disk may then differ: the process must end.
    pub fn run(mut self) {
        let mut inputs = Vec::new();
        while !(self.stopping && self.writes.is_empty()) {
            let until = self.timers.iter().flatten().min().map(|at| self.core.clock.instant_of(*at));
            self.inbox.take(INPUTS_PER_ROUND_MAX, until, &mut inputs);
            let count = inputs.len();
            if let Err(e) = self.round(inputs.drain(..)) {
                panic!("a shard cannot read its rows, so it must not go on: {e}");
            }
            if count > 0 {
                self.core.metrics.step_items.record(count as f64);
            }
        }
        self.inbox.close();
    }

    fn round(&mut self, inputs: impl Iterator<Item = ThreadInput>) -> Result<(), ViewError> {
        let now = self.core.clock.now();
        self.step_durable(now)?;
        for input in inputs {
            self.take(now, input)?;
        }
        for index in 0..self.shards.len() {
            if self.timers[index].is_some_and(|at| at <= now.mono_ms) {
                self.step(now, index, Input::Tick)?;
            }
        }
        let lead = self.write();
        self.carry_out();
        if let Some(lead) = lead {
            lead.sync();
        }
        Ok(())
    }

    /// What was synced since the last round.
    fn step_durable(&mut self, now: Now) -> Result<(), ViewError> {
        let durable = self.inbox.durable_ticket();
        let mut news = false;
        while let Some((_, at)) = self.writes.pop_front_if(|(ticket, _)| *ticket <= durable) {
            self.core.metrics.durable_seconds.record(at.elapsed().as_secs_f64());
            news = true;
        }
        if !news {
            return Ok(());
        }
        for index in 0..self.shards.len() {
            let sealed = &mut self.shards[index].sealed;
            let before = sealed.len();
            while sealed.pop_front_if(|ticket| *ticket <= durable).is_some() {}
            if sealed.len() < before {
                self.step(now, index, Input::Durable(durable))?;
            }
        }
        Ok(())
    }

    fn take(&mut self, now: Now, input: ThreadInput) -> Result<(), ViewError> {
        match input {
            ThreadInput::Shard(shard, input) => {
                let index = self.index_of(shard);
                self.step(now, index, input)
            }
            ThreadInput::All(input) => {
                if let Input::PeerDown(site) = input {
                    self.set_link(site, None);
                }
                self.step_all(now, &input)
            }
            ThreadInput::PeerUp(site, epoch) => {
                self.set_link(site, Some(epoch));
                self.step_all(now, &Input::PeerUp(site))
            }
            ThreadInput::Report(reply) => {
                self.report(now, &reply);
                Ok(())
            }
            ThreadInput::Stop => {
                self.stopping = true;
                Ok(())
            }
        }
    }

    fn step_all(&mut self, now: Now, input: &Input) -> Result<(), ViewError> {
        (0..self.shards.len()).try_for_each(|index| self.step(now, index, input.clone()))
    }

    /// Shards are dealt out in turn, so this thread's n-th is at n.
    fn index_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) / self.core.inboxes.all().len()
    }

    fn step(&mut self, now: Now, index: usize, input: Input) -> Result<(), ViewError> {
        let owned = &mut self.shards[index];
        owned.shard.step(now, input, &self.core.store, &mut owned.out)?;
        if !owned.touched {
            owned.touched = true;
            self.touched.push(index);
        }
        Ok(())
    }

    /// A link came or went: what this round has for the one before it must not be sent.
    fn set_link(&mut self, site: SiteId, epoch: Option<LinkEpoch>) {
        for owned in &mut self.shards {
            owned.links.retain(|(other, _)| *other != site);
            owned.links.extend(epoch.map(|epoch| (site, epoch)));
            owned.out.effects.retain(|effect| !matches!(effect, Output::ToPeer(to, _) if *to == site));
        }
    }

    /// One write for all shards that this round touched. Where there is nothing else to do, this thread is to sync it
    /// once the round's effects are carried out.
    fn write(&mut self) -> Option<SyncLead> {
        let mut all = Batch::default();
        let mut writers = Vec::new();
        for &index in &self.touched {
            let batch = std::mem::take(&mut self.shards[index].out.batch);
            if !batch.is_empty() {
                writers.push(index);
                all.append(batch);
            }
        }
        if writers.is_empty() {
            return None;
        }
        let is_idle = self.writes.is_empty() && self.inbox.is_empty();
        let start = Instant::now();
        // The replicas have changed already, so a write that fails cannot be taken back.
        let store = &self.core.store;
        let written = if is_idle { store.write_and_lead(&all) } else { store.write(&all).map(|ticket| (ticket, None)) };
        let (ticket, lead) = written.unwrap_or_else(|e| panic!("the store failed, so nothing can go on: {e}"));
        self.core.metrics.write_seconds.record(start.elapsed().as_secs_f64());
        for index in writers {
            let owned = &mut self.shards[index];
            owned.shard.seal(ticket);
            owned.sealed.push_back(ticket);
        }
        self.writes.push_back((ticket, start));
        lead
    }

    fn carry_out(&mut self) {
        for index in std::mem::take(&mut self.touched) {
            let owned = &mut self.shards[index];
            owned.touched = false;
            self.timers[index] = owned.shard.next_timer();
            let mut effects = std::mem::take(&mut owned.out.effects);
            for effect in effects.drain(..) {
                carry_out(&self.core, owned, effect, &mut self.wakes);
            }
            owned.out.effects = effects;
        }
        self.wakes.wake();
    }

    fn report(&mut self, now: Now, reply: &mpsc::UnboundedSender<Report>) {
        let shards = self.shards.iter().map(|owned| (owned.shard.status(now), owned.shard.counters())).collect();
        // Nobody may be waiting any more.
        let _ = reply.send(Report { shards });
    }
}

fn carry_out(core: &Core, owned: &Owned, effect: Output, wakes: &mut Wakes) {
    let shard = owned.id;
    match effect {
        Output::Accepted { session, id, dot, replicated } => {
            core.metrics.accepted.increment(1);
            core.directory.tell(session, SessionInput::Accepted { shard, id, dot, replicated }, wakes);
        }
        Output::Refused { session, id, code, detail } => {
            core.metrics.refused.increment(1);
            core.directory.tell(session, SessionInput::Refused { id, code, detail }, wakes);
        }
        Output::Frontier { session, dot } => {
            core.directory.tell(session, SessionInput::Frontier { shard, dot }, wakes);
        }
        Output::Deliver { room, dot, frame } => {
            let queued = core.rooms.deliver(&room, &Live { room, news: News::Event { dot, frame } }, wakes);
            core.metrics.deliveries.increment(queued as u64);
        }
        Output::Recount { room, dot, hides } => {
            core.rooms.deliver(&room, &Live { room, news: News::Recount { dot, hides } }, wakes);
        }
        Output::Membership { room, user, member } => {
            core.users.deliver(&user, &Note(SessionInput::Membership { room, member }), wakes);
        }
        Output::Erased { user } => {
            // Who finds no place is found by the next look.
            let _ = core.erased.try_send(user);
        }
        Output::Invitations { user } => {
            core.users.deliver(&user, &Note(SessionInput::Invitations), wakes);
        }
        Output::Marked { room, user, marker } => {
            core.users.deliver(&user, &Note(SessionInput::Marked { room, marker }), wakes);
        }
        Output::DurableVector(vector) => core.published.publish(shard, vector),
        Output::ToPeer(site, frame) => {
            if let Some((_, epoch)) = owned.links.iter().find(|(other, _)| *other == site) {
                core.links.send(site, *epoch, frame);
            }
        }
        Output::Ready(ready) => {
            core.published.set_ready(shard, ready);
            if ready {
                core.directory.tell_all(&SessionInput::ShardReady(shard), wakes);
            }
            core.note_ready();
        }
        Output::Alarm(alarm) => {
            core.metrics.alarms.increment(1);
            tracing::error!(shard = shard.0, ?alarm, "alarm");
        }
    }
}
