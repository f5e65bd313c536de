//! Which rooms a user is invited to.

use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{RequestId, RoomId, UserId, Vector, limits, wire};

use super::Durables;
use super::rooms::room_face;
use super::rows::{broken, get, is_durable};
use crate::key::{Key, user_invited_range};
use crate::rights;
use crate::view::{Cf, View, ViewError};

/// Invitations that a read looks at: sites that are cut off from each other may accept more together than one does.
const READ_MAX: usize = 2 * limits::INVITATIONS_PER_USER_MAX;

/// The rooms that a user is invited to and not in, as far as that is durable, by their ids; those of shards that are not
/// ready are left out.
pub fn invitations(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
) -> Result<Vec<wire::Invitation>, ViewError> {
    let (start, end) = user_invited_range(user);
    let mut keys = Vec::new();
    view.scan(Cf::Head, &start, &end, &mut |key, _| {
        keys.push(Key::decode(Cf::Head, key));
        if keys.len() < READ_MAX { Continue(()) } else { Break(()) }
    })?;
    let mut found = Vec::new();
    for key in keys {
        let Some(Key::UserInvited(_, room)) = key else {
            return Err(broken(Cf::Head, "a key among a user's invitations does not decode"));
        };
        let shard = room.shard(shard_count);
        if durables.ready(shard) {
            found.extend(invitation(view, &durables.durable(shard), room, user)?);
        }
    }
    Ok(found)
}

fn invitation(
    view: &dyn View,
    durable: &Vector,
    room: RoomId,
    user: &UserId,
) -> Result<Option<wire::Invitation>, ViewError> {
    let member: wire::ElementRow = get(view, &Key::Member(room, user.clone()))?.unwrap_or_default();
    // Here is no clock: a ban with an end may have ended.
    if !member.tags.is_empty() || rights::bans_of(&member).any(|ban| ban.until_ms == 0) {
        return Ok(None);
    }
    let invited: wire::ElementRow = get(view, &Key::Invited(room, user.clone()))?.unwrap_or_default();
    let mut last: Option<&wire::RequestId> = None;
    for tag in &invited.tags {
        let is_later = last.is_none_or(|last| RequestId::from_wire(last) < RequestId::from_wire(tag));
        if is_later && is_durable(view, durable, &room, Some(tag))? {
            last = Some(tag);
        }
    }
    let Some(id) = last.map(RequestId::from_wire) else { return Ok(None) };
    let row: wire::RequestRow = get(view, &Key::Request(room, id))?.unwrap_or_default();
    let face = room_face(view, durable, &room)?;
    Ok(Some(wire::Invitation {
        room: room.to_wire(),
        name: face.name,
        channel: face.channel,
        by: row.user,
        id: Some(id.to_wire()),
    }))
}
