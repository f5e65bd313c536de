//! Tokens: which connections say which, and how often a refused one is tried.

use causeway_protocol::Code;

use super::fake_cluster::{Cluster, room};

#[test]
fn a_newer_token_goes_to_the_connections_that_stand_and_to_later_ones() {
    let mut c = Cluster::new(2);
    c.run(1_000);
    c.machine.set_token("new".to_owned());
    c.drain();
    c.run(50);
    for site in &c.sites {
        assert_eq!(site.tokens, ["", "new"], "home and standby are renewed");
    }
    c.disconnect(1, None);
    c.run(1_000);
    assert_eq!(c.sites[1].tokens.last().map(String::as_str), Some("new"));
    assert_eq!(c.machine.status().homes, 1);
}

#[test]
fn a_refused_session_comes_back_with_a_newer_token_and_loses_nothing() {
    let mut c = Cluster::new(1);
    c.run(100);
    c.sites[0].wants_token = Some("new".to_owned());
    let link = c.active_link(0).expect("a session");
    c.close(0, link, Code::TokenExpired);
    c.run(200);
    assert_eq!(c.machine.status().refused.map(|(code, _)| code), Some(Code::Unauthenticated.number()));
    let m = c.say(room(1), "meanwhile");
    c.machine.set_token("new".to_owned());
    assert_eq!(c.machine.status().refused, None);
    c.run_until("stored", |c| c.stored_at(m.no).is_some());
}

#[test]
fn tokens_that_are_all_refused_are_tried_no_faster_than_sites_that_are_down() {
    let mut c = Cluster::new(1);
    c.sites[0].wants_token = Some("another".to_owned());
    for n in 0..1_000 {
        c.run(10);
        if c.machine.status().refused.is_some() {
            c.machine.set_token(format!("fresh and wrong {n}"));
            c.drain();
        }
    }
    assert!((5..60).contains(&c.dials.len()), "{} attempts in ten seconds", c.dials.len());
}

#[test]
fn a_closed_client_takes_no_token_anywhere() {
    let mut c = Cluster::new(1);
    c.run(100);
    c.machine.close();
    c.drain();
    c.machine.set_token("new".to_owned());
    assert_eq!(c.machine.poll_output(), None);
}
