//! What the replica reads and writes: ordered rows in column families, seen through a trait.
//!
//! The replica never performs IO. It reads through a [`View`] and describes its writes in a [`Batch`], which
//! the host applies atomically and in order. [`Overlay`] shows the rows of a batch that is still being filled.

use std::collections::BTreeMap;

use bytes::Bytes;

/// A column family. The numbers are on disk and on the wire (snapshots): never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Cf {
    /// Ops by room: the headers.
    Op = 1,
    /// Requests by room and place, with their bodies.
    Request = 2,
    /// Where the op of a dot is. Truncated.
    Log = 3,
    /// The node's apply order. Truncated.
    Order = 4,
    /// Set elements and registers of rooms; a user's rooms.
    Element = 5,
    /// Room heads.
    Head = 6,
    /// Read markers: written unsynced, not hashed.
    Read = 7,
    /// Vectors, buckets, floors.
    Meta = 8,
    /// Identity, peers' acks, staged rows: never leaves the node.
    Local = 9,
}

impl Cf {
    /// All of them.
    pub const ALL: [Cf; 9] =
        [Cf::Op, Cf::Request, Cf::Log, Cf::Order, Cf::Element, Cf::Head, Cf::Read, Cf::Meta, Cf::Local];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Cf::Op => "op",
            Cf::Request => "request",
            Cf::Log => "log",
            Cf::Order => "order",
            Cf::Element => "element",
            Cf::Head => "head",
            Cf::Read => "read",
            Cf::Meta => "meta",
            Cf::Local => "local",
        }
    }

    /// Of its number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|cf| *cf as u32 == number)
    }
}

/// A row could not be read: the disk failed, or a record's checksum did. The host stops the shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading {family}: {reason}")]
pub struct ViewError {
    /// The column family's name.
    pub family: &'static str,
    /// The store's words.
    pub reason: String,
}

/// What a scan does with a row: go on, or stop.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()> + 'a;

/// Synchronous, ordered reads of everything that was written, synced or not.
///
/// Contract (one test suite runs it on every implementation): a row written by an applied batch is seen at
/// once; `scan` visits keys in ascending byte order within `[start, end)`, `scan_back` in descending order
/// within the same range; a visit that breaks is the last one.
pub trait View {
    /// One row.
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, ViewError>;
    /// Rows of `start <= key < end`, ascending.
    fn scan(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError>;
    /// Rows of `start <= key < end`, descending.
    fn scan_back(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError>;
}

/// Rows of one column family in a batch: a value to put, or `None` to delete.
pub type Rows = BTreeMap<Bytes, Option<Bytes>>;

/// One atomic write. Range deletions apply first, then rows; a key stands in it once, with its last value.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Batch {
    rows: BTreeMap<Cf, Rows>,
    ranges: Vec<(Cf, Bytes, Bytes)>,
    bytes: usize,
}

impl Batch {
    /// Puts a row.
    pub fn put(&mut self, cf: Cf, key: Bytes, value: Bytes) {
        self.bytes += key.len() + value.len();
        self.rows.entry(cf).or_default().insert(key, Some(value));
    }

    /// Deletes a row.
    pub fn delete(&mut self, cf: Cf, key: Bytes) {
        self.bytes += key.len();
        self.rows.entry(cf).or_default().insert(key, None);
    }

    /// Deletes `[start, end)`: as it was before this batch, and what this batch has put there so far.
    pub fn delete_range(&mut self, cf: Cf, start: Bytes, end: Bytes) {
        self.bytes += start.len() + end.len();
        if let Some(rows) = self.rows.get_mut(&cf) {
            // Ranges apply before rows: a row put earlier would survive.
            rows.retain(|key, _| *key < start || *key >= end);
        }
        self.ranges.push((cf, start, end));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.ranges.is_empty()
    }

    /// Roughly, the bytes that it writes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The range deletions, which apply first.
    pub fn ranges(&self) -> &[(Cf, Bytes, Bytes)] {
        &self.ranges
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = (Cf, &Bytes, Option<&Bytes>)> {
        self.rows.iter().flat_map(|(cf, rows)| rows.iter().map(|(key, value)| (*cf, key, value.as_ref())))
    }

    /// Appends another batch, which comes after this one. What it deletes by range must not be written here:
    /// range deletions apply first.
    pub fn append(&mut self, later: Batch) {
        for (cf, start, end) in &later.ranges {
            let written = self.family(*cf).is_some_and(|rows| rows.range(start.clone()..end.clone()).next().is_some());
            assert!(!written, "a range deletion in {} hits a row of the same batch", cf.name());
        }
        self.ranges.extend(later.ranges);
        self.bytes += later.bytes;
        for (cf, rows) in later.rows {
            self.rows.entry(cf).or_default().extend(rows);
        }
    }

    fn family(&self, cf: Cf) -> Option<&Rows> {
        self.rows.get(&cf)
    }

    fn in_deleted_range(&self, cf: Cf, key: &[u8]) -> bool {
        self.ranges.iter().any(|(c, start, end)| *c == cf && &start[..] <= key && key < &end[..])
    }
}

/// A view with a batch on top that is not applied yet.
pub struct Overlay<'a> {
    /// What is applied.
    pub base: &'a dyn View,
    /// What is not.
    pub batch: &'a Batch,
}

impl View for Overlay<'_> {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        match self.batch.family(cf).and_then(|rows| rows.get(key)) {
            Some(value) => Ok(value.clone()),
            None if self.batch.in_deleted_range(cf, key) => Ok(None),
            None => self.base.get(cf, key),
        }
    }

    fn scan(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        self.merged(cf, start, end, false, visit)
    }

    fn scan_back(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        self.merged(cf, start, end, true, visit)
    }
}

impl Overlay<'_> {
    /// A merge of two ordered sources; where both hold a key, the batch wins.
    fn merged(&self, cf: Cf, start: &[u8], end: &[u8], back: bool, visit: &mut Visit<'_>) -> Result<(), ViewError> {
        use std::ops::ControlFlow::{Break, Continue};
        if start >= end {
            return Ok(());
        }
        let none = Rows::new();
        let range = self
            .batch
            .family(cf)
            .unwrap_or(&none)
            .range::<[u8], _>((std::ops::Bound::Included(start), std::ops::Bound::Excluded(end)));
        let mut over: Box<dyn Iterator<Item = _>> = if back { Box::new(range.rev()) } else { Box::new(range) };
        let mut next = over.next();
        let mut stopped = false;
        let before = |a: &[u8], b: &[u8]| if back { a > b } else { a < b };
        let mut on_base = |key: &[u8], value: &[u8]| {
            while let Some((k, v)) = next.filter(|(k, _)| before(k, key)) {
                next = over.next();
                if let Some(v) = v
                    && visit(k, v).is_break()
                {
                    stopped = true;
                    return Break(());
                }
            }
            let flow = match next.filter(|(k, _)| &k[..] == key) {
                Some((k, v)) => {
                    next = over.next();
                    v.as_ref().map_or(Continue(()), |v| visit(k, v))
                }
                None if self.batch.in_deleted_range(cf, key) => Continue(()),
                None => visit(key, value),
            };
            stopped = flow.is_break();
            flow
        };
        if back {
            self.base.scan_back(cf, start, end, &mut on_base)?;
        } else {
            self.base.scan(cf, start, end, &mut on_base)?;
        }
        while !stopped && let Some((k, v)) = next {
            next = over.next();
            stopped = v.as_ref().is_some_and(|v| visit(k, v).is_break());
        }
        Ok(())
    }
}

/// A view in memory: the simulator's disk, and the store of unit tests.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct MemView {
    families: BTreeMap<Cf, BTreeMap<Bytes, Bytes>>,
}

impl MemView {
    /// Applies a batch.
    pub fn apply(&mut self, batch: &Batch) {
        for (cf, start, end) in batch.ranges() {
            self.families.entry(*cf).or_default().retain(|key, _| key < start || key >= end);
        }
        for (cf, key, value) in batch.rows() {
            let rows = self.families.entry(cf).or_default();
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
    }

    /// All rows of a family, for checkers.
    pub fn family(&self, cf: Cf) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.families.get(&cf).into_iter().flatten()
    }
}

impl View for MemView {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.families.get(&cf).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        let bounds = (std::ops::Bound::Included(start), std::ops::Bound::Excluded(end));
        if let Some(rows) = self.families.get(&cf).filter(|_| start < end) {
            let _ = rows.range::<[u8], _>(bounds).try_for_each(|(key, value)| visit(key, value));
        }
        Ok(())
    }

    fn scan_back(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        let bounds = (std::ops::Bound::Included(start), std::ops::Bound::Excluded(end));
        if let Some(rows) = self.families.get(&cf).filter(|_| start < end) {
            let _ = rows.range::<[u8], _>(bounds).rev().try_for_each(|(key, value)| visit(key, value));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
