//! Every implementation of the view, behind one face.

use std::path::Path;

use causeway_replica::view::{Batch, MemView, Overlay, View};
use causeway_store::{Identity, Store, StoreConfig};
use tempfile::TempDir;

pub const IDENTITY: Identity = Identity { cluster: [7; 16], site: 1, node: 0, shard_count: 16 };

pub fn config() -> StoreConfig {
    StoreConfig { cache_bytes: 8 << 20, memtable_bytes_max: 8 << 20, ..StoreConfig::new(IDENTITY) }
}

pub fn open(path: &Path) -> Store {
    Store::open(path, &config()).unwrap()
}

/// A view that batches are applied to.
pub trait Subject {
    fn apply(&mut self, batch: Batch);
    fn view(&self, look: &mut dyn FnMut(&dyn View));
}

impl Subject for MemView {
    fn apply(&mut self, batch: Batch) {
        MemView::apply(self, &batch);
    }
    fn view(&self, look: &mut dyn FnMut(&dyn View)) {
        look(self);
    }
}

/// The last batch is not applied but laid over what is.
pub struct Overlaid<S> {
    base: S,
    last: Batch,
}

impl<S: Subject> Subject for Overlaid<S> {
    fn apply(&mut self, batch: Batch) {
        self.base.apply(std::mem::replace(&mut self.last, batch));
    }
    fn view(&self, look: &mut dyn FnMut(&dyn View)) {
        self.base.view(&mut |base| look(&Overlay { base, batch: &self.last }));
    }
}

/// What happens to RocksDB after each batch.
#[derive(Clone, Copy)]
enum After {
    Nothing,
    /// Rows go to files, so that filters and prefixes take part in reads.
    Flush,
    /// Rows go through the log.
    Reopen,
}

struct Rocks {
    store: Option<Store>,
    after: After,
    folder: TempDir,
}

impl Rocks {
    fn new(after: After) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Some(open(folder.path())), after, folder }
    }
}

impl Subject for Rocks {
    fn apply(&mut self, batch: Batch) {
        let store = self.store.as_ref().unwrap();
        let ticket = store.write(&batch).unwrap();
        match self.after {
            After::Nothing => {}
            After::Flush => store.flush().unwrap(),
            After::Reopen => {
                let commits = store.start_commits(|_| {}, |error| panic!("{error}")).unwrap();
                assert_eq!(commits.stop().unwrap(), ticket);
                self.store = None;
                self.store = Some(open(self.folder.path()));
            }
        }
    }
    fn view(&self, look: &mut dyn FnMut(&dyn View)) {
        look(self.store.as_ref().unwrap());
    }
}

/// A maker of fresh subjects, with its name for messages.
pub type Factory = (&'static str, fn() -> Box<dyn Subject>);

pub const FACTORIES: [Factory; 6] = [
    ("memory", || Box::new(MemView::default())),
    ("memory, overlaid", || Box::new(Overlaid { base: MemView::default(), last: Batch::default() })),
    ("rocksdb", || Box::new(Rocks::new(After::Nothing))),
    ("rocksdb, overlaid", || Box::new(Overlaid { base: Rocks::new(After::Flush), last: Batch::default() })),
    ("rocksdb, flushed", || Box::new(Rocks::new(After::Flush))),
    ("rocksdb, reopened", || Box::new(Rocks::new(After::Reopen))),
];
