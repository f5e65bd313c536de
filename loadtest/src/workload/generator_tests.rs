use std::collections::BTreeMap;

use super::*;

fn config() -> GeneratorConfig {
    GeneratorConfig { seed: 9, clients: 200, rooms: 120, members_max: 16, rate: 2000.0, seconds: 30.0 }
}

fn messages(plan: &Plan) -> Vec<&PlanEvent> {
    plan.events.iter().filter(|e| e.kind.is_message()).collect()
}

#[test]
fn the_same_seed_makes_the_same_run() {
    assert_eq!(generate(&config()), generate(&config()));
    assert_ne!(generate(&config()), generate(&GeneratorConfig { seed: 10, ..config() }));
}

#[test]
fn as_many_messages_are_offered_as_asked_for_in_the_time_asked_for() {
    let plan = generate(&config());
    assert_eq!(plan.messages(), 60_000);
    assert!(plan.events.is_sorted_by_key(|e| e.at_us));
    assert!(plan.duration_us() < 30_000_000);
    let mut seconds = [0u32; 30];
    for e in messages(&plan) {
        seconds[(e.at_us / 1_000_000) as usize] += 1;
    }
    assert!(seconds.iter().all(|n| (1_400..2_800).contains(n)), "{seconds:?}");
}

#[test]
fn body_sizes_have_the_measured_quantiles() {
    let plan = generate(&config());
    let mut sizes: Vec<usize> = messages(&plan).iter().map(|e| e.body.len()).collect();
    sizes.sort_unstable();
    let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
    assert!((mean - 71.3).abs() < 8.0, "mean {mean}");
    for (q, want) in [(0.1, 9.0), (0.5, 45.0), (0.9, 146.0), (0.99, 429.0)] {
        let got = sizes[(q * sizes.len() as f64) as usize] as f64;
        assert!((got / want - 1.0).abs() < 0.15, "p{q}: {got}, not {want}");
    }
    assert!(sizes[0] >= 1 && sizes[sizes.len() - 1] <= 6309);
}

#[test]
fn rooms_are_as_popular_as_measured() {
    let plan = generate(&config());
    let mut rooms = vec![0usize; plan.rooms.len()];
    for e in messages(&plan) {
        rooms[e.room as usize] += 1;
    }
    let share = |n: usize| rooms[..n].iter().sum::<usize>() as f64 / 60_000.0;
    assert!((share(1) - 0.47).abs() < 0.03, "{}", share(1));
    assert!((share(10) - 0.72).abs() < 0.03, "{}", share(10));
}

#[test]
fn scripts_have_their_shares_and_korean_is_among_them() {
    let plan = generate(&config());
    let all = messages(&plan);
    let with = |low: char, high: char| {
        all.iter().filter(|e| e.body.chars().any(|c| (low..=high).contains(&c))).count() as f64 / all.len() as f64
    };
    let hangul = with('\u{ac00}', '\u{d7a3}');
    // A body of one or two bytes has no room for a letter of three.
    assert!((0.028..0.048).contains(&hangul), "{hangul}");
    assert!((0.008..0.022).contains(&with('\u{400}', '\u{4ff}')));
    assert!(with('\u{4e00}', '\u{9fff}') > 0.008);
    assert!(with('\u{600}', '\u{6ff}') > 0.003);
}

#[test]
fn messages_come_in_bursts() {
    // Independent messages would have a coefficient of variation of 1 in a room's gaps.
    let plan = generate(&config());
    let times: Vec<f64> = messages(&plan).iter().filter(|e| e.room == 4).map(|e| e.at_us as f64).collect();
    let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!(variance.sqrt() / mean > 1.1, "{}", variance.sqrt() / mean);
}

#[test]
fn joins_and_leaves_are_possible_and_as_many_as_measured() {
    let plan = generate(&config());
    let mut inside: BTreeMap<u32, Vec<u32>> =
        plan.rooms.iter().enumerate().map(|(i, r)| (i as u32, r.members.clone())).collect();
    let mut changes = 0;
    for e in &plan.events {
        let cast = inside.get_mut(&e.room).unwrap();
        let there = cast.contains(&e.client);
        match e.kind {
            Kind::Join => {
                assert!(!there, "joins twice");
                cast.push(e.client);
                changes += 1;
            }
            Kind::Leave => {
                assert!(there, "leaves without being there");
                cast.retain(|c| *c != e.client);
                changes += 1;
            }
            _ => assert!(there, "speaks without being there"),
        }
        assert!(cast.len() <= 16 + VISITORS_MAX);
        assert!(cast.starts_with(&plan.rooms[e.room as usize].members), "first members stay");
    }
    let share = f64::from(changes) / plan.events.len() as f64;
    assert!((share - JOIN_SHARE - LEAVE_SHARE).abs() < 0.01, "{share}");
}

#[test]
fn small_runs_work_too() {
    for (clients, rooms) in [(1, 1), (2, 1), (1, 3), (3, 2)] {
        let plan = generate(&GeneratorConfig { clients, rooms, rate: 10.0, seconds: 2.0, ..config() });
        assert_eq!(plan.messages(), 20);
        assert!(plan.rooms.iter().all(|r| !r.members.is_empty()));
    }
}

#[test]
fn interpolation_hits_its_points() {
    for (q, v) in BODY_BYTES {
        assert!((interpolate(&BODY_BYTES, q) - v).abs() < 1e-6);
    }
    assert!((interpolate(&BODY_BYTES, 2.0) - 6309.0).abs() < 1e-6);
    assert!((interpolate(&[], 0.5)).abs() < 1e-9);
}
