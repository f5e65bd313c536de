//! What an operator can see of a shard.

use causeway_protocol::{ShardId, SiteId, Vector};

use super::Shard;
use crate::io::Now;

/// A shard's state, for `/status`.
#[derive(Clone, Debug)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardId,
    /// Whether it serves.
    pub ready: bool,
    /// Whether a snapshot is being merged or fetched.
    pub merging: bool,
    /// Fsynced here.
    pub durable: Vector,
    /// Fsynced in two sites.
    pub stable: Vector,
    /// The log starts above this.
    pub floor: Vector,
    /// Bytes of ops that wait for others.
    pub waiting_bytes: usize,
    /// Sum over all buckets' hashes: two sites with equal vectors must show the same.
    pub hash: u128,
    /// The peers.
    pub peers: Vec<PeerStatus>,
}

/// A peer, as one shard sees it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Which.
    pub site: SiteId,
    /// The link is up and it has said what it holds.
    pub linked: bool,
    /// Fsynced there, by its own word.
    pub acked: Vector,
    /// Ops that are durable here and not acknowledged there.
    pub lag_ops: u64,
    /// For how long it has not had everything, ms; 0 where it has.
    pub lag_ms: u64,
    /// Our log does not reach back to it: only a snapshot can help it.
    pub snapshot_only: bool,
    /// Buckets whose hashes differ where they must not.
    pub mismatched: usize,
}

impl Shard {
    /// Its state now.
    pub fn status(&self, now: Now) -> ShardStatus {
        let peers = self.peers.iter().map(|(site, peer)| {
            let behind = self.durable.beyond(&peer.acked);
            let lag_ops = behind.iter().map(|dot| dot.seq - peer.acked.get(&dot.origin)).sum();
            PeerStatus {
                site: *site,
                linked: peer.hello,
                acked: peer.acked.clone(),
                lag_ops,
                lag_ms: peer.lag_ms(&self.durable, now.mono_ms),
                snapshot_only: !peer.acked.covers_all(&self.floor),
                mismatched: self.mismatched.iter().filter(|(at, _)| at == site).count(),
            }
        });
        ShardStatus {
            shard: self.config.shard,
            ready: self.ready,
            merging: self.merge.is_some(),
            durable: self.durable.clone(),
            stable: self.stable(),
            floor: self.floor.clone(),
            waiting_bytes: self.gate.bytes(),
            hash: self.buckets.numbers().fold(0, |sum, number| sum.wrapping_add(self.buckets.get(number).hash)),
            peers: peers.collect(),
        }
    }
}
