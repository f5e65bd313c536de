use std::path::Path;

use causeway_protocol::{Message, wire};

use super::{FORMAT, Identity, Mark, Provenance};
use crate::StoreError;

const IDENTITY: Identity = Identity { cluster: [0xab; 16], site: 2, node: 3, shard_count: 256 };

fn named(result: Result<(), StoreError>) -> Option<&'static str> {
    match result {
        Ok(()) => None,
        Err(StoreError::Identity { field, .. }) => Some(field),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_identity_fits_itself_and_a_difference_is_named() {
    let row = IDENTITY.encode();
    let check = |identity: Identity| named(identity.check(Path::new("x"), &row));
    assert_eq!(check(IDENTITY), None);
    assert_eq!(check(Identity { cluster: [1; 16], ..IDENTITY }), Some("cluster"));
    assert_eq!(check(Identity { site: 9, ..IDENTITY }), Some("site"));
    assert_eq!(check(Identity { node: 9, ..IDENTITY }), Some("node"));
    assert_eq!(check(Identity { shard_count: 9, ..IDENTITY }), Some("shard count"));

    let mut newer = wire::IdentityRow::decode(&row[..]).unwrap();
    newer.format = FORMAT + 1;
    assert_eq!(named(IDENTITY.check(Path::new("x"), &newer.encode_to_vec())), Some("format"));
    assert!(matches!(IDENTITY.check(Path::new("x"), b"\xff"), Err(StoreError::Open { .. })));
}

#[test]
fn the_message_names_folder_field_values_and_the_way_out() {
    let error = Identity { site: 9, ..IDENTITY }.check(Path::new("/data/db"), &IDENTITY.encode()).unwrap_err();
    let text = error.to_string();
    for part in ["/data/db", "site 2", "says 9", "own folder"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_mark_is_read_as_it_was_written_and_removed_for_good() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Mark::read(folder.path()), Ok(None));
    for provenance in [Provenance::New, Provenance::Restored] {
        let mark = Mark::new(provenance, &IDENTITY);
        mark.write(folder.path()).unwrap();
        assert_eq!(Mark::read(folder.path()), Ok(Some(mark)));
    }
    Mark::remove(folder.path()).unwrap();
    assert_eq!(Mark::read(folder.path()), Ok(None));
    assert_eq!(Mark::remove(folder.path()), Ok(()), "twice does no harm");
}

#[test]
fn a_mark_belongs_to_a_cluster_but_to_no_node() {
    let mark = Mark::new(Provenance::Restored, &IDENTITY);
    let check = |identity: Identity| named(mark.check(Path::new("x"), &identity));
    assert_eq!(check(Identity { site: 9, node: 9, ..IDENTITY }), None);
    assert_eq!(check(Identity { cluster: [1; 16], ..IDENTITY }), Some("cluster"));
    assert_eq!(check(Identity { shard_count: 9, ..IDENTITY }), Some("shard count"));
}

#[test]
fn a_mark_that_makes_no_sense_is_refused_not_ignored() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(super::file(folder.path()), "").unwrap();
    assert!(matches!(Mark::read(folder.path()), Err(StoreError::Open { .. })));
    std::fs::write(super::file(folder.path()), "provenance=?\nformat=1\ncluster=00\nshard_count=1\n").unwrap();
    assert_eq!(Mark::read(folder.path()).unwrap().unwrap().provenance, Provenance::Restored);
}
