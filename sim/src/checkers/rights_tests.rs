use causeway_protocol::{DeviceId, Origin, SiteId, Stamp};

use super::*;

/// Hand-made histories: each act by a user, at a site, knowing of what it says.
struct History {
    acts: Vec<Act>,
    seqs: BTreeMap<u16, u64>,
}

impl History {
    fn new() -> Self {
        let mut history = Self { acts: Vec::new(), seqs: BTreeMap::new() };
        history.act(
            1,
            "ann",
            Kind::Create(wire::Create { name: String::new(), open: true, channel: false, ..Default::default() }),
        );
        history
    }

    fn act(&mut self, site: u16, user: &str, kind: Kind) -> &mut Act {
        let seq = self.seqs.entry(site).or_insert(0);
        *seq += 1;
        let n = self.acts.len() as u64 + 1;
        let dot = Dot { origin: Origin { site: SiteId(site), node: 0, incarnation: 1 }, seq: *seq };
        let id = RequestId { stamp: Stamp::from_ms(n), device: DeviceId(1) };
        let (saw, aware) = (BTreeSet::new(), BTreeSet::new());
        let act =
            Act { dot, id, user: user.into(), kind, stamp: id.stamp, saw, aware, past: None, rank: 0, deadline_ms: 0 };
        self.acts.push(act);
        self.acts.last_mut().unwrap()
    }

    fn join(&mut self, user: &str) -> RequestId {
        self.act(1, user, Kind::Join(wire::Join {})).id
    }

    fn vector(&self) -> Vector {
        self.acts.iter().map(|act| act.dot).collect()
    }

    fn model(&self) -> Model<'_> {
        Model::of(&self.acts)
    }
}

fn message() -> Kind {
    Kind::Message(wire::Message::default())
}

fn kick(user: &str) -> Kind {
    Kind::Kick(wire::Kick { user: user.into(), reason: String::new() })
}

#[test]
fn a_kick_hides_what_it_did_not_know_and_what_did_not_know_it() {
    let mut history = History::new();
    let joined = history.join("eve");
    let before = history.act(2, "eve", message()).id;
    let past = history.vector();
    let meanwhile = history.act(2, "eve", message()).id;
    let kicked = history.act(1, "ann", kick("eve"));
    (kicked.past, kicked.saw) = (Some(past), BTreeSet::from([joined]));
    let kicked = kicked.id;
    let rejoined = history.act(2, "eve", Kind::Join(wire::Join {})).id;
    let model = history.model();
    assert!(model.shows(&before) && !model.shows(&meanwhile) && !model.shows(&rejoined));
    assert_eq!((model.role("eve"), model.role("ann")), (0, OWNER));
    let aware = history.act(2, "eve", Kind::Join(wire::Join {}));
    aware.aware.insert(kicked);
    assert_eq!(history.model().role("eve"), MEMBER);
}

#[test]
fn who_may_do_what() {
    let mut history = History::new();
    let (bob, _) = (history.join("bob"), history.join("cat"));
    let promoted = history.act(1, "ann", Kind::SetRole(wire::SetRole { user: "bob".into(), role: MODERATOR }));
    (promoted.rank, promoted.saw) = (OWNER, BTreeSet::from([bob]));
    let model = history.model();
    assert_eq!(model.role("bob"), MODERATOR);
    assert!(model.may("bob", &kick("cat"), 0).is_ok());
    assert!(model.may("bob", &kick("ann"), 0).is_err());
    assert!(model.may("cat", &kick("bob"), 0).is_err());
    assert!(model.may("dan", &message(), 0).is_err() && model.may("cat", &message(), 0).is_ok());
    assert!(model.may("bob", &Kind::LiftBan(wire::LiftBan { user: "cat".into() }), 0).is_err());
}

#[test]
fn an_acceptance_that_should_not_have_been_is_seen() {
    let mut history = History::new();
    let bob = history.join("bob");
    let deps = history.vector();
    let act = history.act(1, "bob", message()).clone();
    let model = Model::of(&history.acts[..2]);
    assert_eq!(model.permitted(&act, &deps), Ok(()));
    let others = Act { user: "eve".into(), ..act.clone() };
    assert!(model.permitted(&others, &deps).is_err(), "not a member");
    let knowing = Act { aware: BTreeSet::from([RequestId::MIN]), ..act };
    assert!(model.permitted(&knowing, &deps).is_err(), "knows of what is not");
    let saw = BTreeSet::from([bob]);
    let kicks = Act { kind: kick("bob"), user: "ann".into(), saw, past: Some(Vector::new()), ..others };
    assert!(model.permitted(&kicks, &deps).is_err(), "its past is not what the site had");
    assert_eq!(model.permitted(&Act { past: Some(deps.clone()), ..kicks }, &deps), Ok(()));
}

#[test]
fn without_an_owner_the_highest_role_acts_as_one() {
    let mut history = History::new();
    let created = history.acts[0].id;
    history.join("cat");
    history.join("bob");
    history.act(1, "ann", Kind::Leave(wire::Leave {})).saw.insert(created);
    let model = history.model();
    assert_eq!(model.acting_owner(), Some("bob"), "the least name of all");
    assert!(model.may("bob", &kick("cat"), 0).is_ok() && model.may("cat", &kick("bob"), 0).is_err());
}

fn set_role(user: &str, role: u32) -> Kind {
    Kind::SetRole(wire::SetRole { user: user.into(), role })
}

fn ban(user: &str, until_ms: u64) -> Kind {
    Kind::Ban(wire::Ban { user: user.into(), reason: String::new(), until_ms })
}

#[test]
fn a_request_shows_if_any_of_its_acceptances_does() {
    let mut history = History::new();
    history.join("eve");
    let past = history.vector();
    let first = history.act(2, "eve", message()).id;
    history.act(1, "ann", kick("eve")).past = Some(past);
    assert!(!history.model().shows(&first));
    let by = history.acts.last().unwrap().id;
    let again = history.act(3, "eve", message());
    again.id = first;
    again.aware.insert(by);
    let model = history.model();
    assert!(model.shows(&first), "the second acceptance knew of the kick");
    assert_eq!(model.found().find(|(what, _)| *what == "op hidden"), Some(("op hidden", 1)));
}

#[test]
fn a_demotion_takes_given_roles_and_liftings_and_leaves_removals_and_joins() {
    let mut history = History::new();
    let (bob, cat) = (history.join("bob"), history.join("cat"));
    let past = history.vector();
    let demoted = history.act(1, "ann", set_role("bob", MEMBER));
    (demoted.past, demoted.saw, demoted.rank) = (Some(past.clone()), BTreeSet::from([bob]), OWNER);
    let given = history.act(2, "bob", set_role("cat", MODERATOR));
    (given.rank, given.saw) = (ADMIN, BTreeSet::from([cat]));
    let given = given.dot;
    let lifted = history.act(2, "bob", Kind::LiftBan(wire::LiftBan { user: "dan".into() })).dot;
    let wrote = history.act(2, "bob", message()).dot;
    let took = history.act(2, "bob", set_role("ann", READER));
    (took.past, took.rank) = (Some(past), OWNER);
    let took = took.dot;
    let model = history.model();
    assert!(model.is_hidden(&given) && model.is_hidden(&lifted));
    assert!(!model.is_hidden(&wrote) && !model.is_hidden(&took), "a member writes; a demotion stands whoever made it");
    assert_eq!(model.role("cat"), MEMBER);
}

#[test]
fn bans_end_or_are_lifted_unless_the_lifting_is_hidden() {
    let mut history = History::new();
    let past = history.vector();
    let banned = history.act(1, "ann", ban("eve", 50));
    banned.past = Some(past.clone());
    let (banned, join) = (banned.id, Kind::Join(wire::Join {}));
    assert!(history.model().may("eve", &join, 49).is_err() && history.model().may("eve", &join, 50).is_ok());
    assert_eq!(history.model().banned(), ["eve"]);
    history.act(2, "bob", Kind::LiftBan(wire::LiftBan { user: "eve".into() })).saw.insert(banned);
    assert!(history.model().may("eve", &join, 49).is_ok() && history.model().banned().is_empty());
    history.act(1, "ann", kick("bob")).past = Some(past);
    assert!(history.model().may("eve", &join, 49).is_err(), "who lifted it had been kicked");
}

#[test]
fn who_has_joined_very_often_cannot_join() {
    let mut history = History::new();
    let join = Kind::Join(wire::Join {});
    (1..JOINS_MAX).for_each(|_| _ = history.join("eve"));
    assert!(history.model().may("eve", &join, 0).is_ok());
    history.join("eve");
    assert!(history.model().may("eve", &join, 0).is_err());
}

#[test]
fn what_an_acceptance_saw_and_whose_message_it_changes_is_judged() {
    let mut history = History::new();
    let joined = history.join("bob");
    let written = history.act(1, "ann", message()).id;
    let deps = history.vector();
    let known = history.acts.clone();
    let model = Model::of(&known);
    let kicks = history.act(1, "ann", kick("bob"));
    kicks.past = Some(deps.clone());
    assert!(model.permitted(kicks, &deps).is_err(), "it saw no join");
    kicks.saw.insert(joined);
    assert_eq!(model.permitted(kicks, &deps), Ok(()));
    let redact = Kind::Redact(wire::Redact { target: Some(written.to_wire()), ..Default::default() });
    assert_eq!(model.permitted(history.act(1, "ann", redact.clone()), &deps), Ok(()));
    assert!(model.permitted(history.act(1, "bob", redact), &deps).is_err(), "it is ann's");
}
