use causeway_protocol::{DeviceId, Origin, SiteId};

use super::*;

/// Hand-made histories: each act by a user, at a site, knowing of what it says.
struct History {
    acts: Vec<Act>,
    seqs: BTreeMap<u16, u64>,
}

impl History {
    fn new() -> Self {
        let mut history = Self { acts: Vec::new(), seqs: BTreeMap::new() };
        history.act(1, "ann", Kind::Create(wire::Create { name: String::new(), open: true, channel: false }));
        history
    }

    fn act(&mut self, site: u16, user: &str, kind: Kind) -> &mut Act {
        let seq = self.seqs.entry(site).or_insert(0);
        *seq += 1;
        let n = self.acts.len() as u64 + 1;
        let dot = Dot { origin: Origin { site: SiteId(site), node: 0, incarnation: 1 }, seq: *seq };
        let id = RequestId { stamp: Stamp::from_ms(n), device: DeviceId(1) };
        let (saw, aware) = (BTreeSet::new(), BTreeSet::new());
        let act = Act { dot, id, user: user.into(), kind, stamp: id.stamp, saw, aware, past: None, rank: 0 };
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
    Kind::Message(wire::Message { reply_to: None })
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
    history.join("bob");
    let deps = history.vector();
    let act = history.act(1, "bob", message()).clone();
    let model = Model::of(&history.acts[..2]);
    assert_eq!(model.permitted(&act, &deps), Ok(()));
    let others = Act { user: "eve".into(), ..act.clone() };
    assert!(model.permitted(&others, &deps).is_err(), "not a member");
    let knowing = Act { aware: BTreeSet::from([RequestId::MIN]), ..act };
    assert!(model.permitted(&knowing, &deps).is_err(), "knows of what is not");
    let kicks = Act { kind: kick("bob"), user: "ann".into(), past: Some(Vector::new()), ..others };
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
