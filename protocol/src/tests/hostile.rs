//! Bytes from outside: whatever they are, decoding ends with a value or an error.

use proptest::prelude::*;

use super::samples::all;
use crate::{Bytes, DecodeError, Dot, Message, Origin, RoomId, UserId, Vector, limits, wire};

/// Everything that is checked after decoding must stand any record, too.
fn check(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(vector) = wire::Vector::decode(bytes.clone()) {
        let _ = Vector::from_wire(&vector);
    }
    if let Ok(dot) = wire::Dot::decode(bytes.clone()) {
        let _ = Dot::from_wire(&dot);
    }
    if let Ok(origin) = wire::Origin::decode(bytes.clone()) {
        let _ = Origin::from_wire(&origin);
    }
    let _ = RoomId::from_wire(&bytes);
    let text = String::from_utf8_lossy(&bytes);
    let _ = UserId::new(&text);
    let _ = RoomId::parse(&text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for sample in all() {
            let _ = (sample.reencode)(&bytes);
        }
        check(&bytes);
    }

    /// Nearly right is nastier than random: records with bytes changed, cut out or put in.
    #[test]
    fn damaged_records_never_panic(
        which in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let samples = all();
        let mut bytes = samples[which.index(samples.len())].bytes.clone();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        for sample in &samples {
            // What decodes has one form, which decodes to itself.
            if let Some(once) = (sample.reencode)(&bytes) {
                prop_assert_eq!((sample.reencode)(&once), Some(once.clone()), "{}", sample.record);
            }
        }
        check(&bytes);
    }

    /// A newer version's fields are passed over, not an error.
    #[test]
    fn unknown_fields_are_passed_over(which in any::<prop::sample::Index>(), value in any::<u32>()) {
        let samples = all();
        let sample = &samples[which.index(samples.len())];
        let mut bytes = sample.bytes.clone();
        prost::encoding::uint32::encode(1_000, &value, &mut bytes);
        prop_assert_eq!((sample.reencode)(&bytes), Some(sample.bytes.clone()));
    }
}

/// A record in a record in a record …: the decoder stops before the stack does.
#[test]
fn nesting_and_lengths_beyond_the_end_are_errors() {
    for depth in [1, 100, 10_000, 200_000] {
        for sample in all() {
            let _ = (sample.reencode)(&vec![0x0a; depth]);
            let _ = (sample.reencode)(&vec![0x0b; depth]);
        }
    }
    let longer = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(wire::Op::decode(&longer[..]).is_err());
    let endless = [0xff; 32];
    assert!(all().iter().all(|sample| (sample.reencode)(&endless).is_none()));
}

#[test]
fn what_makes_no_sense_is_named() {
    let origin = |site, node| wire::Origin { site, node, incarnation: 1 };
    let error = |origin: wire::Origin| Origin::from_wire(&origin).unwrap_err();
    assert_eq!(error(origin(0, 1)), DecodeError::Range { field: "origin.site" });
    assert_eq!(error(origin(65_536, 1)), DecodeError::Range { field: "origin.site" });
    assert_eq!(error(origin(1, 65_536)), DecodeError::Range { field: "origin.node" });
    let dot = |origin, seq| Dot::from_wire(&wire::Dot { origin, seq }).unwrap_err();
    assert_eq!(dot(None, 1), DecodeError::Missing { field: "dot.origin" });
    assert_eq!(dot(Some(origin(1, 1)), 0), DecodeError::Range { field: "dot.seq" });
    let room = RoomId::from_wire(b"short").unwrap_err();
    assert_eq!(room, DecodeError::Length { field: "room", want: 16, got: 5 });
    let entry = wire::Dot { origin: Some(origin(1, 1)), seq: 1 };
    let long = wire::Vector { entries: vec![entry; limits::VECTOR_ENTRIES_MAX + 1] };
    let (max, got) = (limits::VECTOR_ENTRIES_MAX, limits::VECTOR_ENTRIES_MAX + 1);
    assert_eq!(Vector::from_wire(&long).unwrap_err(), DecodeError::TooLong { field: "vector.entries", max, got });
    let user = |text: &str| UserId::new(text).unwrap_err();
    let max = limits::USER_BYTES_MAX;
    assert_eq!(user(""), DecodeError::TooLong { field: "user", max, got: 0 });
    assert_eq!(user(&"é".repeat(65)), DecodeError::TooLong { field: "user", max, got: 130 });
    assert_eq!(user("a\nb"), DecodeError::Range { field: "user" });
    assert!(UserId::new(&"é".repeat(64)).is_ok());
    for e in [error(origin(0, 1)), room, user("")] {
        assert!(e.to_string().contains(char::is_alphabetic));
    }
}
