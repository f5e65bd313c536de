//! Whether a member may do what a request wants: `rights`, asked with what this site knows.

use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{Bytes, Message, RequestId, Role, RoomId, UserId, limits, wire, wire::request::Kind};

use super::Shard;
use super::revoke::member_row;
use super::tx::Tx;
use crate::crdt;
use crate::key::{
    Key, Policy, Register, knock_of, knocks_range, members_range, role_holders_range, user_hash, user_invited_range,
    user_rooms_range,
};
use crate::request::Request;
use crate::rights;
use crate::view::{Cf, View, ViewError};

/// Tags that one removal lists: an element has one a join that nobody removed yet.
pub(super) const SAW_MAX: usize = 256;
/// Joins of one member above which a site takes no further one. Each site of eight can take as many in a partition and
/// a removal still lists them all: who joins very often is not beyond a kick.
pub(super) const JOINS_MAX: usize = SAW_MAX / 8;

/// What an op records of the situation in which it was accepted.
#[derive(Default)]
pub(super) struct Grounds {
    /// A removal's tags, a given role's joins, lifted bans.
    pub saw: Vec<RequestId>,
    /// The user's revocations in the room.
    pub aware: Vec<RequestId>,
    /// The giver's role.
    pub rank: u32,
    /// Whether it takes rights away.
    pub revokes: bool,
    /// How long the room keeps bodies, ms; 0: for good.
    pub retention_ms: u64,
}

impl Shard {
    /// Whether somebody may know that a room exists: anybody may of an open one, and of one that lets people ask to be let
    /// in; of a closed one its members, who is invited, and who is banned from it.
    pub(super) fn sees(
        &self,
        tx: &Tx<'_>,
        room: RoomId,
        policy: Policy,
        (user, member): (&UserId, &wire::ElementRow),
    ) -> Result<bool, ViewError> {
        if !member.tags.is_empty() || self.is_banned(tx, member) {
            return Ok(true);
        }
        if self.is_open(tx, room, policy)? || self.takes_knocks(tx, room)? {
            return Ok(true);
        }
        let invited: Option<wire::ElementRow> = tx.get(&Key::Invited(room, user.clone()))?;
        Ok(invited.is_some_and(|row| !row.tags.is_empty()) || self.sabotaged(crate::Sabotage::TrustAnybody))
    }

    /// Whether anyone may join.
    pub(super) fn is_open(&self, tx: &Tx<'_>, room: RoomId, policy: Policy) -> Result<bool, ViewError> {
        let open: Option<wire::RegisterRow> = tx.get(&Key::Register(room, Register::Open))?;
        Ok(policy.with_open(open.as_ref().map(|row| &row.value[..])).open)
    }

    fn takes_knocks(&self, tx: &Tx<'_>, room: RoomId) -> Result<bool, ViewError> {
        let row: Option<wire::RegisterRow> = tx.get(&Key::Register(room, Register::Knock))?;
        Ok(row.is_some_and(|row| knock_of(&row.value)))
    }

    /// Whether somebody may ask to be let in. Looks at as many keys as others ask.
    pub(super) fn may_knock(
        &self,
        tx: &Tx<'_>,
        room: RoomId,
        (user, member): (&UserId, &wire::ElementRow),
    ) -> Result<Result<(), String>, ViewError> {
        if self.sabotaged(crate::Sabotage::TrustAnybody) {
            return Ok(Ok(()));
        }
        if !member.tags.is_empty() {
            return Ok(Err("user is a member of the room already".to_owned()));
        }
        if let Err(detail) = self.may_join(tx, member) {
            return Ok(Err(detail));
        }
        if !self.takes_knocks(tx, room)? {
            return Ok(Err(
                "the room does not let people ask to be let in: join it, or wait for an invitation".to_owned()
            ));
        }
        let asks: wire::ElementRow = tx.get(&Key::Knock(room, user.clone()))?.unwrap_or_default();
        if !asks.tags.is_empty() {
            return Ok(Err("user has asked already: wait for an answer".to_owned()));
        }
        let max = limits::KNOCKS_PER_ROOM_MAX;
        let is_full = self.has_keys(tx, Cf::Element, knocks_range(&room), max)?;
        Ok(if is_full { Err(format!("{max} users ask to be let in, the limit: try again later")) } else { Ok(()) })
    }

    /// Whom a request would put into one room more than a user may be in.
    pub(super) fn who_has_too_many_rooms(
        &self,
        tx: &Tx<'_>,
        request: &Request,
        user: &UserId,
    ) -> Result<Option<UserId>, ViewError> {
        if !matches!(request.kind, Some(Kind::Create(_) | Kind::Join(_))) {
            return Ok(None);
        }
        for user in std::iter::once(user.clone()).chain(request.direct_with()) {
            if self.has_too_many_rooms(tx, request, &user)? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// Whether a request would put its user into a room that has as many members as it may have.
    pub(super) fn has_too_many_members(
        &self,
        tx: &Tx<'_>,
        request: &Request,
        user: &UserId,
    ) -> Result<bool, ViewError> {
        if !matches!(request.kind, Some(Kind::Join(_))) {
            return Ok(false);
        }
        let head: wire::HeadRow = tx.get(&Key::Head(request.room))?.unwrap_or_default();
        let is_full = head.members >= self.config.room_members_max;
        Ok(is_full && tx.get_bytes(&Key::UserRoom(user_hash(user), request.room))?.is_none())
    }

    /// Whether a request would give somebody one invitation more than a user may have. Looks at as many keys.
    pub(super) fn has_too_many_invitations(&self, tx: &Tx<'_>, request: &Request) -> Result<bool, ViewError> {
        let Some(Kind::Invite(invite)) = &request.kind else { return Ok(false) };
        let Ok(user) = UserId::new(&invite.user) else { return Ok(false) };
        if tx.get_bytes(&Key::UserInvited(user_hash(&user), request.room))?.is_some() {
            return Ok(false);
        }
        self.has_keys(tx, Cf::Head, user_invited_range(&user), limits::INVITATIONS_PER_USER_MAX)
    }

    /// Looks at as many keys as the user has rooms.
    fn has_too_many_rooms(&self, tx: &Tx<'_>, request: &Request, user: &UserId) -> Result<bool, ViewError> {
        if tx.get_bytes(&Key::UserRoom(user_hash(user), request.room))?.is_some() {
            return Ok(false);
        }
        self.has_keys(tx, Cf::Head, user_rooms_range(user), self.config.user_rooms_max)
    }

    fn has_keys(&self, tx: &Tx<'_>, cf: Cf, (start, end): (Bytes, Bytes), max: usize) -> Result<bool, ViewError> {
        let mut count = 0;
        tx.overlay().scan(cf, &start, &end, &mut |_, _| {
            count += 1;
            if count < max { Continue(()) } else { Break(()) }
        })?;
        Ok(count >= max)
    }

    /// Whether a ban of somebody stands, by this site's clock.
    pub(super) fn is_banned(&self, tx: &Tx<'_>, row: &wire::ElementRow) -> bool {
        rights::bans_of(row).any(|ban| rights::ban_stands(ban, tx.now.wall_ms))
    }

    /// Whether a room lets somebody in, or be invited, as far as bans go.
    pub(super) fn may_join(&self, tx: &Tx<'_>, row: &wire::ElementRow) -> Result<(), String> {
        if self.sabotaged(crate::Sabotage::TrustAnybody) {
            return Ok(());
        }
        if let Some(ban) = rights::bans_of(row).find(|ban| rights::ban_stands(ban, tx.now.wall_ms)) {
            return Err(rights::ban_words(ban));
        }
        if row.revocations.len() >= limits::REVOCATIONS_PER_USER_MAX {
            return Err("user lost rights in the room as often as a room takes: it cannot be joined again".to_owned());
        }
        Ok(())
    }

    /// Whether a member may do what a request wants, by roles and by what the other user is; what the op records of it.
    pub(super) fn check_rights(
        &self,
        tx: &Tx<'_>,
        (room, policy): (RoomId, Policy),
        (user, member): (&UserId, &wire::ElementRow),
        kind: &Kind,
    ) -> Result<Result<Grounds, String>, ViewError> {
        let other = rights::target(kind).and_then(|other| UserId::new(other).ok());
        let row = match &other {
            Some(other) => member_row(tx, room, other)?,
            None => wire::ElementRow::default(),
        };
        let channel = policy.channel;
        let (target, given_by) = (rights::role_of(&row, channel), rights::given_by(&row));
        let own = rights::role_of(member, channel).unwrap_or(Role::Reader);
        let check = |role| rights::check(kind, policy, role, target, given_by);
        let is_own = other.as_ref() == Some(user) && !policy.direct;
        let lowers_own = matches!(kind, Kind::SetRole(set) if is_own && set.role < own.number());
        let rank = if lowers_own {
            // In the name of whoever gave the present one, so that it holds.
            own.number().max(given_by)
        } else {
            let role = match check(own) {
                Err(_)
                    if own < Role::Owner
                        && !policy.direct
                        && acting_owner(tx, room, channel)?.as_ref() == Some(user) =>
                {
                    Role::Owner
                }
                _ => own,
            };
            match check(role) {
                Err(detail) if !self.sabotaged(crate::Sabotage::TrustAnybody) => return Ok(Err(detail)),
                _ => role.number(),
            }
        };
        // What else than the membership the op takes.
        let takes = match (kind, &other) {
            (Kind::Kick(_) | Kind::Ban(_), Some(other)) => {
                vec![Key::Invited(room, other.clone()), Key::Knock(room, other.clone())]
            }
            (Kind::Invite(_) | Kind::Decline(_), Some(other)) => vec![Key::Knock(room, other.clone())],
            _ => Vec::new(),
        };
        let mut also = Vec::new();
        for key in takes {
            let row: Option<wire::ElementRow> = tx.get(&key)?;
            also.extend(row.iter().flat_map(|row| crdt::tags(row).take(SAW_MAX)));
        }
        let grounds = self.grounds(tx, kind, &row, also, target);
        let rank = if matches!(kind, Kind::SetRole(_)) { rank } else { 0 };
        Ok(grounds.map(|grounds| Grounds { rank, ..grounds }))
    }

    /// What an op about somebody records of that user's row. The error: the row is full, or has nothing to lift.
    fn grounds(
        &self,
        tx: &Tx<'_>,
        kind: &Kind,
        row: &wire::ElementRow,
        also: Vec<RequestId>,
        present: Option<Role>,
    ) -> Result<Grounds, String> {
        let tags = |row: &wire::ElementRow| crdt::tags(row).take(SAW_MAX).collect::<Vec<_>>();
        match kind {
            Kind::SetRole(_) if row.grants.len() >= limits::GRANTS_PER_USER_MAX => {
                Err("user was given roles as often as a room takes".to_owned())
            }
            Kind::SetRole(set) => {
                let revokes = present.is_some_and(|present| set.role < present.number());
                Ok(Grounds { saw: tags(row), revokes, ..Grounds::default() })
            }
            // Nothing more can be taken from who cannot join any more.
            Kind::Ban(_) if row.tags.is_empty() && row.revocations.len() >= limits::REVOCATIONS_PER_USER_MAX => {
                Err("user lost rights in the room as often as a room takes, and cannot join it".to_owned())
            }
            Kind::Kick(_) | Kind::Ban(_) => {
                let saw = [tags(row), also].concat();
                Ok(Grounds { saw, revokes: true, ..Grounds::default() })
            }
            Kind::LiftBan(_) => {
                let bans = rights::bans_of(row).filter_map(|by| by.id.as_ref().map(RequestId::from_wire));
                match bans.collect::<Vec<_>>() {
                    saw if saw.is_empty() => Err("user is not banned from the room".to_owned()),
                    saw => Ok(Grounds { saw, ..Grounds::default() }),
                }
            }
            Kind::Decline(_) if also.is_empty() => Err("user does not ask to be let in".to_owned()),
            Kind::Decline(_) => Ok(Grounds { saw: also, ..Grounds::default() }),
            Kind::Invite(_) => self.may_join(tx, row).map(|()| Grounds { saw: also, ..Grounds::default() }),
            _ => Ok(Grounds::default()),
        }
    }
}

/// Who acts as owner where nobody is one: the highest role that was given and holds, then the least name; where nobody
/// has one above member, the member with the least name.
fn acting_owner(tx: &Tx<'_>, room: RoomId, channel: bool) -> Result<Option<UserId>, ViewError> {
    let mut best: Option<(Role, UserId)> = None;
    let (start, end) = role_holders_range(&room);
    let mut holders = Vec::new();
    tx.overlay().scan(Cf::Head, &start, &end, &mut |key, _| {
        holders.extend(Key::decode(Cf::Head, key));
        Continue(())
    })?;
    for key in holders {
        let Key::RoleHolder(_, user) = key else { continue };
        let Some(role) = rights::role_of(&member_row(tx, room, &user)?, channel) else { continue };
        if role == Role::Owner {
            return Ok(None);
        }
        // In the order of names: the first of equals stays.
        if role > Role::Member && best.as_ref().is_none_or(|(highest, _)| role > *highest) {
            best = Some((role, user));
        }
    }
    match best {
        Some((_, user)) => Ok(Some(user)),
        None => first_member(tx, room),
    }
}

fn first_member(tx: &Tx<'_>, room: RoomId) -> Result<Option<UserId>, ViewError> {
    let (start, end) = members_range(&room);
    let mut first = None;
    tx.overlay().scan(Cf::Element, &start, &end, &mut |key, value| {
        let is_member = wire::ElementRow::decode(value).is_ok_and(|row| !row.tags.is_empty());
        match Key::decode(Cf::Element, key) {
            Some(Key::Member(_, user)) if is_member => {
                first = Some(user);
                Break(())
            }
            _ => Continue(()),
        }
    })?;
    Ok(first)
}
