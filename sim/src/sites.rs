//! A site: the relay's host loop in miniature. One step, one write, then its effects; durability is an event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use causeway_protocol::{Origin, RoomId, ShardId, SiteId, UserId, Vector, wire};
use causeway_replica::Sabotage;
use causeway_replica::io::{Input, Now, Output, Outputs, SessionId, ShardConfig, Ticket};
use causeway_replica::read::Durables;
use causeway_replica::shard::Shard;
use causeway_replica::view::{Batch, ViewError};

use crate::checkers::ops::applied_in;
use crate::checkers::{Violation, broken};
use crate::clock::Clock;
use crate::disk::{Disk, Mark};
use crate::links::LinkEnd;
use crate::plan::Plan;
use crate::queue::{MS, Micros};
use crate::rng::Rng;
use crate::sabotage::Break;
use crate::sessions::Hosted;
use crate::world::{Epoch, Event, Step, World};

/// How often a process looks after its links, clock and connections.
pub const HOST_TIMER: Micros = 200 * MS;
/// Steps without an end in sight: a replica that keeps itself busy.
const STEPS_IN_A_POLL_MAX: usize = 10_000;

/// A data centre's machine.
pub struct Site {
    /// Its id.
    pub id: SiteId,
    /// Its disk.
    pub disk: Disk,
    /// Its clocks.
    pub clock: Clock,
    /// What runs there.
    pub process: Option<Process>,
    /// Starts so far.
    pub epoch: Epoch,
    /// SIGSTOP: it does nothing before this.
    pub stopped_until: Micros,
    /// Syncs take so long.
    pub sync_time: Micros,
    /// The next sync fails.
    pub fsync_fails: bool,
    /// What is fsynced, shard by shard: the truth that a host may not know yet.
    pub truth: Vec<Vector>,
    /// The incarnation of its first start, for the defect that keeps it.
    first_incarnation: Option<u64>,
}

impl Site {
    /// A machine with an empty disk.
    pub fn new(id: SiteId, plan: &Plan, rng: &mut Rng) -> Self {
        // A minority: where most clocks are wrong, nobody can tell, and nobody accepts.
        let skewed = plan.faults.skew && usize::from(id.0) <= (plan.sites - 1) / 2 && rng.percent(70);
        let (offset, drift) = if skewed {
            let most = *rng.pick(&[200, 1_000, 5_000]).unwrap_or(&200);
            (rng.within(0, 2 * most) as i64 - most as i64, rng.within(0, 2_000) as i64 - 1_000)
        } else {
            (rng.within(0, 40) as i64 - 20, 0)
        };
        Self {
            id,
            disk: Disk::default(),
            clock: Clock::new(offset, drift),
            process: None,
            epoch: 0,
            stopped_until: 0,
            sync_time: plan.sync_time,
            fsync_fails: false,
            truth: vec![Vector::new(); plan.shards.into()],
            first_incarnation: None,
        }
    }

    /// Looks at the disk for what is fsynced.
    pub fn look_at_disk(&mut self) {
        for (number, truth) in self.truth.iter_mut().enumerate() {
            *truth = applied_in(self.disk.synced(), ShardId(number as u16));
        }
    }
}

/// What shards have published for readers.
pub struct Published {
    /// Durable vectors.
    pub vectors: Vec<Arc<Vector>>,
    /// Who serves.
    pub ready: Vec<bool>,
}

impl Durables for Published {
    fn durable(&self, shard: ShardId) -> Arc<Vector> {
        Arc::clone(&self.vectors[usize::from(shard.0)])
    }

    fn ready(&self, shard: ShardId) -> bool {
        self.ready[usize::from(shard.0)]
    }
}

/// One start of the relay.
pub struct Process {
    /// Which start.
    pub epoch: Epoch,
    /// Who it is.
    pub origin: Origin,
    /// The replicas.
    pub shards: Vec<Shard>,
    /// What waits for each.
    pub inputs: Vec<VecDeque<Input>>,
    /// Published for readers.
    pub published: Published,
    /// Clients' sessions.
    pub sessions: BTreeMap<SessionId, Hosted>,
    /// Who listens to a room.
    pub listeners: BTreeMap<RoomId, BTreeSet<SessionId>>,
    /// A user's sessions.
    pub users: BTreeMap<UserId, BTreeSet<SessionId>>,
    /// Links to peers.
    pub links: BTreeMap<SiteId, LinkEnd>,
    /// Whether the clock lets it accept writes.
    pub accepting: bool,
    /// When it was last let to.
    pub accepting_since: Micros,
    /// Every configured site, for welcomes.
    pub site_infos: Arc<[wire::SiteInfo]>,
    next_ticket: u64,
    syncing: bool,
    poll_at: Option<Micros>,
    /// When to look whether erasures are left to ask for.
    pub erasures_at: Micros,
}

impl Process {
    /// Whether every shard serves.
    pub fn is_ready(&self) -> bool {
        self.published.ready.iter().all(|ready| *ready)
    }
}

/// Reading the simulated disk never fails.
pub fn no_view_error<T>(result: Result<T, ViewError>) -> Result<T, Violation> {
    result.or_else(|e| broken("rows decode", e.to_string()))
}

impl World {
    /// A process starts on what its disk holds.
    pub fn start_site(&mut self, id: SiteId) -> Step {
        let now = self.now();
        let fresh = self.chance.identity.bits();
        let keeps = self.defect == Some(Break::ReuseIncarnation);
        let (plan, sabotage) = (self.plan.clone(), self.replica_sabotage());
        let sites: Vec<SiteId> = (1..=plan.sites).map(|site| SiteId(site as u16)).collect();
        let site = self.site(id);
        if site.process.is_some() {
            return Ok(());
        }
        site.epoch += 1;
        site.clock.reboot(now);
        site.look_at_disk();
        let incarnation = match site.first_incarnation {
            Some(first) if keeps => first,
            _ => fresh,
        };
        site.first_incarnation.get_or_insert(incarnation);
        let (epoch, at) = (site.epoch, site.clock.read(now));
        let config = |shard| ShardConfig {
            shard: ShardId(shard),
            shard_count: plan.shards,
            origin: Origin { site: id, node: 0, incarnation },
            sites: sites.clone(),
            must_catch_up: site.disk.mark() != Mark::Intact,
            log_bytes_max: plan.log_bytes_max,
            user_rooms_max: usize::MAX,
            room_members_max: u64::MAX,
        };
        let open = |shard| {
            let mut shard = Shard::open(config(shard), site.disk.visible(), at)?;
            shard.sabotage(sabotage);
            shard.bound(plan.bounds);
            Ok(shard)
        };
        let shards = no_view_error((0..plan.shards).map(open).collect::<Result<Vec<_>, _>>())?;
        let published = Published {
            vectors: shards.iter().map(|shard| Arc::new(shard.durable().clone())).collect(),
            ready: shards.iter().map(Shard::is_ready).collect(),
        };
        site.process = Some(Process {
            epoch,
            origin: Origin { site: id, node: 0, incarnation },
            inputs: shards.iter().map(|_| VecDeque::new()).collect(),
            shards,
            published,
            sessions: BTreeMap::new(),
            listeners: BTreeMap::new(),
            users: BTreeMap::new(),
            links: BTreeMap::new(),
            accepting: true,
            accepting_since: now,
            site_infos: site_infos(&sites),
            next_ticket: 0,
            syncing: false,
            poll_at: None,
            erasures_at: now,
        });
        for shard in 0..self.plan.shards {
            let store = self.sites[usize::from(id.0) - 1].disk.visible();
            self.checks.ops.opened(id, ShardId(shard), store);
        }
        self.coverage.hit("site started");
        self.trace.note(now, "start", &[id.0.into(), incarnation], || format!("site {id} as {incarnation:04x}"));
        self.queue.after(0, Event::HostTimer(id, epoch));
        self.wake(id, 0);
        Ok(())
    }

    fn replica_sabotage(&self) -> Option<Sabotage> {
        match self.defect? {
            Break::ApplyWithoutDeps => Some(Sabotage::ApplyWithoutDeps),
            Break::TagElementsWithDots => Some(Sabotage::TagElementsWithDots),
            Break::UnionAtRejoin => Some(Sabotage::UnionAtRejoin),
            Break::DedupByWatermark => Some(Sabotage::DedupByWatermark),
            Break::KeepLateBodies => Some(Sabotage::KeepLateBodies),
            Break::ForgetHiding => Some(Sabotage::ForgetHiding),
            Break::TrustAnybody => Some(Sabotage::TrustAnybody),
            Break::LastFlagToCome => Some(Sabotage::LastFlagToCome),
            _ => None,
        }
    }

    /// Lets a process take its inputs soon.
    pub fn wake(&mut self, id: SiteId, delay: Micros) {
        let at = self.now() + delay;
        let Some(process) = self.site(id).process.as_mut() else { return };
        if process.poll_at.is_none_or(|planned| planned > at) {
            process.poll_at = Some(at);
            let epoch = process.epoch;
            self.queue.after(delay, Event::Poll(id, epoch));
        }
    }

    /// Hands an input to a shard.
    pub fn tell_shard(&mut self, id: SiteId, shard: ShardId, input: Input) {
        let delay = self.chance.hosts.below(2 * MS);
        if let Some(process) = self.site(id).process.as_mut() {
            process.inputs[usize::from(shard.0)].push_back(input);
            self.wake(id, delay);
        }
    }

    /// Hands an input to every shard.
    pub fn tell_shards(&mut self, id: SiteId, input: &Input) {
        for shard in 0..self.plan.shards {
            self.tell_shard(id, ShardId(shard), input.clone());
        }
    }

    /// Takes up to so many inputs of each shard, writes what they give, and carries out their effects.
    pub fn poll(&mut self, id: SiteId, epoch: Epoch) -> Step {
        let now = self.now();
        let (per_write, shared) = (self.plan.inputs_per_write, self.plan.shared_writes);
        let site = &mut self.sites[usize::from(id.0) - 1];
        let Some(process) = site.process.as_mut().filter(|process| process.epoch == epoch) else { return Ok(()) };
        if process.poll_at.is_some_and(|planned| planned > now) {
            return Ok(()); // A later one is planned, and this one was for an earlier plan.
        }
        process.poll_at = None;
        let at = site.clock.read(now);
        let mut effects: Vec<(ShardId, Output)> = Vec::new();
        let mut writes: Vec<(Vec<usize>, Batch)> = Vec::new();
        for number in 0..process.shards.len() {
            let mut out = Outputs::default();
            step_shard(process, number, per_write, at, site.disk.visible(), &mut out)?;
            if !out.batch.is_empty() {
                match writes.last_mut().filter(|_| shared) {
                    Some((shards, batch)) => {
                        shards.push(number);
                        batch.append(out.batch);
                    }
                    None => writes.push((vec![number], out.batch)),
                }
            }
            effects.extend(out.effects.into_iter().map(|effect| (ShardId(number as u16), effect)));
        }
        let refusals = effects.iter().filter_map(|(_, effect)| match effect {
            Output::Refused { session, id: Some(request), .. } => Some((*session, *request)),
            _ => None,
        });
        self.checks.sends.will_be_refused(id, refusals, site.disk.visible(), at);
        for (shards, batch) in writes {
            self.write(id, &shards, batch)?;
        }
        for (shard, effect) in effects {
            self.effect(id, shard, effect)?;
        }
        self.begin_sync(id);
        self.pump_sessions(id)?;
        self.plan_next_poll(id);
        Ok(())
    }

    fn write(&mut self, id: SiteId, shards: &[usize], batch: Batch) -> Step {
        let site = &mut self.sites[usize::from(id.0) - 1];
        let Some(process) = site.process.as_mut() else { return Ok(()) };
        self.coverage.add("truncated", self.checks.truncation.writing(id, &batch, site.disk.visible())?);
        process.next_ticket += 1;
        let ticket = Ticket(process.next_ticket);
        site.disk.write(ticket, batch.clone());
        shards.iter().for_each(|shard| process.shards[*shard].seal(ticket));
        if self.defect == Some(Break::AckBeforeSync) {
            process.inputs.iter_mut().for_each(|inputs| inputs.push_back(Input::Durable(ticket)));
        }
        let digest = batch.rows().fold(0u64, |sum, (_, key, value)| {
            let bytes = |b: &[u8]| b.iter().fold(7u64, |h, byte| h.wrapping_mul(31).wrapping_add((*byte).into()));
            sum.wrapping_mul(1_000_003).wrapping_add(bytes(key)).wrapping_add(value.map_or(0, |v| bytes(v)))
        });
        self.trace.note(self.queue.now(), "write", &[id.0.into(), ticket.0, digest], || {
            format!("site {id} ticket {} {} bytes", ticket.0, batch.bytes())
        });
        self.checks.sends.written(&batch);
        self.checks.ops.written(id, process.origin, self.plan.shards, &batch, site.disk.visible())?;
        self.checks.buckets.written(id, &batch, site.disk.visible())
    }

    /// One thread syncs for everybody: what was written when it begins.
    fn begin_sync(&mut self, id: SiteId) {
        let chance = &mut self.chance.hosts;
        let site = &mut self.sites[usize::from(id.0) - 1];
        let Some(process) = site.process.as_mut() else { return };
        let Some(ticket) = site.disk.unsynced_up_to().filter(|_| !process.syncing) else { return };
        process.syncing = true;
        let takes = chance.within(site.sync_time / 4, site.sync_time * 2);
        self.queue.after(takes, Event::Synced(id, process.epoch, ticket));
    }

    /// A sync has ended: only now may anybody be told.
    pub fn synced(&mut self, id: SiteId, epoch: Epoch, ticket: Ticket) -> Step {
        let site = &mut self.sites[usize::from(id.0) - 1];
        let Some(process) = site.process.as_mut().filter(|process| process.epoch == epoch) else { return Ok(()) };
        if std::mem::take(&mut site.fsync_fails) {
            self.coverage.hit("fsync failed");
            return self.crash_site(id, "fsync failed");
        }
        process.syncing = false;
        if self.defect != Some(Break::AckBeforeSync) {
            process.inputs.iter_mut().for_each(|inputs| inputs.push_back(Input::Durable(ticket)));
        }
        site.disk.synced_up_to(ticket);
        site.look_at_disk();
        for (number, truth) in site.truth.iter().enumerate() {
            self.checks.truncation.durable(id, ShardId(number as u16), truth);
        }
        self.begin_sync(id);
        self.poll_now(id)
    }

    fn poll_now(&mut self, id: SiteId) -> Step {
        let Some(process) = self.site(id).process.as_mut() else { return Ok(()) };
        process.poll_at = None;
        let epoch = process.epoch;
        self.poll(id, epoch)
    }

    fn plan_next_poll(&mut self, id: SiteId) {
        let now = self.now();
        let site = self.site(id);
        let Some(process) = site.process.as_ref() else { return };
        let more = process.inputs.iter().any(|inputs| !inputs.is_empty());
        let timer = process.shards.iter().filter_map(Shard::next_timer).min();
        let timer = timer.map(|mono_ms| site.clock.until_mono(now, mono_ms));
        match (more, timer) {
            (true, _) => self.wake(id, 100),
            (false, Some(delay)) => self.wake(id, delay),
            (false, None) => {}
        }
    }

    /// The process dies, and with it what was not synced, its sessions and its links.
    pub fn crash_site(&mut self, id: SiteId, why: &str) -> Step {
        let now = self.now();
        let chance = &mut self.chance.hosts;
        let site = &mut self.sites[usize::from(id.0) - 1];
        let Some(process) = site.process.take() else { return Ok(()) };
        let unsynced = site.disk.unsynced_len();
        let kept = chance.below(unsynced as u64 + 1) as usize;
        site.disk.crash(kept);
        site.look_at_disk();
        for (number, truth) in site.truth.iter().enumerate() {
            self.checks.truncation.durable(id, ShardId(number as u16), truth);
        }
        self.coverage.hit("site crashed");
        if kept < unsynced {
            self.coverage.hit("unsynced writes lost");
        }
        self.trace.note(now, "crash", &[id.0.into(), unsynced as u64, kept as u64], || {
            format!("site {id}: {why}; of {unsynced} unsynced writes {kept} stay")
        });
        self.checks.sends.site_gone(id);
        process.shards.iter().for_each(|shard| self.coverage_of(shard));
        self.links_of_dead_process(process.links);
        self.connections_of_dead_process(id);
        Ok(())
    }

    /// Adds a replica's counters to what was reached.
    pub fn coverage_of(&mut self, shard: &Shard) {
        let counters = shard.counters();
        self.coverage.add("gated", counters.gated);
        self.coverage.add("second dot", counters.second_dots);
        self.coverage.add("body purged", counters.bodies_purged);
        self.coverage.add("body expired", counters.bodies_expired);
        self.coverage.add("body erased", counters.bodies_erased);
        self.coverage.add("accepted by resend", counters.resent);
        self.coverage.add("snapshot merged", counters.snapshots_merged);
        self.coverage.add("duplicate op", counters.duplicates);
        self.coverage.add("waited for a reference", counters.reference_waits);
        self.coverage.add("digest compared", counters.buckets_compared);
        self.coverage.add("gate overflowed", counters.gated_dropped);
    }
}

fn step_shard(
    process: &mut Process,
    number: usize,
    inputs_max: usize,
    at: Now,
    view: &dyn causeway_replica::view::View,
    out: &mut Outputs,
) -> Step {
    let shard = &mut process.shards[number];
    for _ in 0..inputs_max {
        let Some(input) = process.inputs[number].pop_front() else { break };
        no_view_error(shard.step(at, input, view, out))?;
    }
    for _ in 0..STEPS_IN_A_POLL_MAX {
        if shard.next_timer().is_none_or(|due| due > at.mono_ms) {
            return Ok(());
        }
        no_view_error(shard.step(at, Input::Tick, view, out))?;
    }
    broken("timers end", format!("shard {number} wants a tick again and again"))
}

fn site_infos(sites: &[SiteId]) -> Arc<[wire::SiteInfo]> {
    let info = |site: &SiteId| wire::SiteInfo {
        site: site.0.into(),
        name: format!("site-{site}"),
        addresses: vec![format!("site-{site}:1")],
    };
    sites.iter().map(info).collect()
}
