//! A room's members, and how far they have read.

use causeway_protocol::{RequestId, Role, RoomId, UserId, limits, wire};

use super::query::{self, HistoryError, Home};

/// A member of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: String,
    /// The role; `None` for a number of a newer version.
    pub role: Option<Role>,
}

/// A page of a room's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersPage {
    /// By name.
    pub members: Vec<Member>,
    /// Where there are further ones, or may be: the name after which to ask for them.
    pub next: Option<UserId>,
}

/// How far a room's members have read a message. Its author counts neither as a reader nor as one who has not read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBy {
    /// Who has read it, by name.
    pub readers: Vec<String>,
    /// How many have not.
    pub unread: u32,
    /// The room has more than 500 members: nobody was counted.
    pub many: bool,
}

/// How lately a user was there. Sites tell no more exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Somebody looks at the application, on some device.
    Online,
    /// The application runs, and nobody looks at it.
    Away,
    /// Was there within the last minute.
    Minute,
    /// Within the last hour.
    Hour,
    /// Within the last day.
    Day,
    /// Longer ago; or the site does not know, as when it was just started, or the user does not want to be seen.
    Longer,
}

impl Presence {
    fn of(seen: u32) -> Self {
        match seen {
            1 => Self::Online,
            2 => Self::Away,
            3 => Self::Minute,
            4 => Self::Hour,
            5 => Self::Day,
            _ => Self::Longer,
        }
    }
}

pub(super) async fn presence(
    home: Home,
    room: RoomId,
    users: &[UserId],
) -> Result<Vec<(String, Presence)>, HistoryError> {
    let users = users.iter().map(|user| user.as_str().to_owned()).collect();
    let request = wire::PresenceRequest { room: room.to_wire(), users };
    let page: wire::PresencePage = query::fetch(home, wire::query::Query::Presence(request), "PresencePage").await?;
    query::check(page.code, page.detail)?;
    Ok(page.users.into_iter().map(|told| (told.user, Presence::of(told.seen))).collect())
}

pub(super) async fn members(
    home: Home,
    room: RoomId,
    after: Option<&UserId>,
    limit: u32,
) -> Result<MembersPage, HistoryError> {
    let request = wire::MembersRequest {
        room: room.to_wire(),
        after: after.map_or_else(String::new, |user| user.as_str().to_owned()),
        limit: limit.clamp(1, limits::HISTORY_PAGE_MAX),
    };
    let page: wire::MembersPage = query::fetch(home, wire::query::Query::Members(request), "MembersPage").await?;
    query::check(page.code, page.detail)?;
    let member = |wire::Member { user, role }| Member { user, role: Role::from_number(role) };
    let next = UserId::new(&page.next).ok();
    Ok(MembersPage { members: page.members.into_iter().map(member).collect(), next })
}

pub(super) async fn read_by(home: Home, room: RoomId, id: RequestId) -> Result<ReadBy, HistoryError> {
    let page = readers(home, room, &[id], true).await?;
    match page.messages.into_iter().next() {
        Some(wire::Readers { unread, readers, .. }) => Ok(ReadBy { readers, unread, many: false }),
        None if page.many => Ok(ReadBy { readers: Vec::new(), unread: 0, many: true }),
        None => {
            let detail = "the site does not have this message: it may be at another one".to_owned();
            Err(HistoryError::Refused { code: causeway_protocol::Code::Malformed.number(), detail })
        }
    }
}

pub(super) async fn unread_by(
    home: Home,
    room: RoomId,
    ids: &[RequestId],
) -> Result<Option<Vec<(RequestId, u32)>>, HistoryError> {
    let page = readers(home, room, ids, false).await?;
    let of = |told: wire::Readers| Some((RequestId::from_wire(told.id.as_ref()?), told.unread));
    Ok((!page.many).then(|| page.messages.into_iter().filter_map(of).collect()))
}

async fn readers(home: Home, room: RoomId, ids: &[RequestId], names: bool) -> Result<wire::ReadersPage, HistoryError> {
    let ids = ids.iter().map(|id| id.to_wire()).collect();
    let request = wire::ReadersRequest { room: room.to_wire(), ids, names };
    let page: wire::ReadersPage = query::fetch(home, wire::query::Query::Readers(request), "ReadersPage").await?;
    query::check(page.code, page.detail.clone())?;
    Ok(page)
}
