//! Frames on their way to one peer: a bounded queue between shard threads and the link's writer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use causeway_protocol::{Message, wire};
use tokio::sync::Notify;

use crate::shard_input::LinkEpoch;

/// Bytes that wait for one peer. More means that the peer does not read, or reads slower than the others write:
/// the link is dropped, and the next one starts from what the peer says it holds.
const LINK_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Pings and pongs that wait. A peer that floods with pings gets no more pongs than that.
const CONTROL_MAX: usize = 64;

#[derive(Default)]
struct State {
    epoch: Option<LinkEpoch>,
    frames: VecDeque<wire::ShardFrame>,
    control: VecDeque<wire::peer_frame::Frame>,
    bytes: usize,
    overflowed: bool,
}

/// The queue of one peer. It takes frames only while a link is up, and only for that link.
#[derive(Default)]
pub struct LinkQueue {
    state: Mutex<State>,
    news: Notify,
}

/// What the writer takes at once.
#[derive(Default, Debug)]
pub struct LinkBatch {
    /// Pings and pongs: they go first, for they measure time.
    pub control: VecDeque<wire::peer_frame::Frame>,
    /// Shard frames, in order.
    pub frames: VecDeque<wire::ShardFrame>,
}

/// The queue was full: the link must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over {LINK_QUEUE_BYTES_MAX} bytes were waiting for the peer")]
pub struct LinkOverflow;

impl LinkQueue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a link.
    pub fn open(&self, epoch: LinkEpoch) {
        *self.lock() = State { epoch: Some(epoch), ..State::default() };
    }

    /// Ends it; what waits is dropped.
    pub fn close(&self) {
        let before = std::mem::take(&mut *self.lock());
        drop(before);
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Queues a shard frame for a link; dropped where that link is no longer the one that is up.
    pub fn push(&self, epoch: LinkEpoch, frame: wire::ShardFrame) {
        let bytes = frame.encoded_len();
        let mut state = self.lock();
        if state.epoch != Some(epoch) || state.overflowed {
            return;
        }
        if state.bytes + bytes > LINK_QUEUE_BYTES_MAX {
            state.overflowed = true;
            let dropped = std::mem::take(&mut state.frames);
            drop(state);
            drop(dropped);
        } else {
            state.bytes += bytes;
            state.frames.push_back(frame);
            drop(state);
        }
        self.news.notify_one();
    }

    /// Queues a ping or pong.
    pub fn push_control(&self, frame: wire::peer_frame::Frame) {
        let mut state = self.lock();
        if state.epoch.is_some() && state.control.len() < CONTROL_MAX {
            state.control.push_back(frame);
        }
        drop(state);
        self.news.notify_one();
    }

    /// Everything that waits; waits for something. Cancelling it loses nothing.
    pub async fn take(&self) -> Result<LinkBatch, LinkOverflow> {
        loop {
            {
                let mut state = self.lock();
                if state.overflowed {
                    return Err(LinkOverflow);
                }
                if !state.frames.is_empty() || !state.control.is_empty() {
                    state.bytes = 0;
                    let (control, frames) = (std::mem::take(&mut state.control), std::mem::take(&mut state.frames));
                    return Ok(LinkBatch { control, frames });
                }
            }
            self.news.notified().await;
        }
    }
}

#[cfg(test)]
#[path = "link_queue_tests.rs"]
mod tests;
