use super::*;

#[test]
fn a_seed_makes_the_same_numbers_and_another_seed_others() {
    let take = |seed| {
        let mut rng = Rng::seeded(seed);
        (0..8).map(|_| rng.bits()).collect::<Vec<_>>()
    };
    assert_eq!(take(7), take(7));
    assert_ne!(take(7), take(8));
}

#[test]
fn the_distributions_have_the_means_that_they_are_asked_for() {
    let mut rng = Rng::seeded(1);
    let n = 100_000;
    let mean = |mut f: Box<dyn FnMut() -> f64>| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
    let mut r = rng.clone();
    assert!((mean(Box::new(move || r.unit())) - 0.5).abs() < 0.01);
    let mut r = rng.clone();
    assert!((mean(Box::new(move || r.exponential(3.0))) - 3.0).abs() < 0.1);
    let mut r = rng.clone();
    assert!((mean(Box::new(move || f64::from(r.geometric(6.0)))) - 6.0).abs() < 0.2);
    let mut r = rng.clone();
    assert!(mean(Box::new(move || r.normal())).abs() < 0.02);
    assert!((0..1000).all(|_| rng.below(3) < 3));
    assert_eq!(rng.below(0), 0);
    assert_eq!(rng.geometric(0.5), 1);
}

#[test]
fn weights_are_kept() {
    let mut rng = Rng::seeded(2);
    let weighted = Weighted::new([1.0, 0.0, 3.0]);
    let mut seen = [0u32; 3];
    for _ in 0..40_000 {
        seen[weighted.pick(&mut rng)] += 1;
    }
    assert_eq!(seen[1], 0);
    let share = f64::from(seen[2]) / 40_000.0;
    assert!((share - 0.75).abs() < 0.02, "{share}");
    assert_eq!(Weighted::new([]).pick(&mut rng), 0);
}
