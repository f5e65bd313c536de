use super::*;

const DAY: u64 = 86_400_000;

fn event(t: u64, room: &str, user: &str, kind: TraceKind) -> TraceEvent {
    let body = if matches!(kind, TraceKind::Join | TraceKind::Leave) { "" } else { "hi" };
    TraceEvent { t, room: room.into(), user: user.into(), kind, body: body.into() }
}

fn say(t: u64, room: &str, user: &str) -> TraceEvent {
    event(t, room, user, TraceKind::Message)
}

fn config() -> ScheduleConfig {
    ScheduleConfig {
        fold: Fold::Day,
        speed: 1.0,
        rooms_max: 100,
        clients: 10,
        members_max: 8,
        messages_max: usize::MAX,
    }
}

fn plan_of(events: Vec<TraceEvent>, config: &ScheduleConfig) -> Plan {
    schedule(events.into_iter().map(Ok), config).unwrap()
}

#[test]
fn a_day_folds_onto_a_day_and_a_week_onto_a_week() {
    assert_eq!(Fold::Day.apply(3 * DAY + 17, "a"), (17, "a~3".to_owned()));
    assert_eq!(Fold::Week.apply(15 * DAY, "a"), (DAY, "a~2".to_owned()));
    assert_eq!(Fold::None.apply(15 * DAY, "a"), (15 * DAY, "a".to_owned()));
}

#[test]
fn days_play_at_once_in_rooms_of_their_own_with_their_gaps_kept() {
    let plan = plan_of(vec![say(1000, "a", "x"), say(3000, "a", "y"), say(DAY + 2000, "a", "x")], &config());
    let times: Vec<_> = plan.events.iter().map(|e| (e.at_us, plan.rooms[e.room as usize].name.as_str())).collect();
    assert_eq!(times, [(0, "a~0"), (1_000_000, "a~1"), (2_000_000, "a~0")]);
}

#[test]
fn speed_divides_the_gaps() {
    let faster = ScheduleConfig { speed: 4.0, ..config() };
    let plan = plan_of(vec![say(0, "a", "x"), say(4000, "a", "x")], &faster);
    assert_eq!(plan.duration_us(), 1_000_000);
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let wrong = ScheduleConfig { speed, ..config() };
        assert!(matches!(schedule([Ok(say(0, "a", "x"))].into_iter(), &wrong), Err(ScheduleError::Speed(_))));
    }
}

#[test]
fn the_busiest_rooms_stay_and_the_messages_are_limited() {
    let events = vec![say(0, "a", "x"), say(1, "b", "x"), say(2, "b", "x"), say(3, "c", "x"), say(4, "c", "x")];
    let two = ScheduleConfig { rooms_max: 2, messages_max: 3, ..config() };
    let plan = plan_of(events, &two);
    assert_eq!(plan.rooms.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["b~0", "c~0"]);
    assert_eq!(plan.messages(), 3);
}

#[test]
fn a_first_word_is_an_implicit_join_and_a_stranger_does_not_leave() {
    let events = vec![
        event(0, "a", "ghost", TraceKind::Leave),
        say(1, "a", "x"),
        event(2, "a", "y", TraceKind::Join),
        say(3, "a", "y"),
        event(4, "a", "y", TraceKind::Leave),
        say(5, "a", "y"),
    ];
    let plan = plan_of(events, &config());
    let kinds: Vec<_> = plan.events.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [Kind::Message, Kind::Join, Kind::Message, Kind::Leave, Kind::Join, Kind::Message]);
    assert_eq!(plan.rooms[0].members, [plan.events[0].client]);
    assert!(plan.events[1..].iter().all(|e| e.client == plan.events[1].client));
}

#[test]
fn people_share_clients_beyond_the_limit_and_keep_theirs() {
    let people: Vec<_> = (0..50u64).map(|i| say(i, "a", &format!("u{}", i % 25))).collect();
    let small = ScheduleConfig { members_max: 4, ..config() };
    let plan = plan_of(people, &small);
    assert_eq!(plan.rooms[0].members.len(), 4);
    for (first, second) in plan.events[..25].iter().zip(&plan.events[25..]) {
        assert_eq!(first.client, second.client);
    }
    // A client whose people have not all left stays a member.
    let shared = ScheduleConfig { clients: 1, ..config() };
    let events = vec![say(0, "a", "x"), say(1, "a", "y"), event(2, "a", "x", TraceKind::Leave)];
    assert!(plan_of(events, &shared).events.iter().all(|e| e.kind == Kind::Message));
}

#[test]
fn a_room_where_all_come_later_has_somebody_who_makes_it() {
    let plan = plan_of(vec![event(0, "a", "x", TraceKind::Join), say(1, "a", "x")], &config());
    assert_eq!(plan.rooms[0].members.len(), 1);
}

#[test]
fn rooms_take_turns_over_the_clients() {
    let events: Vec<_> = (0..40u64).map(|i| say(i, &format!("r{}", i / 4), &format!("u{i}"))).collect();
    let plan = plan_of(events, &config());
    let mut load = [0; 10];
    for room in &plan.rooms {
        for member in &room.members {
            load[*member as usize] += 1;
        }
    }
    assert!(load.iter().all(|n| *n == 4), "{load:?}");
}

#[test]
fn a_trace_without_messages_and_a_wrong_line_are_errors() {
    assert!(matches!(schedule(std::iter::empty(), &config()), Err(ScheduleError::Empty)));
    let broken = vec![Ok(say(0, "a", "x")), Err(TraceError::Missing { line: 2, field: "t" })];
    assert!(matches!(schedule(broken.into_iter(), &config()), Err(ScheduleError::Trace(_))));
}

#[test]
fn a_topic_is_no_longer_than_a_name_may_be() {
    let topic = TraceEvent { body: "가".repeat(400).into(), ..event(1, "a", "x", TraceKind::Topic) };
    let plan = plan_of(vec![say(0, "a", "x"), topic], &config());
    assert_eq!(plan.events[1].body.len(), 510);
}
