//! Who may do what in a room, and what a revocation takes: the one place in the code. docs/RIGHTS.md has it in words.

use causeway_protocol::{Dot, RequestId, Role, Vector, wire, wire::request::Kind};

use crate::key::Policy;

/// The least role for a request of a member; what depends on a target comes on top, in [`check`].
fn required(kind: &Kind, Policy { channel, direct, writers, .. }: Policy) -> Role {
    match kind {
        Kind::Message(_) => writers.max(Role::Member),
        Kind::Edit(_) | Kind::React(_) => Role::Member,
        Kind::SetProfile(set) if sets_rules(set) && !direct => Role::Admin,
        Kind::Invite(_) | Kind::SetName(_) | Kind::SetProfile(_) if channel => Role::Moderator,
        Kind::Invite(_) | Kind::SetName(_) | Kind::SetProfile(_) => Role::Member,
        Kind::Decline(_) => Role::Moderator,
        Kind::Pin(_) | Kind::Unpin(_) if direct => Role::Member,
        Kind::Pin(_) | Kind::Unpin(_) => Role::Moderator,
        Kind::Kick(_) | Kind::Ban(_) | Kind::LiftBan(_) => Role::Moderator,
        Kind::Redact(redact) if !redact.author.is_empty() => Role::Moderator,
        Kind::SetRole(_) => Role::Admin,
        Kind::Create(_)
        | Kind::Join(_)
        | Kind::Leave(_)
        | Kind::Redact(_)
        | Kind::Unreact(_)
        | Kind::Knock(_)
        | Kind::Erase(_) => Role::Reader,
    }
}

/// Whether it changes more than how a room shows itself.
fn sets_rules(set: &wire::SetProfile) -> bool {
    set.open.is_some() || set.writers.is_some() || set.retention_ms.is_some() || set.knock.is_some()
}

/// Whether a direct room does without it.
fn is_of_groups(kind: &Kind) -> bool {
    match kind {
        Kind::Invite(_) | Kind::SetName(_) | Kind::SetRole(_) | Kind::Kick(_) | Kind::Ban(_) | Kind::LiftBan(_) => true,
        Kind::Knock(_) | Kind::Decline(_) => true,
        // Both say how long it keeps bodies, and nothing else.
        Kind::SetProfile(set) => *set != wire::SetProfile { retention_ms: set.retention_ms, ..Default::default() },
        Kind::Redact(redact) => !redact.author.is_empty(),
        Kind::Create(_)
        | Kind::Join(_)
        | Kind::Leave(_)
        | Kind::Message(_)
        | Kind::Edit(_)
        | Kind::React(_)
        | Kind::Unreact(_)
        | Kind::Pin(_)
        | Kind::Unpin(_)
        | Kind::Erase(_) => false,
    }
}

/// The other user whom a request is about.
pub fn target(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Invite(wire::Invite { user })
        | Kind::SetRole(wire::SetRole { user, .. })
        | Kind::Kick(wire::Kick { user, .. })
        | Kind::Ban(wire::Ban { user, .. })
        | Kind::LiftBan(wire::LiftBan { user })
        | Kind::Decline(wire::Decline { user }) => Some(user),
        Kind::Redact(wire::Redact { author, .. }) if !author.is_empty() => Some(author),
        _ => None,
    }
}

/// Whether somebody with a role may do this, to somebody with that role (`None`: not a member, or nobody). `given_by`: the
/// role of the one who gave the other the present one. The error says what is missing.
pub fn check(kind: &Kind, policy: Policy, role: Role, target: Option<Role>, given_by: u32) -> Result<(), String> {
    if policy.direct && is_of_groups(kind) {
        return Err("a direct room has two members and no roles, and takes nothing of this kind".to_owned());
    }
    let required = required(kind, policy);
    if role < required {
        return Err(format!("user is a {role} in the room: this takes a {required}"));
    }
    let below = target.is_none_or(|target| target < role);
    match kind {
        Kind::Kick(_) if target.is_none() => Err("user is not a member of the room".to_owned()),
        Kind::Kick(_) | Kind::Ban(_) | Kind::Redact(_) if !below => {
            Err("the role of user is not below yours".to_owned())
        }
        Kind::SetRole(set) => {
            let Some(new) = Role::from_number(set.role) else { return Err("role must be 1 to 5".to_owned()) };
            if target.is_none() {
                return Err("user is not a member of the room".to_owned());
            }
            if role < Role::Owner && !(below && new < role) {
                return Err("a role can be given below one's own only, to somebody below".to_owned());
            }
            if given_by > role.number() {
                return Err("a higher role gave user the present one".to_owned());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a revocation takes from its target: ops of these kinds are hidden, by [`hides`]. `floor`: the role that is
/// left; `None` after a kick or a ban.
fn takes(floor: Option<Role>, op: &Act<'_>) -> bool {
    match op.kind {
        // A demotion is a removal: it stands.
        Kind::SetRole(_) => !op.revokes,
        Kind::LiftBan(_) => true,
        Kind::Message(_) | Kind::Edit(_) | Kind::React(_) | Kind::Invite(_) | Kind::Pin(_) => {
            floor <= Some(Role::Reader)
        }
        Kind::Join(_) | Kind::Knock(_) => floor.is_none(),
        Kind::Create(_)
        | Kind::SetName(_)
        | Kind::SetProfile(_)
        | Kind::Unpin(_)
        | Kind::Decline(_)
        | Kind::Leave(_)
        | Kind::Redact(_)
        | Kind::Unreact(_)
        | Kind::Kick(_)
        | Kind::Ban(_)
        | Kind::Erase(_) => false,
    }
}

/// What of an op decides whether a revocation of its user hides it.
#[derive(Clone, Copy, Debug)]
pub struct Act<'a> {
    /// The request.
    pub id: RequestId,
    /// Which acceptance of it.
    pub dot: Dot,
    /// What it is.
    pub kind: &'a Kind,
    /// The revocations of its user that its accepting site knew.
    pub aware: &'a [RequestId],
    /// Whether it takes rights away itself.
    pub revokes: bool,
}

/// Whether a revocation hides an op of its target: a rule over the two alone, so that it comes out the same in
/// whichever order they are applied.
pub fn hides(by: &wire::Revocation, op: &Act<'_>) -> bool {
    let Some(revocation) = by.id.as_ref().map(RequestId::from_wire) else { return false };
    // An op whose past does not decode is refused before it gets here.
    let past = || Vector::from_wire_opt(by.past.as_ref()).unwrap_or_default();
    revocation != op.id
        && takes(Role::from_number(by.floor), op)
        && !op.aware.contains(&revocation)
        && !past().covers(&op.dot)
}

/// Whether an erasure takes the body of what its user wrote: all that was accepted without knowing of it, whenever that
/// was. As [`hides`], a rule over the two alone.
pub fn erases(by: &wire::Revocation, op: &Act<'_>) -> bool {
    let Some(erasure) = by.id.as_ref().map(RequestId::from_wire) else { return false };
    by.erases && erasure != op.id && !op.aware.contains(&erasure)
}

/// The erasures of a user in a room.
pub fn erasures_of(row: &wire::ElementRow) -> impl Iterator<Item = &wire::Revocation> {
    row.revocations.iter().filter(|by| by.erases)
}

/// A user's role, by the user's row; `None` where the user is not a member.
pub fn role_of(row: &wire::ElementRow, channel: bool) -> Option<Role> {
    if row.tags.is_empty() {
        return None;
    }
    let role = grant_of(row).and_then(|grant| Role::from_number(grant.role));
    Some(role.unwrap_or(if channel { Role::Reader } else { Role::Member }))
}

/// The role of the one who gave the present role; 0 where nobody did.
pub fn given_by(row: &wire::ElementRow) -> u32 {
    grant_of(row).map_or(0, |grant| grant.rank)
}

/// The given role that holds: of those given to a join that still holds, the one by the highest giver.
fn grant_of(row: &wire::ElementRow) -> Option<&wire::Grant> {
    let holds = |grant: &&wire::Grant| !grant.hidden && grant.saw.iter().any(|tag| row.tags.contains(tag));
    row.grants.iter().filter(holds).max_by_key(|grant| (grant.rank, grant.id.as_ref().map(RequestId::from_wire)))
}

/// The bans of a user that nobody has lifted.
pub fn bans_of(row: &wire::ElementRow) -> impl Iterator<Item = &wire::Revocation> {
    row.revocations.iter().filter(|by| by.ban && by.lifts.iter().all(|lift| lift.hidden))
}

/// Whether a ban has not ended by a site's clock.
pub fn ban_stands(ban: &wire::Revocation, wall_ms: u64) -> bool {
    ban.until_ms == 0 || ban.until_ms > wall_ms
}

/// What a banned user is told.
pub fn ban_words(ban: &wire::Revocation) -> String {
    match ban.until_ms {
        0 => "user is banned from the room until somebody lifts the ban".to_owned(),
        until_ms => format!("user is banned from the room until {until_ms} ms since the Unix epoch"),
    }
}

/// The words of every refusal to somebody who may not see a room: the same whether it exists or not.
pub const UNSEEN: &str = "room is not known here, or you may not see it: ask for an invitation, or try another site";

/// The ids of a user's revocations, each once, in order.
pub fn revocations_of(row: &wire::ElementRow) -> Vec<RequestId> {
    let ids = row.revocations.iter().filter_map(|by| by.id.as_ref().map(RequestId::from_wire));
    let mut ids: Vec<RequestId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
