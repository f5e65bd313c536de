//! Sites as processes on loopback: certificates, configuration, start, kill, return. With proxies in front of them, on
//! every path, a site can be cut off as well.

mod proxies;
mod relay_config;
mod status;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::http::{self, HttpError};
use crate::process_signal::{self, Signal};

pub use proxies::Proxies;
pub use relay_config::{PeerConfig, RelayConfig};
pub use status::{SiteStatus, StatusError, converged, difference, metrics};

/// A relay that is not ready after this does not come up.
pub const READY_WAIT: Duration = Duration::from_secs(60);
/// How often readiness is asked for.
const READY_POLL: Duration = Duration::from_millis(20);
/// A relay that was told to end and has not after this is killed.
const STOP_WAIT: Duration = Duration::from_secs(10);
/// Sites of a run: as many as have names.
pub const SITES_MAX: usize = NAMES.len();
const NAMES: [&str; 5] = ["seoul", "busan", "daejeon", "gwangju", "jeju"];
/// How much of a relay's log an error shows, bytes.
const LOG_TAIL_BYTES: usize = 2_000;

/// Why sites do not run.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// There is no relay to run.
    #[error("no causeway-relay at {path}: build it, or name it with --relay-bin or CAUSEWAY_RELAY_BIN")]
    NoRelay {
        /// Where we looked.
        path: PathBuf,
    },
    /// Files, processes or sockets.
    #[error("{what}: {source}")]
    Io {
        /// What we did.
        what: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The relay ended by itself.
    #[error("{site}: the relay ended ({status}) before it was ready; its log ends:\n{log}")]
    Ended {
        /// Which.
        site: String,
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// It takes too long.
    #[error("{site}: not ready after {} s; its log ends:\n{log}", READY_WAIT.as_secs())]
    NotReady {
        /// Which.
        site: String,
        /// The end of its log.
        log: String,
    },
    /// The command for certificates failed.
    #[error("causeway-relay dev-certs failed: {0}")]
    Certs(String),
    /// More than there are names for.
    #[error("{0} sites: 1 to {SITES_MAX} can be run")]
    Count(usize),
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> SiteError {
    let what = what.into();
    move |source| SiteError::Io { what, source }
}

/// How the sites of a run are set up.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The relay's executable.
    pub relay_bin: PathBuf,
    /// Where data, logs and certificates go.
    pub dir: PathBuf,
    /// How many sites.
    pub sites: usize,
    /// With proxies on every path, so that a site can be cut off.
    pub proxied: bool,
    /// Further lines for every relay's configuration file.
    pub extra: Vec<String>,
    /// Decides which datagrams the proxies harm.
    pub seed: u64,
}

/// The relay's executable: the one named, or the one beside our own.
pub fn relay_bin(named: Option<PathBuf>) -> Result<PathBuf, SiteError> {
    let path = match named {
        Some(path) => path,
        None => std::env::current_exe().map_err(io("our own path"))?.with_file_name("causeway-relay"),
    };
    if path.is_file() { Ok(path) } else { Err(SiteError::NoRelay { path }) }
}

/// One site.
#[derive(Debug)]
pub struct Site {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Where its relay listens.
    pub listen: SocketAddr,
    /// Its admin pages.
    pub admin: SocketAddr,
    /// Its HTTP API.
    pub api: SocketAddr,
    /// Where clients reach it.
    pub advertised: SocketAddr,
    /// Its database.
    pub data_dir: PathBuf,
    /// Its log.
    pub log: PathBuf,
    config: PathBuf,
    child: Option<Child>,
}

impl Site {
    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
    }

    /// Its status page.
    pub async fn status(&self) -> Result<SiteStatus, StatusError> {
        SiteStatus::read(self.admin).await
    }
}

/// Running sites. Dropping them kills their processes.
pub struct Cluster {
    config: ClusterConfig,
    /// The sites in the order of their numbers.
    pub sites: Vec<Site>,
    /// The authority's certificate, PEM.
    pub ca: PathBuf,
    proxies: Option<Proxies>,
}

impl Cluster {
    /// Makes certificates and configuration, starts all sites and waits until they are ready.
    pub async fn start(config: ClusterConfig) -> Result<Self, SiteError> {
        if config.sites == 0 || config.sites > SITES_MAX {
            return Err(SiteError::Count(config.sites));
        }
        std::fs::create_dir_all(&config.dir).map_err(io(format!("cannot make {}", config.dir.display())))?;
        let certs = config.dir.join("certs");
        make_certs(&config, &certs).await?;
        let mut sites = free_sites(&config).map_err(io("no free port on loopback"))?;
        let listen: Vec<SocketAddr> = sites.iter().map(|s| s.listen).collect();
        let proxies = match config.proxied {
            true => Some(Proxies::start(&listen, config.seed).await.map_err(io("cannot start the proxies"))?),
            false => None,
        };
        for (i, site) in sites.iter_mut().enumerate() {
            site.advertised = proxies.as_ref().map_or(site.listen, |p| p.front(i));
        }
        for i in 0..sites.len() {
            let text = relay_config(&config, &certs, &sites, i, proxies.as_ref()).to_toml();
            let path = &sites[i].config;
            std::fs::write(path, text).map_err(io(format!("cannot write {}", path.display())))?;
        }
        let mut cluster = Self { ca: certs.join("ca.pem"), config, sites, proxies };
        for i in 0..cluster.sites.len() {
            cluster.spawn(i)?;
        }
        for i in 0..cluster.sites.len() {
            cluster.wait_ready(i).await?;
        }
        Ok(cluster)
    }

    fn spawn(&mut self, i: usize) -> Result<(), SiteError> {
        let site = &mut self.sites[i];
        let open = |path: &Path| std::fs::OpenOptions::new().create(true).append(true).open(path);
        let log = open(&site.log).map_err(io(format!("cannot write {}", site.log.display())))?;
        let errors = log.try_clone().map_err(io("cannot share the log"))?;
        let mut command = Command::new(&self.config.relay_bin);
        command.arg("--config").arg(&site.config).stdin(Stdio::null()).stdout(log).stderr(errors).kill_on_drop(true);
        // What is set for other relays of this machine must not reach these.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("CAUSEWAY_")) {
            command.env_remove(name);
        }
        site.child = Some(command.spawn().map_err(io(format!("cannot start {}", self.config.relay_bin.display())))?);
        Ok(())
    }

    /// Waits until a site says that it is ready.
    pub async fn wait_ready(&mut self, i: usize) -> Result<(), SiteError> {
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let site = &mut self.sites[i];
            if matches!(http::get(site.admin, "/readyz").await, Ok(answer) if answer.code == 200) {
                return Ok(());
            }
            let ended =
                site.child.as_mut().map_or(Ok(None), Child::try_wait).map_err(io("cannot ask for the relay"))?;
            let (name, log) = (site.name.clone(), site.log_tail());
            if let Some(status) = ended {
                return Err(SiteError::Ended { site: name, status: status.to_string(), log });
            }
            if Instant::now() >= deadline {
                return Err(SiteError::NotReady { site: name, log });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    /// Kills a site's process with SIGKILL and waits until it is gone.
    pub async fn kill(&mut self, i: usize) -> Result<(), SiteError> {
        let site = &mut self.sites[i];
        if let Some(mut child) = site.child.take() {
            child.kill().await.map_err(io(format!("cannot kill {}", site.name)))?;
        }
        Ok(())
    }

    /// Starts a killed site again, with its data. Does not wait until it is ready.
    pub fn start_again(&mut self, i: usize) -> Result<(), SiteError> {
        self.spawn(i)
    }

    /// Tells a site's process something.
    pub fn signal(&self, i: usize, signal: Signal) -> Result<(), SiteError> {
        match self.sites[i].pid() {
            Some(pid) => process_signal::send(pid, signal).map_err(io(format!("cannot signal {}", self.sites[i].name))),
            None => Ok(()),
        }
    }

    /// Ends a site in order, or by force if it takes too long.
    pub async fn stop(&mut self, i: usize) -> Result<(), SiteError> {
        self.signal(i, Signal::Terminate)?;
        let site = &mut self.sites[i];
        if let Some(mut child) = site.child.take()
            && tokio::time::timeout(STOP_WAIT, child.wait()).await.is_err()
        {
            child.kill().await.map_err(io(format!("cannot kill {}", site.name)))?;
        }
        Ok(())
    }

    /// Ends all sites, in order.
    pub async fn stop_all(mut self) -> Result<(), SiteError> {
        for i in 0..self.sites.len() {
            self.signal(i, Signal::Terminate)?;
        }
        for i in 0..self.sites.len() {
            self.stop(i).await?;
        }
        Ok(())
    }

    /// The proxies, where there are any.
    pub fn proxies(&self) -> Option<&Proxies> {
        self.proxies.as_ref()
    }
}

/// Free ports are found by taking them all at once and letting them go.
fn free_sites(config: &ClusterConfig) -> std::io::Result<Vec<Site>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let taken = (0..config.sites)
        .map(|_| {
            let tcp = || std::net::TcpListener::bind(any);
            Ok((std::net::UdpSocket::bind(any)?, tcp()?, tcp()?))
        })
        .collect::<std::io::Result<Vec<_>>>()?;
    type Taken = (std::net::UdpSocket, std::net::TcpListener, std::net::TcpListener);
    let site = |(i, (udp, admin, api)): (usize, &Taken)| {
        let name = NAMES[i].to_owned();
        let (listen, admin, api) = (udp.local_addr()?, admin.local_addr()?, api.local_addr()?);
        let at = |suffix: &str| config.dir.join(format!("{name}{suffix}"));
        Ok(Site {
            number: i as u16 + 1,
            listen,
            admin,
            api,
            advertised: listen,
            data_dir: at(""),
            log: at(".log"),
            config: at(".toml"),
            name,
            child: None,
        })
    };
    taken.iter().enumerate().map(site).collect()
}

fn relay_config(
    config: &ClusterConfig,
    certs: &Path,
    sites: &[Site],
    i: usize,
    proxies: Option<&Proxies>,
) -> RelayConfig {
    let site = &sites[i];
    let peer = |(j, other): (usize, &Site)| PeerConfig {
        site: other.number,
        name: other.name.clone(),
        address: proxies.map_or(other.listen, |p| p.between(i, j)),
        advertise: other.advertised,
    };
    RelayConfig {
        site: site.number,
        site_name: site.name.clone(),
        data_dir: site.data_dir.clone(),
        listen: site.listen,
        advertise: site.advertised,
        admin: site.admin,
        api: site.api,
        certs: certs.to_owned(),
        peers: sites.iter().enumerate().filter(|(j, _)| *j != i).map(peer).collect(),
        extra: config.extra.clone(),
    }
}

async fn make_certs(config: &ClusterConfig, out: &Path) -> Result<(), SiteError> {
    let numbers: Vec<String> = (1..=config.sites).map(|n| n.to_string()).collect();
    let mut command = Command::new(&config.relay_bin);
    command.arg("dev-certs").arg("--out").arg(out).arg("--sites").arg(numbers.join(",")).stdin(Stdio::null());
    let output = command.output().await.map_err(io(format!("cannot run {}", config.relay_bin.display())))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(SiteError::Certs(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// What an admin page's failure means for somebody who waits: nothing yet.
pub fn is_unreachable(error: &StatusError) -> bool {
    matches!(error, StatusError::Http(HttpError::Io { .. } | HttpError::Slow { .. }))
}
