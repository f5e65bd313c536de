//! Who may be told what of typing and presence: nothing of them is stored.

use causeway_protocol::{Code, RoomId, UserId, limits, wire, wire::request::Kind};

use super::Durables;
use super::admit::{Reading, admit};
use super::rooms::{is_member, room_face, show_durably};
use super::rows::get;
use crate::key::Key;
use crate::rights;
use crate::view::{View, ViewError};

/// Whether a user may say in a room that they are typing: whoever may write a message there, by what is durable.
pub fn may_type(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    wall_ms: u64,
    room: &RoomId,
    user: &UserId,
) -> Result<bool, ViewError> {
    let shard = room.shard(shard_count);
    if !durables.ready(shard) {
        return Ok(false);
    }
    let durable = durables.durable(shard);
    let Some(row) = get::<wire::ElementRow>(view, &Key::Member(*room, user.clone()))? else { return Ok(false) };
    let is_banned = rights::bans_of(&row).any(|ban| rights::ban_stands(ban, wall_ms));
    if is_banned || !show_durably(view, &durable, room, &row)? {
        return Ok(false);
    }
    let policy = room_face(view, &durable, room)?.policy();
    let message = Kind::Message(wire::Message::default());
    let role = rights::role_of(&row, policy.channel);
    Ok(role.is_some_and(|role| rights::check(&message, policy, role, None, 0).is_ok()))
}

/// Whether members of a room are there, for one of them; `seen` says it of anybody, as in `wire::Presence`. A refusal is
/// a page with a code.
pub fn presence(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    request: &wire::PresenceRequest,
    seen: &dyn Fn(&UserId) -> u32,
) -> Result<wire::PresencePage, ViewError> {
    let refusal =
        |(code, detail): (Code, String)| Ok(wire::PresencePage { code: code.number(), detail, ..Default::default() });
    let (room, durable) = match admit(&Reading { view, durables, shard_count, user }, &request.room, 1)? {
        Ok(admitted) => admitted,
        Err(refused) => return refusal(refused),
    };
    if !(1..=limits::PRESENCE_USERS_MAX).contains(&request.users.len()) {
        return refusal((Code::Malformed, "users must be 1 to 100".to_owned()));
    }
    let mut users = Vec::with_capacity(request.users.len());
    for name in &request.users {
        let other = match UserId::new(name) {
            Ok(other) => other,
            Err(e) => return refusal((Code::Malformed, e.to_string())),
        };
        if is_member(view, &durable, &room, &other)? {
            users.push(wire::Presence { user: name.clone(), seen: seen(&other) });
        }
    }
    Ok(wire::PresencePage { users, ..Default::default() })
}
