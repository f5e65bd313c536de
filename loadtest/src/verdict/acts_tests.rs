use causeway_protocol::{DeviceId, Stamp};

use super::super::{EndState, judge};
use super::*;
use crate::stamp::digest;

const END: EndState = EndState { hashes_equal: true, outboxes_empty: true, replicates: true };

fn id(n: u64) -> RequestId {
    RequestId { stamp: Stamp(n), device: DeviceId(1) }
}

/// A run in which all is well, in one room with two members and two sites: client 0 writes the messages 0 to 2, edits the
/// first one twice, edits the second one and takes it away; client 1 reacts; client 2 comes, goes and comes again.
struct Run {
    ledger: Ledger,
    clients: Vec<Seen>,
    sites: Vec<SiteRead>,
}

impl Run {
    fn good() -> Self {
        let mut ledger = Ledger::default();
        for no in 0..3u32 {
            ledger.open(0, 0, 0);
            ledger.name(no, id(u64::from(no) + 1));
            let sent = &mut ledger.sent[no as usize];
            (sent.digest, sent.stored_us, sent.replicated_us) = (u64::from(no) + 100, Some(1), Some(2));
        }
        let symbol = || Box::from("+1");
        let acts = [
            (0, What::Edit { target: 0, digest: 110 }),
            (0, What::Edit { target: 0, digest: 120 }),
            (0, What::Edit { target: 1, digest: 130 }),
            (0, What::Redact { target: 1 }),
            (1, What::React { target: 0, symbol: symbol() }),
            (1, What::React { target: 2, symbol: symbol() }),
            (1, What::Unreact { target: 2, symbol: symbol() }),
            (2, What::Join),
            (2, What::Leave),
            (2, What::Join),
            (0, What::Name("first".into())),
            (1, What::Name("second".into())),
        ];
        for ((client, what), place) in acts.into_iter().zip(11..) {
            let aimed = what.target().map(|no| id(u64::from(no) + 1));
            let act = ledger.open_act((0, client, 0), what, id(place), aimed);
            (ledger.acts[act].stored, ledger.acts[act].replicated) = (true, true);
        }
        let mut member = Seen::default();
        member.first_member(0);
        for no in 0..3u32 {
            member.show(no, id(u64::from(no) + 1), 50);
        }
        ledger.acts.iter().for_each(|act| member.show_change(act.id));
        let sites = ["a", "b"].map(|name| site(name, &ledger)).into();
        Self { ledger, clients: vec![member.clone(), member, Seen::default()], sites }
    }

    /// The second site.
    fn site(&mut self) -> &mut SiteRead {
        &mut self.sites[1]
    }

    fn messages(&mut self) -> &mut Vec<Read> {
        self.site().rooms.get_mut(&0).unwrap()
    }

    fn changes(&mut self) -> &mut Vec<ChangeRead> {
        self.site().changes.get_mut(&0).unwrap()
    }

    fn drop_change(&mut self, place: u64) {
        self.changes().retain(|change| change.id != id(place));
        self.site().places.get_mut(&0).unwrap().retain(|p| *p != id(place));
    }

    fn look(&mut self, message: u64) -> &mut crate::model::Look {
        self.site().timelines.get_mut(&0).unwrap().get_mut(&id(message)).unwrap()
    }

    fn judge(&self) -> Verdict {
        judge(&self.ledger, &self.clients, &self.sites, END)
    }

    /// What is wrong, by name.
    fn wrong(&self) -> Vec<(&'static str, u64)> {
        let verdict = self.judge();
        assert!(!verdict.holds(), "nothing is wrong");
        assert!(!verdict.examples.is_empty());
        verdict.acts.zeros().into_iter().filter(|(_, n)| *n > 0).collect()
    }
}

fn site(name: &str, ledger: &Ledger) -> SiteRead {
    let gone = [id(2)];
    let read = |no: u32| {
        let place = id(u64::from(no) + 1);
        let gone = gone.contains(&place);
        let digest = if gone { digest(b"") } else { u64::from(no) + 100 };
        Read { id: place, no: (!gone).then_some(no), digest, gone, by: Some(0) }
    };
    let messages: Vec<Read> = (0..3).map(read).collect();
    let change = |act: &crate::acts::Act| {
        let aimed = act.aimed.unwrap_or(RequestId::MIN);
        let did = match &act.what {
            What::Edit { digest, .. } => {
                Did::Edit { target: aimed, digest: (!gone.contains(&aimed)).then_some(*digest) }
            }
            What::Redact { .. } => Did::Redact(aimed),
            What::React { symbol, .. } => Did::React(aimed, symbol.clone()),
            What::Unreact { symbol, .. } => Did::Unreact(aimed, symbol.clone()),
            What::Join => Did::Join,
            What::Leave => Did::Leave,
            What::Name(name) => Did::Name(name.clone()),
        };
        ChangeRead { id: act.id, by: Some(act.client), did }
    };
    let changes: Vec<ChangeRead> = ledger.acts.iter().map(change).collect();
    let places = messages.iter().map(|m| m.id).chain(changes.iter().map(|c| c.id)).collect();
    let looks = fold(&messages, &changes).looks;
    SiteRead {
        site: name.into(),
        rooms: [(0, messages)].into(),
        changes: [(0, changes)].into(),
        places: [(0, places)].into(),
        timelines: [(0, looks)].into(),
        names: [(0, "second".into())].into(),
        first_names: [(0, "room 0".into())].into(),
        members: [((0, 2), Some(true))].into(),
        unread: vec![UnreadRead { client: 1, room: 0, expected: 2, got: Some(2) }],
    }
}

#[test]
fn a_good_run_holds_and_everything_was_compared() {
    let verdict = Run::good().judge();
    assert!(verdict.holds(), "{verdict:?}");
    let a = &verdict.acts;
    assert_eq!([a.edits, a.redactions, a.reactions, a.unreactions, a.joins, a.leaves, a.names], [3, 1, 2, 1, 2, 1, 2]);
    assert_eq!([a.looks_compared, a.memberships_compared, a.names_compared, a.unread_compared], [6, 2, 2, 2]);
    // Two members have all twelve acts and all three messages due.
    assert_eq!((verdict.deliveries_due, a.delivered, a.looks_uncertain), (30, 24, 0));
}

#[test]
fn another_edit_than_the_last_one_is_found_in_the_history_and_in_the_timeline() {
    let mut run = Run::good();
    run.drop_change(12);
    assert_eq!(run.wrong(), [("edits not shown", 1)]);
    assert_eq!(run.judge().lost_at_sites, 1);
    let mut run = Run::good();
    run.look(1).shown = Some(110);
    assert_eq!(run.wrong(), [("edits not shown", 1)]);
    let mut run = Run::good();
    run.site().timelines.clear();
    assert_eq!(run.wrong(), [("edits not shown", 2), ("redacted bodies readable", 1), ("reactions wrong", 3)]);
}

#[test]
fn a_redacted_body_that_is_there_is_found_wherever_it_is() {
    let mut run = Run::good();
    run.messages()[1] = Read { id: id(2), no: Some(1), digest: 101, gone: false, by: Some(0) };
    assert_eq!(run.wrong(), [("redacted bodies readable", 1)], "the message's");
    let mut run = Run::good();
    run.changes()[2].did = Did::Edit { target: id(2), digest: Some(130) };
    assert_eq!(run.wrong(), [("redacted bodies readable", 1)], "an edit's");
    let mut run = Run::good();
    run.look(2).shown = Some(130);
    assert_eq!(run.wrong(), [("redacted bodies readable", 1)], "shown by the timeline");
    let mut run = Run::good();
    run.drop_change(14);
    run.messages()[1] = Read { id: id(2), no: Some(1), digest: 101, gone: false, by: Some(0) };
    run.changes()[2].did = Did::Edit { target: id(2), digest: Some(130) };
    assert_eq!(run.wrong(), [("redacted bodies readable", 3)], "the site knows of no redaction");
}

#[test]
fn an_edit_that_lost_its_body_without_a_redaction_is_lost() {
    let mut run = Run::good();
    run.changes()[1].did = Did::Edit { target: id(1), digest: None };
    assert_eq!(run.wrong(), [("edits not shown", 1)]);
    assert_eq!(run.judge().lost_at_sites, 1);
}

#[test]
fn reactions_that_are_missing_and_that_were_taken_back_are_found() {
    let mut run = Run::good();
    run.drop_change(15);
    assert_eq!(run.wrong(), [("reactions wrong", 1)]);
    let mut run = Run::good();
    run.drop_change(17);
    assert_eq!(run.wrong(), [("reactions wrong", 1)], "its removal is not known");
    let mut run = Run::good();
    run.look(3).reactions.insert(("+1".into(), Some(1)));
    assert_eq!(run.wrong(), [("reactions wrong", 1)], "the timeline shows it yet");
    // The later word wins, whichever is asked for first.
    let mut run = Run::good();
    run.ledger.acts.swap(5, 6);
    assert!(run.judge().holds());
}

#[test]
fn a_membership_against_the_last_word_is_found() {
    for got in [Some(false), None] {
        let mut run = Run::good();
        run.site().members.insert((0, 2), got);
        assert_eq!(run.wrong(), [("memberships wrong", 1)]);
    }
    let mut run = Run::good();
    run.site().members.clear();
    assert_eq!(run.wrong(), [("memberships wrong", 1)], "nobody asked");
}

#[test]
fn another_name_than_the_last_one_is_found() {
    let mut run = Run::good();
    run.site().names.insert(0, "first".into());
    assert_eq!(run.wrong(), [("names wrong", 1)]);
    let mut run = Run::good();
    run.site().names.clear();
    assert_eq!(run.wrong(), [("names wrong", 1)]);
    let mut run = Run::good();
    run.drop_change(22);
    assert_eq!(run.wrong(), [("names wrong", 1)], "its history lacks it");
}

#[test]
fn another_count_of_unread_messages_is_found() {
    for got in [Some(3), None] {
        let mut run = Run::good();
        run.site().unread[0].got = got;
        assert_eq!(run.wrong(), [("unread wrong", 1)]);
    }
}

#[test]
fn acts_are_under_the_promises_of_messages() {
    // Never answered: it fails, and what it is about is not judged.
    let mut run = Run::good();
    (run.ledger.acts[1].stored, run.ledger.acts[1].replicated) = (false, false);
    let verdict = run.judge();
    assert_eq!((verdict.unanswered, verdict.acts.edits_not_shown, verdict.acts.looks_uncertain), (1, 0, 2));
    assert!(!verdict.holds());
    let mut run = Run::good();
    run.ledger.acts[1].replicated = false;
    assert_eq!(run.judge().unreplicated, 1);
    // Refused for good: it must not take effect.
    let mut run = Run::good();
    (run.ledger.acts[1].stored, run.ledger.acts[1].replicated) = (false, false);
    run.ledger.acts[1].refused = Some(201);
    assert_eq!(run.wrong(), [("edits not shown", 4)]);
    // Shown twice, never, and to a stranger.
    let mut run = Run::good();
    run.clients[0].show_change(id(13));
    assert_eq!(run.judge().shown_twice, 1);
    let mut run = Run::good();
    run.clients[1].changes.remove(&id(15));
    assert_eq!(run.judge().lost_at_members, 1);
    run.clients[1].gap(0, id(15), 0);
    assert_eq!((run.judge().lost, run.judge().behind_gaps), (0, 1));
    let mut run = Run::good();
    run.clients[2].show_change(id(15));
    assert_eq!(run.judge().foreign, 1);
}

#[test]
fn a_history_with_a_change_twice_elsewhere_or_by_nobody_is_found() {
    let mut run = Run::good();
    run.site().places.get_mut(&0).unwrap().push(id(22));
    assert_eq!(run.judge().shown_twice, 1);
    let mut run = Run::good();
    run.site().places.get_mut(&0).unwrap().swap(2, 3);
    assert_eq!(run.judge().out_of_place, 1);
    for (by, did) in [(0, Did::React(id(1), "+1".into())), (1, Did::React(id(2), "+1".into())), (1, Did::Leave)] {
        let mut run = Run::good();
        run.changes()[4] = ChangeRead { id: id(15), by: Some(by), did };
        assert_eq!(run.judge().foreign, 1);
    }
    let mut run = Run::good();
    run.changes().push(ChangeRead { id: id(40), by: None, did: Did::Join });
    assert!(run.judge().holds(), "members that join before the run");
    run.changes().push(ChangeRead { id: id(41), by: Some(1), did: Did::Redact(id(3)) });
    assert_eq!(run.judge().foreign, 1);
}

#[test]
fn about_a_message_that_got_another_id_after_it_was_named_nothing_is_said() {
    let mut run = Run::good();
    run.ledger.acts[4].aimed = Some(id(77));
    run.sites.iter_mut().for_each(|s| {
        let react = s.changes.get_mut(&0).unwrap().iter_mut().find(|c| c.id == id(15)).unwrap();
        react.did = Did::React(id(77), "+1".into());
    });
    let verdict = run.judge();
    assert!(verdict.holds(), "{verdict:?}");
    assert_eq!(verdict.acts.looks_uncertain, 2);
}
