use causeway_protocol::{DeviceId, RequestId, Stamp};

use super::*;

const CUTS: Cuts = Cuts { fault_us: Some(10_000_000), back_us: Some(20_000_000), end_us: 30_000_000 };

fn id(n: u32) -> RequestId {
    RequestId { stamp: Stamp(u64::from(n) + 1), device: DeviceId(1) }
}

/// One message of client 0 to room 0.
fn send(ledger: &mut Ledger, intended_us: u64, stored_us: Option<u64>) -> u32 {
    let no = ledger.open(0, 0, intended_us);
    let sent = ledger.get_mut(no).unwrap();
    sent.id = id(no);
    sent.stored_us = stored_us;
    no
}

fn member() -> Seen {
    let mut seen = Seen::default();
    seen.joined_us.insert(0, 0);
    seen
}

#[test]
fn latencies_are_taken_from_the_intended_send_and_cut_by_it() {
    let mut ledger = Ledger::default();
    let early = send(&mut ledger, 9_999_000, Some(10_400_000));
    send(&mut ledger, 10_000_000, Some(10_001_000));
    let mut seen = member();
    seen.show(early, id(0), 10_500_000);
    let (phases, timeline) = latencies(&ledger, &[&seen], CUTS);
    assert_eq!(phases.iter().map(|p| p.phase).collect::<Vec<_>>(), [Phase::Before, Phase::During]);
    assert!((phases[0].stored.max_ms - 401.0).abs() < 1.0, "{phases:?}");
    assert!((phases[0].delivered.max_ms - 501.0).abs() < 1.0, "{phases:?}");
    assert!((phases[1].stored.max_ms - 1.0).abs() < 0.01, "{phases:?}");
    let points = timeline.points();
    assert_eq!((points[9].sent, points[9].stored, points[10].sent, points[10].stored), (1, 0, 1, 2));
}

#[test]
fn what_a_member_is_shown_of_the_time_before_it_joined_is_no_latency() {
    let mut ledger = Ledger::default();
    let no = send(&mut ledger, 1_000, Some(2_000));
    let mut seen = member();
    seen.joined_us.insert(0, 5_000_000);
    seen.show(no, id(0), 6_000_000);
    let (phases, _) = latencies(&ledger, &[&seen], CUTS);
    assert_eq!(phases[0].delivered.count, 0);
}

#[test]
fn a_publish_that_waits_and_a_member_that_waits_make_an_outage() {
    let mut ledger = Ledger::default();
    // Meant before the fault, stored 600 ms after it; another client is shown it 100 ms later.
    let no = send(&mut ledger, 9_900_000, Some(10_600_000));
    let sender = member();
    let mut other = member();
    other.show(no, id(no), 10_700_000);
    let report = outages(&ledger, &[&sender, &other], &[true, false], CUTS);
    assert_eq!(report.publish.clients, 1);
    assert!((report.publish.max_ms - 600.0).abs() < 1e-9);
    assert!((report.all.p50_ms - 700.0).abs() < 1e-9, "{report:?}");
    assert_eq!(report.all.clients, 2);
}

#[test]
fn what_never_comes_is_waited_for_until_the_end() {
    let mut ledger = Ledger::default();
    send(&mut ledger, 15_000_000, Some(15_001_000));
    send(&mut ledger, 16_000_000, None);
    let report = outages(&ledger, &[&member()], &[true], CUTS);
    assert!((report.delivery.max_ms - 15_000.0).abs() < 1e-9, "an acked message was not shown");
    assert!((report.publish.max_ms - 14_000.0).abs() < 1e-9, "a publish has no answer");
    // Refused, or behind a gap: nobody waits.
    ledger.sent[1].refused = Some(201);
    let mut seen = member();
    seen.gap(0, id(0), 15_000_000);
    let report = outages(&ledger, &[&seen], &[true], CUTS);
    assert!((report.all.max_ms - 1.0).abs() < 1e-9, "{report:?}");
}

#[test]
fn clients_without_traffic_due_are_not_counted_and_neither_is_a_run_without_a_fault() {
    let report = outages(&Ledger::default(), &[&member()], &[true], CUTS);
    assert_eq!(report.all.clients, 0);
    let mut ledger = Ledger::default();
    send(&mut ledger, 0, None);
    let calm = Cuts { fault_us: None, ..CUTS };
    assert_eq!(outages(&ledger, &[&member()], &[true], calm), OutageReport::default());
}

#[test]
fn the_time_before_the_fault_is_measured_alike() {
    let mut ledger = Ledger::default();
    let no = send(&mut ledger, 5_000_000, Some(5_004_000));
    let mut seen = member();
    seen.show(no, id(no), 5_006_000);
    let report = outages(&ledger, &[&seen], &[false], CUTS);
    assert!((report.control.max_ms - 6.0).abs() < 1e-9);
    assert_eq!((report.all.clients, report.lost_home.clients), (0, 0));
}

#[test]
fn what_happened_between_leaving_and_coming_again_is_no_wait() {
    let mut ledger = Ledger::default();
    let no = send(&mut ledger, 11_000_000, Some(11_001_000));
    let mut seen = member();
    seen.left.insert(0);
    seen.show(no, id(no), 19_000_000);
    let (phases, _) = latencies(&ledger, &[&seen], CUTS);
    assert_eq!(phases[0].delivered.count, 0);
    assert_eq!(outages(&ledger, &[&seen], &[true], CUTS).delivery.clients, 0);
}
