//! Publishers: a closed loop with so many in flight, or a pace that waits for nobody.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use causeway_protocol::RoomId;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::members::Meter;
use crate::sdk::{Pending, SdkError, Session};
use crate::stamp::{CONTENT_TYPE, LoadStamp, STAMP_BYTES};

/// So long before a publish is due the pacer is awake and waits for it: waking up takes about as long, and would count as
/// the relay's.
const PACE_SPIN_US: u64 = 100;
/// By how much the kernel may let a pause of the pacer run over, ns: by default 50 µs, which would count as the relay's.
const PACE_SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).unwrap();
/// Pauses no longer than this, so that it ends soon after it is told to.
const PACE_NAP_MAX: Duration = Duration::from_millis(5);
/// A full outbox is asked again after this.
const FULL_NAP_US: u64 = 1_000;
const FULL_NAP: Duration = Duration::from_micros(FULL_NAP_US);
/// Publishes of one publisher that wait for their ack and have been handed to its task: an outbox holds fewer.
const FOLLOWED_MAX: usize = 8_192;

/// What all publishers share.
pub struct Load {
    text: Bytes,
    replicates: bool,
    meter: Arc<Meter>,
    stop: AtomicBool,
    number: AtomicU64,
    /// Refused, or not taken.
    pub errors: AtomicU64,
}

type Publisher = (Arc<Session>, RoomId);

impl Load {
    /// For bodies of this size.
    pub fn new(body_bytes: usize, replicates: bool, meter: Arc<Meter>) -> Self {
        Self {
            text: Bytes::from(vec![b'x'; body_bytes.saturating_sub(STAMP_BYTES)]),
            replicates,
            meter,
            stop: AtomicBool::new(false),
            number: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    /// No further publishes.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn publish(&self, (session, room): &Publisher, intended_us: u64) -> Result<Pending, SdkError> {
        let no = self.number.fetch_add(1, Ordering::Relaxed) as u32;
        session.send(*room, CONTENT_TYPE, LoadStamp { no, intended_us }.stamp(&self.text))
    }

    fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Follows a publish to its first ack; then to its second, beside the loop.
    async fn follow(self: &Arc<Self>, pending: Pending, intended_us: u64) {
        if pending.stored().await.is_err() {
            return self.failed();
        }
        self.meter.ack(intended_us);
        if self.replicates {
            let load = Arc::clone(self);
            tokio::spawn(async move {
                match pending.replicated().await {
                    Ok(()) => load.meter.replicated(intended_us),
                    Err(_) => load.failed(),
                }
            });
        }
    }
}

/// Each publisher keeps so many in flight.
pub fn closed_loop(load: &Arc<Load>, publishers: Vec<Publisher>, window: usize) -> Vec<JoinHandle<()>> {
    let run = |publisher: Publisher| {
        let load = Arc::clone(load);
        tokio::spawn(async move {
            let mut in_flight = FuturesUnordered::new();
            loop {
                while in_flight.len() < window.max(1) && !load.stopped() {
                    let intended_us = load.meter.now_us();
                    match load.publish(&publisher, intended_us) {
                        Ok(pending) => in_flight.push(load.follow(pending, intended_us)),
                        Err(SdkError::Full) if in_flight.is_empty() => tokio::time::sleep(FULL_NAP).await,
                        Err(SdkError::Full) => break,
                        Err(SdkError::Other(_)) => return load.failed(),
                    }
                }
                if in_flight.next().await.is_none() {
                    return;
                }
            }
        })
    };
    publishers.into_iter().map(run).collect()
}

/// All publishers together keep a rate, in turn, from a thread of their own: a runtime's timers are too coarse.
pub fn paced(load: &Arc<Load>, publishers: Vec<Publisher>, rate: f64) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    let mut queues = Vec::new();
    for _ in &publishers {
        let (queue, mut sent) = mpsc::channel::<(Pending, u64)>(FOLLOWED_MAX);
        let load = Arc::clone(load);
        queues.push(queue);
        tasks.push(tokio::spawn(async move {
            let mut in_flight = FuturesUnordered::new();
            loop {
                tokio::select! {
                    next = sent.recv() => match next {
                        Some((pending, intended_us)) => in_flight.push(load.follow(pending, intended_us)),
                        None => break,
                    },
                    Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                }
            }
            while in_flight.next().await.is_some() {}
        }));
    }
    let load = Arc::clone(load);
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let _inside = runtime.enter();
        // Where the kernel refuses, publishes are a little later than they were meant to be.
        let _ = rustix::thread::set_current_timer_slack(Some(PACE_SLACK_NS));
        pace(&load, &publishers, &queues, rate);
    });
    tasks
}

/// Until then, or until it is time to see whether the load has been stopped.
fn wait_until(meter: &Meter, until_us: u64) {
    let nap = Duration::from_micros(until_us.saturating_sub(meter.now_us()).saturating_sub(PACE_SPIN_US));
    std::thread::sleep(nap.min(PACE_NAP_MAX));
    if nap <= PACE_NAP_MAX {
        while meter.now_us() < until_us {
            std::hint::spin_loop();
        }
    }
}

fn pace(load: &Arc<Load>, publishers: &[Publisher], queues: &[mpsc::Sender<(Pending, u64)>], rate: f64) {
    let gap_us = 1e6 / rate.max(0.001);
    let start_us = load.meter.now_us() as f64;
    let mut due: VecDeque<u64> = VecDeque::new();
    let mut count = 0u64;
    let mut turn = 0;
    while !load.stopped() {
        let now = load.meter.now_us();
        let next_us = || (start_us + count as f64 * gap_us) as u64;
        let mut next = next_us();
        while next <= now && due.len() < FOLLOWED_MAX {
            due.push_back(next);
            count += 1;
            next = (start_us + count as f64 * gap_us) as u64;
        }
        while let Some(intended_us) = due.front().copied() {
            match load.publish(&publishers[turn], intended_us) {
                Ok(pending) => {
                    if queues[turn].try_send((pending, intended_us)).is_err() {
                        load.failed();
                    }
                }
                Err(SdkError::Full) => break,
                Err(SdkError::Other(_)) => load.failed(),
            }
            due.pop_front();
            turn = (turn + 1) % publishers.len();
        }
        // With publishes that found an outbox full, until it may have room.
        let until_us = if due.is_empty() { next } else { load.meter.now_us() + FULL_NAP_US };
        wait_until(&load.meter, until_us);
    }
}
