//! Records that decode, and hold what no honest program puts into them.

use causeway_protocol::{
    Bytes, DeviceId, Message, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, UserId, hash16, wire,
    wire::request::Kind,
};

use crate::rng::Rng;

/// Entries of a list that is made long.
const MANY: usize = 20_000;
/// Processes of the played site that ops are of: a few, for every one is an origin in every vector from then on.
const INCARNATIONS: usize = 4;

/// The wall clock, ms since the Unix epoch.
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn one<T: Copy>(rng: &mut Rng, list: &[T]) -> T {
    list[rng.below(list.len())]
}

/// Mostly few, rarely very many.
pub fn count(rng: &mut Rng) -> usize {
    if rng.chance(0.03) { rng.below(MANY) } else { rng.below(4) }
}

/// An origin of the played site, or of none that is configured.
pub fn origin(rng: &mut Rng) -> Origin {
    let site = if rng.chance(0.9) { 1 } else { 3 + rng.below(3) as u16 };
    Origin { site: SiteId(site), node: 0, incarnation: rng.below(INCARNATIONS) as u64 }
}

fn seq(rng: &mut Rng) -> u64 {
    one(rng, &[0, 1, 1, 2, 3, 10, 1 << 48, (1 << 48) + 1, u64::MAX])
}

/// A vector, sorted or not, with doubles or without.
pub fn vector(rng: &mut Rng) -> wire::Vector {
    let (count, first, seq) = (count(rng), origin(rng), seq(rng));
    let dot = |n: usize| {
        let origin = Origin { incarnation: first.incarnation.wrapping_add(n as u64), ..first };
        wire::Dot { origin: Some(origin.to_wire()), seq }
    };
    wire::Vector { entries: (0..count).map(dot).collect() }
}

/// A request's id near this moment, or anywhere.
pub fn id(rng: &mut Rng, device: DeviceId) -> RequestId {
    let ms = wall_ms();
    let stamp = match rng.below(12) {
        0 => Stamp(rng.bits()),
        1 => Stamp(u64::MAX),
        2 => Stamp(0),
        _ => Stamp(Stamp::from_ms(ms).0 | (rng.bits() & 0xffff)),
    };
    RequestId { stamp, device }
}

fn text(rng: &mut Rng) -> String {
    let len = if rng.chance(0.1) { rng.below(3_000) } else { rng.below(8) };
    (0..len).map(|_| one(rng, &['a', '+', '\u{0}', '방', '\u{202e}', '👍', '\n'])).collect()
}

fn kind(rng: &mut Rng, user: &UserId, target: wire::RequestId) -> Kind {
    let target = Some(target).filter(|_| rng.chance(0.9));
    let user = if rng.chance(0.8) { user.to_string() } else { text(rng) };
    match rng.below(20) {
        0 | 1 => Kind::Create(wire::Create {
            name: text(rng),
            open: rng.chance(0.5),
            channel: rng.chance(0.5),
            ..Default::default()
        }),
        2 => Kind::SetName(wire::SetName { name: text(rng) }),
        14 => Kind::SetProfile(wire::SetProfile {
            topic: Some(text(rng)),
            avatar: None,
            open: Some(rng.below(2) == 0),
            writers: Some(rng.below(7) as u32),
            retention_ms: Some(rng.below(9_000) as u64),
            knock: Some(rng.chance(0.5)),
        }),
        15 => Kind::Pin(wire::Pin { target }),
        17 => Kind::Knock(wire::Knock {}),
        19 => Kind::Erase(wire::Erase {}),
        18 => Kind::Decline(wire::Decline { user }),
        16 => Kind::Unpin(wire::Unpin { target }),
        3 => Kind::Join(wire::Join {}),
        4 => Kind::Leave(wire::Leave {}),
        5 => Kind::Invite(wire::Invite { user }),
        6 => Kind::Edit(wire::Edit { target }),
        7 => Kind::Redact(wire::Redact { target, author: if rng.chance(0.5) { user } else { String::new() } }),
        8 => Kind::React(wire::React { target, symbol: text(rng) }),
        9 => Kind::SetRole(wire::SetRole { user, role: rng.below(8) as u32 }),
        10 => Kind::Kick(wire::Kick { user, reason: text(rng) }),
        11 => Kind::Ban(wire::Ban { user, reason: text(rng), until_ms: rng.bits() }),
        12 => Kind::LiftBan(wire::LiftBan { user }),
        _ => {
            let lifetime_ms = rng.below(9_000) as u64;
            Kind::Message(wire::Message { reply_to: target, lifetime_ms, ..Default::default() })
        }
    }
}

/// A request of a user's device in a room, with a body where it may have one. A client's create makes a new room; a
/// peer's is of a room that is there, since nothing checks a room's id again.
pub fn request(
    rng: &mut Rng,
    user: &UserId,
    device: DeviceId,
    rooms: &mut Vec<RoomId>,
    is_client: bool,
) -> (RequestId, Bytes, Option<Bytes>) {
    let own = id(rng, device);
    let target = id(rng, device).to_wire();
    let mut kind = kind(rng, user, target);
    if rooms.is_empty() {
        kind = Kind::Create(wire::Create { name: "room".into(), open: true, channel: false, ..Default::default() });
    }
    let room = match &kind {
        Kind::Create(_) if is_client || rooms.is_empty() => RoomId::derive(user, own),
        _ => rooms[rng.below(rooms.len())],
    };
    if matches!(kind, Kind::Create(_)) && rooms.len() < 64 {
        rooms.push(room);
    }
    let has_body = matches!(kind, Kind::Message(_) | Kind::Edit(_)) || rng.chance(0.05);
    let content = if rng.chance(0.05) { rng.below(80_000) } else { rng.below(200) };
    let body = wire::Body {
        salt: vec![1; if rng.chance(0.95) { 16 } else { 3 }].into(),
        content_type: if rng.chance(0.95) { "text/plain".into() } else { text(rng) },
        content: vec![b'x'; content].into(),
    };
    let body = has_body.then(|| Bytes::from(body.encode_to_vec()));
    let hash = body.as_ref().map(|body| hash16("causeway/body", &[body]));
    let body_hash = hash.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash[..16 - rng.below(17) / 16]));
    let room = if rng.chance(0.97) { room.to_wire() } else { Bytes::from_static(b"no room") };
    let request = wire::Request { id: Some(own.to_wire()), room, body_hash, kind: Some(kind) };
    (own, request.encode_to_vec().into(), body)
}

/// Rooms of a shard that only the played site knows: a shard is a range of ids.
pub fn rooms_of(shard: ShardId, shard_count: u16) -> Vec<RoomId> {
    let top = (u32::from(shard.0) << 16).div_ceil(u32::from(shard_count)) as u16;
    let room = |n: u8| {
        let mut id = [n; RoomId::LEN];
        id[..2].copy_from_slice(&top.to_be_bytes());
        RoomId(id)
    };
    vec![room(1), room(2)]
}

/// An origin's chain in a shard, as the relay should have it.
#[derive(Clone, Copy, Default)]
pub struct Chain {
    seq: u64,
    prev: Option<[u8; 16]>,
}

/// An op of the played site that fits its chain, or, rarely, does not. Its room is of the shard, mostly.
pub fn op(
    rng: &mut Rng,
    chain: &mut Chain,
    origin: Origin,
    shard: ShardId,
    rooms: &mut Vec<RoomId>,
) -> Option<wire::Op> {
    let user = UserId::new("mallory").ok()?;
    let device = DeviceId(rng.bits());
    let (_, request, body) = request(rng, &user, device, rooms, false);
    let ids = |rng: &mut Rng| {
        let first = id(rng, DeviceId(1));
        (0..count(rng)).map(|n| wire::RequestId { stamp: first.stamp.0, device: n as u64 }).collect::<Vec<_>>()
    };
    let seq = chain.seq + 1;
    let mut header = wire::Header {
        origin: Some(origin.to_wire()),
        shard: shard.0.into(),
        seq,
        stamp: Stamp::from_ms(wall_ms()).0 + seq,
        deps: if rng.chance(0.05) { vector(rng).entries } else { Vec::new() },
        prev: chain.prev.map_or_else(Bytes::new, |prev| Bytes::copy_from_slice(&prev)),
        user: user.to_string(),
        request,
        saw: ids(rng),
        aware: ids(rng),
        past: rng.chance(0.3).then(|| vector(rng)),
        rank: rng.below(9) as u32,
        deadline_ms: if rng.chance(0.3) { rng.bits() } else { 0 },
    };
    let wrong = rng.chance(0.1);
    if wrong {
        match rng.below(6) {
            0 => header.seq = rng.bits(),
            1 => header.seq += rng.below(1_000) as u64,
            2 => header.prev = Bytes::from_static(b"sixteen bytes...").slice(..rng.below(17)),
            3 => header.user = text(rng),
            4 => header.shard = rng.below(70_000) as u32,
            _ => header.stamp = rng.bits(),
        }
    }
    let bytes: Bytes = header.encode_to_vec().into();
    if !wrong && bytes.len() <= causeway_protocol::limits::HEADER_BYTES_MAX {
        *chain = Chain { seq, prev: Some(hash16("causeway/chain", &[&bytes])) };
    }
    Some(wire::Op { header: bytes, body })
}
