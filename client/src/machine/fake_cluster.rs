//! Sites in memory, a network with delays, and one machine among them: what the machine's tests play on.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::{Bytes, Code, Dot, Origin, RequestId, RoomId, SiteId, UserId, Vector, wire};

use super::*;

pub(super) const SHARD: u32 = 0;

pub(super) struct Op {
    pub(super) room: RoomId,
    pub(super) dot: Dot,
    pub(super) id: RequestId,
    pub(super) request: Bytes,
    pub(super) body: Option<Bytes>,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) active: bool,
}

/// One site.
pub(super) struct Site {
    pub(super) origin: Origin,
    /// Packets from and to it are held up until it is well again; attempts to connect vanish.
    pub(super) silent: bool,
    held: Vec<Packet>,
    /// Accepts connections and answers pings, but no request.
    pub(super) stuck: bool,
    /// What it refuses every request with.
    pub(super) refuses: Option<Code>,
    /// What its refusals say of another try, ms.
    pub(super) retry_after_ms: u64,
    /// Its wall clock is ahead of the machine's by this, ms.
    pub(super) clock_ahead_ms: i64,
    pub(super) ops: Vec<Op>,
    pub(super) rows: BTreeMap<(RoomId, RequestId), BTreeSet<Dot>>,
    /// Rooms that it knows; others are refused as `UnknownRoom`. A create makes one known.
    pub(super) rooms: BTreeSet<RoomId>,
    pub(super) sessions: BTreeMap<LinkId, Session>,
    /// The tokens of hellos and renewals, in order.
    pub(super) tokens: Vec<String>,
    /// Refuses hellos with any other token than this one.
    pub(super) wants_token: Option<String>,
    /// Connections at which submits arrived, in order, with their ids.
    pub(super) submits: Vec<RequestId>,
    /// The nonces that came with them.
    pub(super) nonces: Vec<u64>,
}

enum Packet {
    ToSite(usize, LinkId, wire::ClientFrame),
    Opened(LinkId),
    Control(usize, LinkId, wire::ServerFrame),
    Event(usize, LinkId, Box<wire::EventFrame>),
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
    pub(super) marks: Vec<wire::MarkRead>,
    /// Datagrams that the machine sent, and when, ms.
    pub(super) datagrams: Vec<(u64, LinkId, wire::ClientDatagram)>,
    /// Others' typing as the application saw it begin and end, and when, ms.
    pub(super) typing: Vec<(u64, RoomId, String, bool)>,
    /// How often the invitations were other ones.
    pub(super) invitations: usize,
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
            retry_after_ms: 0,
            clock_ahead_ms: 0,
            ops: Vec::new(),
            rows: BTreeMap::new(),
            rooms: (0..10).map(room).collect(),
            sessions: BTreeMap::new(),
            submits: Vec::new(),
            nonces: Vec::new(),
            tokens: Vec::new(),
            wants_token: None,
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
            marks: Vec::new(),
            datagrams: Vec::new(),
            typing: Vec::new(),
            invitations: 0,
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
            mentions: Vec::new(),
            lifetime_ms: 0,
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
            Output::Datagram { link, datagram } => self.datagrams.push((self.now.mono_ms, link, datagram)),
            Output::Typing { room, user, typing } => self.typing.push((self.now.mono_ms, room, user, typing)),
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
            Output::Invitations => self.invitations += 1,
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
            Packet::Event(_, link, frame) => self.machine.handle_event(now, link, *frame),
            Packet::Closed(link, by_site) => {
                self.links.remove(&link);
                self.machine.handle_closed(now, link, by_site);
            }
        }
    }

    pub(super) fn control(&mut self, site: usize, link: LinkId, frame: wire::server_frame::Frame) {
        self.post(self.delay_ms, Packet::Control(site, link, wire::ServerFrame { frame: Some(frame) }));
    }

    pub(super) fn event(&mut self, site: usize, link: LinkId, frame: wire::event_frame::Frame) {
        self.post(self.delay_ms, Packet::Event(site, link, Box::new(wire::EventFrame { frame: Some(frame) })));
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

    /// The site closes one connection and says why.
    pub(super) fn close(&mut self, site: usize, link: LinkId, code: Code) {
        self.sites[site].sessions.remove(&link);
        let by_site = ClosedBySite { code: code.number(), detail: String::new() };
        self.post(self.delay_ms, Packet::Closed(link, Some(by_site)));
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
    pub(super) fn copy(&self) -> Op {
        let (request, body) = (self.request.clone(), self.body.clone());
        Op { room: self.room, dot: self.dot, id: self.id, request, body }
    }
}

pub(super) fn event_of(op: &Op) -> wire::event_frame::Frame {
    wire::event_frame::Frame::Event(wire::Event {
        room: op.room.to_wire(),
        dot: Some(op.dot.to_wire()),
        user: "ann".to_owned(),
        request: op.request.clone(),
        body: op.body.clone(),
        past: None,
        deadline_ms: 0,
    })
}
