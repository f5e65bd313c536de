//! Pages of a room's requests by their places, and the count of unread messages.

use std::ops::ControlFlow::{self, Break, Continue};

use bytes::Bytes;
use causeway_protocol::{Code, Message, RequestId, RoomId, UserId, Vector, limits, wire};

use super::merge::{Merge, OpAt};
use super::rooms::is_member;
use super::rows::{as_durable, broken, covered, covered_dot, decode, get, request, shows};
use super::seen::seen;
use super::{Durables, row_event};
use crate::key::{Key, prefix_range};
use crate::rights;
use crate::view::{Cf, View, ViewError};

/// Where counting unread messages stops.
pub const UNREAD_MAX: u64 = 100;
/// Where it stops if hardly any op beyond the marker is a message, ops.
const UNREAD_OPS_MAX: u64 = 2_000;
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
    let room = match RoomId::from_wire(&request.room) {
        Ok(room) => room,
        Err(e) => return Ok(refusal(Code::Malformed, &e.to_string())),
    };
    if !(1..=limits::HISTORY_PAGE_MAX).contains(&request.limit) {
        return Ok(refusal(Code::Malformed, "limit must be 1 to 500"));
    }
    let shard = room.shard(shard_count);
    if !durables.ready(shard) {
        return Ok(refusal(Code::NotReady, "the site is catching up: ask another one, or later"));
    }
    let durable = durables.durable(shard);
    if !is_member(view, &durable, &room, user)? {
        return Ok(match seen(view, &durable, &room, user)? {
            Some(words) => refusal(Code::NotPermitted, &words),
            None => refusal(Code::UnknownRoom, rights::UNSEEN),
        });
    }
    let mut page = page(view, &durable, &room, request)?;
    page.unread = unread(view, &durable, &room, user)?;
    Ok(page)
}

fn refusal(code: Code, detail: &str) -> wire::HistoryPage {
    wire::HistoryPage { code: code.number(), detail: detail.to_owned(), ..Default::default() }
}

fn page(
    view: &dyn View,
    durable: &Vector,
    room: &RoomId,
    request: &wire::HistoryRequest,
) -> Result<wire::HistoryPage, ViewError> {
    let from = request.from.as_ref().map(RequestId::from_wire);
    let (start, end) = range(room, from, request.forward);
    let mut filling =
        Filling { view, room, durable, limit: request.limit as usize, bytes: 0, page: Default::default() };
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
    view: &'a dyn View,
    room: &'a RoomId,
    durable: &'a Vector,
    limit: usize,
    bytes: usize,
    page: wire::HistoryPage,
}

impl Filling<'_> {
    fn take(&mut self, value: &[u8]) -> Result<ControlFlow<()>, ViewError> {
        let row = as_durable(self.view, self.durable, self.room, decode(Cf::Request, value)?)?;
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

/// Messages of a room that the user's read marker does not cover, capped at [`UNREAD_MAX`].
pub fn unread(view: &dyn View, durable: &Vector, room: &RoomId, user: &UserId) -> Result<u64, ViewError> {
    let marker = match get::<wire::ReadRow>(view, &Key::Read(*room, user.clone()))? {
        Some(row) => Vector::from_wire_opt(row.vector.as_ref()).map_err(|e| broken(Cf::Read, e))?,
        None => Vector::new(),
    };
    // A second dot of a message counted already is covered by what was passed.
    let mut passed = marker.clone();
    let mut merge = Merge::new(view, room, durable, &marker)?;
    let (mut count, mut ops) = (0, 0);
    while count < UNREAD_MAX
        && ops < UNREAD_OPS_MAX
        && let Some(OpAt { dot, id, .. }) = merge.next()?
    {
        ops += 1;
        let row = request(view, durable, room, id)?;
        if shows(&row, dot) && !covered(&row, &passed)? && is_message(&row)? {
            count += 1;
        }
        passed.raise(dot);
    }
    Ok(count)
}

fn is_message(row: &wire::RequestRow) -> Result<bool, ViewError> {
    let request: wire::Request = decode(Cf::Request, row.request.clone())?;
    Ok(matches!(request.kind, Some(wire::request::Kind::Message(_))))
}
