//! How far users have read: what is unread, and who has read what.

use causeway_protocol::{Marker, RoomId, UnreadFlag, UserId, Vector, limits, wire};

use super::merge::{Merge, OpAt};
use super::rows::{Rows, broken, covered, decode, get, shows};
use crate::key::Key;
use crate::view::{Cf, View, ViewError};

/// Where it stops if hardly any op beyond the marker is a message, ops.
const UNREAD_OPS_MAX: u64 = 2_000;

/// What a user has not read of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Messages by others that the user's read marker does not cover, capped at [`limits::UNREAD_MAX`].
    pub messages: u64,
    /// Of these, those that name the user.
    pub mentions: u64,
}

/// Counts what a user has not read of a room.
pub fn count(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    user: &UserId,
    marker: &Vector,
) -> Result<Unread, ViewError> {
    // A second dot of a message counted already is covered by what was passed.
    let mut passed = marker.clone();
    let rows = Rows::of(view, durable, room);
    let mut merge = Merge::new(view, room, durable, marker)?;
    let (mut unread, mut ops) = (Unread::default(), 0);
    while unread.messages < limits::UNREAD_MAX
        && ops < UNREAD_OPS_MAX
        && let Some(OpAt { dot, id, .. }) = merge.next()?
    {
        ops += 1;
        let row = rows.get(id)?;
        if row.user != user.as_str()
            && shows(&row, dot)
            && !covered(&row, &passed)?
            && let Some(message) = message(&row)?
        {
            unread.messages += 1;
            unread.mentions += u64::from(message.mentions.iter().any(|name| name == user.as_str()));
        }
        passed.raise(dot);
    }
    Ok(unread)
}

/// What a user has read of a room, and whether the user has marked it unread.
pub fn marker(view: &dyn View, room: &RoomId, user: &UserId) -> Result<Marker, ViewError> {
    let row: wire::ReadRow = get(view, &Key::Read(*room, user.clone()))?.unwrap_or_default();
    let read = Vector::from_wire_opt(row.vector.as_ref()).map_err(|e| broken(Cf::Read, e))?;
    let flag = UnreadFlag::from_wire_opt(row.flag.as_ref()).map_err(|e| broken(Cf::Read, e))?;
    Ok(Marker { read, flag })
}

fn message(row: &wire::RequestRow) -> Result<Option<wire::Message>, ViewError> {
    let request: wire::Request = decode(Cf::Request, row.request.clone())?;
    Ok(match request.kind {
        Some(wire::request::Kind::Message(message)) => Some(message),
        _ => None,
    })
}
