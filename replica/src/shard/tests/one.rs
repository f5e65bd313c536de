//! One site.

use causeway_protocol::{Code, Message, RoomId, Stamp, UserId, wire, wire::request::Kind};

use super::cluster::{A, B, Cluster, MEMBERS_MAX, text_body, user};
use crate::key::Key;
use crate::view::{Cf, View};

#[test]
fn nothing_leaves_before_it_is_synced() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    let hello = sites.say(A, &ann, room);
    assert!(sites.site(A).has(&hello), "a write is visible at once to the shard itself");
    assert!(sites.site(A).effects.iter().all(|e| matches!(e, crate::io::Output::Ready(_))), "and to nobody else");
    sites.sync(A);
    assert!(sites.site(A).acked(&hello).is_some());
    assert_eq!(sites.site(A).delivered(&hello), 1);
}

#[test]
fn a_resend_is_acknowledged_again_with_the_same_dot_and_not_shown_again() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    let hello = sites.say(A, &ann, room);
    sites.sync(A);
    let first = sites.site(A).acked(&hello);
    sites.site(A).effects.clear();
    sites.submit(A, &hello);
    assert_eq!(sites.site(A).acked(&hello), first);
    assert_eq!(sites.site(A).delivered(&hello), 0);
    assert_eq!(sites.site(A).dots(&hello), 1);
}

#[test]
fn a_resend_of_what_is_not_synced_yet_waits_for_the_sync() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.sync(A);
    let hello = sites.say(A, &ann, room);
    sites.submit(A, &hello);
    assert_eq!(sites.site(A).acked(&hello), None);
    sites.sync(A);
    let acks = sites.site(A).effects.iter();
    let acks = acks.filter(|e| matches!(e, crate::io::Output::Accepted { id, .. } if *id == hello.id)).count();
    assert_eq!(acks, 2);
}

#[test]
fn another_content_under_the_same_id_is_a_conflict() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    let hello = sites.say(A, &ann, room);
    sites.sync(A);
    let mut other = hello.clone();
    let body = text_body("something else");
    let mut request = wire::Request::decode(other.request.clone()).unwrap();
    request.body_hash = bytes::Bytes::copy_from_slice(&crate::request::body_hash(&body));
    other.request = request.encode_to_vec().into();
    other.body = Some(body);
    sites.submit(A, &other);
    assert_eq!(sites.site(A).refused(&other), Some(Code::IdConflict));
}

#[test]
fn strangers_may_not_speak_and_closed_rooms_need_an_invitation() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, false);
    let words = sites.say(A, &bob, room);
    assert_eq!(sites.site(A).refused(&words), Some(Code::UnknownRoom));
    let early = sites.join(A, &bob, room);
    assert_eq!(sites.site(A).refused(&early), Some(Code::UnknownRoom));
    let invite = sites.wish(&ann, Some(room), Kind::Invite(wire::Invite { user: "bob".into() }));
    sites.submit(A, &invite);
    sites.join(A, &bob, room);
    assert!(sites.site(A).is_member(room, &bob));
    sites.leave(A, &bob, room);
    assert!(!sites.site(A).is_member(room, &bob));
    let again = sites.join(A, &bob, room);
    assert_eq!(sites.site(A).refused(&again), Some(Code::UnknownRoom), "the invitation is used up");
}

#[test]
fn refusals_name_what_is_wrong() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    let nowhere = sites.say(A, &ann, RoomId([0; 16]));
    assert_eq!(sites.site(A).refused(&nowhere), Some(Code::UnknownRoom));
    let stolen = sites.wish(&ann, Some(RoomId([1; 16])), Kind::Create(wire::Create::default()));
    sites.submit(A, &stolen);
    assert_eq!(sites.site(A).refused(&stolen), Some(Code::RoomMismatch));
    let mut mute = sites.wish(&ann, Some(room), Kind::Message(wire::Message::default()));
    mute.body = None;
    sites.submit(A, &mute);
    assert_eq!(sites.site(A).refused(&mute), Some(Code::Malformed));
    sites.now.wall_ms += 60_000;
    let early = sites.wish(&ann, Some(room), Kind::Message(wire::Message::default()));
    sites.now.wall_ms -= 60_000;
    sites.submit(A, &early);
    assert_eq!(sites.site(A).refused(&early), Some(Code::StampAhead));
    let mut swapped = sites.wish(&user("bob"), Some(room), Kind::Join(wire::Join {}));
    swapped.user = ann;
    swapped.id.stamp = Stamp(1);
    sites.submit(A, &swapped);
    assert!(sites.site(A).effects.iter().any(|e| {
        matches!(
            e,
            crate::io::Output::Refused { code: Code::Malformed | Code::DeviceMismatch | Code::NotPermitted, .. }
        )
    }));
}

#[test]
fn an_answer_waits_a_moment_for_the_message_that_it_answers() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let lost = sites.wish(&ann, Some(room), Kind::Message(wire::Message::default()));
    let answer = sites.wish(
        &ann,
        Some(room),
        Kind::Message(wire::Message { reply_to: Some(lost.id.to_wire()), ..Default::default() }),
    );
    sites.submit(A, &answer);
    sites.sync(A);
    assert!(!sites.site(A).has(&answer), "it waits");
    sites.submit(A, &lost);
    assert!(sites.site(A).has(&answer), "its target came");
    let orphan = sites.wish(
        &ann,
        Some(room),
        Kind::Message(wire::Message { reply_to: Some(wire::RequestId { stamp: 1, device: 1 }), ..Default::default() }),
    );
    sites.submit(A, &orphan);
    assert!(!sites.site(A).has(&orphan));
    sites.pass_ms(super::super::timers::REFERENCE_WAIT_MS);
    assert!(sites.site(A).has(&orphan), "patience ends");
}

#[test]
fn a_leave_does_not_overtake_what_waits() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, true);
    sites.join(A, &bob, room);
    sites.settle();
    let missing = wire::RequestId { stamp: 1, device: 1 };
    let react = Kind::React(wire::React { target: Some(missing), symbol: "+".into() });
    let react = sites.wish(&bob, Some(room), react);
    let again = wire::RequestId { stamp: 2, device: 1 };
    let answer =
        sites.wish(&bob, Some(room), Kind::Message(wire::Message { reply_to: Some(again), ..Default::default() }));
    let leave = sites.wish(&bob, Some(room), Kind::Leave(wire::Leave {}));
    for wish in [&react, &answer, &leave] {
        sites.submit(A, wish);
    }
    let other = sites.say(A, &ann, room);
    assert!(sites.site(A).has(&other), "others do not wait");
    assert!(![&react, &answer, &leave].iter().any(|wish| sites.site(A).has(wish)));
    sites.pass_ms(super::super::timers::REFERENCE_WAIT_MS);
    assert!(sites.site(A).has(&react), "patience ends");
    assert!(!sites.site(A).has(&leave), "the answer waits for its own message now");
    sites.pass_ms(super::super::timers::REFERENCE_WAIT_MS);
    assert!(sites.site(A).has(&answer), "{:?}", sites.site(A).refused(&answer));
    assert!(sites.site(A).has(&leave), "{:?}", sites.site(A).refused(&leave));
    assert!(!sites.site(A).is_member(room, &bob));
    for wish in [&react, &answer, &leave] {
        assert_eq!(sites.site(A).refused(wish), None);
    }
}

#[test]
fn a_restart_continues_under_a_new_incarnation() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    let kept = sites.say(A, &ann, room);
    sites.sync(A);
    let lost = sites.say(A, &ann, room);
    let disk = sites.crash(A);
    sites.start(A, disk, false);
    assert!(sites.site(A).has(&kept));
    assert!(!sites.site(A).has(&lost), "it was never synced, and never acknowledged");
    sites.submit(A, &lost);
    sites.sync(A);
    let (dot, _) = sites.site(A).acked(&lost).unwrap();
    assert_eq!((dot.origin.incarnation, dot.seq), (2, 1));
}

#[test]
fn a_room_lets_in_as_many_as_it_may_have() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let others: Vec<UserId> = (1..=MEMBERS_MAX).map(|n| user(&format!("user-{n}"))).collect();
    let (last, fitting) = others.split_last().unwrap();
    for other in fitting {
        let joined = sites.join(A, other, room);
        sites.settle();
        assert!(sites.site(A).acked(&joined).is_some());
    }
    let members = |sites: &mut Cluster| {
        let row = sites.site(A).rows.get(Cf::Head, &Key::Head(room).encode()).unwrap().unwrap();
        wire::HeadRow::decode(row).unwrap().members
    };
    assert_eq!(members(&mut sites), MEMBERS_MAX);
    let refused = sites.join(A, last, room);
    sites.settle();
    assert_eq!(sites.site(A).refused(&refused), Some(Code::NotPermitted));
    assert_eq!(sites.site(A).shard.counters().members_limited, 1);
    // Who is in may join again; and one who leaves makes room.
    let again = sites.join(A, &fitting[0], room);
    sites.settle();
    assert!(sites.site(A).acked(&again).is_some());
    sites.leave(A, &fitting[0], room);
    sites.settle();
    assert_eq!(members(&mut sites), MEMBERS_MAX - 1);
    let joined = sites.join(A, last, room);
    sites.settle();
    assert!(sites.site(A).acked(&joined).is_some());
}
