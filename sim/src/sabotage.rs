//! Deliberate defects: each must make seeds fail, or the checkers see nothing.

use std::fmt;
use std::str::FromStr;

/// A defect of the host, the replica or the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// The host reports a write as durable before it is synced.
    AckBeforeSync,
    /// The host publishes the applied vector to readers as the durable one.
    LeakUnsyncedRows,
    /// A restarted process keeps its incarnation.
    ReuseIncarnation,
    /// Ops are applied in their origin's order, whatever they depend on.
    ApplyWithoutDeps,
    /// Set elements are tagged with dots.
    TagElementsWithDots,
    /// A snapshot's elements are added without asking whether they were removed here.
    UnionAtRejoin,
    /// A request whose stamp is not above the device's last one counts as a resend.
    DedupByWatermark,
    /// A client's cursors of one shard's rooms are one.
    CursorPerShard,
    /// A body that comes after its redaction is kept.
    KeepLateBodies,
    /// What comes after its revocation is not hidden.
    ForgetHiding,
    /// Sites do not ask whether a user may do what a request wants.
    TrustAnybody,
    /// Nobody asks for the erasure of a user in the rooms.
    ForgetErasures,
    /// Of the flags by which a user marks a room unread, the last to come holds, whenever it was said.
    LastFlagToCome,
    /// Sessions are not told that what they were told counts otherwise now.
    DropRecounts,
}

impl Break {
    /// All of them, by name.
    pub const ALL: [(&'static str, Break); 14] = [
        ("ack-before-sync", Break::AckBeforeSync),
        ("leak-unsynced-rows", Break::LeakUnsyncedRows),
        ("reuse-incarnation", Break::ReuseIncarnation),
        ("apply-without-deps", Break::ApplyWithoutDeps),
        ("tag-elements-with-dots", Break::TagElementsWithDots),
        ("union-at-rejoin", Break::UnionAtRejoin),
        ("dedup-by-watermark", Break::DedupByWatermark),
        ("cursor-per-shard", Break::CursorPerShard),
        ("keep-late-bodies", Break::KeepLateBodies),
        ("forget-hiding", Break::ForgetHiding),
        ("trust-anybody", Break::TrustAnybody),
        ("forget-erasures", Break::ForgetErasures),
        ("last-flag-to-come", Break::LastFlagToCome),
        ("drop-recounts", Break::DropRecounts),
    ];
}

impl FromStr for Break {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(n, _)| *n == name);
        known.map(|(_, b)| *b).ok_or_else(|| format!("unknown defect: one of {}", Self::ALL.map(|(n, _)| n).join(", ")))
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, b)| b == self).map_or("?", |(name, _)| name))
    }
}
