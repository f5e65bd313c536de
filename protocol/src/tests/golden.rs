//! Records have these bytes for good: a change here breaks every client and every disk.

use std::collections::{BTreeMap, BTreeSet};

use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::samples::all;
use super::schema::records;

/// A line a sample: the record, its bytes.
const GOLDEN: &str = include_str!("golden.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_record_has_its_golden_bytes() {
    let lines: Vec<String> =
        all().iter().map(|sample| format!("{} {}", sample.record, hex(&sample.bytes)).trim_end().to_owned()).collect();
    let golden: Vec<&str> = GOLDEN.lines().collect();
    for (line, golden) in lines.iter().zip(&golden) {
        assert_eq!(line, golden);
    }
    assert_eq!(lines.len(), golden.len(), "write the new ones:\n{}", lines.join("\n"));
}

#[test]
fn every_record_decodes_to_what_encodes_to_the_same_bytes() {
    for sample in all() {
        assert_eq!((sample.reencode)(&sample.bytes).as_ref(), Some(&sample.bytes), "{}", sample.record);
    }
}

/// The samples leave out no record and no field.
#[test]
fn the_samples_are_the_whole_schema() {
    let mut sampled: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for sample in all() {
        sampled.entry(sample.record.to_owned()).or_default().extend(tags(&sample.bytes));
    }
    assert_eq!(sampled, records());
}

/// The tags of a record's own fields.
fn tags(mut bytes: &[u8]) -> BTreeSet<u64> {
    let mut tags = BTreeSet::new();
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes).unwrap();
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).unwrap();
        tags.insert(tag.into());
    }
    tags
}

/// Worked out by hand from the encoding's specification, so that the golden file is not just what came out.
#[test]
fn bytes_by_hand() {
    let find = |record: &str| all().into_iter().find(|sample| sample.record == record).map(|sample| hex(&sample.bytes));
    let origin = "0801".to_owned() + "10ac02" + "198877665544332211";
    assert_eq!(find("Origin"), Some(origin.clone()));
    assert_eq!(find("Dot"), Some(format!("0a0e{origin}10ac02")));
    assert_eq!(find("RequestId"), Some("090807060504030201111817161514131211".to_owned()));
    assert_eq!(find("Ping"), Some("08ac02".to_owned()));
    assert_eq!(find("Join"), Some(String::new()));
    assert_eq!(find("Create"), Some("0a03ebb0a9100118012203626f62".to_owned()));
}
