//! Who is to be erased, and where it has not been asked for yet.
//!
//! A user's own room says that the user is erased; the rooms that the user was in are of other shards. So the host of each
//! site looks, and asks for an erasure in each room that lacks one, in the user's name and under the id that it has in the
//! user's own room: what sites ask for each by itself is one request.

use std::ops::ControlFlow::{Break, Continue};

use bytes::Bytes;
use causeway_protocol::{Message, RequestId, RoomId, ShardId, UserId, wire};

use super::Durables;
use super::rows::{broken, get, is_revocation_durable};
use crate::crdt;
use crate::key::{Key, erased_range, user_invited_range, user_was_range, was_since};
use crate::rights;
use crate::view::{Cf, View, ViewError};

/// Rooms that one look tells of: a further one tells of the next, when these have been asked for.
pub const TO_ERASE_MAX: usize = 256;

/// The users who are erased by what their own rooms say, of one shard: those above a name, at most `max`.
pub fn erased(view: &dyn View, shard: ShardId, after: Option<&UserId>, max: usize) -> Result<Vec<UserId>, ViewError> {
    let (mut start, end) = erased_range(shard);
    if let Some(after) = after {
        let mut above = Key::Erased(shard, after.clone()).encode().to_vec();
        above.push(0);
        start = above.into();
    }
    let mut keys = Vec::new();
    view.scan(Cf::Meta, &start, &end, &mut |key, _| {
        keys.push(Bytes::copy_from_slice(key));
        if keys.len() < max { Continue(()) } else { Break(()) }
    })?;
    let user = |key: Bytes| match Key::decode(Cf::Meta, &key) {
        Some(Key::Erased(_, user)) => Ok(user),
        _ => Err(broken(Cf::Meta, "an erased user's key does not decode")),
    };
    keys.into_iter().map(user).collect()
}

/// The last erasure of a user, durable, by what the user's own room says.
pub fn erasure_of(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
) -> Result<Option<RequestId>, ViewError> {
    let own = RoomId::of_user(user);
    let durable = durables.durable(own.shard(shard_count));
    let member: wire::ElementRow = get(view, &Key::Member(own, user.clone()))?.unwrap_or_default();
    let is_durable = |by: &&wire::Revocation| is_revocation_durable(&durable, by);
    let ids = rights::erasures_of(&member).filter(is_durable).filter_map(|by| by.id.as_ref().map(RequestId::from_wire));
    Ok(ids.max())
}

/// The rooms of ready shards in which an erasure of a user has not been asked for yet, as far as this site knows that the
/// user was there, or was invited, before it; at most [`TO_ERASE_MAX`]. Whoever comes back has rooms that it is not about.
pub fn to_erase(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    erasure: RequestId,
) -> Result<Vec<RoomId>, ViewError> {
    let mut rooms = Vec::new();
    for (start, end) in [user_was_range(user), user_invited_range(user)] {
        let mut failed = None;
        view.scan(Cf::Head, &start, &end, &mut |key, value| {
            let lacks = match Key::decode(Cf::Head, key) {
                Some(Key::UserWas(_, room)) => Ok((was_since(value) <= erasure.stamp).then_some(room)),
                Some(Key::UserInvited(_, room)) => is_invited_before(view, room, user, erasure),
                _ => Err(broken(Cf::Head, "a user's room does not decode")),
            };
            match lacks.and_then(|room| lacking(view, durables, shard_count, room, (user, erasure))) {
                Ok(Some(room)) if !rooms.contains(&room) => rooms.push(room),
                Ok(_) => {}
                Err(e) => failed = Some(e),
            }
            if failed.is_none() && rooms.len() < TO_ERASE_MAX { Continue(()) } else { Break(()) }
        })?;
        if let Some(e) = failed {
            return Err(e);
        }
    }
    Ok(rooms)
}

/// The room, if it is of a ready shard and an erasure was not asked for there.
fn lacking(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    room: Option<RoomId>,
    (user, erasure): (&UserId, RequestId),
) -> Result<Option<RoomId>, ViewError> {
    let Some(room) = room.filter(|room| durables.ready(room.shard(shard_count))) else { return Ok(None) };
    let member: wire::ElementRow = get(view, &Key::Member(room, user.clone()))?.unwrap_or_default();
    Ok((!rights::revocations_of(&member).contains(&erasure)).then_some(room))
}

fn is_invited_before(
    view: &dyn View,
    room: RoomId,
    user: &UserId,
    erasure: RequestId,
) -> Result<Option<RoomId>, ViewError> {
    let row: wire::ElementRow = get(view, &Key::Invited(room, user.clone()))?.unwrap_or_default();
    Ok(crdt::tags(&row).any(|id| id <= erasure).then_some(room))
}

/// The request that erases a user in a room.
pub fn erasing_request(room: RoomId, erasure: RequestId) -> Bytes {
    let kind = Some(wire::request::Kind::Erase(wire::Erase {}));
    let request = wire::Request { id: Some(erasure.to_wire()), room: room.to_wire(), body_hash: Bytes::new(), kind };
    request.encode_to_vec().into()
}
