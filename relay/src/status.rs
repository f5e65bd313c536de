//! What `/status` shows, and what it takes from the shards for `/metrics`.

use std::collections::BTreeMap;

use causeway_protocol::{Origin, Vector};
use causeway_replica::{PeerStatus, ShardStatus};
use serde::Serialize;

use crate::core::Core;
use crate::process::ProcessUsage;
use crate::shard_thread::Report;

/// The whole of it.
#[derive(Serialize)]
pub struct Status {
    site: u16,
    site_name: String,
    origin: String,
    version: &'static str,
    /// Whether every shard serves.
    ready: bool,
    shards_ready: usize,
    /// Whether the clock is trusted.
    accepting: bool,
    stopping: bool,
    wall_ms: u64,
    up_ms: u64,
    sessions: usize,
    process: ProcessUsage,
    /// The greatest lag over peers and shards: for how long a peer has not had everything, ms.
    lag_ms: u64,
    /// Ops that some peer lacks, summed over peers and shards.
    lag_ops: u64,
    /// No bucket is known to differ where it must not.
    hashes_equal: bool,
    store: Option<StoreStatus>,
    sites: Vec<SiteStatus>,
    shards: Vec<ShardEntry>,
}

#[derive(Serialize)]
struct StoreStatus {
    data_bytes: u64,
    wal_bytes: u64,
    memtable_bytes: u64,
    syncs: u64,
    writes_stalled: bool,
}

#[derive(Serialize)]
struct SiteStatus {
    site: u16,
    name: String,
    addresses: Vec<String>,
    link_up: bool,
    link_since_ms: u64,
    rtt_ms: Option<u64>,
    clock_offset_ms: Option<i64>,
    queue_bytes: usize,
    last_error: Option<String>,
    lag_ms: u64,
    lag_ops: u64,
    /// Shards that only a snapshot can help.
    snapshot_only: usize,
    buckets_mismatched: usize,
}

#[derive(Serialize)]
struct ShardEntry {
    shard: u16,
    ready: bool,
    merging: bool,
    durable: BTreeMap<String, u64>,
    stable: BTreeMap<String, u64>,
    waiting_bytes: usize,
    /// Sites with equal `durable` must show the same.
    hash: String,
    peers: Vec<ShardPeer>,
}

#[derive(Serialize)]
struct ShardPeer {
    site: u16,
    linked: bool,
    lag_ms: u64,
    lag_ops: u64,
    snapshot_only: bool,
    buckets_mismatched: usize,
}

/// An origin as text: site, node and incarnation.
fn origin_text(origin: &Origin) -> String {
    format!("{}.{}.{:016x}", origin.site, origin.node, origin.incarnation)
}

fn vector_map(vector: &Vector) -> BTreeMap<String, u64> {
    vector.iter().map(|dot| (origin_text(&dot.origin), dot.seq)).collect()
}

fn shards(reports: &[Report]) -> impl Iterator<Item = &ShardStatus> {
    reports.iter().flat_map(|report| report.shards.iter().map(|(status, _)| status))
}

fn peers(reports: &[Report]) -> impl Iterator<Item = &PeerStatus> {
    shards(reports).flat_map(|shard| &shard.peers)
}

fn lag_ms_max(reports: &[Report]) -> u64 {
    peers(reports).map(|peer| peer.lag_ms).max().unwrap_or(0)
}

impl Status {
    /// Of the shards' reports.
    pub fn of(core: &Core, reports: &[Report]) -> Self {
        let now = core.clock.now();
        let mut entries: Vec<ShardEntry> = shards(reports).map(shard_entry).collect();
        entries.sort_by_key(|entry| entry.shard);
        Self {
            site: core.config.site.0,
            site_name: core.config.site_name.clone(),
            origin: origin_text(&core.origin),
            version: env!("CARGO_PKG_VERSION"),
            ready: core.published.all_ready(),
            shards_ready: core.published.ready_count(),
            accepting: core.is_accepting(),
            stopping: core.is_stopping(),
            wall_ms: now.wall_ms,
            up_ms: now.mono_ms,
            sessions: core.directory.len(),
            process: ProcessUsage::read(),
            lag_ms: lag_ms_max(reports),
            lag_ops: peers(reports).map(|peer| peer.lag_ops).sum(),
            hashes_equal: peers(reports).all(|peer| peer.mismatched == 0),
            store: core.store.stats().ok().map(|stats| StoreStatus {
                data_bytes: stats.data_bytes,
                wal_bytes: stats.wal_bytes,
                memtable_bytes: stats.memtable_bytes,
                syncs: stats.syncs,
                writes_stalled: stats.writes_stalled,
            }),
            sites: sites(core, reports),
            shards: entries,
        }
    }
}

fn sites(core: &Core, reports: &[Report]) -> Vec<SiteStatus> {
    let site = |link: &std::sync::Arc<crate::link::Link>| {
        let status = link.status();
        let of_site = || peers(reports).filter(|peer| peer.site == link.peer.site);
        SiteStatus {
            site: link.peer.site.0,
            name: link.peer.name.clone(),
            addresses: link.peer.addresses.clone(),
            link_up: status.up,
            link_since_ms: status.since_ms,
            rtt_ms: status.rtt_ms,
            clock_offset_ms: core.clock_offset_ms(link.peer.site),
            queue_bytes: link.queue.bytes(),
            last_error: status.last_error,
            lag_ms: of_site().map(|peer| peer.lag_ms).max().unwrap_or(0),
            lag_ops: of_site().map(|peer| peer.lag_ops).sum(),
            snapshot_only: of_site().filter(|peer| peer.snapshot_only).count(),
            buckets_mismatched: of_site().map(|peer| peer.mismatched).sum(),
        }
    };
    core.links.all().iter().map(site).collect()
}

fn shard_entry(shard: &ShardStatus) -> ShardEntry {
    let peer = |peer: &PeerStatus| ShardPeer {
        site: peer.site.0,
        linked: peer.linked,
        lag_ms: peer.lag_ms,
        lag_ops: peer.lag_ops,
        snapshot_only: peer.snapshot_only,
        buckets_mismatched: peer.mismatched,
    };
    ShardEntry {
        shard: shard.shard.0,
        ready: shard.ready,
        merging: shard.merging,
        durable: vector_map(&shard.durable),
        stable: vector_map(&shard.stable),
        waiting_bytes: shard.waiting_bytes,
        hash: format!("{:032x}", shard.hash),
        peers: shard.peers.iter().map(peer).collect(),
    }
}

/// Sets the metrics that are read rather than counted.
pub fn export(core: &Core, reports: &[Report]) {
    let metrics = &core.metrics;
    let sum = |field: fn(&causeway_replica::io::Counters) -> u64| {
        reports.iter().flat_map(|report| &report.shards).map(|(_, counters)| field(counters)).sum::<u64>() as f64
    };
    metrics.ops_accepted.set(sum(|c| c.accepted));
    metrics.ops_resent.set(sum(|c| c.resent));
    metrics.ops_applied.set(sum(|c| c.applied));
    metrics.ops_second_dots.set(sum(|c| c.second_dots));
    metrics.ops_duplicate.set(sum(|c| c.duplicates));
    metrics.ops_gated.set(sum(|c| c.gated));
    metrics.bodies_purged.set(sum(|c| c.bodies_purged));
    metrics.bodies_erased.set(sum(|c| c.bodies_erased));
    metrics.bodies_expired.set(sum(|c| c.bodies_expired));
    metrics.hidden.set(sum(|c| c.hidden));
    metrics.rooms_limited.set(sum(|c| c.rooms_limited));
    metrics.members_limited.set(sum(|c| c.members_limited));
    metrics.invitations_limited.set(sum(|c| c.invitations_limited));
    metrics.buckets_mismatched.set(sum(|c| c.buckets_mismatched));
    metrics.lag_seconds.set(lag_ms_max(reports) as f64 / 1e3);
    let usage = ProcessUsage::read();
    metrics.cpu_seconds.set(usage.cpu_user_s + usage.cpu_system_s);
    metrics.memory_bytes.set(usage.memory_bytes as f64);
    metrics.memory_peak_bytes.set(usage.memory_peak_bytes as f64);
}
