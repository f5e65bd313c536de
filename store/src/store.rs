//! The database: opening, writing, reading.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_replica::io::Ticket;
use causeway_replica::key::Key;
use causeway_replica::view::{Batch, Cf, View, ViewError, Visit};
use rocksdb::statistics::{StatsLevel, Ticker};
use rocksdb::{Cache, ColumnFamily, DB, DBRawIterator, FlushOptions, Options, ReadOptions, WriteBatch, WriteOptions};

use crate::commit::{CommitThread, Committer, SyncLead, Tickets, Urgency};
use crate::config::{self, ROOM_PREFIX_BYTES, Recovery};
use crate::identity::Mark;
use crate::{Identity, Provenance, StoreConfig, StoreError};

/// Per row, what RocksDB adds to key and value in a batch: tag, family, two lengths.
const BATCH_ROW_BYTES: usize = 12;

/// One node's database. Cheap to clone; all clones are one store, and every thread may use one.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    db: DB,
    /// Kept for RocksDB's own counters.
    options: Options,
    cut: Option<String>,
    cache: Cache,
    path: PathBuf,
    identity: Identity,
    tickets: Arc<Tickets>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).field("identity", &self.shared.identity).finish()
    }
}

impl Store {
    /// Opens the store in a folder, or makes one there. Refuses a folder that belongs to another cluster, site
    /// or node, or has another shard count or format, and names the field. All that it finds, what a killed
    /// process left unsynced too, is durable when it returns.
    pub fn open(path: &Path, config: &StoreConfig) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path).map_err(|e| StoreError::open(path, e))?;
        let identity = config.identity;
        let is_new = !path.join("CURRENT").exists();
        let mark = Mark::read(path)?;
        match &mark {
            Some(mark) => mark.check(path, &identity)?,
            // Before the first row: a start that is cut short is new again.
            None if is_new => Mark::new(Provenance::New, &identity).write(path)?,
            None => {}
        }
        let cache = Cache::new_lru_cache(config.cache_bytes);
        let (db, options, cut) = match open_database(path, config, &cache, Recovery::Whole) {
            Err(error) if config::is_gap(error.as_ref()) => {
                let (db, options) = open_database(path, config, &cache, Recovery::UpToGap)
                    .map_err(|e| StoreError::open(path, format!("{e}, after: {error}")))?;
                (db, options, Some(error.into_string()))
            }
            Err(error) if config::is_unlogged(error.as_ref()) && mark.is_some() => {
                // Opened once like this it has a log, and is opened like any other.
                drop(open_database(path, config, &cache, Recovery::Unlogged).map_err(|e| StoreError::open(path, e))?);
                let opened = open_database(path, config, &cache, Recovery::Whole);
                opened.map(|(db, options)| (db, options, None)).map_err(|e| StoreError::open(path, e))?
            }
            opened => opened.map(|(db, options)| (db, options, None)).map_err(|e| StoreError::open(path, e))?,
        };
        let shared = Shared { db, options, cut, cache, path: path.to_path_buf(), identity, tickets: Arc::default() };
        let store = Self { shared: Arc::new(shared) };
        // The log's rest may be in the kernel's cache alone. RocksDB moves what it recovers to synced files,
        // unless an option or a version decides otherwise; then this does.
        store.flush()?;
        store.claim()?;
        Ok(store)
    }

    /// Checks the identity row, or writes it where there is none.
    fn claim(&self) -> Result<(), StoreError> {
        let Shared { db, path, identity, .. } = &*self.shared;
        let key = Key::Identity.encode();
        let row = db.get_pinned_cf(self.family(Cf::Local), &key).map_err(|e| StoreError::open(path, e))?;
        if let Some(row) = row {
            return identity.check(path, &row);
        }
        if Mark::read(path)?.is_none() {
            // Somebody took the identity away, so it is a copy.
            Mark::new(Provenance::Restored, identity).write(path)?;
        }
        db.put_cf(self.family(Cf::Local), &key, identity.encode()).map_err(|e| StoreError::open(path, e))?;
        self.sync()
    }

    /// Whose store it is.
    pub fn identity(&self) -> Identity {
        self.shared.identity
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Where its data came from. Other than `Intact`, it must catch up with a peer before it serves.
    pub fn provenance(&self) -> Result<Provenance, StoreError> {
        Ok(Mark::read(self.path())?.map_or(Provenance::Intact, |mark| mark.provenance))
    }

    /// The store has caught up, durably: from now on, after restarts too, it is `Intact`.
    pub fn set_intact(&self) -> Result<(), StoreError> {
        Mark::remove(self.path())
    }

    /// The next start must catch up with a peer first, as after a restored backup.
    pub fn set_restored(&self) -> Result<(), StoreError> {
        Mark::new(Provenance::Restored, &self.shared.identity).write(self.path())
    }

    /// Applies a batch, atomically; it is visible at once, and durable when its ticket is. Any number of
    /// threads may write. The tickets of one thread rise.
    ///
    /// An error is final. Whoever wrote has changed state in memory that is not on disk, so the store takes no
    /// more writes and reports nothing durable any more; reads go on. An empty batch gets a ticket too.
    pub fn write(&self, batch: &Batch) -> Result<Ticket, StoreError> {
        self.apply(batch)?;
        Ok(self.shared.tickets.issue(if is_lazy(batch) { Urgency::Lazy } else { Urgency::Now }))
    }

    /// [`Store::write`] for a writer with nothing else to do: where the commit thread has nothing to do either,
    /// the writer gets the sync as well, which saves two hand-offs.
    pub fn write_and_lead(&self, batch: &Batch) -> Result<(Ticket, Option<SyncLead>), StoreError> {
        if is_lazy(batch) {
            return Ok((self.write(batch)?, None));
        }
        self.apply(batch)?;
        Ok(self.shared.tickets.issue_to_lead())
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        if let Some(error) = self.shared.tickets.failed() {
            return Err(StoreError::Stopped(Box::new(error)));
        }
        if !batch.is_empty() {
            self.shared.db.write_opt(self.physical(batch), &WriteOptions::default()).map_err(|e| {
                let error = StoreError::io("writing", e);
                self.shared.tickets.fail(&error);
                error
            })?;
        }
        Ok(())
    }

    fn physical(&self, batch: &Batch) -> WriteBatch {
        let rows = batch.rows().count() + batch.ranges().len();
        let mut out = WriteBatch::with_capacity_bytes(batch.bytes() + rows * BATCH_ROW_BYTES);
        // Each entry has its own sequence number, so that a row put after a range deletion survives it.
        for (cf, start, end) in batch.ranges().iter().filter(|(_, start, end)| start < end) {
            out.delete_range_cf(self.family(*cf), start, end);
        }
        let mut current: Option<(Cf, &ColumnFamily)> = None;
        for (cf, key, value) in batch.rows() {
            let family = match current {
                Some((last, family)) if last == cf => family,
                _ => self.family(cf),
            };
            current = Some((cf, family));
            match value {
                Some(value) => out.put_cf(family, key, value),
                None => out.delete_cf(family, key),
            }
        }
        out
    }

    /// Starts the thread that makes writes durable; once for a store. `durable` is called on it, or on a thread
    /// that syncs in its place, with each new durable ticket, in rising order, and must not block: nothing is
    /// synced meanwhile. A writer may hear of its ticket there before [`Store::write`] has returned it. `failure` is called, once, if a sync failed,
    /// and nothing after it; relays pass [`crate::abort_on_failure`]. A failed write is its writer's to report.
    pub fn start_commits(
        &self,
        durable: impl FnMut(Ticket) + Send + 'static,
        failure: impl FnMut(&StoreError) + Send + 'static,
    ) -> Result<CommitThread, StoreError> {
        let store = self.clone();
        let committer =
            Committer { sync: Box::new(move || store.sync()), durable: Box::new(durable), failure: Box::new(failure) };
        CommitThread::start(self.shared.tickets.clone(), committer)
    }

    /// Flushes the log's buffer and syncs the log: of everything that was written before this call.
    fn sync(&self) -> Result<(), StoreError> {
        self.shared.db.flush_wal(true).map_err(|e| StoreError::io("syncing the log", e))
    }

    /// Writes all memtables to files, so that the next start has no log to read. Takes as long as the disk does.
    pub fn flush(&self) -> Result<(), StoreError> {
        let families: Vec<_> = Cf::ALL.into_iter().map(|cf| self.family(cf)).collect();
        let flushed = self.shared.db.flush_cfs_opt(&families, &FlushOptions::default());
        flushed.map_err(|e| StoreError::io("flushing", e))
    }

    /// [`Store::flush`] of one family.
    pub fn flush_family(&self, cf: Cf) -> Result<(), StoreError> {
        self.shared.db.flush_cf(self.family(cf)).map_err(|e| StoreError::io("flushing", e))
    }

    /// RocksDB's words, if opening found that the end of a log file was missing although a newer file was
    /// there, and dropped the newer one. After a power failure that is in order (none of it had been synced);
    /// after anything else it means that somebody has lost data: worth a warning.
    pub fn cut(&self) -> Option<&str> {
        self.shared.cut.as_deref()
    }

    /// The highest ticket up to which every write is durable.
    pub fn durable(&self) -> Ticket {
        self.shared.tickets.durable()
    }

    /// Waits until a ticket is durable; `false` if it is not after `timeout`.
    pub fn wait_durable(&self, ticket: Ticket, timeout: Duration) -> Result<bool, StoreError> {
        self.shared.tickets.wait(ticket, timeout)
    }

    /// The failure after which the store takes no more writes, if there was one.
    pub fn failed(&self) -> Option<StoreError> {
        self.shared.tickets.failed()
    }

    pub(crate) fn db(&self) -> &DB {
        &self.shared.db
    }

    pub(crate) fn ticker(&self, ticker: Ticker) -> u64 {
        self.shared.options.get_ticker_count(ticker)
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    pub(crate) fn tickets(&self) -> &Tickets {
        &self.shared.tickets
    }

    pub(crate) fn family(&self, cf: Cf) -> &ColumnFamily {
        self.shared.db.cf_handle(cf.name()).expect("every family was opened")
    }

    fn iterate(
        &self,
        cf: Cf,
        (start, end): (&[u8], &[u8]),
        back: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), ViewError> {
        if start >= end {
            return Ok(());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(start);
        options.set_iterate_upper_bound(end);
        // Without it an iterator of a family with a prefix extractor may skip rows of other prefixes. Within
        // one prefix that is what we want: files without the room are skipped by their filters. Seeking
        // backwards starts at the upper bound, which is already beyond the prefix.
        let in_one_room = !back && config::has_room_prefix(cf) && is_one_prefix(start, end);
        options.set_total_order_seek(!in_one_room);
        options.set_prefix_same_as_start(in_one_room);
        let mut rows: DBRawIterator<'_> = self.shared.db.raw_iterator_cf_opt(self.family(cf), options);
        if back {
            rows.seek_to_last();
        } else {
            rows.seek(start);
        }
        while let Some((key, value)) = rows.item() {
            if let ControlFlow::Break(()) = visit(key, value) {
                return Ok(());
            }
            if back {
                rows.prev();
            } else {
                rows.next();
            }
        }
        rows.status().map_err(|e| view_error(cf, e))
    }
}

fn open_database(
    path: &Path,
    config: &StoreConfig,
    cache: &Cache,
    recovery: Recovery,
) -> Result<(DB, Options), rocksdb::Error> {
    let mut options = config::database_options(config, recovery)?;
    options.enable_statistics();
    options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    let db = DB::open_cf_descriptors(&options, path, config::families(config, cache)?)?;
    Ok((db, options))
}

/// Whether all keys of `[start, end)` start with the same room.
fn is_one_prefix(start: &[u8], end: &[u8]) -> bool {
    let (Some(room), Some(beyond)) = (start.first_chunk::<ROOM_PREFIX_BYTES>(), end.first_chunk::<ROOM_PREFIX_BYTES>())
    else {
        return false;
    };
    // The end is exclusive: the very first key of the next room will do.
    let next = u128::from_be_bytes(*room).checked_add(1).map(u128::to_be_bytes);
    room == beyond || (end.len() == ROOM_PREFIX_BYTES && next.is_some_and(|next| next == *beyond))
}

/// Whether nobody waits for it: nothing but read markers.
fn is_lazy(batch: &Batch) -> bool {
    batch.ranges().is_empty() && batch.rows().all(|(cf, ..)| cf == Cf::Read)
}

fn view_error(cf: Cf, error: rocksdb::Error) -> ViewError {
    ViewError { family: cf.name(), reason: error.into_string() }
}

impl View for Store {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let value = self.shared.db.get_pinned_cf(self.family(cf), key).map_err(|e| view_error(cf, e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        self.iterate(cf, (start, end), false, visit)
    }

    fn scan_back(&self, cf: Cf, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), ViewError> {
        self.iterate(cf, (start, end), true, visit)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(crate) mod tests;
