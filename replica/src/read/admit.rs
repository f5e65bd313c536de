//! Who may read what of a room.

use std::sync::Arc;

use causeway_protocol::{Code, RoomId, UserId, Vector, limits};

use super::Durables;
use super::rooms::is_member;
use super::seen::seen;
use crate::rights;
use crate::view::{View, ViewError};

/// Where something is read, and for whom.
pub struct Reading<'a> {
    pub view: &'a dyn View,
    pub durables: &'a dyn Durables,
    pub shard_count: u16,
    pub user: &'a UserId,
}

/// Why somebody may not read: a code, and words for the client.
pub type Refusal = (Code, String);

/// The room and its shard's durable vector where the user may read it and may ask for so much; else the refusal.
pub fn admit(
    reading: &Reading<'_>,
    room: &[u8],
    limit: u32,
) -> Result<Result<(RoomId, Arc<Vector>), Refusal>, ViewError> {
    let refuse = |code, detail: &str| Ok(Err((code, detail.to_owned())));
    let room = match RoomId::from_wire(room) {
        Ok(room) => room,
        Err(e) => return refuse(Code::Malformed, &e.to_string()),
    };
    if !(1..=limits::HISTORY_PAGE_MAX).contains(&limit) {
        return refuse(Code::Malformed, "limit must be 1 to 500");
    }
    let shard = room.shard(reading.shard_count);
    if !reading.durables.ready(shard) {
        return refuse(Code::NotReady, "the site is catching up: ask another one, or later");
    }
    let durable = reading.durables.durable(shard);
    if !is_member(reading.view, &durable, &room, reading.user)? {
        return match seen(reading.view, &durable, &room, reading.user)? {
            Some(words) => refuse(Code::NotPermitted, &words),
            None => refuse(Code::UnknownRoom, rights::UNSEEN),
        };
    }
    Ok(Ok((room, durable)))
}
