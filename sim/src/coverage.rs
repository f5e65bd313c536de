//! Which faults and rare branches a run really reached. A fault that never strikes proves nothing.

use std::collections::BTreeMap;

/// Counts by name.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// It was reached.
    pub fn hit(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// It was reached so often.
    pub fn add(&mut self, what: &'static str, times: u64) {
        if times > 0 {
            *self.counts.entry(what).or_insert(0) += times;
        }
    }

    /// How often it was reached.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Adds another run's.
    pub fn merge(&mut self, other: &Coverage) {
        other.counts.iter().for_each(|(what, times)| self.add(what, *times));
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.counts.iter().map(|(what, times)| (*what, *times))
    }
}

/// What a large number of seeds must reach, each at least once.
pub const EXPECTED: &[&str] = &[
    "acceptance judged",
    "accepted by resend",
    "acting owner acted",
    "ban accepted",
    "ban lifted",
    "body expired",
    "body purged",
    "client crashed",
    "client moved",
    "clock jumped",
    "clock off: refuses writes",
    "connection broke",
    "cursor chain checked",
    "demotion",
    "device lost",
    "direct room",
    "direct room made twice",
    "disk lost",
    "edit checked",
    "expiry checked",
    "event queue overflowed",
    "frame duplicated",
    "frame lost",
    "frame reordered",
    "fsync failed",
    "gap told",
    "gate overflowed",
    "gated",
    "hidden given role",
    "hidden join",
    "hidden lifting",
    "hidden message",
    "hidden reaction",
    "history read",
    "kick accepted",
    "old copy restored",
    "old copy restored unmarked",
    "one-way cut",
    "op hidden",
    "outbox full",
    "parked",
    "partition",
    "partition flapped",
    "marker moved",
    "marked unread",
    "marked unread no longer",
    "flags compared between sites",
    "pinned",
    "reaction removed",
    "recount: hidden",
    "recount: second dot",
    "redaction by a moderator",
    "redaction checked",
    "refused",
    "reminted",
    "replicated",
    "retention set",
    "user erased",
    "erasure told",
    "erasure asked for",
    "erasure checked",
    "body erased",
    "asked to be let in",
    "not let in",
    "let in",
    "asking allowed or not",
    "role given",
    "room unchanged",
    "invitation told",
    "room opened late",
    "room opened or closed",
    "second acceptance of a revocation",
    "second dot",
    "site crashed",
    "site started",
    "slow disk",
    "slow reader",
    "snapshot merged",
    "stored",
    "topic set",
    "truncated",
    "unpinned",
    "unread checked",
    "unsynced writes lost",
    "writers set",
];
