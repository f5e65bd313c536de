//! How the store is set up, and why so.

use causeway_replica::view::Cf;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, Options, SliceTransform,
};

use crate::Identity;

/// Bytes of a room's id, with which every key of the room families starts.
pub(crate) const ROOM_PREFIX_BYTES: usize = 16;

/// Bits a key: about 1 % of false positives. Filters are on every level, the last one too, because the
/// replica's dedup look-ups nearly always ask for a row that does not exist.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Share of a memtable that its own filter takes, for the same look-ups.
const MEMTABLE_BLOOM_RATIO: f64 = 0.05;
/// Larger than RocksDB's 4 KiB: rows are a few hundred bytes and are read in runs; compresses better.
const BLOCK_BYTES: usize = 16 << 10;
/// Memtables of one family before its writers wait.
const MEMTABLES_MAX: i32 = 4;
/// Written back to the disk in steps of this, so that a flush or compaction does not delay the log's sync.
const BYTES_PER_SYNC: u64 = 1 << 20;
/// Of RocksDB's own log.
const INFO_LOG_BYTES_MAX: usize = 8 << 20;
/// Of RocksDB's own log.
const INFO_LOG_FILES_MAX: usize = 4;

/// Settings of a store. The sizes are for the whole store, not for each family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Whose store it is.
    pub identity: Identity,
    /// Bytes of cached blocks, filters and indexes.
    pub cache_bytes: usize,
    /// Bytes of memtables of all families.
    pub memtable_bytes_max: usize,
    /// Bytes of write-ahead log that a restart may have to read again.
    pub wal_bytes_max: u64,
    /// Threads for flushes and compactions.
    pub background_threads: i32,
}

impl StoreConfig {
    /// The usual sizes: about half a gigabyte of memory at most.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            cache_bytes: 256 << 20,
            memtable_bytes_max: 256 << 20,
            wal_bytes_max: 512 << 20,
            background_threads: 2,
        }
    }
}

/// How to read the log when opening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recovery {
    /// A torn record at the log's end is what a power failure leaves, and was not reported durable. A bad one
    /// anywhere else stops the start: RocksDB's default would silently drop all that follows it.
    Whole,
    /// Everything before the first gap, nothing after it. Only where a gap of the kind that [`is_gap`] knows
    /// has been found.
    UpToGap,
    /// As `Whole`, and no log at all will do. Only for a store that must catch up with a peer anyhow: one that
    /// was killed while it was made, or that was copied without its log.
    Unlogged,
}

/// Whether opening failed because a log file lacks its end while a newer one is there. The kernel may write
/// them back in this order. Before a sync is reported, both are synced, so what lies beyond such a gap was
/// never durable; that RocksDB would then put later batches on top of missing ones is why we look for it.
pub(crate) fn is_gap(error: &str) -> bool {
    error.contains("Mismatched last sequence number recorded in the WAL")
        || error.contains("Mismatched size of the WAL")
}

/// Whether opening failed because there is no log file, which a store always has once it is made.
pub(crate) fn is_unlogged(error: &str) -> bool {
    error.contains("Opening an existing DB with no WAL files")
}

/// Options of the database as a whole.
pub(crate) fn database_options(config: &StoreConfig, recovery: Recovery) -> Result<Options, rocksdb::Error> {
    // Each log file names its predecessor's end. The bindings have no setter of their own for it.
    let verify = format!("track_and_verify_wals={}", recovery != Recovery::Unlogged);
    let mut options = Options::default().get_options_from_string(verify)?;
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_wal_recovery_mode(match recovery {
        Recovery::Whole | Recovery::Unlogged => DBRecoveryMode::TolerateCorruptedTailRecords,
        Recovery::UpToGap => DBRecoveryMode::PointInTime,
    });
    // Writes stay in the process's buffer until the commit thread flushes and syncs them for everybody.
    options.set_manual_wal_flush(true);
    // It would let a reader see a later write without an earlier one.
    options.set_unordered_write(false);
    options.set_max_total_wal_size(config.wal_bytes_max);
    options.set_db_write_buffer_size(config.memtable_bytes_max);
    options.set_max_background_jobs(config.background_threads);
    options.set_bytes_per_sync(BYTES_PER_SYNC);
    // Files are deleted in the background, not by the thread that reads or writes.
    options.set_avoid_unnecessary_blocking_io(true);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOG_FILES_MAX);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    Ok(options)
}

/// Every family with its options.
pub(crate) fn families(config: &StoreConfig, cache: &Cache) -> Result<Vec<ColumnFamilyDescriptor>, rocksdb::Error> {
    let family = |cf: Cf| Ok(ColumnFamilyDescriptor::new(cf.name(), family_options(config, cache, cf)?));
    Cf::ALL.into_iter().map(family).collect()
}

pub(crate) fn family_options(config: &StoreConfig, cache: &Cache, cf: Cf) -> Result<Options, rocksdb::Error> {
    // Rows of a room, of an origin, of a shard come in rising order: a new one is looked for beside the last of its
    // prefix instead of from the memtable's head. The bindings have no setter of their own for it.
    let hint = format!("memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.{}", rising_prefix_bytes(cf));
    let mut options = Options::default().get_options_from_string(hint)?;
    options.set_block_based_table_factory(&table_options(cache));
    options.set_write_buffer_size(config.memtable_bytes_max / 4);
    options.set_max_write_buffer_number(MEMTABLES_MAX);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_bottommost_compression_type(DBCompressionType::Zstd);
    // No filters on the last level is what this would mean.
    options.set_optimize_filters_for_hits(false);
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO);
    options.set_memtable_whole_key_filtering(true);
    if has_room_prefix(cf) {
        options.set_prefix_extractor(SliceTransform::create_fixed_prefix(ROOM_PREFIX_BYTES));
    }
    Ok(options)
}

/// Bytes of a key within which a family's rows are written in rising order, or the same row again and again.
fn rising_prefix_bytes(cf: Cf) -> usize {
    match cf {
        // Shard and origin; shard.
        Cf::Log => 14,
        Cf::Order | Cf::Meta => 2,
        Cf::Op | Cf::Request | Cf::Element | Cf::Head | Cf::Read => ROOM_PREFIX_BYTES,
        Cf::Local => 1,
    }
}

fn table_options(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    table.set_whole_key_filtering(true);
    // Filters and indexes count against the cache, so that memory stays bounded as the data grows.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

/// Whether the family's keys start with a room.
pub(crate) fn has_room_prefix(cf: Cf) -> bool {
    match cf {
        Cf::Op | Cf::Request | Cf::Element | Cf::Head | Cf::Read => true,
        Cf::Log | Cf::Order | Cf::Meta | Cf::Local => false,
    }
}
