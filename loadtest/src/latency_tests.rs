use super::*;

#[test]
fn quantiles_are_those_of_what_was_recorded() {
    let mut latency = Latency::default();
    for us in 1..=100_000 {
        latency.record(us);
    }
    let s = latency.summary();
    assert_eq!(s.count, 100_000);
    for (got, want) in [(s.p50_ms, 50.0), (s.p90_ms, 90.0), (s.p99_ms, 99.0), (s.p999_ms, 99.9), (s.max_ms, 100.0)] {
        assert!((got / want - 1.0).abs() < 0.002, "{got}, not {want}");
    }
    assert!((s.mean_ms - 50.0).abs() < 0.2);
}

#[test]
fn what_is_beyond_the_range_counts_as_the_longest() {
    let mut latency = Latency::default();
    latency.record(u64::MAX);
    assert_eq!(latency.count(), 1);
    assert!(latency.quantile_ms(1.0) >= LATENCY_US_MAX as f64 / 1000.0 * 0.99);
    assert_eq!(Latency::default().summary(), LatencySummary::default());
}

#[test]
fn phases_are_cut_at_the_fault_and_the_return() {
    let at = |us| Phase::at(us, Some(10), Some(20));
    assert_eq!([at(9), at(10), at(19), at(20)], [Phase::Before, Phase::During, Phase::During, Phase::After]);
    assert_eq!(Phase::at(99, Some(10), None), Phase::During);
    assert_eq!(Phase::at(99, None, None), Phase::Before);
}

#[test]
fn a_timeline_counts_in_the_second_in_which_things_happen() {
    let mut a = Timeline::default();
    a.sent(500_000);
    a.reached(Measure::Stored, 1_200_000, 700_000);
    let mut b = Timeline::default();
    b.sent(900_000);
    b.reached(Measure::Delivered, 2_999_999, 1_000);
    a.merge(&b);
    let points = a.points();
    assert_eq!(points.len(), 3);
    assert_eq!((points[0].sent, points[1].stored, points[2].delivered), (2, 1, 1));
    assert_eq!(points[0].stored_p99_ms, None);
    assert!((points[1].stored_p99_ms.unwrap() - 700.0).abs() < 10.0);
    // A stray time does not make a giant of it.
    a.sent(u64::MAX);
    assert_eq!(a.points().len(), TIMELINE_SECONDS_MAX);
}
