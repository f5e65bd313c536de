//! A user's device: the real session machine, an application that commits what it has handled, and a store that
//! survives its crash, unless the device is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, Bytes};
use causeway_client::machine::{
    Change, ClosedBySite, Config, Covers, Item, LinkId as MachineLink, Machine, Now, Output, Position, Progress,
    RequestNo, SavedCursor, SavedRequest, SiteConfig, SiteIndex, Standby, Start,
};
use causeway_protocol::{Message, RequestId, RoomId, SiteId, UserId, Vector, wire};

use crate::checkers::broken;
use crate::clock::Clock;
use crate::network::Place;
use crate::plan::Plan;
use crate::queue::{MS, Micros};
use crate::rng::Rng;
use crate::world::{Cargo, Conn, ConnId, Epoch, Event, Step, World};

/// Outputs that one input may give.
const OUTPUTS_MAX: usize = 100_000;

/// A device.
pub struct Client {
    /// Whose.
    pub user: UserId,
    /// The application, while it runs.
    pub machine: Option<Machine>,
    /// Starts of the application.
    pub epoch: Epoch,
    /// The device's clocks.
    pub clock: Clock,
    /// It reads events slowly.
    pub slowness: Micros,
    /// Losses of the device: what it stored is gone with each.
    pub device_era: u64,
    /// When it was lost last.
    pub lost_at: Vec<Micros>,
    /// Messages that it was shown, to answer and to change.
    pub seen: Vec<Seen>,
    sites: Vec<SiteConfig>,
    standby: Standby,
    outbox: BTreeMap<RequestNo, SavedRequest>,
    request_rooms: BTreeMap<RequestNo, RoomId>,
    parked: BTreeSet<RequestNo>,
    cursors: BTreeMap<RoomId, SavedCursor>,
    conns: BTreeMap<MachineLink, ConnId>,
    to_commit: VecDeque<Position>,
    commit_planned: bool,
    tick_at: Option<u64>,
}

/// A message that was shown.
pub struct Seen {
    /// Its room.
    pub room: RoomId,
    /// Its place.
    pub id: RequestId,
    /// Whether the user wrote it.
    pub own: bool,
    /// Who did.
    pub by: UserId,
}

impl Client {
    /// A new device.
    pub fn new(number: usize, plan: &Plan, rng: &mut Rng) -> Self {
        let name = format!("user-{}", number % plan.users);
        let first = rng.below(plan.sites as u64) as usize;
        let site = |at: usize| {
            let id = (first + at) % plan.sites + 1;
            SiteConfig { name: format!("site-{id}"), addresses: vec![format!("site-{id}:1")] }
        };
        // Some know one site only, and learn the others from its welcome.
        let known = if rng.percent(30) { 1 } else { plan.sites };
        let skew = if plan.faults.skew { rng.within(0, 20_000) as i64 - 10_000 } else { 0 };
        Self {
            user: UserId::new(&name).unwrap_or_else(|e| panic!("own user names are valid: {e}")),
            machine: None,
            epoch: 0,
            clock: Clock::new(skew, 0),
            slowness: 0,
            device_era: 0,
            lost_at: Vec::new(),
            seen: Vec::new(),
            sites: (0..known).map(site).collect(),
            standby: if rng.percent(70) { Standby::Warm } else { Standby::Cold },
            outbox: BTreeMap::new(),
            request_rooms: BTreeMap::new(),
            parked: BTreeSet::new(),
            cursors: BTreeMap::new(),
            conns: BTreeMap::new(),
            to_commit: VecDeque::new(),
            commit_planned: false,
            tick_at: None,
        }
    }

    /// Its committed cursor of a room.
    pub fn committed(&self, room: &RoomId) -> Vector {
        self.cursors.get(room).map(|saved| saved.vector.clone()).unwrap_or_default()
    }

    /// Requests in its saved outbox.
    pub fn saved(&self) -> impl Iterator<Item = &SavedRequest> {
        self.outbox.values()
    }

    /// Whether everything that it was shown is committed.
    pub fn has_committed_all(&self) -> bool {
        self.to_commit.is_empty()
    }

    /// Its connections.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.conns.values().copied()
    }

    /// Both clocks.
    pub fn read_clock(&self, at: Micros) -> Now {
        let now = self.clock.read(at);
        Now { mono_ms: now.mono_ms, wall_ms: now.wall_ms }
    }
}

impl World {
    /// The application starts on what its device saved.
    pub fn start_client(&mut self, number: usize) -> Step {
        let now = self.now();
        let (nonce, seed) = (self.chance.identity.bits(), self.chance.clients.bits());
        let client = &mut self.clients[number];
        if client.machine.is_some() {
            return Ok(());
        }
        client.epoch += 1;
        client.clock.reboot(now);
        let mut config = Config::new(client.user.clone(), client.sites.clone());
        config.standby = client.standby;
        // Nothing depends on it, and nobody would hear it.
        config.presence = false;
        config.limits = self.plan.client_limits();
        let outbox = client.outbox.values().cloned().collect();
        let start = Start { nonce, seed, outbox, cursors: client.cursors.clone() };
        client.machine = Some(Machine::new(client.read_clock(now), config, start));
        (client.tick_at, client.commit_planned) = (None, false);
        client.parked.clear();
        self.trace.note(now, "client", &[number as u64, nonce], || format!("client {number} starts"));
        self.checks.chains.started(number, false);
        self.drain(number)
    }

    /// The application dies; `lost`: with its device.
    pub fn crash_client(&mut self, number: usize, lost: bool) -> Step {
        let now = self.now();
        let client = &mut self.clients[number];
        if client.machine.take().is_none() {
            return Ok(());
        }
        self.trace.note(now, "client", &[number as u64, lost.into()], || {
            format!("client {number} dies{}", if lost { " with its device" } else { "" })
        });
        client.to_commit.clear();
        if lost {
            client.outbox.clear();
            client.cursors.clear();
            client.device_era += 1;
            client.lost_at.push(now);
        }
        let conns: Vec<ConnId> = std::mem::take(&mut client.conns).into_values().collect();
        self.checks.chains.cover_exactly(&self.checks.ops, self.plan.shards, |_, _| None)?;
        self.coverage.hit("cursor chain checked");
        self.checks.chains.started(number, lost);
        self.coverage.hit(if lost { "device lost" } else { "client crashed" });
        for id in conns {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.at_client = false;
                [conn.up, conn.control, conn.events].into_iter().for_each(|pipe| self.pipes.close(pipe));
                let delay = self.chance.hosts.within(10, 6_000) * MS;
                self.queue.after(delay, Event::ConnEnded(id));
            }
        }
        Ok(())
    }

    /// A machine's timer.
    pub fn client_tick(&mut self, number: usize, epoch: Epoch) -> Step {
        let now = self.now();
        let client = &mut self.clients[number];
        if client.epoch != epoch || client.machine.is_none() {
            return Ok(());
        }
        client.tick_at = None;
        let at = client.read_clock(now);
        if let Some(machine) = client.machine.as_mut().filter(|m| m.next_timer().is_some_and(|due| due <= at.mono_ms)) {
            machine.handle_tick(at);
        }
        self.drain(number)
    }

    /// The handshake's answer arrives.
    pub fn conn_at_client(&mut self, id: ConnId) -> Step {
        self.with_machine(id, |machine, at, link| machine.handle_opened(at, link))
    }

    /// The client learns that a connection is gone.
    pub fn conn_failed(&mut self, id: ConnId, said: Option<ClosedBySite>) -> Step {
        self.with_machine(id, |machine, at, link| machine.handle_closed(at, link, said))?;
        let Some(conn) = self.conns.get_mut(&id) else { return Ok(()) };
        conn.at_client = false;
        let (client, link) = (conn.client, conn.link);
        if conn.session.is_none() {
            self.forget_conn(id);
        }
        if self.clients[client].conns.get(&link) == Some(&id) {
            self.clients[client].conns.remove(&link);
        }
        Ok(())
    }

    /// A frame of the control stream arrives.
    pub fn control_frame(&mut self, id: ConnId, mut frame: Bytes) -> Step {
        frame.advance(4);
        let frame = wire::ServerFrame::decode(frame).or_else(|e| broken("frames decode", e.to_string()))?;
        self.with_machine(id, |machine, at, link| machine.handle_control(at, link, frame))
    }

    /// A frame of the stream of events arrives.
    pub fn event_frame(&mut self, id: ConnId, mut frame: Bytes) -> Step {
        frame.advance(4);
        let frame = wire::EventFrame::decode(frame).or_else(|e| broken("frames decode", e.to_string()))?;
        self.with_machine(id, |machine, at, link| machine.handle_event(at, link, frame))?;
        match self.conns.get(&id).map(|conn| (conn.site, conn.session)) {
            Some((site, Some((_, session)))) => self.pump_session(site, session),
            _ => Ok(()),
        }
    }

    fn with_machine(&mut self, id: ConnId, input: impl FnOnce(&mut Machine, Now, MachineLink)) -> Step {
        let now = self.now();
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.at_client) else { return Ok(()) };
        let (number, link) = (conn.client, conn.link);
        let client = &mut self.clients[number];
        if client.epoch != conn.client_epoch {
            return Ok(());
        }
        let at = client.read_clock(now);
        let Some(machine) = client.machine.as_mut() else { return Ok(()) };
        input(machine, at, link);
        self.drain(number)
    }

    /// The application gives up what sites refuse for now and nobody will take, though all are well.
    pub fn discard_parked(&mut self, number: usize) -> Step {
        let client = &mut self.clients[number];
        let at = client.read_clock(self.queue.now());
        let parked = std::mem::take(&mut client.parked);
        if let Some(machine) = client.machine.as_mut() {
            parked.into_iter().for_each(|no| _ = machine.discard(at, no));
        }
        self.drain(number)
    }

    /// Carries out everything that a machine asks for, and plans its next tick.
    pub fn drain(&mut self, number: usize) -> Step {
        for _ in 0..OUTPUTS_MAX {
            let Some(machine) = self.clients[number].machine.as_mut() else { return Ok(()) };
            let Some(output) = machine.poll_output() else { break };
            self.machine_output(number, output)?;
        }
        let now = self.now();
        let client = &mut self.clients[number];
        let Some(machine) = client.machine.as_ref() else { return Ok(()) };
        if let Some(due) = machine.next_timer()
            && client.tick_at.is_none_or(|planned| planned > due)
        {
            client.tick_at = Some(due);
            let delay = client.clock.until_mono(now, due).max(MS / 2);
            self.queue.after(delay, Event::ClientTick(number, client.epoch));
        }
        Ok(())
    }

    fn machine_output(&mut self, number: usize, output: Output) -> Step {
        match output {
            Output::Dial { link, site } => self.dial(number, link, site),
            Output::Control { link, frame } => self.control(number, link, frame),
            Output::Datagram { .. } | Output::Typing { .. } | Output::Invitations => Ok(()),
            Output::Close { link, .. } => {
                self.close_by_client(number, link);
                Ok(())
            }
            Output::Deliver(delivery) => self.shown(number, delivery),
            Output::Progress { no, id, progress } => self.progress(number, no, id, progress),
            Output::Persist(change) => self.persist(number, change),
            Output::Moved { from, to, reason } => {
                self.coverage.hit(if from.is_some() { "client moved" } else { "client at home" });
                self.trace.note(self.queue.now(), "moved", &[number as u64, to.0 as u64], || {
                    format!("client {number} {from:?} to {to:?}: {reason:?}")
                });
                Ok(())
            }
            Output::SessionRefused { code, detail, .. } => {
                broken("honest clients are not thrown out", format!("client {number}: {code} {detail}"))
            }
        }
    }

    fn dial(&mut self, number: usize, link: MachineLink, index: SiteIndex) -> Step {
        let now = self.now();
        let id = ConnId(self.fresh());
        let client = &mut self.clients[number];
        let sites = client.machine.as_ref().map(Machine::sites).unwrap_or_default();
        let address = sites.get(index.0).and_then(|site| site.addresses.first()).map(String::as_str);
        let Some(site) = address.and_then(|a| a.strip_prefix("site-")?.strip_suffix(":1")?.parse().ok()) else {
            return broken("clients dial sites", format!("client {number} dials {address:?}"));
        };
        let (here, there) = (Place::Client(number), Place::Site(SiteId(site)));
        client.conns.insert(link, id);
        let (client_epoch, slowness) = (client.epoch, client.slowness);
        let open = self.net.open(here, there) && self.net.open(there, here);
        let round_trip = self.net.stream_delay(here, there) + self.net.stream_delay(there, here);
        let conn = Conn {
            client: number,
            client_epoch,
            link,
            site: SiteId(site),
            session: None,
            at_client: true,
            up: self.pipes.open(here, there, now + round_trip),
            control: self.pipes.open(there, here, now + round_trip),
            events: self.pipes.open(there, here, now + round_trip),
            cut_since: None,
            claimed: BTreeMap::new(),
        };
        self.pipes.slow(conn.events, slowness);
        self.conns.insert(id, conn);
        self.trace.note(now, "dial", &[number as u64, site.into()], || format!("client {number} dials site {site}"));
        if open {
            self.queue.after(round_trip / 2, Event::ConnAtSite(id));
        }
        Ok(())
    }

    fn control(&mut self, number: usize, link: MachineLink, frame: wire::ClientFrame) -> Step {
        let client = &mut self.clients[number];
        let Some(conn) = client.conns.get(&link).copied() else { return Ok(()) };
        match &frame.frame {
            Some(wire::client_frame::Frame::Submit(submit)) => {
                let who = (number, client.device_era, &client.user);
                self.checks.sends.sent(who, &submit.request, submit.body.as_ref())?;
            }
            Some(wire::client_frame::Frame::Hello(hello)) => {
                for cursor in &hello.cursors {
                    let vector = Vector::from_wire_opt(cursor.vector.as_ref());
                    if let (Ok(room), Ok(vector), Some(conn)) =
                        (RoomId::from_wire(&cursor.room), vector, self.conns.get_mut(&conn))
                    {
                        conn.claimed.entry(room).or_default().join(&vector);
                    }
                }
            }
            _ => {}
        }
        if let Some(pipe) = self.conns.get(&conn).map(|conn| conn.up) {
            self.send(pipe, Cargo::Up(conn, frame), 100);
        }
        Ok(())
    }

    fn close_by_client(&mut self, number: usize, link: MachineLink) {
        let Some(id) = self.clients[number].conns.remove(&link) else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.at_client = false;
        let (up, dialling) = (conn.up, conn.session.is_none());
        if dialling {
            // The site may still get the dial, and a session that nobody uses: it ends by silence.
            self.queue.after(10_000 * MS, Event::ConnEnded(id));
        } else {
            self.send(up, Cargo::EndAtSite(id), 1);
        }
    }

    fn shown(&mut self, number: usize, delivery: causeway_client::machine::Delivery) -> Step {
        let shard_count = self.plan.shards;
        self.trace.note(self.queue.now(), "shown", &[number as u64], || {
            format!("client {number} {:?} {}", delivery.position, item_name(&delivery.item))
        });
        if let Item::Request { id, user, request, body, deadline_ms, .. } = &delivery.item {
            let event = wire::Event {
                room: delivery.position.room.to_wire(),
                dot: None,
                user: user.clone(),
                request: request.encode_to_vec().into(),
                body: body.clone(),
                past: None,
                deadline_ms: *deadline_ms,
            };
            let (room, sent) = self.checks.sends.is_as_sent("a delivery", &event)?;
            if sent != *id || room != delivery.position.room {
                return broken("every read id was sent", format!("{sent:?} was shown as {id:?}"));
            }
            if matches!(request.kind, Some(wire::request::Kind::Message(_))) {
                let own = *user == self.clients[number].user.as_str();
                if let Ok(by) = UserId::new(user) {
                    self.clients[number].seen.push(Seen { room, id: *id, own, by });
                }
            }
        }
        if let Item::Opened { .. } = &delivery.item {
            self.coverage.hit("room opened late");
        }
        self.checks.chains.delivered(number, &delivery, shard_count, &mut self.checks.ops)?;
        let client = &mut self.clients[number];
        client.to_commit.push_back(delivery.position);
        if !std::mem::replace(&mut client.commit_planned, true) {
            let delay = self.chance.clients.below(80 * MS);
            self.queue.after(delay, Event::Commit(number, client.epoch));
        }
        Ok(())
    }

    /// The application has handled some deliveries.
    pub fn commit(&mut self, number: usize, epoch: Epoch) -> Step {
        let some = self.chance.clients.within(1, 8);
        let client = &mut self.clients[number];
        if client.epoch != epoch {
            return Ok(());
        }
        client.commit_planned = false;
        for _ in 0..some {
            let Some(position) = client.to_commit.pop_front() else { break };
            if let Some(machine) = client.machine.as_mut() {
                machine.commit(&position);
            }
        }
        if !client.to_commit.is_empty() {
            client.commit_planned = true;
            let delay = self.chance.clients.below(80 * MS);
            self.queue.after(delay, Event::Commit(number, epoch));
        }
        self.drain(number)
    }

    fn persist(&mut self, number: usize, change: Change) -> Step {
        let client = &mut self.clients[number];
        match change {
            Change::Added(saved) => {
                let who = (number, client.device_era, &client.user);
                self.checks.sends.sent(who, &saved.request, saved.body.as_ref())?;
                client.request_rooms.insert(saved.no, saved.room);
                client.outbox.insert(saved.no, saved);
                Ok(())
            }
            Change::Removed(no) => {
                client.outbox.remove(&no);
                Ok(())
            }
            Change::Committed(Position { room, covers }) => {
                let saved = client.cursors.entry(room).or_default();
                match &covers {
                    Covers::Dot(dot, id) => {
                        saved.vector.raise(*dot);
                        saved.shown.push(*id);
                    }
                    Covers::Page(id) => saved.shown.push(*id),
                    Covers::Vector(vector) => saved.vector.join(vector),
                    Covers::Nothing => {}
                }
                self.checks.chains.committed(number, room, &covers, saved)
            }
        }
    }

    fn home_of(&self, number: usize) -> Option<SiteId> {
        self.clients[number].machine.as_ref()?.status().site
    }

    fn progress(&mut self, number: usize, no: RequestNo, id: RequestId, progress: Progress) -> Step {
        let now = self.now();
        self.trace.note(now, "progress", &[number as u64, no.0, id.stamp.0], || {
            format!("client {number} {id:?} {progress:?}")
        });
        let Some(room) = self.clients[number].request_rooms.get(&no).copied() else { return Ok(()) };
        match progress {
            Progress::Parked { .. } => _ = self.clients[number].parked.insert(no),
            // Parked before, it still is: that is told once. Another site than the home may have stored it.
            Progress::Reminted { .. } => {}
            Progress::Stored { site, .. } if self.home_of(number) != Some(site) => {}
            _ => _ = self.clients[number].parked.remove(&no),
        }
        let Some(sent) = self.checks.sends.get_mut(&room, &id) else { return Ok(()) };
        match progress {
            Progress::Stored { site, .. } => {
                sent.stored.push((site, now));
                self.coverage.hit("stored");
            }
            Progress::Replicated(_) => {
                sent.replicated = true;
                self.coverage.hit("replicated");
            }
            Progress::Refused { code, detail, .. } => {
                sent.refused = true;
                self.coverage.hit("refused for good");
                if !sent.stored.is_empty() {
                    let detail = format!("client {number} {id:?}: {code} {detail} after {:?}", sent.stored);
                    return broken("what is stored is not refused", detail);
                }
            }
            Progress::Parked { .. } => self.coverage.hit("parked"),
            Progress::Reminted { .. } => self.coverage.hit("reminted"),
            Progress::Discarded => {
                sent.discarded = true;
                self.coverage.hit("discarded");
            }
        }
        Ok(())
    }
}

fn item_name(item: &Item) -> &'static str {
    match item {
        Item::Request { .. } => "request",
        Item::Opened { .. } => "opened",
        Item::Summarised => "summarised",
        Item::Closed => "closed",
        Item::Gap { .. } => "gap",
        Item::CaughtUp => "caught up",
    }
}
