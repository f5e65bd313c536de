//! Marked unread, and read: what a client says, shows, and says again.

use causeway_protocol::{Code, Marker, RoomId, Vector};
use wire::event_frame::Frame as Event;

use super::super::fake_cluster::Cluster;
use super::super::io::LinkId;
use super::*;

const ROOM: RoomId = RoomId([1; 16]);

/// A client whose home has told how its room stands.
fn client() -> (Cluster, LinkId) {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.other_says(0, ROOM, 0);
    c.run(10);
    let home = c.machine.home.expect("a home");
    let opened = wire::RoomOpened { room: ROOM.to_wire(), ..Default::default() };
    c.machine.handle_event(c.now, home, frame(Event::RoomOpened(opened)));
    told(&mut c, UnreadFlag::default());
    (c, home)
}

fn frame(frame: Event) -> wire::EventFrame {
    wire::EventFrame { frame: Some(frame) }
}

fn told(c: &mut Cluster, flag: UnreadFlag) {
    let home = c.machine.home.expect("a home");
    let summary = wire::RoomSummary { room: ROOM.to_wire(), flag: flag.to_wire(), ..Default::default() };
    c.machine.handle_event(c.now, home, frame(Event::Summary(summary)));
    c.drain();
    c.run(10);
}

fn is_marked(c: &Cluster) -> bool {
    c.machine.rooms(c.now)[0].marked_unread
}

/// The flags that were said, those of frames without one left out.
fn said(c: &Cluster) -> Vec<UnreadFlag> {
    let flags = c.marks.iter().map(|mark| UnreadFlag::from_wire_opt(mark.flag.as_ref()).expect("a flag"));
    flags.filter(UnreadFlag::is_set).collect()
}

fn unread(c: &mut Cluster) {
    c.machine.mark_unread(c.now, ROOM);
    c.drain();
    c.run(10);
}

fn read(c: &mut Cluster) {
    c.machine.mark_read(c.now, ROOM);
    c.drain();
    c.run(10);
}

#[test]
fn it_shows_at_once_is_said_alone_and_reading_takes_it_away() {
    let (mut c, _) = client();
    unread(&mut c);
    assert!(is_marked(&c));
    assert_eq!((said(&c)[0].unread, &c.marks[0].vector), (true, &None), "nothing is read by it");
    read(&mut c);
    assert!(!is_marked(&c));
    let flags = said(&c);
    assert!(!flags[1].unread && flags[1].id > flags[0].id);
    assert!(c.marks[1].vector.is_some());
}

#[test]
fn who_reads_a_room_that_is_not_marked_says_nothing_of_a_flag() {
    let (mut c, _) = client();
    read(&mut c);
    assert_eq!((c.marks.len(), said(&c)), (1, vec![]));
}

#[test]
fn who_was_not_told_yet_takes_away_what_there_may_be() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.other_says(0, ROOM, 0);
    c.run(10);
    read(&mut c);
    assert_eq!(said(&c).iter().map(|flag| flag.unread).collect::<Vec<_>>(), [false]);
}

#[test]
fn a_site_that_tells_of_less_is_told() {
    let (mut c, _) = client();
    let newest = UnreadFlag { id: RequestId { stamp: causeway_protocol::Stamp(9), ..RequestId::MIN }, unread: true };
    told(&mut c, newest);
    assert!(is_marked(&c) && c.marks.is_empty());
    // Another home that has lost it, or never heard of it; it may be another device's.
    told(&mut c, UnreadFlag::default());
    assert!(is_marked(&c));
    assert_eq!(said(&c), [newest]);
}

#[test]
fn what_was_marked_before_the_first_summary_shows_with_it() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.other_says(0, ROOM, 0);
    c.run(10);
    unread(&mut c);
    let home = c.machine.home.expect("a home");
    let opened = wire::RoomOpened { room: ROOM.to_wire(), ..Default::default() };
    c.machine.handle_event(c.now, home, frame(Event::RoomOpened(opened)));
    told(&mut c, UnreadFlag::default());
    assert!(is_marked(&c));
}

#[test]
fn it_is_said_to_the_new_home_as_well() {
    let (mut c, _) = client();
    unread(&mut c);
    c.go_away(0);
    c.run_until("a move", |c| c.home() == Some(1));
    c.run(10);
    let flags = said(&c);
    assert_eq!((flags.len(), flags[0]), (2, flags[1]));
}

#[test]
fn a_stamp_from_a_wrong_clock_is_made_anew_once() {
    let (mut c, home) = client();
    unread(&mut c);
    let refuse = |c: &mut Cluster, id: RequestId| {
        let (id, code) = (Some(id.to_wire()), Code::StampAhead.number());
        let refused = wire::Refused { id, code, ..Default::default() };
        let frame = wire::ServerFrame { frame: Some(wire::server_frame::Frame::Refused(refused)) };
        c.machine.handle_control(c.now, home, frame);
        c.drain();
        c.run(10);
    };
    let first = said(&c)[0].id;
    refuse(&mut c, first);
    let again = said(&c)[1];
    assert!(again.unread && again.id != first && is_marked(&c));
    // A site that refuses that as well is not asked for ever.
    refuse(&mut c, again.id);
    assert_eq!((said(&c).len(), is_marked(&c)), (2, false));
    let asks = c.marks.last().expect("a question");
    assert!(asks.vector.is_none() && asks.flag.is_none(), "it asks how the room stands");
    told(&mut c, UnreadFlag::default());
    assert!(!is_marked(&c) && Marker::from(Vector::new()).is_empty());
}
