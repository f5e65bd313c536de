//! Links to the other sites: one QUIC connection each, dialled by the site with the lower number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use causeway_protocol::{SiteId, wire};
use causeway_replica::io::Input;
use quinn::{Connection, Endpoint, VarInt};

use crate::certificates::Certificates;
use crate::config::{Config, Peer};
use crate::core::Core;
use crate::link_queue::LinkQueue;
use crate::link_run::{LinkError, run_link};
use crate::shard_input::{LinkEpoch, ThreadInput};
use crate::tls::{peer_site, site_dns_name};

/// The first wait before dialling again, and the least.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest. A site that is back is found within it.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// One attempt to dial one address.
const DIAL_MAX: Duration = Duration::from_secs(3);
/// Application error code of a closed link; the reason has the words.
const LINK_CLOSED: VarInt = VarInt::from_u32(1);

/// What `/status` shows of a link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkStatus {
    /// Whether it is up.
    pub up: bool,
    /// Since when, `mono_ms`.
    pub since_ms: u64,
    /// The last round trip, ms.
    pub rtt_ms: Option<u64>,
    /// Why the last one ended.
    pub last_error: Option<String>,
}

/// One configured peer.
pub struct Link {
    /// Who.
    pub peer: Peer,
    /// What is on its way there.
    pub queue: LinkQueue,
    status: Mutex<LinkStatus>,
    /// The connection in use. A new one that the peer makes takes its place: the peer knows why.
    current: Mutex<Option<Connection>>,
    /// Held by the one that runs.
    running: tokio::sync::Mutex<()>,
}

impl Link {
    /// What to show of it.
    pub fn status(&self) -> LinkStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is shown.
    pub fn set_status(&self, change: impl FnOnce(&mut LinkStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn replace(&self, connection: Option<Connection>) -> Option<Connection> {
        std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), connection)
    }
}

/// All configured peers.
pub struct Links {
    links: Vec<Arc<Link>>,
    epochs: AtomicU64,
}

impl Links {
    /// None of them is up.
    pub fn new(config: &Config) -> Self {
        let link = |peer: &Peer| {
            Arc::new(Link {
                peer: peer.clone(),
                queue: LinkQueue::default(),
                status: Mutex::default(),
                current: Mutex::default(),
                running: tokio::sync::Mutex::default(),
            })
        };
        Self { links: config.peers.iter().map(link).collect(), epochs: AtomicU64::new(1) }
    }

    /// All of them, by site.
    pub fn all(&self) -> &[Arc<Link>] {
        &self.links
    }

    fn get(&self, site: SiteId) -> Option<&Arc<Link>> {
        self.links.iter().find(|link| link.peer.site == site)
    }

    /// Queues a frame for a peer.
    pub fn send(&self, site: SiteId, epoch: LinkEpoch, frame: wire::ShardFrame) {
        if let Some(link) = self.get(site) {
            link.queue.push(epoch, frame);
        }
    }

    /// Sends a datagram to every peer whose link is up. It may be lost.
    pub fn send_datagram(&self, datagram: &Bytes) {
        for link in &self.links {
            let current = link.current.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(connection) = current.as_ref() {
                // A peer without presence takes none; one whose link has ended will hear of it again.
                let _ = connection.send_datagram(datagram.clone());
            }
        }
    }

    /// Closes every link.
    pub fn close(&self, reason: &str) {
        for link in &self.links {
            if let Some(connection) = link.replace(None) {
                connection.close(LINK_CLOSED, reason.as_bytes());
            }
        }
    }
}

/// Keeps a link to a site with a higher number up, until the relay stops.
pub async fn dial_forever(core: Arc<Core>, endpoint: Endpoint, certificates: Arc<Certificates>, link: Arc<Link>) {
    let mut stopping = core.stopping.subscribe();
    let mut backoff = BACKOFF_MIN;
    loop {
        let attempt = async {
            let connection = dial(&endpoint, &certificates.peer_client(), &link.peer).await?;
            let began = core.clock.now().mono_ms;
            let ended = serve(&core, &link, connection).await;
            // One that held for a while was a good link: dial again at once.
            if core.clock.now().mono_ms.saturating_sub(began) > BACKOFF_MAX.as_millis() as u64 {
                backoff = BACKOFF_MIN;
            }
            ended
        };
        tokio::select! {
            ended = attempt => {
                if let Err(e) = ended {
                    tracing::debug!(peer = %link.peer.site, "link: {e}");
                    link.set_status(|status| status.last_error = Some(e.to_string()));
                }
            }
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        let pause = jittered(backoff);
        backoff = (backoff * 2).min(BACKOFF_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Half to all of a pause, so that sites that lost each other at once do not dial at once.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX))
}

async fn dial(endpoint: &Endpoint, config: &quinn::ClientConfig, peer: &Peer) -> Result<Connection, LinkError> {
    let mut last = LinkError::Dial("it has no address".to_owned());
    for address in &peer.addresses {
        match tokio::time::timeout(DIAL_MAX, dial_one(endpoint, config, peer, address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(e)) => last = LinkError::Dial(format!("{address}: {e}")),
            Err(_) => last = LinkError::Dial(format!("{address}: no answer for {} s", DIAL_MAX.as_secs())),
        }
    }
    Err(last)
}

async fn dial_one(
    endpoint: &Endpoint,
    config: &quinn::ClientConfig,
    peer: &Peer,
    address: &str,
) -> anyhow::Result<Connection> {
    let resolved = tokio::net::lookup_host(address).await?.next();
    let resolved = resolved.ok_or_else(|| anyhow::anyhow!("the name has no address"))?;
    // TLS checks that the certificate carries this very name, and so that it is this very site.
    Ok(endpoint.connect_with(config.clone(), resolved, &site_dns_name(peer.site))?.await?)
}

/// Serves a peer connection that was accepted here.
pub async fn accept(core: Arc<Core>, connection: Connection) {
    let refuse = |reason: String| {
        tracing::warn!(from = %connection.remote_address(), "peer connection refused: {reason}");
        connection.close(LINK_CLOSED, reason.as_bytes());
    };
    let Some(site) = peer_site(&connection) else {
        return refuse("no certificate that names one site: use one signed by the cluster's authority".to_owned());
    };
    let Some(link) = core.links.get(site).cloned() else {
        return refuse(format!("site {site} is not among this site's `peers`"));
    };
    if site > core.config.site {
        return refuse(format!("site {site} must not dial: the site with the lower number does"));
    }
    crate::transport::widen_for_peer(&connection);
    if let Err(e) = serve(&core, &link, connection).await {
        tracing::debug!(peer = %site, "link: {e}");
        link.set_status(|status| status.last_error = Some(e.to_string()));
    }
}

/// Runs one link from its handshake to its end; one at a time for each peer.
async fn serve(core: &Arc<Core>, link: &Arc<Link>, connection: Connection) -> Result<(), LinkError> {
    // The certificate is the proof; the hello is only compared with it.
    if peer_site(&connection) != Some(link.peer.site) {
        connection.close(LINK_CLOSED, b"the certificate names another site");
        return Err(LinkError::Identity);
    }
    if let Some(before) = link.replace(Some(connection.clone())) {
        before.close(LINK_CLOSED, b"replaced by a newer link");
    }
    let guard = link.running.lock().await;
    if core.is_stopping() {
        connection.close(LINK_CLOSED, b"shutting down");
        return Ok(());
    }
    let epoch = LinkEpoch(core.links.epochs.fetch_add(1, Ordering::Relaxed));
    let ended = run_link(core, link, &connection, epoch).await;
    let reason = ended.as_ref().err().map_or_else(|| "closed".to_owned(), ToString::to_string);
    connection.close(LINK_CLOSED, reason.as_bytes());
    link.queue.close();
    if link.status().up {
        link.set_status(|status| status.up = false);
        core.inboxes.push_all_now(&ThreadInput::All(Input::PeerDown(link.peer.site)));
        core.presence.lost(core.clock.now().mono_ms, link.peer.site);
        core.with_clock_guard(|guard| guard.forget(link.peer.site));
        core.metrics.links_up.decrement(1.0);
        core.metrics.links_dropped.increment(1);
        tracing::warn!(peer = %link.peer.site, name = link.peer.name, "link down: {reason}");
    }
    drop(guard);
    ended
}
