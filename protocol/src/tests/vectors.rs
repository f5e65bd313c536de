//! The laws of vectors, and clocks.

use proptest::prelude::*;

use crate::{Dot, Hlc, Origin, SiteId, Stamp, Vector, wire};

fn origin() -> impl Strategy<Value = Origin> {
    (1u16..4, 0u16..2, 0u64..2).prop_map(|(site, node, incarnation)| Origin { site: SiteId(site), node, incarnation })
}

fn dot() -> impl Strategy<Value = Dot> {
    (origin(), 1u64..6).prop_map(|(origin, seq)| Dot { origin, seq })
}

fn vector() -> impl Strategy<Value = Vector> {
    prop::collection::vec(dot(), 0..8).prop_map(|dots| dots.into_iter().collect())
}

fn join(a: &Vector, b: &Vector) -> Vector {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn join_is_a_semilattices(a in vector(), b in vector(), c in vector()) {
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(join(&a, &a), a.clone());
        prop_assert_eq!(join(&a, &Vector::new()), a);
    }

    #[test]
    fn meet_is_its_dual(a in vector(), b in vector()) {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&join(&a, &b)), a.clone());
        prop_assert_eq!(join(&a, &a.meet(&b)), a);
    }

    /// A dot is in a join if it is in either, and in a meet if it is in both.
    #[test]
    fn covering_is_being_in_the_set(a in vector(), b in vector(), dot in dot()) {
        prop_assert_eq!(join(&a, &b).covers(&dot), a.covers(&dot) || b.covers(&dot));
        prop_assert_eq!(a.meet(&b).covers(&dot), a.covers(&dot) && b.covers(&dot));
        prop_assert_eq!(a.covers_all(&b), join(&a, &b) == a);
        prop_assert_eq!(a.covers_all(&b), b.beyond(&a).is_empty());
        prop_assert!(a.beyond(&b).iter().all(|dot| a.get(&dot.origin) == dot.seq && !b.covers(&dot)));
        prop_assert_eq!(join(&a.beyond(&b), &b), join(&a, &b));
    }

    #[test]
    fn raising_never_lowers(mut a in vector(), dot in dot()) {
        let before = a.clone();
        a.raise(dot);
        prop_assert!(a.covers(&dot) && a.covers_all(&before));
        prop_assert_eq!(a.get(&dot.origin), before.get(&dot.origin).max(dot.seq));
    }

    /// The wire form is canonical, and the reader takes any.
    #[test]
    fn a_vector_survives_the_wire(a in vector(), shift in any::<prop::sample::Index>()) {
        let wire = a.to_wire();
        prop_assert_eq!(Vector::from_wire(&wire), Ok(a.clone()));
        let keys: Vec<Origin> = wire.entries.iter().map(|dot| Dot::from_wire(dot).unwrap().origin).collect();
        prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        let mut mixed = wire.entries.clone();
        if !mixed.is_empty() {
            mixed.rotate_left(shift.index(wire.entries.len()));
            mixed.extend(wire.entries.clone());
            let lower = wire::Dot { seq: 1, ..mixed[0] };
            mixed.push(lower);
        }
        prop_assert_eq!(Vector::from_wire(&wire::Vector { entries: mixed }), Ok(a.clone()));
        prop_assert_eq!(Vector::from_wire_opt(Some(&wire)), Ok(a));
        prop_assert_eq!(Vector::from_wire_opt(None), Ok(Vector::new()));
    }

    #[test]
    fn equal_vectors_have_equal_hashes_and_others_do_not(a in vector(), b in vector()) {
        prop_assert_eq!(a.hash() == b.hash(), a == b);
        prop_assert_eq!((a.len(), a.is_empty()), (a.iter().count(), a == Vector::new()));
    }

    /// Whatever the wall clock does and whatever is seen, an HLC rises, and is not behind either.
    #[test]
    fn a_clock_rises_and_is_above_all_it_saw(
        steps in prop::collection::vec((any::<bool>(), 0u64..1_000), 1..60), start in 0u64..70_000_000,
    ) {
        let mut clock = Hlc::after(Stamp(start));
        let mut highest = clock.last();
        for (observes, value) in steps {
            if observes {
                clock.observe(Stamp(value << 15));
                highest = highest.max(Stamp(value << 15));
            } else {
                let stamp = clock.mint(value);
                prop_assert!(stamp > highest && stamp.ms() >= value);
                // Not further ahead than it must be.
                prop_assert!(stamp == highest.next() || stamp == Stamp::from_ms(value));
                highest = stamp;
            }
            prop_assert_eq!(clock.last(), highest);
        }
    }
}

#[test]
fn a_dot_of_seq_zero_is_in_every_vector_and_raises_none() {
    let none = Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 0 }, seq: 0 };
    let mut vector = Vector::new();
    vector.raise(none);
    assert!(vector.is_empty() && vector.covers(&none));
}

#[test]
fn a_vectors_hash_is_this_for_good() {
    let origin = Origin { site: SiteId(1), node: 2, incarnation: 3 };
    let vector: Vector = [Dot { origin, seq: 4 }].into_iter().collect();
    let hash: String = vector.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, "720e82868fa9fc51883751fa83aa51e1");
}

#[test]
fn stamps_hold_milliseconds_and_a_counter() {
    let stamp = Stamp::from_ms(1_700_000_000_000);
    assert_eq!((stamp.ms(), stamp.next().ms(), stamp.next().0 - stamp.0), (1_700_000_000_000, 1_700_000_000_000, 1));
    assert_eq!(Stamp::from_ms(u64::MAX).ms(), (1 << 48) - 1);
    assert_eq!(Stamp(u64::MAX).next(), Stamp(u64::MAX), "it saturates, and does not wrap");
    assert_eq!(format!("{:?}", Stamp::from_ms(7).next()), "7.1");
}
