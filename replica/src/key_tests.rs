//! Every key: golden bytes, round trips, order, and the ranges that name groups of them.

use causeway_protocol::{DeviceId, SiteId, Stamp};
use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn keys_have_these_bytes_for_good() {
    let room = RoomId([0xab; 16]);
    let dot = Dot { origin: Origin { site: SiteId(0x0102), node: 0x0304, incarnation: 0x05 }, seq: 0x0607 };
    let id = RequestId { stamp: Stamp(0x1111), device: DeviceId(0x2222) };
    let later = RequestId::from_bytes([0x33; 16]);
    let ann = UserId::new("ann").unwrap();
    let ab = "ab".repeat(16);
    let origin = "010203040000000000000005";
    let place = "00000000000011110000000000002222";
    let golden = [
        (Key::Op(room, dot), Cf::Op, format!("{ab}{origin}0000000000000607")),
        (Key::Request(room, id), Cf::Request, format!("{ab}{place}")),
        (Key::Log(ShardId(0x99), dot), Cf::Log, format!("0099{origin}0000000000000607")),
        (Key::Order(ShardId(0x99), 0x77), Cf::Order, "00990000000000000077".into()),
        (Key::Member(room, ann.clone()), Cf::Element, format!("{ab}01616e6e")),
        (Key::Invited(room, ann.clone()), Cf::Element, format!("{ab}02616e6e")),
        (Key::Register(room, Register::Name), Cf::Element, format!("{ab}0301")),
        (Key::Register(room, Register::Policy), Cf::Element, format!("{ab}0302")),
        (Key::Register(room, Register::Topic), Cf::Element, format!("{ab}0303")),
        (Key::Register(room, Register::Avatar), Cf::Element, format!("{ab}0304")),
        (Key::Register(room, Register::Open), Cf::Element, format!("{ab}0305")),
        (Key::Register(room, Register::Writers), Cf::Element, format!("{ab}0306")),
        (Key::Register(room, Register::Retention), Cf::Element, format!("{ab}0307")),
        (Key::Register(room, Register::Knock), Cf::Element, format!("{ab}0308")),
        (Key::Knock(room, ann.clone()), Cf::Element, format!("{ab}08616e6e")),
        (Key::Reaction(room, id, "+1".into(), ann.clone()), Cf::Element, format!("{ab}04{place}2b3100616e6e")),
        (Key::Edit(room, id, later, ann.clone()), Cf::Element, format!("{ab}05{place}{}616e6e", "33".repeat(16))),
        (Key::Redaction(room, id, ann.clone()), Cf::Element, format!("{ab}06{place}616e6e")),
        (Key::Pin(room, id), Cf::Element, format!("{ab}07{place}")),
        (Key::Head(room), Cf::Head, format!("{ab}01")),
        (Key::UserRoom([0xcd; 16], room), Cf::Head, format!("{}02{ab}", "cd".repeat(16))),
        (Key::UserInvited([0xcd; 16], room), Cf::Head, format!("{}04{ab}", "cd".repeat(16))),
        (Key::UserWas([0xcd; 16], room), Cf::Head, format!("{}05{ab}", "cd".repeat(16))),
        (Key::RoleHolder(room, ann.clone()), Cf::Head, format!("{ab}03616e6e")),
        (Key::Read(room, ann.clone()), Cf::Read, format!("{ab}616e6e")),
        (Key::Shard(ShardId(0x99)), Cf::Meta, "009901".into()),
        (Key::Bucket(ShardId(0x99), 0x0a0b), Cf::Meta, "0099020a0b".into()),
        (Key::Origin(ShardId(0x99), dot.origin), Cf::Meta, format!("009903{origin}")),
        (Key::Erasing(ShardId(0x99), room, ann.clone()), Cf::Meta, format!("009906{ab}616e6e")),
        (Key::Erased(ShardId(0x99), ann.clone()), Cf::Meta, "009907616e6e".into()),
        (Key::Purge(ShardId(0x99), room, id, ann), Cf::Meta, format!("009904{ab}{place}616e6e")),
        (Key::Deadline(ShardId(0x99), 0x0506, room, id), Cf::Meta, format!("0099050000000000000506{ab}{place}")),
        (Key::Identity, Cf::Local, "01".into()),
        (Key::Staged(ShardId(0x99), Cf::Request, Bytes::from_static(b"key")), Cf::Local, "030099026b6579".into()),
    ];
    for (key, family, bytes) in golden {
        assert_eq!(hex(&key.encode()), bytes, "{key:?}");
        assert_eq!(key.family(), family, "{key:?}");
    }
    assert_eq!(hex(&user_hash(&UserId::new("ann").unwrap())), "ea635a9df0a26e646fd08ca49e550f20");
}

#[test]
fn families_have_these_numbers_for_good() {
    let numbers = ["op", "request", "log", "order", "element", "head", "read", "meta", "local"];
    for (number, name) in (1..).zip(numbers) {
        assert_eq!(Cf::from_number(number).map(Cf::name), Some(name));
    }
    assert_eq!((Cf::from_number(0), Cf::from_number(10)), (None, None));
    assert_eq!(Cf::ALL.len(), numbers.len());
}

fn room() -> impl Strategy<Value = RoomId> {
    prop_oneof![any::<[u8; 16]>(), Just([0; 16]), Just([0xff; 16])].prop_map(RoomId)
}

fn origin() -> impl Strategy<Value = Origin> {
    (any::<u16>(), any::<u16>(), any::<u64>()).prop_map(|(site, node, incarnation)| Origin {
        site: SiteId(site),
        node,
        incarnation,
    })
}

fn dot() -> impl Strategy<Value = Dot> {
    (origin(), any::<u64>()).prop_map(|(origin, seq)| Dot { origin, seq })
}

fn id() -> impl Strategy<Value = RequestId> {
    (any::<u64>(), any::<u64>()).prop_map(|(stamp, device)| RequestId { stamp: Stamp(stamp), device: DeviceId(device) })
}

fn user() -> impl Strategy<Value = UserId> {
    "[^\\p{C}]{1,32}".prop_filter_map("a control character", |text| UserId::new(&text).ok())
}

fn shard() -> impl Strategy<Value = ShardId> {
    any::<u16>().prop_map(ShardId)
}

fn key() -> impl Strategy<Value = Key> {
    let staged = (shard(), 0..Cf::ALL.len(), prop::collection::vec(any::<u8>(), 0..40));
    prop_oneof![
        (room(), dot()).prop_map(|(room, dot)| Key::Op(room, dot)),
        (room(), id()).prop_map(|(room, id)| Key::Request(room, id)),
        (shard(), dot()).prop_map(|(shard, dot)| Key::Log(shard, dot)),
        (shard(), any::<u64>()).prop_map(|(shard, number)| Key::Order(shard, number)),
        (room(), user()).prop_map(|(room, user)| Key::Member(room, user)),
        (room(), user()).prop_map(|(room, user)| Key::Invited(room, user)),
        room().prop_map(|room| Key::Register(room, Register::Name)),
        (room(), 0..Register::ALL.len()).prop_map(|(room, at)| Key::Register(room, Register::ALL[at])),
        (room(), user()).prop_map(|(room, user)| Key::Knock(room, user)),
        (room(), id()).prop_map(|(room, target)| Key::Pin(room, target)),
        (room(), id(), "[^\\p{C}]{1,16}", user())
            .prop_map(|(room, id, symbol, user)| { Key::Reaction(room, id, symbol.into(), user) }),
        (room(), id(), id(), user()).prop_map(|(room, target, id, user)| Key::Edit(room, target, id, user)),
        (room(), id(), user()).prop_map(|(room, id, user)| Key::Redaction(room, id, user)),
        (shard(), room(), id(), user()).prop_map(|(shard, room, id, user)| Key::Purge(shard, room, id, user)),
        room().prop_map(Key::Head),
        (any::<[u8; 16]>(), room()).prop_map(|(user, room)| Key::UserRoom(user, room)),
        (any::<[u8; 16]>(), room()).prop_map(|(user, room)| Key::UserInvited(user, room)),
        (any::<[u8; 16]>(), room()).prop_map(|(user, room)| Key::UserWas(user, room)),
        (shard(), room(), user()).prop_map(|(shard, room, user)| Key::Erasing(shard, room, user)),
        (shard(), user()).prop_map(|(shard, user)| Key::Erased(shard, user)),
        (room(), user()).prop_map(|(room, user)| Key::RoleHolder(room, user)),
        (room(), user()).prop_map(|(room, user)| Key::Read(room, user)),
        shard().prop_map(Key::Shard),
        (shard(), any::<u16>()).prop_map(|(shard, bucket)| Key::Bucket(shard, bucket)),
        (shard(), origin()).prop_map(|(shard, origin)| Key::Origin(shard, origin)),
        Just(Key::Identity),
        staged.prop_map(|(shard, cf, key)| Key::Staged(shard, Cf::ALL[cf], key.into())),
    ]
}

fn within(key: &Key, (start, end): &(Bytes, Bytes)) -> bool {
    (start..end).contains(&&key.encode())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_key_is_what_its_bytes_say(key in key()) {
        prop_assert_eq!(Key::decode(key.family(), &key.encode()), Some(key));
    }

    /// Whatever decodes has these bytes and no others: no two keys share theirs.
    #[test]
    fn any_bytes_are_one_key_or_none(cf in 0..Cf::ALL.len(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(key) = Key::decode(Cf::ALL[cf], &bytes) {
            prop_assert_eq!(key.family(), Cf::ALL[cf]);
            prop_assert_eq!(&key.encode()[..], &bytes[..]);
        }
    }

    #[test]
    fn a_changed_or_cut_key_is_another_or_none(key in key(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let cf = key.family();
        let bytes = key.encode();
        let at = at.index(bytes.len());
        let mut changed = bytes.to_vec();
        changed[at] ^= flip;
        prop_assert_ne!(Key::decode(cf, &changed), Some(key.clone()));
        prop_assert_ne!(Key::decode(cf, &bytes[..at]), Some(key));
    }

    #[test]
    fn ops_and_requests_and_the_order_sort_as_their_values_do(
        room in room(), dots in (dot(), dot()), ids in (id(), id()), numbers in any::<(u64, u64)>(),
    ) {
        let op = |dot| Key::Op(room, dot).encode();
        prop_assert_eq!(op(dots.0).cmp(&op(dots.1)), dots.0.cmp(&dots.1));
        let request = |id| Key::Request(room, id).encode();
        prop_assert_eq!(request(ids.0).cmp(&request(ids.1)), ids.0.cmp(&ids.1));
        let order = |number| Key::Order(ShardId(3), number).encode();
        prop_assert_eq!(order(numbers.0).cmp(&order(numbers.1)), numbers.0.cmp(&numbers.1));
    }

    /// A range of a room's or a user's keys has exactly these, among all keys of their family.
    #[test]
    fn ranges_hold_what_they_name(key in key(), own in room(), name in user(), owner in shard(), cf in 0..Cf::ALL.len()) {
        match &key {
            Key::Member(room, _) => {
                prop_assert!(within(&key, &members_range(room)));
                prop_assert_eq!(within(&key, &members_range(&own)), *room == own);
            }
            Key::Invited(room, _) | Key::Register(room, _) => prop_assert!(!within(&key, &members_range(room))),
            Key::Reaction(room, target, ..) => {
                prop_assert!(within(&key, &reactions_range(room, *target)));
                prop_assert!(!within(&key, &edits_range(room, *target)) && !within(&key, &members_range(room)));
            }
            Key::Edit(room, target, ..) => {
                prop_assert!(within(&key, &edits_range(room, *target)));
                prop_assert_eq!(within(&key, &edits_range(&own, *target)), *room == own);
            }
            Key::Purge(shard, ..) => {
                prop_assert_eq!(within(&key, &purges_range(owner)), *shard == owner);
                prop_assert!(within(&key, &purges_range(*shard)) && !within(&key, &origins_range(*shard)));
            }
            Key::UserRoom(user, room) => {
                prop_assert_eq!(within(&key, &user_rooms_range(&name)), *user == user_hash(&name));
                let listed = Key::UserRoom(user_hash(&name), *room);
                prop_assert!(within(&listed, &user_rooms_range(&name)));
            }
            Key::Knock(room, _) => {
                prop_assert_eq!(within(&key, &knocks_range(&own)), *room == own);
                prop_assert!(within(&key, &knocks_range(room)) && !within(&key, &members_range(room)));
            }
            Key::UserInvited(user, _) => {
                prop_assert_eq!(within(&key, &user_invited_range(&name)), *user == user_hash(&name));
                prop_assert!(!within(&key, &user_rooms_range(&name)));
            }
            Key::UserWas(user, _) => {
                prop_assert_eq!(within(&key, &user_was_range(&name)), *user == user_hash(&name));
                prop_assert!(!within(&key, &user_rooms_range(&name)));
            }
            Key::Erasing(shard, ..) => {
                prop_assert_eq!(within(&key, &erasing_range(owner)), *shard == owner);
                prop_assert!(within(&key, &erasing_range(*shard)) && !within(&key, &erased_range(*shard)));
            }
            Key::Erased(shard, _) => {
                prop_assert_eq!(within(&key, &erased_range(owner)), *shard == owner);
                prop_assert!(within(&key, &erased_range(*shard)) && !within(&key, &erasing_range(*shard)));
            }
            Key::Head(_) => prop_assert!(!within(&key, &user_rooms_range(&name))),
            Key::Request(room, _) | Key::Op(room, _) => {
                prop_assert!(within(&key, &prefix_range(&room.0)));
                prop_assert_eq!(within(&key, &prefix_range(&own.0)), *room == own);
            }
            Key::Origin(shard, _) => {
                prop_assert!(within(&key, &origins_range(*shard)) && !within(&key, &buckets_range(*shard)));
                prop_assert_eq!(within(&key, &origins_range(owner)), *shard == owner);
            }
            Key::Bucket(shard, _) => {
                prop_assert!(within(&key, &buckets_range(*shard)) && !within(&key, &origins_range(*shard)));
                prop_assert_eq!(within(&key, &buckets_range(owner)), *shard == owner);
            }
            Key::Staged(shard, family, _) => {
                prop_assert!(within(&key, &staged_range(*shard, *family)));
                let same = (*shard, *family) == (owner, Cf::ALL[cf]);
                prop_assert_eq!(within(&key, &staged_range(owner, Cf::ALL[cf])), same);
            }
            _ => {}
        }
    }

    /// The shards' ranges of rooms part the key space as [`RoomId::shard`] does.
    #[test]
    fn a_room_is_in_the_range_of_its_shard_alone(room in room(), shard_count in 1u16.., other in any::<u16>()) {
        let key = Key::Head(room);
        let shard = room.shard(shard_count);
        prop_assert!(shard.0 < shard_count);
        prop_assert!(within(&key, &shard_rooms_range(shard, shard_count)));
        let other = ShardId(other % shard_count);
        prop_assert_eq!(within(&key, &shard_rooms_range(other, shard_count)), shard == other);
    }
}

#[test]
fn the_shards_share_all_room_ids_without_a_hole() {
    for shard_count in [1, 2, 3, 7, 255, 256, 1_000, u16::MAX] {
        let mut start = Bytes::from_static(&[0, 0]);
        for shard in 0..shard_count {
            let range = shard_rooms_range(ShardId(shard), shard_count);
            assert_eq!(range.0, start, "shard {shard} of {shard_count}");
            start = range.1;
        }
        assert!(start[..] > [0xff; 200][..]);
    }
}
