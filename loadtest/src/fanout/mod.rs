//! The yardstick: chat fan-out at full speed or at a given rate, on fresh sites, in figures that other servers' runs can
//! be put beside. A publish counts when it is `Stored` (and, with several sites, when it is `Replicated`), a delivery
//! when a member has it. One process holds both ends, so that no clocks are compared.

mod idle;
mod members;
mod publishers;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use crate::drill::target_of;
use crate::latency::LatencySummary;
use crate::proc_stats;
use crate::sdk::Shared;
use crate::site::{Cluster, ClusterConfig};

use members::{Meter, open_members};
use publishers::Load;

pub use idle::IdleReport;

/// Deliveries that are still under way when the publishers stop are waited for no longer than this.
const DRAIN_WAIT: Duration = Duration::from_secs(12);
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// Publishers that do not stop in this time have lost their answers.
const STOP_WAIT: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct FanoutConfig {
    /// The sites to start.
    pub cluster: ClusterConfig,
    /// Rooms.
    pub rooms: usize,
    /// Online members of each; the first of them publishes.
    pub members: usize,
    /// Every member publishes.
    pub spread: bool,
    /// Bytes of a body, its stamp included.
    pub body_bytes: usize,
    /// Publishes in flight of each publisher, where no rate is given.
    pub window: usize,
    /// Publishes a second, all publishers together.
    pub rate: Option<f64>,
    /// Before measuring.
    pub warmup: Duration,
    /// Measuring.
    pub measure: Duration,
    /// Opens so many silent clients instead.
    pub idle: Option<usize>,
    /// For people's eyes: what happens.
    pub verbose: bool,
}

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct FanoutReport {
    pub sites: usize,
    pub rooms: usize,
    pub members: usize,
    pub publishers: usize,
    pub body_bytes: usize,
    /// Absent where a rate was given.
    pub window: Option<usize>,
    pub rate: Option<f64>,
    pub seconds: f64,
    pub acked_per_s: f64,
    pub deliveries_per_s: f64,
    /// From the intended send to ack 1.
    pub ack: LatencySummary,
    /// From the intended send to ack 2; with several sites.
    pub replicated: Option<LatencySummary>,
    /// From the intended send to a member's receipt.
    pub e2e: LatencySummary,
    /// Of all relays together.
    pub server_cpu_s_per_1000: f64,
    pub server_cores: f64,
    pub client_cores: f64,
    /// Used by neither: where this is not near 0 the machine was shared, and only CPU per message compares.
    pub other_cores: f64,
    pub memory_peak_bytes: Vec<u64>,
    pub disk_bytes_per_message: f64,
    pub acked_total: u64,
    /// Acked messages times members, less deliveries, after a drain. Must be 0.
    pub undelivered: i64,
    /// Publishes that were refused or could not be handed over. Must be 0.
    pub errors: u64,
    pub idle: Option<IdleReport>,
}

/// Counters of CPU time at one moment.
struct Spent {
    servers: f64,
    client: f64,
    machine: f64,
    at: Instant,
}

impl Spent {
    fn now(cluster: &Cluster) -> Self {
        Self {
            servers: cluster.sites.iter().filter_map(|s| s.pid()).map(proc_stats::cpu_s).sum(),
            client: proc_stats::cpu_s(std::process::id()),
            machine: proc_stats::machine_busy_s(),
            at: Instant::now(),
        }
    }
}

/// Runs it.
pub async fn run(config: FanoutConfig) -> Result<FanoutReport> {
    let cluster = Cluster::start(config.cluster.clone()).await?;
    let outcome = match config.idle {
        Some(count) => idle::run(&config, &cluster, count).await,
        None => measure(&config, &cluster).await,
    };
    cluster.stop_all().await?;
    outcome
}

async fn measure(config: &FanoutConfig, cluster: &Cluster) -> Result<FanoutReport> {
    let (target, _) = target_of(cluster)?;
    let sites = target.sites.len();
    let shared = Shared::new(target)?;
    let say = |text: String| {
        if config.verbose {
            eprintln!("{text}");
        }
    };
    say(format!("opening {} clients", config.rooms * config.members));
    let meter = Arc::new(Meter::new());
    let members = open_members(&shared, config.rooms, config.members, sites, &meter).await?;
    let disk_before: u64 = disk(cluster);
    let load = Arc::new(Load::new(config.body_bytes, sites > 1, Arc::clone(&meter)));
    let publishing: Vec<_> =
        members.iter().filter(|m| config.spread || m.place == 0).map(|m| (Arc::clone(&m.session), m.room)).collect();
    let publishers = publishing.len();
    say(format!("{publishers} publishers, warming up"));
    let running = match config.rate {
        Some(rate) => publishers::paced(&load, publishing, rate),
        None => publishers::closed_loop(&load, publishing, config.window),
    };
    sleep(config.warmup).await;
    say("measuring".to_owned());
    let before = Spent::now(cluster);
    meter.open();
    let (acked_0, delivered_0) = (meter.acked(), meter.delivered());
    sleep_until(before.at + config.measure).await;
    meter.close();
    let (acked, delivered) = (meter.acked() - acked_0, meter.delivered() - delivered_0);
    let after = Spent::now(cluster);
    load.stop();
    let ended = tokio::time::timeout(STOP_WAIT, futures_util::future::join_all(running)).await;
    if ended.is_err() {
        say("publishers did not get all their answers".to_owned());
    }
    let undelivered = drain(&meter, config.members as u64).await;
    let seconds = (after.at - before.at).as_secs_f64();
    let servers = after.servers - before.servers;
    let client = after.client - before.client;
    let acked_total = meter.acked();
    let figures = meter.figures();
    let report = FanoutReport {
        sites,
        rooms: config.rooms,
        members: config.members,
        publishers,
        body_bytes: config.body_bytes,
        window: config.rate.is_none().then_some(config.window),
        rate: config.rate,
        seconds,
        acked_per_s: acked as f64 / seconds,
        deliveries_per_s: delivered as f64 / seconds,
        ack: figures.ack.summary(),
        replicated: (sites > 1).then(|| figures.replicated.summary()),
        e2e: figures.e2e.summary(),
        server_cpu_s_per_1000: servers / (acked.max(1) as f64) * 1000.0,
        server_cores: servers / seconds,
        client_cores: client / seconds,
        other_cores: (after.machine - before.machine - servers - client) / seconds,
        memory_peak_bytes: peaks(cluster),
        disk_bytes_per_message: (disk(cluster) as f64 - disk_before as f64) / (acked_total.max(1) as f64),
        acked_total,
        undelivered,
        errors: load.errors.load(Ordering::Relaxed),
        idle: None,
    };
    for member in &members {
        member.session.close().await;
    }
    Ok(report)
}

/// Waits until every member has everything that was acked; what is missing.
async fn drain(meter: &Meter, members: u64) -> i64 {
    let deadline = Instant::now() + DRAIN_WAIT;
    loop {
        let missing = (meter.acked() * members) as i64 - meter.delivered() as i64;
        if missing <= 0 || Instant::now() >= deadline {
            return missing;
        }
        sleep(DRAIN_POLL).await;
    }
}

fn disk(cluster: &Cluster) -> u64 {
    cluster.sites.iter().map(|s| proc_stats::disk_bytes(&s.data_dir)).sum()
}

fn peaks(cluster: &Cluster) -> Vec<u64> {
    cluster.sites.iter().map(|s| s.pid().map_or(0, |pid| proc_stats::memory_kb(pid, "VmHWM") * 1024)).collect()
}

/// Writes the figures where they are wanted.
pub fn write(report: &FanoutReport, path: &PathBuf) -> Result<()> {
    let json = serde_json::to_vec_pretty(report).context("the report does not serialise")?;
    std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}
