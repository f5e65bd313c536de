//! One acceptance of a request, as the checkers see it: of an op's header, and by docs/RIGHTS.md alone.

use std::collections::BTreeSet;
use std::ops::ControlFlow::Continue;

use bytes::Bytes;
use causeway_protocol::wire::request::Kind;
use causeway_protocol::{Dot, Message, RequestId, RoomId, Stamp, Vector, wire};
use causeway_replica::key::{Key, prefix_range};
use causeway_replica::view::{Cf, View};

use super::{Violation, broken};

/// One acceptance of a request.
#[derive(Clone, Debug)]
pub struct Act {
    /// Which.
    pub dot: Dot,
    /// The request.
    pub id: RequestId,
    /// Who asked.
    pub user: String,
    /// What.
    pub kind: Kind,
    /// The accepting site's clock.
    pub stamp: Stamp,
    pub(super) saw: BTreeSet<RequestId>,
    pub(super) aware: BTreeSet<RequestId>,
    pub(super) past: Option<Vector>,
    pub(super) rank: u32,
    /// When the body goes, ms since the Unix epoch; 0: never.
    pub deadline_ms: u64,
}

pub(super) fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Violation> {
    M::decode(bytes).or_else(|e| broken("rows decode", e.to_string()))
}

pub(super) fn ids(list: &[wire::RequestId]) -> BTreeSet<RequestId> {
    list.iter().map(RequestId::from_wire).collect()
}

impl Act {
    /// Of an op's header; `None` for a kind that this version does not know.
    pub fn of(dot: Dot, header: &Bytes) -> Result<Option<Self>, Violation> {
        let w: wire::Header = decode(header.clone())?;
        let request: wire::Request = decode(w.request)?;
        let (Some(kind), Some(id)) = (request.kind, request.id) else { return Ok(None) };
        let past =
            w.past.as_ref().map(Vector::from_wire).transpose().or_else(|e| broken("rows decode", e.to_string()))?;
        let (saw, aware) = (ids(&w.saw), ids(&w.aware));
        let id = RequestId::from_wire(&id);
        let (stamp, rank, deadline_ms) = (Stamp(w.stamp), w.rank, w.deadline_ms);
        Ok(Some(Self { dot, id, user: w.user, kind, stamp, saw, aware, past, rank, deadline_ms }))
    }

    /// Whether it gives or takes rights.
    pub fn touches_rights(&self) -> bool {
        let is_about_somebody = !self.target().is_empty() && !matches!(self.kind, Kind::Invite(_));
        let others = matches!(self.kind, Kind::Join(_) | Kind::SetProfile(_) | Kind::Pin(_) | Kind::Unpin(_));
        is_about_somebody || others || matches!(self.kind, Kind::Knock(_))
    }

    /// Its name in the coverage.
    pub fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Erase(_) => "user erased",
            Kind::Kick(_) => "kick accepted",
            Kind::Ban(_) => "ban accepted",
            Kind::LiftBan(_) => "ban lifted",
            Kind::SetRole(_) if self.past.is_some() => "demotion",
            Kind::SetRole(_) => "role given",
            Kind::Redact(redact) if !redact.author.is_empty() => "redaction by a moderator",
            Kind::SetProfile(set) if set.retention_ms.is_some() => "retention set",
            Kind::SetProfile(set) if set.knock.is_some() => "asking allowed or not",
            Kind::SetProfile(set) if set.writers.is_some() => "writers set",
            Kind::SetProfile(set) if set.open.is_some() => "room opened or closed",
            Kind::SetProfile(_) => "topic set",
            Kind::Pin(_) => "pinned",
            Kind::Unpin(_) => "unpinned",
            Kind::Knock(_) => "asked to be let in",
            Kind::Decline(_) => "not let in",
            Kind::Invite(_) if !self.saw.is_empty() => "let in",
            _ => "other op",
        }
    }

    /// Whom it is about.
    pub(super) fn target(&self) -> &str {
        match &self.kind {
            Kind::Erase(_) => &self.user,
            kind => target(kind).unwrap_or_default(),
        }
    }

    /// Whether it erases what its user wrote, that other act among it.
    pub fn erases(&self, other: &Act) -> bool {
        let writes = matches!(other.kind, Kind::Message(_) | Kind::Edit(_));
        let is_erasure = matches!(self.kind, Kind::Erase(_)) && self.user == other.user;
        is_erasure && writes && !other.aware.contains(&self.id)
    }

    /// Whether it takes rights away from its target, and hides that other act of the target's.
    pub fn hides(&self, other: &Act) -> bool {
        let Some(past) = &self.past else { return false };
        let demoted_to = if let Kind::SetRole(set) = &self.kind { Some(set.role) } else { None };
        let writes = demoted_to.is_none_or(|role| role == super::rights::READER);
        let taken = match &other.kind {
            Kind::Join(_) | Kind::Knock(_) => demoted_to.is_none(),
            Kind::Message(_) | Kind::Edit(_) | Kind::React(_) | Kind::Invite(_) | Kind::Pin(_) => writes,
            Kind::SetRole(_) => other.past.is_none(),
            Kind::LiftBan(_) => true,
            _ => false,
        };
        let unaware = !past.covers(&other.dot) && !other.aware.contains(&self.id);
        taken && unaware && self.target() == other.user && self.id != other.id
    }
}

/// Whom a request is about.
pub fn target(kind: &Kind) -> Option<&str> {
    Some(match kind {
        Kind::SetRole(set) => &set.user,
        Kind::Kick(kick) => &kick.user,
        Kind::Ban(ban) => &ban.user,
        Kind::LiftBan(lift) => &lift.user,
        Kind::Invite(invite) => &invite.user,
        Kind::Decline(decline) => &decline.user,
        Kind::Redact(redact) if !redact.author.is_empty() => &redact.author,
        _ => return None,
    })
}

/// The acts of a room that a store holds.
pub fn acts_of(view: &dyn View, room: &RoomId) -> Result<Vec<Act>, Violation> {
    let (start, end) = prefix_range(&room.0);
    let mut rows = Vec::new();
    let _ = view.scan(Cf::Op, &start, &end, &mut |key, value| {
        if let Some(Key::Op(_, dot)) = Key::decode(Cf::Op, key) {
            rows.push((dot, Bytes::copy_from_slice(value)));
        }
        Continue(())
    });
    let acts: Result<Vec<Option<Act>>, Violation> = rows.into_iter().map(|(dot, row)| Act::of(dot, &row)).collect();
    Ok(acts?.into_iter().flatten().collect())
}
