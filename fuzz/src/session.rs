//! The server's side of a client session against any client: whatever it sends, the session answers or closes.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use causeway_protocol::{Code, Dot, FrameDecoder, Marker, Message, RoomId, SiteId, UserId, Vector, limits, wire};
use causeway_replica::io::{Input, Now, SessionId};
use causeway_replica::session::{
    Admission, Grant, ServerSession, SessionConfig, SessionInput, SessionLimits, SessionOutput, Tokens,
};
use wire::client_frame::Frame;

use crate::forge::{Forge, NONCE, one, some_bytes};
use crate::site::{EPOCH_MS, SHARD, SHARDS, Site};

/// Steps of one input.
const STEPS_MAX: usize = 300;
/// Reads after which all must have been read: a turn brings an op at least.
const READS_MAX: usize = 10_000;

/// A token is a user's name and how long it lasts; anything else is none.
#[derive(Debug)]
struct NameTokens;

impl Tokens for NameTokens {
    fn check(&self, wall_ms: u64, token: &str) -> std::result::Result<Grant, (Code, String)> {
        let (name, ms) = token.split_once(' ').ok_or((Code::Unauthenticated, "no space".to_owned()))?;
        let user = UserId::new(name).map_err(|e| (Code::Unauthenticated, e.to_string()))?;
        let ms: u64 = ms.parse().map_err(|_| (Code::Unauthenticated, "no number".to_owned()))?;
        Ok(Grant { user, until_ms: wall_ms.saturating_add(ms) })
    }
}

struct Run {
    site: Site,
    forge: Forge,
    session: ServerSession,
    subscribed: BTreeSet<RoomId>,
    in_flight: u32,
    closed: bool,
    now: Now,
}

/// Steps of an input: see `Run::step`.
pub fn session(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(tokens) = u.arbitrary::<bool>() else { return };
    let config = SessionConfig {
        id: SessionId(1),
        site: SiteId(1),
        site_name: "one".into(),
        shard_count: SHARDS,
        sites: [wire::SiteInfo { site: 1, name: "one".into(), addresses: vec!["127.0.0.1:1".into()] }].into(),
        admission: if tokens { Admission::Tokens(std::sync::Arc::new(NameTokens)) } else { Admission::Tokenless },
        limits: SessionLimits { submits_max: 8, resume_ops_max: 4, gap_page_max: 2, ..SessionLimits::default() },
    };
    let mut run = Run {
        site: Site::new(false),
        forge: Forge::new(),
        session: ServerSession::new(config),
        subscribed: BTreeSet::new(),
        in_flight: 0,
        closed: false,
        now: Now { mono_ms: 1_000, wall_ms: EPOCH_MS },
    };
    run.site.step(Input::ForceReady);
    for _ in 0..STEPS_MAX {
        if u.is_empty() || run.step(&mut u).is_err() {
            break;
        }
    }
    run.read_all();
}

impl Run {
    fn handle(&mut self, input: SessionInput) {
        let mut out = Vec::new();
        self.session.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn read(&mut self, bytes_max: usize) {
        let mut out = Vec::new();
        self.session.read(&self.site.rows, &self.site, bytes_max, &mut out).expect("rows are read");
        self.carry_out(out);
    }

    fn read_all(&mut self) {
        for _ in 0..READS_MAX {
            if !self.session.wants_read() {
                return;
            }
            self.read(1 << 16);
        }
        panic!("reading does not end");
    }

    fn carry_out(&mut self, out: Vec<SessionOutput>) {
        assert!(!self.closed || out.is_empty(), "it goes on after its close");
        for output in out {
            match output {
                SessionOutput::Control(frame) => whole::<wire::ServerFrame>(&frame),
                SessionOutput::Event(frame) => whole::<wire::EventFrame>(&frame),
                SessionOutput::Subscribe(room) => assert!(self.subscribed.insert(room), "subscribed twice"),
                SessionOutput::Unsubscribe(room) => assert!(self.subscribed.remove(&room), "not subscribed"),
                SessionOutput::Close(..) => self.closed = true,
                SessionOutput::Submit(shard, submission) => {
                    self.in_flight += 1;
                    assert!(self.in_flight <= 8, "more submits in flight than the site allows");
                    if shard == SHARD {
                        self.site.step(Input::Submit(submission));
                    }
                }
                SessionOutput::MarkRead(shard, user, room, marker) => {
                    if shard == SHARD {
                        self.site.step(Input::MarkRead(user, room, marker));
                    }
                }
                SessionOutput::Datagram(room) => {
                    let room = RoomId::from_wire(&room).expect("as it was put in");
                    assert!(self.subscribed.contains(&room), "typing of a room that is not open");
                }
                SessionOutput::Bind(_) | SessionOutput::Limited(_) => {}
            }
        }
        assert!(self.session.next_timer().is_none() || !self.closed);
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let held = self.site.shard.durable().clone();
        let own = self.site.origin();
        match u.arbitrary::<u8>()? % 24 {
            0..4 => {
                let frame = wire::ClientFrame::decode(some_bytes(u)?).unwrap_or_default();
                self.handle(SessionInput::Frame(frame));
            }
            4..7 => {
                let mut cursors = Vec::new();
                for _ in 0..u.int_in_range(0..=3)? {
                    let room = one(u, &self.forge.rooms)?.to_wire();
                    let vector = self.forge.vector(u, &held, own)?;
                    let told = Vector::from_wire(&vector).unwrap_or_default();
                    let summary = *one(u, &[0, Marker::default().fingerprint(&told), 7])?;
                    cursors.push(wire::RoomCursor { room, vector: Some(vector), summary });
                }
                let user = one(u, &self.forge.users)?.to_string();
                let token = format!("{user} {}", *one(u, &[0_u64, 50, 100_000, u64::MAX])?);
                let nonce = if u.ratio(1, 16)? { u.arbitrary()? } else { NONCE };
                let version_max = if u.ratio(1, 16)? { 0 } else { 1 };
                let (standby, agent) = (u.ratio(1, 4)?, String::new());
                let hello = wire::Hello { version_min: 1, version_max, user, nonce, token, cursors, standby, agent };
                self.frame(Frame::Hello(hello));
            }
            7..12 => {
                let (_, request, body) = self.forge.request(u)?;
                let nonce = if u.ratio(1, 16)? { u.arbitrary()? } else { 0 };
                self.frame(Frame::Submit(wire::Submit { request, body, nonce }));
            }
            12 => self.frame(Frame::Ping(wire::Ping { token: u.arbitrary()? })),
            13 => {
                let token = if u.arbitrary()? {
                    "ann 70".to_owned()
                } else {
                    some_bytes(u)?.iter().map(|b| char::from(*b)).collect()
                };
                self.frame(Frame::Renew(wire::Renew { token }));
            }
            14 => {
                let room = one(u, &self.forge.rooms)?.to_wire();
                let vector = Some(self.forge.vector(u, &held, own)?);
                self.frame(Frame::MarkRead(wire::MarkRead { room, vector, flag: self.forge.flag(u)? }));
            }
            15 => {
                let (room, origin) = (*one(u, &self.forge.rooms)?, self.forge.origin(u, own)?);
                let dot = Dot { origin, seq: u.arbitrary()? };
                let frame = causeway_protocol::encode_frame(&wire::EventFrame::default());
                if self.subscribed.contains(&room) {
                    self.handle(SessionInput::Live { room, dot, frame });
                }
                let user = self.forge.users[1].clone();
                self.handle(SessionInput::Typing { room, user, datagram: room.to_wire() });
            }
            16 => self.handle(SessionInput::Overflowed),
            17 => {
                let room = *one(u, &self.forge.rooms)?;
                self.handle(SessionInput::Invitations);
                self.handle(SessionInput::Membership { room, member: u.arbitrary()? });
            }
            18 => self.handle(SessionInput::ShardReady(SHARD)),
            19 => {
                let id = self.forge.id(u)?;
                let dot = Dot { origin: own, seq: 1 };
                let input = match u.arbitrary::<u8>()? % 4 {
                    0 => SessionInput::Frontier { shard: SHARD, dot },
                    1 => SessionInput::GoAway(Code::ShuttingDown, "bye".to_owned()),
                    _ if self.in_flight == 0 => return Ok(()),
                    2 => SessionInput::Accepted { shard: SHARD, id, dot, replicated: false },
                    _ => SessionInput::Refused { id: Some(id), code: Code::Busy, detail: String::new() },
                };
                if matches!(input, SessionInput::Accepted { .. } | SessionInput::Refused { .. }) {
                    self.in_flight -= 1;
                }
                self.handle(input);
            }
            20 => {
                let ms = *one(u, &[1, 60, 1_000])?;
                self.now.mono_ms += ms;
                self.now.wall_ms += ms;
                self.handle(SessionInput::Tick);
            }
            21 => self.read(usize::from(u.arbitrary::<u16>()?)),
            _ => self.sync(),
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame) {
        self.handle(SessionInput::Frame(wire::ClientFrame { frame: Some(frame) }));
    }

    /// What the shard accepted is synced, and reaches the session where it is subscribed.
    fn sync(&mut self) {
        self.site.sync();
        for (room, dot, frame) in std::mem::take(&mut self.site.delivered) {
            if self.subscribed.contains(&room) {
                self.handle(SessionInput::Live { room, dot, frame });
            }
        }
        let listed: Vec<RoomId> = self.forge.rooms.iter().copied().filter(|room| self.joined(room)).collect();
        listed.into_iter().for_each(|room| self.handle(SessionInput::Membership { room, member: true }));
    }

    fn joined(&self, room: &RoomId) -> bool {
        let Some(user) = self.session.user() else { return false };
        let durable: &Vector = self.site.shard.durable();
        causeway_replica::read::is_member(&self.site.rows, durable, room, user).expect("rows are read")
    }
}

/// One whole frame within the limits.
fn whole<M: Message + Default>(frame: &bytes::Bytes) {
    assert!(frame.len() <= limits::FRAME_BYTES_MAX + 4);
    let mut decoder = FrameDecoder::default();
    decoder.push(frame);
    assert!(matches!(decoder.next::<M>("frame"), Ok(Some(_))), "our own frame decodes");
    assert_eq!(decoder.finish(), Ok(()));
}
