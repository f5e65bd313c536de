//! A UDP proxy in user space that makes a network bad: delay, jitter, loss, duplication, reordering, one-way cuts and
//! silence. Silence is what a dead data centre sounds like: packets vanish, and no ICMP error says so, since the proxy's
//! socket stays open.
//!
//! Each peer that sends to the proxy gets a socket of its own towards the upstream, so that the upstream sees as many
//! addresses as there are peers, and answers find their way back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::rng::Rng;

/// The largest datagram passed on, bytes: UDP's own limit.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Peers that one proxy serves; further ones are not answered.
pub const PEERS_MAX: usize = 65_536;
/// Datagrams held back at once by a direction's delay; further ones are dropped, as a router's full queue does.
pub const HELD_DATAGRAMS_MAX: usize = 65_536;
/// Datagrams taken from a socket before others get their turn.
const BURST_MAX: usize = 256;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever sent to the proxy, to the upstream.
    ToUpstream,
    /// The upstream's answers.
    ToPeer,
}

/// What happens to datagrams of one direction. The default does nothing to them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Nothing passes.
    pub cut: bool,
    /// Probability that a datagram is lost.
    pub loss: f64,
    /// Probability that it is sent twice.
    pub duplicate: f64,
    /// Probability that it is held back by `reorder_by` more, so that later ones overtake it.
    pub reorder: f64,
    /// How long those are held back.
    pub reorder_by: Duration,
    /// Every datagram is held back by this.
    pub delay: Duration,
    /// And by up to this more, evenly drawn. It reorders too.
    pub jitter: Duration,
}

/// What passed and what did not, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Datagrams sent on, copies too.
    pub passed: u64,
    /// Datagrams dropped: cut, lost, or beyond a limit.
    pub dropped: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Datagrams held back to be overtaken.
    pub reordered: u64,
}

#[derive(Default)]
struct Counters {
    passed: AtomicU64,
    dropped: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
}

#[derive(Default)]
struct Rules {
    faults: [Faults; 2],
    /// Peers whose datagrams vanish, both ways, whatever the faults say.
    silenced: Vec<SocketAddr>,
}

/// A datagram on its way out.
struct Held {
    due: Instant,
    number: u64,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        (self.due, self.number) == (other.due, other.number)
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

struct State {
    rules: Rules,
    rng: Rng,
    held: BinaryHeap<Reverse<Held>>,
    held_number: u64,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    wake: Notify,
    counters: Counters,
}

/// A running proxy; dropping it ends it.
pub struct UdpProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl UdpProxy {
    /// Listens on a free loopback port and forwards to `upstream`. `seed` decides which datagrams suffer.
    pub async fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = Arc::new(UdpSocket::bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).await?);
        let addr = front.local_addr()?;
        let state = State { rules: Rules::default(), rng: Rng::seeded(seed), held: BinaryHeap::new(), held_number: 0 };
        let shared =
            Arc::new(Shared { upstream, state: Mutex::new(state), wake: Notify::new(), counters: Counters::default() });
        let tasks = vec![
            tokio::spawn(serve_front(front, Arc::clone(&shared))),
            tokio::spawn(release_held(Arc::clone(&shared))),
        ];
        Ok(Self { addr, shared, tasks })
    }

    /// Where peers send to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it forwards to.
    pub fn upstream(&self) -> SocketAddr {
        self.shared.upstream
    }

    /// Replaces a direction's faults, from the next datagram on.
    pub fn set_faults(&self, direction: Direction, faults: Faults) {
        self.shared.lock().rules.faults[direction as usize] = faults;
    }

    /// Replaces both directions' faults.
    pub fn set_both(&self, faults: Faults) {
        self.shared.lock().rules.faults = [faults; 2];
    }

    /// Nothing passes either way; what was held back is dropped too.
    pub fn silence(&self) {
        self.set_both(Faults { cut: true, ..Faults::default() });
        let dropped = std::mem::take(&mut self.shared.lock().held).len();
        self.shared.counters.dropped.fetch_add(dropped as u64, Ordering::Relaxed);
    }

    /// No faults any more; silenced peers are heard again.
    pub fn heal(&self) {
        self.shared.lock().rules = Rules::default();
    }

    /// One peer's datagrams vanish, both ways, until [`UdpProxy::heal`].
    pub fn silence_peer(&self, peer: SocketAddr) {
        self.shared.lock().rules.silenced.push(peer);
    }

    /// What happened so far.
    pub fn counts(&self) -> ProxyCounts {
        let c = &self.shared.counters;
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        ProxyCounts {
            passed: read(&c.passed),
            dropped: read(&c.dropped),
            duplicated: read(&c.duplicated),
            reordered: read(&c.reordered),
        }
    }
}

impl Drop for UdpProxy {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What is decided for one datagram.
enum Fate {
    Drop,
    Now { copies: usize },
    Later,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere cannot leave these values half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides; what is held back is kept here.
    fn judge(&self, way: Direction, peer: SocketAddr, socket: &Arc<UdpSocket>, to: SocketAddr, bytes: &[u8]) -> Fate {
        let state = &mut *self.lock();
        let faults = state.rules.faults[way as usize];
        let silenced = !state.rules.silenced.is_empty() && state.rules.silenced.contains(&peer);
        if faults == Faults::default() && !silenced {
            return Fate::Now { copies: 1 };
        }
        if faults.cut || silenced || state.rng.chance(faults.loss) {
            return Fate::Drop;
        }
        let copies = 1 + usize::from(state.rng.chance(faults.duplicate));
        let mut wait = faults.delay + faults.jitter.mul_f64(state.rng.unit());
        if state.rng.chance(faults.reorder) {
            wait += faults.reorder_by;
            self.counters.reordered.fetch_add(1, Ordering::Relaxed);
        }
        if wait.is_zero() {
            return Fate::Now { copies };
        }
        for _ in 0..copies {
            if state.held.len() >= HELD_DATAGRAMS_MAX {
                return Fate::Drop;
            }
            state.held_number += 1;
            let due = Instant::now() + wait;
            let held = Held { due, number: state.held_number, socket: Arc::clone(socket), to, bytes: bytes.to_vec() };
            state.held.push(Reverse(held));
        }
        self.counters.duplicated.fetch_add(copies as u64 - 1, Ordering::Relaxed);
        Fate::Later
    }

    async fn pass(&self, way: Direction, peer: SocketAddr, socket: &Arc<UdpSocket>, to: SocketAddr, bytes: &[u8]) {
        match self.judge(way, peer, socket, to, bytes) {
            Fate::Drop => {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Fate::Later => self.wake.notify_one(),
            Fate::Now { copies } => {
                self.counters.duplicated.fetch_add(copies as u64 - 1, Ordering::Relaxed);
                for _ in 0..copies {
                    self.send(socket, to, bytes).await;
                }
            }
        }
    }

    async fn send(&self, socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
        // An upstream that is not there answers by an error on a later call: to a network, that is a lost datagram.
        let counter = match socket.send_to(bytes, to).await {
            Ok(_) => &self.counters.passed,
            Err(_) => &self.counters.dropped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A peer's own socket towards the upstream, with the task that reads its answers.
struct Peer {
    socket: Arc<UdpSocket>,
    answers: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

async fn serve_front(front: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut peers: BTreeMap<SocketAddr, Peer> = BTreeMap::new();
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        for _ in 0..BURST_MAX {
            // Errors here are of earlier sends to peers that have gone.
            let Ok((n, peer)) = front.recv_from(&mut buffer).await else { continue };
            let Some(socket) = socket_of(&mut peers, peer, &front, &shared).await else { continue };
            shared.pass(Direction::ToUpstream, peer, &socket, shared.upstream, &buffer[..n]).await;
        }
        tokio::task::yield_now().await;
    }
}

async fn socket_of(
    peers: &mut BTreeMap<SocketAddr, Peer>,
    peer: SocketAddr,
    front: &Arc<UdpSocket>,
    shared: &Arc<Shared>,
) -> Option<Arc<UdpSocket>> {
    if let Some(known) = peers.get(&peer) {
        return Some(Arc::clone(&known.socket));
    }
    if peers.len() >= PEERS_MAX {
        shared.counters.dropped.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let socket = Arc::new(UdpSocket::bind(any).await.ok()?);
    let answers = tokio::spawn(serve_answers(Arc::clone(&socket), peer, Arc::clone(front), Arc::clone(shared)));
    peers.insert(peer, Peer { socket: Arc::clone(&socket), answers });
    Some(socket)
}

async fn serve_answers(socket: Arc<UdpSocket>, peer: SocketAddr, front: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        for _ in 0..BURST_MAX {
            let Ok((n, from)) = socket.recv_from(&mut buffer).await else { continue };
            if from == shared.upstream {
                shared.pass(Direction::ToPeer, peer, &front, peer, &buffer[..n]).await;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Sends what was held back, when it is due.
async fn release_held(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().held.peek().map(|Reverse(h)| h.due);
        match next {
            None => shared.wake.notified().await,
            Some(due) if due > Instant::now() => {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = shared.wake.notified() => {}
                }
            }
            Some(_) => {
                let held = shared.lock().held.pop();
                if let Some(Reverse(h)) = held {
                    shared.send(&h.socket, h.to, &h.bytes).await;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "udp_proxy_tests.rs"]
mod tests;
