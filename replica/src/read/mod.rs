//! What leaves a site by reading: rooms of a user, what a cursor lacks, history.
//!
//! Everything here is capped at a shard's *durable* vector, because rows are visible in the view before they
//! are synced: a row shows only if one of its dots is durable, and ops are read up to the durable seq of their
//! origin. Nothing here writes. All work is bounded by the limits that the caller or a constant gives.

use std::sync::Arc;

use bytes::Bytes;
use causeway_protocol::{Dot, RequestId, RoomId, ShardId, UserId, Vector, encode_frame, wire};

use crate::view::{View, ViewError};

/// What the shards of a site have published for readers.
pub trait Durables {
    /// The shard's durable vector as last published. Every vector published covers the ones before, and is
    /// published before the deliveries of what it covers.
    fn durable(&self, shard: ShardId) -> Arc<Vector>;
    /// Whether the shard serves reads.
    fn ready(&self, shard: ShardId) -> bool;
}

/// Some of a user's rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomList {
    /// By id, ascending.
    pub rooms: Vec<RoomId>,
    /// Where the next list starts (`after`); `None` if this is the last one.
    pub next: Option<RoomId>,
}

/// An event as it is read from storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageEvent {
    /// The dot that it is sent with.
    pub dot: Dot,
    /// The request.
    pub id: RequestId,
    /// An encoded frame, its length in front.
    pub frame: Bytes,
}

/// What of a room lies beyond a cursor, or the next part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomPage {
    /// In causal order.
    pub events: Vec<PageEvent>,
    /// The cursor after these events: covers them and what needed no sending.
    pub cursor: Vector,
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
    /// Requests left out, capped at [`MISSING_MAX`].
    pub missing: u64,
    /// No place among those left out is lower.
    pub lowest: Option<RequestId>,
}

/// Where counting what a cursor lacks stops, requests.
pub const MISSING_MAX: u64 = 10_000;
/// Where counting unread messages stops.
pub const UNREAD_MAX: u64 = 100;

/// An event as a frame, its length in front: encoded once, shared by all receivers.
pub fn event_frame(room: RoomId, dot: Dot, user: &UserId, request: Bytes, body: Option<Bytes>) -> Bytes {
    let event = event(room, dot, user.as_str().to_owned(), request, body);
    encode_frame(&wire::EventFrame { frame: Some(wire::event_frame::Frame::Event(event)) })
}

fn event(room: RoomId, dot: Dot, user: String, request: Bytes, body: Option<Bytes>) -> wire::Event {
    wire::Event { room: room.to_wire(), dot: Some(dot.to_wire()), user, request, body }
}

/// The rooms that a user is a member of, after `after`, at most `rooms_max` of them. Leaves out rooms whose
/// membership is not durable yet, and those of shards that are not ready.
pub fn rooms_of(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    after: Option<RoomId>,
    rooms_max: usize,
) -> Result<RoomList, ViewError> {
    let _ = (view, durables, shard_count, user, after, rooms_max);
    Ok(RoomList::default())
}

/// Whether a user is a member of a room, as far as that is durable.
pub fn is_member(view: &dyn View, durable: &Vector, room: &RoomId, user: &UserId) -> Result<bool, ViewError> {
    let _ = (view, durable, room, user);
    Ok(false)
}

/// What of a room lies beyond `cursor`, in causal order (by the stamps of the ops), at most `ops_max` ops and
/// about `bytes_max` bytes of frames; always at least one op if there is any. A request of which any dot is
/// covered by the cursor is not sent again.
pub fn room_since(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    ops_max: usize,
    bytes_max: usize,
) -> Result<RoomPage, ViewError> {
    let _ = (view, room, durable, ops_max, bytes_max);
    Ok(RoomPage { cursor: cursor.clone(), ..RoomPage::default() })
}

/// Whether more than `ops_max` ops of a room lie beyond `cursor`. Reads keys only.
pub fn is_far_behind(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    ops_max: usize,
) -> Result<bool, ViewError> {
    let _ = (view, room, durable, cursor, ops_max);
    Ok(false)
}

/// The newest requests by place that `cursor` lacks, at most `requests_max` and about `bytes_max` bytes of
/// frames, and what is left out below.
pub fn newest_page(
    view: &dyn View,
    room: &RoomId,
    durable: &Vector,
    cursor: &Vector,
    requests_max: usize,
    bytes_max: usize,
) -> Result<NewestPage, ViewError> {
    let _ = (view, room, durable, requests_max, bytes_max);
    Ok(NewestPage { cursor: cursor.clone(), ..NewestPage::default() })
}

/// One page of a room's requests in the order of their places. The answer always fits a frame. A refusal is a
/// page with a code: `Malformed`, `NotReady`, `UnknownRoom` or `NotPermitted`.
pub fn history(
    view: &dyn View,
    durables: &dyn Durables,
    shard_count: u16,
    user: &UserId,
    request: &wire::HistoryRequest,
) -> Result<wire::HistoryPage, ViewError> {
    let _ = (view, durables, shard_count, user, request);
    Ok(wire::HistoryPage::default())
}

/// Messages of a room that the user's read marker does not cover, capped at [`UNREAD_MAX`].
pub fn unread(view: &dyn View, durable: &Vector, room: &RoomId, user: &UserId) -> Result<u64, ViewError> {
    let _ = (view, durable, room, user);
    Ok(0)
}
