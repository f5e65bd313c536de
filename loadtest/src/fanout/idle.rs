//! What a connection costs that does nothing but listen.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::members::{all_answered, open_sessions};
use super::{FanoutConfig, FanoutReport};
use crate::drill::target_of;
use crate::proc_stats;
use crate::sdk::Shared;
use crate::site::Cluster;

/// Memory settles and is read; then idle CPU is measured for as long.
const SETTLE: Duration = Duration::from_secs(5);

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct IdleReport {
    pub clients: usize,
    pub memory_before_kb: u64,
    pub memory_after_kb: u64,
    pub kb_per_connection: f64,
    pub idle_cpu_percent: f64,
}

/// Opens silent clients, each a member of one room, at the first site.
pub async fn run(config: &FanoutConfig, cluster: &Cluster, count: usize) -> Result<FanoutReport> {
    let pid = cluster.sites[0].pid().context("the relay does not run")?;
    let (target, _) = target_of(cluster)?;
    let sites = target.sites.len();
    let shared = Shared::new(target)?;
    let first = open_sessions(&shared, 1, 1).await?;
    let maker = first.first().context("no client")?;
    let mut rooms = Vec::new();
    let mut made = Vec::new();
    for room in 0..config.rooms.max(1) {
        let (id, pending) = maker.create_room(&format!("idle {room}"))?;
        rooms.push(id);
        made.push(pending);
    }
    all_answered(&made, sites > 1).await?;
    sleep(SETTLE).await;
    let memory_before_kb = proc_stats::memory_kb(pid, "VmRSS");
    let sessions = open_sessions(&shared, count + 1, 1).await?;
    let mut joined = Vec::new();
    // The first user is the maker's own: it is in every room already.
    for (i, session) in sessions.iter().enumerate().skip(1) {
        joined.push(session.join(rooms[i % rooms.len()])?);
    }
    all_answered(&joined, sites > 1).await?;
    sleep(SETTLE).await;
    let memory_after_kb = proc_stats::memory_kb(pid, "VmRSS");
    let cpu = proc_stats::cpu_s(pid);
    sleep(SETTLE).await;
    let idle_cpu_percent = (proc_stats::cpu_s(pid) - cpu) / SETTLE.as_secs_f64() * 100.0;
    let idle = IdleReport {
        clients: sessions.len(),
        memory_before_kb,
        memory_after_kb,
        kb_per_connection: (memory_after_kb as f64 - memory_before_kb as f64) / sessions.len().max(1) as f64,
        idle_cpu_percent,
    };
    for session in &sessions {
        session.close().await;
    }
    Ok(FanoutReport { sites, rooms: config.rooms, idle: Some(idle), ..FanoutReport::default() })
}
