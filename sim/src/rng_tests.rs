use super::Rng;

#[test]
fn a_seed_gives_one_stream_and_another_seed_another() {
    let draw = |seed| {
        let mut rng = Rng::new(seed);
        (0..8).map(|_| rng.bits()).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    assert_ne!(Rng::stream(7, 1).bits(), Rng::stream(7, 2).bits());
}

#[test]
fn bounds_hold() {
    let mut rng = Rng::new(1);
    for _ in 0..10_000 {
        assert!(rng.below(3) < 3);
        assert!((5..=9).contains(&rng.within(5, 9)));
    }
    assert_eq!(rng.below(0), 0);
    assert_eq!(rng.within(4, 4), 4);
    assert!(rng.pick::<u8>(&[]).is_none());
    let hits = (0..100_000).filter(|_| rng.percent(30)).count();
    assert!((29_000..31_000).contains(&hits), "{hits}");
}
