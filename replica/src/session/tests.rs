//! Resume, catching up, and the switch to live events, told as stories.

use std::collections::BTreeSet;

use causeway_protocol::{RequestId, RoomId, ShardId, Stamp, Vector, wire};
use prost::Message;
use wire::{event_frame::Frame as Event, request::Kind};

use super::test_host::{BYTES, Host, config};
use super::{SessionInput, SessionOutput};
use crate::read::fixture::{Effect, Fixture, SHARDS};

fn opened_rooms(host: &Host) -> Vec<RoomId> {
    host.events
        .iter()
        .filter_map(|event| match event {
            Event::RoomOpened(opened) => Some(RoomId::from_wire(&opened.room).unwrap()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_first_resume_opens_every_room_and_sends_all_of_it() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (sent, _) = site.message(1, room, "ann");
    site.sync();
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "event", "event", "caught up"]);
    let Event::RoomOpened(opened) = &host.events[0] else { panic!("{:?}", host.events) };
    assert_eq!((&opened.name[..], opened.open), ("ann's", true));
    assert_eq!(host.seen(room)[1], sent);
    let Some(Event::CaughtUp(caught_up)) = host.events.last() else { panic!("{:?}", host.events) };
    let vector = Vector::from_wire(caught_up.vector.as_ref().unwrap()).unwrap();
    assert_eq!(vector, host.site.durable_of(room));
    assert!(host.session.is_live());
}

#[test]
fn a_resume_with_a_cursor_sends_what_is_missing_and_opens_the_room_all_the_same() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.message(1, room, "ann");
    site.sync();
    let cursor = site.durable_of(room);
    let (missed, _) = site.message(2, room, "bob");
    site.sync();
    let mut host = Host::new(site, "ann");
    host.say_hello(&[(room, cursor)]);
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "event", "caught up"]);
    assert_eq!(host.seen(room), [missed]);
}

#[test]
fn a_cursor_from_another_site_that_is_ahead_stays_ahead() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (_, unsynced) = site.message(2, room, "bob");
    let mut host = Host::new(site, "ann");
    host.say_hello(&[(room, [unsynced].into_iter().collect())]);
    host.read_all();
    let Some(Event::CaughtUp(caught_up)) = host.events.last() else { panic!("{:?}", host.events) };
    let vector = Vector::from_wire(caught_up.vector.as_ref().unwrap()).unwrap();
    assert!(vector.covers(&unsynced));
    host.events.clear();
    host.sync();
    assert_eq!(host.seen(room), [], "the client has it already");
}

#[test]
fn live_events_follow_and_each_comes_once() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "ann");
    host.settle(&[]);
    let (first, _) = host.site.message(1, room, "ann");
    host.sync();
    let (second, _) = host.site.message(2, room, "bob");
    host.site.again(1, room, second);
    host.sync();
    assert_eq!(host.seen(room), [first, second]);
    assert!(!host.session.wants_read());
}

#[test]
fn an_event_delivered_while_storage_is_read_comes_once() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    for _ in 0..3 {
        site.message(1, room, "ann");
    }
    site.sync();
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read(1);
    assert!(host.subscribed.contains(&room));
    host.read(1);
    // Delivered before the last page: ignored, since that page has it.
    let (during, _) = host.site.message(2, room, "bob");
    host.sync();
    let seen_before = host.seen(room).len();
    host.read_all();
    assert_eq!(host.seen(room).iter().filter(|id| **id == during).count(), 1);
    assert_eq!(host.seen(room).len(), 5);
    assert!(seen_before < 5);
    // Queued before the last page was read, and taken out of the queue after it: covered.
    let (queued, _) = host.site.message(1, room, "ann");
    let effects: Vec<Effect> = host.site.sync();
    host.handle(SessionInput::Overflowed);
    host.read_all();
    for effect in effects {
        let input = host.route(effect).unwrap();
        host.handle(input);
    }
    assert_eq!(host.seen(room).iter().filter(|id| **id == queued).count(), 1);
}

#[test]
fn after_an_overflow_storage_gives_what_was_dropped() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let other = site.room("ann");
    let mut host = Host::new(site, "ann");
    host.settle(&[]);
    let sent: Vec<RequestId> = (0..5).map(|n| host.site.message(1 + n % 2, room, "ann").0).collect();
    host.site.sync();
    host.handle(SessionInput::Overflowed);
    assert!(host.session.wants_read() && !host.session.is_live());
    host.read_all();
    assert_eq!(host.seen(room), sent);
    assert!(host.story().contains(&"caught up"));
    assert_eq!(host.seen(other), []);
}

#[test]
fn a_slow_reader_never_gets_a_gap() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut config = config();
    config.limits.resume_ops_max = 3;
    let mut host = Host::with(site, "ann", config);
    host.settle(&[]);
    let sent: Vec<RequestId> = (0..10).map(|_| host.site.message(1, room, "ann").0).collect();
    host.site.sync();
    host.handle(SessionInput::Overflowed);
    host.read_all();
    assert_eq!(host.seen(room), sent);
}

#[test]
fn a_room_far_behind_gets_its_newest_page_and_is_told_of_the_gap() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let cursor = site.durable_of(room);
    let late = site.request_at(2, room, "bob", Kind::Message(wire::Message::default()), Stamp(3)).0;
    let sent: Vec<RequestId> = (0..9).map(|_| site.message(1, room, "ann").0).collect();
    site.sync();
    let mut config = config();
    (config.limits.resume_ops_max, config.limits.gap_page_max) = (9, 4);
    let mut host = Host::with(site, "ann", config);
    host.say_hello(&[(room, cursor.clone())]);
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "gap", "event", "event", "event", "event", "caught up"]);
    assert_eq!(host.seen(room), sent[5..]);
    let Event::Gap(gap) = &host.events[2] else { panic!("{:?}", host.events) };
    assert_eq!(Vector::from_wire(gap.from.as_ref().unwrap()).unwrap(), cursor);
    assert_eq!(Vector::from_wire(gap.to.as_ref().unwrap()).unwrap(), host.site.durable_of(room));
    assert_eq!((gap.missing, gap.lowest.as_ref().map(RequestId::from_wire)), (6, Some(late)));
    host.events.clear();
    let (next, _) = host.site.message(1, room, "ann");
    host.sync();
    assert_eq!(host.seen(room), [next]);
}

#[test]
fn a_room_that_lacks_many_ops_and_no_request_beyond_the_page_has_no_gap() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let sent: Vec<RequestId> = (0..4).map(|_| site.message(2, room, "ann").0).collect();
    site.sync();
    let cursor = site.durable_of(room);
    for id in sent {
        site.again(1, room, id);
    }
    let (missed, _) = site.message(2, room, "bob");
    site.sync();
    let mut config = config();
    (config.limits.resume_ops_max, config.limits.gap_page_max) = (3, 3);
    let mut host = Host::with(site, "ann", config);
    host.say_hello(&[(room, cursor)]);
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "event", "caught up"]);
    assert_eq!(host.seen(room), [missed]);
}

#[test]
fn the_newest_rooms_come_first_and_rooms_take_turns() {
    let mut site = Fixture::default();
    let rooms: Vec<RoomId> = (0..3).map(|_| site.room("ann")).collect();
    for room in [rooms[1], rooms[2], rooms[0]] {
        for _ in 0..200 {
            site.message(1, room, "ann");
        }
    }
    site.sync();
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read(BYTES);
    host.read(70_000);
    assert_eq!(opened_rooms(&host), [rooms[0], rooms[2], rooms[1]]);
    let caught_up = host.story().iter().position(|what| *what == "caught up").unwrap_or(usize::MAX);
    let last_opened = host.story().iter().rposition(|what| *what == "opened").unwrap();
    assert!(last_opened < caught_up, "each had a turn before any had a second");
    host.read_all();
    assert!(rooms.iter().all(|room| host.seen(*room).len() == 201));
}

#[test]
fn a_read_stays_within_its_bytes_but_for_one_event() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    for _ in 0..50 {
        site.message(1, room, "ann");
    }
    site.sync();
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read(BYTES);
    host.read(1_000);
    let mut reads = 1;
    while host.session.wants_read() {
        let before = host.events.len();
        host.read(1_000);
        let bytes: usize = host.events[before..]
            .iter()
            .map(|event| wire::EventFrame { frame: Some(event.clone()) }.encoded_len() + 4)
            .sum();
        assert!(bytes < 1_000 + 300, "{bytes} bytes at once");
        reads += 1;
    }
    assert!(reads > 5);
    assert_eq!(host.seen(room).len(), 51);
}

#[test]
fn a_room_that_is_joined_opens_and_its_past_comes() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.message(1, room, "ann");
    site.sync();
    let mut host = Host::new(site, "bob");
    host.settle(&[]);
    let join = host.site.join(1, room, "bob");
    assert!(host.subscribed.is_empty());
    host.sync();
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "event", "event", "event", "caught up"]);
    assert_eq!(host.seen(room).last(), Some(&join));
}

#[test]
fn a_cursor_of_a_room_that_the_site_does_not_know_yet_waits_for_it() {
    let mut site = Fixture::default();
    let room = site.unsynced_room(2, "ann");
    let (read_elsewhere, dot) = site.message(2, room, "ann");
    let mut host = Host::new(site, "ann");
    host.say_hello(&[(room, [dot].into_iter().collect())]);
    host.read_all();
    assert_eq!(host.story(), Vec::<&str>::new());
    let (new, _) = host.site.message(2, room, "ann");
    host.sync();
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "event", "caught up"]);
    assert!(host.seen(room) == [new] && new != read_elsewhere);
}

#[test]
fn a_room_that_is_left_closes_and_comes_back_where_it_was() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.join(1, room, "bob");
    site.sync();
    let mut host = Host::new(site, "bob");
    host.settle(&[]);
    host.site.leave(1, room, "bob");
    host.sync();
    assert_eq!(host.story().last(), Some(&"closed"));
    assert!(host.subscribed.is_empty());
    let (unseen, _) = host.site.message(1, room, "ann");
    host.sync();
    assert!(!host.seen(room).contains(&unseen));
    let join = host.site.join(1, room, "bob");
    host.events.clear();
    host.sync();
    host.read_all();
    assert_eq!(host.story().first(), Some(&"opened"));
    assert!(host.seen(room).ends_with(&[unseen, join]) && host.seen(room).len() <= 3);
}

#[test]
fn a_room_that_is_left_while_rooms_are_looked_up_does_not_open() {
    let mut site = Fixture::default();
    let rooms: BTreeSet<RoomId> = (0..300).map(|_| site.room("ann")).collect();
    let left = *rooms.first().unwrap();
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read(BYTES);
    host.site.leave(1, left, "ann");
    host.sync();
    host.read_all();
    assert_eq!(opened_rooms(&host).into_iter().collect::<BTreeSet<_>>(), &rooms - &BTreeSet::from([left]));
    assert!(!host.subscribed.contains(&left));
}

#[test]
fn a_room_that_is_joined_and_left_before_it_is_read_leaves_nothing_to_do() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "bob");
    host.settle(&[]);
    host.site.join(1, room, "bob");
    host.sync();
    assert!(host.session.wants_read());
    host.site.leave(1, room, "bob");
    host.sync();
    host.read_all();
    assert!(host.subscribed.is_empty() && host.events.is_empty());
}

#[test]
fn a_standby_has_no_rooms_until_it_becomes_active() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "ann");
    let hello = wire::Hello { standby: true, ..host.hello(&[]) };
    host.frame(wire::client_frame::Frame::Hello(hello.clone()));
    assert!(!host.session.wants_read() && !host.session.is_active());
    host.site.message(1, room, "ann");
    host.sync();
    assert!(host.events.is_empty() && host.subscribed.is_empty());
    host.say_hello(&[(room, host.site.durable_of(room))]);
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "caught up"]);
    host.frame(wire::client_frame::Frame::Hello(hello));
    assert!(host.subscribed.is_empty() && !host.session.is_active() && !host.session.wants_read());
    assert_eq!(host.control.len(), 3, "each hello got its welcome");
}

#[test]
fn rooms_of_a_shard_that_is_not_ready_wait_for_it() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let shard = room.shard(SHARDS);
    site.unready.insert(shard);
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read_all();
    assert!(host.events.is_empty() && host.subscribed.is_empty());
    host.site.unready.clear();
    host.handle(SessionInput::ShardReady(shard));
    host.read_all();
    assert_eq!(host.story(), ["opened", "summary", "event", "caught up"]);
}

#[test]
fn a_shard_that_merged_rows_has_its_rooms_read_again() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let shard = room.shard(SHARDS);
    let mut host = Host::new(site, "ann");
    host.settle(&[]);
    // It ceases to serve while a read is due, and merges: nothing of that is delivered.
    host.site.unready.insert(shard);
    host.handle(SessionInput::Overflowed);
    host.read_all();
    assert!(!host.session.is_live());
    let (merged, _) = host.site.message(2, room, "bob");
    host.site.sync();
    host.site.unready.clear();
    host.handle(SessionInput::ShardReady(shard));
    host.read_all();
    assert_eq!(host.seen(room), [merged]);
    // And the same where the session was live all along.
    let (merged, _) = host.site.message(2, room, "bob");
    host.site.sync();
    host.handle(SessionInput::ShardReady(shard));
    host.handle(SessionInput::ShardReady(ShardId(1 - shard.0)));
    host.read_all();
    assert_eq!(host.seen(room).last(), Some(&merged));
}

#[test]
fn a_live_event_of_a_room_that_is_not_open_is_dropped() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let mut host = Host::new(site, "bob");
    host.settle(&[]);
    host.site.message(1, room, "ann");
    for effect in host.site.sync() {
        let Effect::Deliver { room, dot, frame } = effect else { continue };
        host.handle(SessionInput::Live { room, dot, frame });
    }
    assert!(host.events.is_empty());
}

/// The user leaves, and has joined at another site meanwhile: no membership changes, and for a moment no join of
/// the user's is durable.
#[test]
fn a_room_whose_only_join_is_not_durable_yet_opens_when_it_is() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.join(1, room, "bob");
    site.sync();
    site.join(2, room, "bob");
    let mut host = Host::new(site, "bob");
    host.say_hello(&[]);
    host.read_all();
    assert!(host.events.is_empty());
    host.sync();
    host.read_all();
    assert_eq!(host.story().first(), Some(&"opened"));
    assert_eq!(host.seen(room).len(), 3);
}

#[test]
fn a_room_that_was_left_before_the_list_of_rooms_was_durable_stays_closed() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.join(1, room, "bob");
    let mut host = Host::new(site, "bob");
    host.say_hello(&[]);
    host.read_all();
    host.site.leave(1, room, "bob");
    host.sync();
    host.read_all();
    assert!(host.events.is_empty() && host.subscribed.is_empty(), "{:?}", host.events);
}

/// Word of the removal is on its way while storage is read.
#[test]
fn what_was_accepted_after_a_removal_is_not_read_though_the_session_has_not_heard_of_it() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.join(1, room, "bob");
    site.sync();
    let mut host = Host::new(site, "bob");
    host.settle(&[]);
    let before = host.site.message(1, room, "ann").0;
    let mut effects = host.site.sync();
    host.handle(SessionInput::Overflowed);
    host.read(1);
    assert_eq!(host.seen(room), [before]);
    host.site.message(1, room, "ann");
    host.site.leave(1, room, "bob");
    let after = host.site.message(1, room, "ann").0;
    effects.extend(host.site.sync());
    host.handle(SessionInput::Overflowed);
    host.read_all();
    assert!(!host.seen(room).contains(&after));
    for input in effects.into_iter().filter_map(|effect| host.route(effect)).collect::<Vec<_>>() {
        host.handle(input);
    }
    host.read_all();
    assert!(!host.seen(room).contains(&after));
    assert_eq!(host.story().last(), Some(&"closed"));
}

#[test]
fn typing_goes_to_sessions_that_have_the_room_live_and_not_to_who_types() {
    let mut site = Fixture::default();
    let (room, other) = (site.room("ann"), site.room("eve"));
    site.join(1, room, "bob");
    site.sync();
    let typing = |room, name: &str| {
        let datagram = bytes::Bytes::from_static(b"typing");
        SessionInput::Typing { room, user: crate::read::fixture::user(name), datagram }
    };
    let mut host = Host::new(site, "ann");
    let told = |host: &mut Host, input: SessionInput| {
        host.others.clear();
        host.handle(input);
        host.others.iter().filter(|output| matches!(output, SessionOutput::Datagram(_))).count()
    };
    assert_eq!(told(&mut host, typing(room, "bob")), 0, "nobody is there yet");
    host.say_hello(&[]);
    assert_eq!(told(&mut host, typing(room, "bob")), 0, "the rooms are being looked up");
    host.read(BYTES);
    assert!(host.subscribed.contains(&room));
    assert_eq!(told(&mut host, typing(room, "bob")), 0, "the client does not know of the room yet");
    host.read_all();
    assert_eq!(told(&mut host, typing(room, "bob")), 1);
    assert_eq!(told(&mut host, typing(room, "ann")), 0, "it is the user's own");
    assert_eq!(told(&mut host, typing(other, "eve")), 0, "it is not the user's room");
    host.site.leave(1, room, "ann");
    host.sync();
    assert_eq!(told(&mut host, typing(room, "bob")), 0, "no longer");
    let standby = wire::Hello { standby: true, ..host.hello(&[]) };
    host.frame(wire::client_frame::Frame::Hello(standby));
    assert_eq!(told(&mut host, typing(room, "bob")), 0, "a standby has no rooms");
}
