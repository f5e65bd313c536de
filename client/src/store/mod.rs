//! What of a client survives a restart: its outbox and its committed cursors.

mod file;
mod memory;
mod record;

use std::collections::{BTreeMap, VecDeque};
use std::io;

use causeway_protocol::{RequestId, RoomId};

use crate::machine::{Change, Covers, RequestNo, SavedCursor, SavedRequest};

pub use file::{FileStore, Sync};
pub use memory::MemoryStore;

/// Ids that a store keeps of a room: requests committed last.
pub const SHOWN_PER_ROOM_MAX: usize = 256;

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// The outbox, in order.
    pub outbox: Vec<SavedRequest>,
    /// Committed cursors.
    pub cursors: BTreeMap<RoomId, SavedCursor>,
}

/// Keeps a client's outbox and cursors. One client uses it at a time.
///
/// # Specification
/// * [`Store::load`] returns what all changes saved so far amount to: requests added and not removed, in the order of
///   their numbers (a request added again under its number replaces the former), and the join of what was committed.
/// * When [`Store::save`] returns `Ok`, the changes survive a SIGKILL of the process. If [`Store::syncs`] they
///   survive a power failure too.
/// * After an error nothing, a beginning, or all of the changes may be saved.
pub trait Store: Send {
    /// What is saved.
    ///
    /// # Errors
    /// Of the medium.
    fn load(&mut self) -> io::Result<Saved>;

    /// Saves changes, in order.
    ///
    /// # Errors
    /// Of the medium: disk full, for one.
    fn save(&mut self, changes: &[Change]) -> io::Result<()>;

    /// Whether `save` waits for a disk: then it is called off the async threads.
    fn syncs(&self) -> bool {
        false
    }
}

/// The state that changes amount to.
#[derive(Default)]
struct Held {
    outbox: BTreeMap<RequestNo, SavedRequest>,
    cursors: BTreeMap<RoomId, HeldCursor>,
}

#[derive(Default)]
struct HeldCursor {
    vector: causeway_protocol::Vector,
    shown: VecDeque<RequestId>,
}

impl Held {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Added(saved) => {
                self.outbox.insert(saved.no, saved.clone());
            }
            Change::Removed(no) => {
                self.outbox.remove(no);
            }
            Change::Committed(position) => {
                let cursor = self.cursors.entry(position.room).or_default();
                match &position.covers {
                    Covers::Dot(dot, id) => {
                        cursor.vector.raise(*dot);
                        cursor.show(*id);
                    }
                    Covers::Page(id) => cursor.show(*id),
                    Covers::Vector(vector) => cursor.vector.join(vector),
                    Covers::Nothing => {}
                }
            }
        }
    }

    fn saved(&self) -> Saved {
        let cursor = |held: &HeldCursor| SavedCursor {
            vector: held.vector.clone(),
            shown: held.shown.iter().copied().collect(),
        };
        Saved {
            outbox: self.outbox.values().cloned().collect(),
            cursors: self.cursors.iter().map(|(room, held)| (*room, cursor(held))).collect(),
        }
    }
}

impl HeldCursor {
    fn show(&mut self, id: RequestId) {
        if self.shown.len() >= SHOWN_PER_ROOM_MAX {
            self.shown.pop_front();
        }
        self.shown.push_back(id);
    }
}

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod file_tests;
