//! Random histories on every implementation against the plainest model there is.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use causeway_replica::view::{Batch, Cf, View};
use proptest::prelude::*;

use crate::subject::FACTORIES;

/// A family with a room prefix, one without.
const FAMILIES: [Cf; 2] = [Cf::Request, Cf::Log];

#[derive(Clone, Debug)]
enum Change {
    Put(Cf, Bytes, Bytes),
    Delete(Cf, Bytes),
}

#[derive(Clone, Debug)]
struct Write {
    ranges: Vec<(Cf, Bytes, Bytes)>,
    changes: Vec<Change>,
}

type Model = BTreeMap<(Cf, Bytes), Bytes>;

fn cf() -> impl Strategy<Value = Cf> {
    prop::sample::select(FAMILIES.to_vec())
}

/// Few keys, so that they meet: rooms next to each other, keys shorter than a room, and the edges.
fn key() -> impl Strategy<Value = Bytes> {
    let room = prop::sample::select(vec![[1_u8; 16], [2; 16], [0xff; 16]]);
    let rest = prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0xff]), 0..3);
    prop_oneof![
        8 => (room, rest).prop_map(|(room, rest)| Bytes::from([&room[..], &rest].concat())),
        1 => prop::collection::vec(prop::sample::select(vec![0_u8, 1, 2, 0xff]), 0..3).prop_map(Bytes::from),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let change = prop_oneof![
        3 => (cf(), key(), prop::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(cf, key, value)| Change::Put(cf, key, value.into())),
        1 => (cf(), key()).prop_map(|(cf, key)| Change::Delete(cf, key)),
    ];
    let ranges = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((cf(), key(), key()), 1..3),
    ];
    (ranges, prop::collection::vec(change, 0..8)).prop_map(|(ranges, changes)| Write { ranges, changes })
}

fn batch(write: &Write) -> Batch {
    let mut batch = Batch::default();
    for (cf, start, end) in &write.ranges {
        batch.delete_range(*cf, start.clone(), end.clone());
    }
    for change in &write.changes {
        match change {
            Change::Put(cf, key, value) => batch.put(*cf, key.clone(), value.clone()),
            Change::Delete(cf, key) => batch.delete(*cf, key.clone()),
        }
    }
    batch
}

fn apply(model: &mut Model, write: &Write) {
    for (cf, start, end) in &write.ranges {
        model.retain(|(c, key), _| c != cf || key < start || key >= end);
    }
    for change in &write.changes {
        match change {
            Change::Put(cf, key, value) => model.insert((*cf, key.clone()), value.clone()),
            Change::Delete(cf, key) => model.remove(&(*cf, key.clone())),
        };
    }
}

fn compare(model: &Model, view: &dyn View, (start, end): (&Bytes, &Bytes), most: usize) {
    for cf in FAMILIES {
        for key in [start, end] {
            assert_eq!(view.get(cf, key).unwrap().as_ref(), model.get(&(cf, key.clone())));
        }
        let within = |(c, key): &(Cf, Bytes)| *c == cf && start <= key && key < end;
        let rows = || model.iter().filter(|(k, _)| within(k)).map(|((_, key), value)| (key.clone(), value.clone()));
        for back in [false, true] {
            let want: Vec<_> = if back { rows().rev().take(most).collect() } else { rows().take(most).collect() };
            let mut found = Vec::new();
            let mut visit = |key: &[u8], value: &[u8]| {
                found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let scanned =
                if back { view.scan_back(cf, start, end, &mut visit) } else { view.scan(cf, start, end, &mut visit) };
            scanned.unwrap();
            assert_eq!(found, want, "{cf:?} {start:?}..{end:?} back: {back}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_implementation_agrees_with_the_model(
        history in prop::collection::vec((write(), prop::collection::vec((key(), key(), 1_usize..6), 1..6)), 1..10),
    ) {
        for (name, factory) in FACTORIES {
            let mut subject = factory();
            let mut model = Model::new();
            for (write, looks) in &history {
                subject.apply(batch(write));
                apply(&mut model, write);
                for (start, end, most) in looks {
                    println!("{name}");
                    subject.view(&mut |view| compare(&model, view, (start, end), *most));
                }
            }
        }
    }
}
