//! Which requests of a room have been delivered: the bounded memory behind "shown exactly once".
//!
//! A cursor drops most repetitions. What it cannot drop is a request that a dead site had delivered and nobody else
//! held: accepted again elsewhere it has a dot that no cursor covers. Such repetitions follow the first delivery
//! within the time that members' outboxes need, so the last ids, bounded in number, are enough. They are kept in the order
//! of delivery, not of place: a late arrival with an old stamp can be repeated as well.

use std::collections::VecDeque;

use causeway_protocol::RequestId;

/// Ids in a chunk. Ids arrive nearly in order of their places, so chunks cover short ranges and a look-up opens one
/// or two of them.
const CHUNK_LEN: usize = 256;

struct Chunk {
    lowest: RequestId,
    highest: RequestId,
    ids: Vec<RequestId>,
}

/// Ids delivered last, oldest first.
#[derive(Default)]
pub(super) struct Shown {
    chunks: VecDeque<Chunk>,
    len: usize,
}

impl Shown {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, id: RequestId) -> bool {
        self.chunks.iter().rev().any(|chunk| chunk.lowest <= id && id <= chunk.highest && chunk.ids.contains(&id))
    }

    /// Takes a new id. The caller checked that it is new.
    pub(super) fn push(&mut self, id: RequestId) {
        self.len += 1;
        match self.chunks.back_mut().filter(|chunk| chunk.ids.len() < CHUNK_LEN) {
            Some(chunk) => {
                chunk.lowest = chunk.lowest.min(id);
                chunk.highest = chunk.highest.max(id);
                chunk.ids.push(id);
            }
            None => self.chunks.push_back(Chunk { lowest: id, highest: id, ids: vec![id] }),
        }
    }

    /// Forgets the oldest until at most `max` (and a part of a chunk) are left; returns how many it forgot.
    pub(super) fn shrink_to(&mut self, max: usize) -> usize {
        let before = self.len;
        while self.chunks.len() > 1 && self.chunks.front().is_some_and(|oldest| self.len - oldest.ids.len() >= max) {
            self.len -= self.chunks.pop_front().map_or(0, |chunk| chunk.ids.len());
        }
        before - self.len
    }
}
