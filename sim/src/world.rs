//! The simulated world: everything that exists, and what happens to it next.

use std::collections::BTreeMap;

use bytes::Bytes;
use causeway_client::machine::{ClosedBySite, LinkId as MachineLink};
use causeway_protocol::{RoomId, SiteId, Vector, wire};
use causeway_replica::io::{SessionId, Ticket};

use crate::checkers::Violation;
use crate::checkers::convergence::Buckets;
use crate::checkers::cursors::Chains;
use crate::checkers::marks::Marks;
use crate::checkers::ops::Ops;
use crate::checkers::sends::Sends;
use crate::checkers::truncation::Truncation;
use crate::clients::Client;
use crate::coverage::Coverage;
use crate::nemesis::{Nemesis, Undo};
use crate::network::{Fate, Network, Place};
use crate::pipes::{PipeId, Pipes};
use crate::plan::Plan;
use crate::queue::{Micros, Queue};
use crate::rng::Rng;
use crate::sabotage::Break;
use crate::sites::Site;
use crate::trace::Trace;
use crate::workload::Workload;

/// A start of a process: what was meant for an earlier one is lost.
pub type Epoch = u64;

/// A peer link, from one handshake to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u64);

/// A client's connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnId(pub u64);

/// What travels between sites.
#[derive(Clone, Debug)]
pub enum PeerCargo {
    /// The link was accepted.
    Accepted,
    /// Are you there?
    Ping(Micros),
    /// Yes, and my wall clock says this, ms.
    Pong(Micros, u64),
    /// A replica's frame.
    Shard(wire::ShardFrame),
}

/// What travels in a stream.
#[derive(Clone, Debug)]
pub enum Cargo {
    /// On a client's control stream, upwards.
    Up(ConnId, wire::ClientFrame),
    /// On the control stream, downwards: a frame with its length.
    Control(ConnId, Bytes),
    /// On the stream of events.
    Event(ConnId, Bytes),
    /// The client closed the connection.
    EndAtSite(ConnId),
    /// The site closed the connection, and said why.
    EndAtClient(ConnId, ClosedBySite),
    /// On a peer link.
    Peer(LinkId, SiteId, PeerCargo),
}

/// What happens next.
pub enum Event {
    /// A site's process starts.
    SiteStart(SiteId),
    /// A process takes its inputs.
    Poll(SiteId, Epoch),
    /// A sync has ended.
    Synced(SiteId, Epoch, Ticket),
    /// A process looks after links, clocks and connections.
    HostTimer(SiteId, Epoch),
    /// A dial arrives at a peer.
    LinkDialled {
        /// The new link.
        link: LinkId,
        /// Who dials.
        from: SiteId,
        /// Who is dialled.
        to: SiteId,
    },
    /// A datagram of a peer link arrives.
    Datagram(LinkId, SiteId, PeerCargo),
    /// An item of a stream arrives.
    Arrive(PipeId),
    /// A client's dial arrives.
    ConnAtSite(ConnId),
    /// The handshake's answer arrives at the client.
    ConnAtClient(ConnId),
    /// The client learns that the connection is gone.
    ConnFailed(ConnId),
    /// The site learns that the connection is gone.
    ConnEnded(ConnId),
    /// An application starts.
    ClientStart(usize),
    /// A machine's timer.
    ClientTick(usize, Epoch),
    /// A user does something.
    Work(usize),
    /// An application has handled deliveries.
    Commit(usize, Epoch),
    /// A fault strikes.
    Strike,
    /// A fault ends.
    Undo(Undo),
}

/// A client's connection as the world sees it.
pub struct Conn {
    /// Whose.
    pub client: usize,
    /// Which start of the application.
    pub client_epoch: Epoch,
    /// The machine's name for it.
    pub link: MachineLink,
    /// To where.
    pub site: SiteId,
    /// The process that accepted it, and its session there.
    pub session: Option<(Epoch, SessionId)>,
    /// Whether the client still knows it.
    pub at_client: bool,
    /// Upwards.
    pub up: PipeId,
    /// Downwards, control.
    pub control: PipeId,
    /// Downwards, events.
    pub events: PipeId,
    /// Since when its path is cut.
    pub cut_since: Option<Micros>,
    /// What the client said on it that it has of rooms.
    pub claimed: BTreeMap<RoomId, Vector>,
}

/// What the checkers have seen.
#[derive(Default)]
pub struct Checks {
    /// Ops.
    pub ops: Ops,
    /// Digests.
    pub buckets: Buckets,
    /// Logs.
    pub truncation: Truncation,
    /// Requests and their acks.
    pub sends: Sends,
    /// Deliveries.
    pub chains: Chains,
    /// Flags by which users mark rooms unread.
    pub marks: Marks,
}

/// Streams of chance, one a concern.
pub struct Chance {
    /// Hosts: how long things take.
    pub hosts: Rng,
    /// Incarnations and nonces.
    pub identity: Rng,
    /// Clients and their users.
    pub clients: Rng,
}

/// Everything.
pub struct World {
    /// The run's shape.
    pub plan: Plan,
    /// A deliberate defect.
    pub defect: Option<Break>,
    /// Time.
    pub queue: Queue<Event>,
    /// Paths.
    pub net: Network,
    /// Streams.
    pub pipes: Pipes<Cargo>,
    /// Connections.
    pub conns: BTreeMap<ConnId, Conn>,
    /// By id, from 1.
    pub sites: Vec<Site>,
    /// By number.
    pub clients: Vec<Client>,
    /// What users do.
    pub workload: Workload,
    /// What strikes.
    pub nemesis: Nemesis,
    /// What is checked.
    pub checks: Checks,
    /// Dice.
    pub chance: Chance,
    /// What was reached.
    pub coverage: Coverage,
    /// What happened.
    pub trace: Trace,
    /// Faults are over.
    pub healed: bool,
    next_id: u64,
}

/// What a step gives.
pub type Step = Result<(), Violation>;

const CONCERN_PLAN: u64 = 1;
const CONCERN_NETWORK: u64 = 2;
const CONCERN_HOSTS: u64 = 3;
const CONCERN_IDENTITY: u64 = 4;
const CONCERN_CLIENTS: u64 = 5;
const CONCERN_NEMESIS: u64 = 6;
const CONCERN_WORKLOAD: u64 = 7;

impl World {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, defect: Option<Break>, trace: Trace) -> Self {
        let plan = Plan::of(&mut Rng::stream(seed, CONCERN_PLAN));
        let mut net = Network::new(Rng::stream(seed, CONCERN_NETWORK), plan.sites, plan.clients);
        net.weather = plan.weather;
        let mut clients_rng = Rng::stream(seed, CONCERN_CLIENTS);
        let mut hosts = Rng::stream(seed, CONCERN_HOSTS);
        let sites = (1..=plan.sites).map(|id| Site::new(SiteId(id as u16), &plan, &mut hosts)).collect();
        let clients = (0..plan.clients).map(|number| Client::new(number, &plan, &mut clients_rng)).collect();
        let mut world = Self {
            defect,
            queue: Queue::default(),
            net,
            pipes: Pipes::default(),
            conns: BTreeMap::new(),
            sites,
            clients,
            workload: Workload::new(Rng::stream(seed, CONCERN_WORKLOAD), &plan),
            nemesis: Nemesis::new(Rng::stream(seed, CONCERN_NEMESIS)),
            checks: Checks::default(),
            chance: Chance { hosts, identity: Rng::stream(seed, CONCERN_IDENTITY), clients: clients_rng },
            coverage: Coverage::default(),
            trace,
            healed: false,
            next_id: 0,
            plan,
        };
        world.schedule_beginnings();
        world
    }

    fn schedule_beginnings(&mut self) {
        for id in 1..=self.plan.sites {
            let delay = self.chance.hosts.within(0, 300_000);
            self.queue.after(delay, Event::SiteStart(SiteId(id as u16)));
        }
        for client in 0..self.plan.clients {
            let delay = self.chance.clients.within(0, 1_500_000);
            self.queue.after(delay, Event::ClientStart(client));
            self.queue.after(delay + 500_000, Event::Work(client));
        }
        self.queue.after(1_000_000, Event::Strike);
    }

    /// A number never given before.
    pub fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A site.
    pub fn site(&mut self, id: SiteId) -> &mut Site {
        &mut self.sites[usize::from(id.0) - 1]
    }

    /// The present moment.
    pub fn now(&self) -> Micros {
        self.queue.now()
    }

    /// Sends into a stream.
    pub fn send(&mut self, pipe: PipeId, cargo: Cargo, bytes: usize) {
        let now = self.queue.now();
        if let Some(delay) = self.pipes.send(pipe, cargo, bytes, now, &mut self.net) {
            self.queue.after(delay, Event::Arrive(pipe));
        }
    }

    /// Sends a datagram of a peer link.
    pub fn send_datagram(&mut self, link: LinkId, from: SiteId, to: SiteId, cargo: PeerCargo) {
        match self.net.datagram(Place::Site(from), Place::Site(to)) {
            Fate::Lost => self.coverage.hit("frame lost"),
            Fate::Once(delay) => self.queue.after(delay, Event::Datagram(link, to, cargo)),
            Fate::Twice(first, second) => {
                self.coverage.hit("frame duplicated");
                self.queue.after(first, Event::Datagram(link, to, cargo.clone()));
                self.queue.after(second, Event::Datagram(link, to, cargo));
            }
        }
    }

    /// Cuts or weather changed: what was held up goes on.
    pub fn paths_mended(&mut self) {
        let now = self.queue.now();
        for (pipe, delay) in self.pipes.mended(now, &mut self.net) {
            self.queue.after(delay, Event::Arrive(pipe));
        }
    }

    /// The next event, if it happens before `until`. `false`: nothing does.
    pub fn step(&mut self, until: Micros) -> Result<bool, Violation> {
        if self.queue.next_at().is_none_or(|at| at > until) {
            return Ok(false);
        }
        let Some(event) = self.queue.pop() else { return Ok(false) };
        if let Some(resumes) = self.stopped_until(&event) {
            let delay = resumes - self.now();
            self.queue.after(delay, event);
            return Ok(true);
        }
        self.happen(event)?;
        Ok(true)
    }

    /// A stopped process (SIGSTOP) misses nothing: it finds everything when it goes on.
    fn stopped_until(&self, event: &Event) -> Option<Micros> {
        let site = match event {
            Event::Poll(site, _) | Event::Synced(site, ..) | Event::HostTimer(site, _) => *site,
            Event::LinkDialled { to, .. } | Event::Datagram(_, to, _) => *to,
            Event::Arrive(pipe) => match self.pipes.target(*pipe) {
                Some(Place::Site(site)) => site,
                _ => return None,
            },
            _ => return None,
        };
        let until = self.sites[usize::from(site.0) - 1].stopped_until;
        (until > self.now()).then_some(until)
    }

    fn happen(&mut self, event: Event) -> Step {
        match event {
            Event::SiteStart(site) => self.start_site(site),
            Event::Poll(site, epoch) => self.poll(site, epoch),
            Event::Synced(site, epoch, ticket) => self.synced(site, epoch, ticket),
            Event::HostTimer(site, epoch) => self.host_timer(site, epoch),
            Event::LinkDialled { link, from, to } => self.link_dialled(link, from, to),
            Event::Datagram(link, to, cargo) => self.peer_cargo(link, to, cargo),
            Event::Arrive(pipe) => match self.pipes.arrive(pipe, &self.net) {
                Some(cargo) => self.arrive(cargo),
                None => Ok(()),
            },
            Event::ConnAtSite(conn) => self.conn_at_site(conn),
            Event::ConnAtClient(conn) => self.conn_at_client(conn),
            Event::ConnFailed(conn) => self.conn_failed(conn, None),
            Event::ConnEnded(conn) => self.conn_ended(conn),
            Event::ClientStart(client) => self.start_client(client),
            Event::ClientTick(client, epoch) => self.client_tick(client, epoch),
            Event::Work(client) => self.work(client),
            Event::Commit(client, epoch) => self.commit(client, epoch),
            Event::Strike => self.strike(),
            Event::Undo(undo) => self.undo(undo),
        }
    }

    fn arrive(&mut self, cargo: Cargo) -> Step {
        match cargo {
            Cargo::Up(conn, frame) => self.up_frame(conn, frame),
            Cargo::Control(conn, frame) => self.control_frame(conn, frame),
            Cargo::Event(conn, frame) => self.event_frame(conn, frame),
            Cargo::EndAtSite(conn) => self.conn_ended(conn),
            Cargo::EndAtClient(conn, said) => self.conn_failed(conn, Some(said)),
            Cargo::Peer(link, to, cargo) => self.peer_cargo(link, to, cargo),
        }
    }
}
