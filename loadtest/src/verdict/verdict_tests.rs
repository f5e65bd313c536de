use causeway_protocol::{DeviceId, Stamp};

use super::*;

const END: EndState = EndState { hashes_equal: true, outboxes_empty: true, replicates: true };

fn id(n: u64) -> RequestId {
    RequestId { stamp: Stamp(n), device: DeviceId(1) }
}

/// A run in which all is well: three messages in one room, two members, two sites.
struct Run {
    ledger: Ledger,
    clients: Vec<Seen>,
    sites: Vec<SiteRead>,
}

impl Run {
    fn good() -> Self {
        let mut ledger = Ledger::default();
        for n in 0..3u32 {
            let no = ledger.open(0, 0, u64::from(n) * 1000);
            let sent = ledger.get_mut(no).unwrap();
            sent.id = id(u64::from(n) + 1);
            sent.digest = u64::from(n) + 100;
            sent.stored_us = Some(sent.intended_us + 10);
            sent.replicated_us = Some(sent.intended_us + 20);
        }
        let mut member = Seen::default();
        member.first_member(0);
        for n in 0..3u32 {
            member.show(n, id(u64::from(n) + 1), 50);
        }
        let reads = (0..3u32)
            .map(|n| Read {
                id: id(u64::from(n) + 1),
                no: Some(n),
                digest: u64::from(n) + 100,
                gone: false,
                by: Some(0),
            })
            .collect();
        let site = |name: &str, reads: &Vec<Read>| SiteRead {
            site: name.into(),
            rooms: [(0, reads.clone())].into(),
            timelines: [(0, crate::model::fold(reads, &[]).looks)].into(),
            ..SiteRead::default()
        };
        let reads: Vec<Read> = reads;
        Self { ledger, clients: vec![member.clone(), member], sites: vec![site("a", &reads), site("b", &reads)] }
    }

    fn reads(&mut self) -> &mut Vec<Read> {
        self.sites[1].rooms.get_mut(&0).unwrap()
    }

    fn judge(&self) -> Verdict {
        judge(&self.ledger, &self.clients, &self.sites, END)
    }
}

fn without(run: &mut Run, client: usize, no: u32) {
    let mut seen = Seen::default();
    seen.first_member(0);
    for n in (0..3u32).filter(|n| *n != no) {
        seen.show(n, id(u64::from(n) + 1), 50);
    }
    run.clients[client] = seen;
}

#[test]
fn a_good_run_holds() {
    let verdict = Run::good().judge();
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!((verdict.sent, verdict.acked, verdict.replicated), (3, 3, 3));
    assert_eq!((verdict.delivered, verdict.deliveries_due, verdict.messages_read), (6, 6, 6));
}

#[test]
fn a_message_missing_at_one_site_is_lost() {
    let mut run = Run::good();
    run.reads().remove(1);
    let verdict = run.judge();
    assert_eq!((verdict.lost, verdict.lost_at_sites), (1, 1));
    assert!(!verdict.holds());
    assert!(verdict.examples[0].contains("b, room 0: message 1"), "{:?}", verdict.examples);
}

#[test]
fn a_stored_message_counts_as_promised() {
    let mut run = Run::good();
    run.ledger.sent[1].replicated_us = None;
    run.reads().remove(1);
    let verdict = run.judge();
    assert_eq!((verdict.lost, verdict.unreplicated), (1, 1));
}

#[test]
fn a_refused_message_is_not_lost_and_an_unanswered_one_fails() {
    let mut run = Run::good();
    run.ledger.sent[2].stored_us = None;
    run.ledger.sent[2].replicated_us = None;
    run.sites.iter_mut().for_each(|s| s.rooms.get_mut(&0).unwrap().truncate(2));
    without(&mut run, 0, 2);
    without(&mut run, 1, 2);
    let verdict = run.judge();
    assert_eq!((verdict.unanswered, verdict.lost), (1, 0));
    assert!(!verdict.holds());
    run.ledger.sent[2].refused = Some(201);
    let verdict = run.judge();
    assert_eq!((verdict.refused, verdict.unanswered), (1, 0));
    assert!(verdict.holds());
}

#[test]
fn a_member_that_never_saw_a_message_lost_it() {
    let mut run = Run::good();
    without(&mut run, 1, 0);
    let verdict = run.judge();
    assert_eq!((verdict.lost, verdict.lost_at_members), (1, 1));
    assert!(!verdict.holds());
}

#[test]
fn what_lies_behind_an_announced_gap_or_before_a_join_or_in_a_room_that_was_left_is_not_due() {
    let mut run = Run::good();
    without(&mut run, 1, 0);
    run.clients[1].gap(0, id(1), 0);
    let verdict = run.judge();
    assert_eq!((verdict.lost, verdict.behind_gaps), (0, 1));
    run.clients[1].gaps.clear();
    run.clients[1].gap(0, id(2), 5_000);
    assert_eq!(run.judge().lost, 1, "the gap starts above the message");
    run.clients[1].joined_us.insert(0, 1);
    assert_eq!(run.judge().lost, 0, "it joined later");
    run.clients[1].joined_us.insert(0, 0);
    run.clients[1].left.insert(0);
    assert_eq!(run.judge().lost, 0, "it left");
}

#[test]
fn a_second_showing_counts_and_so_does_a_second_row() {
    let mut run = Run::good();
    assert!(!run.clients[0].show(1, id(2), 60));
    let verdict = run.judge();
    assert_eq!(verdict.shown_twice, 1);
    assert!(!verdict.holds());

    let mut run = Run::good();
    let again = run.reads()[1].clone();
    run.reads().insert(1, again);
    assert_eq!(run.judge().shown_twice, 1);
}

#[test]
fn one_message_under_two_ids_is_shown_twice() {
    let mut run = Run::good();
    let again = Read { id: id(9), ..run.reads()[1].clone() };
    run.reads().push(again);
    let verdict = run.judge();
    assert_eq!(verdict.shown_twice, 1);
    assert!(!verdict.holds());
}

#[test]
fn a_wrong_order_and_a_wrong_id_are_out_of_place() {
    let mut run = Run::good();
    run.reads().swap(0, 1);
    let verdict = run.judge();
    assert_eq!(verdict.out_of_place, 1);
    assert!(!verdict.holds());

    let mut run = Run::good();
    run.reads()[2].id = id(7);
    assert_eq!(run.judge().out_of_place, 1);

    let mut run = Run::good();
    run.clients[0].ids[0].1 = id(7);
    assert_eq!(run.judge().out_of_place, 1);
}

#[test]
fn what_nobody_sent_is_found() {
    for read in [
        Read { id: id(9), no: None, digest: 1, gone: false, by: Some(0) },
        Read { id: id(9), no: Some(77), digest: 1, gone: false, by: Some(0) },
        Read { id: id(9), no: Some(1), digest: 1, gone: false, by: Some(0) },
    ] {
        let mut run = Run::good();
        run.reads().push(read);
        let verdict = run.judge();
        assert_eq!(verdict.foreign, 1);
        assert!(!verdict.holds());
    }
    let mut run = Run::good();
    run.clients[0].show(500, id(9), 1);
    assert_eq!(run.judge().foreign, 1);
}

#[test]
fn a_stranger_who_is_shown_a_rooms_messages_is_found() {
    let mut run = Run::good();
    let mut stranger = Seen::default();
    stranger.show(1, id(2), 60);
    run.clients.push(stranger);
    let verdict = run.judge();
    assert_eq!(verdict.foreign, 1);
    assert!(!verdict.holds());
}

#[test]
fn unequal_hashes_full_outboxes_and_empty_runs_do_not_hold() {
    let run = Run::good();
    let with = |end| judge(&run.ledger, &run.clients, &run.sites, end).holds();
    assert!(with(END));
    assert!(!with(EndState { hashes_equal: false, ..END }));
    assert!(!with(EndState { outboxes_empty: false, ..END }));
    assert!(!judge(&run.ledger, &run.clients, &[], END).holds(), "nothing was read back");
    assert!(!judge(&Ledger::default(), &[], &run.sites, END).holds(), "nothing was sent");
}

#[test]
fn a_single_site_needs_no_second_ack() {
    let mut run = Run::good();
    run.ledger.sent.iter_mut().for_each(|s| s.replicated_us = None);
    assert!(!run.judge().holds());
    assert!(judge(&run.ledger, &run.clients, &run.sites, EndState { replicates: false, ..END }).holds());
}

#[test]
fn examples_are_bounded() {
    let mut run = Run::good();
    for _ in 0..1000 {
        run.clients[0].show(1, id(2), 60);
    }
    let verdict = run.judge();
    assert_eq!((verdict.shown_twice, verdict.examples.len()), (1000, EXAMPLES_MAX));
}

#[test]
fn an_announced_gap_excuses_nothing_that_is_sent_later() {
    let mut run = Run::good();
    without(&mut run, 1, 2);
    run.clients[1].gap(0, id(1), 1_999);
    assert_eq!(run.judge().lost, 1, "message 2 was meant for 2,000 us");
    run.clients[1].gap(0, id(3), 2_000);
    assert_eq!(run.judge().lost, 0);
}

#[test]
fn a_body_that_nobody_redacted_and_that_is_gone_is_lost() {
    let mut run = Run::good();
    run.reads()[1] = Read { no: None, digest: 0, gone: true, ..run.reads()[1].clone() };
    let verdict = run.judge();
    assert_eq!((verdict.lost, verdict.foreign), (1, 0), "{verdict:?}");
    assert!(!verdict.holds());
}
