//! What a seed decides before the run: its size, and which faults are on (swarm testing, Groce et al., 2012: a
//! run with every fault on hides what needs some of them off).

use causeway_client::machine::Limits;
use causeway_replica::shard::Bounds;

use crate::network::Weather;
use crate::queue::{MS, Micros, SECOND};
use crate::rng::Rng;

/// The faults of a run: each on or off, by chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Processes die and start again.
    pub crash: bool,
    /// An fsync fails: the process aborts.
    pub fsync: bool,
    /// A disk is lost with its process; the site returns empty.
    pub disk_loss: bool,
    /// A disk is replaced by an old copy of itself.
    pub old_copy: bool,
    /// A site is cut off, or two from each other.
    pub partition: bool,
    /// A path dies in one direction.
    pub one_way: bool,
    /// Cuts come and go quickly.
    pub flapping: bool,
    /// Clients lose their path to a site.
    pub client_cut: bool,
    /// Connections of clients break.
    pub break_connections: bool,
    /// Wall clocks are off from the start, and drift.
    pub skew: bool,
    /// Wall clocks jump.
    pub jumps: bool,
    /// Syncs take long.
    pub slow_disk: bool,
    /// Clients read slowly.
    pub slow_reader: bool,
    /// Applications crash and start again with their outbox.
    pub client_crash: bool,
    /// A device is lost with its outbox.
    pub device_loss: bool,
    /// Logs are short, so that a site that was away needs a snapshot.
    pub short_log: bool,
}

/// A run's shape.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sites, with ids from 1.
    pub sites: usize,
    /// Shards of the cluster.
    pub shards: u16,
    /// Client devices; some share a user.
    pub clients: usize,
    /// Different users.
    pub users: usize,
    /// Requests that the workload makes in all, about.
    pub requests: u64,
    /// How long faults strike.
    pub fault_phase: Micros,
    /// Mean time between two faults.
    pub fault_every: Micros,
    /// Which faults.
    pub faults: Faults,
    /// The paths.
    pub weather: Weather,
    /// Peer links are lossy datagrams instead of streams.
    pub datagram_links: bool,
    /// Shards of a site share a write and its ticket.
    pub shared_writes: bool,
    /// Inputs that a shard takes at once.
    pub inputs_per_write: usize,
    /// Live events that wait for a slow session at most.
    pub live_queue_max: usize,
    /// Bytes of events in flight to a client at most.
    pub event_window_bytes: usize,
    /// More missing ops in a room than this give a gap.
    pub resume_ops_max: usize,
    /// Bytes of log that a laggard may hold back.
    pub log_bytes_max: u64,
    /// Mean time of a sync.
    pub sync_time: Micros,
    /// Bounds of each shard's buffers and steps.
    pub bounds: Bounds,
    /// Requests in a client's outbox at most.
    pub outbox_requests_max: usize,
}

/// How long the healed system may take to converge and to drain every outbox.
pub const LIVENESS_MAX: Micros = 90 * SECOND;

impl Plan {
    /// The plan of a seed.
    pub fn of(rng: &mut Rng) -> Self {
        let mut on = |percent| rng.percent(percent);
        let faults = Faults {
            crash: on(70),
            fsync: on(20),
            disk_loss: on(40),
            old_copy: on(30),
            partition: on(50),
            one_way: on(30),
            flapping: on(20),
            client_cut: on(40),
            break_connections: on(50),
            skew: on(40),
            jumps: on(15),
            slow_disk: on(30),
            slow_reader: on(30),
            client_crash: on(40),
            device_loss: on(20),
            short_log: on(40),
        };
        let datagram_links = on(40);
        let bad = on(50);
        let weather = Weather {
            loss_ppm: if bad { rng.within(1_000, 80_000) } else { 0 },
            duplicate_ppm: if rng.percent(40) { rng.within(1_000, 50_000) } else { 0 },
            reorder_ppm: if rng.percent(40) { rng.within(1_000, 100_000) } else { 0 },
            jitter: rng.within(0, 20 * MS),
        };
        // Three sites mostly; two, to see the least; up to five.
        let sites = *rng.pick(&[2, 3, 3, 3, 3, 3, 4, 5]).unwrap_or(&3);
        let users = rng.within(2, 5) as usize;
        Self {
            sites,
            shards: rng.within(1, 3) as u16,
            clients: users + rng.below(3) as usize,
            users,
            requests: rng.within(30, 220),
            fault_phase: rng.within(6, 22) * SECOND,
            fault_every: rng.within(200, 2_500) * MS,
            faults,
            weather,
            datagram_links,
            shared_writes: rng.percent(50),
            inputs_per_write: rng.within(1, 12) as usize,
            live_queue_max: rng.within(4, 40) as usize,
            event_window_bytes: rng.within(500, 20_000) as usize,
            resume_ops_max: if rng.percent(50) { rng.within(5, 30) as usize } else { 2_000 },
            log_bytes_max: if faults.short_log { rng.within(500, 8_000) } else { 64 << 20 },
            sync_time: rng.within(1, 12) * MS,
            bounds: bounds(rng),
            outbox_requests_max: if rng.percent(20) { rng.within(3, 20) as usize } else { 4_096 },
        }
    }

    /// Bounds of each client's queues.
    pub fn client_limits(&self) -> Limits {
        Limits { outbox_requests_max: self.outbox_requests_max, ..Limits::default() }
    }
}

/// A relay's bounds, or such small ones that a run reaches them.
fn bounds(rng: &mut Rng) -> Bounds {
    if rng.percent(40) {
        return Bounds::DEFAULT;
    }
    Bounds {
        page_bytes_max: rng.within(200, 6_000) as usize,
        merge_rows_max: rng.within(1, 20) as usize,
        erase_rows_max: 3,
        waiting_bytes_max: rng.within(1_000, 40_000) as usize,
        in_flight_bytes_max: rng.within(500, 20_000) as usize,
        frame_bytes_max: rng.within(200, 5_000) as usize,
        pump_rows_max: rng.within(2, 200) as usize,
        pump_reads_max: 3,
        tail_bytes_max: rng.within(200, 20_000) as usize,
    }
}
