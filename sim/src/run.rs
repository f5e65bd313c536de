//! One seed: faults on throughout, then everything healed, and convergence demanded within a bound.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use causeway_protocol::{Dot, Message, RequestId, RoomId, ShardId, UserId, Vector, wire};

use crate::checkers::changes::Changes;
use crate::checkers::reads::Reader;
use crate::checkers::rights::{Model, acts_of};
use crate::checkers::{Violation, broken, buffers, convergence, finals, list};
use crate::coverage::Coverage;
use crate::erasures;
use crate::plan::LIVENESS_MAX;
use crate::queue::{MS, Micros};
use crate::sabotage::Break;
use crate::sites::{Process, Site};
use crate::trace::Trace;
use crate::world::{Event, Step, World};

thread_local! {
    /// Words and place of this thread's last panic.
    static PANIC: Cell<String> = const { Cell::new(String::new()) };
}

/// Lets panics of the code under test be reported with the seed instead of printed as they happen.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
}

/// How a run ended.
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Of the trace.
    pub trace_hash: u64,
    /// Things that happened.
    pub events: u64,
    /// What was reached.
    pub coverage: Coverage,
    /// What was broken, if anything.
    pub violation: Option<Violation>,
    /// Virtual time, µs.
    pub took: Micros,
}

/// Runs a seed. A panic of the code under test is a violation too (see [`catch_panics`]).
pub fn run(seed: u64, defect: Option<Break>, trace: Trace) -> Outcome {
    let mut world = World::new(seed, defect, trace);
    let result = catch_unwind(AssertUnwindSafe(|| world.play()));
    let violation = match result {
        Ok(verdict) => verdict.err(),
        Err(_) => Some(Violation { invariant: "no panic", detail: PANIC.take() }),
    };
    if violation.is_some() {
        world.tell_all();
    }
    let reordered = world.net.reordered;
    world.coverage.add("frame reordered", reordered);
    Outcome {
        seed,
        trace_hash: world.trace.hash(),
        events: world.queue.pushed(),
        coverage: world.coverage.clone(),
        violation,
        took: world.now(),
    }
}

/// How often the healed world is looked at.
const LOOK_EVERY: Micros = 250 * MS;
/// A shard has heeded for sure that the clock is right again.
const CLOCK_HEEDED: Micros = 1_000 * MS;
/// When all is well for so long, an application lets go of what is still refused.
const PATIENCE: Micros = 15_000 * MS;

impl World {
    fn play(&mut self) -> Step {
        let faults_until = self.plan.fault_phase;
        while self.step(faults_until)? {}
        self.checks.chains.cover_exactly(&self.checks.ops, self.plan.shards, |_, _| None)?;
        self.heal();
        let mut until = faults_until;
        loop {
            until += LOOK_EVERY;
            while self.step(until)? {}
            if until > faults_until + PATIENCE {
                (0..self.clients.len()).try_for_each(|client| self.discard_parked(client))?;
            }
            match self.unfinished() {
                None => break,
                Some(why) if until > faults_until + LIVENESS_MAX => return broken("the healed system settles", why),
                Some(_) => {}
            }
        }
        self.at_the_end()
    }

    /// Tells the trace's reader how everything stood at the end.
    fn tell_all(&mut self) {
        let now = self.now();
        self.trace.note(now, "plan", &[], || format!("{:?}", self.plan));
        for site in &self.sites {
            let at = site.clock.read(now);
            for (number, shard) in site.process.iter().flat_map(|process| process.shards.iter().enumerate()) {
                self.trace.note(now, "state", &[], || {
                    format!("site {} shard {number} {:?} {:?}", site.id, shard.status(at), shard.counters())
                });
            }
        }
        let stores: Vec<_> = self.sites.iter().map(|site| (site.id, site.disk.visible())).collect();
        for line in convergence::differences(&stores) {
            self.trace.note(now, "differs", &[], || line);
        }
        for (number, client) in self.clients.iter().enumerate() {
            let Some(machine) = &client.machine else { continue };
            self.trace.note(now, "state", &[], || {
                format!("client {number} {:?} {:?} outbox {:?}", machine.status(), machine.counters(), machine.outbox())
            });
        }
    }

    fn heal(&mut self) {
        self.healed = true;
        let now = self.now();
        self.trace.note(now, "HEAL", &[], || "everything is healed".to_owned());
        self.net.heal();
        self.paths_mended();
        for at in 0..self.sites.len() {
            let site = &mut self.sites[at];
            site.clock.heal(now);
            site.fsync_fails = false;
            site.sync_time = self.plan.sync_time;
            let id = site.id;
            self.queue.after(0, Event::SiteStart(id));
        }
        for client in 0..self.clients.len() {
            self.clients[client].slowness = 0;
            self.queue.after(0, Event::ClientStart(client));
            let conns: Vec<_> = self.clients[client].connections().collect();
            for conn in conns {
                if let Some(conn) = self.conns.get(&conn) {
                    self.pipes.slow(conn.events, 0);
                }
            }
        }
    }

    /// Why the healed system has not settled yet.
    fn unfinished(&self) -> Option<String> {
        for site in &self.sites {
            let Some(process) = &site.process else { return Some(format!("{:?} is down", site.id)) };
            for (number, shard) in process.shards.iter().enumerate() {
                if !shard.is_ready() {
                    return Some(format!("{:?} shard {number} is not ready", site.id));
                }
                if shard.is_erasing() {
                    return Some(format!("{:?} shard {number} still takes bodies of erased users", site.id));
                }
                if shard.durable() != shard.applied() {
                    return Some(format!("{:?} shard {number} has unsynced ops", site.id));
                }
                if site.truth[number] != self.sites[0].truth[number] {
                    let (a, b) = (&self.sites[0].truth[number], &site.truth[number]);
                    return Some(format!("shard {number}: {:?} has {a:?}, {:?} has {b:?}", self.sites[0].id, site.id));
                }
            }
        }
        for site in &self.sites {
            let now_ms = site.clock.read(self.queue.now()).wall_ms;
            match erasures::left(site, self.plan.shards) {
                // Asked for at a site whose clock was ahead: the others take it when they get there.
                Ok(left) if left.iter().all(|(_, erasure, _)| erasure.stamp.ms() > now_ms) => {}
                Ok(left) => return Some(format!("{:?} has to ask for erasures: {left:?}", site.id)),
                Err(violation) => return Some(violation.detail),
            }
        }
        if self.keeps_flags()
            && let Some(wrong) =
                self.sites.iter().find_map(|site| self.checks.marks.unsettled(site.id, site.disk.visible()))
        {
            return Some(wrong);
        }
        for (number, client) in self.clients.iter().enumerate() {
            let Some(machine) = &client.machine else { return Some(format!("client {number} is down")) };
            if let Some((room, id)) = machine.outbox().first() {
                return Some(format!("client {number} still has {id:?} of {room:?} in its outbox"));
            }
            if machine.status().home.is_none() {
                return Some(format!("client {number} has no home"));
            }
            if !client.has_committed_all() {
                return Some(format!("client {number} has not committed everything"));
            }
            for room in self.rooms_of(number) {
                let durable = &self.sites[0].truth[usize::from(self.shard_of(&room).0)];
                let has = client.committed(&room);
                let hidden = |dots: &[Dot]| self.checks.ops.are_hidden(self.shard_of(&room), dots, durable);
                let lacks = |dots: &Vec<Dot>| {
                    dots.iter().any(|d| durable.covers(d)) && !dots.iter().any(|d| has.covers(d)) && !hidden(dots)
                };
                if let Some((id, dots)) = self.checks.ops.of_room(room).find(|(_, dots)| lacks(dots)) {
                    return Some(format!("client {number} lacks {id:?} {dots:?} of {room:?}: it has {has:?}"));
                }
            }
            match self.list_of(number) {
                Ok(None) => {}
                Ok(Some(wrong)) => return Some(format!("the list of client {number} is wrong: {wrong}")),
                Err(violation) => return Some(violation.detail),
            }
        }
        None
    }

    /// Whether no fault of the run makes a site forget a flag, refuse one or lose it on the way: they are not synced, and not
    /// in the log.
    fn keeps_flags(&self) -> bool {
        let faults = &self.plan.faults;
        let forgets = faults.crash || faults.fsync || faults.disk_loss || faults.old_copy;
        !forgets && !self.flags_are_refused() && !self.plan.datagram_links
    }

    /// Whether a site may hold its clock for wrong, and take no flag.
    fn flags_are_refused(&self) -> bool {
        self.plan.faults.skew || self.plan.faults.jumps
    }

    /// What is wrong with a client's list of rooms.
    fn list_of(&self, number: usize) -> Result<Option<String>, Violation> {
        let client = &self.clients[number];
        let Some(machine) = &client.machine else { return Ok(None) };
        let Some(home) = machine.status().site else { return Ok(Some("there is no home".to_owned())) };
        let site = &self.sites[usize::from(home.0) - 1];
        let Some(process) = &site.process else { return Ok(Some("its home is down".to_owned())) };
        let reader = Reader {
            site: site.id,
            view: site.disk.visible(),
            durables: &process.published,
            shard_count: self.plan.shards,
            truth: &Vector::new(),
            user: &client.user,
            sends: &self.checks.sends,
        };
        if let Some(wrong) = list::wrong_invitations(machine.invitations(), self.workload.rooms(), &reader)? {
            return Ok(Some(wrong));
        }
        let views = machine.rooms(self.clients[number].read_clock(self.queue.now()));
        if let Some(wrong) = list::wrong_flag(&views, &reader).filter(|_| !self.flags_are_refused()) {
            return Ok(Some(wrong));
        }
        list::wrong(&views, &self.rooms_of(number), &reader)
    }

    /// The rooms of which the client's user is a member, by the first site's rows.
    fn rooms_of(&self, client: usize) -> Vec<RoomId> {
        use causeway_replica::key::Key;
        use causeway_replica::view::{Cf, View};
        let member = |room: &&RoomId| {
            let key = Key::Member(**room, self.clients[client].user.clone()).encode();
            let row = self.sites[0].disk.synced().get(Cf::Element, &key).ok().flatten();
            row.and_then(|row| wire::ElementRow::decode(row).ok()).is_some_and(|row| !row.tags.is_empty())
        };
        self.workload.rooms().iter().filter(member).copied().collect()
    }

    fn at_the_end(&mut self) -> Step {
        let stores: Vec<_> = self.sites.iter().map(|site| (site.id, site.disk.visible())).collect();
        // One whose clock is off, or was a moment ago, lets no body go.
        let now = self.now();
        let accepts = |process: &Process| process.accepting && now - process.accepting_since >= CLOCK_HEEDED;
        let clock = |site: &Site| match &site.process {
            Some(process) if accepts(process) => site.clock.heeded_ms(now),
            _ => 0,
        };
        let clocks: Vec<u64> = self.sites.iter().map(clock).collect();
        convergence::same_rows(&stores)?;
        stores.iter().try_for_each(|(site, view)| self.checks.marks.are_not_invented(*site, view))?;
        if self.keeps_flags() {
            self.coverage.add("flags compared between sites", self.checks.marks.count());
        }
        // Their ops are the same by now, so one site's speak for all.
        let users = (0..self.plan.users).filter_map(|user| UserId::new(&format!("user-{user}")).ok());
        let own: Vec<RoomId> = users.map(|user| RoomId::of_user(&user)).collect();
        for room in self.workload.rooms().iter().chain(&own) {
            let changes = Changes::of_room(stores[0].1, room, None)?;
            let mut each = stores.iter().zip(&clocks);
            each.try_for_each(|((site, view), now_ms)| changes.settled(*site, *now_ms, *view, room))?;
            changes.found().for_each(|(what, count)| self.coverage.add(what, count));
            let acts = acts_of(stores[0].1, room)?;
            let rights = Model::of(&acts);
            stores.iter().try_for_each(|(site, view)| rights.settled(*site, *view, room))?;
            rights.found().for_each(|(what, count)| self.coverage.add(what, count));
            let (judged, acting) = self.checks.ops.are_permitted(room.shard(self.plan.shards), *room)?;
            self.coverage.add("acceptance judged", judged);
            self.coverage.add("acting owner acted", acting);
            acts.iter().for_each(|act| self.coverage.add(act.what(), 1));
        }
        let rooms: Vec<Vec<RoomId>> = (0..self.clients.len()).map(|client| self.rooms_of(client)).collect();
        self.checks.chains.cover_exactly(&self.checks.ops, self.plan.shards, |client, room| {
            let durable = &self.sites[0].truth[usize::from(room.shard(self.plan.shards).0)];
            rooms[client].contains(room).then_some(durable)
        })?;
        self.coverage.hit("cursor chain checked");
        self.everything_is_read()?;
        for at in 0..self.sites.len() {
            let shards = self.sites[at].process.take().map(|process| process.shards).unwrap_or_default();
            shards.iter().for_each(|shard| self.coverage_of(shard));
        }
        Ok(())
    }

    /// Looked at whenever a fault strikes, when buffers are full.
    pub fn buffers_are_within_limits(&self) -> Step {
        let now = self.now();
        for site in &self.sites {
            let at = site.clock.read(now);
            for shard in site.process.iter().flat_map(|process| &process.shards) {
                buffers::of_shard(site.id, &shard.status(at), &self.plan.bounds)?;
            }
        }
        for (number, client) in self.clients.iter().enumerate() {
            let Some(machine) = &client.machine else { continue };
            let limits = self.plan.client_limits();
            buffers::of_client(number, &machine.status(), limits.outbox_requests_max, limits.outbox_bytes_max)?;
        }
        Ok(())
    }

    fn everything_is_read(&mut self) -> Step {
        let mut unread_checks = 0;
        let mut read_somewhere_not: BTreeSet<(RoomId, RequestId)> = BTreeSet::new();
        for site in &self.sites {
            let Some(process) = &site.process else { continue };
            for client in 0..self.clients.len() {
                for room in self.rooms_of(client) {
                    let reader = Reader {
                        site: site.id,
                        view: site.disk.visible(),
                        durables: &process.published,
                        shard_count: self.plan.shards,
                        truth: &site.truth[usize::from(self.shard_of(&room).0)],
                        user: &self.clients[client].user,
                        sends: &self.checks.sends,
                    };
                    let (back, forth) = (reader.all(room, false, 7)?, reader.all(room, true, 500)?);
                    let (Some(back), Some(forth)) = (back, forth) else {
                        return broken("members may read", format!("{:?} refuses client {client} {room:?}", site.id));
                    };
                    let acts = acts_of(site.disk.visible(), &room)?;
                    let rights = Model::of(&acts);
                    let mut all: Vec<RequestId> = self.checks.ops.kept_of_room(room, reader.truth);
                    all.retain(|id| rights.shows(id));
                    if back != forth || back != all {
                        let detail = format!(
                            "{:?} {room:?}: {} back, {} forth, {} are",
                            site.id,
                            back.len(),
                            forth.len(),
                            all.len()
                        );
                        return broken("no id twice in a read, none missing", detail);
                    }
                    let newest = wire::HistoryRequest { room: room.to_wire(), from: None, forward: false, limit: 1 };
                    if let Some(page) = reader.page(&newest)? {
                        unread_checks += 1;
                        reader.unread_is_right(room, page.unread)?;
                    }
                }
            }
            for ((room, id), _) in self.checks.sends.iter() {
                let durable = &site.truth[usize::from(self.shard_of(room).0)];
                if !self.checks.ops.dots_of(room, id).iter().any(|dot| durable.covers(dot)) {
                    read_somewhere_not.insert((*room, *id));
                }
            }
        }
        self.coverage.add("unread checked", unread_checks);
        for (place, sent) in self.checks.sends.iter() {
            let in_outbox = self.clients[sent.client].saved().any(|saved| (saved.room, saved.id) == *place);
            let losses = finals::Losses { disks: &self.nemesis.destroyed, devices: &self.clients[sent.client].lost_at };
            finals::kept(place, sent, !read_somewhere_not.contains(place), in_outbox, &losses)?;
        }
        Ok(())
    }

    /// Shards of the run.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.plan.shards).map(ShardId)
    }
}
