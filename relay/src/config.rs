//! What the settings mean: checked values with defaults filled in. Every error names the setting and the fix.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use causeway_protocol::{Hash16, SiteId, hash16, limits};

use crate::limits::Limits;
use crate::settings::{PeerSettings, Settings};

/// What keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is no such TOML. The message has the line and the key.
    #[error("config file: {0}")]
    File(String),
    /// A setting that has no default is not set.
    #[error("`{field}` is not set: {fix} (or --{flag}, or {env})", flag = field.replace('_', "-"), env = env_name(field))]
    Missing {
        /// The setting.
        field: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A setting's value cannot be used.
    #[error("`{field}` is {got}: {fix}")]
    Invalid {
        /// The setting.
        field: &'static str,
        /// Its value.
        got: String,
        /// What to write instead.
        fix: String,
    },
}

fn env_name(field: &str) -> String {
    format!("CAUSEWAY_{}", field.to_uppercase())
}

fn invalid(field: &'static str, got: impl Display, fix: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { field, got: got.to_string(), fix: fix.into() }
}

/// Another site, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// Where this site dials it, `host:port` each, tried in turn.
    pub addresses: Vec<String>,
    /// What clients are told.
    pub advertise: Vec<String>,
}

/// Which tokens are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The JWKS file.
    pub keys: PathBuf,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or hold.
    pub audience: String,
    /// What clocks may differ.
    pub leeway: Duration,
}

/// The HTTP API for back ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Connections at a time.
    pub connections_max: usize,
    /// What one call may take.
    pub timeout: Duration,
    /// What a call waits for a second site, where it wants to.
    pub wait: Duration,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A relay's configuration, checked. Field by field it is described at [`Settings`].
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is described where it can be set")]
pub struct Config {
    pub site: SiteId,
    pub node: u16,
    pub site_name: String,
    pub cluster: Hash16,
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// Empty: the address that `listen` was bound to.
    pub advertise: Vec<String>,
    pub admin_listen: SocketAddr,
    /// `None`: plain HTTP.
    pub admin_ca: Option<PathBuf>,
    /// `None`: no API.
    pub api: Option<ApiConfig>,
    /// `None`: clients need no token (`dev`).
    pub tokens: Option<TokenConfig>,
    pub shards: u16,
    pub threads: usize,
    pub io_threads: usize,
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub peers: Vec<Peer>,
    pub sessions_max: usize,
    pub session_queue_bytes: usize,
    pub reads_max: usize,
    pub limits: Limits,
    pub presence: bool,
    pub log_bytes_max: u64,
    pub block_cache_bytes: usize,
    pub shutdown_grace: Duration,
    pub log: String,
    pub log_format: LogFormat,
}

/// Sites of a cluster, this one too: the links form a full mesh.
pub const SITES_MAX: usize = 16;
/// Shards of a cluster: each has a replica's state in memory.
const SHARDS_MAX: i64 = 4_096;
const THREADS_MAX: i64 = 256;
const CLUSTER_BYTES_MAX: usize = 64;
const SITE_NAME_BYTES_MAX: usize = 64;
const TOKEN_CLAIM_BYTES_MAX: usize = 256;
const TOKEN_LEEWAY_DEFAULT_S: i64 = 30;
const TOKEN_LEEWAY_MAX_S: i64 = 600;
const SESSION_QUEUE_BYTES_DEFAULT: i64 = 256 << 10;
const LOG_BYTES_DEFAULT: i64 = 64 << 20;
const BLOCK_CACHE_BYTES_DEFAULT: i64 = 128 << 20;
const SESSIONS_DEFAULT: i64 = 20_000;
const SHUTDOWN_GRACE_DEFAULT_MS: i64 = 1_000;
const API_CONNECTIONS_DEFAULT: i64 = 256;
const API_TIMEOUT_DEFAULT_MS: i64 = 10_000;
const API_WAIT_DEFAULT_MS: i64 = 2_000;

impl Config {
    /// Checks the settings and fills in the defaults.
    pub fn from_settings(s: Settings) -> Result<Config, ConfigError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as i64;
        // Half of the cores for shards and half for IO: more threads than cores only take turns with each other.
        let threads = (cores / 2).max(1);
        let tokens = tokens(&s)?;
        let api = api(&s, tokens.is_none())?;
        let site_limits = Limits::from_settings(&s)?;
        let site = site_id("site", required(s.site, "site", "write site = 1")?)?;
        let site_name = s.site_name.unwrap_or_else(|| format!("site-{site}"));
        check_text("site_name", &site_name, SITE_NAME_BYTES_MAX)?;
        let cluster = required(s.cluster, "cluster", "write cluster = \"NAME\", the same at every site")?;
        check_text("cluster", &cluster, CLUSTER_BYTES_MAX)?;
        let listen = required(s.listen, "listen", "write listen = \"127.0.0.1:7400\"")?;
        let listen = socket_addr("listen", &listen)?;
        if tokens.is_none() && !listen.ip().is_loopback() {
            let fix = "under --dev clients need no token: use a loopback address, such as 127.0.0.1:7400";
            return Err(invalid("listen", listen, fix));
        }
        let admin_listen = required(s.admin_listen, "admin_listen", "write admin_listen = \"127.0.0.1:7480\"")?;
        let admin_listen = socket_addr("admin_listen", &admin_listen)?;
        if !admin_listen.ip().is_loopback() && s.admin_ca.is_none() {
            let fix =
                "without `admin_ca` anybody could call: set it, or use a loopback address, such as 127.0.0.1:7480";
            return Err(invalid("admin_listen", admin_listen, fix));
        }
        let advertise = s.advertise.unwrap_or_default();
        check_hosts("advertise", &advertise)?;
        let log_format = match s.log_format.as_deref().unwrap_or("text") {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => return Err(invalid("log_format", other, "write text or json")),
        };
        Ok(Config {
            site,
            node: ranged("node", s.node, 0, 0, 65_535)? as u16,
            site_name,
            cluster: hash16("causeway/cluster", &[cluster.as_bytes()]),
            data_dir: required(s.data_dir, "data_dir", "write data_dir = \"/var/lib/causeway\"")?,
            listen,
            advertise,
            admin_listen,
            admin_ca: s.admin_ca,
            api,
            tokens,
            shards: ranged("shards", s.shards, limits::SHARD_COUNT_DEFAULT.into(), 1, SHARDS_MAX)? as u16,
            threads: ranged("threads", s.threads, threads, 1, THREADS_MAX)? as usize,
            io_threads: ranged("io_threads", s.io_threads, threads, 1, THREADS_MAX)? as usize,
            ca: required(s.ca, "ca", "write ca = \"certs/ca.pem\"; `causeway-relay dev-certs` makes one")?,
            cert: required(s.cert, "cert", "write cert = \"certs/site-1.pem\"")?,
            key: required(s.key, "key", "write key = \"certs/site-1.key\"")?,
            peers: peers(site, s.peers.unwrap_or_default())?,
            sessions_max: ranged("sessions_max", s.sessions_max, SESSIONS_DEFAULT, 1, 1_000_000)? as usize,
            session_queue_bytes: ranged(
                "session_queue_bytes",
                s.session_queue_bytes,
                SESSION_QUEUE_BYTES_DEFAULT,
                // Below it one of the largest events would never fit.
                (2 * limits::BODY_BYTES_MAX) as i64,
                1 << 30,
            )? as usize,
            reads_max: ranged("reads_max", s.reads_max, (2 * cores).max(4), 1, THREADS_MAX)? as usize,
            limits: site_limits,
            presence: s.presence.unwrap_or(true),
            log_bytes_max: ranged("log_bytes_max", s.log_bytes_max, LOG_BYTES_DEFAULT, 1 << 16, 1 << 50)? as u64,
            block_cache_bytes: ranged(
                "block_cache_bytes",
                s.block_cache_bytes,
                BLOCK_CACHE_BYTES_DEFAULT,
                1 << 20,
                1 << 50,
            )? as usize,
            shutdown_grace: Duration::from_millis(ranged(
                "shutdown_grace_ms",
                s.shutdown_grace_ms,
                SHUTDOWN_GRACE_DEFAULT_MS,
                0,
                60_000,
            )? as u64),
            log: s.log.unwrap_or_else(|| "info".to_owned()),
            log_format,
        })
    }

    /// Every configured site's number, this one's too, sorted.
    pub fn sites(&self) -> Vec<SiteId> {
        let mut sites: Vec<_> = self.peers.iter().map(|peer| peer.site).chain([self.site]).collect();
        sites.sort();
        sites
    }
}

fn required<T>(value: Option<T>, field: &'static str, fix: &'static str) -> Result<T, ConfigError> {
    value.ok_or(ConfigError::Missing { field, fix })
}

pub(crate) fn ranged(
    field: &'static str,
    value: Option<i64>,
    default: i64,
    min: i64,
    max: i64,
) -> Result<i64, ConfigError> {
    let value = value.unwrap_or(default);
    if (min..=max).contains(&value) { Ok(value) } else { Err(invalid(field, value, format!("use {min} to {max}"))) }
}

fn site_id(field: &'static str, value: i64) -> Result<SiteId, ConfigError> {
    ranged(field, Some(value), 0, 1, 65_535).map(|number| SiteId(number as u16))
}

fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), ConfigError> {
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        let fix = format!("use 1 to {max} bytes without control characters");
        return Err(invalid(field, format!("{text:?}"), fix));
    }
    Ok(())
}

fn socket_addr(field: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| invalid(field, format!("{text:?}"), "use IP:PORT, such as 127.0.0.1:7400"))
}

/// Clients prove who they are by tokens, or need not under `dev`.
fn tokens(s: &Settings) -> Result<Option<TokenConfig>, ConfigError> {
    let dev = s.dev.unwrap_or(false);
    let Some(keys) = s.token_keys.clone() else {
        let of_tokens = s.token_issuer.is_some() || s.token_audience.is_some() || s.token_leeway_s.is_some();
        let fix = "write token_keys = \"jwks.json\", the public keys that sign clients' tokens; or, to try it out on a \
                   loopback address without tokens, dev = true";
        return if dev && !of_tokens { Ok(None) } else { Err(ConfigError::Missing { field: "token_keys", fix }) };
    };
    if dev {
        return Err(invalid("dev", dev, "token_keys is set, too: leave one of them out"));
    }
    let issuer = required(s.token_issuer.clone(), "token_issuer", "write token_issuer = \"https://login.example\"")?;
    let audience = required(s.token_audience.clone(), "token_audience", "write token_audience = \"causeway\"")?;
    check_text("token_issuer", &issuer, TOKEN_CLAIM_BYTES_MAX)?;
    check_text("token_audience", &audience, TOKEN_CLAIM_BYTES_MAX)?;
    let leeway = ranged("token_leeway_s", s.token_leeway_s, TOKEN_LEEWAY_DEFAULT_S, 0, TOKEN_LEEWAY_MAX_S)?;
    Ok(Some(TokenConfig { keys, issuer, audience, leeway: Duration::from_secs(leeway as u64) }))
}

/// Under `dev` it is plain HTTP without tokens, so on loopback only.
fn api(s: &Settings, dev: bool) -> Result<Option<ApiConfig>, ConfigError> {
    let Some(listen) = &s.api_listen else {
        let of_api = s.api_connections_max.or(s.api_timeout_ms).or(s.api_wait_ms).is_some();
        let fix = "write api_listen = \"127.0.0.1:7490\", or leave the API's other settings out";
        return if of_api { Err(ConfigError::Missing { field: "api_listen", fix }) } else { Ok(None) };
    };
    let listen = socket_addr("api_listen", listen)?;
    if dev && !listen.ip().is_loopback() {
        let fix = "under --dev the API is plain HTTP without tokens: use a loopback address, such as 127.0.0.1:7490";
        return Err(invalid("api_listen", listen, fix));
    }
    let connections_max = ranged("api_connections_max", s.api_connections_max, API_CONNECTIONS_DEFAULT, 1, 65_536)?;
    let timeout_ms = ranged("api_timeout_ms", s.api_timeout_ms, API_TIMEOUT_DEFAULT_MS, 100, 60_000)?;
    let wait_ms = s.api_wait_ms.unwrap_or(API_WAIT_DEFAULT_MS.min(timeout_ms / 2));
    if !(0..timeout_ms).contains(&wait_ms) {
        return Err(invalid("api_wait_ms", wait_ms, format!("use 0 to less than `api_timeout_ms`, {timeout_ms}")));
    }
    let (timeout, wait) = (Duration::from_millis(timeout_ms as u64), Duration::from_millis(wait_ms as u64));
    Ok(Some(ApiConfig { listen, connections_max: connections_max as usize, timeout, wait }))
}

fn check_hosts(field: &'static str, addresses: &[String]) -> Result<(), ConfigError> {
    let fits = |address: &str| {
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    match addresses.iter().find(|address| !fits(address)) {
        Some(address) => Err(invalid(field, format!("{address:?}"), "use HOST:PORT, such as 10.0.2.1:7400")),
        None => Ok(()),
    }
}

fn peers(own: SiteId, settings: Vec<PeerSettings>) -> Result<Vec<Peer>, ConfigError> {
    if settings.len() >= SITES_MAX {
        return Err(invalid("peers", settings.len(), format!("a cluster has at most {SITES_MAX} sites")));
    }
    let mut peers: Vec<Peer> = Vec::with_capacity(settings.len());
    for peer in settings {
        let site = site_id("peers.site", peer.site)?;
        if site == own {
            return Err(invalid("peers.site", site, "it is this site's own number: list the others only"));
        }
        if peers.iter().any(|other| other.site == site) {
            return Err(invalid("peers.site", site, "it is listed twice: list each site once"));
        }
        check_text("peers.name", &peer.name, SITE_NAME_BYTES_MAX)?;
        if peer.addresses.is_empty() {
            return Err(invalid("peers.addresses", "empty", "write addresses = [\"HOST:PORT\"]"));
        }
        check_hosts("peers.addresses", &peer.addresses)?;
        let advertise = peer.advertise.unwrap_or_else(|| peer.addresses.clone());
        check_hosts("peers.advertise", &advertise)?;
        peers.push(Peer { site, name: peer.name, addresses: peer.addresses, advertise });
    }
    peers.sort_by_key(|peer| peer.site);
    Ok(peers)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
