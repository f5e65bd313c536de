//! The fault in the middle of a run, and what the sites say meanwhile.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::clock::RunClock;
use super::player::Player;
use super::stage::lock;
use crate::proc_stats;
use crate::report::{RunEvents, Sample};
use crate::site::{Cluster, SiteStatus, metrics};

/// How often the sites are looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// How often a returning site is asked what it holds.
const CATCH_UP_POLL: Duration = Duration::from_millis(100);
/// A site that has not caught up after this does not.
pub const CATCH_UP_WAIT: Duration = Duration::from_secs(120);
/// The metric with the age of the oldest op that some site lacks, seconds.
const LAG_METRIC: &str = "causeway_replication_lag_seconds";

/// What happens to a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Its process is killed with SIGKILL, and started again.
    #[default]
    Kill,
    /// It falls silent: every datagram from and to it vanishes, nothing is closed; then it is heard again.
    Silence,
    /// Nothing.
    None,
}

impl Fault {
    /// For reports.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Silence => "silence",
            Fault::None => "",
        }
    }
}

/// When a fault strikes and whom.
#[derive(Clone, Copy, Debug)]
pub struct FaultPlan {
    /// What.
    pub fault: Fault,
    /// Index of the site.
    pub site: usize,
    /// When, microseconds since the run's start.
    pub at_us: u64,
    /// When it ends.
    pub back_us: u64,
}

/// What relays have used, those that were killed too.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// CPU seconds, by site.
    pub cpu_s: Vec<f64>,
    /// Most resident memory, by site, kB.
    pub memory_kb: Vec<u64>,
}

impl Usage {
    /// Adds what a site's process has used. Before it ends: then nobody knows any more.
    pub fn take(&mut self, cluster: &Cluster, site: usize) {
        self.cpu_s.resize(cluster.sites.len(), 0.0);
        self.memory_kb.resize(cluster.sites.len(), 0);
        if let Some(pid) = cluster.sites[site].pid() {
            self.cpu_s[site] += proc_stats::cpu_s(pid);
            self.memory_kb[site] = self.memory_kb[site].max(proc_stats::memory_kb(pid, "VmHWM"));
        }
    }
}

/// Lets the fault strike and end at its times, and measures the return.
pub async fn strike(
    plan: FaultPlan,
    cluster: &mut Cluster,
    players: &[Arc<Player>],
    clock: RunClock,
    usage: &mut Usage,
    lost_home: &mut Vec<bool>,
    progress: impl Fn(&str),
) -> Result<RunEvents> {
    let mut events = RunEvents { fault: plan.fault.word().to_owned(), ..RunEvents::default() };
    if plan.fault == Fault::None {
        return Ok(events);
    }
    let site = plan.site;
    let (name, number) = (cluster.sites[site].name.clone(), cluster.sites[site].number);
    events.site.clone_from(&name);
    tokio::time::sleep_until(clock.moment(plan.at_us)).await;
    *lost_home = players.iter().map(|p| p.session.home() == Some(number)).collect();
    usage.take(cluster, site);
    events.fault_s = Some(clock.now_s());
    match plan.fault {
        Fault::Kill => cluster.kill(site).await?,
        Fault::Silence => cluster.proxies().context("silence needs the proxies")?.silence(site),
        Fault::None => {}
    }
    progress(&format!("{name}: {}", plan.fault.word()));
    tokio::time::sleep_until(clock.moment(plan.back_us)).await;
    let held = held_by_others(cluster, site).await;
    let back_s = clock.now_s();
    events.back_s = Some(back_s);
    match plan.fault {
        Fault::Kill => cluster.start_again(site)?,
        Fault::Silence => cluster.proxies().context("silence needs the proxies")?.heal(site),
        Fault::None => {}
    }
    progress(&format!("{name}: back"));
    cluster.wait_ready(site).await?;
    events.ready_after_s = Some(clock.now_s() - back_s);
    let deadline = tokio::time::Instant::now() + CATCH_UP_WAIT;
    while tokio::time::Instant::now() < deadline {
        if let Ok(now) = cluster.sites[site].status().await
            && held.iter().all(|h| now.covers(h))
        {
            events.caught_up_after_s = Some(clock.now_s() - back_s);
            progress(&format!("{name}: caught up"));
            break;
        }
        tokio::time::sleep(CATCH_UP_POLL).await;
    }
    Ok(events)
}

async fn held_by_others(cluster: &Cluster, site: usize) -> Vec<SiteStatus> {
    let mut held = Vec::new();
    for (i, other) in cluster.sites.iter().enumerate() {
        if i != site
            && let Ok(status) = other.status().await
        {
            held.push(status);
        }
    }
    held
}

/// Looks at the sites until it is dropped.
pub async fn sample(
    admins: Vec<Option<std::net::SocketAddr>>,
    players: Vec<Arc<Player>>,
    clock: RunClock,
    into: Arc<Mutex<Vec<Sample>>>,
) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let mut homes = vec![0; admins.len()];
        for player in &players {
            let home = player.session.home().and_then(|n| homes.get_mut(usize::from(n).wrapping_sub(1)));
            if let Some(count) = home {
                *count += 1;
            }
        }
        let at_s = clock.now_s();
        let lags = admins.iter().map(|admin| async move {
            let page = metrics((*admin)?).await.ok()?;
            page.get(LAG_METRIC).copied()
        });
        let lag_s = futures_util::future::join_all(lags).await;
        lock(&into).push(Sample { at_s, homes, lag_s });
    }
}
