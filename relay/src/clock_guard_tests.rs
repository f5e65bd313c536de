use super::*;

const WALL: u64 = 1_000_000;

fn guard(offsets: &[i64]) -> ClockGuard {
    let mut guard = ClockGuard::default();
    for (site, offset) in (2..).zip(offsets) {
        guard.observe(SiteId(site), 10, (WALL as i64 - 5 + offset) as u64, WALL);
    }
    guard
}

#[test]
fn one_peer_alone_says_nothing() {
    assert!(guard(&[]).is_trusted());
    assert!(guard(&[5_000]).is_trusted());
}

#[test]
fn two_peers_that_agree_convict_this_clock() {
    assert!(!guard(&[1_000, 1_010]).is_trusted());
    assert!(!guard(&[-1_000, -1_010]).is_trusted());
    assert_eq!(guard(&[1_000, 1_010]).median_ms(), Some(1_000));
}

#[test]
fn one_wrong_peer_of_two_does_not() {
    assert!(guard(&[0, 60_000]).is_trusted());
    assert!(guard(&[-60_000, 3]).is_trusted());
}

#[test]
fn the_limit_itself_is_allowed() {
    let limit = limits::CLOCK_SKEW_MAX_MS as i64;
    assert!(guard(&[limit, limit]).is_trusted());
    assert!(!guard(&[limit + 1, limit + 1]).is_trusted());
}

#[test]
fn a_slow_round_trip_does_not_outweigh_a_fast_one() {
    let mut guard = guard(&[0, 0]);
    guard.observe(SiteId(2), 4_000, WALL, WALL);
    assert_eq!(guard.offset_ms(SiteId(2)), Some(0));
}

#[test]
fn a_clock_that_is_set_is_noticed_with_the_next_equally_good_sample() {
    let mut guard = guard(&[0, 0]);
    guard.observe(SiteId(2), 10, WALL + 995, WALL);
    guard.observe(SiteId(3), 10, WALL + 995, WALL);
    assert!(!guard.is_trusted());
}

#[test]
fn a_link_that_went_down_no_longer_counts() {
    let mut guard = guard(&[1_000, 1_000]);
    guard.forget(SiteId(3));
    assert!(guard.is_trusted());
}

#[test]
fn samples_are_bounded_and_a_corrected_clock_is_trusted_again() {
    let mut guard = guard(&[1_000, 1_000]);
    for _ in 0..SAMPLES_MAX {
        guard.observe(SiteId(2), 10, WALL - 5, WALL);
        guard.observe(SiteId(3), 10, WALL - 5, WALL);
    }
    assert!(guard.is_trusted());
    assert!(guard.peers.values().all(|samples| samples.len() == SAMPLES_MAX));
}
