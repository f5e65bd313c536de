//! Deliberate defects, for the simulator's proof that its checkers see them. Built only with the feature
//! `sabotage`; without it nothing here can be switched on.

use causeway_protocol::{DeviceId, Dot, RequestId, Stamp};

/// A defect that a shard can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Ops are applied when they are next of their origin, whatever they depend on.
    ApplyWithoutDeps,
    /// An element's tag is the op's dot instead of the request's id.
    TagElementsWithDots,
    /// A merge keeps every tag of both sides.
    UnionAtRejoin,
    /// Resends are found by a high-water mark of each device instead of by the request's row.
    DedupByWatermark,
    /// A body that comes after its redaction is kept.
    KeepLateBodies,
    /// What comes after its revocation is not hidden.
    ForgetHiding,
    /// Nobody asks whether a user may do what a request wants.
    TrustAnybody,
    /// Of the flags by which a user marks a room unread, the last to come holds, whenever it was said.
    LastFlagToCome,
}

/// The tag that `TagElementsWithDots` uses.
pub(crate) fn dot_as_tag(dot: Dot) -> RequestId {
    RequestId { stamp: Stamp(dot.seq), device: DeviceId(dot.origin.incarnation) }
}
