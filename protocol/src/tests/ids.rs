//! Identities: derivations that are for good, orders, text; codes and versions.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::version::{VERSION_MAX, VERSION_MIN, negotiate};
use crate::{Code, DeviceId, Dot, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, UserId, hash16, limits, wire};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ann() -> UserId {
    UserId::new("ann").unwrap()
}

#[test]
fn derived_ids_are_these_for_good() {
    let id = RequestId { stamp: Stamp(0x0102), device: DeviceId(0x0304) };
    assert_eq!(hex(&hash16("causeway/test", &[b"a", b"bc"])), "678751592f8d8335193619b0fb156fa2");
    assert_eq!(hex(&DeviceId::derive(&ann(), 7).0.to_be_bytes()), "77186904c418e053");
    assert_eq!(RoomId::derive(&ann(), id).to_string(), "a6aeaac33e33d021430a74a24967d185");
}

/// The hash's input, made anew from its description.
#[test]
fn a_hash_is_of_its_length_prefixed_parts() {
    let mut input = Vec::new();
    for part in [&b"domain"[..], b"a", b"", b"bc"] {
        input.extend_from_slice(&(part.len() as u64).to_le_bytes());
        input.extend_from_slice(part);
    }
    assert_eq!(hash16("domain", &[b"a", b"", b"bc"])[..], blake3::hash(&input).as_bytes()[..16]);
}

fn id() -> impl Strategy<Value = RequestId> {
    (any::<u64>(), any::<u64>()).prop_map(|(stamp, device)| RequestId { stamp: Stamp(stamp), device: DeviceId(device) })
}

fn origin() -> impl Strategy<Value = Origin> {
    (any::<u16>(), any::<u16>(), any::<u64>()).prop_map(|(site, node, incarnation)| Origin {
        site: SiteId(site),
        node,
        incarnation,
    })
}

proptest! {
    #[test]
    fn parts_that_are_cut_elsewhere_hash_otherwise(text in "[a-c]{2,6}", cuts in any::<(prop::sample::Index, prop::sample::Index)>()) {
        let (a, b) = (cuts.0.index(text.len()), cuts.1.index(text.len()));
        let of = |at: usize| hash16("d", &[&text.as_bytes()[..at], &text.as_bytes()[at..]]);
        prop_assert_eq!(of(a) == of(b), a == b);
    }

    #[test]
    fn bytes_order_as_values_and_round_trip(ids in (id(), id()), origins in (origin(), origin())) {
        prop_assert_eq!(ids.0.to_bytes().cmp(&ids.1.to_bytes()), ids.0.cmp(&ids.1));
        prop_assert_eq!(RequestId::from_bytes(ids.0.to_bytes()), ids.0);
        prop_assert_eq!(RequestId::from_wire(&ids.0.to_wire()), ids.0);
        prop_assert!(RequestId::MIN <= ids.0 && ids.0 <= RequestId::MAX);
        prop_assert_eq!(origins.0.to_bytes().cmp(&origins.1.to_bytes()), origins.0.cmp(&origins.1));
        prop_assert_eq!(Origin::from_bytes(origins.0.to_bytes()), origins.0);
        let named = Origin { site: SiteId(origins.0.site.0.max(1)), ..origins.0 };
        prop_assert_eq!(Origin::from_wire(&named.to_wire()), Ok(named));
        let dot = Dot { origin: named, seq: ids.0.stamp.0.clamp(1, limits::SEQ_MAX) };
        prop_assert_eq!(Dot::from_wire(&dot.to_wire()), Ok(dot));
    }

    #[test]
    fn a_room_reads_as_it_is_written(room in any::<[u8; 16]>().prop_map(RoomId)) {
        prop_assert_eq!(RoomId::parse(&room.to_string()), Ok(room));
        prop_assert_eq!(RoomId::from_wire(&room.to_wire()), Ok(room));
    }

    /// Rooms in order are in shards in order, and no shard is out of range.
    #[test]
    fn shards_are_ranges_of_rooms(a in any::<[u8; 16]>(), b in any::<[u8; 16]>(), count in 1u16..) {
        let (low, high) = (RoomId(a.min(b)).shard(count), RoomId(a.max(b)).shard(count));
        prop_assert!(low <= high && high < ShardId(count));
    }

    #[test]
    fn rooms_and_devices_depend_on_all_that_they_are_derived_from(ids in (id(), id()), nonces in any::<(u64, u64)>()) {
        let bob = UserId::new("bob").unwrap();
        prop_assert_eq!(RoomId::derive(&ann(), ids.0) == RoomId::derive(&ann(), ids.1), ids.0 == ids.1);
        prop_assert_ne!(RoomId::derive(&ann(), ids.0), RoomId::derive(&bob, ids.0));
        prop_assert_eq!(DeviceId::derive(&ann(), nonces.0) == DeviceId::derive(&ann(), nonces.1), nonces.0 == nonces.1);
        prop_assert_ne!(DeviceId::derive(&ann(), nonces.0), DeviceId::derive(&bob, nonces.0));
    }

    /// The highest version that both speak, whichever side asks.
    #[test]
    fn a_version_is_in_both_ranges(min in 0u32..5, max in 0u32..5) {
        match negotiate(min, max) {
            Some(version) => {
                prop_assert!(min <= version && version <= max);
                prop_assert!((VERSION_MIN..=VERSION_MAX).contains(&version));
                prop_assert_eq!(version, max.min(VERSION_MAX));
            }
            None => prop_assert!(max < VERSION_MIN || VERSION_MAX < min || max < min),
        }
    }
}

#[test]
fn shards_get_even_shares_of_rooms() {
    for (top, shard) in [(0x0000, 0), (0x00ff, 0), (0x0100, 1), (0xfeff, 254), (0xff00, 255), (0xffff, 255)] {
        let mut room = [0; 16];
        room[..2].copy_from_slice(&u16::to_be_bytes(top));
        assert_eq!(RoomId(room).shard(256), ShardId(shard));
    }
}

#[test]
fn a_room_is_32_hexadecimal_digits() {
    for text in ["", "12", &"g".repeat(32), &"é".repeat(16), &"0".repeat(33), "+1111111111111111111111111111111"] {
        assert!(RoomId::parse(text).is_err(), "{text}");
    }
}

/// Numbers that clients have compiled in.
#[test]
fn codes_have_these_numbers_for_good() {
    let numbers = [100, 101, 102, 103, 104, 105, 200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 304, 305];
    assert_eq!(Code::ALL.map(Code::number), numbers);
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
    for code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), Some(code));
        assert_eq!(Code::number_is_permanent(code.number()), code < Code::UnknownRoom);
    }
    for number in [0, 99, 199, 299, 999] {
        assert_eq!(Code::from_number(number), None);
    }
    assert!(Code::number_is_permanent(150) && !Code::number_is_permanent(250));
}

#[test]
fn a_logged_body_shows_no_word_of_it() {
    let content = b"secret".to_vec().into();
    let body = wire::Body { salt: Default::default(), content_type: "text/plain".into(), content };
    let event = wire::Op { header: Default::default(), body: None };
    assert_eq!(format!("{body:?} {:?}", event.body), "Body(\"text/plain\", 6 bytes) None");
}

#[test]
fn a_request_id_is_read_as_it_is_written() {
    let id = RequestId { stamp: Stamp(0x0189_0a5d_ac96_74bf), device: DeviceId(0x0f) };
    let text = "01890a5dac9674bf000000000000000f";
    assert_eq!((id.to_string().as_str(), RequestId::parse(text)), (text, Ok(id)));
    assert_eq!(RequestId::parse(&text.to_uppercase()), Ok(id));
    for bad in ["", "0", "+1890a5dac9674bf000000000000000f", "g1890a5dac9674bf000000000000000f"] {
        assert!(RequestId::parse(bad).is_err(), "{bad}");
    }
}

/// Sums of seqs, and the seq after one, stay in range.
#[test]
fn a_seq_beyond_the_highest_is_refused() {
    let origin = Origin { site: SiteId(1), node: 0, incarnation: 1 };
    let of = |seq| Dot::from_wire(&wire::Dot { origin: Some(origin.to_wire()), seq });
    assert_eq!(of(limits::SEQ_MAX), Ok(Dot { origin, seq: limits::SEQ_MAX }));
    for seq in [0, limits::SEQ_MAX + 1, u64::MAX] {
        assert!(of(seq).is_err(), "{seq}");
    }
}

#[test]
fn a_direct_room_is_the_same_for_both() {
    let (ann, bob) = (ann(), UserId::new("bob").unwrap());
    assert_eq!(RoomId::direct(&ann, &bob), RoomId::direct(&bob, &ann));
    assert_ne!(RoomId::direct(&ann, &bob), RoomId::direct(&ann, &UserId::new("bo").unwrap()));
    // hash16("causeway/room/direct", ["ann", "bob"]), by another implementation of BLAKE3.
    assert_eq!(RoomId::direct(&ann, &bob).to_string(), "474de4e0c65efe7add12562b67925dbd");
}

#[test]
fn a_users_own_room_follows_from_the_name() {
    let (ann, bob) = (UserId::new("ann").unwrap(), UserId::new("bob").unwrap());
    assert_ne!(RoomId::of_user(&ann), RoomId::of_user(&bob));
    // hash16("causeway/room/user", ["ann"]), by another implementation of BLAKE3.
    assert_eq!(RoomId::of_user(&ann).to_string(), "e8d671b733905533f2ba9006ffd5425c");
}
