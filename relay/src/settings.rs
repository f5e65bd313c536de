//! Every setting, as it can be written: in the TOML file, as a flag, as an environment variable. A flag wins over
//! the environment, that over the file, that over the default. What they mean is checked in [`crate::config`].

use std::path::PathBuf;

use crate::config::ConfigError;

/// The settings of one source; `None` where it says nothing.
#[derive(clap::Args, serde::Deserialize, Default, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// This site's number in the cluster, 1 to 65535
    #[arg(long, env = "CAUSEWAY_SITE")]
    pub site: Option<i64>,
    /// This node's number in the site, 0 to 65535 [default: 0]
    #[arg(long, env = "CAUSEWAY_NODE")]
    pub node: Option<i64>,
    /// This site's name, for people [default: site- and its number]
    #[arg(long, env = "CAUSEWAY_SITE_NAME")]
    pub site_name: Option<String>,
    /// The cluster's name, the same at every site and set for life
    #[arg(long, env = "CAUSEWAY_CLUSTER")]
    pub cluster: Option<String>,
    /// Folder of the database; made if absent
    #[arg(long, env = "CAUSEWAY_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// UDP address for clients and peers, IP:PORT
    #[arg(long, env = "CAUSEWAY_LISTEN")]
    pub listen: Option<String>,
    /// Addresses of this site that clients are told, HOST:PORT [default: the listen address]
    #[arg(long, env = "CAUSEWAY_ADVERTISE", value_delimiter = ',')]
    pub advertise: Option<Vec<String>>,
    /// TCP address of the admin HTTP server, IP:PORT; beyond loopback only with `admin_ca`
    #[arg(long, env = "CAUSEWAY_ADMIN_LISTEN")]
    pub admin_listen: Option<String>,
    /// PEM file of the authority of operators: the admin server then speaks HTTPS, and who calls shows a certificate of that
    /// authority's [default: plain HTTP, on loopback]; read again when it changes
    #[arg(long, env = "CAUSEWAY_ADMIN_CA")]
    pub admin_ca: Option<PathBuf>,
    /// TCP address of the HTTP API for back ends, IP:PORT; HTTPS, or plain HTTP with `dev` [default: no API]
    #[arg(long, env = "CAUSEWAY_API_LISTEN")]
    pub api_listen: Option<String>,
    /// Connections to the API at a time [default: 256]
    #[arg(long, env = "CAUSEWAY_API_CONNECTIONS_MAX")]
    pub api_connections_max: Option<i64>,
    /// Ms that one call of the API may take [default: 10000]
    #[arg(long, env = "CAUSEWAY_API_TIMEOUT_MS")]
    pub api_timeout_ms: Option<i64>,
    /// Ms that a call with `wait=replicated` waits for a second site [default: 2000]
    #[arg(long, env = "CAUSEWAY_API_WAIT_MS")]
    pub api_wait_ms: Option<i64>,
    /// Accept clients without tokens, instead of `token_keys`; only on loopback addresses
    #[arg(long, env = "CAUSEWAY_DEV", num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub dev: Option<bool>,
    /// JWKS file (RFC 7517) of the public keys that sign clients' tokens; read again when it changes
    #[arg(long, env = "CAUSEWAY_TOKEN_KEYS")]
    pub token_keys: Option<PathBuf>,
    /// The `iss` that tokens must have
    #[arg(long, env = "CAUSEWAY_TOKEN_ISSUER")]
    pub token_issuer: Option<String>,
    /// The `aud` that tokens must have, alone or among others
    #[arg(long, env = "CAUSEWAY_TOKEN_AUDIENCE")]
    pub token_audience: Option<String>,
    /// Seconds that the clocks of issuer and site may differ, for `exp` and `nbf` [default: 30]
    #[arg(long, env = "CAUSEWAY_TOKEN_LEEWAY_S")]
    pub token_leeway_s: Option<i64>,
    /// Shards of the cluster, the same at every site and set for life [default: 256]
    #[arg(long, env = "CAUSEWAY_SHARDS")]
    pub shards: Option<i64>,
    /// Shard threads [default: half the number of cores]
    #[arg(long, env = "CAUSEWAY_THREADS")]
    pub threads: Option<i64>,
    /// Threads for network IO [default: half the number of cores]
    #[arg(long, env = "CAUSEWAY_IO_THREADS")]
    pub io_threads: Option<i64>,
    /// PEM file of the authority that signs the sites' certificates; read again when it changes
    #[arg(long, env = "CAUSEWAY_CA")]
    pub ca: Option<PathBuf>,
    /// PEM file of this site's certificate chain; read again when it changes
    #[arg(long, env = "CAUSEWAY_CERT")]
    pub cert: Option<PathBuf>,
    /// PEM file of this site's private key; read again when it changes
    #[arg(long, env = "CAUSEWAY_KEY")]
    pub key: Option<PathBuf>,
    /// The other sites, each `SITE=NAME@HOST:PORT[,HOST:PORT]`, separated by ';'
    #[arg(long, env = "CAUSEWAY_PEERS", value_delimiter = ';', value_parser = parse_peer)]
    pub peers: Option<Vec<PeerSettings>>,
    /// Client sessions at a time [default: 20000]
    #[arg(long, env = "CAUSEWAY_SESSIONS_MAX")]
    pub sessions_max: Option<i64>,
    /// Bytes of live events queued for a session before it reads from storage instead [default: 262144]
    #[arg(long, env = "CAUSEWAY_SESSION_QUEUE_BYTES")]
    pub session_queue_bytes: Option<i64>,
    /// Reads from storage at a time [default: twice the cores, at least 4]
    #[arg(long, env = "CAUSEWAY_READS_MAX")]
    pub reads_max: Option<i64>,
    /// TLS handshakes a second, of all clients and peers; ten seconds' worth may come at once [default: 2000]
    #[arg(long, env = "CAUSEWAY_HANDSHAKES_PER_S")]
    pub handshakes_per_s: Option<i64>,
    /// The same of one source: an IPv4 address, or an IPv6 network of 64 bits [default: 400]
    #[arg(long, env = "CAUSEWAY_SOURCE_HANDSHAKES_PER_S")]
    pub source_handshakes_per_s: Option<i64>,
    /// Handshakes under way from which on addresses are validated by QUIC Retry [default: 256]
    #[arg(long, env = "CAUSEWAY_HANDSHAKES_RETRY_ABOVE")]
    pub handshakes_retry_above: Option<i64>,
    /// Connections of one user at a time [default: 100]
    #[arg(long, env = "CAUSEWAY_USER_CONNECTIONS_MAX")]
    pub user_connections_max: Option<i64>,
    /// Requests a second of one connection: frames and history [default: 50000]
    #[arg(long, env = "CAUSEWAY_CONNECTION_REQUESTS_PER_S")]
    pub connection_requests_per_s: Option<i64>,
    /// Bytes a second of one connection's requests [default: 67108864]
    #[arg(long, env = "CAUSEWAY_CONNECTION_BYTES_PER_S")]
    pub connection_bytes_per_s: Option<i64>,
    /// Requests a second of all connections of one user [default: 50000]
    #[arg(long, env = "CAUSEWAY_USER_REQUESTS_PER_S")]
    pub user_requests_per_s: Option<i64>,
    /// Bytes a second of all of one user's requests [default: 67108864]
    #[arg(long, env = "CAUSEWAY_USER_BYTES_PER_S")]
    pub user_bytes_per_s: Option<i64>,
    /// Bytes of one connection's requests that are not acknowledged yet [default: 8388608]
    #[arg(long, env = "CAUSEWAY_CONNECTION_IN_FLIGHT_BYTES_MAX")]
    pub connection_in_flight_bytes_max: Option<i64>,
    /// Rooms of one user [default: 10000]
    #[arg(long, env = "CAUSEWAY_USER_ROOMS_MAX")]
    pub user_rooms_max: Option<i64>,
    /// Members of one room [default: 1000000]
    #[arg(long, env = "CAUSEWAY_ROOM_MEMBERS_MAX")]
    pub room_members_max: Option<i64>,
    /// Bytes of a message's content; the same at every site [default: 65536]
    #[arg(long, env = "CAUSEWAY_BODY_BYTES_MAX")]
    pub body_bytes_max: Option<i64>,
    /// Bytes of a client's frame; the same at every site [default: 1048576]
    #[arg(long, env = "CAUSEWAY_FRAME_BYTES_MAX")]
    pub frame_bytes_max: Option<i64>,
    /// Requests in one page of history [default: 500]
    #[arg(long, env = "CAUSEWAY_HISTORY_PAGE_MAX")]
    pub history_page_max: Option<i64>,
    /// Pass on who types and who is there; off, nobody is told of either [default: true]
    #[arg(long, env = "CAUSEWAY_PRESENCE", num_args = 0..=1, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    pub presence: Option<bool>,
    /// Bytes of a shard's log that a lagging site may hold back [default: 67108864]
    #[arg(long, env = "CAUSEWAY_LOG_BYTES_MAX")]
    pub log_bytes_max: Option<i64>,
    /// Bytes of storage blocks kept in memory [default: 134217728]
    #[arg(long, env = "CAUSEWAY_BLOCK_CACHE_BYTES")]
    pub block_cache_bytes: Option<i64>,
    /// At shutdown, ms that clients get to move away [default: 1000]
    #[arg(long, env = "CAUSEWAY_SHUTDOWN_GRACE_MS")]
    pub shutdown_grace_ms: Option<i64>,
    /// Log filter in tracing's syntax [default: info]
    #[arg(long, env = "CAUSEWAY_LOG")]
    pub log: Option<String>,
    /// Log format, text or json [default: text]
    #[arg(long, env = "CAUSEWAY_LOG_FORMAT")]
    pub log_format: Option<String>,
}

/// Another site.
#[derive(serde::Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct PeerSettings {
    /// Its number.
    pub site: i64,
    /// Its name.
    pub name: String,
    /// Where this site dials it, HOST:PORT each.
    pub addresses: Vec<String>,
    /// What clients are told, where that is not `addresses`.
    #[serde(default)]
    pub advertise: Option<Vec<String>>,
}

/// `SITE=NAME@HOST:PORT[,HOST:PORT]`.
fn parse_peer(text: &str) -> Result<PeerSettings, String> {
    let form = "expected SITE=NAME@HOST:PORT[,HOST:PORT], such as 2=busan@10.0.2.1:7400";
    let (site, rest) = text.trim().split_once('=').ok_or(form)?;
    let (name, addresses) = rest.split_once('@').ok_or(form)?;
    let site = site.trim().parse().map_err(|_| form)?;
    let addresses = addresses.split(',').map(|a| a.trim().to_owned()).collect();
    Ok(PeerSettings { site, name: name.trim().to_owned(), addresses, advertise: None })
}

impl Settings {
    /// Of a TOML file's text. An unknown key is refused by its name.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::File(e.to_string().trim_end().to_owned()))
    }

    /// These, and where they say nothing, the other's.
    pub fn over(self, base: Settings) -> Settings {
        Settings {
            site: self.site.or(base.site),
            node: self.node.or(base.node),
            site_name: self.site_name.or(base.site_name),
            cluster: self.cluster.or(base.cluster),
            data_dir: self.data_dir.or(base.data_dir),
            listen: self.listen.or(base.listen),
            advertise: self.advertise.or(base.advertise),
            admin_listen: self.admin_listen.or(base.admin_listen),
            admin_ca: self.admin_ca.or(base.admin_ca),
            api_listen: self.api_listen.or(base.api_listen),
            api_connections_max: self.api_connections_max.or(base.api_connections_max),
            api_timeout_ms: self.api_timeout_ms.or(base.api_timeout_ms),
            api_wait_ms: self.api_wait_ms.or(base.api_wait_ms),
            dev: self.dev.or(base.dev),
            token_keys: self.token_keys.or(base.token_keys),
            token_issuer: self.token_issuer.or(base.token_issuer),
            token_audience: self.token_audience.or(base.token_audience),
            token_leeway_s: self.token_leeway_s.or(base.token_leeway_s),
            shards: self.shards.or(base.shards),
            threads: self.threads.or(base.threads),
            io_threads: self.io_threads.or(base.io_threads),
            ca: self.ca.or(base.ca),
            cert: self.cert.or(base.cert),
            key: self.key.or(base.key),
            peers: self.peers.or(base.peers),
            sessions_max: self.sessions_max.or(base.sessions_max),
            session_queue_bytes: self.session_queue_bytes.or(base.session_queue_bytes),
            reads_max: self.reads_max.or(base.reads_max),
            handshakes_per_s: self.handshakes_per_s.or(base.handshakes_per_s),
            source_handshakes_per_s: self.source_handshakes_per_s.or(base.source_handshakes_per_s),
            handshakes_retry_above: self.handshakes_retry_above.or(base.handshakes_retry_above),
            user_connections_max: self.user_connections_max.or(base.user_connections_max),
            connection_requests_per_s: self.connection_requests_per_s.or(base.connection_requests_per_s),
            connection_bytes_per_s: self.connection_bytes_per_s.or(base.connection_bytes_per_s),
            user_requests_per_s: self.user_requests_per_s.or(base.user_requests_per_s),
            user_bytes_per_s: self.user_bytes_per_s.or(base.user_bytes_per_s),
            connection_in_flight_bytes_max: self.connection_in_flight_bytes_max.or(base.connection_in_flight_bytes_max),
            user_rooms_max: self.user_rooms_max.or(base.user_rooms_max),
            room_members_max: self.room_members_max.or(base.room_members_max),
            body_bytes_max: self.body_bytes_max.or(base.body_bytes_max),
            frame_bytes_max: self.frame_bytes_max.or(base.frame_bytes_max),
            history_page_max: self.history_page_max.or(base.history_page_max),
            presence: self.presence.or(base.presence),
            log_bytes_max: self.log_bytes_max.or(base.log_bytes_max),
            block_cache_bytes: self.block_cache_bytes.or(base.block_cache_bytes),
            shutdown_grace_ms: self.shutdown_grace_ms.or(base.shutdown_grace_ms),
            log: self.log.or(base.log),
            log_format: self.log_format.or(base.log_format),
        }
    }
}
