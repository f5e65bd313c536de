//! Figures for metrics.

use causeway_replica::view::Cf;
use rocksdb::statistics::Ticker;

use crate::{Store, StoreError, Ticket};

/// A look at the store. Cheap enough for every scrape, not for every write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of data files.
    pub data_bytes: u64,
    /// Bytes of the write-ahead log on disk.
    pub wal_bytes: u64,
    /// Bytes of memtables.
    pub memtable_bytes: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Bytes that compactions are behind.
    pub compaction_pending_bytes: u64,
    /// Most files at level 0 of a family: writes slow down at 20 and stop at 36.
    pub level0_files_max: u64,
    /// Whether RocksDB holds writes up because flushes or compactions are behind.
    pub writes_stalled: bool,
    /// Rows of each family, estimated.
    pub rows: Vec<(&'static str, u64)>,
    /// The last ticket given out.
    pub written: Ticket,
    /// The last durable ticket.
    pub durable: Ticket,
    /// Rounds of group commit since the start.
    pub syncs: u64,
    /// Time in them, nanoseconds.
    pub sync_ns_total: u64,
    /// The longest, nanoseconds.
    pub sync_ns_max: u64,
    /// Syncs of log files, as RocksDB counts them.
    pub log_syncs: u64,
    /// Blocks found in the cache.
    pub cache_hits: u64,
    /// Blocks that had to be read.
    pub cache_misses: u64,
    /// Look-ups of rows that do not exist, answered by filters without a read.
    pub filter_hits: u64,
}

impl Store {
    /// Figures for metrics.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let sum = |name: &str| {
            Cf::ALL.into_iter().try_fold(0_u64, |sum, cf| Ok(sum.saturating_add(self.property(cf, name)?)))
        };
        let most = |name: &str| {
            Cf::ALL.into_iter().try_fold(0_u64, |most, cf| Ok::<_, StoreError>(most.max(self.property(cf, name)?)))
        };
        let rows = Cf::ALL.into_iter().map(|cf| Ok((cf.name(), self.property(cf, "rocksdb.estimate-num-keys")?)));
        let stalled = most("rocksdb.is-write-stopped")? > 0 || most("rocksdb.actual-delayed-write-rate")? > 0;
        let figures = self.tickets().figures();
        Ok(Stats {
            data_bytes: sum("rocksdb.total-sst-files-size")?,
            wal_bytes: self.wal_bytes()?,
            memtable_bytes: sum("rocksdb.cur-size-all-mem-tables")?,
            cache_bytes: self.cache().get_usage() as u64,
            compaction_pending_bytes: sum("rocksdb.estimate-pending-compaction-bytes")?,
            level0_files_max: most("rocksdb.num-files-at-level0")?,
            writes_stalled: stalled,
            rows: rows.collect::<Result<_, StoreError>>()?,
            written: self.tickets().written(),
            durable: self.durable(),
            syncs: figures.syncs,
            sync_ns_total: figures.sync_ns_total,
            sync_ns_max: figures.sync_ns_max,
            log_syncs: self.ticker(Ticker::WalFileSynced),
            cache_hits: self.ticker(Ticker::BlockCacheHit),
            cache_misses: self.ticker(Ticker::BlockCacheMiss),
            filter_hits: self.ticker(Ticker::BloomFilterUseful),
        })
    }

    /// Roughly, the bytes on disk of the rows in `[start, end)`; what is still in memory does not count.
    pub fn approximate_bytes(&self, cf: Cf, start: &[u8], end: &[u8]) -> u64 {
        if start >= end {
            return 0;
        }
        self.db().get_approximate_sizes_cf(self.family(cf), &[rocksdb::Range::new(start, end)]).into_iter().sum()
    }

    fn property(&self, cf: Cf, name: &str) -> Result<u64, StoreError> {
        let value = self.db().property_int_value_cf(self.family(cf), name);
        Ok(value.map_err(|e| StoreError::io("reading a figure", e))?.unwrap_or(0))
    }

    fn wal_bytes(&self) -> Result<u64, StoreError> {
        let failed = |e| StoreError::io("reading the log's size", e);
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.path()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                // RocksDB may have deleted it since.
                bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        Ok(bytes)
    }
}
