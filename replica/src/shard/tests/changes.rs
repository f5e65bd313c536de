//! Edits, redactions and reactions.

use causeway_protocol::{Code, Message, RequestId, RoomId, UserId, wire, wire::request::Kind};

use super::cluster::{A, B, C, Cluster, Site, Wish, user};
use crate::key::Key;
use crate::view::{Cf, View};

fn edit(target: &Wish) -> Kind {
    Kind::Edit(wire::Edit { target: Some(target.id.to_wire()) })
}

fn redact(target: &Wish) -> Kind {
    Kind::Redact(wire::Redact { target: Some(target.id.to_wire()), ..Default::default() })
}

fn react(target: &Wish) -> Kind {
    Kind::React(wire::React { target: Some(target.id.to_wire()), symbol: "👍".into() })
}

fn unreact(target: &Wish) -> Kind {
    Kind::Unreact(wire::Unreact { target: Some(target.id.to_wire()), symbol: "👍".into() })
}

fn room_of(sites: &mut Cluster, members: &[&UserId]) -> RoomId {
    let room = sites.create(A, members[0], true);
    sites.settle();
    members[1..].iter().for_each(|member| _ = sites.join(A, member, room));
    sites.settle();
    room
}

fn does(sites: &mut Cluster, at: causeway_protocol::SiteId, user: &UserId, room: RoomId, kind: Kind) -> Wish {
    let wish = sites.wish(user, Some(room), kind);
    sites.submit(at, &wish);
    wish
}

fn has_body(site: &Site, wish: &Wish) -> bool {
    let row = site.rows.get(Cf::Request, &Key::Request(wish.room, wish.id).encode()).unwrap().expect("the request");
    wire::RequestRow::decode(row).unwrap().body.is_some()
}

fn has_reacted(site: &Site, target: &Wish, user: &UserId) -> bool {
    let key = Key::Reaction(target.room, target.id, "👍".into(), user.clone());
    site.rows.get(Cf::Element, &key.encode()).unwrap().is_some()
}

#[test]
fn a_redaction_takes_the_body_and_the_edits_bodies_at_every_site() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let secret = sites.say(A, &ann, room);
    let other = sites.say(A, &bob, room);
    sites.settle();
    let edited = does(&mut sites, B, &ann, room, edit(&secret));
    sites.settle();
    assert!(has_body(sites.site(A), &secret) && has_body(sites.site(A), &edited));
    does(&mut sites, A, &ann, room, redact(&secret));
    sites.settle();
    for id in [A, B] {
        let site = sites.site(id);
        assert!(!has_body(site, &secret) && !has_body(site, &edited), "{id:?}");
        assert!(has_body(site, &other));
        assert_eq!(site.shard.counters().bodies_purged, 2);
    }
    sites.assert_converged();
}

#[test]
fn a_body_goes_when_its_redaction_is_durable_and_not_before() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    let secret = sites.say(A, &ann, room);
    sites.settle();
    does(&mut sites, A, &ann, room, redact(&secret));
    assert!(has_body(sites.site(A), &secret), "a power failure can still undo the redaction");
    sites.sync(A);
    assert!(!has_body(sites.site(A), &secret));
}

#[test]
fn purges_that_a_crash_prevented_are_done_before_the_shard_serves() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    // More than one tick does.
    let secrets: Vec<Wish> = (0..70).map(|_| sites.say(A, &ann, room)).collect();
    sites.settle();
    secrets.iter().for_each(|secret| _ = does(&mut sites, A, &ann, room, redact(secret)));
    // The redactions are synced, the purges that follow are written and not synced.
    sites.sync(A);
    let rows = sites.crash(A);
    sites.start(A, rows, false);
    let left = |sites: &mut Cluster| secrets.iter().filter(|secret| has_body(sites.site(A), secret)).count();
    assert_eq!(left(&mut sites), 70);
    sites.pass_ms(50);
    assert!(left(&mut sites) > 0 && !sites.site(A).shard.is_ready());
    sites.settle();
    assert!(left(&mut sites) == 0 && sites.site(A).shard.is_ready());
    let (start, end) = crate::key::purges_range(causeway_protocol::ShardId(0));
    let mut to_do = 0;
    let mut count = |_: &[u8], _: &[u8]| {
        to_do += 1;
        std::ops::ControlFlow::Continue(())
    };
    sites.site(A).rows.scan(Cf::Meta, &start, &end, &mut count).unwrap();
    assert_eq!(to_do, 0);
}

#[test]
fn an_edit_that_comes_after_the_redaction_brings_no_body_back() {
    let mut sites = Cluster::new(&[A, B]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    let secret = sites.say(A, &ann, room);
    sites.settle();
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, redact(&secret));
    let edited = does(&mut sites, B, &ann, room, edit(&secret));
    sites.sync_all();
    assert!(has_body(sites.site(B), &edited));
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        assert!(!has_body(sites.site(id), &secret) && !has_body(sites.site(id), &edited), "{id:?}");
    }
    sites.assert_converged();
}

#[test]
fn a_redaction_reaches_a_site_that_rejoins_by_snapshot() {
    let mut sites = Cluster::with_short_logs(&[A, B, C]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    let secret = sites.say(A, &ann, room);
    sites.settle();
    // C edits alone what the others redact and forget the log of.
    sites.cut(A, C);
    sites.cut(B, C);
    does(&mut sites, A, &ann, room, redact(&secret));
    (0..30).for_each(|_| _ = sites.say(A, &ann, room));
    let edited = does(&mut sites, C, &ann, room, edit(&secret));
    (0..30).for_each(|_| _ = sites.say(C, &ann, room));
    sites.settle();
    assert!(has_body(sites.site(C), &secret) && has_body(sites.site(C), &edited));
    sites.heal(A, C);
    sites.heal(B, C);
    sites.settle();
    sites.settle();
    assert!(sites.site(C).shard.counters().snapshots_merged > 0);
    for id in [A, B, C] {
        assert!(!has_body(sites.site(id), &secret) && !has_body(sites.site(id), &edited), "{id:?}");
    }
    sites.assert_converged();
}

#[test]
fn only_the_author_edits_and_redacts() {
    let mut sites = Cluster::new(&[A]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = room_of(&mut sites, &[&ann, &eve]);
    let hello = sites.say(A, &ann, room);
    sites.settle();
    for kind in [edit(&hello), redact(&hello)] {
        let wish = does(&mut sites, A, &eve, room, kind);
        sites.settle();
        assert_eq!(sites.site(A).refused(&wish), Some(Code::NotPermitted));
        assert!(!sites.site(A).has(&wish));
    }
    let reaction = does(&mut sites, A, &eve, room, react(&hello));
    sites.settle();
    assert!(sites.site(A).acked(&reaction).is_some(), "anybody may react");
    let of_reaction = does(&mut sites, A, &ann, room, react(&reaction));
    sites.settle();
    assert_eq!(sites.site(A).refused(&of_reaction), Some(Code::NotPermitted), "a reaction is no message");
}

#[test]
fn somebody_elses_redaction_of_a_message_that_was_not_here_yet_takes_no_effect() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = room_of(&mut sites, &[&ann, &eve]);
    sites.cut(A, B);
    let hello = sites.say(A, &ann, room);
    let redaction = does(&mut sites, B, &eve, room, redact(&hello));
    sites.pass_ms(400);
    sites.sync_all();
    assert!(sites.site(B).acked(&redaction).is_some(), "B cannot know whose message it is");
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        assert!(has_body(sites.site(id), &hello), "{id:?}");
    }
    sites.assert_converged();
}

#[test]
fn a_reaction_that_the_other_device_did_not_see_survives_its_removal() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let hello = sites.say(A, &ann, room);
    does(&mut sites, A, &bob, room, react(&hello));
    sites.settle();
    sites.cut(A, B);
    does(&mut sites, A, &bob, room, unreact(&hello));
    does(&mut sites, B, &bob, room, react(&hello));
    sites.sync_all();
    assert!(!has_reacted(sites.site(A), &hello, &bob));
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        assert!(has_reacted(sites.site(id), &hello, &bob), "{id:?}");
    }
    does(&mut sites, A, &bob, room, unreact(&hello));
    sites.settle();
    assert!(!has_reacted(sites.site(B), &hello, &bob));
    sites.assert_converged();
}

#[test]
fn what_names_no_message_or_no_symbol_is_malformed() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    let hello = sites.say(A, &ann, room);
    sites.settle();
    let target = Some(RequestId::to_wire(hello.id));
    let symbol = |symbol: &str| Kind::React(wire::React { target, symbol: symbol.into() });
    let bad = [
        Kind::Redact(wire::Redact { target: None, ..Default::default() }),
        Kind::React(wire::React { target: None, symbol: "👍".into() }),
        symbol(""),
        symbol("a\u{0}b"),
        symbol(&"x".repeat(65)),
    ];
    for kind in bad {
        let wish = does(&mut sites, A, &ann, room, kind.clone());
        assert_eq!(sites.site(A).refused(&wish), Some(Code::Malformed), "{kind:?}");
    }
    let mut bare = sites.wish(&ann, Some(room), edit(&hello));
    bare.body = None;
    sites.submit(A, &bare);
    assert_eq!(sites.site(A).refused(&bare), Some(Code::Malformed), "an edit needs a body");
}

#[test]
fn a_moderator_redacts_what_somebody_below_wrote() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
    let room = room_of(&mut sites, &[&ann, &bob, &eve]);
    let moderator = wire::SetRole { user: "bob".into(), role: 3 };
    does(&mut sites, A, &ann, room, Kind::SetRole(moderator));
    let of = |target: &Wish, author: &str| {
        Kind::Redact(wire::Redact { target: Some(target.id.to_wire()), author: author.into() })
    };
    let (anns, bobs, eves) = (sites.say(A, &ann, room), sites.say(A, &bob, room), sites.say(A, &eve, room));
    sites.settle();
    let edited = does(&mut sites, A, &eve, room, edit(&eves));
    let refused = [
        (&eve, of(&bobs, "bob"), Code::NotPermitted),
        (&bob, of(&anns, "ann"), Code::NotPermitted),
        (&bob, of(&anns, "eve"), Code::NotPermitted),
        (&bob, redact(&eves), Code::NotPermitted),
        (&bob, of(&bobs, "bob"), Code::Malformed),
    ];
    for (by, kind, code) in refused {
        let wish = does(&mut sites, B, by, room, kind.clone());
        sites.settle();
        assert_eq!(sites.site(B).refused(&wish), Some(code), "{by:?}: {kind:?}");
    }
    let done = does(&mut sites, B, &bob, room, of(&eves, "eve"));
    sites.settle();
    assert!(sites.site(B).acked(&done).is_some());
    for id in [A, B] {
        let site = sites.site(id);
        assert!(!has_body(site, &eves) && !has_body(site, &edited), "{id:?}");
        assert!(has_body(site, &anns) && has_body(site, &bobs));
    }
    // It stands, whatever becomes of who did it; and what comes late comes without a body.
    does(&mut sites, A, &ann, room, Kind::Kick(wire::Kick { user: "bob".into(), reason: String::new() }));
    let late = does(&mut sites, B, &eve, room, edit(&eves));
    sites.settle();
    assert!(!has_body(sites.site(A), &late) && !has_body(sites.site(A), &eves));
    sites.assert_converged();
}

#[test]
fn a_redaction_that_names_the_wrong_author_of_an_unknown_message_does_nothing() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    sites.cut(A, B);
    let secret = sites.say(A, &bob, room);
    let of = |author: &str| Kind::Redact(wire::Redact { target: Some(secret.id.to_wire()), author: author.into() });
    let wrong = does(&mut sites, B, &ann, room, of("eve"));
    sites.pass_ms(1_000);
    sites.sync_all();
    assert!(sites.site(B).acked(&wrong).is_some(), "the site cannot know");
    sites.heal(A, B);
    sites.settle();
    assert!(has_body(sites.site(A), &secret) && has_body(sites.site(B), &secret));
    let right = does(&mut sites, B, &ann, room, of("bob"));
    sites.settle();
    assert!(sites.site(B).acked(&right).is_some() && !has_body(sites.site(A), &secret));
    sites.assert_converged();
}
