//! What others could send, made from an input's bytes: nearly right far more often than random bytes are.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use causeway_protocol::{
    DeviceId, Dot, Hash16, Message, Origin, RequestId, RoomId, SiteId, Stamp, UserId, Vector, wire, wire::request::Kind,
};
use causeway_replica::io::{SessionId, Submission};
use causeway_replica::request::{body_hash, chain_hash};

use crate::site::{EPOCH_MS, OWN, SHARD, SHARDS};

pub const NAMES: [&str; 3] = ["ann", "bob", "eve"];
/// The nonce of everybody's device.
pub const NONCE: u64 = 7;
/// Request ids that inputs choose from.
const IDS: u8 = 32;
/// Entries of a repeated field that a byte asks for, at most: some frames must reach their limits.
const MANY: usize = 60_000;

pub fn users() -> Vec<UserId> {
    NAMES.iter().map(|name| UserId::new(name).expect("a user")).collect()
}

/// The request that makes the first room: searched, so that the room is the shard's.
fn first_of(user: &UserId, shard: bool) -> RequestId {
    let ids = (0..64).map(|n| RequestId { stamp: Stamp::from_ms(EPOCH_MS + n), device: DeviceId::derive(user, NONCE) });
    let mut ids = ids.filter(|id| (RoomId::derive(user, *id).shard(SHARDS) == SHARD) == shard);
    ids.next().expect("one of 64 is")
}

/// What an input can name.
pub struct Forge {
    pub users: Vec<UserId>,
    /// Two of the shard, one of another shard.
    pub rooms: Vec<RoomId>,
    creates: Vec<RequestId>,
    /// Each origin's chain, as an honest site would have it.
    chains: BTreeMap<Origin, (u64, Option<Hash16>)>,
}

pub type Input<'a, 'b> = &'a mut Unstructured<'b>;

/// One of a list.
pub fn one<'l, T>(u: Input<'_, '_>, list: &'l [T]) -> Result<&'l T> {
    Ok(&list[usize::from(u.arbitrary::<u8>()?) % list.len()])
}

/// Some bytes, their number in front.
pub fn some_bytes(u: Input<'_, '_>) -> Result<Bytes> {
    let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
    Ok(Bytes::copy_from_slice(u.bytes(len)?))
}

/// Mostly few, at times very many.
fn count(u: Input<'_, '_>) -> Result<usize> {
    Ok(match u.arbitrary::<u8>()? {
        n @ 0..250 => usize::from(n % 4),
        n => MANY >> (2 * (n - 250)),
    })
}

impl Forge {
    pub fn new() -> Self {
        let users = users();
        let creates = vec![first_of(&users[0], true), first_of(&users[1], true), first_of(&users[0], false)];
        let makers = [&users[0], &users[1], &users[0]];
        let rooms = creates.iter().zip(makers).map(|(id, user)| RoomId::derive(user, *id)).collect();
        Self { users, rooms, creates, chains: BTreeMap::new() }
    }

    pub fn id(&self, u: Input<'_, '_>) -> Result<RequestId> {
        let (n, user) = (u.arbitrary::<u8>()?, one(u, &self.users)?);
        let device = DeviceId::derive(user, NONCE);
        Ok(match n {
            0..224 => RequestId { stamp: Stamp::from_ms(EPOCH_MS + 100 + u64::from(n % IDS)), device },
            224..248 => self.creates[usize::from(n) % self.creates.len()],
            248..252 => RequestId::MAX,
            _ => RequestId { stamp: Stamp(u.arbitrary()?), device: DeviceId(u.arbitrary()?) },
        })
    }

    pub fn flag(&self, u: Input<'_, '_>) -> Result<Option<wire::UnreadFlag>> {
        let id = if u.ratio(1, 16)? { None } else { Some(self.id(u)?.to_wire()) };
        let flag = wire::UnreadFlag { id, unread: u.arbitrary()? };
        Ok(if u.arbitrary()? { Some(flag) } else { None })
    }

    pub fn ids(&self, u: Input<'_, '_>) -> Result<Vec<wire::RequestId>> {
        let (count, first) = (count(u)?, self.id(u)?);
        let id = |n: usize| RequestId { stamp: Stamp(first.stamp.0.wrapping_add((n as u64) << 16)), ..first }.to_wire();
        Ok((0..count).map(id).collect())
    }

    pub fn origin(&self, u: Input<'_, '_>, own: Origin) -> Result<Origin> {
        let of = |site, incarnation| Origin { site: SiteId(site), node: 0, incarnation };
        Ok(match u.arbitrary::<u8>()? {
            0..96 => of(2, 5),
            96..160 => of(3, 6),
            160..192 => own,
            192..200 => Origin { incarnation: own.incarnation + 1, ..own },
            n => of(u16::from(n % 5) + 1, u64::from(u.arbitrary::<u8>()?)),
        })
    }

    /// Of what a site holds: nothing, all, less, more, or anything.
    pub fn vector(&self, u: Input<'_, '_>, held: &Vector, own: Origin) -> Result<wire::Vector> {
        let shifted = |by: i64| {
            let dot = |dot: Dot| Dot { seq: dot.seq.saturating_add_signed(by).max(1), ..dot }.to_wire();
            wire::Vector { entries: held.iter().map(dot).collect() }
        };
        Ok(match u.arbitrary::<u8>()? % 8 {
            0 => wire::Vector::default(),
            1 | 2 => held.to_wire(),
            3 => shifted(-1),
            4 => shifted(1),
            5 => {
                let (count, origin) = (count(u)?, self.origin(u, own)?);
                let seq = if u.arbitrary()? { 1 } else { u.arbitrary()? };
                let entry = |n: usize| {
                    let incarnation = origin.incarnation.wrapping_add(n as u64);
                    let origin = Origin { incarnation, ..origin };
                    wire::Dot { origin: Some(origin.to_wire()), seq }
                };
                wire::Vector { entries: (0..count).map(entry).collect() }
            }
            6 => {
                let origin = self.origin(u, own)?;
                let far = *one(u, &[u64::MAX, u64::MAX - 1, 1 << 63, 1 << 48, (1 << 48) - 1])?;
                let mut vector = held.to_wire();
                vector.entries.push(wire::Dot { origin: Some(origin.to_wire()), seq: far });
                vector
            }
            _ => wire::Vector::decode(some_bytes(u)?).unwrap_or_default(),
        })
    }

    fn kind(&self, u: Input<'_, '_>) -> Result<Option<Kind>> {
        let which = u.arbitrary::<u8>()? % 26;
        let user = one(u, &self.users)?.to_string();
        let target = Some(self.id(u)?.to_wire());
        let flag: bool = u.arbitrary()?;
        let text = |u: Input<'_, '_>| Ok(String::from_utf8_lossy(&some_bytes(u)?).into_owned());
        Ok(Some(match which {
            0 | 1 => Kind::Create(wire::Create {
                name: "room".into(),
                open: flag,
                channel: u.arbitrary()?,
                ..Default::default()
            }),
            2 => Kind::SetName(wire::SetName { name: text(u)? }),
            3 | 4 => Kind::Join(wire::Join {}),
            5 => Kind::Leave(wire::Leave {}),
            6 => Kind::Invite(wire::Invite { user }),
            7..10 => Kind::Message(wire::Message {
                reply_to: target.filter(|_| flag),
                lifetime_ms: u64::from(u.arbitrary::<u16>()?),
                ..Default::default()
            }),
            10 => Kind::Edit(wire::Edit { target: target.filter(|_| !flag) }),
            11 => Kind::Redact(wire::Redact { target, author: if flag { user } else { String::new() } }),
            12 => Kind::React(wire::React { target, symbol: if flag { text(u)? } else { "+".into() } }),
            13 => Kind::Unreact(wire::Unreact { target, symbol: "+".into() }),
            14 => Kind::SetRole(wire::SetRole { user, role: u.arbitrary::<u8>()?.into() }),
            15 => Kind::Kick(wire::Kick { user, reason: String::new() }),
            16 => Kind::Ban(wire::Ban { user, reason: String::new(), until_ms: if flag { u.arbitrary()? } else { 0 } }),
            17 => Kind::LiftBan(wire::LiftBan { user: if flag { text(u)? } else { user } }),
            18 => Kind::Message(wire::Message::default()),
            20 => Kind::SetProfile(wire::SetProfile {
                topic: Some(text(u)?),
                avatar: None,
                open: Some(flag),
                writers: Some(u.arbitrary::<u8>()?.into()),
                retention_ms: Some(u.arbitrary::<u16>()?.into()),
                knock: Some(u.arbitrary()?),
            }),
            21 => Kind::Pin(wire::Pin { target }),
            25 => Kind::Erase(wire::Erase {}),
            23 => Kind::Knock(wire::Knock {}),
            24 => Kind::Decline(wire::Decline { user }),
            22 => Kind::Unpin(wire::Unpin { target }),
            _ => return Ok(None),
        }))
    }

    /// A request with its user and its body.
    pub fn request(&self, u: Input<'_, '_>) -> Result<(UserId, Bytes, Option<Bytes>)> {
        let kind = self.kind(u)?;
        let place = usize::from(u.arbitrary::<u8>()?) % self.rooms.len();
        let (user, id) = match &kind {
            Some(Kind::Create(_)) if u.ratio(7, 8)? => (self.users[place % 2].clone(), self.creates[place]),
            _ => (one(u, &self.users)?.clone(), self.id(u)?),
        };
        let room = match u.arbitrary::<u8>()? {
            0..8 => some_bytes(u)?,
            _ => self.rooms[place].to_wire(),
        };
        let has_body = matches!(kind, Some(Kind::Message(_) | Kind::Edit(_)));
        let content = wire::Body {
            salt: Bytes::from_static(&[9; 16]),
            content_type: "text/plain".into(),
            content: Bytes::from(vec![b'x'; usize::from(u.arbitrary::<u8>()?) * if u.ratio(1, 32)? { 256 } else { 1 }]),
        };
        let body = has_body.then(|| Bytes::from(content.encode_to_vec()));
        let body_hash = body.as_ref().map_or_else(Bytes::new, |body| Bytes::copy_from_slice(&body_hash(body)));
        let body_hash = if u.ratio(1, 32)? { some_bytes(u)? } else { body_hash };
        let body = if u.ratio(1, 16)? { Some(some_bytes(u)?) } else { body };
        let request = wire::Request { id: Some(id.to_wire()), room, body_hash, kind };
        Ok((user, request.encode_to_vec().into(), body))
    }

    pub fn submission(&self, u: Input<'_, '_>) -> Result<Submission> {
        let (user, request, body) = self.request(u)?;
        let device = DeviceId::derive(&user, NONCE);
        Ok(Submission { session: SessionId(u.int_in_range(1..=3)?), user, device, request, body })
    }

    /// An op that fits its origin's chain, or, as the input wants, does not.
    pub fn op(&mut self, u: Input<'_, '_>, held: &Vector, own: Origin) -> Result<wire::Op> {
        let (user, request, body) = self.request(u)?;
        let origin = self.origin(u, own)?;
        let (seq, prev) = self.chains.get(&origin).copied().unwrap_or((0, None));
        let mut header = wire::Header {
            origin: Some(origin.to_wire()),
            shard: SHARD.0.into(),
            seq: seq + 1,
            stamp: Stamp::from_ms(EPOCH_MS + 1_000 + seq).0,
            deps: Vec::new(),
            prev: prev.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash)),
            user: user.to_string(),
            request,
            saw: Vec::new(),
            aware: Vec::new(),
            past: None,
            rank: 0,
            deadline_ms: u.int_in_range(0..=2)? * (EPOCH_MS + 2_000),
        };
        let changes: u16 = u.arbitrary()?;
        let changed = |bit: u32| changes >> bit & 1 == 1;
        if changed(0) {
            header.deps = self.vector(u, held, own)?.entries;
        }
        if changed(1) {
            header.saw = self.ids(u)?;
        }
        if changed(2) {
            header.aware = self.ids(u)?;
        }
        if changed(3) {
            header.past = Some(self.vector(u, held, own)?);
        }
        if changed(4) {
            header.rank = u.arbitrary::<u8>()?.into();
        }
        // What follows makes it wrong: rarer, since an op that is refused reaches nothing.
        let wrong = |bit: u32| changed(5) && changed(bit);
        if wrong(6) {
            header.seq =
                if u.arbitrary()? { header.seq.saturating_add(u.arbitrary::<u8>()?.into()) } else { u.arbitrary()? };
        }
        if wrong(7) {
            header.prev = some_bytes(u)?;
        }
        if wrong(8) {
            header.stamp = u.arbitrary()?;
        }
        if wrong(9) {
            header.user = String::from_utf8_lossy(&some_bytes(u)?).into_owned();
        }
        if wrong(10) {
            header.shard = u.arbitrary::<u8>()?.into();
        }
        let bytes: Bytes = header.encode_to_vec().into();
        if !wrong(6) {
            self.chains.insert(origin, (seq + 1, Some(chain_hash(&bytes))));
        }
        Ok(wire::Op { header: bytes, body })
    }

    /// Forgets an origin's chain where the site under test has another: it starts again from there.
    pub fn follow(&mut self, origin: Origin, seq: u64, chain: Option<Hash16>) {
        self.chains.insert(origin, (seq, chain));
    }
}

/// Whether a site number is one of the others.
pub fn peer(u: Input<'_, '_>) -> Result<SiteId> {
    Ok(if u.arbitrary::<u8>()? < 192 { SiteId(2) } else { SiteId(OWN.0 + 2) })
}
