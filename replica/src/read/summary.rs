//! A room as the list of a user's rooms shows it.

use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{Marker, RequestId, RoomId, UserId, Vector, preview, wire, wire::request::Kind};

use super::rows::{Rows, covered_dot, decode, head};
use super::{rooms, unread};
use crate::key::{Key, edits_range, prefix_range};
use crate::view::{Cf, View, ViewError};

/// Rows that are looked at for the newest message, where those at the end are no messages or do not show.
const LAST_ROWS_MAX: usize = 256;
/// Edits of the newest message that are looked at for the last one that shows.
const LAST_EDITS_MAX: usize = 16;

/// What a summary of a room is made of; it changes with nothing else.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What of the room is durable.
    pub upto: Vector,
    /// What the user has read, and marked unread.
    pub marker: Marker,
    /// The highest place of a message, whether or not it shows.
    highest: Option<RequestId>,
}

impl Standing {
    /// Whether a client that has all of a room up to a cursor, and a summary of this fingerprint, lacks nothing.
    pub fn is_held(&self, cursor: &Vector, summary: u64) -> bool {
        cursor.covers_all(&self.upto) && self.marker.fingerprint(&self.upto) == summary
    }
}

/// How far a room is, for a user.
pub fn standing(view: &dyn View, durable: &Vector, room: &RoomId, user: &UserId) -> Result<Standing, ViewError> {
    let Some((head, touch)) = head(view, room)? else { return Ok(Standing::default()) };
    let highest = head.last.as_ref().map(RequestId::from_wire);
    Ok(Standing { upto: touch.meet(durable), marker: unread::marker(view, room, user)?, highest })
}

/// How a room stands for a user.
pub fn summary(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    user: &UserId,
    standing: &Standing,
) -> Result<wire::RoomSummary, ViewError> {
    let unread = unread::count(view, durable, room, user, &standing.marker.read)?;
    let face = rooms::room_face(view, durable, room)?;
    Ok(wire::RoomSummary {
        room: room.to_wire(),
        upto: Some(standing.upto.to_wire()),
        marker: Some(standing.marker.read.to_wire()),
        made: rooms::made(view, durable, room)?.0,
        last: last(view, durable, room, standing.highest)?,
        unread: unread.messages,
        mentions: unread.mentions,
        name: face.name,
        named: face.named.map(RequestId::to_wire),
        profile: Some(face.profile),
        pins: rooms::pins(view, durable, room)?.into_iter().map(RequestId::to_wire).collect(),
        knocks: rooms::knocks(view, durable, room)?,
        flag: standing.marker.flag.to_wire(),
    })
}

/// What of a room is durable, by its head.
pub fn extent(view: &dyn View, durable: &Vector, room: &RoomId) -> Result<Vector, ViewError> {
    Ok(head(view, room)?.map(|(_, touch)| touch.meet(durable)).unwrap_or_default())
}

/// The newest message that shows. `highest`: as in [`Standing`].
fn last(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    highest: Option<RequestId>,
) -> Result<Option<wire::Preview>, ViewError> {
    let Some(highest) = highest else { return Ok(None) };
    let readable = Rows::of(view, durable, room);
    let (start, _) = prefix_range(&room.0);
    let mut end = Key::Request(*room, highest).encode().to_vec();
    end.push(0);
    let (mut rows, mut found) = (0, Ok(None));
    view.scan_back(Cf::Request, &start, &end, &mut |_, value| {
        rows += 1;
        found = shown(&readable, durable, value);
        if !matches!(found, Ok(None)) || rows >= LAST_ROWS_MAX { Break(()) } else { Continue(()) }
    })?;
    let Some((id, mut row)) = found? else { return Ok(None) };
    let mut edit = None;
    if row.body.is_some()
        && let Some((by, edited)) = last_edit(view, (&readable, durable, room), id, &row.user)?
    {
        (row.body, row.deadline_ms) = (edited.body, edited.deadline_ms);
        edit = Some(by.to_wire());
    }
    let (body_gone, deadline_ms) = (row.body.is_none(), row.deadline_ms);
    let body: wire::Body = row.body.map(|body| decode(Cf::Request, body)).transpose()?.unwrap_or_default();
    let wire::Body { content_type, content, .. } = body;
    let content = preview(&content);
    let (id, user) = (Some(id.to_wire()), row.user);
    Ok(Some(wire::Preview { id, user, content_type, content, body_gone, edit, deadline_ms }))
}

/// A row's message, if it is one and shows.
fn shown(
    readable: &Rows<'_>,
    durable: &Vector,
    value: &[u8],
) -> Result<Option<(RequestId, wire::RequestRow)>, ViewError> {
    let row: wire::RequestRow = decode(Cf::Request, value)?;
    let request: wire::Request = decode(Cf::Request, row.request.clone())?;
    let (Some(id), Some(Kind::Message(_))) = (&request.id, &request.kind) else { return Ok(None) };
    let id = RequestId::from_wire(id);
    let row = readable.readable(row)?;
    let shows = !row.hidden && covered_dot(&row, durable)?.is_some();
    Ok(shows.then_some((id, row)))
}

/// The author's last edit of a message.
fn last_edit(
    view: &dyn View,
    (readable, durable, room): (&Rows<'_>, &Vector, &RoomId),
    target: RequestId,
    author: &str,
) -> Result<Option<(RequestId, wire::RequestRow)>, ViewError> {
    let (start, end) = edits_range(room, target);
    let mut edits = Vec::new();
    view.scan_back(Cf::Element, &start, &end, &mut |key, _| {
        match Key::decode(Cf::Element, key) {
            Some(Key::Edit(_, _, id, user)) if user.as_str() == author => edits.push(id),
            _ => {}
        }
        if edits.len() < LAST_EDITS_MAX { Continue(()) } else { Break(()) }
    })?;
    for id in edits {
        let row = readable.get(id)?;
        if !row.hidden && covered_dot(&row, durable)?.is_some() {
            return Ok(Some((id, row)));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
