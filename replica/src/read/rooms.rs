//! Which rooms a user sees, and what they are called.

use std::ops::ControlFlow::{Break, Continue};

use bytes::Bytes;
use causeway_protocol::{RequestId, Role, RoomId, Stamp, UserId, Vector, limits, wire};

use super::Durables;
use super::rows::{broken, decode, get, head, is_durable};
use crate::key::{
    Key, Policy, Register, knock_of, knocks_range, pins_range, registers_range, retention_of, user_rooms_range,
};
use crate::view::{Cf, View, ViewError};

/// Pins that a read looks at: sites that are cut off from each other may accept more together than one does.
const PINS_READ_MAX: usize = 4 * limits::PINS_PER_ROOM_MAX;

/// Of those who ask to be let in, so many are told.
const KNOCKS_TOLD_MAX: usize = 50;

/// Some of a user's rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomList {
    /// By id, ascending.
    pub rooms: Vec<RoomId>,
    /// Where the next list starts (`after`); `None` if this is the last one.
    pub next: Option<RoomId>,
}

/// What a room shows of itself, as far as it is durable: a field whose last change is not durable yet is as if it had never
/// been set (an event will bring it).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomFace {
    /// Its name.
    pub name: String,
    /// The request that gave it; `None` while that is not durable.
    pub named: Option<RequestId>,
    /// Whether anyone may join.
    pub open: bool,
    /// Whether who joins is a reader.
    pub channel: bool,
    /// Of a direct room: its two users.
    pub pair: Option<(UserId, UserId)>,
    /// Topic, avatar, who may join and write, each with the request that set it.
    pub profile: wire::Profile,
}

impl RoomFace {
    /// What it lets whom do.
    pub fn policy(&self) -> Policy {
        let writers = Role::from_number(self.profile.writers).unwrap_or(Role::Owner);
        Policy { open: self.open, channel: self.channel, direct: self.pair.is_some(), writers }
    }

    /// Of a direct room: whom it is with, for one of its users.
    pub fn direct_with(&self, user: &UserId) -> Option<&UserId> {
        self.pair.as_ref().map(|(one, other)| if one == user { other } else { one })
    }
}

/// The rooms that a user is a member of, those after `after`, looking at no more than `rooms_max`. Leaves out
/// rooms whose membership is not durable yet, and those of shards that are not ready.
pub fn rooms_of(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    after: Option<RoomId>,
    rooms_max: usize,
) -> Result<RoomList, ViewError> {
    let mut list = rooms_applied(view, user, after, rooms_max)?;
    let mut rooms = Vec::with_capacity(list.rooms.len());
    for room in list.rooms {
        let shard = room.shard(shard_count);
        if durables.ready(shard) && is_member(view, &durables.durable(shard), &room, user)? {
            rooms.push(room);
        }
    }
    list.rooms = rooms;
    Ok(list)
}

/// As [`rooms_of`], but by what is applied: what is read of a room must wait until [`is_member`] says so.
pub(crate) fn rooms_applied(
    view: &dyn View,
    user: &UserId,
    after: Option<RoomId>,
    rooms_max: usize,
) -> Result<RoomList, ViewError> {
    let rooms = index_of(view, user, after, rooms_max)?;
    let next = rooms.last().copied().filter(|_| rooms.len() >= rooms_max);
    Ok(RoomList { rooms, next })
}

fn index_of(view: &dyn View, user: &UserId, after: Option<RoomId>, max: usize) -> Result<Vec<RoomId>, ViewError> {
    let (first, end) = user_rooms_range(user);
    let start = match after {
        // The least key above: the key with a zero byte behind.
        Some(room) => {
            let mut key = Key::UserRoom(crate::key::user_hash(user), room).encode().to_vec();
            key.push(0);
            key.into()
        }
        None => first,
    };
    let mut rooms = Vec::new();
    let mut failed = false;
    view.scan(Cf::Head, &start, &end, &mut |key, _| {
        let Some(Key::UserRoom(_, room)) = Key::decode(Cf::Head, key) else {
            failed = true;
            return Break(());
        };
        rooms.push(room);
        if rooms.len() < max { Continue(()) } else { Break(()) }
    })?;
    if failed { Err(broken(Cf::Head, "a key among a user's rooms does not decode")) } else { Ok(rooms) }
}

/// Whether a user is a member of a room, as far as that is durable.
pub fn is_member(view: &dyn View, durable: &Vector, room: &RoomId, user: &UserId) -> Result<bool, ViewError> {
    match get(view, &Key::Member(*room, user.clone()))? {
        Some(row) => show_durably(view, durable, room, &row),
        None => Ok(false),
    }
}

/// Whether an element is there, as far as that is durable.
pub(crate) fn show_durably(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    row: &wire::ElementRow,
) -> Result<bool, ViewError> {
    for tag in &row.tags {
        if is_durable(view, durable, room, Some(tag))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The stamp of the request that made a room; 0 where that is not durable.
pub(crate) fn made(view: &dyn View, durable: &Vector, room: &RoomId) -> Result<Stamp, ViewError> {
    let policy = register(view, durable, room, Register::Policy)?;
    Ok(Stamp(policy.and_then(|row| row.marker).map_or(0, |marker| marker.stamp)))
}

/// Name, policy and profile of a room.
pub fn room_face(view: &dyn View, durable: &Vector, room: &RoomId) -> Result<RoomFace, ViewError> {
    let (start, end) = registers_range(room);
    let mut rows = Vec::new();
    view.scan(Cf::Element, &start, &end, &mut |key, value| {
        rows.push((Key::decode(Cf::Element, key), Bytes::copy_from_slice(value)));
        Continue(())
    })?;
    let mut face = RoomFace {
        profile: wire::Profile { writers: Role::Member.number(), ..Default::default() },
        ..Default::default()
    };
    let (mut policy, mut open, mut writers) = (Policy::default(), None, None);
    for (key, row) in rows {
        let Some(Key::Register(_, register)) = key else {
            return Err(broken(Cf::Element, "a register's key does not decode"));
        };
        let row: wire::RegisterRow = decode(Cf::Element, row)?;
        // Whoever makes a direct room, it is the same: the marker may be of the one that is not durable yet.
        let is_certain = register == Register::Policy && Policy::from_value(&row.value).direct;
        if !is_certain && !is_durable(view, durable, room, row.marker.as_ref())? {
            continue;
        }
        let text = || String::from_utf8_lossy(&row.value).into_owned();
        let profile = &mut face.profile;
        match register {
            Register::Name => (face.name, face.named) = (text(), row.marker.as_ref().map(RequestId::from_wire)),
            Register::Policy => (policy, face.pair) = (Policy::from_value(&row.value), Policy::pair_of(&row.value)),
            Register::Topic => (profile.topic, profile.topic_by) = (text(), row.marker),
            Register::Avatar => (profile.avatar, profile.avatar_by) = (text(), row.marker),
            Register::Open => (open, profile.open_by) = (Some(row.value), row.marker),
            Register::Retention => {
                (profile.retention_ms, profile.retention_by) = (retention_of(&row.value), row.marker);
            }
            Register::Knock => (profile.knock, profile.knock_by) = (knock_of(&row.value), row.marker),
            Register::Writers => (writers, profile.writers_by) = (Some(row.value), row.marker),
        }
    }
    let Policy { open, channel, writers, .. } = policy.with_open(open.as_deref()).with_writers(writers.as_deref());
    (face.open, face.channel) = (open, channel);
    (face.profile.open, face.profile.writers) = (open, writers.number());
    Ok(face)
}

/// The pinned messages of a room, by place, as far as that is durable.
pub(crate) fn pins(view: &dyn View, durable: &Vector, room: &RoomId) -> Result<Vec<RequestId>, ViewError> {
    let (start, end) = pins_range(room);
    let mut rows = Vec::new();
    view.scan(Cf::Element, &start, &end, &mut |key, value| {
        rows.push((Key::decode(Cf::Element, key), Bytes::copy_from_slice(value)));
        if rows.len() < PINS_READ_MAX { Continue(()) } else { Break(()) }
    })?;
    let mut pins = Vec::new();
    for (key, row) in rows {
        let Some(Key::Pin(_, target)) = key else { return Err(broken(Cf::Element, "a pin's key does not decode")) };
        if show_durably(view, durable, room, &decode(Cf::Element, row)?)? {
            pins.push(target);
        }
    }
    Ok(pins)
}

/// Who asks to be let into a room, by name, as far as that is durable: the first ones.
pub(crate) fn knocks(view: &dyn View, durable: &Vector, room: &RoomId) -> Result<Vec<String>, ViewError> {
    let (start, end) = knocks_range(room);
    let mut rows = Vec::new();
    view.scan(Cf::Element, &start, &end, &mut |key, value| {
        rows.push((Key::decode(Cf::Element, key), Bytes::copy_from_slice(value)));
        if rows.len() < limits::KNOCKS_PER_ROOM_MAX { Continue(()) } else { Break(()) }
    })?;
    let mut users = Vec::new();
    for (key, row) in rows {
        let Some(Key::Knock(_, user)) = key else { return Err(broken(Cf::Element, "a knock's key does not decode")) };
        if users.len() < KNOCKS_TOLD_MAX && show_durably(view, durable, room, &decode(Cf::Element, row)?)? {
            users.push(user.as_str().to_owned());
        }
    }
    Ok(users)
}

fn register(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    register: Register,
) -> Result<Option<wire::RegisterRow>, ViewError> {
    let Some(row) = get::<wire::RegisterRow>(view, &Key::Register(*room, register))? else { return Ok(None) };
    Ok(is_durable(view, durable, room, row.marker.as_ref())?.then_some(row))
}

/// The highest stamp applied in a room: the measure by which newer rooms come first.
pub(crate) fn last_stamp(view: &dyn View, room: &RoomId) -> Result<Stamp, ViewError> {
    Ok(Stamp(head(view, room)?.map_or(0, |(head, _)| head.stamp_max)))
}
