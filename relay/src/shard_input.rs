//! What reaches a shard thread: a bounded queue from many tasks, and the ticket up to which all is synced.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_protocol::{Message, ShardId, wire};
use causeway_replica::io::{Input, Ticket};
use tokio::sync::{Semaphore, mpsc};

use crate::shard_thread::Report;

/// Requests and peer frames that wait for one shard thread. Above it, sessions and links wait, and by QUIC's
/// flow control their other ends.
const INPUTS_MAX: usize = 8_192;
/// What one of them stands for, bytes: a larger one counts as several, so that what waits is bounded in bytes, too.
const INPUT_BYTES: usize = 8 << 10;
/// What an entry of a list costs in memory, beside its bytes: an empty one has two on the wire.
const ENTRY_BYTES: usize = 96;

/// The number of a link to a peer since the process started. Frames of an earlier link must not get into a later
/// one's stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct LinkEpoch(pub u64);

/// For one shard, or for all of a thread's.
#[derive(Clone, Debug)]
pub enum ThreadInput {
    /// For one shard.
    Shard(ShardId, Input),
    /// For every shard of the thread.
    All(Input),
    /// A link came up: `Input::PeerUp` for every shard of the thread.
    PeerUp(causeway_protocol::SiteId, LinkEpoch),
    /// Tell the state of every shard of the thread.
    Report(mpsc::UnboundedSender<Report>),
    /// The node stops: end when all that is written is durable.
    Stop,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<(ThreadInput, u32)>,
    /// The thread sleeps, or is about to: whoever pushes next must wake it.
    sleeping: bool,
}

/// How many permits an input takes: one, and more where it is large. Never more than there are.
fn weight(input: &ThreadInput) -> u32 {
    let bytes = match input {
        ThreadInput::Shard(_, Input::Peer(_, frame)) => frame_bytes(frame),
        ThreadInput::Shard(_, Input::Submit(submission)) => {
            submission.request.len() + submission.body.as_ref().map_or(0, bytes::Bytes::len)
        }
        ThreadInput::Shard(_, Input::MarkRead(_, _, marker)) => marker.read.len() * ENTRY_BYTES,
        _ => 0,
    };
    // Below 2^32, for it is at most the number of permits.
    (1 + bytes / INPUT_BYTES).min(INPUTS_MAX) as u32
}

/// What a peer's frame takes in memory, roughly.
fn frame_bytes(frame: &wire::ShardFrame) -> usize {
    use wire::shard_frame::Frame;
    let entries = |vector: &Option<wire::Vector>| vector.as_ref().map_or(0, |vector| vector.entries.len());
    let lists = match &frame.frame {
        Some(Frame::Hello(hello)) => entries(&hello.vector) + entries(&hello.floor),
        Some(Frame::Ops(ops)) => ops.ops.len(),
        Some(Frame::Ack(ack)) => entries(&ack.vector),
        Some(Frame::Digest(digest)) => digest.buckets.len(),
        Some(Frame::SnapshotAsk(ask)) => entries(&ask.vector),
        Some(Frame::SnapshotPage(page)) => entries(&page.vector) + page.rows.len(),
        Some(Frame::ReadMarks(marks)) => marks.marks.iter().map(|mark| 1 + entries(&mark.vector)).sum(),
        None => 0,
    };
    frame.encoded_len() + lists * ENTRY_BYTES
}

/// The inbox of one shard thread.
pub struct ShardInbox {
    queue: Mutex<Queue>,
    wake: Condvar,
    permits: Semaphore,
    durable: AtomicU64,
    durable_news: AtomicBool,
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // A panic aborts the process, so nobody ever sees a poisoned lock.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ShardInbox {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            permits: Semaphore::new(INPUTS_MAX),
            durable: AtomicU64::new(0),
            durable_news: AtomicBool::new(false),
        })
    }

    /// For requests and peer frames: waits while the queue is full.
    pub async fn push(&self, input: ThreadInput) {
        let weight = weight(&input);
        if let Ok(permits) = self.permits.acquire_many(weight).await {
            permits.forget();
            self.put(input, weight);
        }
    }

    /// For the few inputs that must not wait: links up and down, sessions that ended, the host's own.
    pub fn push_now(&self, input: ThreadInput) {
        self.put(input, 0);
    }

    fn put(&self, input: ThreadInput, weight: u32) {
        let mut queue = lock(&self.queue);
        queue.items.push_back((input, weight));
        let wake = std::mem::take(&mut queue.sleeping);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Nobody takes from it any more: those who wait to push go on, and what they push is dropped.
    pub fn close(&self) {
        self.permits.close();
    }

    /// All writes up to this ticket are synced. Called by whoever syncs.
    pub fn durable(&self, ticket: Ticket) {
        self.durable.fetch_max(ticket.0, Ordering::Release);
        self.durable_news.store(true, Ordering::Release);
        let wake = std::mem::take(&mut lock(&self.queue).sleeping);
        if wake {
            self.wake.notify_one();
        }
    }

    /// The highest ticket that is synced.
    pub fn durable_ticket(&self) -> Ticket {
        Ticket(self.durable.load(Ordering::Acquire))
    }

    /// Whether no input waits.
    pub fn is_empty(&self) -> bool {
        lock(&self.queue).items.is_empty()
    }

    /// Takes up to `max` inputs, in order; waits for one, or for a ticket, up to `until`.
    pub fn take(&self, max: usize, until: Option<Instant>, into: &mut Vec<ThreadInput>) {
        let mut queue = lock(&self.queue);
        while queue.items.is_empty() && !self.durable_news.swap(false, Ordering::AcqRel) {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return;
            }
            queue.sleeping = true;
            queue = match left {
                Some(left) => self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
            queue.sleeping = false;
        }
        let count = queue.items.len().min(max);
        let mut weights = 0;
        into.extend(queue.items.drain(..count).map(|(input, weight)| {
            weights += weight as usize;
            input
        }));
        drop(queue);
        self.permits.add_permits(weights);
    }
}

/// The inboxes of all shard threads; shards are dealt out in turn.
#[derive(Clone)]
pub struct ShardInboxes {
    threads: Arc<[Arc<ShardInbox>]>,
}

impl ShardInboxes {
    /// Of so many threads.
    pub fn new(threads: usize) -> Self {
        Self { threads: (0..threads).map(|_| ShardInbox::new()).collect() }
    }

    /// The thread that owns a shard.
    pub fn thread_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.threads.len()
    }

    /// The inbox of a shard's thread.
    pub fn of(&self, shard: ShardId) -> &ShardInbox {
        &self.threads[self.thread_of(shard)]
    }

    /// All inboxes, by thread.
    pub fn all(&self) -> &[Arc<ShardInbox>] {
        &self.threads
    }

    /// To every thread, without waiting.
    pub fn push_all_now(&self, input: &ThreadInput) {
        self.threads.iter().for_each(|inbox| inbox.push_now(input.clone()));
    }
}

#[cfg(test)]
#[path = "shard_input_tests.rs"]
mod tests;
