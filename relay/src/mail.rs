//! What shard threads and the relay put into sessions' queues, and the directory that finds them.
//!
//! A session has two queues. Live events may be dropped when a reader is too slow: storage has them. Notes (acks,
//! refusals, frontiers, memberships) may not: a client that does not read them is disconnected, and its outbox
//! asks again elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use causeway_mailbox::{Limits, Push, Sender, Wakes, Weight};
use causeway_protocol::{Dot, RoomId, UserId};
use causeway_replica::io::SessionId;
use causeway_replica::session::SessionInput;

/// What an entry costs beside its frame, bytes.
const ENTRY_BYTES: usize = 96;
/// Live events queued for a session, whatever their size.
const LIVE_ITEMS_MAX: usize = 4_096;
/// Notes queued for a session: several for each submit in flight, and one a shard when shards become ready.
const NOTES_MAX: usize = 16_384;
/// Bytes of notes queued for a session.
const NOTES_BYTES_MAX: usize = 4 << 20;

/// A live event.
#[derive(Clone, Debug)]
pub struct Live {
    /// The room.
    pub room: RoomId,
    /// What is to be said of it.
    pub news: News,
}

/// What a session's queue of live events holds.
#[derive(Clone, Debug)]
pub enum News {
    /// An event.
    Event {
        /// The dot that made it visible.
        dot: Dot,
        /// Encoded, and shared by all receivers.
        frame: Bytes,
    },
    /// Somebody is typing: an expendable item.
    Typing {
        /// Who.
        user: UserId,
        /// The encoded datagram.
        datagram: Bytes,
    },
    /// See `io::Output::Recount`.
    Recount {
        /// The op that did it.
        dot: Dot,
        /// Whether something is hidden now.
        hides: bool,
    },
}

impl From<Live> for SessionInput {
    fn from(Live { room, news }: Live) -> Self {
        match news {
            News::Event { dot, frame } => Self::Live { room, dot, frame },
            News::Typing { user, datagram } => Self::Typing { room, user, datagram },
            News::Recount { dot, hides } => Self::Recount { room, dot, hides },
        }
    }
}

impl Weight for Live {
    fn weight_bytes(&self) -> usize {
        let bytes = match &self.news {
            News::Event { frame: bytes, .. } | News::Typing { datagram: bytes, .. } => bytes.len(),
            News::Recount { .. } => 0,
        };
        bytes + ENTRY_BYTES
    }
}

/// Anything else that a session is told.
#[derive(Clone, Debug)]
pub struct Note(pub SessionInput);

impl Weight for Note {
    fn weight_bytes(&self) -> usize {
        let text = match &self.0 {
            SessionInput::Refused { detail, .. } | SessionInput::GoAway(_, detail) => detail.len(),
            SessionInput::Marked { marker, .. } => marker.read.len() * size_of::<Dot>(),
            _ => 0,
        };
        ENTRY_BYTES + text
    }
}

/// Bounds of a session's live events.
pub fn live_limits(bytes_max: usize) -> Limits {
    Limits { items_max: LIVE_ITEMS_MAX, bytes_max }
}

/// Bounds of a session's notes.
pub fn note_limits() -> Limits {
    Limits { items_max: NOTES_MAX, bytes_max: NOTES_BYTES_MAX }
}

/// Locks that sessions are spread over.
const PARTS: usize = 64;

/// Session -> its notes.
pub struct Directory {
    parts: [Mutex<HashMap<SessionId, Sender<Note>>>; PARTS],
}

impl Default for Directory {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Directory {
    fn part(&self, session: SessionId) -> MutexGuard<'_, HashMap<SessionId, Sender<Note>>> {
        self.parts[session.0 as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session.
    pub fn insert(&self, session: SessionId, notes: Sender<Note>) {
        self.part(session).insert(session, notes);
    }

    /// Takes it out.
    pub fn remove(&self, session: SessionId) {
        let removed = self.part(session).remove(&session);
        drop(removed);
    }

    /// Tells one session something; nothing happens if it has ended.
    pub fn tell(&self, session: SessionId, input: SessionInput, wakes: &mut Wakes) {
        let part = self.part(session);
        let notes = part.get(&session).cloned();
        drop(part);
        if let Some(notes) = notes {
            // A queue that overflows says so to its session, which then closes.
            let _: Push = notes.push_deferred(Note(input), wakes);
        }
    }

    /// Tells every session something.
    pub fn tell_all(&self, input: &SessionInput, wakes: &mut Wakes) {
        for part in &self.parts {
            let all: Vec<_> = part.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            for notes in all {
                let _: Push = notes.push_deferred(Note(input.clone()), wakes);
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }
}
