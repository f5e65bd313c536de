//! What the fake cluster's sites do: accept, apply, replicate, answer, resume.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::{Bytes, Code, Dot, RequestId, RoomId, Vector, wire};
use prost::Message;

use super::fake_cluster::{Cluster, Op, SHARD, Session, event_of, room};
use super::*;

impl Cluster {
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
            kind: Some(wire::request::Kind::Message(wire::Message::default())),
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

    pub(super) fn serve(&mut self, site: usize, link: LinkId, frame: wire::ClientFrame) {
        use wire::client_frame::Frame;
        use wire::server_frame::Frame as Answer;
        let clock_ms = self.now.wall_ms.saturating_add_signed(self.sites[site].clock_ahead_ms);
        match frame.frame.expect("a known frame") {
            Frame::Hello(hello) => {
                self.sites[site].tokens.push(hello.token.clone());
                if self.sites[site].wants_token.as_ref().is_some_and(|token| *token != hello.token) {
                    return self.close(site, link, Code::Unauthenticated);
                }
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
            Frame::MarkRead(mark) => self.marks.push(mark),
            Frame::Renew(renew) => self.sites[site].tokens.push(renew.token),
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
                Answer::Refused(wire::Refused {
                    id: request.id,
                    code: code.number(),
                    detail,
                    retry_after_ms: self.sites[site].retry_after_ms,
                })
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
