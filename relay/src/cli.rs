//! The command line.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use causeway_protocol::SiteId;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::certs::write_dev_certs;
use crate::config::{Config, LogFormat};
use crate::dev_tokens::{DEV_AUDIENCE, DEV_ISSUER, DevClaims, dev_token};
use crate::relay::Relay;
use crate::settings::Settings;

/// An active-active chat relay
#[derive(Parser)]
#[command(name = "causeway-relay", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// TOML file of settings; flags win over the environment, that over the file
    #[arg(long, env = "CAUSEWAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write a development authority and certificates for sites and a client
    DevCerts {
        /// Folder to write to; an authority that is there is used again
        #[arg(long, default_value = "certs")]
        out: PathBuf,
        /// The sites' numbers
        #[arg(long, value_delimiter = ',', default_value = "1,2,3", value_parser = clap::value_parser!(u16).range(1..))]
        sites: Vec<u16>,
    },
    /// Print a token for a client, signed with a development key
    Token {
        /// The Ed25519 key, as `dev-certs` writes it
        #[arg(long, default_value = "certs/token.key")]
        key: PathBuf,
        /// Whose token it is
        #[arg(long)]
        user: String,
        /// Its `iss`
        #[arg(long, default_value = DEV_ISSUER)]
        issuer: String,
        /// Its `aud`
        #[arg(long, default_value = DEV_AUDIENCE)]
        audience: String,
        /// For how many seconds it is good
        #[arg(long, default_value_t = 86_400, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
        seconds: u64,
        /// For a back end: over the HTTP API it may act as any user
        #[arg(long)]
        service: bool,
    },
}

/// Does what the command line says; runs a relay until SIGTERM or SIGINT.
pub fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Some(Command::DevCerts { out, sites }) => {
            let sites: Vec<SiteId> = sites.into_iter().map(SiteId).collect();
            return write_dev_certs(&out, &sites);
        }
        Some(Command::Token { key, user, issuer, audience, seconds, service }) => {
            let claims = DevClaims::from_now(user, issuer, audience, seconds)?.service(service);
            println!("{}", dev_token(&key, &claims)?);
            return Ok(());
        }
        None => {}
    }
    let file = match &cli.config {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Settings::from_toml(&text).with_context(|| format!("in {}", path.display()))?
        }
        None => Settings::default(),
    };
    let config = Config::from_settings(cli.settings.over(file))?;
    start_log(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.io_threads)
        .thread_name("io")
        .enable_all()
        .build()
        .context("cannot start the IO threads")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<()> {
    // Before anything else, so that no signal in between kills a half-started relay.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let relay = Relay::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    relay.shutdown().await.context("the last sync failed")
}

fn start_log(config: &Config) -> Result<()> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("`log` is {:?}: use a filter such as info or causeway_relay=debug", config.log))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
