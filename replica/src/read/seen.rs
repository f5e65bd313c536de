//! What somebody who is not a member of a room may know of it.

use causeway_protocol::{Dot, RoomId, UserId, Vector, wire};

use super::rooms::{room_face, show_durably};
use super::rows::get;
use crate::key::Key;
use crate::rights;
use crate::view::{View, ViewError};

/// Why somebody who is not a member may not read a room, where they may know that it exists: it is open, or lets
/// people ask to be let in; they are invited, or were banned from it. `None`: for them there is no such room. As far as that is durable.
pub fn seen(view: &dyn View, durable: &Vector, room: &RoomId, user: &UserId) -> Result<Option<String>, ViewError> {
    let member: wire::ElementRow = get(view, &Key::Member(*room, user.clone()))?.unwrap_or_default();
    let is_told = |ban: &&wire::Revocation| {
        ban.dot.as_ref().and_then(|dot| Dot::from_wire(dot).ok()).is_some_and(|dot| durable.covers(&dot))
    };
    // Here is no clock: a ban that has ended tells its end.
    if let Some(ban) = rights::bans_of(&member).find(is_told) {
        return Ok(Some(rights::ban_words(ban)));
    }
    let invited: wire::ElementRow = get(view, &Key::Invited(*room, user.clone()))?.unwrap_or_default();
    let face = room_face(view, durable, room)?;
    if face.open || show_durably(view, durable, room, &invited)? {
        return Ok(Some("you are not a member of the room: join it".to_owned()));
    }
    Ok(face.profile.knock.then(|| "you are not a member of the room: ask to be let in".to_owned()))
}
