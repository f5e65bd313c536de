//! `fuzz`: a relay as a process, clients and a peer that break the protocol in every way they can, and one client that
//! does not and must not notice. What holds for a fuzzed decoder must hold for the whole: nothing panics, memory stays
//! bounded, nothing that was acknowledged is lost.
//!
//! The other site is started once, so that the cluster is whole, and killed: its certificate is ours from then on. What
//! is sent follows from the seed, and when it arrives does not.

mod client_side;
mod connect;
mod hostile;
mod mutate;
mod peer_side;
mod witness;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::Instant;

use crate::drill::target_of;
use crate::proc_stats;
use crate::rng::Rng;
use crate::sdk::Shared;
use crate::site::{Cluster, ClusterConfig};

use connect::Dialler;
use witness::Witness;

/// The relay under attack may take no more memory than this at any moment: its store's memtables (256 MiB) and cache, and
/// of its own what waits for a link, for a shard's thread, and in the shards for other ops (64 MiB each).
pub const RSS_MAX_BYTES: u64 = 640 << 20;
/// The cache's share of it is no subject here: it fills in any case.
const CACHE_BYTES: u64 = 32 << 20;
/// Sites of the cluster.
pub const SITES: usize = 2;
/// The site that runs, and the one that is played: the lower number dials.
const RELAY: usize = 1;
const PLAYED: usize = 0;
/// Hostile clients at a time.
const CLIENTS: u64 = 3;
/// No promise takes longer to keep on a slow machine, unless it is broken.
const HANG_GUARD: Duration = Duration::from_secs(90);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct FuzzConfig {
    /// Two sites.
    pub cluster: ClusterConfig,
    /// How long.
    pub length: Duration,
    /// What is sent.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct FuzzReport {
    /// Connections that were made, as clients and as a peer, and what was written on them.
    pub clients: Counts,
    /// As a peer.
    pub peers: Counts,
    /// Messages of the client that behaves, all of them stored and found again.
    pub stored: usize,
    /// The relay's memory at its peak.
    pub rss_peak_bytes: u64,
    /// What did not hold; empty where all did.
    pub broken: Vec<String>,
}

/// What one kind of attacker did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections whose handshake was done.
    pub connections: u64,
    /// Frames and pieces of frames.
    pub writes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Connections that the relay closed with a code of its own.
    pub refused: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.connections += other.connections;
        self.writes += other.writes;
        self.bytes += other.bytes;
        self.refused += other.refused;
    }
}

/// Runs it.
pub async fn run(config: FuzzConfig) -> Result<FuzzReport> {
    ensure!(config.cluster.sites == SITES, "one site runs and one is played: two sites");
    let mut sites = config.cluster;
    sites.extra.push(format!("block_cache_bytes = {CACHE_BYTES}"));
    let mut cluster = Cluster::start(sites).await?;
    cluster.kill(PLAYED).await?;
    let (target, _) = target_of(&cluster)?;
    let shared = Shared::new(target)?;
    let dialler = Arc::new(Dialler::new(&cluster, RELAY, PLAYED)?);
    let mut report = FuzzReport::default();
    let pid = cluster.sites[RELAY].pid().context("the relay runs")?;

    let mut witness = Witness::sign_in(&shared, RELAY).await?;
    let until = Instant::now() + config.length;
    let clients = (0..CLIENTS).map(|n| tokio::spawn(client_side::attack(dialler.clone(), rng(config.seed, n), until)));
    let clients: Vec<_> = clients.collect();
    // One, for a second link of a site replaces the first.
    let peer = tokio::spawn(peer_side::attack(dialler.clone(), rng(config.seed, CLIENTS), until));
    if let Err(broken) = witness.talk(&shared, RELAY, until).await {
        report.broken.push(broken);
    }
    for task in clients {
        report.clients.add(task.await.context("a hostile client")?);
    }
    report.peers = peer.await.context("the hostile peer")?;

    report.rss_peak_bytes = proc_stats::memory_kb(pid, "VmHWM") * 1024;
    if proc_stats::memory_kb(pid, "VmRSS") == 0 {
        report.broken.push("the relay's process has ended".to_owned());
    }
    if report.rss_peak_bytes > RSS_MAX_BYTES {
        report.broken.push(format!("the relay took {} MiB", report.rss_peak_bytes >> 20));
    }
    witness.close().await;
    // With SIGKILL: what was acknowledged must not depend on an orderly end.
    cluster.kill(RELAY).await?;
    cluster.start_again(RELAY)?;
    match tokio::time::timeout(HANG_GUARD, cluster.wait_ready(RELAY)).await {
        Ok(Ok(())) => report.broken.extend(witness.missing(&shared, RELAY).await.err()),
        Ok(Err(e)) => report.broken.push(format!("after a restart: {e}")),
        Err(_) => report.broken.push("after a restart: not ready".to_owned()),
    }
    report.stored = witness.stored();
    let log = std::fs::read(&cluster.sites[RELAY].log).context("cannot read the relay's log")?;
    let log = String::from_utf8_lossy(&log);
    if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
        report.broken.push(format!("the relay's log says: {line}"));
    }
    cluster.stop_all().await?;
    Ok(report)
}

/// Each attacker's own numbers.
fn rng(seed: u64, attacker: u64) -> Rng {
    Rng::seeded(seed.wrapping_mul(1_000).wrapping_add(attacker))
}

/// The report in words.
pub fn summary(report: &FuzzReport) -> String {
    let line = |name: &str, c: &Counts| {
        format!(
            "{name}: {} connections, {} writes, {} KiB, {} refused\n",
            c.connections,
            c.writes,
            c.bytes >> 10,
            c.refused
        )
    };
    let mut text = line("hostile clients", &report.clients) + &line("hostile peers", &report.peers);
    text += &format!(
        "behaving client: {} messages stored; relay's memory at its peak: {} MiB of {} MiB\n",
        report.stored,
        report.rss_peak_bytes >> 20,
        RSS_MAX_BYTES >> 20
    );
    for broken in &report.broken {
        text += &format!("BROKEN: {broken}\n");
    }
    text
}
