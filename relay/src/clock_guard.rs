//! Whether this site's clock can be trusted: compared with the median of its peers' (D1a).

use std::collections::{BTreeMap, VecDeque};

use causeway_protocol::{SiteId, limits};

/// Samples kept of a peer. The one with the shortest round trip has the smallest error.
const SAMPLES_MAX: usize = 8;
/// Fewer peers cannot say whose clock is off.
const PEERS_MIN: usize = 2;

#[derive(Clone, Copy, Debug)]
struct Sample {
    rtt_ms: u64,
    offset_ms: i64,
}

/// What the peers' pongs say of this site's clock.
#[derive(Default, Debug)]
pub struct ClockGuard {
    peers: BTreeMap<SiteId, VecDeque<Sample>>,
}

impl ClockGuard {
    /// Takes a pong: the peer's clock read `peer_wall_ms` at about half the round trip before `wall_ms`.
    pub fn observe(&mut self, peer: SiteId, rtt_ms: u64, peer_wall_ms: u64, wall_ms: u64) {
        let offset_ms = (peer_wall_ms as i64).saturating_add((rtt_ms / 2) as i64).saturating_sub(wall_ms as i64);
        let samples = self.peers.entry(peer).or_default();
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(Sample { rtt_ms, offset_ms });
    }

    /// The link is down: what the peer said is too old to count.
    pub fn forget(&mut self, peer: SiteId) {
        self.peers.remove(&peer);
    }

    /// How far a peer's clock is ahead of this one, ms; negative where it is behind. Of equally good samples the
    /// newest counts, so that a clock that was set is noticed at once.
    pub fn offset_ms(&self, peer: SiteId) -> Option<i64> {
        let samples = self.peers.get(&peer)?;
        samples.iter().rev().min_by_key(|sample| sample.rtt_ms).map(|sample| sample.offset_ms)
    }

    /// How far the median of the peers' clocks is ahead, ms; `None` with fewer than two peers. Of two middle ones
    /// the one nearer to this clock counts: with two peers, one wrong peer must not stop a right site.
    pub fn median_ms(&self) -> Option<i64> {
        let mut offsets: Vec<i64> = self.peers.keys().filter_map(|peer| self.offset_ms(*peer)).collect();
        if offsets.len() < PEERS_MIN {
            return None;
        }
        offsets.sort_unstable();
        let upper = offsets.len() / 2;
        let lower = (offsets.len() - 1) / 2;
        offsets[lower..=upper].iter().copied().min_by_key(|offset| offset.unsigned_abs())
    }

    /// Whether this site may accept requests.
    pub fn is_trusted(&self) -> bool {
        self.median_ms().is_none_or(|median| median.unsigned_abs() <= limits::CLOCK_SKEW_MAX_MS)
    }
}

#[cfg(test)]
#[path = "clock_guard_tests.rs"]
mod tests;
