//! A handful of sites in memory: each with its shard, its rows and its unsynced writes; links that can be cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use causeway_protocol::{
    Code, DeviceId, Dot, Message, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, UserId, Vector, wire,
    wire::request::Kind,
};

use crate::Shard;
use crate::io::{Alarm, Input, Now, Output, Outputs, SessionId, ShardConfig, Submission, Ticket};
use crate::key::{Key, user_hash};
use crate::request::body_hash;
use crate::view::{Batch, Cf, MemView, View};

pub const A: SiteId = SiteId(1);
pub const B: SiteId = SiteId(2);
pub const C: SiteId = SiteId(3);

/// Rooms that one user may be in.
pub const ROOMS_MAX: usize = 100;
pub const MEMBERS_MAX: u64 = 20;
/// A time at which everything starts.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// Rounds after which a cluster that still talks is stuck.
const ROUNDS_MAX: usize = 400;

pub struct Site {
    pub id: SiteId,
    pub shard: Shard,
    pub rows: MemView,
    synced: MemView,
    unsynced: VecDeque<(Ticket, Batch)>,
    next_ticket: u64,
    pub effects: Vec<Output>,
    pub alarms: Vec<Alarm>,
}

pub struct Cluster {
    pub sites: BTreeMap<SiteId, Site>,
    all: Vec<SiteId>,
    pub now: Now,
    pub frames: VecDeque<(SiteId, SiteId, wire::ShardFrame)>,
    cut: BTreeSet<(SiteId, SiteId)>,
    incarnations: u64,
    pub log_bytes_max: u64,
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A request as a client makes it.
#[derive(Clone)]
pub struct Wish {
    pub user: UserId,
    pub id: RequestId,
    pub room: RoomId,
    pub request: Bytes,
    pub body: Option<Bytes>,
}

impl Cluster {
    pub fn new(sites: &[SiteId]) -> Self {
        let now = Now { mono_ms: 0, wall_ms: EPOCH_MS };
        let mut cluster = Self {
            sites: BTreeMap::new(),
            all: sites.to_vec(),
            now,
            frames: VecDeque::new(),
            cut: BTreeSet::new(),
            incarnations: 0,
            log_bytes_max: 1 << 20,
        };
        sites.iter().for_each(|site| cluster.start(*site, MemView::default(), false));
        cluster.settle();
        cluster
    }

    /// One whose logs hold nothing that they need not: who was away rejoins by snapshot.
    pub fn with_short_logs(sites: &[SiteId]) -> Self {
        let mut cluster = Self::new(sites);
        cluster.log_bytes_max = 0;
        for site in sites {
            let disk = cluster.crash(*site);
            cluster.start(*site, disk, false);
        }
        cluster.settle();
        cluster
    }

    /// Starts a site's process on these rows, under a new incarnation, and links it to whoever is up.
    pub fn start(&mut self, id: SiteId, rows: MemView, must_catch_up: bool) {
        self.incarnations += 1;
        let config = ShardConfig {
            shard: ShardId(0),
            shard_count: 1,
            origin: Origin { site: id, node: 0, incarnation: self.incarnations },
            sites: self.all.clone(),
            must_catch_up,
            log_bytes_max: self.log_bytes_max,
            user_rooms_max: ROOMS_MAX,
            room_members_max: MEMBERS_MAX,
        };
        let shard = Shard::open(config, &rows, self.now).unwrap();
        let site = Site {
            id,
            shard,
            synced: rows.clone(),
            rows,
            unsynced: VecDeque::new(),
            next_ticket: 1,
            effects: Vec::new(),
            alarms: Vec::new(),
        };
        self.sites.insert(id, site);
        let linked = |other: &SiteId| *other != id && !self.cut.contains(&(id, *other));
        let others: Vec<SiteId> = self.sites.keys().copied().filter(linked).collect();
        others.into_iter().for_each(|other| self.link(id, other));
    }

    fn link(&mut self, a: SiteId, b: SiteId) {
        for (x, y) in [(a, b), (b, a)] {
            self.frames.retain(|(from, to, _)| (*from, *to) != (x, y));
            self.input(x, Input::PeerDown(y));
            self.input(x, Input::PeerUp(y));
        }
    }

    /// Power is lost: returns the rows that were synced.
    pub fn crash(&mut self, id: SiteId) -> MemView {
        let site = self.sites.remove(&id).unwrap();
        self.frames.retain(|(from, to, _)| *from != id && *to != id);
        let others: Vec<SiteId> = self.sites.keys().copied().collect();
        others.into_iter().for_each(|other| self.input(other, Input::PeerDown(id)));
        site.synced
    }

    pub fn cut(&mut self, a: SiteId, b: SiteId) {
        self.cut.extend([(a, b), (b, a)]);
        self.frames.retain(|(from, to, _)| (*from, *to) != (a, b) && (*from, *to) != (b, a));
        self.input(a, Input::PeerDown(b));
        self.input(b, Input::PeerDown(a));
    }

    pub fn heal(&mut self, a: SiteId, b: SiteId) {
        self.cut.retain(|link| *link != (a, b) && *link != (b, a));
        self.link(a, b);
    }

    /// One step at a site; the batch is written, not synced.
    pub fn input(&mut self, id: SiteId, input: Input) {
        let Some(site) = self.sites.get_mut(&id) else { return };
        let mut out = Outputs::default();
        site.shard.step(self.now, input, &site.rows, &mut out).unwrap();
        if !out.batch.is_empty() {
            let ticket = Ticket(site.next_ticket);
            site.next_ticket += 1;
            site.rows.apply(&out.batch);
            site.shard.seal(ticket);
            site.unsynced.push_back((ticket, out.batch));
        }
        for effect in out.effects {
            match effect {
                Output::ToPeer(to, frame) => {
                    if self.sites.contains_key(&to) && !self.cut.contains(&(id, to)) {
                        self.frames.push_back((id, to, frame));
                    }
                }
                Output::Alarm(alarm) => self.sites.get_mut(&id).unwrap().alarms.push(alarm),
                other => self.sites.get_mut(&id).unwrap().effects.push(other),
            }
        }
    }

    pub fn sync(&mut self, id: SiteId) {
        let Some(site) = self.sites.get_mut(&id) else { return };
        let Some((last, _)) = site.unsynced.back() else { return };
        let last = *last;
        for (_, batch) in site.unsynced.drain(..) {
            site.synced.apply(&batch);
        }
        self.input(id, Input::Durable(last));
    }

    pub fn sync_all(&mut self) {
        self.all.clone().into_iter().for_each(|site| self.sync(site));
    }

    /// Delivers the frames that are on their way, in order.
    pub fn deliver(&mut self) {
        for _ in 0..self.frames.len() {
            let Some((from, to, frame)) = self.frames.pop_front() else { break };
            self.input(to, Input::Peer(from, frame));
        }
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        let due: Vec<SiteId> = self.sites.values().filter(|s| s.shard.next_timer().is_some()).map(|s| s.id).collect();
        due.into_iter().for_each(|site| self.input(site, Input::Tick));
    }

    /// Everything is synced and delivered, and the timers run, for six seconds.
    pub fn settle(&mut self) {
        for _ in 0..120 {
            self.quiesce();
            self.pass_ms(50);
        }
        self.quiesce();
    }

    fn quiesce(&mut self) {
        for _ in 0..ROUNDS_MAX {
            self.sync_all();
            if self.frames.is_empty() {
                return;
            }
            self.deliver();
        }
        panic!("the sites do not stop talking");
    }

    pub fn submit(&mut self, at: SiteId, wish: &Wish) {
        let submission = Submission {
            session: session_of(&wish.user),
            user: wish.user.clone(),
            device: wish.id.device,
            request: wish.request.clone(),
            body: wish.body.clone(),
        };
        self.input(at, Input::Submit(submission));
    }

    /// Mints a request of the user's.
    pub fn wish(&mut self, user: &UserId, room: Option<RoomId>, kind: Kind) -> Wish {
        self.now.wall_ms += 1;
        let id = RequestId { stamp: Stamp::from_ms(self.now.wall_ms), device: DeviceId::derive(user, 7) };
        let room = room.unwrap_or_else(|| RoomId::derive(user, id));
        let body = matches!(kind, Kind::Message(_) | Kind::Edit(_)).then(|| text_body(&format!("{id:?}")));
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: room.to_wire(),
            body_hash: body.as_ref().map_or_else(Bytes::new, |b| Bytes::copy_from_slice(&body_hash(b))),
            kind: Some(kind),
        };
        Wish { user: user.clone(), id, room, request: request.encode_to_vec().into(), body }
    }

    pub fn create(&mut self, at: SiteId, user: &UserId, open: bool) -> RoomId {
        let wish = self.wish(
            user,
            None,
            Kind::Create(wire::Create { name: "room".into(), open, channel: false, ..Default::default() }),
        );
        self.submit(at, &wish);
        wish.room
    }

    pub fn create_channel(&mut self, at: SiteId, user: &UserId) -> RoomId {
        let create = wire::Create { name: "channel".into(), open: true, channel: true, ..Default::default() };
        let wish = self.wish(user, None, Kind::Create(create));
        self.submit(at, &wish);
        wish.room
    }

    pub fn join(&mut self, at: SiteId, user: &UserId, room: RoomId) -> Wish {
        let wish = self.wish(user, Some(room), Kind::Join(wire::Join {}));
        self.submit(at, &wish);
        wish
    }

    pub fn leave(&mut self, at: SiteId, user: &UserId, room: RoomId) -> Wish {
        let wish = self.wish(user, Some(room), Kind::Leave(wire::Leave {}));
        self.submit(at, &wish);
        wish
    }

    pub fn say(&mut self, at: SiteId, user: &UserId, room: RoomId) -> Wish {
        let wish = self.wish(user, Some(room), Kind::Message(wire::Message::default()));
        self.submit(at, &wish);
        wish
    }

    pub fn site(&mut self, id: SiteId) -> &mut Site {
        self.sites.get_mut(&id).unwrap()
    }

    /// All sites hold the same: vectors, rows, digests; and no alarm rang.
    pub fn assert_converged(&mut self) {
        let mut sites = self.sites.values();
        let first = sites.next().unwrap();
        for site in sites {
            assert_eq!(first.shard.durable(), site.shard.durable(), "vectors of {:?} and {:?}", first.id, site.id);
            assert_eq!(shown(&first.rows), shown(&site.rows), "rows of {:?} and {:?}", first.id, site.id);
            let status = |site: &Site| site.shard.status(self.now).hash;
            assert_eq!(status(first), status(site), "hashes of {:?} and {:?}", first.id, site.id);
        }
        for site in self.sites.values() {
            assert_eq!(site.alarms, [], "alarms at {:?}", site.id);
        }
    }
}

impl Site {
    pub fn acked(&self, wish: &Wish) -> Option<(Dot, bool)> {
        self.effects.iter().find_map(|effect| match effect {
            Output::Accepted { id, dot, replicated, .. } if *id == wish.id => Some((*dot, *replicated)),
            _ => None,
        })
    }

    pub fn refused(&self, wish: &Wish) -> Option<Code> {
        self.effects.iter().find_map(|effect| match effect {
            Output::Refused { id, code, .. } if *id == Some(wish.id) => Some(*code),
            _ => None,
        })
    }

    pub fn delivered(&self, wish: &Wish) -> usize {
        let shows = |frame: &Bytes| {
            let frame = wire::EventFrame::decode(frame.slice(4..)).unwrap().frame.unwrap();
            matches!(frame, wire::event_frame::Frame::Event(event) if event.request == wish.request)
        };
        self.effects.iter().filter(|e| matches!(e, Output::Deliver { frame, .. } if shows(frame))).count()
    }

    pub fn frontier(&self) -> Vector {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Output::Frontier { dot, .. } => Some(*dot),
                _ => None,
            })
            .collect()
    }

    pub fn is_member(&self, room: RoomId, user: &UserId) -> bool {
        let row = self.rows.get(Cf::Element, &Key::Member(room, user.clone()).encode()).unwrap();
        let member = row.is_some_and(|v| !wire::ElementRow::decode(v).unwrap().tags.is_empty());
        let listed = self.rows.get(Cf::Head, &Key::UserRoom(user_hash(user), room).encode()).unwrap().is_some();
        assert_eq!(member, listed, "the index follows the membership");
        member
    }

    pub fn has(&self, wish: &Wish) -> bool {
        self.dots(wish) > 0
    }

    pub fn dots(&self, wish: &Wish) -> usize {
        let row = self.rows.get(Cf::Request, &Key::Request(wish.room, wish.id).encode()).unwrap();
        row.map_or(0, |v| wire::RequestRow::decode(v).unwrap().dots.len())
    }
}

/// Everything that must be the same at all sites: what is local to a node left out.
fn shown(rows: &MemView) -> Vec<(Cf, Bytes, Bytes)> {
    [Cf::Op, Cf::Request, Cf::Element, Cf::Head]
        .into_iter()
        .flat_map(|cf| rows.family(cf).map(move |(key, value)| (cf, key.clone(), value.clone())))
        .collect()
}

pub fn session_of(user: &UserId) -> SessionId {
    SessionId(user.as_str().bytes().map(u64::from).sum())
}

pub fn text_body(text: &str) -> Bytes {
    let body = wire::Body {
        salt: Bytes::from_static(&[9; 16]),
        content_type: "text/plain".into(),
        content: Bytes::copy_from_slice(text.as_bytes()),
    };
    body.encode_to_vec().into()
}
