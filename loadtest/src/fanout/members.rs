//! The members of a fan-out run, and the meter that they read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use causeway_protocol::RoomId;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, timeout};

use crate::drill::lock;
use crate::latency::Latency;
use crate::sdk::{Event, Pending, SdkError, Session, SessionOptions, Shared};
use crate::stamp::LoadStamp;

/// Sessions opened at a time.
const OPENING_MAX: usize = 32;
/// A step of the setup that takes longer has failed.
const STEP_WAIT: Duration = Duration::from_secs(60);
/// Histograms of deliveries, so that members seldom wait for one another.
const SLOTS: usize = 8;

/// Counts and latencies. Counts run always, latencies while the meter is open.
pub struct Meter {
    start: Instant,
    open: AtomicBool,
    acked: AtomicU64,
    delivered: AtomicU64,
    ack: Mutex<Latency>,
    replicated: Mutex<Latency>,
    e2e: [Mutex<Latency>; SLOTS],
}

/// The latencies of a run.
#[derive(Default)]
pub struct Figures {
    /// To ack 1.
    pub ack: Latency,
    /// To ack 2.
    pub replicated: Latency,
    /// To a member.
    pub e2e: Latency,
}

impl Meter {
    /// A closed one.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            open: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            ack: Mutex::default(),
            replicated: Mutex::default(),
            e2e: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Microseconds since it was made.
    pub fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Starts to take latencies.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// Takes no more.
    pub fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Acks so far.
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Deliveries so far.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Ack 1 came.
    pub fn ack(&self, intended_us: u64) {
        self.acked.fetch_add(1, Ordering::Relaxed);
        if self.is_open() {
            lock(&self.ack).record(self.now_us().saturating_sub(intended_us));
        }
    }

    /// Ack 2 came.
    pub fn replicated(&self, intended_us: u64) {
        if self.is_open() {
            lock(&self.replicated).record(self.now_us().saturating_sub(intended_us));
        }
    }

    fn deliver(&self, slot: usize, intended_us: u64) {
        self.delivered.fetch_add(1, Ordering::Relaxed);
        if self.is_open() {
            lock(&self.e2e[slot % SLOTS]).record(self.now_us().saturating_sub(intended_us));
        }
    }

    /// What was taken.
    pub fn figures(&self) -> Figures {
        let mut e2e = Latency::default();
        self.e2e.iter().for_each(|slot| e2e.merge(&lock(slot)));
        Figures { ack: lock(&self.ack).clone(), replicated: lock(&self.replicated).clone(), e2e }
    }
}

/// A member of a room.
pub struct Member {
    /// Its session.
    pub session: Arc<Session>,
    /// Its room.
    pub room: RoomId,
    /// Its place among the room's members.
    pub place: usize,
}

/// Opens `rooms` times `members` sessions, makes the rooms and lets the members in; they count what they get.
pub async fn open_members(
    shared: &Shared,
    rooms: usize,
    members: usize,
    sites: usize,
    meter: &Arc<Meter>,
) -> Result<Vec<Member>> {
    let sessions = open_sessions(shared, rooms * members, sites).await?;
    for (i, session) in sessions.iter().enumerate() {
        tokio::spawn(count(Arc::clone(session), Arc::clone(meter), i));
    }
    let mut made = Vec::new();
    let mut ids = Vec::new();
    for (room, group) in sessions.chunks(members.max(1)).enumerate() {
        let creator = group.first().context("a room needs a member")?;
        let (id, pending) = creator.create_room(&format!("fan-out {room}"))?;
        ids.push(id);
        made.push(pending);
    }
    all_answered(&made, sites > 1).await?;
    let mut joined = Vec::new();
    let mut all = Vec::new();
    for (group, id) in sessions.chunks(members.max(1)).zip(&ids) {
        for (place, session) in group.iter().enumerate() {
            if place > 0 {
                joined.push(session.join(*id)?);
            }
            all.push(Member { session: Arc::clone(session), room: *id, place });
        }
    }
    all_answered(&joined, sites > 1).await?;
    Ok(all)
}

/// Opens sessions, their homes spread evenly, without standby connections.
pub async fn open_sessions(shared: &Shared, count: usize, sites: usize) -> Result<Vec<Arc<Session>>> {
    let open = |number: usize| async move {
        let options = SessionOptions {
            user: format!("member{number:06}"),
            home: number % sites,
            turn: number / sites,
            standby: false,
            roams: sites > 1,
        };
        let opened = timeout(STEP_WAIT, Session::connect(shared, options)).await;
        opened
            .map_err(|_| SdkError::Other(format!("client {number} is not connected after {STEP_WAIT:?}")))?
            .map(|s| (number, s))
    };
    let mut opening = FuturesUnordered::new();
    let mut sessions: Vec<Option<Arc<Session>>> = vec![None; count];
    let mut next = 0..count;
    loop {
        while opening.len() < OPENING_MAX
            && let Some(number) = next.next()
        {
            opening.push(open(number));
        }
        let Some(opened) = opening.next().await else { break };
        let (number, session) = opened?;
        sessions[number] = Some(Arc::new(session));
    }
    Ok(sessions.into_iter().flatten().collect())
}

/// Waits until all have their answers.
pub async fn all_answered(pending: &[Pending], replicates: bool) -> Result<()> {
    let all = async {
        for p in pending {
            let answer = if replicates { p.replicated().await } else { p.stored().await };
            if let Err(refused) = answer {
                bail!("{:?} was refused with code {}", p.id(), refused.0);
            }
        }
        Ok(())
    };
    timeout(STEP_WAIT, all).await.map_err(|_| anyhow::anyhow!("{} requests have no answer", pending.len()))?
}

async fn count(session: Arc<Session>, meter: Arc<Meter>, slot: usize) {
    let mut events = Vec::new();
    while session.next(&mut events).await {
        for event in events.drain(..) {
            if let Event::Message(message) = event
                && let Some((stamp, _)) = LoadStamp::read_unchecked(&message.content)
            {
                meter.deliver(slot, stamp.intended_us);
            }
        }
    }
}
