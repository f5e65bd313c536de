//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::drill::{self, Drill, Fault, Sites};
use crate::fanout::{self, FanoutConfig};
use crate::fuzz::{self, FuzzConfig};
use crate::report;
use crate::rng::Rng;
use crate::sdk::{Target, TargetSite};
use crate::site::{ClusterConfig, relay_bin};
use crate::workload::{
    ActRates, Fold, GeneratorConfig, Plan, ScheduleConfig, TraceReader, generate, overlay, schedule,
};

/// Load, fault drills and reports for Causeway.
#[derive(Parser, Debug)]
#[command(name = "causeway-loadtest", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Three sites, chat, one site lost and brought back, a verdict
    Demo(DemoArgs),
    /// The same with a trace of real chat
    Replay(ReplayArgs),
    /// The yardstick: fan-out at full speed or at a rate, in figures
    Fanout(FanoutArgs),
    /// Clients and a peer that break the protocol, against one relay, beside a client that does not
    Fuzz(FuzzArgs),
    /// Sites on loopback to try things on, until Ctrl-C
    Sites(SitesArgs),
}

/// Whatever comes in.
#[derive(Args, Debug)]
pub struct FuzzArgs {
    /// Length of the run, seconds
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Sends the same again, as far as sockets allow [default: a new one each time]
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
}

/// A cluster to try things on.
#[derive(Args, Debug)]
pub struct SitesArgs {
    /// Sites to start
    #[arg(long, default_value_t = 3)]
    pub sites: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
}

/// How sites are started.
#[derive(Args, Debug)]
pub struct SiteArgs {
    /// The relay's executable [default: causeway-relay beside this program]
    #[arg(long, env = "CAUSEWAY_RELAY_BIN")]
    pub relay_bin: Option<PathBuf>,
    /// Folder for data, logs and certificates; kept [default: a temporary one]
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// A further line for every relay's configuration file, such as "threads = 1"; may be given several times
    #[arg(long = "relay-option")]
    pub relay_options: Vec<String>,
}

/// What a drill does besides playing.
#[derive(Args, Debug)]
pub struct DrillArgs {
    /// Sites to start
    #[arg(long, default_value_t = 3)]
    pub sites: usize,
    /// What happens to a site at a third of the run, until two thirds
    #[arg(long, value_enum, default_value_t = Fault::Kill)]
    pub fault: Fault,
    /// To which site, counted from 1
    #[arg(long, default_value_t = 1)]
    pub fault_site: usize,
    /// Clients hold no warm standby connection
    #[arg(long)]
    pub cold: bool,
    /// Folder for report.json and report.html
    #[arg(long, default_value = "causeway-report")]
    pub out: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
}

/// The demonstration.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Clients
    #[arg(long, default_value_t = 200)]
    pub clients: usize,
    /// Messages a second, offered
    #[arg(long, default_value_t = 2000.0)]
    pub rate: f64,
    /// Length of the run, seconds
    #[arg(long, default_value_t = 60.0)]
    pub seconds: f64,
    /// Rooms
    #[arg(long, default_value_t = 120)]
    pub rooms: usize,
    /// Members of a room at most
    #[arg(long, default_value_t = 8)]
    pub members: usize,
    /// Makes the same chat again [default: a new one each time]
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub acts: ActRates,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub drill: DrillArgs,
}

/// A replay.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// The trace: NDJSON, plain or compressed with zstd
    #[arg(long)]
    pub trace: PathBuf,
    /// How it is laid over itself: all days at once, all weeks, or not
    #[arg(long, value_enum, default_value_t = Fold::Day)]
    pub fold: Fold,
    /// How many times faster than it was
    #[arg(long, default_value_t = 200.0)]
    pub speed: f64,
    /// The busiest rooms (after folding) that are kept
    #[arg(long, default_value_t = 300)]
    pub rooms: usize,
    /// Clients that play the people
    #[arg(long, default_value_t = 200)]
    pub clients: usize,
    /// Clients in one room at most; more people than that share them
    #[arg(long, default_value_t = 8)]
    pub members: usize,
    /// Ends after this many messages
    #[arg(long, default_value_t = 120_000)]
    pub limit_messages: usize,
    /// Sites that run already, host:port of each in the order of their numbers; then no fault is made
    #[arg(long, value_delimiter = ',', requires_all = ["ca", "admin"])]
    pub connect: Vec<String>,
    /// Their admin pages, ip:port each, in the same order: without them nobody could compare hashes
    #[arg(long, value_delimiter = ',')]
    pub admin: Vec<SocketAddr>,
    /// PEM file of the authority that signed their certificates
    #[arg(long)]
    pub ca: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub acts: ActRates,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub drill: DrillArgs,
}

/// The yardstick.
#[derive(Args, Debug)]
pub struct FanoutArgs {
    /// Sites to start
    #[arg(long, default_value_t = 1)]
    pub sites: usize,
    /// Rooms
    #[arg(long, default_value_t = 100)]
    pub rooms: usize,
    /// Online members of each; the first one publishes
    #[arg(long, default_value_t = 10)]
    pub members: usize,
    /// Every member publishes
    #[arg(long)]
    pub spread: bool,
    /// Bytes of a body
    #[arg(long, default_value_t = 256)]
    pub bytes: usize,
    /// Publishes in flight of each publisher [default: 64, with --spread 1]
    #[arg(long, conflicts_with = "rate")]
    pub window: Option<usize>,
    /// Publishes a second, all together, instead of a window
    #[arg(long)]
    pub rate: Option<f64>,
    /// Measuring, seconds
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
    /// Before measuring, seconds
    #[arg(long, default_value_t = 2.0)]
    pub warmup: f64,
    /// Opens so many silent clients instead, and reports memory a connection
    #[arg(long)]
    pub idle: Option<usize>,
    /// File for the figures [default: standard output]
    #[arg(long)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub site: SiteArgs,
}

/// Does it, in a runtime of its own, until it is done or interrupted. False if a verdict does not hold.
pub fn run_blocking(cli: Cli) -> Result<bool> {
    let filter = EnvFilter::try_from_env("CAUSEWAY_LOADTEST_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // The relays are on the same cores: more threads than this only make more switches.
    const THREADS: usize = 2;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(THREADS).enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        tokio::select! {
            done = run(cli) => done,
            // Leaving in order ends the relays too.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

/// Does it. False if a verdict does not hold.
pub async fn run(cli: Cli) -> Result<bool> {
    match cli.command {
        Command::Demo(args) => demo(args).await,
        Command::Replay(args) => replay(args).await,
        Command::Fanout(args) => run_fanout(args).await,
        Command::Fuzz(args) => run_fuzz(args).await,
        Command::Sites(args) => {
            let (config, _temporary) = cluster_config(&args.site, args.sites, Fault::None, 0)?;
            match crate::sites::run(config).await? {}
        }
    }
}

async fn demo(args: DemoArgs) -> Result<bool> {
    ensure!(args.seconds > 0.0 && args.rate > 0.0, "--seconds and --rate must be above 0");
    let seed = args.seed.unwrap_or_else(Rng::fresh_seed);
    let plan = generate(&GeneratorConfig {
        seed,
        clients: args.clients,
        rooms: args.rooms,
        members_max: args.members,
        rate: args.rate,
        seconds: args.seconds,
    });
    let plan = with_acts(plan, &args.acts, seed)?;
    let source = format!("generated, --seed {seed}");
    let length_us = (args.seconds * 1e6) as u64;
    let (cluster, _temporary) = cluster_config(&args.drill.site, args.drill.sites, args.drill.fault, seed)?;
    play(Played { command: "demo", source, seed, plan, length_us }, Sites::Own(cluster), &args.drill).await
}

async fn replay(args: ReplayArgs) -> Result<bool> {
    let config = ScheduleConfig {
        fold: args.fold,
        speed: args.speed,
        rooms_max: args.rooms,
        clients: args.clients,
        members_max: args.members,
        messages_max: args.limit_messages,
    };
    let plan = schedule(TraceReader::open(&args.trace)?, &config)
        .with_context(|| format!("cannot replay {}", args.trace.display()))?;
    let plan = with_acts(plan, &args.acts, REPLAY_SEED)?;
    let name = args.trace.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let fold = format!("{:?}", args.fold).to_lowercase();
    let source = format!("{name}, fold {fold}, speed {}, {} rooms", args.speed, plan.rooms.len());
    let length_us = plan.duration_us().max(1);
    let played = Played { command: "replay", source, seed: 0, plan, length_us };
    if args.connect.is_empty() {
        let (cluster, _temporary) = cluster_config(&args.drill.site, args.drill.sites, args.drill.fault, REPLAY_SEED)?;
        return play(played, Sites::Own(cluster), &args.drill).await;
    }
    let ca = args.ca.context("--connect needs --ca")?;
    let ca = std::fs::read(&ca).with_context(|| format!("cannot read {}", ca.display()))?;
    if args.admin.len() != args.connect.len() {
        bail!("--admin names {} sites and --connect {}", args.admin.len(), args.connect.len());
    }
    let sites = args.connect.into_iter().map(|address| TargetSite { name: String::new(), address }).collect();
    let running = Sites::Running { target: Target { sites, ca }, admins: args.admin };
    play(played, running, &args.drill).await
}

/// What a trace lacks is always made up alike.
const REPLAY_SEED: u64 = 1;

fn with_acts(plan: Plan, rates: &ActRates, seed: u64) -> Result<Plan> {
    ensure!(rates.are_shares(), "--edits, --redactions, --reactions, --unreactions and --marks must be 0 to 1");
    Ok(overlay(plan, rates, seed))
}

struct Played {
    command: &'static str,
    source: String,
    seed: u64,
    plan: Plan,
    length_us: u64,
}

async fn play(played: Played, sites: Sites, args: &DrillArgs) -> Result<bool> {
    let count = match &sites {
        Sites::Own(config) => config.sites,
        Sites::Running { target, .. } => target.sites.len(),
    };
    ensure!((1..=count).contains(&args.fault_site), "--fault-site must be 1 to {count}");
    ensure!(args.fault == Fault::None || count > 1, "with one site there is none to lose: give --fault none");
    eprintln!(
        "{}: {} clients, {} rooms, {} messages in {:.0} s, each to {:.1} members ({})",
        played.command,
        played.plan.clients,
        played.plan.rooms.len(),
        played.plan.messages(),
        played.length_us as f64 / 1e6,
        played.plan.fan_out(),
        played.source
    );
    let report = drill::run(Drill {
        command: played.command.to_owned(),
        source: played.source,
        seed: played.seed,
        plan: played.plan,
        sites,
        fault: args.fault,
        fault_site: args.fault_site - 1,
        standby: !args.cold,
        length_us: played.length_us,
    })
    .await?;
    let [json, html] =
        report::write(&report, &args.out).with_context(|| format!("cannot write to {}", args.out.display()))?;
    println!("{}", report::summary(&report));
    println!("{}\n{}", json.display(), html.display());
    Ok(report.passed)
}

async fn run_fanout(args: FanoutArgs) -> Result<bool> {
    ensure!(args.rooms > 0 && args.members > 0, "--rooms and --members must be above 0");
    let (cluster, _temporary) = cluster_config(&args.site, args.sites, Fault::None, 1)?;
    let config = FanoutConfig {
        cluster,
        rooms: args.rooms,
        members: args.members,
        spread: args.spread,
        body_bytes: args.bytes,
        window: args.window.unwrap_or(if args.spread { 1 } else { 64 }),
        rate: args.rate,
        warmup: Duration::try_from_secs_f64(args.warmup).context("--warmup")?,
        measure: Duration::try_from_secs_f64(args.seconds).context("--seconds")?,
        idle: args.idle,
        verbose: true,
    };
    let report = fanout::run(config).await?;
    match &args.out {
        Some(path) => fanout::write(&report, path)?,
        None => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(report.undelivered == 0 && report.errors == 0)
}

async fn run_fuzz(args: FuzzArgs) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(Rng::fresh_seed);
    eprintln!("fuzz: {} s, --seed {seed}", args.seconds);
    let (mut cluster, _temporary) = cluster_config(&args.site, fuzz::SITES, Fault::None, seed)?;
    cluster.extra.push("shards = 16".to_owned());
    let length = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let report = fuzz::run(FuzzConfig { cluster, length, seed }).await?;
    print!("{}", fuzz::summary(&report));
    Ok(report.broken.is_empty())
}

fn cluster_config(
    args: &SiteArgs,
    sites: usize,
    fault: Fault,
    seed: u64,
) -> Result<(ClusterConfig, Option<tempfile::TempDir>)> {
    let (dir, temporary) = drill::data_dir(args.data_dir.clone())?;
    let config = ClusterConfig {
        relay_bin: relay_bin(args.relay_bin.clone())?,
        dir,
        sites,
        proxied: fault == Fault::Silence,
        extra: args.relay_options.clone(),
        seed,
    };
    Ok((config, temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_readme_are_understood() {
        for line in [
            "demo",
            "demo --clients 300 --rate 2500 --seconds 30 --fault silence --fault-site 2 --out x",
            "replay --trace t.zst --fold day --speed 100 --rooms 50 --clients 20 --limit-messages 10",
            "replay --trace t --connect a:1,b:2 --ca ca.pem --admin 127.0.0.1:1,127.0.0.1:2 --fault none",
            "demo --edits 0.1 --redactions 0 --reactions 1 --unreactions 0.5 --marks 0.25",
            "replay --trace t --edits 0",
            "fanout --window 64",
            "fanout --spread --sites 3",
            "fanout --rate 1000 --idle 2000",
            "fuzz --seconds 60 --seed 7",
        ] {
            let words = std::iter::once("causeway-loadtest").chain(line.split(' '));
            Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        assert!(Cli::try_parse_from(["x", "fanout", "--rate", "1", "--window", "2"]).is_err());
        assert!(Cli::try_parse_from(["x", "replay", "--trace", "t", "--connect", "a:1", "--ca", "c"]).is_err());
    }
}
