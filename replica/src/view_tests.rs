//! A batch laid over a view shows what the view will show once the batch is applied.

use std::ops::ControlFlow::{Break, Continue};

use proptest::prelude::*;

use super::*;

const FAMILIES: [Cf; 2] = [Cf::Op, Cf::Element];

#[derive(Clone, Debug)]
enum Write {
    Put(Cf, Bytes, Bytes),
    Delete(Cf, Bytes),
    DeleteRange(Cf, Bytes, Bytes),
}

impl Write {
    fn add_to(self, batch: &mut Batch) {
        match self {
            Write::Put(cf, key, value) => batch.put(cf, key, value),
            Write::Delete(cf, key) => batch.delete(cf, key),
            Write::DeleteRange(cf, start, end) => batch.delete_range(cf, start, end),
        }
    }
}

/// Few and short, so that they meet; with 0 and 255 at the ends of the order.
fn key() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![Just(0u8), Just(1), Just(2), Just(255)];
    prop::collection::vec(byte, 0..3).prop_map(Bytes::from)
}

fn family() -> impl Strategy<Value = Cf> {
    (0..FAMILIES.len()).prop_map(|n| FAMILIES[n])
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => (family(), key(), any::<[u8; 1]>()).prop_map(|(cf, key, value)| Write::Put(cf, key, value.to_vec().into())),
        3 => (family(), key()).prop_map(|(cf, key)| Write::Delete(cf, key)),
        1 => (family(), key(), key()).prop_map(|(cf, a, b)| Write::DeleteRange(cf, a.clone().min(b.clone()), a.max(b))),
    ]
}

fn batch() -> impl Strategy<Value = Batch> {
    prop::collection::vec(write(), 0..14).prop_map(|writes| {
        let mut batch = Batch::default();
        writes.into_iter().for_each(|write| write.add_to(&mut batch));
        batch
    })
}

fn base() -> impl Strategy<Value = MemView> {
    batch().prop_map(|batch| {
        let mut view = MemView::default();
        view.apply(&batch);
        view
    })
}

fn applied(base: &MemView, batch: &Batch) -> MemView {
    let mut view = base.clone();
    view.apply(batch);
    view
}

type Row = (Bytes, Bytes);

/// The rows of a scan that breaks at its `max`th.
fn rows(view: &dyn View, cf: Cf, (start, end): &(Bytes, Bytes), back: bool, max: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        assert!(rows.len() < max, "visited after a break");
        rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        if rows.len() < max { Continue(()) } else { Break(()) }
    };
    if back {
        view.scan_back(cf, start, end, &mut visit).unwrap();
    } else {
        view.scan(cf, start, end, &mut visit).unwrap();
    }
    rows
}

/// The same rows by the plainest means.
fn model(view: &MemView, cf: Cf, (start, end): &(Bytes, Bytes), back: bool, max: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = view
        .family(cf)
        .filter(|(key, _)| start <= key && *key < end)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if back {
        rows.reverse();
    }
    rows.truncate(max);
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn an_overlay_is_the_view_to_come(
        base in base(), batch in batch(), range in (key(), key()), back in any::<bool>(), max in 1usize..8, key in key(),
    ) {
        let after = applied(&base, &batch);
        let over = Overlay { base: &base, batch: &batch };
        for cf in FAMILIES {
            prop_assert_eq!(rows(&over, cf, &range, back, max), model(&after, cf, &range, back, max));
            prop_assert_eq!(rows(&after, cf, &range, back, max), model(&after, cf, &range, back, max));
            prop_assert_eq!(over.get(cf, &key).unwrap(), after.get(cf, &key).unwrap());
        }
    }

    #[test]
    fn overlays_lie_over_overlays(
        base in base(), lower in batch(), upper in batch(), range in (key(), key()), back in any::<bool>(),
        max in 1usize..8, key in key(),
    ) {
        let after = applied(&applied(&base, &lower), &upper);
        let under = Overlay { base: &base, batch: &lower };
        let over = Overlay { base: &under, batch: &upper };
        for cf in FAMILIES {
            prop_assert_eq!(rows(&over, cf, &range, back, max), model(&after, cf, &range, back, max));
            prop_assert_eq!(over.get(cf, &key).unwrap(), after.get(cf, &key).unwrap());
        }
    }

    /// Writes in one batch are those writes one after the other, range deletions too.
    #[test]
    fn a_batch_is_its_writes_in_their_order(base in base(), writes in prop::collection::vec(write(), 0..14)) {
        let mut batch = Batch::default();
        let mut after = base.clone();
        for write in writes {
            write.clone().add_to(&mut batch);
            let mut single = Batch::default();
            write.add_to(&mut single);
            after.apply(&single);
        }
        let at_once = applied(&base, &batch);
        for cf in FAMILIES {
            prop_assert!(at_once.family(cf).eq(after.family(cf)), "{:?} {:?}", at_once, after);
        }
    }

    /// One write of two batches is what two writes are.
    #[test]
    fn appending_is_applying_one_after_the_other(base in base(), first in batch(), second in batch()) {
        let hit = |(cf, start, end): &(Cf, Bytes, Bytes)| {
            first.rows().any(|(family, key, _)| family == *cf && start <= key && key < end)
        };
        if second.ranges().iter().any(hit) {
            return Ok(());
        }
        let mut both = first.clone();
        both.append(second.clone());
        let (at_once, after) = (applied(&base, &both), applied(&applied(&base, &first), &second));
        prop_assert!(FAMILIES.iter().all(|cf| at_once.family(*cf).eq(after.family(*cf))));
        prop_assert_eq!(both.bytes(), first.bytes() + second.bytes());
    }

    #[test]
    fn a_batch_is_empty_if_it_writes_nothing(batch in batch()) {
        prop_assert_eq!(batch.is_empty(), batch.rows().next().is_none() && batch.ranges().is_empty());
    }
}

#[test]
#[should_panic(expected = "a range deletion in op hits a row of the same batch")]
fn a_range_deletion_after_a_row_that_it_hits_is_a_bug() {
    let mut batch = Batch::default();
    batch.put(Cf::Op, Bytes::from_static(b"b"), Bytes::new());
    let mut later = Batch::default();
    later.delete_range(Cf::Op, Bytes::from_static(b"a"), Bytes::from_static(b"c"));
    batch.append(later);
}

#[test]
fn a_deletion_that_leaves_a_family_empty_equals_one_never_written() {
    let (cf, key) = (Cf::Op, Bytes::from_static(b"k"));
    let mut written = Batch::default();
    written.put(cf, key.clone(), Bytes::new());
    let mut deleted = Batch::default();
    deleted.delete(cf, key);
    let view = applied(&applied(&MemView::default(), &written), &deleted);
    assert_eq!(view.family(cf).count(), 0);
}
