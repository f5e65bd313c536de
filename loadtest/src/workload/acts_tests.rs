use std::collections::BTreeSet;

use super::super::{GeneratorConfig, generate};
use super::*;

fn chat() -> Plan {
    generate(&GeneratorConfig { seed: 9, clients: 200, rooms: 120, members_max: 8, rate: 2000.0, seconds: 30.0 })
}

fn of(plan: &Plan, kind: Kind) -> Vec<&PlanEvent> {
    plan.events.iter().filter(|e| e.kind == kind).collect()
}

/// Room and author of each message, by its number.
fn messages(plan: &Plan) -> Vec<(u32, u32)> {
    plan.events.iter().filter(|e| e.kind.is_message()).map(|e| (e.room, e.client)).collect()
}

#[test]
fn the_same_seed_makes_the_same_acts() {
    let with = |seed| overlay(chat(), &ActRates::default(), seed);
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
}

#[test]
fn acts_are_as_many_as_their_rates_say_and_the_chat_stays() {
    let (before, rates) = (chat(), ActRates::default());
    let plan = overlay(before.clone(), &rates, 9);
    assert!(plan.events.is_sorted_by_key(|e| e.at_us));
    let total = plan.messages() as f64;
    for (kind, rate) in rates.each() {
        let share = of(&plan, kind).len() as f64 / total;
        assert!((share / rate - 1.0).abs() < 0.15, "{kind:?}: {share}, not {rate}");
    }
    let acts = |e: &PlanEvent| e.target.is_some() || e.kind == Kind::Mark;
    let rest: Vec<_> = plan.events.into_iter().filter(|e| !acts(e)).collect();
    assert_eq!(rest, before.events);
    assert_eq!(overlay(before.clone(), &ActRates::NONE, 9), before);
}

#[test]
fn only_authors_edit_and_redact_and_only_members_do_anything_to_earlier_messages_of_their_room() {
    let plan = overlay(chat(), &ActRates::default(), 9);
    let all = messages(&plan);
    let mut present: Vec<Vec<u32>> = plan.rooms.iter().map(|r| r.members.clone()).collect();
    let mut said = 0;
    for e in &plan.events {
        let here = &mut present[e.room as usize];
        match e.kind {
            Kind::Join => here.push(e.client),
            Kind::Leave => here.retain(|c| *c != e.client),
            _ => assert!(here.contains(&e.client), "{e:?} by a stranger"),
        }
        said += u32::from(e.kind.is_message());
        let Some(target) = e.target else { continue };
        let (room, author) = all[target as usize];
        assert!(target < said && room == e.room, "{e:?}");
        assert!(!matches!(e.kind, Kind::Edit | Kind::Redact) || author == e.client, "{e:?} by another");
    }
}

#[test]
fn some_messages_are_edited_twice_and_some_reactions_come_again() {
    let plan = overlay(chat(), &ActRates::default(), 9);
    let edited: Vec<_> = of(&plan, Kind::Edit).iter().filter_map(|e| e.target).collect();
    let distinct: BTreeSet<_> = edited.iter().collect();
    assert!(distinct.len() * 10 < edited.len() * 9, "{} of {}", distinct.len(), edited.len());
    let key = |e: &PlanEvent| (e.client, e.target, e.body.clone());
    let mut shown = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let mut again = 0;
    for e in &plan.events {
        match e.kind {
            Kind::React => {
                again += usize::from(taken.contains(&key(e)));
                shown.insert(key(e));
            }
            Kind::Unreact => {
                assert!(shown.remove(&key(e)), "nothing to take back: {e:?}");
                taken.insert(key(e));
            }
            _ => {}
        }
    }
    assert!(again > 50, "{again}");
}

#[test]
fn rates_are_shares() {
    assert!(ActRates::default().are_shares() && ActRates::NONE.are_shares());
    assert!(!ActRates { marks: 1.5, ..ActRates::NONE }.are_shares());
    assert!(!ActRates { edits: -0.1, ..ActRates::NONE }.are_shares());
    assert!(!ActRates { edits: f64::NAN, ..ActRates::NONE }.are_shares());
}
