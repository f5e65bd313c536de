//! Typing and presence: how often they are said, and when they lapse.

use causeway_protocol::{Bytes, DeviceId, RequestId, RoomId, Stamp, encode_datagram, limits, wire};
use proptest::prelude::*;
use wire::client_datagram::Datagram;

use super::fake_cluster::{Cluster, config, room};
use super::*;

const EVERY: u64 = limits::TYPING_EVERY_MS;
const LAPSE: u64 = limits::TYPING_LAPSE_MS;

impl Cluster {
    fn types(&mut self, room: RoomId) {
        self.machine.say_typing_in(self.now, room);
        self.drain();
    }

    /// A site says that somebody types.
    fn hears(&mut self, site: usize, room: RoomId, user: &str) {
        let link = self.active_link(site).expect("a session");
        let typing = wire::Typing { room: room.to_wire(), user: user.to_owned() };
        let datagram = Some(wire::server_datagram::Datagram::Typing(typing));
        self.machine.handle_datagram(self.now, link, &encode_datagram(&wire::ServerDatagram { datagram }));
        self.drain();
    }

    /// When the machine said that the user types in a room.
    fn said(&self, room: RoomId) -> Vec<u64> {
        let typed = Datagram::Typing(wire::TypingIn { room: room.to_wire() });
        let said = self.datagrams.iter().filter(|(_, _, datagram)| datagram.datagram.as_ref() == Some(&typed));
        said.map(|(at, ..)| *at).collect()
    }

    /// When, and of what connection, the machine said whether the user is away.
    fn activity(&self) -> Vec<(u64, LinkId, bool)> {
        let of = |(at, link, datagram): &(u64, LinkId, wire::ClientDatagram)| match datagram.datagram {
            Some(Datagram::Activity(wire::Activity { away })) => Some((*at, *link, away)),
            _ => None,
        };
        self.datagrams.iter().filter_map(of).collect()
    }

    fn typing_now(&self) -> Vec<&str> {
        let mut typing = Vec::new();
        for (_, _, user, begins) in &self.typing {
            if *begins {
                typing.push(user.as_str());
            } else {
                typing.retain(|other| other != user);
            }
        }
        typing
    }
}

fn ready() -> Cluster {
    let mut c = Cluster::new(2);
    c.run(100);
    c
}

#[test]
fn typing_is_said_once_in_three_seconds_of_a_room_and_anew_after_a_message() {
    let mut c = ready();
    let start = c.now.mono_ms;
    for _ in 0..70 {
        c.types(room(1));
        c.run(100);
    }
    assert_eq!(c.said(room(1)), [start, start + EVERY, start + 2 * EVERY]);
    c.types(room(2));
    assert_eq!(c.said(room(2)).len(), 1, "another room");
    c.say(room(2), "done");
    c.types(room(2));
    assert_eq!(c.said(room(2)).len(), 2, "another message");
}

#[test]
fn the_home_hears_at_once_and_every_twenty_seconds_that_the_user_is_there_and_so_does_the_next_one() {
    let mut c = ready();
    let said = c.activity();
    let home = c.active_link(0).expect("a home");
    assert_eq!(said.iter().map(|(_, link, away)| (*link, *away)).collect::<Vec<_>>(), [(home, false)]);
    let first = said[0].0;
    c.machine.set_away(c.now, true);
    c.machine.set_away(c.now, true);
    c.drain();
    let changed = c.now.mono_ms;
    c.run(2 * limits::PRESENCE_EVERY_MS);
    let every = |n: u64| (changed + n * limits::PRESENCE_EVERY_MS, home, true);
    assert_eq!(c.activity(), [(first, home, false), every(0), every(1), every(2)]);

    c.types(room(1));
    c.disconnect(0, None);
    c.run_until("another home", |c| c.active_link(1).is_some());
    let next = c.active_link(1).expect("the other home");
    assert_eq!(c.activity().last().map(|(_, link, away)| (*link, *away)), Some((next, true)));
    c.types(room(1));
    assert_eq!(c.said(room(1)).len(), 2, "the new home has not heard of it");
}

#[test]
fn who_does_not_want_to_be_seen_says_nothing_and_hears_the_others() {
    let mut c = Cluster::with(Config { presence: false, ..config(2) }, Start { nonce: 7, seed: 1, ..Start::default() });
    c.run(100);
    c.types(room(1));
    c.machine.set_away(c.now, true);
    c.drain();
    c.run(2 * limits::PRESENCE_EVERY_MS);
    assert_eq!(c.datagrams, []);
    c.hears(0, room(1), "bob");
    assert_eq!(c.typing_now(), ["bob"]);
}

#[test]
fn without_a_home_nothing_is_said_and_nothing_is_kept() {
    let mut c = Cluster::new(1);
    c.types(room(1));
    assert_eq!(c.datagrams, []);
    c.run(100);
    assert_eq!((c.said(room(1)), c.activity().len()), (vec![], 1));
    c.machine.close();
    c.drain();
    c.types(room(1));
    assert_eq!(c.datagrams.len(), 1);
}

#[test]
fn a_message_ends_its_authors_typing_and_a_closed_room_everybodys() {
    let mut c = ready();
    let link = c.active_link(0).expect("a home");
    for (of, user) in [(1, "bob"), (1, "eve"), (2, "eve")] {
        c.hears(0, room(of), user);
    }
    let id = RequestId { stamp: Stamp(9), device: DeviceId(9) };
    let kind = Some(wire::request::Kind::Message(wire::Message::default()));
    let request = wire::Request { id: Some(id.to_wire()), room: room(1).to_wire(), kind, ..Default::default() };
    let dot = Some(causeway_protocol::Dot { origin: c.sites[0].origin, seq: 1 }.to_wire());
    let (request, user) = (request.encode_to_vec().into(), "eve".to_owned());
    let event = wire::Event { room: room(1).to_wire(), dot, user, request, ..Default::default() };
    c.event(0, link, wire::event_frame::Frame::Event(event));
    c.run(50);
    let ended = |c: &Cluster| -> Vec<(RoomId, String)> {
        c.typing.iter().filter(|(.., begins)| !begins).map(|(_, of, user, _)| (*of, user.clone())).collect()
    };
    assert_eq!(ended(&c), [(room(1), "eve".to_owned())]);
    let closed = wire::event_frame::Frame::RoomClosed(wire::RoomClosed { room: room(1).to_wire() });
    c.event(0, link, closed);
    c.run(50);
    assert_eq!(ended(&c)[1..], [(room(1), "bob".to_owned())]);
}

#[test]
fn what_makes_no_sense_is_counted_and_own_typing_and_that_of_too_many_is_not_shown() {
    let mut c = ready();
    let link = c.active_link(0).expect("a home");
    let typing = |room: Bytes, user: &str| {
        let typing = wire::Typing { room, user: user.to_owned() };
        let datagram = Some(wire::server_datagram::Datagram::Typing(typing));
        encode_datagram(&wire::ServerDatagram { datagram })
    };
    let short = typing(Bytes::from_static(b"short"), "bob");
    let nobody = typing(room(1).to_wire(), "");
    for malformed in [short, nobody, Bytes::new(), Bytes::from_static(&[0xff; 9]), Bytes::from(vec![0; 600])] {
        c.machine.handle_datagram(c.now, link, &malformed);
    }
    // A later version's kind.
    c.machine.handle_datagram(c.now, link, &Bytes::from_static(&[0x78, 1]));
    assert_eq!(c.machine.counters().malformed, 5);
    c.hears(0, room(1), "ann");
    assert_eq!(c.typing, []);
    for n in 0..1_000 {
        c.hears(0, room(1), &format!("user {n}"));
    }
    assert_eq!(c.typing_now().len(), 256);
    let spare = LinkId(u64::MAX);
    c.machine.handle_datagram(c.now, spare, &typing(room(2).to_wire(), "bob"));
    c.drain();
    assert!(!c.typing_now().contains(&"bob"), "only the home is listened to");
    c.run(LAPSE);
    assert_eq!(c.typing_now().len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However keys are pressed, nobody hears of a room more often than the law says, and none goes unheard.
    #[test]
    fn keys_are_coalesced(keys in prop::collection::vec((0_u64..4_000, 1_u8..3), 1..40)) {
        let mut c = ready();
        let mut pressed = Vec::new();
        for (pause, at) in keys {
            c.run(pause);
            c.types(room(at));
            pressed.push((c.now.mono_ms, room(at)));
        }
        for n in [1, 2] {
            let said = c.said(room(n));
            prop_assert!(said.windows(2).all(|pair| pair[1] - pair[0] >= EVERY), "{said:?}");
            for (at, _) in pressed.iter().filter(|(_, of)| *of == room(n)) {
                prop_assert!(said.iter().any(|said| said <= at && at - said < EVERY), "{at} of {said:?}");
            }
        }
    }

    /// Whatever is heard when: somebody types from the first word to 6 s after the last one that came within 6 s. At
    /// that very moment the timer or the word may come first. Where something else comes at that moment the timer is a
    /// millisecond late ([`Machine::next_timer`]).
    #[test]
    fn typing_lapses(pauses in prop::collection::vec((0_u64..9_000).prop_filter("a tie", |pause| *pause != LAPSE), 1..12)) {
        let mut c = ready();
        let (mut expected, mut until) = (Vec::new(), None);
        for pause in pauses {
            c.run(pause);
            let now = c.now.mono_ms;
            match until {
                Some(until) if now < until => {}
                before => {
                    expected.extend(before.map(|until| (until, room(1), "bob".to_owned(), false)));
                    expected.push((now, room(1), "bob".to_owned(), true));
                }
            }
            until = Some(now + LAPSE);
            c.hears(0, room(1), "bob");
        }
        c.run(LAPSE + 1);
        expected.extend(until.map(|until| (until, room(1), "bob".to_owned(), false)));
        prop_assert_eq!(c.typing.len(), expected.len(), "{:?}, not {:?}", c.typing, expected);
        for (heard, expected) in c.typing.iter().zip(&expected) {
            let late = heard.0.checked_sub(expected.0);
            prop_assert!(late.is_some_and(|ms| ms <= u64::from(!expected.3)), "{heard:?}, not {expected:?}");
            prop_assert_eq!((heard.1, &heard.2, heard.3), (expected.1, &expected.2, expected.3));
        }
    }
}
