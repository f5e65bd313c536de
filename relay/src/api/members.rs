//! Members of a room: invited, given roles, kicked, banned.

use axum::response::Response;
use causeway_protocol::{Role, wire, wire::request::Kind};
use serde::Deserialize;

use super::extract::{Asked, Body, MaybeBody, Place, Room, User};
use super::problem::Problem;
use super::submit::Change;

/// Somebody in a room.
#[derive(Deserialize)]
pub struct Member {
    room: Room,
    user: User,
}

impl Member {
    fn name(&self) -> String {
        self.user.0.as_str().to_owned()
    }
}

/// A role, by its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    role: String,
}

/// Why somebody is kicked.
#[derive(Deserialize)]
pub struct Reason {
    #[serde(default)]
    reason: String,
}

/// Why somebody is banned, and how long.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct NewBan {
    reason: Option<String>,
    /// Ms since the Unix epoch.
    until: Option<u64>,
}

/// Invites somebody.
pub async fn invite(change: Change, Place(member): Place<Member>) -> Result<Response, Problem> {
    change.carry_out(member.room.0, Kind::Invite(wire::Invite { user: member.name() }), None).await
}

/// Answers somebody who asks to be let in with no.
pub async fn decline(change: Change, Place(member): Place<Member>) -> Result<Response, Problem> {
    change.carry_out(member.room.0, Kind::Decline(wire::Decline { user: member.name() }), None).await
}

/// Gives a member a role.
pub async fn set_role(
    change: Change,
    Place(member): Place<Member>,
    Body(new): Body<NewRole>,
) -> Result<Response, Problem> {
    let role: Role = new.role.parse().map_err(|e| Problem::malformed("role", format!("role: {e}")))?;
    let set = wire::SetRole { user: member.name(), role: role.number() };
    change.carry_out(member.room.0, Kind::SetRole(set), None).await
}

/// Kicks a member.
pub async fn kick(
    change: Change,
    Place(member): Place<Member>,
    Asked(Reason { reason }): Asked<Reason>,
) -> Result<Response, Problem> {
    change.carry_out(member.room.0, Kind::Kick(wire::Kick { user: member.name(), reason }), None).await
}

/// Bans somebody.
pub async fn ban(
    change: Change,
    Place(member): Place<Member>,
    MaybeBody(new): MaybeBody<NewBan>,
) -> Result<Response, Problem> {
    if new.until == Some(0) {
        return Err(Problem::malformed("until", "until must be later than 0: leave it out for a ban without an end"));
    }
    let (reason, until_ms) = (new.reason.unwrap_or_default(), new.until.unwrap_or(0));
    change.carry_out(member.room.0, Kind::Ban(wire::Ban { user: member.name(), reason, until_ms }), None).await
}

/// Lifts a ban.
pub async fn lift_ban(change: Change, Place(member): Place<Member>) -> Result<Response, Problem> {
    change.carry_out(member.room.0, Kind::LiftBan(wire::LiftBan { user: member.name() }), None).await
}
