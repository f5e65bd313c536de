//! Version negotiation: each side names the range it speaks, and the highest common version is used.

/// The lowest protocol version spoken here.
pub const VERSION_MIN: u32 = 1;
/// The highest protocol version spoken here.
pub const VERSION_MAX: u32 = 1;
/// ALPN of client connections.
pub const ALPN_CLIENT: &[u8] = b"causeway/1";
/// ALPN of peer connections.
pub const ALPN_PEER: &[u8] = b"causeway-peer/1";

/// The highest version in both ranges; `None` where they do not meet.
pub fn negotiate(their_min: u32, their_max: u32) -> Option<u32> {
    let (low, high) = (their_min.max(VERSION_MIN), their_max.min(VERSION_MAX));
    (low <= high).then_some(high)
}
