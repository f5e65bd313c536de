use causeway_protocol::wire;

use super::*;

#[test]
fn one_seed_makes_one_attack_and_every_kind_of_it() {
    let message = wire::Ping { token: 300 };
    let right = frame_of(&message);
    let make = |seed| {
        let mut rng = Rng::seeded(seed);
        (0..200).map(|_| mutated(&mut rng, &message)).collect::<Vec<_>>()
    };
    let frames = make(7);
    assert_eq!(frames, make(7));
    assert_ne!(frames, make(8));
    assert!(frames.contains(&right));
    assert!(frames.iter().any(|frame| frame.len() < right.len()), "cut");
    assert!(frames.iter().any(|frame| frame.len() > right.len()), "longer");
    assert!(frames.iter().any(|frame| frame.len() == right.len() && *frame != right), "flipped");
    assert!(frames.iter().any(|frame| frame.starts_with(&u32::MAX.to_be_bytes())), "a length that lies");
}

#[test]
fn an_empty_message_is_no_problem() {
    let mut rng = Rng::seeded(1);
    for _ in 0..1_000 {
        mutated(&mut rng, &wire::Join {});
    }
}
