//! Causeway's wire and disk records: generated types, ids, stamps, vectors, frames, limits, errors.
//!
//! The schema is `proto/causeway/v1/`; [`wire`] is what prost makes of it. Everything else here gives those
//! records their meaning: ids that are hashes, stamps that are hybrid clocks, frames with hard limits, and
//! errors with stable numbers. Decoding never panics, whatever the bytes.

#![forbid(unsafe_code)]

mod datagram;
mod error;
mod frame;
mod ids;
pub mod limits;
mod marker;
mod preview;
mod role;
mod stamp;
mod vector;
pub mod version;

/// Generated from `proto/causeway/v1/`.
#[allow(missing_docs, clippy::large_enum_variant)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/causeway.v1.rs"));
}

pub use bytes::Bytes;
pub use datagram::{decode_datagram, encode_datagram};
pub use error::{Code, DecodeError};
pub use frame::{FrameDecoder, FrameError, encode_frame, encode_frame_into};
pub use ids::{DeviceId, Dot, Hash16, Origin, RequestId, RoomId, ShardId, SiteId, UserId, hash16};
pub use marker::{Marker, UnreadFlag};
pub use preview::preview;
pub use prost::Message;
pub use role::{Role, UnknownRole};
pub use stamp::{Hlc, Stamp};
pub use vector::Vector;

impl std::fmt::Debug for wire::Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A body is somebody's words: its size is all that a log may hold of it.
        write!(f, "Body({:?}, {} bytes)", self.content_type, self.content.len())
    }
}

impl std::fmt::Debug for wire::Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whoever reads the token is the user.
        write!(f, "Hello({:?}, {} rooms, standby: {})", self.user, self.cursors.len(), self.standby)
    }
}

impl std::fmt::Debug for wire::Renew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Renew({} bytes)", self.token.len())
    }
}

#[cfg(test)]
mod tests;
