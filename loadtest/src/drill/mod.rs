//! The main job: chat played through SDK clients against sites that are processes, one of them lost in the middle and
//! brought back, and a verdict at the end.

mod audit;
mod census;
mod clock;
mod dispatch;
mod fault;
mod figures;
mod player;
mod settle;
mod setup;
mod show;
mod stage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::proc_stats;
use crate::report::{ClientCounts, Report, RunEvents, SiteReport, WorkloadReport};
use crate::sdk::{Shared, Target, TargetSite};
use crate::site::{Cluster, ClusterConfig};
use crate::verdict::{EndState, SiteRead, judge};
use crate::workload::{Kind, Plan};

use clock::RunClock;
use fault::{FaultPlan, Usage};
use player::Player;
use show::Show;
use stage::Stage;

pub use fault::Fault;
pub use stage::lock;

/// How long after the setup a run starts: tasks that were spawned meanwhile get to their places.
const LEAD_IN: Duration = Duration::from_millis(300);

/// Where a drill runs.
pub enum Sites {
    /// On sites of its own, which it can kill.
    Own(ClusterConfig),
    /// On sites that run already, which it leaves alone.
    Running {
        /// Their addresses and the authority's certificate.
        target: Target,
        /// Their admin pages, in the same order.
        admins: Vec<SocketAddr>,
    },
}

/// A drill.
pub struct Drill {
    /// For the report.
    pub command: String,
    /// Where the plan is from, in words.
    pub source: String,
    /// Its seed, where it has one.
    pub seed: u64,
    /// What is played.
    pub plan: Plan,
    /// Where.
    pub sites: Sites,
    /// What happens in the middle.
    pub fault: Fault,
    /// To which site: an index.
    pub fault_site: usize,
    /// Whether clients hold a warm standby connection.
    pub standby: bool,
    /// The length of the run, microseconds; the plan may end a little before.
    pub length_us: u64,
}

/// Runs it and judges it.
pub async fn run(drill: Drill) -> Result<Report> {
    let show = Show::new(drill.plan.messages() as u64);
    let Drill { sites, plan, .. } = &drill;
    let mut cluster = match sites {
        Sites::Own(config) => {
            show.say(&format!("starting {} sites in {}", config.sites, config.dir.display()));
            Some(Cluster::start(config.clone()).await?)
        }
        Sites::Running { .. } => None,
    };
    let (target, admins) = match (sites, &cluster) {
        (Sites::Running { target, admins }, _) => (target.clone(), admins.clone()),
        (Sites::Own(_), Some(cluster)) => target_of(cluster)?,
        (Sites::Own(_), None) => anyhow::bail!("the sites did not start"),
    };
    let report = play(&drill, plan, &target, &admins, cluster.as_mut(), &show).await;
    if let Some(cluster) = cluster {
        cluster.stop_all().await?;
    }
    report
}

/// How clients reach a cluster of our own, and its admin pages.
pub fn target_of(cluster: &Cluster) -> Result<(Target, Vec<SocketAddr>)> {
    let ca = std::fs::read(&cluster.ca).with_context(|| format!("cannot read {}", cluster.ca.display()))?;
    let site = |s: &crate::site::Site| TargetSite { name: s.name.clone(), address: s.advertised.to_string() };
    let target = Target { sites: cluster.sites.iter().map(site).collect(), ca };
    Ok((target, cluster.sites.iter().map(|s| s.admin).collect()))
}

async fn play(
    drill: &Drill,
    plan: &Plan,
    target: &Target,
    admins: &[SocketAddr],
    cluster: Option<&mut Cluster>,
    show: &Show,
) -> Result<Report> {
    let sites = target.sites.len();
    let replicates = sites > 1;
    let shared = Shared::new(target.clone())?;
    let stage = Arc::new(Stage::new());
    show.say(&format!("opening {} clients", plan.clients));
    let players = setup::open_players(&shared, plan.clients, sites, drill.standby && replicates, &stage).await?;
    show.say(&format!("making {} rooms", plan.rooms.len()));
    setup::make_rooms(plan, &players, &shared, &stage, replicates).await?;

    let clock = RunClock::starting_at(Instant::now() + LEAD_IN);
    stage.clock.set(clock).ok().context("a run starts once")?;
    let samples = Arc::new(Mutex::new(Vec::new()));
    let pages = (0..sites).map(|i| admins.get(i).copied()).collect();
    let sampler = tokio::spawn(fault::sample(pages, players.clone(), clock, Arc::clone(&samples)));
    let ticker = show.follow(Arc::clone(&stage), clock);
    show.say("playing");
    let mut usage = Usage::default();
    let mut lost_home = vec![false; players.len()];
    let sending = dispatch::send_all(plan, &players, &stage, clock);
    let mut cluster = cluster;
    let striking = async {
        match cluster.as_deref_mut() {
            Some(cluster) => {
                let (third, site) = (drill.length_us / 3, drill.fault_site);
                let faults = FaultPlan { fault: drill.fault, site, at_us: third, back_us: 2 * third };
                let say = |text: &str| show.say(text);
                fault::strike(faults, cluster, &players, clock, &mut usage, &mut lost_home, say).await
            }
            None => Ok(RunEvents::default()),
        }
    };
    let ((), events) = tokio::join!(sending, striking);
    let mut events = events?;
    events.sent_s = clock.now_s();

    show.say("waiting for outboxes, convergence, deliveries");
    let mut outboxes_empty = settle::emptied(&players, &stage, replicates).await;
    events.outboxes_empty_s = outboxes_empty.then(|| clock.now_s());
    let mut equal = settle::converged(admins, |difference| show.wait(difference)).await;
    events.converged_s = equal.is_ok().then(|| clock.now_s());
    settle::delivered(&players, &stage).await;
    sampler.abort();

    let mut reads: Vec<_> = target.sites.iter().map(|site| empty_read(site, plan)).collect();
    // What has not settled in all this time does not, and is judged below; markers are looked at where all has.
    show.say("counting unread messages at every site");
    if outboxes_empty && equal.is_ok() {
        let settled = || settle::emptied(&players, &stage, replicates);
        outboxes_empty = census::unread(&shared, &stage, &players, &mut reads, settled).await;
        equal = settle::converged(admins, |difference| show.wait(difference)).await;
    }
    settle::delivered(&players, &stage).await;
    let end_us = clock.now_us();
    ticker.abort();

    show.say("reading everything back at every site");
    read_back(&shared, &stage, &mut reads, show).await?;
    show.done();
    let end = EndState { hashes_equal: equal.is_ok(), outboxes_empty, replicates };
    let mut report = conclude(&players, &stage, &reads, end, events, end_us, &lost_home);
    if let Err(difference) = equal {
        report.verdict.examples.insert(0, difference);
    }
    for player in &players {
        player.session.close().await;
    }
    report.command.clone_from(&drill.command);
    report.workload = workload_report(drill, target.sites.len());
    report.sites = sites_report(cluster.as_deref(), target, &mut usage);
    report.samples = std::mem::take(&mut lock(&samples));
    Ok(report)
}

/// Of a site, before anything is read there.
fn empty_read(site: &TargetSite, plan: &Plan) -> SiteRead {
    let name = if site.name.is_empty() { &site.address } else { &site.name };
    let first_names = plan.rooms.iter().zip(0..).map(|(room, i)| (i, room.name.clone())).collect();
    SiteRead { site: name.clone(), first_names, ..SiteRead::default() }
}

async fn read_back(shared: &Shared, stage: &Stage, reads: &mut [SiteRead], show: &Show) -> Result<()> {
    let rooms = stage.rooms.get().cloned().unwrap_or_default();
    for (i, read) in reads.iter_mut().enumerate() {
        let name = read.site.clone();
        census::memberships(shared, stage, i, read).await;
        let done = audit::read_site(shared, &stage.run, i, &rooms, |n| show.read(n), read).await;
        done.with_context(|| format!("reading back at {name}"))?;
    }
    Ok(())
}

/// Judges what was seen, and computes the figures.
fn conclude(
    players: &[Arc<Player>],
    stage: &Stage,
    reads: &[SiteRead],
    end: EndState,
    events: RunEvents,
    end_us: u64,
    lost_home: &[bool],
) -> Report {
    let seen: Vec<_> = players.iter().map(|p| std::mem::take(&mut p.state().seen)).collect();
    // Taken out, not borrowed: clients lock their state first and the ledger inside it.
    let ledger = std::mem::take(&mut *stage.ledger());
    let verdict = judge(&ledger, &seen, reads, end);
    let to_us = |s: Option<f64>| s.map(|s| (s * 1e6) as u64);
    let cuts = figures::Cuts { fault_us: to_us(events.fault_s), back_us: to_us(events.back_s), end_us };
    let seen: Vec<_> = seen.iter().collect();
    let (latency, timeline) = figures::latencies(&ledger, &seen, cuts);
    let mut outage = figures::outages(&ledger, &seen, lost_home, cuts);
    outage.rehomed_99_ms = rehomed(players, lost_home, cuts.fault_us);
    let came_back = events.back_s.is_none() || events.caught_up_after_s.is_some();
    Report {
        passed: verdict.holds() && came_back,
        events,
        verdict,
        outage,
        latency,
        clients: client_counts(players, stage, seen.iter().map(|s| s.gaps.len() as u64).sum()),
        seconds: timeline.points(),
        ..Report::default()
    }
}

/// From the fault until 99 % of those who lost their home had another, milliseconds.
fn rehomed(players: &[Arc<Player>], lost_home: &[bool], fault_us: Option<u64>) -> Option<f64> {
    let fault_us = fault_us?;
    let mut times: Vec<u64> = players
        .iter()
        .zip(lost_home)
        .filter(|(_, lost)| **lost)
        .map(|(p, _)| {
            p.state().moves.iter().map(|m| m.at_us).find(|at| *at >= fault_us).map_or(u64::MAX, |at| at - fault_us)
        })
        .collect();
    times.sort_unstable();
    let rank = (times.len() * 99).div_ceil(100).max(1) - 1;
    times.get(rank).filter(|us| **us < u64::MAX).map(|us| *us as f64 / 1000.0)
}

fn workload_report(drill: &Drill, sites: usize) -> WorkloadReport {
    let plan = &drill.plan;
    let count = |kind| plan.events.iter().filter(|e| e.kind == kind).count() as u64;
    let planned_s = drill.length_us as f64 / 1e6;
    WorkloadReport {
        source: drill.source.clone(),
        seed: drill.seed,
        clients: plan.clients as u64,
        sites: sites as u64,
        rooms: plan.rooms.len() as u64,
        messages: plan.messages() as u64,
        joins: count(Kind::Join),
        leaves: count(Kind::Leave),
        topics: count(Kind::Topic),
        edits: count(Kind::Edit),
        redactions: count(Kind::Redact),
        reactions: count(Kind::React),
        unreactions: count(Kind::Unreact),
        marks: count(Kind::Mark),
        offered_per_s: plan.messages() as f64 / planned_s.max(f64::EPSILON),
        fan_out: plan.fan_out(),
        planned_s,
    }
}

fn sites_report(cluster: Option<&Cluster>, target: &Target, usage: &mut Usage) -> Vec<SiteReport> {
    let Some(cluster) = cluster else {
        return target.sites.iter().map(|s| SiteReport { name: s.name.clone(), ..SiteReport::default() }).collect();
    };
    for site in 0..cluster.sites.len() {
        usage.take(cluster, site);
    }
    let report = |(i, site): (usize, &crate::site::Site)| SiteReport {
        name: site.name.clone(),
        cpu_s: usage.cpu_s.get(i).copied().unwrap_or(0.0),
        memory_peak_bytes: usage.memory_kb.get(i).copied().unwrap_or(0) * 1024,
        disk_bytes: proc_stats::disk_bytes(&site.data_dir),
    };
    cluster.sites.iter().enumerate().map(report).collect()
}

fn client_counts(players: &[Arc<Player>], stage: &Stage, gaps: u64) -> ClientCounts {
    use std::sync::atomic::Ordering::Relaxed;
    let mut counts = ClientCounts {
        gaps,
        outbox_full: stage.tally.outbox_full.load(Relaxed),
        skipped: stage.tally.skipped.load(Relaxed),
        marks: stage.tally.marks.load(Relaxed),
        late_send_max_ms: stage.tally.late_send_max.load(Relaxed) as f64 / 1000.0,
        cpu_s: proc_stats::cpu_s(std::process::id()),
        ..ClientCounts::default()
    };
    for player in players {
        let state = player.state();
        counts.overtakes += state.overtakes;
        counts.moves += state.moves.len() as u64;
        for step in &state.moves {
            *counts.moves_by_reason.entry(step.reason.clone()).or_default() += 1;
        }
    }
    counts
}

/// Where a run's data goes where nothing else is said: a temporary folder, gone afterwards.
pub fn data_dir(named: Option<PathBuf>) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    match named {
        Some(path) => Ok((path, None)),
        None => {
            let dir = tempfile::Builder::new().prefix("causeway-").tempdir().context("no temporary folder")?;
            Ok((dir.path().to_owned(), Some(dir)))
        }
    }
}
