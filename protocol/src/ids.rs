//! Identities. All of them order as their bytes do, so that a key built of them sorts like the values.

use std::fmt;

use crate::{Bytes, DecodeError, Stamp, limits, wire};

/// The first 16 bytes of a BLAKE3 hash.
pub type Hash16 = [u8; 16];

/// Hashes length-prefixed parts, so that no two lists of parts hash the same input.
pub fn hash16(domain: &str, parts: &[&[u8]]) -> Hash16 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(domain.len() as u64).to_le_bytes());
    hasher.update(domain.as_bytes());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    out
}

/// 16 bytes of 32 hexadecimal digits.
fn parse_hex(field: &'static str, text: &str) -> Result<Hash16, DecodeError> {
    if text.len() != 32 {
        return Err(DecodeError::Length { field, want: 32, got: text.len() });
    }
    // The parser alone would take a sign.
    Some(text)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .and_then(|text| u128::from_str_radix(text, 16).ok())
        .map(u128::to_be_bytes)
        .ok_or(DecodeError::Range { field })
}

/// A data centre: a small number, 1 to 65535.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u16);

impl fmt::Debug for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}
impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fixed hash partition of rooms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

/// Who wrote an op: one start of one relay process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The site.
    pub site: SiteId,
    /// The node in the site.
    pub node: u16,
    /// Random, new at every process start. Never reused: a reused one would reissue sequence numbers.
    pub incarnation: u64,
}

impl Origin {
    /// Bytes of the key form.
    pub const LEN: usize = 12;

    /// Big-endian site, node, incarnation.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..2].copy_from_slice(&self.site.0.to_be_bytes());
        out[2..4].copy_from_slice(&self.node.to_be_bytes());
        out[4..].copy_from_slice(&self.incarnation.to_be_bytes());
        out
    }

    /// Of [`Origin::to_bytes`].
    pub fn from_bytes(b: [u8; Self::LEN]) -> Self {
        let [s0, s1, n0, n1, inc @ ..] = b;
        Self {
            site: SiteId(u16::from_be_bytes([s0, s1])),
            node: u16::from_be_bytes([n0, n1]),
            incarnation: u64::from_be_bytes(inc),
        }
    }

    /// The wire form.
    pub fn to_wire(self) -> wire::Origin {
        wire::Origin { site: self.site.0.into(), node: self.node.into(), incarnation: self.incarnation }
    }

    /// Checks the ranges; site 0 does not exist.
    pub fn from_wire(w: &wire::Origin) -> Result<Self, DecodeError> {
        let site = u16::try_from(w.site).ok().filter(|s| *s != 0).ok_or(DecodeError::Range { field: "origin.site" })?;
        let node = u16::try_from(w.node).map_err(|_| DecodeError::Range { field: "origin.node" })?;
        Ok(Self { site: SiteId(site), node, incarnation: w.incarnation })
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}n{}:{:04x}", self.site.0, self.node, self.incarnation & 0xffff)
    }
}

/// One acceptance of a request by an origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Who accepted.
    pub origin: Origin,
    /// Gapless per shard and origin, from 1.
    pub seq: u64,
}

impl Dot {
    /// The wire form.
    pub fn to_wire(self) -> wire::Dot {
        wire::Dot { origin: Some(self.origin.to_wire()), seq: self.seq }
    }

    /// A seq of 0 does not exist, nor does one beyond [`limits::SEQ_MAX`].
    pub fn from_wire(w: &wire::Dot) -> Result<Self, DecodeError> {
        let origin = w.origin.as_ref().ok_or(DecodeError::Missing { field: "dot.origin" })?;
        if w.seq == 0 || w.seq > limits::SEQ_MAX {
            return Err(DecodeError::Range { field: "dot.seq" });
        }
        Ok(Self { origin: Origin::from_wire(origin)?, seq: w.seq })
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.origin, self.seq)
    }
}

/// One start of the SDK for one user. Sites check it against the user without any state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u64);

impl DeviceId {
    /// The device of a user's SDK start.
    pub fn derive(user: &UserId, nonce: u64) -> Self {
        let hash = hash16("causeway/device", &[user.as_str().as_bytes(), &nonce.to_be_bytes()]);
        let [a, b, c, d, e, f, g, h, ..] = hash;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{:04x}", self.0 & 0xffff)
    }
}

/// A request's identity, dedup key and place in its room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// When it was minted, by the client's clock.
    pub stamp: Stamp,
    /// Who minted it.
    pub device: DeviceId,
}

impl RequestId {
    /// Bytes of the key form.
    pub const LEN: usize = 16;
    /// Below every id.
    pub const MIN: Self = Self { stamp: Stamp(0), device: DeviceId(0) };
    /// Above every id.
    pub const MAX: Self = Self { stamp: Stamp(u64::MAX), device: DeviceId(u64::MAX) };

    /// Big-endian stamp, device: bytes sort as places do.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&self.stamp.0.to_be_bytes());
        out[8..].copy_from_slice(&self.device.0.to_be_bytes());
        out
    }

    /// Of [`RequestId::to_bytes`].
    pub fn from_bytes(b: [u8; Self::LEN]) -> Self {
        let both = u128::from_be_bytes(b);
        Self { stamp: Stamp((both >> 64) as u64), device: DeviceId(both as u64) }
    }

    /// The wire form.
    pub fn to_wire(self) -> wire::RequestId {
        wire::RequestId { stamp: self.stamp.0, device: self.device.0 }
    }

    /// Every pair of numbers is an id.
    pub fn from_wire(w: &wire::RequestId) -> Self {
        Self { stamp: Stamp(w.stamp), device: DeviceId(w.device) }
    }

    /// Of 32 hexadecimal digits, as `Display` writes them.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        parse_hex("request id", text).map(Self::from_bytes)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.to_bytes()))
    }
}
impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{:?}", self.stamp, self.device)
    }
}

/// A room. A group room's id is minted by its creator, a direct room's follows from its two users.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub Hash16);

impl RoomId {
    /// Bytes of the key form.
    pub const LEN: usize = 16;

    /// The room that a create request makes: only that user's request of that id can make it.
    pub fn derive(creator: &UserId, create: RequestId) -> Self {
        Self(hash16("causeway/room/group", &[creator.as_str().as_bytes(), &create.to_bytes()]))
    }

    /// The direct room of two users: the same for both, at every site.
    pub fn direct(one: &UserId, other: &UserId) -> Self {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        Self(hash16("causeway/room/direct", &[first.as_str().as_bytes(), second.as_str().as_bytes()]))
    }

    /// What a user has apart from any room: devices, erasure. Nobody makes it, nobody is its member, and only the user's own
    /// requests are taken.
    pub fn of_user(user: &UserId) -> Self {
        Self(hash16("causeway/room/user", &[user.as_str().as_bytes()]))
    }

    /// Its shard. The id is a hash already; each shard is a contiguous range of ids, so that its rows are a
    /// range of keys.
    pub fn shard(&self, shard_count: u16) -> ShardId {
        let top = u32::from(u16::from_be_bytes([self.0[0], self.0[1]]));
        ShardId(((top * u32::from(shard_count)) >> 16) as u16)
    }

    /// From the wire: 16 bytes.
    pub fn from_wire(b: &[u8]) -> Result<Self, DecodeError> {
        b.try_into().map(Self).map_err(|_| DecodeError::Length { field: "room", want: Self::LEN, got: b.len() })
    }

    /// The wire form.
    pub fn to_wire(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    /// Of 32 hexadecimal digits, as `Display` writes them.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        parse_hex("room", text).map(Self)
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}
impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2])
    }
}

/// A user's name in the cluster: 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(std::sync::Arc<str>);

impl UserId {
    /// Checks length and characters.
    pub fn new(text: &str) -> Result<Self, DecodeError> {
        if text.is_empty() || text.len() > limits::USER_BYTES_MAX {
            return Err(DecodeError::TooLong { field: "user", max: limits::USER_BYTES_MAX, got: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(DecodeError::Range { field: "user" });
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
