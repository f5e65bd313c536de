//! What of a room a cursor lacks.

use std::collections::BTreeSet;
use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{RequestId, RoomId, Vector, wire};

use super::merge::{Merge, OpAt, count_beyond, op};
use super::rows::{Rows, broken, covered, decode, dots, head, shows};
use super::{PageEvent, frame_of, row_event};
use crate::key::{Key, prefix_range};
use crate::view::{Cf, View, ViewError};

/// Where counting what a cursor lacks stops, ops.
pub const MISSING_MAX: u64 = 10_000;
/// How many rows from a room's end are looked at for its newest page, for each row that the page may have: rows
/// that the cursor has can lie between.
const NEWEST_ROWS_PER_EVENT: usize = 8;

/// What of a room lies beyond a cursor, or the next part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomPage {
    /// In causal order.
    pub events: Vec<PageEvent>,
    /// The cursor after these events: covers them and what needed no sending.
    pub cursor: Vector,
    /// Ops looked at, sent or not.
    pub ops: usize,
    /// Whether any of them needed no sending: further acceptances, what is hidden.
    pub unsent: bool,
    /// Whether there is more; if not, `cursor` covers the whole durable vector.
    pub more: bool,
}

/// The newest requests of a room that a cursor lacks, where it lacks too many to send them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewestPage {
    /// In causal order, so that each may raise a cursor: those of the page before it are sent already.
    pub events: Vec<PageEvent>,
    /// The cursor after the page: covers the whole durable vector.
    pub cursor: Vector,
    /// Requests left out, counted no further than [`MISSING_MAX`]. For an empty cursor those count, too, that are hidden, or
    /// not durable yet.
    pub missing: u64,
    /// No place among those left out is lower; `None` if none is left out.
    pub lowest: Option<RequestId>,
}

/// What of a room lies beyond `cursor`, in causal order (by the stamps of the ops), at most `ops_max` ops and
/// about `bytes_max` bytes of frames; always at least one op if there is any. A request of which any dot is
/// covered by the cursor is not sent again, nor is a hidden one.
pub fn room_since(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    ops_max: usize,
    bytes_max: usize,
) -> Result<RoomPage, ViewError> {
    let mut merge = Merge::new(view, room, durable, cursor)?;
    let rows = Rows::of(view, durable, room);
    let mut page = RoomPage { cursor: cursor.clone(), ..RoomPage::default() };
    let mut bytes = 0;
    while let Some(OpAt { dot, id, past, .. }) = merge.next()? {
        if page.ops > 0 && (page.ops >= ops_max || bytes >= bytes_max) {
            page.more = true;
            return Ok(page);
        }
        page.ops += 1;
        let row = rows.get(id)?;
        if shows(&row, dot) && is_missing(&row, &page.cursor)? {
            let frame = frame_of(row_event(room, dot, row, past));
            bytes += frame.len();
            page.events.push(PageEvent { dot, id, frame });
        } else {
            page.unsent = true;
        }
        page.cursor.raise(dot);
    }
    page.cursor.join(durable);
    Ok(page)
}

/// Whether more than `ops_max` ops of a room lie beyond `cursor`. Reads keys only, and of a room that is new to the client no
/// more than its head, where that has so many.
pub fn is_far_behind(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    ops_max: usize,
) -> Result<bool, ViewError> {
    if cursor.is_empty() && requests(view, room)? > ops_max as u64 {
        return Ok(true);
    }
    Ok(count_beyond(view, room, durable, cursor, ops_max.saturating_add(1))? > ops_max)
}

/// The newest requests by place that `cursor` lacks, at most `requests_max` and about `bytes_max` bytes of
/// frames, and what is left out.
pub fn newest_page(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    requests_max: usize,
    bytes_max: usize,
) -> Result<NewestPage, ViewError> {
    let events = newest(view, room, durable, cursor, requests_max, bytes_max)?;
    let mut after = cursor.clone();
    after.join(durable);
    if cursor.is_empty() {
        // The longest absence of all, from the longest room: not counted, but looked up.
        let missing = requests(view, room)?.saturating_sub(events.len() as u64).min(MISSING_MAX);
        let lowest = if missing > 0 { first_place(view, room)? } else { None };
        return Ok(NewestPage { events, cursor: after, missing, lowest });
    }
    let (mut missing, all) = missing(view, room, durable, cursor)?;
    for event in &events {
        missing.remove(&event.id);
    }
    let lowest = match missing.first() {
        // Ops come in any order of places: one that was not counted may lie anywhere.
        Some(_) if !all => Some(RequestId::MIN),
        lowest => lowest.copied(),
    };
    Ok(NewestPage { events, cursor: after, missing: missing.len() as u64, lowest })
}

/// How many requests a room has, by its head: hidden ones, and those that are not durable yet, too.
fn requests(view: &dyn View, room: &RoomId) -> Result<u64, ViewError> {
    Ok(head(view, room)?.map_or(0, |(head, _)| head.requests))
}

/// The lowest place of a room.
fn first_place(view: &dyn View, room: &RoomId) -> Result<Option<RequestId>, ViewError> {
    let (start, end) = prefix_range(&room.0);
    let mut first = None;
    view.scan(Cf::Request, &start, &end, &mut |key, _| {
        first = Key::decode(Cf::Request, key);
        Break(())
    })?;
    match first {
        Some(Key::Request(_, id)) => Ok(Some(id)),
        None => Ok(None),
        Some(_) => Err(broken(Cf::Request, "a request's key does not decode")),
    }
}

/// The requests beyond a cursor that has something, and whether these are all.
fn missing(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
) -> Result<(BTreeSet<RequestId>, bool), ViewError> {
    let mut merge = Merge::new(view, room, durable, cursor)?;
    let rows = Rows::of(view, durable, room);
    let mut ids = BTreeSet::new();
    let mut ops = 0;
    while let Some(OpAt { id, .. }) = merge.next()? {
        if ops == MISSING_MAX {
            return Ok((ids, false));
        }
        ops += 1;
        if is_missing(&rows.get(id)?, cursor)? {
            ids.insert(id);
        }
    }
    Ok((ids, true))
}

fn is_missing(row: &wire::RequestRow, cursor: &Vector) -> Result<bool, ViewError> {
    Ok(!row.hidden && !covered(row, cursor)?)
}

/// From the room's end: requests that are durable and not covered by the cursor, put into causal order.
fn newest(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    requests_max: usize,
    bytes_max: usize,
) -> Result<Vec<PageEvent>, ViewError> {
    let (start, end) = prefix_range(&room.0);
    let readable = Rows::of(view, durable, room);
    let mut found = Vec::new();
    let mut visit = |value: &[u8]| -> Result<(), ViewError> {
        let row = readable.readable(decode(Cf::Request, value)?)?;
        if covered(&row, durable)? && is_missing(&row, cursor)? {
            found.push(row);
        }
        Ok(())
    };
    let (mut rows, mut bytes, mut result) = (0, 0, Ok(()));
    view.scan_back(Cf::Request, &start, &end, &mut |_, value| {
        rows += 1;
        bytes += value.len();
        result = visit(value);
        let enough = rows >= requests_max.saturating_mul(NEWEST_ROWS_PER_EVENT) || bytes >= bytes_max;
        if result.is_err() || enough { Break(()) } else { Continue(()) }
    })?;
    result?;
    found.truncate(requests_max);
    let mut placed = Vec::with_capacity(found.len());
    for row in found {
        placed.push((first_op(view, room, durable, &row)?, row));
    }
    placed.sort_by_key(|(op, _)| (op.stamp, op.dot));
    let event = |(op, row): (OpAt, _)| PageEvent {
        dot: op.dot,
        id: op.id,
        frame: frame_of(row_event(room, op.dot, row, op.past)),
    };
    Ok(placed.into_iter().map(event).collect())
}

/// The earliest durable acceptance of a request. Sent with any later one, it could come after an event that
/// raises the cursor over an earlier one, and a resume in between would take it for sent.
fn first_op(view: &dyn View, room: &RoomId, durable: &Vector, row: &wire::RequestRow) -> Result<OpAt, ViewError> {
    let mut first: Option<OpAt> = None;
    for dot in dots(row) {
        let dot = dot?;
        if durable.covers(&dot) {
            let op = op(view, room, dot)?;
            first = match first {
                Some(first) if first.stamp <= op.stamp => Some(first),
                _ => Some(op),
            };
        }
    }
    first.ok_or_else(|| broken(Cf::Request, "a durable request has no durable dot"))
}
