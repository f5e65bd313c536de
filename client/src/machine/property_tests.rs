//! Random lives: whatever sites and connections do, nothing is lost, shown twice, or forgotten by a cursor.
//!
//! The fake cluster itself asserts that no id is delivered twice, that no cursor goes back, that nothing follows the
//! last word on a request, and that no timer spins.

use causeway_protocol::Code;
use proptest::prelude::*;

use super::fake_cluster::{Cluster, config, room};
use super::*;

#[derive(Clone, Debug)]
enum Happening {
    Wait(u64),
    Say(u8, u8),
    Create,
    OtherSays(usize, u8),
    Resend(usize, usize),
    Silence(usize, bool),
    Stick(usize, bool),
    Refuse(usize, Option<Code>),
    Know(usize, u8, bool),
    Skew(usize, i64),
    Disconnect(usize),
    GoAway(usize),
    Replicate(usize, usize),
    Freeze(u64),
}

const SITES: usize = 3;

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let site = || 0..SITES;
    let codes = vec![Code::Busy, Code::NotReady, Code::ClockOff, Code::NotPermitted, Code::StampAhead];
    prop_oneof![
        6 => (1_u64..1_500).prop_map(Wait),
        6 => (18_u8..22, 1_u8..6).prop_map(|(room, count)| Say(room, count)),
        1 => Just(Create),
        3 => (site(), 18_u8..22).prop_map(|(site, room)| OtherSays(site, room)),
        2 => (site(), site()).prop_map(|(from, to)| Resend(from, to)),
        3 => (site(), any::<bool>()).prop_map(|(site, on)| Silence(site, on)),
        1 => (site(), any::<bool>()).prop_map(|(site, on)| Stick(site, on)),
        2 => (site(), prop::option::of(prop::sample::select(codes))).prop_map(|(site, code)| Refuse(site, code)),
        2 => (site(), 18_u8..22, any::<bool>()).prop_map(|(site, room, known)| Know(site, room, known)),
        1 => (site(), -5_000_i64..5_000).prop_map(|(site, ms)| Skew(site, ms)),
        2 => site().prop_map(Disconnect),
        1 => site().prop_map(GoAway),
        4 => (site(), site()).prop_map(|(from, to)| Replicate(from, to)),
        1 => (100_u64..3_000).prop_map(Freeze),
    ]
}

fn live(c: &mut Cluster, happenings: &[Happening]) {
    let mut others = Vec::new();
    for happening in happenings {
        match *happening {
            Happening::Wait(ms) => c.run(ms),
            Happening::Say(room_no, count) => {
                for n in 0..count {
                    c.say(room(room_no), &n.to_string());
                }
            }
            Happening::Create => {
                let (new, _) = c.machine.create_room(c.now, "new", true).expect("room in the outbox");
                c.say(new, "first");
            }
            Happening::OtherSays(site, room_no) => others.push((site, c.other_says(site, room(room_no), 0))),
            Happening::Resend(pick, to) => {
                if let Some((from, id)) = others.get(pick * others.len() / SITES) {
                    c.resent_by_other(*from, to, *id);
                }
            }
            Happening::Silence(site, on) => c.sites[site].silent = on,
            Happening::Stick(site, on) => c.sites[site].stuck = on,
            Happening::Refuse(site, code) => c.sites[site].refuses = code,
            Happening::Know(site, room_no, true) => c.know(site, room(room_no)),
            Happening::Know(site, room_no, false) => c.unknow(site, room(room_no)),
            Happening::Skew(site, ms) => c.sites[site].clock_ahead_ms = ms,
            Happening::Disconnect(site) => c.disconnect(site, None),
            Happening::GoAway(site) => c.go_away(site),
            Happening::Replicate(from, to) if from != to => c.replicate(from, to),
            Happening::Replicate(..) => {}
            Happening::Freeze(ms) => c.freeze(ms),
        }
    }
}

fn check(c: &Cluster) {
    let home = c.home().expect("all sites are well");
    let held = c.held_ids(home);
    for (no, progress) in &c.progress {
        if let Progress::Stored { .. } = progress {
            let gone = c.progress_of(*no).iter().any(|p| matches!(p, Progress::Refused { .. }));
            assert!(!gone || c.is_replicated(*no), "{no:?} was stored and then reported as refused");
        }
    }
    for change in &c.changes {
        if let Change::Added(saved) = change {
            let replaced = c
                .changes
                .iter()
                .any(|later| matches!(later, Change::Added(other) if other.no == saved.no && other.id != saved.id));
            let refused = c.progress_of(saved.no).iter().any(|p| matches!(p, Progress::Refused { .. }));
            let kept = held.contains(&(saved.room, saved.id));
            assert!(kept || refused || replaced, "{:?} was lost", saved.id);
        }
    }
    for (room, id) in held {
        assert!(c.shown.contains(&(room, id)), "{id:?} of {room:?} was never shown");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_shown_twice_whatever_happens(
        seed in any::<u64>(),
        cold in any::<bool>(),
        delay in 1_u64..120,
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let mut config = config(SITES);
        config.standby = if cold { Standby::Cold } else { Standby::Warm };
        let mut c = Cluster::with(config, Start { nonce: 7, seed, ..Start::default() });
        c.delay_ms = delay;
        live(&mut c, &happenings);
        c.settle();
        check(&c);
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(
        seed in any::<u64>(),
        happenings in prop::collection::vec(happening(), 1..30),
    ) {
        let run = || {
            let mut c = Cluster::with(config(SITES), Start { nonce: 7, seed, ..Start::default() });
            live(&mut c, &happenings);
            (c.shown, c.progress, c.moves, c.changes, c.dials)
        };
        prop_assert_eq!(run(), run());
    }
}
