//! The key schema: every row's key, in one enum. Tags are never reused.
//!
//! Numbers are big-endian, so that keys sort as their values do. Rows of a room start with the room's 16
//! bytes (the prefix that RocksDB's extractor takes), rows of a shard with its 2. STORAGE.md has the table.

use bytes::{BufMut, Bytes, BytesMut};
use causeway_protocol::{Dot, Hash16, Origin, RequestId, Role, RoomId, ShardId, Stamp, UserId, hash16, limits};

use crate::view::Cf;

/// Registers of a room: last writer wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Register {
    /// Its name, UTF-8.
    Name = 1,
    /// What its create request said of it, and what never changes: [`Policy`]; of a direct room the two users, too.
    Policy = 2,
    /// Its topic, UTF-8.
    Topic = 3,
    /// Its avatar, a reference that the application knows, UTF-8.
    Avatar = 4,
    /// Whether anyone may join, one byte: over what [`Policy`] says.
    Open = 5,
    /// The least role that writes messages, its number in one byte.
    Writers = 6,
    /// How long bodies of messages accepted from now on are kept, ms, 8 bytes; 0: for good.
    Retention = 7,
    /// Whether who may not join may ask to be let in, one byte.
    Knock = 8,
}

impl Register {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Name, Self::Policy, Self::Topic, Self::Avatar, Self::Open, Self::Writers, Self::Retention, Self::Knock];
}

/// What a room is: from its create request, and as its profile was changed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Anyone may join.
    pub open: bool,
    /// Who joins is a reader.
    pub channel: bool,
    /// It is the room of two users, who are members.
    pub direct: bool,
    /// The least role that writes messages.
    pub writers: Role,
}

impl Default for Policy {
    fn default() -> Self {
        Self { open: false, channel: false, direct: false, writers: Role::Member }
    }
}

impl Policy {
    /// As a register's value.
    pub fn to_byte(self) -> u8 {
        u8::from(self.open) | u8::from(self.channel) << 1 | u8::from(self.direct) << 2
    }

    /// Of a register's value.
    pub fn from_value(value: &[u8]) -> Self {
        let bits = value.first().copied().unwrap_or(0);
        Self { open: bits & 1 != 0, channel: bits & 2 != 0, direct: bits & 4 != 0, ..Self::default() }
    }

    /// With the value of [`Register::Open`], if it was written.
    pub fn with_open(self, value: Option<&[u8]>) -> Self {
        Self { open: value.map_or(self.open, |value| value.first().is_some_and(|byte| *byte != 0)), ..self }
    }

    /// With the value of [`Register::Writers`], if it was written.
    pub fn with_writers(self, value: Option<&[u8]>) -> Self {
        Self { writers: value.map_or(self.writers, writers_of), ..self }
    }

    /// A direct room's register: the byte, and the two users in their order with a zero byte, which no name has, between.
    pub fn direct_value(one: &UserId, other: &UserId) -> Bytes {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        let byte = Self { direct: true, ..Self::default() }.to_byte();
        [&[byte], first.as_str().as_bytes(), &[0], second.as_str().as_bytes()].concat().into()
    }

    /// The two users of a direct room, by its register.
    pub fn pair_of(value: &[u8]) -> Option<(UserId, UserId)> {
        let (byte, names) = value.split_first()?;
        if !Self::from_value(&[*byte]).direct {
            return None;
        }
        let (first, second) = std::str::from_utf8(names).ok()?.split_once('\0')?;
        Some((UserId::new(first).ok()?, UserId::new(second).ok()?))
    }
}

/// The least role that writes messages, of its register's value. What no role's number is leaves it to owners.
pub fn writers_of(value: &[u8]) -> Role {
    value.first().and_then(|byte| Role::from_number(u32::from(*byte))).unwrap_or(Role::Owner)
}

/// How long bodies are kept, of its register's value, ms; 0: for good.
pub fn retention_of(value: &[u8]) -> u64 {
    value.try_into().map(u64::from_be_bytes).unwrap_or(0)
}

/// Whether who may not join may ask to be let in, of its register's value.
pub fn knock_of(value: &[u8]) -> bool {
    value.first().is_some_and(|byte| *byte != 0)
}

/// Since when a user is known to have been in a room, of the value of a [`Key::UserWas`].
pub fn was_since(value: &[u8]) -> Stamp {
    Stamp(value.try_into().map(u64::from_be_bytes).unwrap_or(0))
}

/// A row's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// `op`: room, origin, seq -> encoded header.
    Op(RoomId, Dot),
    /// `request`: room, stamp, device -> `RequestRow`.
    Request(RoomId, RequestId),
    /// `log`: shard, origin, seq -> `LogRow`.
    Log(ShardId, Dot),
    /// `order`: shard, apply number -> `OrderRow`.
    Order(ShardId, u64),
    /// `element`, tag 1: a member -> `ElementRow`.
    Member(RoomId, UserId),
    /// `element`, tag 2: somebody invited -> `ElementRow`.
    Invited(RoomId, UserId),
    /// `element`, tag 3 -> `RegisterRow`.
    Register(RoomId, Register),
    /// `element`, tag 4: a reaction to a message, with its symbol, of a user -> `ElementRow`.
    Reaction(RoomId, RequestId, Box<str>, UserId),
    /// `element`, tag 5: a message's edit, by its own id, of a user -> `ElementRow`. Never goes.
    Edit(RoomId, RequestId, RequestId, UserId),
    /// `element`, tag 6: a message's redaction, for its author -> `ElementRow`. Never goes.
    Redaction(RoomId, RequestId, UserId),
    /// `element`, tag 7: a pinned message -> `ElementRow`.
    Pin(RoomId, RequestId),
    /// `element`, tag 8: somebody who asks to be let in -> `ElementRow`.
    Knock(RoomId, UserId),
    /// `head`, tag 1 -> `HeadRow`.
    Head(RoomId),
    /// `head`, tag 2: a room of a user, by the user's hash -> empty. Derived from `Member` rows.
    UserRoom(Hash16, RoomId),
    /// `head`, tag 3: a user who was given a role in a room -> empty. Derived from `Member` rows.
    RoleHolder(RoomId, UserId),
    /// `head`, tag 4: a room that a user is invited to, by the user's hash -> empty. Derived from `Invited` rows.
    UserInvited(Hash16, RoomId),
    /// `head`, tag 5: a room that a user made or joined at some time, by the user's hash -> stamp of the first
    /// such request, 8 bytes. Derived from `Request` rows; never goes.
    UserWas(Hash16, RoomId),
    /// `read`: room, user -> `ReadRow`.
    Read(RoomId, UserId),
    /// `meta`, tag 1 -> `ShardRow`.
    Shard(ShardId),
    /// `meta`, tag 2: a digest bucket -> `BucketRow`.
    Bucket(ShardId, u16),
    /// `meta`, tag 3: an entry of the applied vector -> `OriginRow`.
    Origin(ShardId, Origin),
    /// `meta`, tag 4: bodies that go once their redaction is durable: room, message, redacting user -> empty.
    Purge(ShardId, RoomId, RequestId, UserId),
    /// `meta`, tag 5: when the body of a request goes, ms since the Unix epoch -> empty. Derived from `Request` rows.
    Deadline(ShardId, u64, RoomId, RequestId),
    /// `meta`, tag 6: a user of whom bodies are being taken in a room -> `ErasingRow`.
    Erasing(ShardId, RoomId, UserId),
    /// `meta`, tag 7: a user who was erased, by what the user's own room says -> empty. Derived from its `Member` row.
    Erased(ShardId, UserId),
    /// `local`, tag 1 -> `IdentityRow`.
    Identity,
    /// `local`, tag 3: a row of a snapshot that is still arriving or being merged -> the row's value.
    Staged(ShardId, Cf, Bytes),
}

mod tag {
    pub const MEMBER: u8 = 1;
    pub const INVITED: u8 = 2;
    pub const REGISTER: u8 = 3;
    pub const REACTION: u8 = 4;
    pub const EDIT: u8 = 5;
    pub const REDACTION: u8 = 6;
    pub const PIN: u8 = 7;
    pub const KNOCK: u8 = 8;

    pub const HEAD: u8 = 1;
    pub const USER_ROOM: u8 = 2;
    pub const ROLE_HOLDER: u8 = 3;
    pub const USER_INVITED: u8 = 4;
    pub const USER_WAS: u8 = 5;

    pub const SHARD: u8 = 1;
    pub const BUCKET: u8 = 2;
    pub const ORIGIN: u8 = 3;
    pub const PURGE: u8 = 4;
    pub const DEADLINE: u8 = 5;
    pub const ERASING: u8 = 6;
    pub const ERASED: u8 = 7;

    pub const IDENTITY: u8 = 1;
    pub const STAGED: u8 = 3;
}

/// The hash under which a user's rooms are listed.
pub fn user_hash(user: &UserId) -> Hash16 {
    hash16("causeway/user", &[user.as_str().as_bytes()])
}

impl Key {
    /// The column family that it lives in.
    pub fn family(&self) -> Cf {
        match self {
            Key::Op(..) => Cf::Op,
            Key::Request(..) => Cf::Request,
            Key::Log(..) => Cf::Log,
            Key::Order(..) => Cf::Order,
            Key::Member(..)
            | Key::Invited(..)
            | Key::Register(..)
            | Key::Reaction(..)
            | Key::Edit(..)
            | Key::Redaction(..)
            | Key::Pin(..)
            | Key::Knock(..) => Cf::Element,
            Key::Head(_) | Key::UserRoom(..) | Key::RoleHolder(..) | Key::UserInvited(..) | Key::UserWas(..) => {
                Cf::Head
            }
            Key::Read(..) => Cf::Read,
            Key::Shard(_)
            | Key::Bucket(..)
            | Key::Origin(..)
            | Key::Purge(..)
            | Key::Deadline(..)
            | Key::Erasing(..)
            | Key::Erased(..) => Cf::Meta,
            Key::Identity | Key::Staged(..) => Cf::Local,
        }
    }

    /// The room of which it is an element or a register.
    pub fn element_room(&self) -> Option<RoomId> {
        match self {
            Key::Member(room, _)
            | Key::Invited(room, _)
            | Key::Register(room, _)
            | Key::Reaction(room, ..)
            | Key::Edit(room, ..)
            | Key::Redaction(room, ..)
            | Key::Pin(room, _)
            | Key::Knock(room, _) => Some(*room),
            _ => None,
        }
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        match self {
            Key::Op(room, dot) => {
                out.put_slice(&room.0);
                put_dot(&mut out, dot);
            }
            Key::Request(room, id) => {
                out.put_slice(&room.0);
                out.put_slice(&id.to_bytes());
            }
            Key::Log(shard, dot) => {
                out.put_u16(shard.0);
                put_dot(&mut out, dot);
            }
            Key::Order(shard, number) => {
                out.put_u16(shard.0);
                out.put_u64(*number);
            }
            Key::Member(room, user) => put_room(&mut out, room, tag::MEMBER, user.as_str().as_bytes()),
            Key::Invited(room, user) => put_room(&mut out, room, tag::INVITED, user.as_str().as_bytes()),
            Key::Knock(room, user) => put_room(&mut out, room, tag::KNOCK, user.as_str().as_bytes()),
            Key::Pin(room, target) => put_room(&mut out, room, tag::PIN, &target.to_bytes()),
            Key::Register(room, register) => put_room(&mut out, room, tag::REGISTER, &[*register as u8]),
            Key::Reaction(room, target, symbol, user) => {
                put_room(&mut out, room, tag::REACTION, &target.to_bytes());
                out.put_slice(symbol.as_bytes());
                // Neither symbols nor users have control characters.
                out.put_u8(0);
                out.put_slice(user.as_str().as_bytes());
            }
            Key::Edit(room, target, id, user) => {
                put_room(&mut out, room, tag::EDIT, &target.to_bytes());
                out.put_slice(&id.to_bytes());
                out.put_slice(user.as_str().as_bytes());
            }
            Key::Redaction(room, target, user) => {
                put_room(&mut out, room, tag::REDACTION, &target.to_bytes());
                out.put_slice(user.as_str().as_bytes());
            }
            Key::Head(room) => put_room(&mut out, room, tag::HEAD, &[]),
            Key::UserRoom(user, room) => put_room(&mut out, &RoomId(*user), tag::USER_ROOM, &room.0),
            Key::UserInvited(user, room) => put_room(&mut out, &RoomId(*user), tag::USER_INVITED, &room.0),
            Key::UserWas(user, room) => put_room(&mut out, &RoomId(*user), tag::USER_WAS, &room.0),
            Key::RoleHolder(room, user) => put_room(&mut out, room, tag::ROLE_HOLDER, user.as_str().as_bytes()),
            Key::Read(room, user) => {
                out.put_slice(&room.0);
                out.put_slice(user.as_str().as_bytes());
            }
            Key::Shard(shard) => {
                out.put_u16(shard.0);
                out.put_u8(tag::SHARD);
            }
            Key::Bucket(shard, bucket) => {
                out.put_u16(shard.0);
                out.put_u8(tag::BUCKET);
                out.put_u16(*bucket);
            }
            Key::Origin(shard, origin) => {
                out.put_u16(shard.0);
                out.put_u8(tag::ORIGIN);
                out.put_slice(&origin.to_bytes());
            }
            Key::Purge(shard, room, target, user) => {
                out.put_u16(shard.0);
                out.put_u8(tag::PURGE);
                out.put_slice(&room.0);
                out.put_slice(&target.to_bytes());
                out.put_slice(user.as_str().as_bytes());
            }
            Key::Deadline(shard, deadline_ms, room, id) => {
                out.put_u16(shard.0);
                out.put_u8(tag::DEADLINE);
                out.put_u64(*deadline_ms);
                out.put_slice(&room.0);
                out.put_slice(&id.to_bytes());
            }
            Key::Erasing(shard, room, user) => {
                out.put_u16(shard.0);
                out.put_u8(tag::ERASING);
                out.put_slice(&room.0);
                out.put_slice(user.as_str().as_bytes());
            }
            Key::Erased(shard, user) => {
                out.put_u16(shard.0);
                out.put_u8(tag::ERASED);
                out.put_slice(user.as_str().as_bytes());
            }
            Key::Identity => out.put_u8(tag::IDENTITY),
            Key::Staged(shard, cf, key) => {
                out.put_u8(tag::STAGED);
                out.put_u16(shard.0);
                out.put_u8(*cf as u8);
                out.put_slice(key);
            }
        }
        out.freeze()
    }

    /// Of its bytes; `None` where no key of the family has such bytes.
    pub fn decode(cf: Cf, b: &[u8]) -> Option<Key> {
        let user = |b: &[u8]| std::str::from_utf8(b).ok().and_then(|text| UserId::new(text).ok());
        Some(match cf {
            Cf::Op => {
                let (room, rest) = split_room(b)?;
                Key::Op(room, get_dot(rest)?)
            }
            Cf::Request => {
                let (room, rest) = split_room(b)?;
                Key::Request(room, RequestId::from_bytes(rest.try_into().ok()?))
            }
            Cf::Log => {
                let (shard, rest) = split_shard(b)?;
                Key::Log(shard, get_dot(rest)?)
            }
            Cf::Order => {
                let (shard, rest) = split_shard(b)?;
                Key::Order(shard, u64::from_be_bytes(rest.try_into().ok()?))
            }
            Cf::Element => {
                let (room, rest) = split_room(b)?;
                match rest.split_first()? {
                    (&tag::MEMBER, rest) => Key::Member(room, user(rest)?),
                    (&tag::KNOCK, rest) => Key::Knock(room, user(rest)?),
                    (&tag::INVITED, rest) => Key::Invited(room, user(rest)?),
                    (&tag::REACTION, rest) => {
                        let (target, rest) = split_id(rest)?;
                        let end = rest.iter().position(|byte| *byte == 0)?;
                        let symbol =
                            std::str::from_utf8(&rest[..end]).ok().filter(|symbol| limits::is_symbol(symbol))?;
                        Key::Reaction(room, target, symbol.into(), user(&rest[end + 1..])?)
                    }
                    (&tag::EDIT, rest) => {
                        let (target, rest) = split_id(rest)?;
                        let (id, rest) = split_id(rest)?;
                        Key::Edit(room, target, id, user(rest)?)
                    }
                    (&tag::REDACTION, rest) => {
                        let (target, rest) = split_id(rest)?;
                        Key::Redaction(room, target, user(rest)?)
                    }
                    (&tag::PIN, rest) => match split_id(rest)? {
                        (target, []) => Key::Pin(room, target),
                        _ => return None,
                    },
                    (&tag::REGISTER, &[number]) => {
                        Key::Register(room, Register::ALL.into_iter().find(|register| *register as u8 == number)?)
                    }
                    _ => return None,
                }
            }
            Cf::Head => {
                let (room, rest) = split_room(b)?;
                match rest.split_first()? {
                    (&tag::HEAD, []) => Key::Head(room),
                    (&tag::USER_ROOM, rest) => Key::UserRoom(room.0, RoomId(rest.try_into().ok()?)),
                    (&tag::USER_INVITED, rest) => Key::UserInvited(room.0, RoomId(rest.try_into().ok()?)),
                    (&tag::USER_WAS, rest) => Key::UserWas(room.0, RoomId(rest.try_into().ok()?)),
                    (&tag::ROLE_HOLDER, rest) => Key::RoleHolder(room, user(rest)?),
                    _ => return None,
                }
            }
            Cf::Read => {
                let (room, rest) = split_room(b)?;
                Key::Read(room, user(rest)?)
            }
            Cf::Meta => {
                let (shard, rest) = split_shard(b)?;
                match rest {
                    [tag::SHARD] => Key::Shard(shard),
                    [tag::BUCKET, hi, lo] => Key::Bucket(shard, u16::from_be_bytes([*hi, *lo])),
                    [tag::ORIGIN, rest @ ..] => Key::Origin(shard, Origin::from_bytes(rest.try_into().ok()?)),
                    [tag::PURGE, rest @ ..] => {
                        let (room, rest) = split_room(rest)?;
                        let (target, rest) = split_id(rest)?;
                        Key::Purge(shard, room, target, user(rest)?)
                    }
                    [tag::ERASING, rest @ ..] => {
                        let (room, rest) = split_room(rest)?;
                        Key::Erasing(shard, room, user(rest)?)
                    }
                    [tag::ERASED, rest @ ..] => Key::Erased(shard, user(rest)?),
                    [tag::DEADLINE, rest @ ..] => {
                        let (deadline_ms, rest) = rest.split_first_chunk::<8>()?;
                        let (room, rest) = split_room(rest)?;
                        match split_id(rest)? {
                            (id, []) => Key::Deadline(shard, u64::from_be_bytes(*deadline_ms), room, id),
                            _ => return None,
                        }
                    }
                    _ => return None,
                }
            }
            Cf::Local => match b.split_first()? {
                (&tag::IDENTITY, []) => Key::Identity,
                (&tag::STAGED, rest) => {
                    let (shard, rest) = split_shard(rest)?;
                    let (cf, key) = rest.split_first()?;
                    Key::Staged(shard, Cf::from_number((*cf).into())?, Bytes::copy_from_slice(key))
                }
                _ => return None,
            },
        })
    }
}

/// The range of all keys that start with these bytes: `[start, end)`.
pub fn prefix_range(prefix: &[u8]) -> (Bytes, Bytes) {
    let mut end = prefix.to_vec();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    match end.last_mut() {
        Some(last) => *last += 1,
        // Above every key: none is this long.
        None => end = vec![0xff; 300],
    }
    (Bytes::copy_from_slice(prefix), end.into())
}

/// All keys of a room's members.
pub fn members_range(room: &RoomId) -> (Bytes, Bytes) {
    let mut prefix = room.0.to_vec();
    prefix.push(tag::MEMBER);
    prefix_range(&prefix)
}

/// All registers of a room.
pub fn registers_range(room: &RoomId) -> (Bytes, Bytes) {
    let mut prefix = room.0.to_vec();
    prefix.push(tag::REGISTER);
    prefix_range(&prefix)
}

/// All pinned messages of a room.
pub fn pins_range(room: &RoomId) -> (Bytes, Bytes) {
    let mut prefix = room.0.to_vec();
    prefix.push(tag::PIN);
    prefix_range(&prefix)
}

/// All keys of users who were given a role in a room.
pub fn role_holders_range(room: &RoomId) -> (Bytes, Bytes) {
    let mut prefix = room.0.to_vec();
    prefix.push(tag::ROLE_HOLDER);
    prefix_range(&prefix)
}

/// All keys of who asks to be let into a room, by name.
pub fn knocks_range(room: &RoomId) -> (Bytes, Bytes) {
    let mut prefix = room.0.to_vec();
    prefix.push(tag::KNOCK);
    prefix_range(&prefix)
}

/// All keys of a message's reactions.
pub fn reactions_range(room: &RoomId, target: RequestId) -> (Bytes, Bytes) {
    of_target(room, tag::REACTION, target)
}

/// All keys of a message's edits, by their places.
pub fn edits_range(room: &RoomId, target: RequestId) -> (Bytes, Bytes) {
    of_target(room, tag::EDIT, target)
}

fn of_target(room: &RoomId, tag: u8, target: RequestId) -> (Bytes, Bytes) {
    let mut prefix = BytesMut::new();
    put_room(&mut prefix, room, tag, &target.to_bytes());
    prefix_range(&prefix)
}

/// All keys of a user's rooms.
pub fn user_rooms_range(user: &UserId) -> (Bytes, Bytes) {
    let mut prefix = user_hash(user).to_vec();
    prefix.push(tag::USER_ROOM);
    prefix_range(&prefix)
}

/// All keys of rooms that a user is invited to.
pub fn user_invited_range(user: &UserId) -> (Bytes, Bytes) {
    let mut prefix = user_hash(user).to_vec();
    prefix.push(tag::USER_INVITED);
    prefix_range(&prefix)
}

/// All keys of rooms that a user made or joined at some time.
pub fn user_was_range(user: &UserId) -> (Bytes, Bytes) {
    let mut prefix = user_hash(user).to_vec();
    prefix.push(tag::USER_WAS);
    prefix_range(&prefix)
}

/// All keys of a shard's rooms, in every family whose keys start with the room.
pub fn shard_rooms_range(shard: ShardId, shard_count: u16) -> (Bytes, Bytes) {
    // The least top 16 bits whose room falls into the shard: see `RoomId::shard`.
    let first = |shard: u32| (shard << 16).div_ceil(u32::from(shard_count));
    let start = first(u32::from(shard.0));
    let end = first(u32::from(shard.0) + 1);
    let bound = |top: u32| match u16::try_from(top) {
        Ok(top) => Bytes::copy_from_slice(&top.to_be_bytes()),
        Err(_) => prefix_range(&[]).1,
    };
    (bound(start), bound(end))
}

/// All entries of a shard's applied vector.
pub fn origins_range(shard: ShardId) -> (Bytes, Bytes) {
    let mut prefix = shard.0.to_be_bytes().to_vec();
    prefix.push(tag::ORIGIN);
    prefix_range(&prefix)
}

/// All purges that a shard has still to do.
pub fn purges_range(shard: ShardId) -> (Bytes, Bytes) {
    let mut prefix = shard.0.to_be_bytes().to_vec();
    prefix.push(tag::PURGE);
    prefix_range(&prefix)
}

/// All bodies of a shard that will go, by when.
pub fn deadlines_range(shard: ShardId) -> (Bytes, Bytes) {
    let mut prefix = shard.0.to_be_bytes().to_vec();
    prefix.push(tag::DEADLINE);
    prefix_range(&prefix)
}

/// All users of whom a shard is taking bodies in a room.
pub fn erasing_range(shard: ShardId) -> (Bytes, Bytes) {
    let mut prefix = shard.0.to_be_bytes().to_vec();
    prefix.push(tag::ERASING);
    prefix_range(&prefix)
}

/// All users who were erased and whose own rooms are of a shard.
pub fn erased_range(shard: ShardId) -> (Bytes, Bytes) {
    let mut prefix = shard.0.to_be_bytes().to_vec();
    prefix.push(tag::ERASED);
    prefix_range(&prefix)
}

/// All digest buckets of a shard.
pub fn buckets_range(shard: ShardId) -> (Bytes, Bytes) {
    let mut prefix = shard.0.to_be_bytes().to_vec();
    prefix.push(tag::BUCKET);
    prefix_range(&prefix)
}

/// All staged rows of a shard's family.
pub fn staged_range(shard: ShardId, cf: Cf) -> (Bytes, Bytes) {
    prefix_range(&Key::Staged(shard, cf, Bytes::new()).encode())
}

fn put_dot(out: &mut BytesMut, dot: &Dot) {
    out.put_slice(&dot.origin.to_bytes());
    out.put_u64(dot.seq);
}

fn get_dot(b: &[u8]) -> Option<Dot> {
    let (origin, seq) = b.split_first_chunk::<{ Origin::LEN }>()?;
    Some(Dot { origin: Origin::from_bytes(*origin), seq: u64::from_be_bytes(seq.try_into().ok()?) })
}

fn put_room(out: &mut BytesMut, room: &RoomId, tag: u8, rest: &[u8]) {
    out.put_slice(&room.0);
    out.put_u8(tag);
    out.put_slice(rest);
}

fn split_room(b: &[u8]) -> Option<(RoomId, &[u8])> {
    b.split_first_chunk::<{ RoomId::LEN }>().map(|(room, rest)| (RoomId(*room), rest))
}

fn split_id(b: &[u8]) -> Option<(RequestId, &[u8])> {
    b.split_first_chunk::<16>().map(|(id, rest)| (RequestId::from_bytes(*id), rest))
}

fn split_shard(b: &[u8]) -> Option<(ShardId, &[u8])> {
    b.split_first_chunk::<2>().map(|(shard, rest)| (ShardId(u16::from_be_bytes(*shard)), rest))
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
