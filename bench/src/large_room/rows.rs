//! Where the room's rows are, and a view that counts what is read of them.

use std::cell::Cell;

use bytes::Bytes;
use causeway_replica::view::{Batch, Cf, MemView, View, ViewError, Visit};
use causeway_store::Store;

/// Rows that can be written.
pub trait Rows {
    /// What was written.
    fn view(&self) -> &dyn View;
    /// Writes a batch, unsynced.
    fn write(&mut self, batch: &Batch);
}

/// Rows in memory.
#[derive(Default)]
pub struct Memory(MemView);

impl Rows for Memory {
    fn view(&self) -> &dyn View {
        &self.0
    }

    fn write(&mut self, batch: &Batch) {
        self.0.apply(batch);
    }
}

/// Rows in a relay's store.
pub struct OnDisk(pub Store);

impl Rows for OnDisk {
    fn view(&self) -> &dyn View {
        &self.0
    }

    fn write(&mut self, batch: &Batch) {
        self.0.write(batch).expect("the disk");
    }
}

/// Counts look-ups, found or not, and rows that scans visit.
pub struct Counted<'a> {
    view: &'a dyn View,
    rows: Cell<u64>,
}

impl<'a> Counted<'a> {
    /// Nothing read yet.
    pub fn new(view: &'a dyn View) -> Self {
        Self { view, rows: Cell::new(0) }
    }

    /// Rows read so far.
    pub fn rows(&self) -> u64 {
        self.rows.get()
    }

    fn count(&self) {
        self.rows.set(self.rows.get() + 1);
    }
}

impl View for Counted<'_> {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.count();
        self.view.get(cf, key)
    }

    fn scan(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        self.view.scan(cf, start, end, &mut |key, value| {
            self.count();
            visit(key, value)
        })
    }

    fn scan_back(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        self.view.scan_back(cf, start, end, &mut |key, value| {
            self.count();
            visit(key, value)
        })
    }
}
