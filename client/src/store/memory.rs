//! A store that lives as long as the process.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Held, Saved, Store};
use crate::machine::Change;

/// Keeps everything in memory. Clones share what they hold, so that a client of the same process can go on where
/// another one stopped.
#[derive(Clone, Default)]
pub struct MemoryStore {
    held: Arc<Mutex<Held>>,
}

impl MemoryStore {
    /// An empty one.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Client;
    /// use causeway_client::store::MemoryStore;
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (config, later) = (site.config("ann")?, site.config("ann")?);
    /// let store = MemoryStore::new();
    /// let ann = Client::connect(config.store(store.clone())).await?;
    /// ann.close().await;
    /// // Goes on where the first one stopped.
    /// let ann = Client::connect(later.store(store)).await?;
    /// # Ok(()) });
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Every change is applied whole, so what a panic left behind is sound.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> io::Result<Saved> {
        Ok(self.held().saved())
    }

    fn save(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut held = self.held();
        changes.iter().for_each(|change| held.apply(change));
        Ok(())
    }
}
