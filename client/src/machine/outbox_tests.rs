//! The outbox: order in a room, refusals, parking, other ids, bounds, restarts.

use causeway_protocol::Code;

use super::fake_cluster::{Cluster, config, room};
use super::*;

/// A room that no site knows at first.
const FAR: u8 = 20;

fn parked(c: &Cluster, no: RequestNo) -> bool {
    c.progress_of(no).iter().any(|p| matches!(p, Progress::Parked { .. }))
}

fn refused(c: &Cluster, no: RequestNo) -> Option<u32> {
    c.progress_of(no).iter().find_map(|p| if let Progress::Refused { code, .. } = p { Some(*code) } else { None })
}

#[test]
fn a_join_that_only_the_dead_site_knew_holds_back_the_messages_after_it_and_no_other_room() {
    let mut c = Cluster::new(3);
    c.know(0, room(FAR));
    c.run(1_000);
    let join = c.wish(room(FAR), Wish::Join);
    c.run(10);
    assert_eq!(c.stored_at(join.no), Some(1));
    c.sites[0].silent = true;
    c.run_until("a failover", |c| c.home() == Some(1));
    c.run(20);
    assert!(parked(&c, join.no));
    let held = c.say(room(FAR), "after the join");
    let other = c.say(room(1), "elsewhere");
    c.run(3_000);
    assert_eq!(c.stored_at(other.no), Some(2));
    assert!(!c.sites[1].submits.contains(&held.id), "held back");
    assert_eq!(c.machine.status().outbox_parked, 1);
    c.know(1, room(FAR));
    c.run_until("the held one", |c| c.stored_at(held.no) == Some(2));
    let order: Vec<_> = c.shown.iter().filter(|(r, _)| *r == room(FAR)).map(|(_, id)| *id).collect();
    assert_eq!(order, [join.id, held.id]);
}

#[test]
fn a_refusal_of_what_nobody_else_has_seen_is_reported_after_a_little_patience() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    let m = c.say(room(FAR), "anybody there?");
    let took = c.run_until("the refusal", |c| refused(c, m.no).is_some());
    assert!((2_000..4_000).contains(&took), "{took} ms");
    assert_eq!(refused(&c, m.no), Some(Code::UnknownRoom.number()));
    assert!(!parked(&c, m.no) && c.machine.outbox().is_empty());
}

#[test]
fn a_room_that_the_site_learns_of_in_time_costs_a_wait_and_keeps_the_order() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    let sent: Vec<_> = (0..4).map(|n| c.say(room(FAR), &n.to_string())).collect();
    c.run(700);
    c.know(0, room(FAR));
    c.run_until("the last one", |c| c.stored_at(sent[3].no).is_some());
    let order: Vec<_> = c.shown.iter().map(|(_, id)| *id).collect();
    assert_eq!(order, sent.iter().map(|s| s.id).collect::<Vec<_>>());
    assert!(sent.iter().all(|s| refused(&c, s.no).is_none()));
}

#[test]
fn many_refused_requests_of_a_room_do_not_wait_one_after_the_other() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    let sent: Vec<_> = (0..50).map(|n| c.say(room(FAR), &n.to_string())).collect();
    let took = c.run_until("all refusals", |c| sent.iter().all(|s| refused(c, s.no).is_some()));
    assert!(took < 4_000, "{took} ms");
}

#[test]
fn a_message_may_follow_the_creation_of_its_room_at_once() {
    let mut c = Cluster::new(1);
    c.sites[0].refuses = Some(Code::Busy);
    c.run(1_000);
    let (new, create) = c.machine.create_room(c.now, "lunch", true).expect("room in the outbox");
    let m = c.say(new, "noodles?");
    c.run(2_000);
    c.sites[0].refuses = None;
    c.run_until("the message", |c| c.stored_at(m.no).is_some());
    assert_eq!(c.shown, [(new, create.id), (new, m.id)]);
}

#[test]
fn a_busy_site_is_tried_again_when_it_said_and_not_before() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    c.sites[0].refuses = Some(Code::Busy);
    c.sites[0].retry_after_ms = 20_000;
    let m = c.say(room(1), "noodles?");
    c.run(1_000);
    c.sites[0].refuses = None;
    let took = c.run_until("the message", |c| c.stored_at(m.no).is_some());
    assert!((15_000..25_000).contains(&took), "{took} ms");
}

#[test]
fn a_permanent_refusal_is_reported_at_once_and_frees_the_room() {
    let mut c = Cluster::new(1);
    c.sites[0].refuses = Some(Code::Malformed);
    c.run(1_000);
    let bad = c.say(room(1), "bad");
    c.run(10);
    assert_eq!(refused(&c, bad.no), Some(Code::Malformed.number()));
    c.sites[0].refuses = None;
    let good = c.say(room(1), "good");
    c.run(10);
    assert!(c.stored_at(good.no).is_some());
}

#[test]
fn stamps_of_a_wrong_clock_are_replaced_in_order_where_no_site_has_them() {
    let mut c = Cluster::new(2);
    // Sent before any site's clock is known, by a device that is an hour ahead.
    c.sites.iter_mut().for_each(|site| site.clock_ahead_ms = -3_600_000);
    let sent: Vec<_> = (0..5).map(|n| c.say(room(1), &n.to_string())).collect();
    c.run(1_000);
    let late = c.say(room(1), "after the welcome");
    c.run_until("all", |c| sent.iter().chain([&late]).all(|s| c.stored_at(s.no).is_some()));
    assert!(sent.iter().all(|s| c.progress_of(s.no).iter().any(|p| matches!(p, Progress::Reminted { .. }))));
    let places: Vec<_> = c.shown.iter().map(|(_, id)| *id).collect();
    let mut sorted = places.clone();
    sorted.sort();
    assert_eq!(places.len(), 6);
    assert_eq!(places, sorted, "places rise in the order of sending");
    assert!(places.iter().all(|id| id.stamp.ms() < c.now.wall_ms - 3_500_000));
}

#[test]
fn an_answer_to_a_message_with_another_id_follows_it() {
    let mut c = Cluster::new(1);
    c.sites[0].clock_ahead_ms = -3_600_000;
    let first = c.say(room(1), "question");
    let wish = Wish::Message {
        content_type: String::new(),
        content: causeway_protocol::Bytes::new(),
        salt: [0; 16],
        reply_to: Some(first.id),
        mentions: Vec::new(),
        lifetime_ms: 0,
    };
    c.wish(room(1), wish);
    c.run_until("both", |c| c.shown.len() == 2);
    let Item::Request { request, .. } = &c.items[1].item else { panic!("a request") };
    let Some(wire::request::Kind::Message(message)) = &request.kind else { panic!("a message") };
    assert_eq!(message.reply_to.as_ref().map(RequestId::from_wire), Some(c.shown[0].1));
}

#[test]
fn a_change_of_a_message_with_another_id_follows_it() {
    let mut c = Cluster::new(1);
    c.sites[0].clock_ahead_ms = -3_600_000;
    let first = c.say(room(1), "question");
    c.wish(room(1), Wish::React(first.id, "+".to_owned()));
    c.wish(room(1), Wish::Redact(first.id));
    c.run_until("all", |c| c.shown.len() == 3);
    for delivered in &c.items[1..] {
        let Item::Request { request, .. } = &delivered.item else { panic!("a request") };
        let target = match &request.kind {
            Some(wire::request::Kind::React(react)) => react.target,
            Some(wire::request::Kind::Redact(redact)) => redact.target,
            kind => panic!("{kind:?}"),
        };
        assert_eq!(target.as_ref().map(RequestId::from_wire), Some(c.shown[0].1));
    }
}

#[test]
fn a_stamp_ahead_that_another_site_may_have_is_parked_and_never_replaced() {
    let mut c = Cluster::new(2);
    c.sites[1].clock_ahead_ms = -20_000;
    c.run(1_000);
    let m = c.say(room(1), "first at the one, then at the other");
    c.sites[0].silent = true;
    c.run_until("parked", |c| parked(c, m.no));
    c.run(40_000);
    assert_eq!(c.stored_at(m.no), Some(2), "time allows it in the end");
    assert!(!c.progress_of(m.no).iter().any(|p| matches!(p, Progress::Reminted { .. })));
}

#[test]
fn a_full_outbox_refuses_and_takes_again_when_something_is_replicated() {
    let mut config = config(2);
    config.limits.outbox_requests_max = 3;
    config.timing.second_site_after_ms = 1_000_000;
    let mut c = Cluster::with(config, Start::default());
    c.run(1_000);
    for n in 0..3 {
        c.say(room(1), &n.to_string());
    }
    c.run(100);
    let wish = Wish::Join;
    let full = c.machine.submit(c.now, room(1), wish.clone());
    assert_eq!(full, Err(SendError::OutboxFull { requests: 3, bytes: c.machine.status().outbox_bytes }));
    c.replicate(0, 1);
    c.run(10);
    assert!(c.machine.submit(c.now, room(1), wish).is_ok());
}

#[test]
fn what_is_too_large_is_refused_before_it_is_taken() {
    let mut c = Cluster::new(1);
    let content = causeway_protocol::Bytes::from(vec![0; causeway_protocol::limits::CONTENT_BYTES_MAX + 1]);
    let wish = Wish::Message {
        content_type: String::new(),
        content,
        salt: [0; 16],
        reply_to: None,
        mentions: Vec::new(),
        lifetime_ms: 0,
    };
    let result = c.machine.submit(c.now, room(1), wish);
    assert!(matches!(result, Err(SendError::TooLarge { field: "content", .. })), "{result:?}");
    let eve = causeway_protocol::UserId::new("eve").unwrap();
    let result = c.machine.submit(c.now, room(1), Wish::Kick(eve.clone(), "x".repeat(513)));
    assert!(matches!(result, Err(SendError::TooLarge { field: "reason", .. })), "{result:?}");
    let result = c.machine.submit(c.now, room(1), Wish::Ban { user: eve, reason: "a\nb".into(), until_ms: 0 });
    assert!(matches!(result, Err(SendError::Invalid { field: "reason", .. })), "{result:?}");
    assert!(c.machine.outbox().is_empty());
}

#[test]
fn what_is_asked_for_goes_out_as_it_was_asked() {
    use wire::request::Kind;
    let mut c = Cluster::new(1);
    c.run(1_000);
    let eve = || causeway_protocol::UserId::new("eve").expect("a name");
    let (user, reason) = ("eve".to_owned(), "x".repeat(512));
    let channel = c.machine.create_channel(c.now, "news", true).expect("room in the outbox").0;
    c.machine.create_room(c.now, "lunch", false).expect("room in the outbox");
    for wish in [
        Wish::SetRole(eve(), causeway_protocol::Role::Moderator),
        Wish::Kick(eve(), reason.clone()),
        Wish::Ban { user: eve(), reason: reason.clone(), until_ms: 300 },
        Wish::LiftBan(eve()),
    ] {
        c.wish(channel, wish);
    }
    c.run(50);
    let sent = c.sites[0].ops.iter().map(|op| wire::Request::decode(op.request.clone()).expect("a request"));
    let kinds: Vec<Kind> = sent.filter_map(|request| request.kind).collect();
    let expected = [
        Kind::Create(wire::Create { name: "news".into(), open: true, channel: true, ..Default::default() }),
        Kind::Create(wire::Create { name: "lunch".into(), open: false, channel: false, ..Default::default() }),
        Kind::SetRole(wire::SetRole { user: user.clone(), role: 3 }),
        Kind::Kick(wire::Kick { user: user.clone(), reason: reason.clone() }),
        Kind::Ban(wire::Ban { user: user.clone(), reason, until_ms: 300 }),
        Kind::LiftBan(wire::LiftBan { user }),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn no_more_are_in_flight_than_the_site_allows() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    c.sites[0].stuck = true;
    for n in 0..200 {
        c.say(room(n % 3), "one of many");
    }
    c.run(50);
    c.sites[0].stuck = false;
    assert_eq!(c.machine.counters().submits, 64);
}

#[test]
fn a_discarded_request_no_longer_holds_back_its_room() {
    let mut c = Cluster::new(2);
    c.know(0, room(FAR));
    c.run(1_000);
    let join = c.wish(room(FAR), Wish::Join);
    c.sites[0].silent = true;
    c.run_until("parked", |c| parked(c, join.no));
    let m = c.say(room(FAR), "next");
    assert!(c.machine.discard(c.now, join.no));
    assert!(!c.machine.discard(c.now, join.no));
    c.drain();
    c.run(10);
    assert!(c.sites[1].submits.contains(&m.id));
    assert_eq!(c.progress_of(join.no).last(), Some(&&Progress::Discarded));
}

#[test]
fn a_saved_outbox_is_sent_with_its_own_nonce_and_parked_where_it_is_refused() {
    let mut before = Cluster::new(1);
    before.sites[0].stuck = true;
    before.run(100);
    let m = before.say(room(FAR), "written before the restart");
    let added = |change: &Change| if let Change::Added(saved) = change { Some(saved.clone()) } else { None };
    let outbox: Vec<_> = before.changes.iter().filter_map(added).collect();
    assert_eq!(outbox.len(), 1);

    let mut c = Cluster::with(config(1), Start { nonce: 8, seed: 2, outbox, ..Start::default() });
    c.run(100);
    assert_eq!((&c.sites[0].submits[..1], &c.sites[0].nonces[..1]), (&[m.id][..], &[7][..]));
    assert!(parked(&c, m.no), "another site may have it");
    let next = c.say(room(1), "a new one");
    assert!(next.no > m.no);
    c.know(0, room(FAR));
    c.run_until("the old one", |c| c.stored_at(m.no).is_some());
}

#[test]
fn ids_differ_between_rooms_too_and_a_room_that_is_ahead_does_not_drag_others_along() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    let ahead = c.other_says(0, room(1), 3_600_000);
    c.run(10);
    let mut ids: Vec<_> = (2..9).map(|n| c.say(room(n), "same millisecond").id).collect();
    let after = c.say(room(1), "after the future").id;
    assert!(after > ahead && after.stamp.ms() <= ahead.stamp.ms() + 1);
    assert!(ids.iter().all(|id| id.stamp.ms() <= c.now.wall_ms + 10));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 7);
    c.run(10);
    assert_eq!(c.machine.outbox(), []);
}

#[test]
fn what_the_standby_accepted_is_not_sent_there_again_when_it_becomes_home() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.sites[0].stuck = true;
    let m = c.say(room(1), "hello");
    c.run(1_200);
    assert_eq!(c.stored_at(m.no), Some(2));
    c.run_until("a failover", |c| c.home() == Some(1));
    c.run(100);
    assert_eq!(c.sites[1].submits.iter().filter(|id| **id == m.id).count(), 1);
}

#[test]
fn what_the_standby_accepted_before_it_became_home_goes_to_the_next_standby_if_it_is_not_replicated() {
    let mut c = Cluster::new(3);
    c.run(1_000);
    c.sites[0].stuck = true;
    let m = c.say(room(1), "hello");
    c.run_until("a failover", |c| c.home() == Some(1));
    assert_eq!(c.stored_at(m.no), Some(2));
    c.run_until("a second site", |c| c.is_replicated(m.no));
    assert!(c.holds(2, m.id));
}

#[test]
fn what_was_to_go_into_a_room_whose_creation_is_refused_is_refused_with_it() {
    let mut c = Cluster::new(1);
    c.run(1_000);
    c.sites[0].refuses = Some(Code::NotPermitted);
    let (new, create) = c.machine.create_room(c.now, "lunch", true).expect("room in the outbox");
    let m = c.say(new, "noodles?");
    c.run_until("the refusal", |c| refused(c, create.no).is_some());
    assert_eq!(refused(&c, m.no), Some(Code::NotPermitted.number()));
    assert!(c.machine.outbox().is_empty());
}
