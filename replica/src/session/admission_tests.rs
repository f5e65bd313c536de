//! Tokens: who gets in, and for how long. The host's clocks stand at 5 ms (mono) and 1,234 ms (wall).

use std::sync::Arc;

use causeway_protocol::{Code, limits, wire::client_frame::Frame};

use super::test_host::{Host, config};
use super::*;
use crate::read::fixture::{Fixture, user};

/// Knows tokens of the form `USER until MS`.
#[derive(Debug)]
struct Plain;

impl Tokens for Plain {
    fn check(&self, wall_ms: u64, token: &str) -> Result<Grant, (Code, String)> {
        let refused = || (Code::Unauthenticated, "no such token".to_owned());
        let (name, until) = token.split_once(" until ").ok_or_else(refused)?;
        let until_ms = until.parse().map_err(|_| refused())?;
        if until_ms <= wall_ms {
            return Err((Code::TokenExpired, "expired".to_owned()));
        }
        Ok(Grant { user: user(name), until_ms })
    }
}

fn host() -> Host {
    let admission = Admission::Tokens(Arc::new(Plain));
    Host::with(Fixture::default(), "ann", SessionConfig { admission, ..config() })
}

fn hello(host: &mut Host, token: &str) {
    let hello = wire::Hello { token: token.to_owned(), ..host.hello(&[]) };
    host.frame(Frame::Hello(hello));
}

fn renew(host: &mut Host, token: &str) {
    host.frame(Frame::Renew(wire::Renew { token: token.to_owned() }));
}

fn closed(host: &Host) -> Option<(Code, &str)> {
    match host.others.last() {
        Some(SessionOutput::Close(code, detail)) => Some((*code, detail)),
        _ => None,
    }
}

fn tick(host: &mut Host, mono_ms: u64) {
    let mut out = Vec::new();
    host.session.handle(Now { mono_ms, wall_ms: 1_234 }, SessionInput::Tick, &mut out);
    host.others.append(&mut out);
}

#[test]
fn a_good_token_gets_its_user_in() {
    let mut host = host();
    hello(&mut host, "ann until 2234");
    assert_eq!(host.session.user(), Some(&user("ann")));
    assert_eq!(host.session.next_timer(), Some(5 + 1_000), "on the monotonic clock");
}

#[test]
fn a_bad_token_gets_nobody_in_and_binds_nothing() {
    let long = "x".repeat(limits::TOKEN_BYTES_MAX + 1);
    let cases = [
        ("", Code::Unauthenticated, "empty"),
        ("nonsense", Code::Unauthenticated, "no such token"),
        ("bob until 9999", Code::Unauthenticated, "another user"),
        ("ann until 1234", Code::TokenExpired, "expired"),
        (&long, Code::Unauthenticated, "limit"),
    ];
    for (token, code, words) in cases {
        let mut host = host();
        hello(&mut host, token);
        let (got, detail) = closed(&host).unwrap_or_else(|| panic!("{token:.20} got in"));
        assert!(got == code && detail.contains(words), "{token:.20}: {got:?} {detail}");
        assert!(token.is_empty() || !detail.contains(token), "the token is quoted: {detail}");
        assert_eq!(host.others.len(), 1, "{:?}", host.others);
        assert!(host.control.is_empty() && host.session.user().is_none());
    }
}

#[test]
fn a_session_ends_with_its_token_and_not_before() {
    let mut host = host();
    hello(&mut host, "ann until 2234");
    tick(&mut host, 1_004);
    assert_eq!(closed(&host), None);
    tick(&mut host, 1_005);
    assert_eq!(closed(&host).map(|(code, _)| code), Some(Code::TokenExpired));
    assert_eq!(host.session.next_timer(), None);
}

#[test]
fn a_renewed_session_goes_on() {
    let mut host = host();
    hello(&mut host, "ann until 2234");
    renew(&mut host, "ann until 3234");
    tick(&mut host, 1_005);
    assert_eq!(closed(&host), None);
    assert_eq!(host.session.next_timer(), Some(2_005));
    tick(&mut host, 2_005);
    assert_eq!(closed(&host).map(|(code, _)| code), Some(Code::TokenExpired));
}

#[test]
fn a_renewal_is_checked_like_a_hello() {
    for (token, code) in
        [("bob until 9999", Code::Unauthenticated), ("", Code::Unauthenticated), ("ann until 7", Code::TokenExpired)]
    {
        let mut host = host();
        hello(&mut host, "ann until 2234");
        renew(&mut host, token);
        assert_eq!(closed(&host).map(|(code, _)| code), Some(code), "{token}");
    }
}

#[test]
fn a_token_without_an_end_in_sight_is_capped() {
    let mut host = host();
    hello(&mut host, &format!("ann until {}", u64::MAX));
    let years = host.session.next_timer().unwrap() / (365 * 24 * 3_600_000);
    assert_eq!(years, 10);
}

#[test]
fn nothing_comes_before_the_hello() {
    let mut host = host();
    renew(&mut host, "ann until 2234");
    assert_eq!(closed(&host).map(|(code, _)| code), Some(Code::ProtocolError));
}

#[test]
fn without_tokens_a_session_lasts() {
    let mut host = Host::new(Fixture::default(), "ann");
    hello(&mut host, "whatever");
    assert_eq!(host.session.next_timer(), None);
    tick(&mut host, u64::MAX);
    assert_eq!(closed(&host), None);
}
