//! A site in memory for the tests of reads and sessions: it writes the rows that a shard writes, and says what
//! has been synced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use causeway_protocol::{
    DeviceId, Dot, Marker, Message, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, UserId, Vector, wire,
    wire::request::Kind,
};

use super::{Durables, event_frame};
use crate::key::{Key, Policy, Register, user_hash};
use crate::view::{Batch, Cf, MemView, View};

/// Shards of the cluster: few, so that rooms share them.
pub const SHARDS: u16 = 2;

/// What a shard puts out once an op is durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Deliver { room: RoomId, dot: Dot, frame: Bytes },
    Membership { room: RoomId, user: UserId, member: bool },
}

struct Applied {
    shard: ShardId,
    dot: Dot,
    effects: Vec<Effect>,
}

#[derive(Default)]
pub struct Fixture {
    pub view: MemView,
    pub unready: BTreeSet<ShardId>,
    applied: Vec<Applied>,
    synced: usize,
    durable: BTreeMap<ShardId, Arc<Vector>>,
    seqs: BTreeMap<(ShardId, Origin), u64>,
    stamp: u64,
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// The nonce of every user's SDK in these tests.
pub const NONCE: u64 = 7;

pub fn device(user: &UserId) -> DeviceId {
    DeviceId::derive(user, NONCE)
}

pub fn origin(site: u16) -> Origin {
    Origin { site: SiteId(site), node: 0, incarnation: 0x00c0_ffee }
}

impl Durables for Fixture {
    fn durable(&self, shard: ShardId) -> Arc<Vector> {
        self.durable.get(&shard).cloned().unwrap_or_default()
    }
    fn ready(&self, shard: ShardId) -> bool {
        !self.unready.contains(&shard)
    }
}

impl Fixture {
    fn tick(&mut self) -> Stamp {
        self.stamp += 1;
        Stamp::from_ms(1_000_000 + self.stamp)
    }

    /// A room of the user's, accepted at site 1 and synced.
    pub fn room(&mut self, creator: &str) -> RoomId {
        let room = self.unsynced_room(1, creator);
        self.sync();
        room
    }

    pub fn unsynced_room(&mut self, site: u16, creator: &str) -> RoomId {
        let user = user(creator);
        let id = RequestId { stamp: self.tick(), device: device(&user) };
        let room = RoomId::derive(&user, id);
        let create = wire::Create { name: format!("{creator}'s"), open: true, ..Default::default() };
        self.accept(site, room, id, &user, Kind::Create(create), None);
        room
    }

    /// A request accepted at a site, applied here.
    pub fn request(&mut self, site: u16, room: RoomId, name: &str, kind: Kind) -> (RequestId, Dot) {
        let stamp = self.tick();
        self.request_at(site, room, name, kind, stamp)
    }

    pub fn request_at(&mut self, site: u16, room: RoomId, name: &str, kind: Kind, at: Stamp) -> (RequestId, Dot) {
        let user = user(name);
        let id = RequestId { stamp: at, device: device(&user) };
        let text = format!("{id:?}");
        let body = wire::Body { salt: Bytes::new(), content_type: "text/plain".into(), content: text.into() };
        let body = matches!(kind, Kind::Message(_)).then(|| Bytes::from(body.encode_to_vec()));
        let dot = self.accept(site, room, id, &user, kind, body);
        (id, dot)
    }

    pub fn message(&mut self, site: u16, room: RoomId, name: &str) -> (RequestId, Dot) {
        self.request(site, room, name, Kind::Message(wire::Message::default()))
    }

    /// Where the user is a member already, it is as if a leave had crossed this join: the user stays in the room by
    /// the tag of this one alone, and no membership is told.
    pub fn join(&mut self, site: u16, room: RoomId, name: &str) -> RequestId {
        self.request(site, room, name, Kind::Join(wire::Join {})).0
    }

    pub fn leave(&mut self, site: u16, room: RoomId, name: &str) -> RequestId {
        self.request(site, room, name, Kind::Leave(wire::Leave {})).0
    }

    /// Another acceptance of a request that is here already.
    pub fn again(&mut self, site: u16, room: RoomId, id: RequestId) -> Dot {
        let row: wire::RequestRow = super::rows::Rows::of(&self.view, &Vector::new(), &room).get(id).unwrap();
        let stamp = self.tick();
        let dot = self.op(site, room, stamp, &row.user, &row.request);
        let mut batch = Batch::default();
        let mut dots: Vec<Dot> = super::rows::dots(&row).map(Result::unwrap).chain([dot]).collect();
        dots.sort();
        let row = wire::RequestRow { dots: dots.into_iter().map(Dot::to_wire).collect(), ..row };
        put(&mut batch, &Key::Request(room, id), &row);
        self.view.apply(&batch);
        self.applied.push(Applied { shard: room.shard(SHARDS), dot, effects: Vec::new() });
        dot
    }

    /// Hides a request by rule.
    pub fn hide(&mut self, room: RoomId, id: RequestId) {
        let row: wire::RequestRow = super::rows::Rows::of(&self.view, &Vector::new(), &room).get(id).unwrap();
        let mut batch = Batch::default();
        put(&mut batch, &Key::Request(room, id), &wire::RequestRow { hidden: true, ..row });
        self.view.apply(&batch);
    }

    pub fn set_body(&mut self, room: RoomId, id: RequestId, body: Bytes) {
        let row: wire::RequestRow = super::rows::Rows::of(&self.view, &Vector::new(), &room).get(id).unwrap();
        let mut batch = Batch::default();
        put(&mut batch, &Key::Request(room, id), &wire::RequestRow { body: Some(body), ..row });
        self.view.apply(&batch);
    }

    /// Somebody who was a member and has no row but for what was done to them.
    pub fn former(&mut self, room: RoomId, name: &str) {
        let mut batch = Batch::default();
        let revocations = vec![wire::Revocation::default()];
        put(&mut batch, &Key::Member(room, user(name)), &wire::ElementRow { revocations, ..Default::default() });
        self.view.apply(&batch);
    }

    /// Changes what is kept of a member.
    pub fn change_member(&mut self, room: RoomId, name: &str, change: impl FnOnce(&mut wire::ElementRow)) {
        let key = Key::Member(room, user(name));
        let mut row: wire::ElementRow = super::rows::get(&self.view, &key).unwrap().unwrap_or_default();
        change(&mut row);
        let mut batch = Batch::default();
        put(&mut batch, &key, &row);
        self.view.apply(&batch);
    }

    /// Who joins is a reader from now on.
    pub fn make_channel(&mut self, room: RoomId) {
        let key = Key::Register(room, Register::Policy);
        let row: wire::RegisterRow = super::rows::get(&self.view, &key).unwrap().unwrap();
        let channel = Policy { channel: true, ..Policy::from_value(&row.value) };
        let mut batch = Batch::default();
        put(&mut batch, &key, &wire::RegisterRow { value: Bytes::copy_from_slice(&[channel.to_byte()]), ..row });
        self.view.apply(&batch);
    }

    pub fn mark(&mut self, room: RoomId, name: &str, vector: &Vector) {
        self.put_marker(room, name, &Marker::from(vector.clone()));
    }

    pub fn put_marker(&mut self, room: RoomId, name: &str, marker: &Marker) {
        let mut batch = Batch::default();
        let row = wire::ReadRow { vector: Some(marker.read.to_wire()), flag: marker.flag.to_wire() };
        put(&mut batch, &Key::Read(room, user(name)), &row);
        self.view.apply(&batch);
    }

    fn accept(
        &mut self,
        site: u16,
        room: RoomId,
        id: RequestId,
        user: &UserId,
        kind: Kind,
        body: Option<Bytes>,
    ) -> Dot {
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: room.to_wire(),
            body_hash: Bytes::new(),
            kind: Some(kind.clone()),
        };
        let request = Bytes::from(request.encode_to_vec());
        let stamp = self.tick();
        let dot = self.op(site, room, stamp, user.as_str(), &request);
        let mut batch = Batch::default();
        let row = wire::RequestRow {
            hash: Bytes::new(),
            dots: vec![dot.to_wire()],
            user: user.as_str().to_owned(),
            request: request.clone(),
            body: body.clone(),
            hidden: false,
            also: Vec::new(),
            hidden_dots: Vec::new(),
            deadline_ms: 0,
        };
        put(&mut batch, &Key::Request(room, id), &row);
        let mut effects = Vec::new();
        let members = |batch: &mut Batch, effects: &mut Vec<Effect>, tags: Vec<wire::RequestId>| {
            let (key, index) = (Key::Member(room, user.clone()), Key::UserRoom(user_hash(user), room));
            let member = !tags.is_empty();
            let listed = self.view.get(Cf::Head, &index.encode()).unwrap().is_some();
            if member {
                put(batch, &key, &wire::ElementRow { tags, ..Default::default() });
                batch.put(Cf::Head, index.encode(), Bytes::new());
            } else {
                batch.delete(Cf::Element, key.encode());
                batch.delete(Cf::Head, index.encode());
            }
            if member != listed {
                effects.push(Effect::Membership { room, user: user.clone(), member });
            }
        };
        match kind {
            Kind::Create(create) => {
                members(&mut batch, &mut effects, vec![id.to_wire()]);
                let open = Bytes::copy_from_slice(&[create.open.into()]);
                put(&mut batch, &Key::Register(room, Register::Policy), &register(id, open));
                put(&mut batch, &Key::Register(room, Register::Name), &register(id, create.name.into()));
            }
            Kind::SetName(set) => {
                put(&mut batch, &Key::Register(room, Register::Name), &register(id, set.name.into()));
            }
            Kind::Join(_) => members(&mut batch, &mut effects, vec![id.to_wire()]),
            Kind::Leave(_) => members(&mut batch, &mut effects, Vec::new()),
            // What reads do not look at.
            _ => {}
        }
        self.view.apply(&batch);
        let frame = event_frame(room, dot, user, (request, body, 0), None);
        effects.push(Effect::Deliver { room, dot, frame });
        self.applied.push(Applied { shard: room.shard(SHARDS), dot, effects });
        dot
    }

    /// Writes the op and the room's head.
    fn op(&mut self, site: u16, room: RoomId, stamp: Stamp, user: &str, request: &Bytes) -> Dot {
        let shard = room.shard(SHARDS);
        let seq = self.seqs.entry((shard, origin(site))).or_insert(0);
        *seq += 1;
        let dot = Dot { origin: origin(site), seq: *seq };
        let header = wire::Header {
            origin: Some(dot.origin.to_wire()),
            shard: shard.0.into(),
            seq: dot.seq,
            stamp: stamp.0,
            user: user.to_owned(),
            request: request.clone(),
            ..Default::default()
        };
        let mut batch = Batch::default();
        put(&mut batch, &Key::Op(room, dot), &header);
        let (head, mut touch) = super::rows::head(&self.view, &room).unwrap().unwrap_or_default();
        touch.raise(dot);
        let stamp_max = head.stamp_max.max(stamp.0);
        let mut head = wire::HeadRow { touch: Some(touch.to_wire()), stamp_max, ..head };
        let of = wire::Request::decode(request.clone()).expect("a request");
        let place = |id: &Option<wire::RequestId>| id.as_ref().map(RequestId::from_wire);
        let row = Key::Request(room, place(&of.id).expect("an id"));
        head.requests += u64::from(self.view.get(Cf::Request, &row.encode()).unwrap().is_none());
        if matches!(of.kind, Some(Kind::Message(_))) && place(&of.id) > place(&head.last) {
            head.last = of.id;
        }
        put(&mut batch, &Key::Head(room), &head);
        self.view.apply(&batch);
        dot
    }

    /// The next `count` applied ops are durable now: publishes the vectors, and gives the effects.
    pub fn sync_some(&mut self, count: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        for applied in self.applied.iter().skip(self.synced).take(count) {
            Arc::make_mut(self.durable.entry(applied.shard).or_default()).raise(applied.dot);
            effects.extend(applied.effects.clone());
        }
        self.synced = (self.synced + count).min(self.applied.len());
        effects
    }

    pub fn sync(&mut self) -> Vec<Effect> {
        self.sync_some(usize::MAX / 2)
    }

    pub fn durable_of(&self, room: RoomId) -> Vector {
        (*self.durable(room.shard(SHARDS))).clone()
    }
}

fn register(marker: RequestId, value: Bytes) -> wire::RegisterRow {
    wire::RegisterRow { marker: Some(marker.to_wire()), value }
}

fn put(batch: &mut Batch, key: &Key, value: &impl Message) {
    batch.put(key.family(), key.encode(), value.encode_to_vec().into());
}

/// The request ids of all rows of a room, for brute force.
pub fn rows_of(view: &MemView, room: RoomId) -> Vec<(RequestId, wire::RequestRow)> {
    let (start, end) = crate::key::prefix_range(&room.0);
    let mut rows = Vec::new();
    view.scan(Cf::Request, &start, &end, &mut |key, value| {
        let Some(Key::Request(_, id)) = Key::decode(Cf::Request, key) else { panic!("key {key:?}") };
        rows.push((id, wire::RequestRow::decode(value).unwrap()));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    rows
}

pub fn is_covered(row: &wire::RequestRow, vector: &Vector) -> bool {
    super::rows::covered(row, vector).unwrap()
}
