use super::*;

#[test]
fn a_text_has_the_size_asked_for_in_every_script() {
    let mut rng = Rng::seeded(3);
    let scripts = Script::COUNTS.map(|(s, _)| s);
    for script in scripts.into_iter().chain([Script::Ascii]) {
        for bytes in [1, 2, 3, 4, 5, 9, 45, 46, 47, 146, 429, 6309] {
            assert_eq!(body_of(script, bytes, &mut rng).len(), bytes, "{script:?}");
        }
        assert_eq!(body_of(script, 0, &mut rng).len(), 1);
    }
}

#[test]
fn korean_text_is_korean() {
    let mut rng = Rng::seeded(4);
    for _ in 0..100 {
        let text = body_of(Script::Hangul, 60, &mut rng);
        assert!(text.chars().any(|c| ('\u{ac00}'..='\u{d7a3}').contains(&c)), "{text}");
    }
}
