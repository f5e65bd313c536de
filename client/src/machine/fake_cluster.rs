//! Sites in memory, a network with delays, and one machine among them: what the machine's tests play on.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::{Bytes, Code, Dot, Origin, RequestId, RoomId, SiteId, UserId, Vector, wire};
use prost::Message;

use super::*;

pub(super) const SHARD: u32 = 0;

struct Op {
    room: RoomId,
    dot: Dot,
    id: RequestId,
    request: Bytes,
    body: Option<Bytes>,
}

#[derive(Default)]
struct Session {
    active: bool,
}

/// One site.
pub(super) struct Site {
    origin: Origin,
    /// Packets from and to it are held up until it is well again; attempts to connect vanish.
    pub(super) silent: bool,
    held: Vec<Packet>,
    /// Accepts connections and answers pings, but no request.
    pub(super) stuck: bool,
    /// What it refuses every request with.
    pub(super) refuses: Option<Code>,
    /// Its wall clock is ahead of the machine's by this, ms.
    pub(super) clock_ahead_ms: i64,
    ops: Vec<Op>,
    rows: BTreeMap<(RoomId, RequestId), BTreeSet<Dot>>,
    /// Rooms that it knows; others are refused as `UnknownRoom`. A create makes one known.
    rooms: BTreeSet<RoomId>,
    sessions: BTreeMap<LinkId, Session>,
    /// Connections at which submits arrived, in order, with their ids.
    pub(super) submits: Vec<RequestId>,
    /// The nonces that came with them.
    pub(super) nonces: Vec<u64>,
}

enum Packet {
    ToSite(usize, LinkId, wire::ClientFrame),
    Opened(LinkId),
    Control(usize, LinkId, wire::ServerFrame),
    Event(usize, LinkId, wire::EventFrame),
    Closed(LinkId, Option<ClosedBySite>),
}

/// The sites, the network, the machine, and what the application saw of it.
pub(super) struct Cluster {
    pub(super) machine: Machine,
    pub(super) now: Now,
    pub(super) sites: Vec<Site>,
    pub(super) delay_ms: u64,
    packets: BTreeMap<(u64, u64), Packet>,
    packet_no: u64,
    links: BTreeMap<LinkId, usize>,
    /// Requests as the application saw them: room, id, text.
    pub(super) shown: Vec<(RoomId, RequestId)>,
    pub(super) items: Vec<Delivery>,
    pub(super) progress: Vec<(RequestNo, Progress)>,
    pub(super) moves: Vec<(Option<SiteIndex>, SiteIndex, MoveReason)>,
    pub(super) changes: Vec<Change>,
    pub(super) dials: Vec<(u64, SiteIndex)>,
    /// Read markers that arrived at sites.
    pub(super) marks: usize,
    cursors: BTreeMap<RoomId, Vector>,
    /// The application commits what it sees at once.
    pub(super) commit: bool,
}

pub(super) const START_WALL_MS: u64 = 1_700_000_000_000;

pub(super) fn config(sites: usize) -> Config {
    let site = |n: usize| SiteConfig { name: format!("site-{n}"), addresses: vec![format!("site-{n}:4433")] };
    Config::new(UserId::new("ann").expect("a name"), (1..=sites).map(site).collect())
}

pub(super) fn room(n: u8) -> RoomId {
    RoomId([n; 16])
}

impl Cluster {
    pub(super) fn new(sites: usize) -> Self {
        Self::with(config(sites), Start { nonce: 7, seed: 1, ..Start::default() })
    }

    pub(super) fn with(config: Config, start: Start) -> Self {
        let now = Now { mono_ms: 1_000, wall_ms: START_WALL_MS };
        let site = |n: usize| Site {
            origin: Origin { site: SiteId(n as u16 + 1), node: 0, incarnation: n as u64 + 100 },
            silent: false,
            held: Vec::new(),
            stuck: false,
            refuses: None,
            clock_ahead_ms: 0,
            ops: Vec::new(),
            rows: BTreeMap::new(),
            rooms: (0..10).map(room).collect(),
            sessions: BTreeMap::new(),
            submits: Vec::new(),
            nonces: Vec::new(),
        };
        let sites = (0..config.sites.len()).map(site).collect();
        let mut cluster = Self {
            machine: Machine::new(now, config, start),
            now,
            sites,
            delay_ms: 2,
            packets: BTreeMap::new(),
            packet_no: 0,
            links: BTreeMap::new(),
            shown: Vec::new(),
            items: Vec::new(),
            progress: Vec::new(),
            moves: Vec::new(),
            changes: Vec::new(),
            dials: Vec::new(),
            marks: 0,
            cursors: BTreeMap::new(),
            commit: true,
        };
        cluster.drain();
        cluster
    }

    // ---- time

    /// Lets time pass, with everything that happens in it.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        loop {
            self.release();
            let packet = self.packets.first_key_value().map(|((at, _), _)| *at);
            let timer = self.machine.next_timer();
            let next = packet.into_iter().chain(timer).min().map(|at| at.max(self.now.mono_ms));
            match next.filter(|at| *at <= end) {
                None => break self.advance(end),
                Some(at) => {
                    self.advance(at);
                    // What has arrived goes in before a tick.
                    match packet.filter(|packet| *packet <= at) {
                        Some(_) => self.arrive(),
                        None => {
                            self.machine.handle_tick(self.now);
                            let spins = self.machine.next_timer().is_some_and(|next| next <= self.now.mono_ms);
                            assert!(!spins, "a timer is due at once, again and again");
                        }
                    }
                    self.drain();
                }
            }
        }
    }

    /// What was held up comes first, in its order.
    fn release(&mut self) {
        for site in 0..self.sites.len() {
            if !self.sites[site].silent {
                for packet in std::mem::take(&mut self.sites[site].held) {
                    self.packet_no += 1;
                    self.packets.insert((0, self.packet_no), packet);
                }
            }
        }
    }

    fn advance(&mut self, mono_ms: u64) {
        self.now.wall_ms += mono_ms - self.now.mono_ms;
        self.now.mono_ms = mono_ms;
    }

    /// This process does not run for a while; then everything that came meanwhile is read.
    pub(super) fn freeze(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        self.advance(end);
        self.machine.handle_tick(self.now);
        self.drain();
    }

    pub(super) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Cluster) -> bool) -> u64 {
        let start = self.now.mono_ms;
        while !done(self) {
            assert!(self.now.mono_ms < start + 300_000, "waited five minutes in vain for: {what}");
            self.run(1);
        }
        self.now.mono_ms - start
    }

    // ---- the application

    pub(super) fn say(&mut self, room: RoomId, text: &str) -> Submitted {
        let wish = Wish::Message {
            content_type: "text/plain".to_owned(),
            content: Bytes::copy_from_slice(text.as_bytes()),
            salt: [1; 16],
            reply_to: None,
        };
        self.wish(room, wish)
    }

    pub(super) fn wish(&mut self, room: RoomId, wish: Wish) -> Submitted {
        let submitted = self.machine.submit(self.now, room, wish).expect("the outbox has room");
        self.drain();
        submitted
    }

    pub(super) fn is_replicated(&self, no: RequestNo) -> bool {
        self.progress.iter().any(|(n, p)| *n == no && matches!(p, Progress::Replicated(_)))
    }

    pub(super) fn stored_at(&self, no: RequestNo) -> Option<u16> {
        self.progress.iter().find_map(|(n, p)| match p {
            Progress::Stored { site, .. } if *n == no => Some(site.0),
            _ => None,
        })
    }

    pub(super) fn progress_of(&self, no: RequestNo) -> Vec<&Progress> {
        self.progress.iter().filter(|(n, _)| *n == no).map(|(_, p)| p).collect()
    }

    pub(super) fn home(&self) -> Option<usize> {
        self.machine.status().home.map(|site| site.0)
    }

    pub(super) fn times_shown(&self, id: RequestId) -> usize {
        self.shown.iter().filter(|(_, shown)| *shown == id).count()
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.carry_out(output);
        }
        for (room, before) in &mut self.cursors {
            let after = self.machine.cursor(*room).expect("rooms stay");
            assert!(after.covers_all(before), "the cursor of {room:?} went back from {before:?} to {after:?}");
            before.clone_from(after);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial { link, site } => {
                self.dials.push((self.now.mono_ms, site));
                self.links.insert(link, site.0);
                if !self.sites[site.0].silent {
                    self.sites[site.0].sessions.insert(link, Session::default());
                    self.post(2 * self.delay_ms, Packet::Opened(link));
                }
            }
            Output::Control { link, frame } => {
                let site = *self.links.get(&link).expect("a frame for a closed connection");
                self.post(self.delay_ms, Packet::ToSite(site, link, frame));
            }
            Output::Close { link, .. } => {
                let site = self.links.remove(&link).expect("a connection is closed once");
                self.sites[site].sessions.remove(&link);
            }
            Output::Deliver(delivery) => self.see(delivery),
            Output::Progress { no, progress, .. } => {
                let last = |p: &Progress| {
                    matches!(p, Progress::Replicated(_) | Progress::Refused { .. } | Progress::Discarded)
                };
                assert!(!self.progress_of(no).into_iter().any(last), "{progress:?} after the last word on {no:?}");
                self.progress.push((no, progress));
            }
            Output::Persist(change) => self.changes.push(change),
            Output::Moved { from, to, reason } => self.moves.push((from, to, reason)),
            Output::SessionRefused { .. } => {}
        }
    }

    fn see(&mut self, delivery: Delivery) {
        let room = delivery.position.room;
        self.cursors.entry(room).or_default();
        if let Item::Request { id, .. } = &delivery.item {
            assert!(!self.shown.contains(&(room, *id)), "{id:?} was delivered twice");
            self.shown.push((room, *id));
        }
        if self.commit {
            self.machine.commit(&delivery.position);
        }
        self.items.push(delivery);
    }

    // ---- the network

    fn post(&mut self, after_ms: u64, packet: Packet) {
        self.packet_no += 1;
        self.packets.insert((self.now.mono_ms + after_ms, self.packet_no), packet);
    }

    fn arrive(&mut self) {
        let Some((_, packet)) = self.packets.pop_first() else { return };
        let now = self.now;
        let of_silent = match &packet {
            Packet::ToSite(site, ..) | Packet::Control(site, ..) | Packet::Event(site, ..) => {
                Some(*site).filter(|site| self.sites[*site].silent)
            }
            Packet::Opened(_) | Packet::Closed(..) => None,
        };
        if let Some(site) = of_silent {
            return self.sites[site].held.push(packet);
        }
        match packet {
            Packet::ToSite(site, link, frame) => {
                if self.sites[site].sessions.contains_key(&link) {
                    self.serve(site, link, frame);
                }
            }
            Packet::Opened(link) => self.machine.handle_opened(now, link),
            Packet::Control(_, link, frame) => self.machine.handle_control(now, link, frame),
            Packet::Event(_, link, frame) => self.machine.handle_event(now, link, frame),
            Packet::Closed(link, by_site) => {
                self.links.remove(&link);
                self.machine.handle_closed(now, link, by_site);
            }
        }
    }

    fn control(&mut self, site: usize, link: LinkId, frame: wire::server_frame::Frame) {
        self.post(self.delay_ms, Packet::Control(site, link, wire::ServerFrame { frame: Some(frame) }));
    }

    pub(super) fn event(&mut self, site: usize, link: LinkId, frame: wire::event_frame::Frame) {
        self.post(self.delay_ms, Packet::Event(site, link, wire::EventFrame { frame: Some(frame) }));
    }

    // ---- faults

    /// Every connection of the site breaks; it accepts new ones.
    pub(super) fn disconnect(&mut self, site: usize, by_site: Option<ClosedBySite>) {
        let links: Vec<_> = std::mem::take(&mut self.sites[site].sessions).into_keys().collect();
        for link in links {
            // Streams end before the connection does.
            self.packets.retain(|_, packet| !packet.is_of(link));
            self.post(self.delay_ms, Packet::Closed(link, by_site.clone()));
        }
    }

    pub(super) fn go_away(&mut self, site: usize) {
        let links: Vec<_> = self.sites[site].sessions.keys().copied().collect();
        for link in links {
            let go = wire::GoAway { code: Code::ShuttingDown.number(), detail: "restart".to_owned() };
            self.control(site, link, wire::server_frame::Frame::GoAway(go));
        }
    }

    /// The link on which a site serves the session's events.
    pub(super) fn active_link(&self, site: usize) -> Option<LinkId> {
        self.sites[site].sessions.iter().find(|(_, session)| session.active).map(|(link, _)| *link)
    }

    // ---- what sites do

    /// The site does not know the room (yet).
    pub(super) fn unknow(&mut self, site: usize, room: RoomId) {
        self.sites[site].rooms.remove(&room);
    }

    /// The site gets to know it.
    pub(super) fn know(&mut self, site: usize, room: RoomId) {
        self.sites[site].rooms.insert(room);
    }

    /// Somebody else says something at a site: its id.
    pub(super) fn other_says(&mut self, site: usize, room: RoomId, ms_ahead: u64) -> RequestId {
        let device = causeway_protocol::DeviceId(99);
        let stamp = causeway_protocol::Stamp::from_ms(self.now.wall_ms + ms_ahead);
        let id = RequestId { stamp, device };
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: room.to_wire(),
            body_hash: Bytes::new(),
            kind: Some(wire::request::Kind::Message(wire::Message { reply_to: None })),
        };
        self.accept(site, room, id, Bytes::from(request.encode_to_vec()), None);
        id
    }

    /// The same request is accepted at another site too.
    pub(super) fn resent_by_other(&mut self, from: usize, to: usize, id: RequestId) {
        let op = self.sites[from].ops.iter().find(|op| op.id == id).expect("accepted there");
        let (room, request, body) = (op.room, op.request.clone(), op.body.clone());
        self.accept(to, room, id, request, body);
    }

    fn accept(&mut self, site: usize, room: RoomId, id: RequestId, request: Bytes, body: Option<Bytes>) -> Dot {
        if let Some(dots) = self.sites[site].rows.get(&(room, id)) {
            return *dots.first().expect("a row has a dot");
        }
        let origin = self.sites[site].origin;
        let seq = 1 + self.sites[site].ops.iter().filter(|op| op.dot.origin == origin).count() as u64;
        let dot = Dot { origin, seq };
        self.apply(site, Op { room, dot, id, request, body });
        dot
    }

    fn apply(&mut self, site: usize, op: Op) {
        let dots = self.sites[site].rows.entry((op.room, op.id)).or_default();
        let first = dots.is_empty();
        dots.insert(op.dot);
        self.sites[site].rooms.insert(op.room);
        if first {
            for link in self.sites[site].sessions.keys().copied().collect::<Vec<_>>() {
                if self.sites[site].sessions[&link].active {
                    self.event(site, link, event_of(&op));
                }
            }
        }
        self.sites[site].ops.push(op);
    }

    /// Ships what one site has and another lacks; then the first one tells its clients what is stable.
    pub(super) fn replicate(&mut self, from: usize, to: usize) {
        let held: BTreeSet<Dot> = self.sites[to].ops.iter().map(|op| op.dot).collect();
        let missing: Vec<Op> = self.sites[from].ops.iter().filter(|op| !held.contains(&op.dot)).map(Op::copy).collect();
        missing.into_iter().for_each(|op| self.apply(to, op));
        let origins: Vector = self.sites[from].ops.iter().map(|op| op.dot).collect();
        for link in self.sites[from].sessions.keys().copied().collect::<Vec<_>>() {
            for dot in origins.iter() {
                let frontier = wire::Frontier { shard: SHARD, dot: Some(dot.to_wire()) };
                self.control(from, link, wire::server_frame::Frame::Frontier(frontier));
            }
        }
    }

    /// Every site's ids of a room.
    pub(super) fn held_ids(&self, site: usize) -> BTreeSet<(RoomId, RequestId)> {
        self.sites[site].ops.iter().map(|op| (op.room, op.id)).collect()
    }

    /// Faults end, and everything is replicated, until the outbox is empty and the home has delivered what it has.
    pub(super) fn settle(&mut self) {
        for site in 0..self.sites.len() {
            let site = &mut self.sites[site];
            (site.silent, site.stuck, site.refuses, site.clock_ahead_ms) = (false, false, None, 0);
            site.rooms.extend((0..30).map(room));
        }
        for _ in 0..40 {
            self.replicate_all();
            self.run(1_000);
            if self.machine.status().outbox_requests == 0 && self.home().is_some() {
                self.replicate_all();
                return self.run(1_000);
            }
        }
        panic!("the outbox did not empty: {:?}", self.machine.status());
    }

    fn replicate_all(&mut self) {
        let count = self.sites.len();
        for (a, b) in (0..count * count).map(|pair| (pair / count, pair % count)) {
            if a != b {
                self.replicate(a, b);
            }
        }
    }

    pub(super) fn holds(&self, site: usize, id: RequestId) -> bool {
        self.sites[site].ops.iter().any(|op| op.id == id)
    }

    fn serve(&mut self, site: usize, link: LinkId, frame: wire::ClientFrame) {
        use wire::client_frame::Frame;
        use wire::server_frame::Frame as Answer;
        let clock_ms = self.now.wall_ms.saturating_add_signed(self.sites[site].clock_ahead_ms);
        match frame.frame.expect("a known frame") {
            Frame::Hello(hello) => {
                let site_info = |i: usize| wire::SiteInfo {
                    site: i as u32 + 1,
                    name: format!("site-{}", i + 1),
                    addresses: vec![format!("site-{}:4433", i + 1)],
                };
                let welcome = wire::Welcome {
                    version: 1,
                    site: site as u32 + 1,
                    site_name: format!("site-{}", site + 1),
                    clock_ms,
                    shard_count: 1,
                    sites: (0..self.sites.len()).map(site_info).collect(),
                    session: link.0,
                    outbox_window_max: 64,
                };
                self.control(site, link, Answer::Welcome(welcome));
                if !hello.standby {
                    self.resume(site, link, &hello);
                }
            }
            Frame::Ping(ping) => self.control(site, link, Answer::Pong(wire::Pong { token: ping.token, clock_ms })),
            Frame::Submit(submit) if !self.sites[site].stuck => self.submitted(site, link, submit),
            Frame::Submit(_) => {}
            Frame::MarkRead(_) => self.marks += 1,
        }
    }

    fn resume(&mut self, site: usize, link: LinkId, hello: &wire::Hello) {
        let cursor = |c: &wire::RoomCursor| {
            let vector = Vector::from_wire_opt(c.vector.as_ref()).expect("a vector");
            (RoomId::from_wire(&c.room).expect("a room"), vector)
        };
        let cursors: BTreeMap<_, _> = hello.cursors.iter().map(cursor).collect();
        let none = Vector::new();
        let mut sent = BTreeSet::new();
        let mut frames = Vec::new();
        for op in &self.sites[site].ops {
            let cursor = cursors.get(&op.room).unwrap_or(&none);
            let dots = &self.sites[site].rows[&(op.room, op.id)];
            if !dots.iter().any(|dot| cursor.covers(dot)) && sent.insert((op.room, op.id)) {
                frames.push(event_of(op));
            }
        }
        let all: Vector = self.sites[site].ops.iter().map(|op| op.dot).collect();
        for room in self.sites[site].ops.iter().map(|op| op.room).collect::<BTreeSet<_>>() {
            let mut vector = all.clone();
            vector.join(cursors.get(&room).unwrap_or(&none));
            let caught_up = wire::CaughtUp { room: room.to_wire(), vector: Some(vector.to_wire()) };
            frames.push(wire::event_frame::Frame::CaughtUp(caught_up));
        }
        frames.into_iter().for_each(|frame| self.event(site, link, frame));
        self.sites[site].sessions.insert(link, Session { active: true });
    }

    fn highest_ms(&self, site: usize, room: RoomId) -> u64 {
        self.sites[site].ops.iter().filter(|op| op.room == room).map(|op| op.id.stamp.ms()).max().unwrap_or(0)
    }

    fn submitted(&mut self, site: usize, link: LinkId, submit: wire::Submit) {
        use wire::server_frame::Frame as Answer;
        let request = wire::Request::decode(submit.request.clone()).expect("a request");
        let id = RequestId::from_wire(request.id.as_ref().expect("an id"));
        let room = RoomId::from_wire(&request.room).expect("a room");
        self.sites[site].submits.push(id);
        self.sites[site].nonces.push(submit.nonce);
        let creates = matches!(request.kind, Some(wire::request::Kind::Create(_)));
        let clock_ms = self.now.wall_ms.saturating_add_signed(self.sites[site].clock_ahead_ms);
        let refusal = match self.sites[site].refuses {
            Some(code) => Some(code),
            None if self.sites[site].rows.contains_key(&(room, id)) => None,
            None if !creates && !self.sites[site].rooms.contains(&room) => Some(Code::UnknownRoom),
            None if id.stamp.ms() > (clock_ms + 500).max(self.highest_ms(site, room) + 1) => Some(Code::StampAhead),
            None => None,
        };
        let answer = match refusal {
            Some(code) => {
                let detail = format!("{code:?}");
                Answer::Refused(wire::Refused { id: request.id, code: code.number(), detail })
            }
            None => {
                let dot = self.accept(site, room, id, submit.request, submit.body);
                let holders = (0..self.sites.len()).filter(|i| self.sites[*i].ops.iter().any(|op| op.dot == dot));
                let replicated = holders.count() > 1;
                Answer::Accepted(wire::Accepted { id: request.id, dot: Some(dot.to_wire()), shard: SHARD, replicated })
            }
        };
        self.control(site, link, answer);
    }
}

impl Packet {
    fn is_of(&self, of: LinkId) -> bool {
        match self {
            Packet::ToSite(_, link, _)
            | Packet::Opened(link)
            | Packet::Control(_, link, _)
            | Packet::Event(_, link, _)
            | Packet::Closed(link, _) => *link == of,
        }
    }
}

impl Op {
    fn copy(&self) -> Op {
        let (request, body) = (self.request.clone(), self.body.clone());
        Op { room: self.room, dot: self.dot, id: self.id, request, body }
    }
}

fn event_of(op: &Op) -> wire::event_frame::Frame {
    wire::event_frame::Frame::Event(wire::Event {
        room: op.room.to_wire(),
        dot: Some(op.dot.to_wire()),
        user: "ann".to_owned(),
        request: op.request.clone(),
        body: op.body.clone(),
    })
}
