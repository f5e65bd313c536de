//! What goes into a shard replica and what comes out of it.

use bytes::Bytes;
use causeway_protocol::{
    Code, DeviceId, Dot, Marker, Origin, RequestId, RoomId, ShardId, SiteId, UserId, Vector, wire,
};

use crate::view::Batch;

/// Both clocks of the host at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Never goes back; for timers. Milliseconds since any moment.
    pub mono_ms: u64,
    /// The wall clock, which may jump. Milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// A client session, numbered by its host, never reused within a process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// A write of the host. Tickets rise; one is durable when all before it are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticket(pub u64);

/// What is fixed for a shard replica's life.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The shard.
    pub shard: ShardId,
    /// Shards of the cluster.
    pub shard_count: u16,
    /// This start of this node.
    pub origin: Origin,
    /// Every configured site, this one too.
    pub sites: Vec<SiteId>,
    /// The store is new, marked restored, or otherwise not to be trusted to be the newest copy: not ready
    /// before it has caught up with one peer.
    pub must_catch_up: bool,
    /// Bytes of log that a lagging site may hold back before it is marked snapshot-only.
    pub log_bytes_max: u64,
    /// Rooms that one user may be a member of; above it, further joins and new rooms are refused here.
    pub user_rooms_max: usize,
    /// Members that a room may have before it lets nobody else in. Sites that are cut off from each other may let in more
    /// together.
    pub room_members_max: u64,
}

/// A request as a session hands it to the shard.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Who waits for the ack.
    pub session: SessionId,
    /// The authenticated user.
    pub user: UserId,
    /// The device that the session (or the nonce with the submit) proved to be the user's.
    pub device: DeviceId,
    /// An encoded `wire::Request`.
    pub request: Bytes,
    /// An encoded `wire::Body`.
    pub body: Option<Bytes>,
}

/// Everything that a replica can be told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A client's request. Answered by `Accepted` or `Refused`, once, unless the session ends first.
    Submit(Submission),
    /// The session is gone: nothing more is sent to it.
    SessionEnded(SessionId),
    /// A link to a peer is up (again): the handshake starts anew.
    PeerUp(SiteId),
    /// The link is down.
    PeerDown(SiteId),
    /// A frame from a peer.
    Peer(SiteId, wire::ShardFrame),
    /// All writes up to this ticket are fsynced.
    Durable(Ticket),
    /// Stop or go on accepting requests (the host's clock is off its peers' median).
    Accepting(bool),
    /// An operator says that this copy is the newest there is.
    ForceReady,
    /// A user's marker of a room.
    MarkRead(UserId, RoomId, Marker),
    /// Time has passed: see `Shard::next_timer`.
    Tick,
}

/// Everything that a replica can ask of its host. Nothing here shows what is not durable.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Ack 1.
    Accepted {
        /// Who asked.
        session: SessionId,
        /// The request.
        id: RequestId,
        /// One of its dots.
        dot: Dot,
        /// Whether that dot is stable already.
        replicated: bool,
    },
    /// A refusal.
    Refused {
        /// Who asked.
        session: SessionId,
        /// The request; `None` where not even its id could be read.
        id: Option<RequestId>,
        /// Why.
        code: Code,
        /// Names the field and the fix.
        detail: String,
    },
    /// Ack 2: every dot of the origin up to this one is stable.
    Frontier {
        /// A session that waits for it.
        session: SessionId,
        /// Up to here.
        dot: Dot,
    },
    /// A request became visible in a room: for every session that is subscribed to it.
    Deliver {
        /// The room.
        room: RoomId,
        /// The dot that made it visible.
        dot: Dot,
        /// An encoded frame (`wire::EventFrame` with its length in front), shared by all receivers.
        frame: Bytes,
    },
    /// What was told of a room may count otherwise now, though nothing new shows: for every session that is subscribed to
    /// it, in the order of `Deliver`.
    Recount {
        /// The room.
        room: RoomId,
        /// The op that did it.
        dot: Dot,
        /// Whether it hid or removed something; else it is one more acceptance of what shows already.
        hides: bool,
    },
    /// A user became (`true`) or ceased to be a member of a room.
    Membership {
        /// The room.
        room: RoomId,
        /// The user.
        user: UserId,
        /// Whether the user is a member now.
        member: bool,
    },
    /// The invitations of a user have changed: for the user's sessions.
    Invitations {
        /// The user.
        user: UserId,
    },
    /// A user was erased, by what the user's own room says: for whoever asks for it in every room ([`crate::read::to_erase`]).
    Erased {
        /// The user.
        user: UserId,
    },
    /// A user's marker of a room has moved, here or at another site: for the user's sessions. Not synced.
    Marked {
        /// The room.
        room: RoomId,
        /// The user.
        user: UserId,
        /// Where it is now.
        marker: Marker,
    },
    /// The durable vector grew: publish it to readers *before* the `Deliver`s that follow it.
    DurableVector(Vector),
    /// A frame for a peer's replica of this shard.
    ToPeer(SiteId, wire::ShardFrame),
    /// The shard began or ceased to serve: accept requests and answer reads.
    Ready(bool),
    /// Something that an operator must know.
    Alarm(Alarm),
}

/// Broken promises that the replica can see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Two different ops for one dot: somebody reused an identity.
    Fork(Dot),
    /// A peer's op does not fit its origin's chain, or does not decode; it was refused.
    BadOp(SiteId, String),
    /// Equal touch vectors, different hashes, in this bucket against this peer.
    Mismatch(SiteId, u16),
    /// More origins in the vector than expected.
    ManyOrigins(usize),
}

/// What one or more steps leave to be done: first the batch, then [`crate::Shard::seal`], then the effects.
#[derive(Default, Debug)]
pub struct Outputs {
    /// To be written atomically.
    pub batch: Batch,
    /// To be carried out in this order.
    pub effects: Vec<Output>,
}

/// Plain counters of one replica; the host exports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests accepted with a new dot.
    pub accepted: u64,
    /// Requests found accepted already, and acknowledged again.
    pub resent: u64,
    /// Requests refused.
    pub refused: u64,
    /// Ops of other origins applied.
    pub applied: u64,
    /// Second and further dots of a request applied.
    pub second_dots: u64,
    /// Ops that came twice from peers.
    pub duplicates: u64,
    /// Ops that had to wait for what they depend on.
    pub gated: u64,
    /// Waiting ops dropped because the buffer was full, to be asked for again.
    pub gated_dropped: u64,
    /// Snapshots merged.
    pub snapshots_merged: u64,
    /// Rows sent in snapshots.
    pub snapshot_rows_sent: u64,
    /// Digest buckets compared with equal touch vectors.
    pub buckets_compared: u64,
    /// Of these, with different hashes.
    pub buckets_mismatched: u64,
    /// Requests that waited for a message that they refer to.
    pub reference_waits: u64,
    /// Log rows truncated.
    pub truncated: u64,
    /// Bodies taken away by redactions.
    pub bodies_purged: u64,
    /// Bodies whose time has come.
    pub bodies_expired: u64,
    /// Bodies taken away by erasures.
    pub bodies_erased: u64,
    /// Acceptances hidden by a revocation that came after them.
    pub hidden: u64,
    /// Joins and new rooms refused because the user has as many rooms as a user may have.
    pub rooms_limited: u64,
    /// Joins refused because the room had as many members as it may have.
    pub members_limited: u64,
    /// Invitations refused for whom they were for, who had as many as a user may have.
    pub invitations_limited: u64,
}
