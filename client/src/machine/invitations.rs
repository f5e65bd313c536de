//! Rooms that the user is invited to.

use causeway_protocol::{DecodeError, RequestId, RoomId, limits, wire};

/// A room that the user is invited to, and not in: joining it accepts, leaving it declines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The room.
    pub room: RoomId,
    /// Its name, as the site told it with the invitation.
    pub name: String,
    /// Whether who joins is a reader.
    pub channel: bool,
    /// Who invites.
    pub by: String,
    /// The invitation itself; its stamp says when.
    pub id: RequestId,
}

/// What a site told, the newest first.
pub(super) fn of_wire(told: &wire::Invitations) -> Result<Vec<Invitation>, DecodeError> {
    let (got, max) = (told.invitations.len(), 2 * limits::INVITATIONS_PER_USER_MAX);
    if got > max {
        return Err(DecodeError::TooLong { field: "invitations", max, got });
    }
    let all: Result<Vec<Invitation>, DecodeError> = told.invitations.iter().map(invitation).collect();
    let mut all = all?;
    all.sort_by_key(|invitation| std::cmp::Reverse(invitation.id));
    Ok(all)
}

fn invitation(told: &wire::Invitation) -> Result<Invitation, DecodeError> {
    let id = told.id.as_ref().ok_or(DecodeError::Missing { field: "invitation.id" })?;
    Ok(Invitation {
        room: RoomId::from_wire(&told.room)?,
        name: told.name.clone(),
        channel: told.channel,
        by: told.by.clone(),
        id: RequestId::from_wire(id),
    })
}

#[cfg(test)]
#[path = "invitations_tests.rs"]
mod tests;
