//! What leaves a site by reading: rooms of a user, what a cursor lacks, history.
//!
//! Everything here is capped at a shard's *durable* vector, because rows are visible in the view before they
//! are synced: a row shows only if one of its dots is durable, and ops are read up to the durable seq of their
//! origin. Nothing here writes. All work is bounded by the limits that the caller or a constant gives.

mod admit;
mod erasures;
mod history;
mod invitations;
mod live;
mod members;
mod merge;
mod rooms;
mod rows;
mod seen;
mod since;
mod summary;
mod unread;

use std::sync::Arc;

use bytes::Bytes;
use causeway_protocol::{Dot, RequestId, RoomId, ShardId, UserId, Vector, encode_frame, wire};

pub use erasures::{TO_ERASE_MAX, erased, erasing_request, erasure_of, to_erase};
pub use history::history;
pub use invitations::invitations;
pub use live::{may_type, presence};
pub use members::{members, readers};
pub use rooms::{RoomFace, RoomList, is_member, room_face, rooms_of};
#[cfg(test)]
pub(crate) use rooms::{knocks, pins};
pub(crate) use rooms::{last_stamp, rooms_applied};
pub(crate) use rows::is_revocation_durable;
pub use since::{MISSING_MAX, NewestPage, RoomPage, is_far_behind, newest_page, room_since};
pub use summary::{Standing, extent, standing, summary};

/// What the shards of a site have published for readers.
pub trait Durables {
    /// The shard's durable vector as last published. Every vector published covers the ones before, and is
    /// published before the deliveries of what it covers.
    fn durable(&self, shard: ShardId) -> Arc<Vector>;
    /// Whether the shard serves reads.
    fn ready(&self, shard: ShardId) -> bool;
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

/// An event as a frame, its length in front: encoded once, shared by all receivers. Request, body and when that goes.
pub fn event_frame(
    room: RoomId,
    dot: Dot,
    user: &UserId,
    (request, body, deadline_ms): (Bytes, Option<Bytes>, u64),
    past: Option<wire::Vector>,
) -> Bytes {
    let user = user.as_str().to_owned();
    frame_of(wire::Event { room: room.to_wire(), dot: Some(dot.to_wire()), user, request, body, past, deadline_ms })
}

/// The event that a request's row makes, sent with this dot of it.
fn row_event(room: &RoomId, dot: Dot, row: wire::RequestRow, past: Option<wire::Vector>) -> wire::Event {
    let wire::RequestRow { user, request, body, deadline_ms, .. } = row;
    wire::Event { room: room.to_wire(), dot: Some(dot.to_wire()), user, request, body, past, deadline_ms }
}

fn frame_of(event: wire::Event) -> Bytes {
    encode_frame(&wire::EventFrame { frame: Some(wire::event_frame::Frame::Event(event)) })
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod tests;
