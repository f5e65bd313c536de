//! Backups of a running store.

use std::fs;
use std::path::Path;

use causeway_replica::view::Cf;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{Cache, DB};

use crate::config::{self, Recovery};
use crate::identity::{self, Mark};
use crate::{Provenance, Store, StoreConfig, StoreError};

/// The copy is opened only to drop a family: it needs next to no memory.
const COPY_CACHE_BYTES: usize = 1 << 20;

impl Store {
    /// Makes a consistent copy in a new folder on the same filesystem: by hard links, while writes go on. The
    /// copy holds all that was written before this call. It is marked restored and has neither this node's
    /// identity nor anything else of the `local` family: a node that starts from it draws a new incarnation,
    /// catches up with a peer, and never takes up this node's place in the log.
    pub fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        let failed = |e: &dyn ToString| StoreError::io("making a backup", e.to_string());
        if target.exists() {
            return Err(failed(&format!("{} exists already", target.display())));
        }
        // Under its final name only when it is whole, without identity and marked.
        let mut partial = target.as_os_str().to_owned();
        partial.push(".partial");
        let partial = Path::new(&partial);
        if partial.exists() {
            fs::remove_dir_all(partial).map_err(|e| failed(&e))?;
        }
        let checkpoint = Checkpoint::new(self.db()).map_err(|e| failed(&e))?;
        checkpoint.create_checkpoint(partial).map_err(|e| failed(&e))?;
        self.strip(partial).map_err(|e| failed(&e))?;
        Mark::new(Provenance::Restored, &self.identity()).write(partial)?;
        fs::rename(partial, target).map_err(|e| failed(&e))?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        identity::sync_folder(parent).map_err(|e| failed(&e))
    }

    /// Empties the `local` family of a copy.
    fn strip(&self, copy: &Path) -> Result<(), rocksdb::Error> {
        let config = StoreConfig { cache_bytes: COPY_CACHE_BYTES, ..StoreConfig::new(self.identity()) };
        let cache = Cache::new_lru_cache(config.cache_bytes);
        let mut options = config::database_options(&config, Recovery::Whole)?;
        options.create_if_missing(false);
        let mut db = DB::open_cf_descriptors(&options, copy, config::families(&config, &cache)?)?;
        db.drop_cf(Cf::Local.name())?;
        db.create_cf(Cf::Local.name(), &config::family_options(&config, &cache, Cf::Local)?)?;
        db.flush_wal(true)
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
