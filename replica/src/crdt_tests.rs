//! The laws of the CRDTs, with the `crdts` crate as the oracle.

use std::collections::BTreeSet;

use bytes::Bytes;
use causeway_protocol::{DeviceId, Dot, Origin, RequestId, SiteId, Stamp, Vector, wire};
use crdts::{CmRDT, CvRDT, Orswot, ResetRemove, VClock};
use proptest::prelude::*;

use super::*;

/// One site's copy of one set element, with what it knows of requests, beside an `Orswot` of the same history.
#[derive(Clone, Default, PartialEq, Debug)]
struct Copy {
    row: wire::ElementRow,
    known: BTreeSet<RequestId>,
    oracle: Orswot<u8, u8>,
}

fn id(n: u64, site: u8) -> RequestId {
    RequestId { stamp: Stamp(n), device: DeviceId(site.into()) }
}

impl Copy {
    fn add(&mut self, site: u8, n: u64) {
        add_tag(&mut self.row, id(n, site), false);
        self.known.insert(id(n, site));
        let op = self.oracle.add(0, self.oracle.read_ctx().derive_add_ctx(site));
        self.oracle.apply(op);
    }

    fn remove(&mut self) {
        let saw: Vec<RequestId> = tags(&self.row).collect();
        remove_tags(&mut self.row, &saw);
        let op = self.oracle.rm(0, self.oracle.contains(&0).derive_rm_ctx());
        self.oracle.apply(op);
    }

    fn merge(&mut self, other: &Copy) {
        self.row = merge_element(&self.row, &other.row, |id| self.known.contains(&id), |id| other.known.contains(&id));
        self.known.extend(&other.known);
        self.oracle.merge(other.oracle.clone());
    }

    fn agrees(&self) -> bool {
        self.oracle.read().val.contains(&0) != self.row.tags.is_empty()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Merge(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let site = || 0..3u8;
    let step = prop_oneof![
        3 => site().prop_map(Step::Add),
        2 => site().prop_map(Step::Remove),
        3 => (site(), site()).prop_map(|(a, b)| Step::Merge(a, b)),
    ];
    prop::collection::vec(step, 1..60)
}

fn run(steps: &[Step]) -> [Copy; 3] {
    let mut sites: [Copy; 3] = Default::default();
    for (n, step) in steps.iter().enumerate() {
        match *step {
            Step::Add(site) => sites[usize::from(site)].add(site, n as u64 + 1),
            Step::Remove(site) => sites[usize::from(site)].remove(),
            Step::Merge(to, from) => {
                let from = sites[usize::from(from)].clone();
                sites[usize::from(to)].merge(&from);
            }
        }
    }
    sites
}

fn merged(a: &Copy, b: &Copy) -> (wire::ElementRow, BTreeSet<RequestId>) {
    let mut copy = a.clone();
    copy.merge(b);
    (copy.row, copy.known)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_element_agrees_with_orswot_in_every_history(steps in steps()) {
        for copy in run(&steps) {
            prop_assert!(copy.agrees(), "{copy:?}");
        }
    }

    #[test]
    fn merging_elements_is_commutative_associative_idempotent(steps in steps()) {
        let [a, b, c] = run(&steps);
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&a, &a), (a.row.clone(), a.known.clone()));
        let (mut left, mut bc) = (a.clone(), b.clone());
        left.merge(&b);
        left.merge(&c);
        bc.merge(&c);
        prop_assert_eq!((left.row.clone(), left.known.clone()), merged(&a, &bc));
        prop_assert!(left.agrees());
    }

    #[test]
    fn registers_converge_in_any_order(writes in prop::collection::vec((0..6u64, 0..3u8), 1..12), seed in any::<u64>()) {
        let apply = |writes: &[(u64, u8)]| {
            let mut row = None;
            for (marker, value) in writes {
                write_register(&mut row, id(*marker, 0), &Bytes::copy_from_slice(&[*value]));
            }
            row
        };
        let mut other = writes.clone();
        let len = other.len();
        (0..len).for_each(|n| other.swap(n, (seed.rotate_left(n as u32) as usize) % len));
        prop_assert_eq!(apply(&writes), apply(&other));
        let (front, back) = writes.split_at(len / 2);
        let mut row = apply(front);
        if let Some(theirs) = apply(back) {
            merge_register(&mut row, &theirs);
        }
        prop_assert_eq!(row, apply(&writes));
    }

    #[test]
    fn vectors_agree_with_vclock(a in dots(), b in dots()) {
        let (mine, theirs): (Vector, Vector) = (a.iter().copied().collect(), b.iter().copied().collect());
        let (clock, other) = (vclock(&a), vclock(&b));
        let mut joined = mine.clone();
        joined.join(&theirs);
        let mut oracle = clock.clone();
        oracle.merge(other.clone());
        prop_assert_eq!(&vclock(&joined.iter().collect::<Vec<_>>()), &oracle);
        prop_assert_eq!(vclock(&mine.meet(&theirs).iter().collect::<Vec<_>>()), lower_bound(&clock, &other));
        prop_assert_eq!(mine.covers_all(&theirs), clock >= other);
        let mut beyond = clock.clone();
        beyond.reset_remove(&other);
        prop_assert_eq!(vclock(&mine.beyond(&theirs).iter().collect::<Vec<_>>()), beyond);
        prop_assert_eq!(mine.hash() == theirs.hash(), mine == theirs);
        prop_assert_eq!(Vector::from_wire(&mine.to_wire()).unwrap(), mine);
    }
}

/// The greatest lower bound, by `VClock`'s own means.
fn lower_bound(a: &VClock<Origin>, b: &VClock<Origin>) -> VClock<Origin> {
    let mut low = a.clone();
    low.glb(b);
    low
}

fn dots() -> impl Strategy<Value = Vec<Dot>> {
    let dot = (1..4u16, 0..2u64, 1..5u64)
        .prop_map(|(site, incarnation, seq)| Dot { origin: Origin { site: SiteId(site), node: 0, incarnation }, seq });
    prop::collection::vec(dot, 0..8)
}

fn vclock(dots: &[Dot]) -> VClock<Origin> {
    let mut clock = VClock::new();
    dots.iter().for_each(|dot| clock.apply(crdts::Dot::new(dot.origin, dot.seq)));
    clock
}

/// Why tags are request ids: the design's counter-example, a request with two dots.
#[test]
fn a_tag_made_of_a_dot_would_raise_the_dead() {
    let join = id(1, 0);
    let (mut a, mut b) = (Copy::default(), Copy::default());
    for site in [&mut a, &mut b] {
        add_tag(&mut site.row, join, false);
        site.known.insert(join);
    }
    remove_tags(&mut a.row, &[join]);
    assert!(merged(&a, &b).0.tags.is_empty() && merged(&b, &a).0.tags.is_empty());
    // With the dots (A, 1) and (B, 1) as tags, A knows nothing of the second one.
    let (tag_a, tag_b) = (id(1, 10), id(1, 11));
    let (mut a, mut b) = (Copy::default(), Copy::default());
    a.known.insert(tag_a);
    add_tag(&mut b.row, tag_b, false);
    b.known.insert(tag_b);
    assert!(!merged(&a, &b).0.tags.is_empty(), "the removed member is back");
}
