//! As much of the `.proto` files as the tests need: the records and their fields' tags.

use std::collections::{BTreeMap, BTreeSet};

const FILES: [&str; 5] = [
    include_str!("../../../proto/causeway/v1/ids.proto"),
    include_str!("../../../proto/causeway/v1/op.proto"),
    include_str!("../../../proto/causeway/v1/client.proto"),
    include_str!("../../../proto/causeway/v1/peer.proto"),
    include_str!("../../../proto/causeway/v1/record.proto"),
];

/// Record -> tags of its fields, those within a `oneof` too. Messages are not nested in this schema.
pub fn records() -> BTreeMap<String, BTreeSet<u64>> {
    let mut records = BTreeMap::new();
    for file in FILES {
        let text: String = file.lines().map(|line| line.split("//").next().unwrap().to_owned() + "\n").collect();
        for part in text.split("\nmessage ").skip(1) {
            let (name, body) = part.split_once('{').unwrap();
            let tag = |field: &str| field.rsplit_once('=').map(|(_, tag)| tag.trim().parse().unwrap());
            let fields = body.split(';').filter(|field| !field.trim_start().starts_with("reserved"));
            let new = records.insert(name.trim().to_owned(), fields.filter_map(tag).collect()).is_none();
            assert!(new, "{name} is there twice");
        }
    }
    records
}

#[test]
fn the_schema_is_read_as_it_is_written() {
    let records = records();
    assert_eq!(records["Submit"], BTreeSet::from([1, 2, 3]));
    assert_eq!(
        records["Request"],
        BTreeSet::from([1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 29, 32, 33])
    );
    assert_eq!(records["Join"], BTreeSet::new());
    assert_eq!(records["RoomClosed"], BTreeSet::from([1]));
    assert_eq!(records["Header"].len(), 13);
}
