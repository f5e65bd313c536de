//! A call's or a chore's way into a shard and back: a session that asks for one thing.
//!
//! The shard answers it as it answers any session: with an ack when the request is fsynced here, with a frontier when a
//! second site has it. Nothing is told before.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use causeway_mailbox::{Drained, Receiver, queue};
use causeway_protocol::{Code, DeviceId, Dot, RequestId, ShardId, UserId};
use causeway_replica::io::{Input, SessionId, Submission};
use causeway_replica::session::SessionInput;

use crate::core::Core;
use crate::mail::{Note, note_limits};
use crate::shard_input::ThreadInput;

/// A session that asks a shard for one thing. Dropping it ends it.
pub(crate) struct Asking {
    core: Arc<Core>,
    /// Its number.
    pub id: SessionId,
    shard: ShardId,
    notes: Receiver<Note>,
    taken: VecDeque<Note>,
}

impl Asking {
    /// It has asked for nothing yet.
    pub fn new(core: &Arc<Core>, shard: ShardId) -> Self {
        let (sender, notes) = queue(note_limits());
        let id = core.next_session();
        core.directory.insert(id, sender);
        Self { core: core.clone(), id, shard, notes, taken: VecDeque::new() }
    }

    /// The next thing that it is told; `None` where something was dropped.
    async fn next(&mut self) -> Option<SessionInput> {
        loop {
            if let Some(Note(input)) = self.taken.pop_front() {
                return Some(input);
            }
            if self.notes.drain(&mut self.taken).await != Drained::Items {
                return None;
            }
        }
    }

    /// Hands the shard a request.
    pub async fn ask(&self, user: UserId, device: DeviceId, request: Bytes, body: Option<Bytes>) {
        self.core.metrics.submits.increment(1);
        let submission = Submission { session: self.id, user, device, request, body };
        self.core.inboxes.of(self.shard).push(ThreadInput::Shard(self.shard, Input::Submit(submission))).await;
    }

    /// The shard's answer: a dot, and whether a second site has it.
    pub async fn accepted(&mut self, asked: RequestId) -> Result<(Dot, bool), (Code, String)> {
        while let Some(input) = self.next().await {
            match input {
                SessionInput::Accepted { id, dot, replicated, .. } if id == asked => return Ok((dot, replicated)),
                SessionInput::Refused { code, detail, .. } => return Err((code, detail)),
                _ => {}
            }
        }
        Err((Code::Busy, "the answer was lost: ask for the same once more, under the same id".to_owned()))
    }

    /// Whether a second site has the dot: waits until it has, or until the site is to be left.
    pub async fn replicated(&mut self, wanted: Dot) -> bool {
        while let Some(input) = self.next().await {
            match input {
                SessionInput::Frontier { dot, .. } if dot.origin == wanted.origin && dot.seq >= wanted.seq => {
                    return true;
                }
                SessionInput::GoAway(..) => return false,
                _ => {}
            }
        }
        false
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.core.directory.remove(self.id);
        let ended = ThreadInput::Shard(self.shard, Input::SessionEnded(self.id));
        self.core.inboxes.of(self.shard).push_now(ended);
    }
}
