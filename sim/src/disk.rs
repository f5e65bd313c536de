//! Disks that lose what was not synced, lose everything, or come back as they were long ago.

use std::collections::VecDeque;

use causeway_replica::io::Ticket;
use causeway_replica::view::{Batch, MemView};

/// What an operator knows of a store when a process opens it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Nothing special.
    Intact,
    /// It is empty.
    New,
    /// It was made of a backup, and says so.
    Restored,
}

/// One machine's disk: a write is visible at once, and durable when a sync that began after it has ended.
pub struct Disk {
    visible: MemView,
    synced: MemView,
    unsynced: VecDeque<(Ticket, Batch)>,
    backup: Option<MemView>,
    mark: Mark,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            visible: MemView::default(),
            synced: MemView::default(),
            unsynced: VecDeque::new(),
            backup: None,
            mark: Mark::New,
        }
    }
}

impl Disk {
    /// Everything written.
    pub fn visible(&self) -> &MemView {
        &self.visible
    }

    /// What a power failure leaves at least.
    pub fn synced(&self) -> &MemView {
        &self.synced
    }

    /// What an operator knows of it.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The store holds what its cluster's first start, or a catch-up, gave it: no longer new or restored.
    pub fn set_intact(&mut self) {
        self.mark = Mark::Intact;
    }

    /// Writes a batch, unsynced.
    pub fn write(&mut self, ticket: Ticket, batch: Batch) {
        self.visible.apply(&batch);
        self.unsynced.push_back((ticket, batch));
    }

    /// The ticket up to which a sync that begins now syncs; `None` where nothing waits.
    pub fn unsynced_up_to(&self) -> Option<Ticket> {
        self.unsynced.back().map(|(ticket, _)| *ticket)
    }

    /// Batches that a power failure can take.
    pub fn unsynced_len(&self) -> usize {
        self.unsynced.len()
    }

    /// A sync has ended.
    pub fn synced_up_to(&mut self, ticket: Ticket) {
        while let Some((_, batch)) = self.unsynced.pop_front_if(|(t, _)| *t <= ticket) {
            self.synced.apply(&batch);
        }
    }

    /// Power failure: the first `kept` unsynced batches happened to reach the disk, the others are gone.
    pub fn crash(&mut self, kept: usize) {
        for (_, batch) in self.unsynced.drain(..).take(kept) {
            self.synced.apply(&batch);
        }
        self.visible = self.synced.clone();
    }

    /// The disk is gone; an empty one takes its place.
    pub fn destroy(&mut self) {
        *self = Self { backup: self.backup.take(), ..Self::default() };
    }

    /// Copies what is durable.
    pub fn take_backup(&mut self) {
        self.backup = Some(self.synced.clone());
    }

    /// Whether there is a copy to restore.
    pub fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// The copy takes the disk's place. `marked`: the tool that restored it said so, as backups do; a cloned or
    /// rolled-back machine does not.
    pub fn restore_backup(&mut self, marked: bool) {
        if let Some(copy) = self.backup.clone() {
            self.unsynced.clear();
            self.visible = copy.clone();
            self.synced = copy;
            self.mark = if marked { Mark::Restored } else { Mark::Intact };
        }
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
