use super::*;
use crate::settings::Settings;

fn gate(change: impl FnOnce(&mut Limits)) -> Handshakes {
    let mut limits = Limits::from_settings(&Settings::default()).unwrap();
    change(&mut limits);
    Handshakes::new(&limits, 0)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_source_over_its_rate_is_refused_by_name_and_another_is_served() {
    let mut gate = gate(|l| l.source_handshakes_per_s = 2);
    let one = ip("192.0.2.1");
    assert!((0..20).all(|_| gate.judge(0, one, true, 0) == Verdict::Take));
    let Verdict::Refuse(over) = gate.judge(0, one, true, 0) else { panic!("let through") };
    assert_eq!((over.setting, over.retry_after_ms), ("source_handshakes_per_s", 500));
    assert_eq!(gate.judge(0, ip("192.0.2.2"), true, 0), Verdict::Take);
    assert_eq!(gate.judge(500, one, true, 0), Verdict::Take);
}

#[test]
fn all_sources_together_have_a_rate() {
    let mut gate = gate(|l| l.handshakes_per_s = 1);
    let from = |n: u8| ip(&format!("192.0.2.{n}"));
    assert!((0..10).all(|n| gate.judge(0, from(n), true, 0) == Verdict::Take));
    let Verdict::Refuse(over) = gate.judge(0, from(99), true, 0) else { panic!("let through") };
    assert_eq!((over.setting, over.retry_after_ms), ("handshakes_per_s", 1_000));
}

#[test]
fn many_half_open_handshakes_ask_for_a_proof_of_the_address() {
    let mut gate = gate(|l| l.handshakes_retry_above = 3);
    let one = ip("192.0.2.1");
    assert_eq!(gate.judge(0, one, false, 2), Verdict::Take);
    assert_eq!(gate.judge(0, one, false, 3), Verdict::Retry);
    assert_eq!(gate.judge(0, one, true, 3), Verdict::Take);
}

#[test]
fn false_addresses_take_half_and_leave_the_rest_to_the_true_one() {
    let mut gate = gate(|l| l.source_handshakes_per_s = 2);
    let one = ip("192.0.2.1");
    let taken = (0..100).filter(|_| gate.judge(0, one, false, 0) == Verdict::Take).count();
    assert_eq!(taken, 10);
    assert_eq!(gate.judge(0, one, false, 0), Verdict::Retry, "and never a refusal");
    assert_eq!((0..100).filter(|_| gate.judge(0, one, true, 0) == Verdict::Take).count(), 10);
}

#[test]
fn a_network_is_one_source_and_an_ipv4_address_is_itself_however_it_is_written() {
    assert_eq!(source_of(ip("2001:db8::1")), source_of(ip("2001:db8::ffff:2")));
    assert_ne!(source_of(ip("2001:db8::1")), source_of(ip("2001:db8:0:1::1")));
    assert_eq!(source_of(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    assert_ne!(source_of(ip("192.0.2.1")), source_of(ip("192.0.2.2")));
}

#[test]
fn the_table_of_sources_is_bounded_and_forgets_those_who_are_quiet() {
    let mut gate = gate(|l| (l.handshakes_per_s, l.source_handshakes_per_s) = (1_000_000, 1));
    let from = |n: u32| IpAddr::V4(n.into());
    for n in 0..SOURCES_MAX as u32 + 500 {
        let verdict = gate.judge(0, from(n), true, 0);
        // The others share one bucket.
        assert_eq!(verdict == Verdict::Take, n < SOURCES_MAX as u32 + 10, "{n}");
    }
    assert_eq!(gate.sources.len(), SOURCES_MAX);
    assert_eq!(gate.judge(1_000, from(u32::MAX), true, 0), Verdict::Take);
    assert_eq!(gate.sources.len(), 1, "after a second each is as good as new");
}
