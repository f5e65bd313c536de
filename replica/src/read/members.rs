//! A room's members, and how far they have read.

use std::ops::ControlFlow::{Break, Continue};

use bytes::Bytes;
use causeway_protocol::{Code, Message, RequestId, Role, RoomId, UserId, Vector, limits, wire};

use super::admit::{Reading, admit};
use super::rooms::{room_face, show_durably};
use super::rows::{Rows, broken, covered, covered_dot, get};
use super::{Durables, unread};
use crate::key::{Key, members_range};
use crate::rights;
use crate::view::{Cf, View, ViewError};

/// Rows of former members that one page looks at beside those of its members.
const FORMER_MAX: usize = 2_000;

/// A page of a room's members, by name. A refusal is a page with a code.
pub fn members(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    request: &wire::MembersRequest,
) -> Result<wire::MembersPage, ViewError> {
    let refusal =
        |(code, detail): (Code, String)| wire::MembersPage { code: code.number(), detail, ..Default::default() };
    let admitted = admit(&Reading { view, durables, shard_count, user }, &request.room, request.limit)?;
    let (room, durable) = match admitted {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refusal(refused)),
    };
    let after = match request.after.as_str() {
        "" => None,
        name => match UserId::new(name) {
            Ok(after) => Some(after),
            Err(e) => return Ok(refusal((Code::Malformed, e.to_string()))),
        },
    };
    let channel = room_face(view, &durable, &room)?.channel;
    let found = present(view, &durable, &room, after.as_ref(), request.limit as usize)?;
    let member = |(user, row): &(UserId, wire::ElementRow)| {
        let role = rights::role_of(row, channel).map_or(0, Role::number);
        wire::Member { user: user.as_str().to_owned(), role }
    };
    let members = found.members.iter().map(member).collect();
    let next = found.next.map_or_else(String::new, |user| user.as_str().to_owned());
    Ok(wire::MembersPage { members, next, ..Default::default() })
}

/// Who has read messages of a room. A refusal is a page with a code.
pub fn readers(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    request: &wire::ReadersRequest,
) -> Result<wire::ReadersPage, ViewError> {
    let refusal =
        |(code, detail): (Code, String)| wire::ReadersPage { code: code.number(), detail, ..Default::default() };
    let (room, durable) = match admit(&Reading { view, durables, shard_count, user }, &request.room, 1)? {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refusal(refused)),
    };
    if !(1..=limits::READERS_IDS_MAX).contains(&request.ids.len()) {
        return Ok(refusal((Code::Malformed, "ids must be 1 to 100".to_owned())));
    }
    let found = present(view, &durable, &room, None, limits::READERS_MEMBERS_MAX)?;
    if found.next.is_some() {
        return Ok(wire::ReadersPage { many: true, ..Default::default() });
    }
    let mut markers = Vec::with_capacity(found.members.len());
    for (member, _) in found.members {
        let marker = unread::marker(view, &room, &member)?.read;
        markers.push((member, marker));
    }
    let rows = Rows::of(view, &durable, &room);
    let mut messages = Vec::with_capacity(request.ids.len());
    for id in &request.ids {
        let key = Key::Request(room, RequestId::from_wire(id));
        let Some(row) = get::<wire::RequestRow>(view, &key)? else { continue };
        let row = rows.readable(row)?;
        if row.hidden || covered_dot(&row, &durable)?.is_none() {
            continue;
        }
        let mut told = wire::Readers { id: Some(*id), ..Default::default() };
        for (member, marker) in markers.iter().filter(|(member, _)| member.as_str() != row.user) {
            if !covered(&row, marker)? {
                told.unread += 1;
            } else if request.names {
                told.readers.push(member.as_str().to_owned());
            }
        }
        messages.push(told);
    }
    Ok(wire::ReadersPage { messages, ..Default::default() })
}

struct Found {
    members: Vec<(UserId, wire::ElementRow)>,
    /// The last name looked at, where there are, or may be, more.
    next: Option<UserId>,
}

/// Members as far as they are durable, by name, at most `max`.
fn present(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    after: Option<&UserId>,
    max: usize,
) -> Result<Found, ViewError> {
    let (mut start, end) = members_range(room);
    if let Some(after) = after {
        // The least key above: the key with a zero byte behind.
        let mut key = Key::Member(*room, after.clone()).encode().to_vec();
        key.push(0);
        start = key.into();
    }
    let mut rows: Vec<(Bytes, wire::ElementRow)> = Vec::new();
    let (mut looked, mut last, mut more, mut failed) = (0, Bytes::new(), false, None);
    view.scan(Cf::Element, &start, &end, &mut |key, value| {
        if looked >= max + FORMER_MAX {
            more = true;
            return Break(());
        }
        match wire::ElementRow::decode(value) {
            Ok(row) if row.tags.is_empty() => {}
            Ok(row) if rows.len() < max => rows.push((Bytes::copy_from_slice(key), row)),
            Ok(_) => more = true,
            Err(e) => failed = Some(broken(Cf::Element, e)),
        }
        if more || failed.is_some() {
            return Break(());
        }
        looked += 1;
        last = Bytes::copy_from_slice(key);
        Continue(())
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    let mut members = Vec::with_capacity(rows.len());
    for (key, row) in rows {
        if show_durably(view, durable, room, &row)? {
            members.push((user_of(&key)?, row));
        }
    }
    let next = if more { Some(user_of(&last)?) } else { None };
    Ok(Found { members, next })
}

fn user_of(key: &[u8]) -> Result<UserId, ViewError> {
    match Key::decode(Cf::Element, key) {
        Some(Key::Member(_, user)) => Ok(user),
        _ => Err(broken(Cf::Element, "a member's key does not decode")),
    }
}
