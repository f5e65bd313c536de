//! Scenarios: what a client does when sites die, fall silent, refuse, come back.

use causeway_protocol::Code;

use super::fake_cluster::{Cluster, config, room};
use super::*;

#[test]
fn a_message_is_stored_at_home_and_then_replicated() {
    let mut c = Cluster::new(3);
    c.run(50);
    let m = c.say(room(1), "hello");
    c.run(10);
    assert_eq!(c.stored_at(m.no), Some(1));
    assert!(!c.is_replicated(m.no));
    c.replicate(0, 1);
    c.run(10);
    assert!(c.is_replicated(m.no));
    assert_eq!(c.machine.status().outbox_requests, 0);
    assert_eq!(c.times_shown(m.id), 1);
}

#[test]
fn when_the_home_falls_silent_the_standby_takes_over_within_a_second_and_nothing_is_lost_or_shown_twice() {
    let mut c = Cluster::new(3);
    c.run(1_000);
    let before = c.say(room(1), "only the dead site has this");
    c.run(10);
    assert_eq!((c.home(), c.stored_at(before.no)), (Some(0), Some(1)));
    c.sites[0].silent = true;
    let during = c.say(room(1), "sent into the void");
    let took = c.run_until("the second ack", |c| c.stored_at(during.no).is_some());
    assert!(took < 700, "the outage took {took} ms");
    c.run(100);
    assert_eq!(c.home(), Some(1));
    assert!(c.is_replicated(before.no), "stored at two different sites");
    assert!(c.holds(1, before.id) && c.holds(1, during.id));
    assert_eq!((c.times_shown(before.id), c.times_shown(during.id)), (1, 1));
    assert_eq!(c.moves.last().map(|m| m.2), Some(MoveReason::Silent));
}

#[test]
fn an_idle_member_notices_a_silent_home_too() {
    let mut c = Cluster::new(2);
    c.run(2_000);
    c.sites[0].silent = true;
    let id = c.other_says(1, room(1), 0);
    let took = c.run_until("the message", |c| c.times_shown(id) == 1);
    assert!(took < 700, "the outage took {took} ms");
}

#[test]
fn a_home_that_closes_is_left_at_once() {
    let mut c = Cluster::new(3);
    c.run(1_000);
    c.disconnect(0, None);
    let took = c.run_until("another home", |c| c.home() == Some(1));
    assert!(took <= 5, "{took} ms");
    assert_eq!(c.moves.last().map(|m| m.2), Some(MoveReason::Closed));
}

#[test]
fn a_cold_client_dials_another_site_when_its_home_falls_silent() {
    let mut config = config(2);
    config.standby = Standby::Cold;
    let mut c = Cluster::with(config, Start::default());
    c.run(1_000);
    assert_eq!(c.machine.status().standby, None);
    c.sites[0].silent = true;
    let m = c.say(room(1), "hello");
    let took = c.run_until("the ack", |c| c.stored_at(m.no) == Some(2));
    assert!(took < 800, "{took} ms");
}

#[test]
fn a_site_that_shuts_down_is_left_before_it_closes() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.go_away(0);
    c.run(10);
    assert_eq!(c.home(), Some(1));
    assert_eq!(c.moves.last().map(|m| m.2), Some(MoveReason::Asked));
}

#[test]
fn the_session_returns_to_the_preferred_site_when_it_has_been_well_for_a_while() {
    let mut c = Cluster::new(3);
    c.run(1_000);
    c.sites[0].silent = true;
    c.run_until("a failover", |c| c.home() == Some(1));
    c.sites[0].silent = false;
    let took = c.run_until("the return", |c| c.home() == Some(0));
    assert!(took >= 5_000, "too soon: {took} ms");
    assert_eq!(c.moves.last().map(|m| m.2), Some(MoveReason::Return));
    c.run(100);
    let m = c.say(room(1), "back home");
    c.run(10);
    assert_eq!(c.stored_at(m.no), Some(1));
}

#[test]
fn a_flapping_preferred_site_is_tried_less_and_less() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    let mut stays = Vec::new();
    for _ in 0..6 {
        c.sites[0].silent = true;
        c.disconnect(0, None);
        c.run_until("a failover", |c| c.home() == Some(1));
        c.sites[0].silent = false;
        stays.push(c.run_until("the return", |c| c.home() == Some(0)));
    }
    assert!(stays[5] > 4 * stays[0], "{stays:?}");
    assert_eq!(c.moves.len(), 13);
}

#[test]
fn without_a_second_ack_for_a_second_the_request_goes_to_the_standby_too() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    let m = c.say(room(1), "the sites do not hear each other");
    c.run(900);
    assert!(!c.holds(1, m.id));
    c.run(200);
    assert!(c.holds(1, m.id));
    assert!(c.is_replicated(m.no));
    assert_eq!(c.home(), Some(0));
}

#[test]
fn in_a_cluster_of_one_site_stored_is_all_there_is() {
    let mut c = Cluster::new(1);
    c.run(100);
    let m = c.say(room(1), "hello");
    c.run(10);
    let last = c.progress_of(m.no).last().cloned().cloned();
    assert_eq!(last, Some(Progress::Replicated(Durability::SingleSite)));
}

#[test]
fn a_home_that_answers_pings_but_no_request_is_left() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.sites[0].stuck = true;
    let m = c.say(room(1), "hello");
    c.run_until("a failover", |c| c.home() == Some(1));
    assert_eq!(c.moves.last().map(|m| m.2), Some(MoveReason::Stalled));
    assert!(c.stored_at(m.no).is_some());
}

#[test]
fn a_process_that_did_not_run_blames_no_site_for_it() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    for moment in 0..20 {
        // Some of these leave a ping on the way.
        c.run(245 + moment);
        c.freeze(3_000);
    }
    c.run(1_000);
    assert_eq!(c.machine.counters().suspicions, 0);
    assert!(c.machine.counters().stalls > 0);
}

#[test]
fn a_site_that_is_not_ready_is_left_for_one_that_is() {
    let mut c = Cluster::new(2);
    c.sites[0].refuses = Some(Code::NotReady);
    c.run(1_000);
    let m = c.say(room(1), "hello");
    c.run_until("the ack", |c| c.stored_at(m.no) == Some(2));
    assert!(!c.progress_of(m.no).iter().any(|p| matches!(p, Progress::Parked { .. } | Progress::Refused { .. })));
}

#[test]
fn a_busy_site_is_asked_again() {
    let mut c = Cluster::new(1);
    c.sites[0].refuses = Some(Code::Busy);
    c.run(100);
    let m = c.say(room(1), "hello");
    c.run(2_000);
    assert!(c.progress_of(m.no).is_empty());
    c.sites[0].refuses = None;
    c.run_until("the ack", |c| c.stored_at(m.no) == Some(1));
}

#[test]
fn an_answer_that_lay_unread_while_this_process_did_not_run_counts() {
    // Whenever in a heartbeat the process stops, and however long: what had arrived is read after the tick.
    for moment in 0..260 {
        for ms in [300, 400, 430, 500, 900] {
            // Without a standby nothing else is due that would tell of the stop.
            let mut config = config(2);
            config.standby = Standby::Cold;
            let mut c = Cluster::with(config, Start::default());
            c.run(1_000 + moment);
            c.freeze(ms);
            c.run(2_000);
            assert_eq!(c.machine.counters().suspicions, 0, "stopped at {moment} for {ms} ms");
        }
    }
}

#[test]
fn when_all_sites_are_slow_at_once_none_is_blamed() {
    let mut c = Cluster::new(3);
    c.run(1_000);
    for _ in 0..20 {
        c.sites.iter_mut().for_each(|site| site.silent = true);
        c.run(1_300);
        c.sites.iter_mut().for_each(|site| site.silent = false);
        c.run(1_000);
    }
    assert_eq!((c.home(), c.machine.counters().suspicions), (Some(0), 0));
}

#[test]
fn the_second_failover_for_silence_needs_more_patience_until_things_are_calm() {
    let mut c = Cluster::new(3);
    c.run(1_000);
    let leave = |c: &mut Cluster| {
        let home = c.home().expect("a home");
        c.sites[home].silent = true;
        let took = c.run_until("a failover", |c| c.home().is_some_and(|now| now != home));
        c.sites[home].silent = false;
        took
    };
    let first = leave(&mut c);
    c.run(300);
    let second = leave(&mut c);
    assert!(first < 720 && second > first + 300, "{first} ms, {second} ms");
    c.run(60_000);
    let later = leave(&mut c);
    assert!(later < 720, "{later} ms");
}
