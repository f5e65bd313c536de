//! A host with one client in memory, for the tests of the session.

use std::collections::BTreeSet;

use bytes::Bytes;
use causeway_protocol::{Dot, FrameDecoder, Message, RequestId, RoomId, SiteId, UserId, Vector, wire};
use wire::event_frame::Frame as Event;

use super::*;
use crate::read::fixture::{Effect, Fixture, NONCE, SHARDS, user};

/// The site's clock.
pub const WALL_MS: u64 = 1_234;

pub const BYTES: usize = 1 << 20;

pub fn config() -> SessionConfig {
    SessionConfig {
        id: SessionId(1),
        site: SiteId(1),
        site_name: "one".into(),
        shard_count: SHARDS,
        sites: [wire::SiteInfo { site: 1, name: "one".into(), addresses: vec!["127.0.0.1:1".into()] }].into(),
        admission: Admission::Tokenless,
        limits: SessionLimits::default(),
    }
}

pub fn decode<M: Message + Default>(frame: &Bytes) -> M {
    let mut decoder = FrameDecoder::default();
    decoder.push(frame);
    let message = decoder.next("frame").unwrap().unwrap();
    decoder.finish().unwrap();
    message
}

/// A host with one client: it carries outputs out, and writes down what the client sees.
pub struct Host {
    pub session: ServerSession,
    pub site: Fixture,
    pub subscribed: BTreeSet<RoomId>,
    pub events: Vec<Event>,
    /// The lists of invitations that it was told, one after the other.
    pub invitations: Vec<Vec<wire::Invitation>>,
    pub control: Vec<wire::server_frame::Frame>,
    pub others: Vec<SessionOutput>,
    pub user: UserId,
}

impl Host {
    pub fn new(site: Fixture, name: &str) -> Self {
        Self::with(site, name, config())
    }

    pub fn with(site: Fixture, name: &str, config: SessionConfig) -> Self {
        let session = ServerSession::new(config);
        let (events, control, others) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            session,
            site,
            subscribed: BTreeSet::new(),
            events,
            invitations: Vec::new(),
            control,
            others,
            user: user(name),
        }
    }

    pub fn handle(&mut self, input: SessionInput) {
        let mut out = Vec::new();
        self.session.handle(Now { mono_ms: 5, wall_ms: WALL_MS }, input, &mut out);
        self.carry_out(out);
    }

    pub fn read(&mut self, bytes_max: usize) {
        let mut out = Vec::new();
        self.session.read(&self.site.view, &self.site, bytes_max, &mut out).unwrap();
        self.carry_out(out);
    }

    /// Reads until nothing is left to be read.
    pub fn read_all(&mut self) {
        for _ in 0..1_000 {
            if !self.session.wants_read() {
                return;
            }
            self.read(BYTES);
        }
        panic!("reading does not end");
    }

    fn carry_out(&mut self, out: Vec<SessionOutput>) {
        for output in out {
            match output {
                SessionOutput::Event(frame) => {
                    match decode::<wire::EventFrame>(&frame).frame.expect("a frame of some kind") {
                        Event::Invitations(told) => self.invitations.push(told.invitations),
                        event => self.events.push(event),
                    }
                }
                SessionOutput::Control(frame) => {
                    self.control.push(decode::<wire::ServerFrame>(&frame).frame.expect("a frame of some kind"));
                }
                SessionOutput::Subscribe(room) => assert!(self.subscribed.insert(room), "subscribed twice"),
                SessionOutput::Unsubscribe(room) => assert!(self.subscribed.remove(&room), "not subscribed"),
                other => self.others.push(other),
            }
        }
    }

    pub fn frame(&mut self, frame: wire::client_frame::Frame) {
        self.handle(SessionInput::Frame(wire::ClientFrame { frame: Some(frame) }));
    }

    pub fn hello(&self, cursors: &[(RoomId, Vector)]) -> wire::Hello {
        let cursor = |(room, vector): &(RoomId, Vector)| wire::RoomCursor {
            room: room.to_wire(),
            vector: Some(vector.to_wire()),
            summary: 0,
        };
        wire::Hello {
            version_min: 1,
            version_max: 1,
            user: self.user.as_str().to_owned(),
            nonce: NONCE,
            cursors: cursors.iter().map(cursor).collect(),
            ..Default::default()
        }
    }

    pub fn say_hello(&mut self, cursors: &[(RoomId, Vector)]) {
        let hello = self.hello(cursors);
        self.frame(wire::client_frame::Frame::Hello(hello));
    }

    /// Says hello with these cursors, reads everything, and forgets what the client saw of it.
    pub fn settle(&mut self, cursors: &[(RoomId, Vector)]) {
        self.say_hello(cursors);
        self.read_all();
        self.events.clear();
    }

    /// What a shard put out after a sync, as the host routes it to this session.
    pub fn route(&self, effect: Effect) -> Option<SessionInput> {
        match effect {
            Effect::Deliver { room, dot, frame } => {
                self.subscribed.contains(&room).then_some(SessionInput::Live { room, dot, frame })
            }
            Effect::Membership { room, user, member } => {
                (user == self.user).then_some(SessionInput::Membership { room, member })
            }
        }
    }

    /// Everything applied is synced, and what comes of it is routed and handled at once.
    pub fn sync(&mut self) {
        for effect in self.site.sync() {
            if let Some(input) = self.route(effect) {
                self.handle(input);
            }
        }
    }

    /// The ids of the requests that the client saw in a room.
    pub fn seen(&self, room: RoomId) -> Vec<RequestId> {
        self.events.iter().filter_map(|event| seen(event).filter(|(at, ..)| *at == room)).map(|(_, id, _)| id).collect()
    }

    /// What the client saw, in words.
    pub fn story(&self) -> Vec<&'static str> {
        self.events
            .iter()
            .map(|event| match event {
                Event::Event(_) => "event",
                Event::Invitations(_) => "invitations",
                Event::RoomOpened(_) => "opened",
                Event::RoomClosed(_) => "closed",
                Event::Gap(_) => "gap",
                Event::CaughtUp(_) => "caught up",
                Event::Summary(_) => "summary",
                Event::Unchanged(_) => "unchanged",
            })
            .collect()
    }
}

pub fn seen(event: &Event) -> Option<(RoomId, RequestId, Dot)> {
    let Event::Event(event) = event else { return None };
    let request = wire::Request::decode(event.request.clone()).unwrap();
    let dot = Dot::from_wire(event.dot.as_ref().unwrap()).unwrap();
    Some((RoomId::from_wire(&event.room).unwrap(), RequestId::from_wire(&request.id.unwrap()), dot))
}
