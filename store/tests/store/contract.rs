//! The contract of the view, rule by rule, on every implementation.

use std::ops::ControlFlow;

use bytes::Bytes;
use causeway_replica::view::{Batch, Cf, View};

use crate::subject::{FACTORIES, Subject};

fn key(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A key of a room: the room's 16 bytes, then the rest.
fn in_room(room: u8, rest: &str) -> Bytes {
    [&[room; 16][..], rest.as_bytes()].concat().into()
}

fn put(cf: Cf, rows: &[(&Bytes, &str)]) -> Batch {
    let mut batch = Batch::default();
    rows.iter().for_each(|(k, v)| batch.put(cf, (*k).clone(), key(v)));
    batch
}

fn keys(view: &dyn View, cf: Cf, (start, end): (&[u8], &[u8]), back: bool, most: usize) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        assert!(found.len() < most, "visited again after a break");
        found.push(Bytes::copy_from_slice(key));
        if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if back { view.scan_back(cf, start, end, &mut visit) } else { view.scan(cf, start, end, &mut visit) }.unwrap();
    found
}

fn on_each(check: impl Fn(&mut dyn Subject)) {
    for (name, factory) in FACTORIES {
        println!("on {name}");
        check(&mut *factory());
    }
}

fn get(subject: &dyn Subject, cf: Cf, k: &Bytes) -> Option<Bytes> {
    let mut found = None;
    subject.view(&mut |view| found = view.get(cf, k).unwrap());
    found
}

/// Forward, and checks that backward is the reverse.
fn scan(subject: &dyn Subject, cf: Cf, start: &Bytes, end: &Bytes) -> Vec<Bytes> {
    let mut found = Vec::new();
    subject.view(&mut |view| {
        found = keys(view, cf, (start, end), false, usize::MAX);
        let mut back = keys(view, cf, (start, end), true, usize::MAX);
        back.reverse();
        assert_eq!(found, back);
    });
    found
}

#[test]
fn a_written_row_is_seen_at_once_in_its_family_alone() {
    on_each(|subject| {
        let k = in_room(9, "k");
        for cf in Cf::ALL {
            assert_eq!(get(subject, cf, &k), None);
            subject.apply(put(cf, &[(&k, cf.name())]));
        }
        for cf in Cf::ALL {
            assert_eq!(get(subject, cf, &k), Some(key(cf.name())));
            // Not from the start: a store has its identity row in `local`.
            assert_eq!(scan(subject, cf, &in_room(2, ""), &key("~")), std::slice::from_ref(&k));
        }
    });
}

#[test]
fn the_last_write_of_a_key_counts() {
    on_each(|subject| {
        let k = key("k");
        subject.apply(put(Cf::Meta, &[(&k, "one")]));
        subject.apply(put(Cf::Meta, &[(&k, "two")]));
        assert_eq!(get(subject, Cf::Meta, &k), Some(key("two")));
        let mut batch = put(Cf::Meta, &[(&k, "three")]);
        batch.delete(Cf::Meta, k.clone());
        subject.apply(batch);
        assert_eq!(get(subject, Cf::Meta, &k), None);
        assert!(scan(subject, Cf::Meta, &key(""), &key("~")).is_empty());
    });
}

#[test]
fn an_empty_value_is_a_row() {
    on_each(|subject| {
        subject.apply(put(Cf::Head, &[(&in_room(1, "k"), "")]));
        assert_eq!(get(subject, Cf::Head, &in_room(1, "k")), Some(Bytes::new()));
    });
}

#[test]
fn a_scan_is_in_byte_order_and_its_end_is_exclusive() {
    on_each(|subject| {
        let rows: Vec<Bytes> =
            [&[0][..], &[0, 0], &[1], &[0x7f], &[0x80, 1], &[0xff], &[0xff, 0xff]].map(Bytes::copy_from_slice).into();
        for cf in [Cf::Order, Cf::Request] {
            for k in rows.iter().rev() {
                subject.apply(put(cf, &[(k, "v")]));
            }
            assert_eq!(scan(subject, cf, &Bytes::new(), &Bytes::from(vec![0xff; 3])), rows);
            assert_eq!(scan(subject, cf, &rows[1], &rows[4]), rows[1..4]);
            assert_eq!(scan(subject, cf, &rows[2], &rows[2]), rows[..0]);
            assert_eq!(scan(subject, cf, &rows[4], &rows[1]), rows[..0], "a range that ends before it starts");
        }
    });
}

#[test]
fn a_scan_crosses_rooms_whatever_lies_between_its_bounds() {
    on_each(|subject| {
        for cf in [Cf::Op, Cf::Request, Cf::Element, Cf::Head, Cf::Read] {
            let rows: Vec<Bytes> = (1..=5).flat_map(|room| ["a", "b"].map(|rest| in_room(room, rest))).collect();
            for k in &rows {
                subject.apply(put(cf, &[(k, "v")]));
            }
            // Within one room, from a room that has no rows, over several, to a room's very start.
            assert_eq!(scan(subject, cf, &in_room(2, "a"), &in_room(2, "b")), rows[2..3]);
            assert_eq!(scan(subject, cf, &in_room(2, ""), &in_room(2, "z")), rows[2..4]);
            assert_eq!(scan(subject, cf, &in_room(0, "x"), &in_room(2, "b")), rows[..3]);
            assert_eq!(scan(subject, cf, &in_room(2, "b"), &in_room(4, "")), rows[3..6]);
            assert_eq!(scan(subject, cf, &in_room(5, "a"), &in_room(9, "x")), rows[8..]);
            assert_eq!(scan(subject, cf, &Bytes::new(), &Bytes::from(vec![0xff; 20])), rows);
            let next = Bytes::from([&[2; 15][..], &[3]].concat());
            assert_eq!(scan(subject, cf, &in_room(2, "b"), &next), rows[3..4]);
            let within = Bytes::from([&[2; 15][..], &[3, 0]].concat());
            assert_eq!(scan(subject, cf, &in_room(2, "a"), &within), rows[2..4]);
        }
    });
}

#[test]
fn a_room_of_the_highest_id_is_scanned_like_any() {
    on_each(|subject| {
        subject.apply(put(Cf::Op, &[(&in_room(0xff, "a"), "v"), (&in_room(0xfe, "a"), "v")]));
        let (start, end) = causeway_replica::key::prefix_range(&[0xff; 16]);
        assert_eq!(scan(subject, Cf::Op, &start, &end), [in_room(0xff, "a")]);
    });
}

#[test]
fn a_visit_that_breaks_is_the_last() {
    on_each(|subject| {
        let rows = ["a", "b", "c", "d"].map(key);
        subject.apply(put(Cf::Log, &[(&rows[0], ""), (&rows[2], "")]));
        subject.apply(put(Cf::Log, &[(&rows[1], ""), (&rows[3], "")]));
        subject.view(&mut |view| {
            for most in 1..=4 {
                assert_eq!(keys(view, Cf::Log, (b"", b"z"), false, most), rows[..most]);
                let mut back = keys(view, Cf::Log, (b"", b"z"), true, most);
                back.reverse();
                assert_eq!(back, rows[4 - most..]);
            }
        });
    });
}

#[test]
fn a_range_deletion_takes_what_was_there_and_nothing_that_follows() {
    on_each(|subject| {
        for cf in [Cf::Log, Cf::Request] {
            let rows = ["a", "b", "c", "d"].map(key);
            subject.apply(put(cf, &rows.each_ref().map(|k| (k, "old"))));
            let mut batch = put(cf, &[(&rows[2], "soon gone")]);
            batch.delete_range(cf, rows[0].clone(), rows[3].clone());
            batch.put(cf, rows[1].clone(), key("new"));
            // Of these, one deletes nothing and one is no range.
            batch.delete_range(cf, rows[3].clone(), rows[3].clone());
            batch.delete_range(cf, rows[3].clone(), rows[0].clone());
            subject.apply(batch);
            assert_eq!(scan(subject, cf, &key(""), &key("z")), [rows[1].clone(), rows[3].clone()]);
            assert_eq!(get(subject, cf, &rows[0]), None);
            assert_eq!(get(subject, cf, &rows[1]), Some(key("new")));
            subject.apply(put(cf, &[(&rows[0], "again")]));
            assert_eq!(get(subject, cf, &rows[0]), Some(key("again")));
        }
    });
}

#[test]
fn an_empty_batch_changes_nothing() {
    on_each(|subject| {
        subject.apply(put(Cf::Local, &[(&key("zz"), "v")]));
        subject.apply(Batch::default());
        assert_eq!(get(subject, Cf::Local, &key("zz")), Some(key("v")));
    });
}
