//! Two sites.

use causeway_protocol::{
    DeviceId, Marker, Message, RequestId, RoomId, SiteId, Stamp, UnreadFlag, UserId, Vector, wire, wire::request::Kind,
};

use super::cluster::{A, B, C, Cluster, text_body, user};
use crate::io::{Alarm, Input};

#[test]
fn a_message_is_replicated_when_two_sites_have_synced_it() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let hello = sites.say(A, &ann, room);
    sites.sync(A);
    let (dot, replicated) = sites.site(A).acked(&hello).unwrap();
    assert!(!replicated);
    sites.deliver();
    assert!(sites.site(B).has(&hello));
    assert_eq!(sites.site(B).delivered(&hello), 0, "not synced at B yet");
    sites.deliver();
    assert!(!sites.site(A).frontier().covers(&dot), "B has not synced it");
    sites.sync(B);
    assert_eq!(sites.site(B).delivered(&hello), 1);
    sites.deliver();
    assert!(sites.site(A).frontier().covers(&dot));
    sites.settle();
    sites.assert_converged();
}

#[test]
fn a_request_that_both_sites_accepted_has_two_dots_and_is_shown_once() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.cut(A, B);
    let hello = sites.say(A, &ann, room);
    sites.submit(B, &hello);
    sites.sync_all();
    sites.heal(A, B);
    sites.settle();
    for site in [A, B] {
        assert_eq!((sites.site(site).dots(&hello), sites.site(site).delivered(&hello)), (2, 1));
    }
    sites.assert_converged();
}

#[test]
fn two_contents_under_one_id_come_out_the_same_at_both_sites() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.cut(A, B);
    let one = sites.say(A, &ann, room);
    let mut two = one.clone();
    let body = text_body("another thing");
    let mut request = wire::Request::decode(two.request.clone()).unwrap();
    request.body_hash = bytes::Bytes::copy_from_slice(&crate::request::body_hash(&body));
    (two.request, two.body) = (request.encode_to_vec().into(), Some(body));
    sites.submit(B, &two);
    sites.heal(A, B);
    sites.settle();
    sites.assert_converged();
}

#[test]
fn a_member_who_left_does_not_rise_again_when_a_second_dot_of_the_join_arrives() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.cut(A, B);
    let join = sites.join(A, &bob, room);
    sites.submit(B, &join);
    sites.leave(A, &bob, room);
    sites.heal(A, B);
    sites.settle();
    for site in [A, B] {
        assert!(!sites.site(site).is_member(room, &bob));
    }
    sites.assert_converged();
}

#[test]
fn a_join_that_the_leaver_did_not_see_wins() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, true);
    sites.join(A, &bob, room);
    sites.settle();
    sites.cut(A, B);
    sites.leave(A, &bob, room);
    sites.join(B, &bob, room);
    sites.heal(A, B);
    sites.settle();
    for site in [A, B] {
        assert!(sites.site(site).is_member(room, &bob));
    }
    sites.assert_converged();
}

#[test]
fn the_later_name_wins_at_both_sites() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.cut(A, B);
    for (site, name) in [(A, "old"), (B, "new"), (A, "newest")] {
        let wish = sites.wish(&ann, Some(room), Kind::SetName(wire::SetName { name: name.into() }));
        sites.submit(site, &wish);
    }
    sites.heal(A, B);
    sites.settle();
    sites.assert_converged();
}

#[test]
fn frames_that_are_lost_doubled_or_out_of_order_change_nothing() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    for turn in 0..30 {
        sites.say(A, &ann, room);
        sites.say(B, &ann, room);
        sites.sync_all();
        match turn % 3 {
            0 => sites.frames.clear(),
            1 => sites.frames.make_contiguous().reverse(),
            _ => sites.frames.extend(sites.frames.clone()),
        }
        sites.deliver();
    }
    sites.settle();
    assert!(sites.site(A).shard.counters().gated + sites.site(B).shard.counters().gated > 0, "order was broken");
    sites.assert_converged();
}

#[test]
fn a_flipped_row_is_noticed_and_repaired_from_the_ops() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, true);
    sites.join(A, &bob, room);
    sites.settle();
    // The disk lies at B: bob's membership is gone, and the digest with it, as after a wrong merge.
    let key = crate::key::Key::Member(room, bob.clone());
    let now = sites.now;
    let site = sites.site(B);
    let mut out = crate::io::Outputs::default();
    let row: wire::ElementRow =
        wire::ElementRow::decode(crate::view::View::get(&site.rows, key.family(), &key.encode()).unwrap().unwrap())
            .unwrap();
    let mut tx = super::super::tx::Tx::new(now, &site.rows, &mut out);
    site.shard.put_element(&mut tx, &room, &key, &row, &wire::ElementRow::default());
    site.rows.apply(&out.batch);
    assert_ne!(sites.sites[&A].shard.status(now).hash, sites.sites[&B].shard.status(now).hash);
    sites.settle();
    let mut alarms = sites.sites.values().flat_map(|site| &site.alarms);
    assert!(alarms.any(|alarm| matches!(alarm, Alarm::Mismatch(..))));
    sites.sites.values_mut().for_each(|site| site.alarms.clear());
    sites.settle();
    assert_eq!(sites.sites[&A].shard.status(now).hash, sites.sites[&B].shard.status(now).hash);
    assert!(sites.site(B).is_member(room, &bob));
    sites.assert_converged();
}

#[test]
fn an_op_that_does_not_fit_its_chain_is_refused_and_rings() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.say(A, &ann, room);
    sites.sync(A);
    for (_, _, frame) in &mut sites.frames {
        if let Some(wire::shard_frame::Frame::Ops(ops)) = &mut frame.frame {
            let mut header = wire::Header::decode(ops.ops[0].header.clone()).unwrap();
            header.prev = bytes::Bytes::from_static(&[5; 16]);
            ops.ops[0].header = header.encode_to_vec().into();
        }
    }
    sites.deliver();
    assert!(matches!(sites.site(B).alarms[..], [Alarm::BadOp(..)]));
    sites.site(B).alarms.clear();
    sites.settle();
    sites.assert_converged();
}

#[test]
fn a_site_whose_clock_is_off_accepts_nothing() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.input(A, Input::Accepting(false));
    let words = sites.say(A, &ann, room);
    assert_eq!(sites.site(A).refused(&words), Some(causeway_protocol::Code::ClockOff));
}

#[test]
fn a_read_marker_follows_its_user_to_the_other_site() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.say(A, &ann, room);
    sites.settle();
    let read = sites.site(A).shard.durable().clone();
    sites.input(A, Input::MarkRead(ann.clone(), room, read.into()));
    sites.settle();
    let key = crate::key::Key::Read(room, ann);
    let marker =
        |sites: &Cluster, site| crate::view::View::get(&sites.sites[&site].rows, key.family(), &key.encode()).unwrap();
    assert!(marker(&sites, A).is_some());
    assert_eq!(marker(&sites, A), marker(&sites, B));
}

fn marker(sites: &Cluster, site: SiteId, user: &UserId, room: RoomId) -> (Vector, UnreadFlag) {
    let key = crate::key::Key::Read(room, user.clone());
    let row = crate::view::View::get(&sites.sites[&site].rows, key.family(), &key.encode()).unwrap();
    let row: wire::ReadRow = row.map(|row| causeway_protocol::Message::decode(row).unwrap()).unwrap_or_default();
    let read = Vector::from_wire_opt(row.vector.as_ref()).unwrap();
    (read, UnreadFlag::from_wire_opt(row.flag.as_ref()).unwrap())
}

#[test]
fn of_flags_set_at_two_sites_the_later_holds_at_both_and_an_older_one_never_comes_back() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let flag = |n: u64, unread| UnreadFlag { id: RequestId { stamp: Stamp(n), device: DeviceId(n) }, unread };
    let said = |flag| Marker { read: Vector::new(), flag };
    sites.input(A, Input::MarkRead(ann.clone(), room, said(flag(2, false))));
    sites.input(B, Input::MarkRead(ann.clone(), room, said(flag(3, true))));
    sites.pass_ms(10 * super::super::timers::MARKS_MS);
    sites.settle();
    for site in [A, B] {
        assert_eq!(marker(&sites, site, &ann, room).1, flag(3, true));
    }
    sites.input(A, Input::MarkRead(ann.clone(), room, said(flag(1, false))));
    assert_eq!(marker(&sites, A, &ann, room).1, flag(3, true));
    // What was read moves apart from it.
    let read = sites.site(A).shard.durable().clone();
    sites.input(A, Input::MarkRead(ann.clone(), room, read.clone().into()));
    assert_eq!(marker(&sites, A, &ann, room), (read, flag(3, true)));
}

#[test]
fn a_site_whose_clock_is_off_takes_no_flag() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.input(A, Input::Accepting(false));
    let flag = UnreadFlag { id: RequestId { stamp: Stamp(9), device: DeviceId(1) }, unread: true };
    let read = sites.site(A).shard.durable().clone();
    sites.input(A, Input::MarkRead(ann.clone(), room, Marker { read: read.clone(), flag }));
    assert_eq!(marker(&sites, A, &ann, room), (read, UnreadFlag::default()));
}

#[test]
fn markers_that_a_breaking_link_lost_are_sent_again() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = sites.create(A, &ann, true);
    sites.settle();
    let flag = UnreadFlag { id: RequestId { stamp: Stamp(9), device: DeviceId(1) }, unread: true };
    sites.input(A, Input::MarkRead(ann.clone(), room, Marker { read: Vector::new(), flag }));
    sites.pass_ms(2 * super::super::timers::MARKS_MS);
    // It is under way when the link breaks, of which nobody has noticed anything.
    sites.cut(A, B);
    assert_eq!(marker(&sites, B, &ann, room).1, UnreadFlag::default());
    sites.heal(A, B);
    sites.pass_ms(2 * super::super::timers::MARKS_MS);
    sites.settle();
    assert_eq!(marker(&sites, B, &ann, room).1, flag);
}

#[test]
fn a_site_that_was_away_hears_of_the_read_markers_that_it_missed() {
    let mut sites = Cluster::new(&[A, B, C]);
    let ann = user("ann");
    let rooms = [sites.create(A, &ann, true), sites.create(A, &ann, true)];
    sites.settle();
    let read = sites.site(A).shard.durable().clone();
    let flag = UnreadFlag { id: RequestId { stamp: Stamp(9), device: DeviceId(1) }, unread: true };
    sites.cut(A, B);
    for room in rooms {
        sites.input(A, Input::MarkRead(ann.clone(), room, Marker { read: read.clone(), flag }));
    }
    sites.pass_ms(10 * super::super::timers::MARKS_MS);
    sites.heal(A, B);
    sites.settle();
    sites.pass_ms(super::super::timers::MARKS_MS);
    sites.settle();
    for room in rooms {
        assert_eq!(marker(&sites, B, &ann, room), (read.clone(), flag));
    }
}
