use super::*;

/// Numbers that look random, the same at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn a_burst_passes_and_then_the_rate() {
    let mut bucket = TokenBucket::new(10, 3, 0);
    assert_eq!([0; 3].map(|_| bucket.take(0, 1)), [Ok(()); 3]);
    assert_eq!(bucket.take(0, 1), Err(100));
    assert_eq!(bucket.take(99, 1), Err(1));
    assert_eq!(bucket.take(100, 1), Ok(()));
    assert_eq!(bucket.take(100, 2), Err(200));
    assert!(!bucket.is_full(399) && bucket.is_full(400));
}

#[test]
fn what_is_left_for_others_is_not_taken_and_more_than_it_holds_needs_a_full_one() {
    let mut bucket = TokenBucket::new(1, 4, 0);
    assert_eq!(bucket.take_above(0, 1, 2), Ok(()));
    assert_eq!(bucket.take_above(0, 1, 2), Ok(()));
    assert_eq!(bucket.take_above(0, 1, 2), Err(1_000));
    assert_eq!(bucket.take(0, 2), Ok(()));
    assert_eq!(bucket.take(0, 100), Err(4_000));
    assert_eq!(bucket.take(4_000, 100), Ok(()));
}

#[test]
fn a_clock_that_goes_back_gives_nothing() {
    let mut bucket = TokenBucket::new(1_000, 1, 5_000);
    assert_eq!(bucket.take(5_000, 1), Ok(()));
    assert_eq!(bucket.take(0, 1), Err(1));
    assert_eq!(bucket.take(5_000, 1), Err(1));
}

/// In any span: never more than the burst and the rate's share. And whoever waits as long as told is let through.
#[test]
fn never_more_than_the_burst_and_the_rate_in_any_span() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let (rate, burst) = (1 + dice.below(5_000), 1 + dice.below(200));
        let (mut now_ms, mut bucket) = (dice.below(1_000), TokenBucket::new(rate, burst, 0));
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for _ in 0..200 {
            now_ms += [0, 0, 1, dice.below(50), dice.below(2_000)][dice.below(5) as usize];
            let tokens = 1 + dice.below(burst);
            match bucket.take(now_ms, tokens) {
                Ok(()) => taken.push((now_ms, tokens)),
                Err(wait_ms) => {
                    let mut early = bucket.clone();
                    assert!(
                        wait_ms > 0 && early.take(now_ms + wait_ms - 1, tokens).is_err(),
                        "seed {seed}: told too long"
                    );
                    assert_eq!(bucket.clone().take(now_ms + wait_ms, tokens), Ok(()), "seed {seed}: told too short");
                }
            }
        }
        for (at, (from, _)) in taken.iter().enumerate() {
            let mut sum = 0;
            for (to, tokens) in &taken[at..] {
                sum += tokens * 1_000;
                assert!(sum <= burst * 1_000 + (to - from) * rate, "seed {seed}: from {from} to {to}");
            }
        }
    }
}
