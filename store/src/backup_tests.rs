use bytes::Bytes;
use causeway_protocol::ShardId;
use causeway_replica::key::Key;
use causeway_replica::view::{Cf, View};

use crate::store::tests::{IDENTITY, config, row};
use crate::{Identity, Provenance, Store, StoreConfig, StoreError};

#[test]
fn a_backup_holds_the_data_and_nothing_of_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db"), &config()).unwrap();
    store.set_intact().unwrap();
    let staged = Key::Staged(ShardId(1), Cf::Op, Bytes::from_static(b"k")).encode();
    let mut batch = row(Cf::Meta, "k", "old");
    batch.put(Cf::Local, staged.clone(), Bytes::from_static(b"row"));
    store.write(&batch).unwrap();

    let copy = folder.path().join("copy");
    store.checkpoint(&copy).unwrap();
    store.write(&row(Cf::Meta, "k", "new")).unwrap();
    assert!(matches!(store.checkpoint(&copy), Err(StoreError::Io { .. })), "it does not overwrite a backup");
    assert_eq!(store.get(Cf::Local, &staged).unwrap().as_deref(), Some(&b"row"[..]), "the original keeps its own");
    assert_eq!(store.provenance().unwrap(), Provenance::Intact);

    // Any node of the cluster may start from it; no other cluster may.
    let other = StoreConfig { identity: Identity { cluster: [1; 16], ..IDENTITY }, ..config() };
    assert!(matches!(Store::open(&copy, &other), Err(StoreError::Identity { field: "cluster", .. })));
    let node = StoreConfig { identity: Identity { site: 3, node: 4, ..IDENTITY }, ..config() };
    let restored = Store::open(&copy, &node).unwrap();
    assert_eq!(restored.provenance().unwrap(), Provenance::Restored);
    assert_eq!(restored.get(Cf::Meta, b"k").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(restored.get(Cf::Local, &staged).unwrap(), None);
}

#[test]
fn a_backup_that_was_cut_short_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db"), &config()).unwrap();
    store.write(&row(Cf::Meta, "k", "v")).unwrap();
    let copy = folder.path().join("copy");
    std::fs::create_dir(folder.path().join("copy.partial")).unwrap();
    store.checkpoint(&copy).unwrap();
    assert!(!folder.path().join("copy.partial").exists());
    assert_eq!(Store::open(&copy, &config()).unwrap().get(Cf::Meta, b"k").unwrap().as_deref(), Some(&b"v"[..]));
}
