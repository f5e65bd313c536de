//! What strikes, and when it ends. It never goes beyond the promise: a disk is only destroyed (or rolled back)
//! while everything that anybody was told to be replicated is on two others' disks or will be after it.

use std::collections::BTreeMap;

use causeway_protocol::{Dot, Message, ShardId, SiteId, Vector, wire};
use causeway_replica::key::Key;
use causeway_replica::view::{Cf, View};

use crate::network::Place;
use crate::queue::{MS, SECOND};
use crate::rng::Rng;
use crate::world::{ConnId, Event, Step, World};

/// How a fault ends.
#[derive(Clone, Copy, Debug)]
pub enum Undo {
    /// A path is mended, in this direction.
    Mend(Place, Place),
    /// A cut comes, as part of a flapping path.
    Cut(Place, Place),
    /// The disk is fast again.
    FastDisk(SiteId),
    /// The client reads fast again.
    FastReader(usize),
    /// A backup is taken, for later.
    Backup(SiteId),
}

/// The fault injector.
pub struct Nemesis {
    rng: Rng,
    /// What sites told to be in two sites' fsynced storage.
    told_stable: BTreeMap<ShardId, Vector>,
    /// Disks destroyed or rolled back, and when.
    pub destroyed: Vec<(SiteId, u64)>,
}

impl Nemesis {
    /// With its dice.
    pub fn new(rng: Rng) -> Self {
        Self { rng, told_stable: BTreeMap::new(), destroyed: Vec::new() }
    }

    /// A site told somebody that this is stable.
    pub fn stable_was_told(&mut self, shard: ShardId, dot: Dot) {
        self.told_stable.entry(shard).or_default().raise(dot);
    }
}

#[derive(Clone, Copy)]
enum Fault {
    Crash,
    Stop,
    Fsync,
    DiskLoss,
    OldCopy,
    Partition,
    OneWay,
    Flapping,
    ClientCut,
    Break,
    Jump,
    SlowDisk,
    SlowReader,
    ClientCrash,
    DeviceLoss,
}

impl World {
    /// A fault of chance, among those of the plan.
    pub fn strike(&mut self) -> Step {
        self.buffers_are_within_limits()?;
        if self.healed {
            return Ok(());
        }
        let every = self.plan.fault_every;
        let next = self.nemesis.rng.within(every / 4, every * 2);
        self.queue.after(next, Event::Strike);
        let faults = self.plan.faults;
        let possible: Vec<Fault> = [
            (faults.crash, Fault::Crash),
            (faults.crash, Fault::Stop),
            (faults.fsync, Fault::Fsync),
            (faults.disk_loss, Fault::DiskLoss),
            (faults.old_copy, Fault::OldCopy),
            (faults.partition, Fault::Partition),
            (faults.one_way, Fault::OneWay),
            (faults.flapping, Fault::Flapping),
            (faults.client_cut, Fault::ClientCut),
            (faults.break_connections, Fault::Break),
            (faults.jumps, Fault::Jump),
            (faults.slow_disk, Fault::SlowDisk),
            (faults.slow_reader, Fault::SlowReader),
            (faults.client_crash, Fault::ClientCrash),
            (faults.device_loss, Fault::DeviceLoss),
        ]
        .into_iter()
        .filter_map(|(on, fault)| on.then_some(fault))
        .collect();
        let site = SiteId(self.nemesis.rng.within(1, self.plan.sites as u64) as u16);
        let client = self.nemesis.rng.below(self.plan.clients as u64) as usize;
        match self.nemesis.rng.pick(&possible).copied() {
            Some(fault) => self.strike_with(fault, site, client),
            None => Ok(()),
        }
    }

    fn strike_with(&mut self, fault: Fault, site: SiteId, client: usize) -> Step {
        let now = self.now();
        let rng = &mut self.nemesis.rng;
        let duration = rng.within(100, 6_000) * MS;
        match fault {
            Fault::Crash => {
                self.queue.after(duration, Event::SiteStart(site));
                self.crash_site(site, "killed")
            }
            Fault::Stop => {
                self.coverage.hit("process stopped");
                self.trace.note(now, "stop", &[site.0.into()], || format!("site {site} for {} ms", duration / MS));
                let until = self.site(site).stopped_until.max(now + duration);
                self.site(site).stopped_until = until;
                self.checks.sends.excuse(site, until);
                Ok(())
            }
            Fault::Fsync => {
                self.site(site).fsync_fails = true;
                self.queue.after(6 * SECOND, Event::SiteStart(site));
                Ok(())
            }
            Fault::DiskLoss => self.lose_disk(site, duration),
            Fault::OldCopy => self.old_copy(site, duration),
            Fault::Partition => {
                self.coverage.hit("partition");
                let other = SiteId(rng.within(1, self.plan.sites as u64) as u16);
                let whole = rng.percent(60);
                for peer in (1..=self.plan.sites as u16).map(SiteId).filter(|peer| *peer != site) {
                    if whole || peer == other {
                        self.cut_for(Place::Site(site), Place::Site(peer), duration);
                        self.cut_for(Place::Site(peer), Place::Site(site), duration);
                    }
                }
                Ok(())
            }
            Fault::OneWay => {
                self.coverage.hit("one-way cut");
                let other = SiteId(rng.within(1, self.plan.sites as u64) as u16);
                self.cut_for(Place::Site(site), Place::Site(other), duration);
                Ok(())
            }
            Fault::Flapping => {
                self.coverage.hit("partition flapped");
                let other = SiteId(rng.within(1, self.plan.sites as u64) as u16);
                let (a, b) = (Place::Site(site), Place::Site(other));
                for _ in 0..rng.within(2, 8) {
                    let (from, to) = (rng.below(8_000) * MS, rng.below(8_000) * MS);
                    for (a, b) in [(a, b), (b, a)] {
                        self.queue.after(from, Event::Undo(Undo::Cut(a, b)));
                        self.queue.after(from.max(to), Event::Undo(Undo::Mend(a, b)));
                    }
                }
                Ok(())
            }
            Fault::ClientCut => {
                self.coverage.hit("client cut off");
                let both = rng.percent(70);
                self.cut_for(Place::Client(client), Place::Site(site), duration);
                if both {
                    self.cut_for(Place::Site(site), Place::Client(client), duration);
                }
                Ok(())
            }
            Fault::Break => {
                let conns: Vec<ConnId> = self.clients[client].connections().collect();
                if let Some(conn) = rng.pick(&conns).copied() {
                    self.break_conn(conn);
                }
                Ok(())
            }
            Fault::Jump => {
                // A minority of the clocks jumps: the design promises nothing where most are wrong.
                let site = SiteId((usize::from(site.0) - 1) as u16 % ((self.plan.sites as u16 - 1) / 2).max(1) + 1);
                let most = *rng.pick(&[1_000, 1_000, 60_000, 3_600_000]).unwrap_or(&1_000);
                let by = rng.within(0, 2 * most) as i64 - most as i64;
                self.coverage.hit("clock jumped");
                self.trace.note(now, "jump", &[site.0.into()], || format!("clock of site {site} by {by} ms"));
                self.site(site).clock.jump(now, by);
                Ok(())
            }
            Fault::SlowDisk => {
                self.coverage.hit("slow disk");
                self.site(site).sync_time = rng.within(50, 800) * MS;
                self.queue.after(duration, Event::Undo(Undo::FastDisk(site)));
                Ok(())
            }
            Fault::SlowReader => {
                self.coverage.hit("slow reader");
                let slowness = rng.within(20, 600) * MS;
                self.clients[client].slowness = slowness;
                self.slow_events(client, slowness);
                self.queue.after(duration, Event::Undo(Undo::FastReader(client)));
                Ok(())
            }
            Fault::ClientCrash => {
                self.queue.after(duration / 3, Event::ClientStart(client));
                self.crash_client(client, false)
            }
            Fault::DeviceLoss => {
                self.queue.after(duration / 3, Event::ClientStart(client));
                self.crash_client(client, true)
            }
        }
    }

    fn cut_for(&mut self, from: Place, to: Place, duration: u64) {
        self.net.cut(from, to);
        self.trace
            .note(self.queue.now(), "cut", &[duration], || format!("{from:?} to {to:?} for {} ms", duration / MS));
        self.queue.after(duration, Event::Undo(Undo::Mend(from, to)));
    }

    fn slow_events(&mut self, client: usize, slowness: u64) {
        let conns: Vec<ConnId> = self.clients[client].connections().collect();
        for conn in conns {
            if let Some(conn) = self.conns.get(&conn) {
                self.pipes.slow(conn.events, slowness);
            }
        }
    }

    /// A fault, or a part of one, ends.
    pub fn undo(&mut self, undo: Undo) -> Step {
        match undo {
            Undo::Mend(from, to) => {
                self.net.mend(from, to);
                self.trace.note(self.queue.now(), "mended", &[], || format!("{from:?} to {to:?}"));
                self.paths_mended();
            }
            Undo::Cut(from, to) if !self.healed => {
                self.trace.note(self.queue.now(), "cut", &[0], || format!("{from:?} to {to:?}, flapping"));
                self.net.cut(from, to);
            }
            Undo::Cut(..) => {}
            Undo::FastDisk(site) => self.site(site).sync_time = self.plan.sync_time,
            Undo::FastReader(client) => {
                self.clients[client].slowness = 0;
                self.slow_events(client, 0);
            }
            Undo::Backup(site) => self.site(site).disk.take_backup(),
        }
        Ok(())
    }

    fn lose_disk(&mut self, site: SiteId, duration: u64) -> Step {
        if !self.may_destroy(site)? {
            self.coverage.hit("destruction withheld");
            return Ok(());
        }
        self.crash_site(site, "its disk is lost")?;
        self.coverage.hit("disk lost");
        self.destroyed(site);
        self.site(site).disk.destroy();
        self.site(site).look_at_disk();
        self.queue.after(duration, Event::SiteStart(site));
        Ok(())
    }

    /// First a copy is taken; when the fault strikes again, it takes the disk's place.
    fn old_copy(&mut self, site: SiteId, duration: u64) -> Step {
        let marked = self.nemesis.rng.percent(50);
        if !self.site(site).disk.has_backup() {
            self.site(site).disk.take_backup();
            return Ok(());
        }
        if !self.may_destroy(site)? {
            self.coverage.hit("destruction withheld");
            return Ok(());
        }
        self.crash_site(site, "an old copy of its disk is restored")?;
        self.coverage.hit(if marked { "old copy restored" } else { "old copy restored unmarked" });
        self.destroyed(site);
        self.site(site).disk.restore_backup(marked);
        self.site(site).look_at_disk();
        self.queue.after(duration, Event::SiteStart(site));
        if self.nemesis.rng.percent(50) {
            self.queue.after(duration + SECOND, Event::Undo(Undo::Backup(site)));
        }
        Ok(())
    }

    fn destroyed(&mut self, site: SiteId) {
        let now = self.now();
        self.nemesis.destroyed.push((site, now));
    }

    /// "`Replicated` survives the loss of any one site": of one, until its copy is made again. Everything told to
    /// be stable, and every request that two sites acknowledged, must be on another site's disk.
    fn may_destroy(&mut self, site: SiteId) -> Result<bool, crate::checkers::Violation> {
        let others = || self.sites.iter().filter(|other| other.id != site);
        for (shard, told) in &self.nemesis.told_stable {
            let mut elsewhere = Vector::new();
            others().for_each(|other| elsewhere.join(&other.truth[usize::from(shard.0)]));
            if !elsewhere.covers_all(told) {
                return Ok(false);
            }
        }
        for (room, id) in self.checks.sends.acked_twice() {
            let key = Key::Request(*room, *id).encode();
            let held = others().any(|other| matches!(other.disk.synced().get(Cf::Request, &key), Ok(Some(_))));
            if !held {
                return Ok(false);
            }
        }
        // A client may take two acks for safety of which one is of a site that lost its disk since.
        let lone = self.checks.sends.iter().filter(|(_, sent)| !sent.stored.is_empty());
        for ((room, id), _) in lone {
            let key = Key::Request(*room, *id).encode();
            let row = |site: &crate::sites::Site| site.disk.synced().get(Cf::Request, &key).ok().flatten();
            let here = self.sites.iter().find(|s| s.id == site).and_then(row);
            let on_one =
                here.is_some_and(|row| wire::RequestRow::decode(row).is_ok()) && !others().any(|s| row(s).is_some());
            let lost_before = !self.nemesis.destroyed.is_empty();
            if on_one && lost_before {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
