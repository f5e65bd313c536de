//! When a session tells how a room stands.

use causeway_protocol::{DeviceId, Dot, Marker, Stamp, UnreadFlag, Vector, wire};
use wire::client_frame::Frame;
use wire::event_frame::Frame as Event;

use super::test_host::Host;
use super::*;
use crate::read::fixture::Fixture;

/// Ann, who has all of a room of hers with one message of bob's.
fn ann() -> (Host, RoomId, Dot) {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let (_, dot) = site.message(1, room, "bob");
    site.sync();
    let mut host = Host::new(site, "ann");
    host.say_hello(&[]);
    host.read_all();
    (host, room, dot)
}

fn summaries(host: &Host) -> Vec<(u64, u64)> {
    let told = host.events.iter().filter_map(|event| match event {
        Event::Summary(summary) => Some((summary.unread, summary.mentions)),
        _ => None,
    });
    told.collect()
}

fn mark(host: &mut Host, room: RoomId, vector: &Vector) {
    host.frame(Frame::MarkRead(wire::MarkRead { room: room.to_wire(), vector: Some(vector.to_wire()), flag: None }));
}

/// The shard has taken a marker.
fn marked(host: &mut Host, room: RoomId, marker: &Vector) {
    host.site.mark(room, "ann", marker);
    host.handle(SessionInput::Marked { room, marker: Marker::from(marker.clone()) });
    host.read_all();
}

#[test]
fn invitations_are_told_once_also_where_there_is_none() {
    let (mut host, ..) = ann();
    assert_eq!(host.invitations, [Vec::new()], "a client may hold some of another site's");
    host.handle(SessionInput::Invitations);
    host.read_all();
    assert_eq!(host.invitations.len(), 1);
}

#[test]
fn a_room_that_opens_is_told_before_its_events() {
    let (host, ..) = ann();
    assert_eq!(host.story(), ["opened", "summary", "event", "event", "caught up"]);
    assert_eq!(summaries(&host), [(1, 0)]);
}

#[test]
fn what_has_not_changed_is_said_in_one_word_and_goes_on_live() {
    let (mut host, room, dot) = ann();
    let all = host.site.durable_of(room);
    let hello = |host: &mut Host, summary: u64| {
        host.events.clear();
        let mut hello = host.hello(&[(room, all.clone())]);
        hello.cursors[0].summary = summary;
        host.frame(Frame::Hello(hello));
        host.read_all();
    };
    hello(&mut host, Marker::from(Vector::new()).fingerprint(&all));
    assert_eq!(host.story(), ["unchanged"]);
    host.site.message(1, room, "bob");
    host.sync();
    assert_eq!(host.story(), ["unchanged", "event"]);
    hello(&mut host, Marker::from(Vector::new()).fingerprint(&all));
    assert_eq!(host.story(), ["opened", "summary", "event", "caught up"]);
    let all = host.site.durable_of(room);
    let mut anew = host.hello(&[(room, all.clone())]);
    // Another marker than it holds; no summary at all.
    for summary in [Marker::from(Vector::from_iter([dot])).fingerprint(&all), 0] {
        host.events.clear();
        anew.cursors[0].summary = summary;
        host.frame(Frame::Hello(anew.clone()));
        host.read_all();
        assert_eq!(host.story(), ["opened", "summary", "caught up"]);
    }
}

#[test]
fn who_has_read_everything_is_told_nothing_and_everybody_else_is() {
    let (mut host, room, dot) = ann();
    let all = host.site.durable_of(room);
    mark(&mut host, room, &all);
    marked(&mut host, room, &all);
    assert_eq!(summaries(&host).len(), 1, "it knows that");
    // Another device, or less than all that was told.
    host.site.message(1, room, "bob");
    host.sync();
    let all = host.site.durable_of(room);
    marked(&mut host, room, &all);
    assert_eq!(summaries(&host), [(1, 0), (0, 0)]);
    let some = Vector::from_iter([dot]);
    let mut host = ann().0;
    mark(&mut host, room, &some);
    let before = summaries(&host).len();
    let less = Vector::from_iter([Dot { origin: crate::read::fixture::origin(2), ..dot }]);
    let room = host.subscribed.iter().copied().next().unwrap();
    host.handle(SessionInput::Marked { room, marker: less.into() });
    host.read_all();
    assert_eq!(summaries(&host).len(), before + 1, "the marker is not the one that it said");
}

#[test]
fn a_flag_is_told_to_every_device_but_the_one_that_set_it() {
    let (mut host, room, dot) = ann();
    let flag = |n: u64, unread: bool| UnreadFlag { id: RequestId { stamp: Stamp(n), device: DeviceId(1) }, unread };
    let moved = |host: &mut Host, marker: &Marker| {
        host.site.put_marker(room, "ann", marker);
        host.handle(SessionInput::Marked { room, marker: marker.clone() });
        host.read_all();
    };
    let said = |host: &mut Host, flag: UnreadFlag| {
        host.frame(Frame::MarkRead(wire::MarkRead { room: room.to_wire(), vector: None, flag: flag.to_wire() }));
        host.read_all();
    };
    let flags = |host: &Host| -> Vec<bool> {
        let flag = |event: &Event| match event {
            Event::Summary(summary) => Some(summary.flag.as_ref().is_some_and(|flag| flag.unread)),
            _ => None,
        };
        host.events.iter().filter_map(flag).collect()
    };
    said(&mut host, flag(5, true));
    moved(&mut host, &Marker { read: Vector::new(), flag: flag(5, true) });
    assert_eq!(flags(&host), [false], "it knows that");
    // Another device takes it away.
    moved(&mut host, &Marker { read: Vector::new(), flag: flag(6, false) });
    assert_eq!(flags(&host), [false, false]);
    // Another one reads, and says nothing of a flag: that tells of what was read alone.
    moved(&mut host, &Marker { read: Vector::from_iter([dot]), flag: flag(6, false) });
    assert_eq!(summaries(&host).len(), 3);
    // An older one comes late: what was said last holds.
    said(&mut host, flag(8, true));
    moved(&mut host, &Marker { read: Vector::from_iter([dot]), flag: flag(7, false) });
    assert_eq!(summaries(&host).len(), 3);
}

#[test]
fn a_flag_tells_by_the_fingerprint_at_a_hello() {
    let (mut host, room, _) = ann();
    let all = host.site.durable_of(room);
    let flag = UnreadFlag { id: RequestId { stamp: Stamp(5), device: DeviceId(1) }, unread: true };
    let marker = Marker { read: Vector::new(), flag };
    host.site.put_marker(room, "ann", &marker);
    let hello = |host: &mut Host, summary: u64| {
        host.events.clear();
        let mut hello = host.hello(&[(room, all.clone())]);
        hello.cursors[0].summary = summary;
        host.frame(Frame::Hello(hello));
        host.read_all();
    };
    hello(&mut host, Marker::default().fingerprint(&all));
    assert!(host.story().contains(&"summary"), "{:?}", host.story());
    hello(&mut host, marker.fingerprint(&all));
    assert_eq!(host.story(), ["unchanged"]);
}

#[test]
fn events_on_their_way_to_who_marks_are_counted_there() {
    let (mut host, room, _) = ann();
    let summed = host.site.durable_of(room);
    host.site.message(1, room, "bob");
    host.sync();
    mark(&mut host, room, &summed);
    marked(&mut host, room, &summed);
    assert_eq!(summaries(&host), [(1, 0)], "it resets its count, and adds what comes");
    assert_eq!(host.story(), ["opened", "summary", "event", "event", "caught up", "event"]);
}

#[test]
fn a_mark_without_a_vector_asks() {
    let (mut host, room, _) = ann();
    host.site.message(1, room, "bob");
    host.sync();
    mark(&mut host, room, &Vector::new());
    host.read_all();
    assert_eq!(summaries(&host), [(1, 0), (2, 0)]);
    assert!(!host.others.iter().any(|output| matches!(output, SessionOutput::MarkRead(..))));
}

#[test]
fn a_recount_tells_where_something_is_hidden_or_was_read_by_another_dot() {
    let (mut host, room, dot) = ann();
    let other = Dot { origin: crate::read::fixture::origin(2), seq: 1 };
    host.handle(SessionInput::Recount { room, dot: other, hides: false });
    host.read_all();
    assert_eq!(summaries(&host).len(), 1, "nothing counts otherwise");
    host.handle(SessionInput::Recount { room, dot: other, hides: true });
    host.read_all();
    assert_eq!(summaries(&host).len(), 2);
    marked(&mut host, room, &Vector::from_iter([dot]));
    assert_eq!(summaries(&host).len(), 3);
    host.handle(SessionInput::Recount { room, dot, hides: false });
    host.read_all();
    assert_eq!(summaries(&host).len(), 4);
}

#[test]
fn a_recount_tells_where_another_site_has_shown_what_is_hidden_here() {
    let (mut host, room, _) = ann();
    let other = Dot { origin: crate::read::fixture::origin(2), seq: 1 };
    let mut cursor = host.site.durable_of(room);
    cursor.raise(other);
    host.settle(&[(room, cursor)]);
    host.handle(SessionInput::Recount { room, dot: other, hides: false });
    host.read_all();
    assert_eq!(host.story(), ["summary"]);
}

#[test]
fn what_comes_late_though_the_cursor_covers_it_is_told() {
    let (mut host, room, _) = ann();
    // The client has had it from a site that is dead now.
    let late = Dot { origin: crate::read::fixture::origin(2), seq: 1 };
    let mut cursor = host.site.durable_of(room);
    cursor.raise(late);
    host.settle(&[(room, cursor)]);
    let (_, dot) = host.site.message(2, room, "bob");
    assert_eq!(dot, late);
    host.sync();
    host.read_all();
    assert_eq!(host.story(), ["summary"]);
    assert_eq!(summaries(&host), [(2, 0)]);
}
