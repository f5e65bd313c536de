//! A relay from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use causeway_mailbox::Wakes;
use causeway_protocol::{Code, Origin, wire};
use causeway_replica::session::Admission;
use causeway_store::{CommitThread, Identity as StoreIdentity, Provenance, Store, StoreConfig, StoreError};
use quinn::Endpoint;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::certificates::Certificates;
use crate::config::Config;
use crate::core::Core;
use crate::erasures;
use crate::handshakes::{Handshakes, Verdict};
use crate::session::close_code;
use crate::shard_input::{ShardInboxes, ThreadInput};
use crate::shard_thread::ShardThread;
use crate::tls::{Side, TlsError, side_of};
use crate::token_bucket::TokenBucket;
use crate::tokens::{TokenKeys, TokenKeysError};
use crate::{admin, api, datagrams, link, session, transport};

/// TLS handshakes at a time. Each costs a signature; more would only make all of them slower.
const HANDSHAKES_MAX: usize = 1_024;
/// From the first packet to a hello that is answered: longer nobody is here unknown.
const STRANGER_MAX: Duration = Duration::from_secs(5);
/// Warnings of handshakes refused, a second.
const WARNINGS_PER_S: u64 = 1;
/// How often histograms are folded.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);
/// How often a stopping relay looks whether its clients have left.
const LEAVING_POLL: Duration = Duration::from_millis(10);
/// What ending the last sessions may take: a read from storage at most.
const RELEASE_MAX: Duration = Duration::from_secs(5);
/// What closing the endpoint may take: the last packets to those who are gone.
const ENDPOINT_CLOSE_MAX: Duration = Duration::from_millis(500);

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Keys of clients' tokens.
    #[error(transparent)]
    TokenKeys(#[from] TokenKeysError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A shard's rows.
    #[error("a shard cannot be taken up: {0}")]
    Shard(#[from] causeway_replica::view::ViewError),
    /// An address cannot be used.
    #[error("`{field}` = {address}: {reason}")]
    Listen {
        /// The setting.
        field: &'static str,
        /// Its value.
        address: SocketAddr,
        /// The system's words.
        reason: std::io::Error,
    },
    /// A thread or a random number could not be had.
    #[error("the system refuses {what}: {reason}")]
    System {
        /// What was wanted.
        what: &'static str,
        /// The system's words.
        reason: String,
    },
}

/// The relay. There is only its start: see [`RelayHandle`].
pub struct Relay;

/// A running relay. Dropping it without [`RelayHandle::shutdown`] is like a crash.
pub struct RelayHandle {
    core: Arc<Core>,
    endpoint: Endpoint,
    admin_address: SocketAddr,
    api_address: Option<SocketAddr>,
    listen_address: SocketAddr,
    tasks: JoinSet<()>,
    links: JoinSet<()>,
    threads: Vec<JoinHandle<()>>,
    commits: CommitThread,
}

impl Relay {
    /// Opens the store, starts the threads, listens, dials. Returns when clients may connect; whether the shards
    /// serve is another question: see [`RelayHandle::is_ready`].
    ///
    /// To be called within a tokio runtime.
    pub async fn start(config: Config) -> Result<RelayHandle, StartError> {
        let certificates = Arc::new(Certificates::load(&config)?);
        let token_keys = config.tokens.clone().map(TokenKeys::load).transpose()?.map(Arc::new);
        let endpoint = listen(config.listen, certificates.server())?;
        let listen_error = |reason| StartError::Listen { field: "listen", address: config.listen, reason };
        let listen_address = endpoint.local_addr().map_err(listen_error)?;
        let admin_error = |reason| StartError::Listen { field: "admin_listen", address: config.admin_listen, reason };
        let admin_listener = TcpListener::bind(config.admin_listen).await.map_err(admin_error)?;
        let admin_address = admin_listener.local_addr().map_err(admin_error)?;

        let api_listener = match &config.api {
            Some(api) => Some(listen_for_api(api.listen).await?),
            None => None,
        };
        let api_address = api_listener.as_ref().map(|(_, address)| *address);
        // Plain HTTP where nobody needs a token.
        let api_tls = token_keys.as_ref().map(|_| certificates.clone());

        // A new one at every start, whatever the store holds: sequence numbers are never issued twice.
        let incarnation =
            getrandom::u64().map_err(|e| StartError::System { what: "random numbers", reason: e.to_string() })?;
        let origin = Origin { site: config.site, node: config.node, incarnation };
        let store = open_store(&config).await?;
        if let Some(words) = store.cut() {
            tracing::warn!("the end of a log was missing, and what came after it was dropped: {words}");
        }
        let provenance = store.provenance()?;
        let inboxes = ShardInboxes::new(config.threads);
        let admission = match &token_keys {
            Some(keys) => Admission::Tokens(keys.clone()),
            None => Admission::Tokenless,
        };
        let site_infos = site_infos(&config, listen_address);
        let (core, typed, told) =
            Core::new(config, origin, admission, site_infos, store, inboxes, provenance == Provenance::Intact);
        let core = Arc::new(core);
        let commits = core.store.start_commits(
            {
                let inboxes = core.inboxes.clone();
                move |ticket| inboxes.all().iter().for_each(|inbox| inbox.durable(ticket))
            },
            causeway_store::abort_on_failure,
        )?;
        let threads = start_threads(&core, provenance != Provenance::Intact)?;

        let mut tasks = JoinSet::new();
        tasks.spawn(admin::serve(core.clone(), admin_listener, certificates.clone()));
        tasks.spawn(upkeep(core.clone()));
        core.metrics.certificates_unusable.set(0.0);
        tasks.spawn(certificates.clone().follow(core.clone(), endpoint.clone()));
        if let (Some(config), Some((listener, _))) = (core.config.api.clone(), api_listener) {
            let api = api::Api::new(core.clone(), config, token_keys.clone());
            tasks.spawn(api::accept(api, listener, api_tls));
        }
        if let Some(keys) = token_keys {
            core.metrics.token_keys.set(keys.count() as f64);
            tasks.spawn(follow_token_keys(core.clone(), keys));
        }
        if core.config.presence {
            tasks.spawn(datagrams::spread_typing(core.clone(), typed));
            tasks.spawn(datagrams::spread_presence(core.clone()));
        }
        tasks.spawn(erasures::ask_for_erasures(core.clone(), told));
        tasks.spawn(accept(core.clone(), endpoint.clone()));
        let mut links = JoinSet::new();
        for peer in core.links.all().iter().filter(|link| link.peer.site > core.config.site) {
            links.spawn(link::dial_forever(core.clone(), endpoint.clone(), certificates.clone(), peer.clone()));
        }
        core.metrics.accepting.set(1.0);
        tracing::info!(
            site = core.config.site.0,
            name = core.config.site_name,
            listen = %listen_address,
            admin = %admin_address,
            api = api_address.map(tracing::field::display),
            ?provenance,
            "listening"
        );
        core.note_ready();
        Ok(RelayHandle { core, endpoint, admin_address, api_address, listen_address, tasks, links, threads, commits })
    }
}

impl RelayHandle {
    /// Where clients and peers connect: the port that was bound, where 0 was configured.
    pub fn listen_address(&self) -> SocketAddr {
        self.listen_address
    }

    /// Where the admin server answers.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where the API answers, if there is one.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api_address
    }

    /// This start's origin.
    pub fn origin(&self) -> Origin {
        self.core.origin
    }

    /// Whether every shard serves.
    pub fn is_ready(&self) -> bool {
        self.core.published.all_ready()
    }

    /// Waits until every shard serves.
    pub async fn ready(&self) {
        let mut ready = self.core.ready.subscribe();
        // The sender lives in the core, which this handle keeps.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// The sites whose links are up.
    pub fn links_up(&self) -> Vec<u16> {
        let links = self.core.links.all().iter();
        links.filter(|link| link.status().up).map(|link| link.peer.site.0).collect()
    }

    /// Why links ended last or did not come up, each with its site.
    pub fn link_errors(&self) -> Vec<String> {
        let links = self.core.links.all().iter();
        links.filter_map(|link| Some(format!("site {}: {}", link.peer.site, link.status().last_error?))).collect()
    }

    /// What `/metrics` shows.
    pub fn metrics(&self) -> String {
        self.core.metrics.render()
    }

    /// Ends the relay in order: clients are told to move and get the grace period to do so, nobody new gets in,
    /// the links close, the shards finish what they hold, everything is synced.
    ///
    /// # Errors
    /// The last sync failed.
    pub async fn shutdown(mut self) -> Result<(), StoreError> {
        let core = self.core.clone();
        tracing::info!("shutting down");
        core.stopping.send_replace(true);
        if let Some(go_away) = core.go_away() {
            core.directory.tell_all(&go_away, &mut Wakes::default());
        }
        let left = async {
            while core.directory.len() > 0 {
                tokio::time::sleep(LEAVING_POLL).await;
            }
        };
        let _ = tokio::time::timeout(core.config.shutdown_grace, left).await;
        core.links.close("shutting down");
        while self.links.join_next().await.is_some() {}
        self.endpoint.close(close_code(Code::ShuttingDown), b"the site is shutting down");
        core.inboxes.push_all_now(&ThreadInput::Stop);
        let (threads, commits) = (self.threads, self.commits);
        // Threads end when what they wrote is durable, which blocks.
        let synced = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .for_each(|thread| thread.join().expect("a shard thread that panics aborts the process"));
            commits.stop()
        });
        let synced = synced.await.expect("a panic aborts the process");
        let _ = tokio::time::timeout(ENDPOINT_CLOSE_MAX, self.endpoint.wait_idle()).await;
        self.tasks.shutdown().await;
        // The database closes with the last who holds it, and may then be opened again.
        let released = async {
            while Arc::strong_count(&core) > 2 {
                tokio::time::sleep(LEAVING_POLL).await;
            }
        };
        if tokio::time::timeout(RELEASE_MAX, released).await.is_err() {
            tracing::warn!("some sessions have not ended: the database stays open until the process does");
        }
        // The socket closes with the last task that holds it, and its address may then be used again.
        let address = self.endpoint.local_addr();
        drop(self.endpoint);
        let free = async {
            while address.as_ref().is_ok_and(|address| transport::bind(*address).is_err()) {
                tokio::time::sleep(LEAVING_POLL).await;
            }
        };
        if tokio::time::timeout(RELEASE_MAX, free).await.is_err() {
            tracing::warn!("the socket stays open until the process ends");
        }
        tracing::info!("stopped");
        synced.map(|_| ())
    }
}

fn listen(address: SocketAddr, server: quinn::ServerConfig) -> Result<Endpoint, StartError> {
    let listen_error = |reason| StartError::Listen { field: "listen", address, reason };
    let socket = transport::bind(address).map_err(listen_error)?;
    let runtime = Arc::new(quinn::TokioRuntime);
    Endpoint::new(transport::endpoint_config(), Some(server), socket, runtime).map_err(listen_error)
}

async fn listen_for_api(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen_error = |reason| StartError::Listen { field: "api_listen", address, reason };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    Ok((listener, bound))
}

/// Recovering a store reads its log: not on an async thread.
async fn open_store(config: &Config) -> Result<Store, StartError> {
    let identity =
        StoreIdentity { cluster: config.cluster, site: config.site.0, node: config.node, shard_count: config.shards };
    let store_config = StoreConfig { cache_bytes: config.block_cache_bytes, ..StoreConfig::new(identity) };
    let path = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&path, &store_config));
    Ok(opened.await.expect("a panic aborts the process")?)
}

fn start_threads(core: &Arc<Core>, must_catch_up: bool) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut threads = Vec::new();
    for number in 0..core.inboxes.all().len() {
        let thread = ShardThread::open(core, number, must_catch_up)?;
        let spawned = std::thread::Builder::new().name(format!("shards-{number}")).spawn(move || thread.run());
        threads.push(spawned.map_err(|e| StartError::System { what: "a shard thread", reason: e.to_string() })?);
    }
    Ok(threads)
}

fn site_infos(config: &Config, listen_address: SocketAddr) -> Arc<[wire::SiteInfo]> {
    let own = if config.advertise.is_empty() { vec![listen_address.to_string()] } else { config.advertise.clone() };
    let own = wire::SiteInfo { site: config.site.0.into(), name: config.site_name.clone(), addresses: own };
    let peer = |peer: &crate::config::Peer| wire::SiteInfo {
        site: peer.site.0.into(),
        name: peer.name.clone(),
        addresses: peer.advertise.clone(),
    };
    let mut infos: Vec<_> = config.peers.iter().map(peer).chain([own]).collect();
    infos.sort_by_key(|info| info.site);
    infos.into()
}

/// Takes connections until the endpoint closes.
async fn accept(core: Arc<Core>, endpoint: Endpoint) {
    let under_way = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut handshakes = Handshakes::new(&core.config.limits, core.clock.now().mono_ms);
    let mut warnings = TokenBucket::new(WARNINGS_PER_S, WARNINGS_PER_S, core.clock.now().mono_ms);
    while let Some(incoming) = endpoint.accept().await {
        if core.is_stopping() {
            core.metrics.sessions_refused.increment(1);
            incoming.refuse();
            continue;
        }
        let (now_ms, address) = (core.clock.now().mono_ms, incoming.remote_address());
        let half_open = HANDSHAKES_MAX - under_way.available_permits();
        match handshakes.judge(now_ms, address.ip(), incoming.remote_address_validated(), half_open) {
            Verdict::Take => {}
            Verdict::Retry => {
                core.metrics.handshakes_retried.increment(1);
                // Nothing to be done where the address has just been validated otherwise.
                let _ = incoming.retry();
                continue;
            }
            Verdict::Refuse(over) => {
                core.metrics.limited(over.setting);
                if warnings.take(now_ms, 1).is_ok() {
                    tracing::warn!(%address, "handshakes are refused: {over}");
                }
                incoming.refuse();
                continue;
            }
        }
        let Ok(permit) = under_way.clone().try_acquire_owned() else {
            core.metrics.handshakes_busy.increment(1);
            incoming.refuse();
            continue;
        };
        let core = core.clone();
        let deadline = Instant::now() + STRANGER_MAX;
        tokio::spawn(async move {
            let connection = tokio::time::timeout_at(deadline, incoming).await;
            drop(permit);
            // A handshake that fails has told the other side why.
            let Ok(Ok(connection)) = connection else { return };
            match side_of(&connection) {
                Some(Side::Client) => session::serve(core, connection, deadline).await,
                // Boxed: few connections are links, and each task is as large as its largest branch.
                Some(Side::Peer) => Box::pin(link::accept(core, connection)).await,
                None => connection.close(close_code(Code::ProtocolError), b"no protocol was agreed on"),
            }
        });
    }
}

async fn follow_token_keys(core: Arc<Core>, keys: Arc<TokenKeys>) {
    let tell = |read| match read {
        Ok(count) => {
            core.metrics.token_keys.set(count as f64);
            tracing::info!(count, "token keys read again");
        }
        Err(e) => tracing::error!("the token keys stay as they were: {e}"),
    };
    keys.follow(tell).await;
}

async fn upkeep(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(METRICS_UPKEEP);
    loop {
        ticks.tick().await;
        core.metrics.upkeep();
    }
}
