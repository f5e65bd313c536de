//! Pages of a room's requests by their places.

use std::ops::ControlFlow::{self, Break, Continue};

use bytes::Bytes;
use causeway_protocol::{Message, RequestId, RoomId, UserId, Vector, limits, wire};

use super::admit::{Reading, admit};
use super::rows::{Rows, covered_dot, decode};
use super::{Durables, row_event, unread};
use crate::key::{Key, prefix_range};
use crate::view::{Cf, View, ViewError};

/// What a page's events may take of a frame, bytes; the rest is for its other fields.
const PAGE_BYTES_MAX: usize = limits::FRAME_BYTES_MAX - 1_024;
/// Tag and length of an event in a page, bytes at most.
const EVENT_ENVELOPE_BYTES: usize = 5;

const _: () = assert!(
    limits::BODY_BYTES_MAX + limits::REQUEST_BYTES_MAX + limits::USER_BYTES_MAX + 256 < PAGE_BYTES_MAX,
    "the largest event fits a page"
);

/// One page of a room's requests in the order of their places. The answer always fits a frame. A refusal is a
/// page with a code: `Malformed`, `NotReady`, `UnknownRoom` or `NotPermitted`.
pub fn history(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    request: &wire::HistoryRequest,
) -> Result<wire::HistoryPage, ViewError> {
    let admitted = admit(&Reading { view, durables, shard_count, user }, &request.room, request.limit)?;
    let (room, durable) = match admitted {
        Ok(admitted) => admitted,
        Err((code, detail)) => {
            return Ok(wire::HistoryPage { code: code.number(), detail, ..Default::default() });
        }
    };
    let mut page = page(view, &durable, &room, request)?;
    page.unread = unread::count(view, &durable, &room, user, &unread::marker(view, &room, user)?.read)?.messages;
    Ok(page)
}

fn page(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    request: &wire::HistoryRequest,
) -> Result<wire::HistoryPage, ViewError> {
    let from = request.from.as_ref().map(RequestId::from_wire);
    let (start, end) = range(room, from, request.forward);
    let rows = Rows::of(view, durable, room);
    let mut filling =
        Filling { rows, room, durable, limit: request.limit as usize, bytes: 0, page: Default::default() };
    let mut result = Ok(());
    let mut visit = |_: &[u8], value: &[u8]| match filling.take(value) {
        Ok(flow) => flow,
        Err(e) => {
            result = Err(e);
            Break(())
        }
    };
    if request.forward {
        view.scan(Cf::Request, &start, &end, &mut visit)?;
    } else {
        view.scan_back(Cf::Request, &start, &end, &mut visit)?;
    }
    result?;
    let mut page = filling.page;
    if !request.forward {
        page.events.reverse();
    }
    Ok(page)
}

/// The keys of the room's requests on the asked side of `from`, which is not among them.
fn range(room: &RoomId, from: Option<RequestId>, forward: bool) -> (Bytes, Bytes) {
    let (start, end) = prefix_range(&room.0);
    match from.map(|from| Key::Request(*room, from).encode()) {
        None => (start, end),
        Some(from) if forward => {
            let mut above = from.to_vec();
            above.push(0);
            (above.into(), end)
        }
        Some(from) => (start, from),
    }
}

/// A page being filled from rows in the order of the scan.
struct Filling<'a> {
    rows: Rows<'a>,
    room: &'a RoomId,
    durable: &'a Vector,
    limit: usize,
    bytes: usize,
    page: wire::HistoryPage,
}

impl Filling<'_> {
    fn take(&mut self, value: &[u8]) -> Result<ControlFlow<()>, ViewError> {
        let row = self.rows.readable(decode(Cf::Request, value)?)?;
        if row.hidden {
            return Ok(Continue(()));
        }
        let Some(dot) = covered_dot(&row, self.durable)? else { return Ok(Continue(())) };
        let event = row_event(self.room, dot, row, None);
        let bytes = event.encoded_len() + EVENT_ENVELOPE_BYTES;
        if self.page.events.len() >= self.limit || self.bytes + bytes > PAGE_BYTES_MAX {
            self.page.more = true;
            return Ok(Break(()));
        }
        self.bytes += bytes;
        self.page.events.push(event);
        Ok(Continue(()))
    }
}
