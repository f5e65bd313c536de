//! Roles, kicks, bans and demotions (docs/RIGHTS.md).

use causeway_protocol::{Code, Message, Role, RoomId, SiteId, UserId, Vector, wire, wire::request::Kind};

use super::cluster::{A, B, C, Cluster, Site, Wish, user};
use crate::key::Key;
use crate::view::{Cf, View};
use crate::{read, rights};

fn set_role(of: &UserId, role: Role) -> Kind {
    Kind::SetRole(wire::SetRole { user: of.as_str().into(), role: role.number() })
}

fn kick(of: &UserId) -> Kind {
    Kind::Kick(wire::Kick { user: of.as_str().into(), reason: "noise".into() })
}

fn ban(of: &UserId) -> Kind {
    Kind::Ban(wire::Ban { user: of.as_str().into(), reason: String::new(), until_ms: 0 })
}

fn lift(of: &UserId) -> Kind {
    Kind::LiftBan(wire::LiftBan { user: of.as_str().into() })
}

fn does(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Wish {
    let wish = sites.wish(user, Some(room), kind);
    sites.submit(at, &wish);
    wish
}

/// A group in which everybody has joined; the first is its owner.
fn group(sites: &mut Cluster, members: &[&UserId]) -> RoomId {
    let room = sites.create(A, members[0], true);
    sites.settle();
    members[1..].iter().for_each(|member| _ = sites.join(A, member, room));
    sites.settle();
    room
}

fn give(sites: &mut Cluster, by: &UserId, room: RoomId, of: &UserId, role: Role) {
    let wish = does(sites, A, by, room, set_role(of, role));
    sites.settle();
    assert!(sites.site(A).acked(&wish).is_some(), "{:?}", sites.site(A).refused(&wish));
}

fn role(site: &Site, room: RoomId, user: &UserId) -> Option<Role> {
    let row = site.rows.get(Cf::Element, &Key::Member(room, user.clone()).encode()).unwrap();
    row.and_then(|row| rights::role_of(&wire::ElementRow::decode(row).unwrap(), false))
}

fn shows(site: &Site, wish: &Wish) -> bool {
    let row = site.rows.get(Cf::Request, &Key::Request(wish.room, wish.id).encode()).unwrap().expect("the request");
    !wire::RequestRow::decode(row).unwrap().hidden
}

#[test]
fn roles_say_who_may_do_what() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob, cat, dan) = (user("ann"), user("bob"), user("cat"), user("dan"));
    let room = group(&mut sites, &[&ann, &bob, &cat, &dan]);
    give(&mut sites, &ann, room, &bob, Role::Admin);
    give(&mut sites, &bob, room, &cat, Role::Moderator);
    let refused = [
        (&dan, kick(&cat)),
        (&cat, kick(&bob)),
        (&cat, kick(&cat)),
        (&cat, set_role(&dan, Role::Reader)),
        (&bob, set_role(&bob, Role::Owner)),
        (&bob, set_role(&dan, Role::Admin)),
        (&bob, set_role(&ann, Role::Member)),
        (&bob, ban(&ann)),
        (&bob, lift(&dan)),
        (&ann, set_role(&user("eve"), Role::Admin)),
        (&ann, kick(&user("eve"))),
    ];
    for (by, kind) in refused {
        let wish = does(&mut sites, A, by, room, kind.clone());
        sites.settle();
        assert_eq!(sites.site(A).refused(&wish), Some(Code::NotPermitted), "{by:?}: {kind:?}");
    }
    for (by, kind) in [(&cat, kick(&dan)), (&bob, set_role(&cat, Role::Member)), (&ann, set_role(&bob, Role::Owner))] {
        let wish = does(&mut sites, A, by, room, kind.clone());
        sites.settle();
        assert!(sites.site(A).acked(&wish).is_some(), "{by:?}: {kind:?}");
    }
    let site = sites.site(A);
    assert_eq!(
        [&ann, &bob, &cat, &dan].map(|u| role(site, room, u)),
        [Some(Role::Owner), Some(Role::Owner), Some(Role::Member), None]
    );
}

#[test]
fn what_an_owner_gave_an_admin_does_not_take() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob, cat) = (user("ann"), user("bob"), user("cat"));
    let room = group(&mut sites, &[&ann, &bob, &cat]);
    give(&mut sites, &ann, room, &bob, Role::Admin);
    give(&mut sites, &ann, room, &cat, Role::Moderator);
    let wish = does(&mut sites, A, &bob, room, set_role(&cat, Role::Member));
    sites.settle();
    assert_eq!(sites.site(A).refused(&wish), Some(Code::NotPermitted));
    // But she can lay it down herself, though it came from above.
    give(&mut sites, &cat, room, &cat, Role::Member);
    assert_eq!(role(sites.site(A), room, &cat), Some(Role::Member));
}

#[test]
fn readers_of_a_channel_read() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create_channel(A, &ann);
    sites.settle();
    sites.join(A, &bob, room);
    sites.settle();
    let (news, chatter) = (sites.say(A, &ann, room), sites.say(A, &bob, room));
    let invite = does(&mut sites, A, &bob, room, Kind::Invite(wire::Invite { user: "cat".into() }));
    sites.settle();
    assert!(sites.site(A).acked(&news).is_some());
    assert_eq!(sites.site(A).refused(&chatter), Some(Code::NotPermitted));
    assert_eq!(sites.site(A).refused(&invite), Some(Code::NotPermitted));
    give(&mut sites, &ann, room, &bob, Role::Member);
    let chatter = sites.say(A, &bob, room);
    sites.settle();
    assert!(sites.site(A).acked(&chatter).is_some());
}

#[test]
fn what_a_banned_user_wrote_in_a_partition_shows_nowhere() {
    let mut sites = Cluster::new(&[A, B, C]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann, &eve]);
    let before = sites.say(B, &eve, room);
    sites.settle();
    sites.cut(A, B);
    sites.cut(A, C);
    let banned = does(&mut sites, A, &ann, room, ban(&eve));
    let meanwhile = sites.say(B, &eve, room);
    sites.settle();
    assert!(sites.site(A).acked(&banned).is_some());
    assert!(shows(sites.site(B), &meanwhile) && sites.site(B).delivered(&meanwhile) == 1, "the ban is not known there");
    sites.heal(A, B);
    sites.heal(A, C);
    sites.settle();
    for id in [A, B, C] {
        let site = sites.site(id);
        assert!(shows(site, &before) && !shows(site, &meanwhile), "{id:?}");
        assert!(!site.is_member(room, &eve));
    }
    assert_eq!(sites.site(A).delivered(&meanwhile), 0);
    let rejoin = sites.join(C, &eve, room);
    sites.settle();
    assert_eq!(sites.site(C).refused(&rejoin), Some(Code::NotPermitted));
    sites.assert_converged();
}

#[test]
fn a_lifted_ban_lets_the_user_in_and_hides_what_it_hid() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann, &eve]);
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, ban(&eve));
    let meanwhile = sites.say(B, &eve, room);
    sites.settle();
    sites.heal(A, B);
    sites.settle();
    does(&mut sites, B, &ann, room, lift(&eve));
    sites.settle();
    sites.join(A, &eve, room);
    sites.settle();
    let after = sites.say(B, &eve, room);
    sites.settle();
    for id in [A, B] {
        assert!(sites.site(id).is_member(room, &eve));
        assert!(shows(sites.site(id), &after) && !shows(sites.site(id), &meanwhile), "{id:?}");
    }
    sites.assert_converged();
}

#[test]
fn a_kick_beats_a_concurrent_rejoin_and_a_concurrent_role() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
    let room = group(&mut sites, &[&ann, &bob, &eve]);
    give(&mut sites, &ann, room, &bob, Role::Admin);
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, kick(&eve));
    sites.leave(B, &eve, room);
    let rejoined = sites.join(B, &eve, room);
    let promoted = does(&mut sites, B, &bob, room, set_role(&eve, Role::Moderator));
    sites.settle();
    assert_eq!(role(sites.site(B), room, &eve), Some(Role::Moderator));
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        assert!(!sites.site(id).is_member(room, &eve), "{id:?}");
        assert!(!shows(sites.site(id), &rejoined) && shows(sites.site(id), &promoted));
    }
    // A kick is no ban; the role does not come back.
    sites.join(B, &eve, room);
    sites.settle();
    assert_eq!(role(sites.site(A), room, &eve), Some(Role::Member));
    sites.assert_converged();
}

#[test]
fn two_admins_who_demote_each_other_are_both_demoted_and_what_they_gave_is_void() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob, cat, dan) = (user("ann"), user("bob"), user("cat"), user("dan"));
    let room = group(&mut sites, &[&ann, &bob, &cat, &dan]);
    give(&mut sites, &ann, room, &bob, Role::Owner);
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, set_role(&bob, Role::Member));
    does(&mut sites, B, &bob, room, set_role(&ann, Role::Member));
    let given = does(&mut sites, B, &bob, room, set_role(&cat, Role::Admin));
    let said = sites.say(B, &bob, room);
    sites.settle();
    assert_eq!(role(sites.site(B), room, &cat), Some(Role::Admin));
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        let site = sites.site(id);
        assert_eq!([&ann, &bob, &cat].map(|u| role(site, room, u)), [Some(Role::Member); 3], "{id:?}");
        assert!(!shows(site, &given) && shows(site, &said), "a member still writes");
    }
    sites.assert_converged();
    // Nobody is an owner now: the least name acts as one, and nobody else.
    let wish = does(&mut sites, B, &bob, room, set_role(&dan, Role::Admin));
    sites.settle();
    assert_eq!(sites.site(B).refused(&wish), Some(Code::NotPermitted));
    give(&mut sites, &ann, room, &ann, Role::Owner);
    assert_eq!(role(sites.site(B), room, &ann), Some(Role::Owner));
}

#[test]
fn the_highest_role_left_acts_as_owner() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob, zoe) = (user("ann"), user("bob"), user("zoe"));
    let room = group(&mut sites, &[&ann, &bob, &zoe]);
    give(&mut sites, &ann, room, &zoe, Role::Moderator);
    sites.leave(A, &ann, room);
    sites.settle();
    let wish = does(&mut sites, A, &bob, room, set_role(&bob, Role::Owner));
    sites.settle();
    assert_eq!(sites.site(A).refused(&wish), Some(Code::NotPermitted));
    give(&mut sites, &zoe, room, &zoe, Role::Owner);
}

#[test]
fn a_hidden_reaction_counts_nowhere_and_its_removal_is_no_trouble() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann, &eve]);
    let said = sites.say(A, &ann, room);
    sites.settle();
    let target = Some(said.id.to_wire());
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, kick(&eve));
    does(&mut sites, B, &eve, room, Kind::React(wire::React { target, symbol: "a".into() }));
    does(&mut sites, B, &eve, room, Kind::React(wire::React { target, symbol: "b".into() }));
    does(&mut sites, B, &eve, room, Kind::Unreact(wire::Unreact { target, symbol: "b".into() }));
    sites.settle();
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        let row = |symbol: &str| {
            let key = Key::Reaction(room, said.id, symbol.into(), eve.clone()).encode();
            sites.sites[&id].rows.get(Cf::Element, &key).unwrap().map(|row| wire::ElementRow::decode(row).unwrap())
        };
        assert!(row("a").is_some_and(|row| row.tags.is_empty() && row.hidden.len() == 1), "{id:?}");
        assert!(row("b").is_none());
    }
    sites.assert_converged();
}

#[test]
fn a_ban_made_again_elsewhere_by_a_resend_hides_what_either_acceptance_did_not_know() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann, &eve]);
    sites.cut(A, B);
    let banned = does(&mut sites, A, &ann, room, ban(&eve));
    let meanwhile = sites.say(B, &eve, room);
    sites.submit(B, &banned);
    sites.settle();
    assert!(shows(sites.site(B), &meanwhile), "B's acceptance knew of it");
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        assert_eq!(sites.site(id).dots(&banned), 2);
        assert!(!shows(sites.site(id), &meanwhile), "{id:?}: A's acceptance did not");
    }
    sites.assert_converged();
}

#[test]
fn a_request_shows_if_any_of_its_acceptances_does() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann, &eve]);
    sites.cut(A, B);
    let said = sites.say(A, &eve, room);
    does(&mut sites, A, &ann, room, kick(&eve));
    sites.submit(B, &said);
    sites.settle();
    sites.heal(A, B);
    sites.settle();
    for id in [A, B] {
        assert_eq!(sites.site(id).dots(&said), 2);
        assert!(shows(sites.site(id), &said), "{id:?}: the kick knew of the first");
    }
    sites.assert_converged();
}

#[test]
fn a_ban_holds_when_the_site_that_took_the_users_words_rejoins_by_snapshot() {
    let mut sites = Cluster::with_short_logs(&[A, B, C]);
    let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
    let room = group(&mut sites, &[&ann, &bob, &eve]);
    give(&mut sites, &ann, room, &eve, Role::Moderator);
    sites.cut(A, C);
    sites.cut(B, C);
    does(&mut sites, A, &ann, room, ban(&eve));
    let meanwhile = sites.say(C, &eve, room);
    let promoted = does(&mut sites, C, &eve, room, kick(&bob));
    sites.leave(C, &eve, room);
    let rejoined = sites.join(C, &eve, room);
    for _ in 0..5 {
        sites.say(A, &bob, room);
        sites.settle();
    }
    sites.heal(A, C);
    sites.heal(B, C);
    sites.settle();
    assert!(sites.site(C).shard.counters().snapshots_merged + sites.site(A).shard.counters().snapshots_merged > 0);
    for id in [A, B, C] {
        let site = sites.site(id);
        assert!(!shows(site, &meanwhile) && !shows(site, &rejoined) && shows(site, &promoted), "{id:?}");
        assert!(!site.is_member(room, &eve) && !site.is_member(room, &bob), "{id:?}");
        assert_eq!(site.shard.status(crate::io::Now::default()).peers.len(), 2);
    }
    sites.assert_converged();
}

#[test]
fn who_joins_very_often_is_not_beyond_a_kick() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann]);
    sites.cut(A, B);
    for site in [A, B] {
        let joins: Vec<Wish> = (0..300).map(|_| sites.join(site, &eve, room)).collect();
        sites.settle();
        let refused = joins.iter().filter(|join| sites.sites[&site].refused(join) == Some(Code::NotPermitted)).count();
        assert_eq!(refused, 300 - 32);
    }
    sites.heal(A, B);
    sites.settle();
    does(&mut sites, A, &ann, room, kick(&eve));
    sites.settle();
    assert!(!sites.site(A).is_member(room, &eve) && !sites.site(B).is_member(room, &eve));
    sites.assert_converged();
}

#[test]
fn a_ban_that_is_not_durable_hides_nothing_from_readers_yet() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann, &eve]);
    sites.cut(A, B);
    does(&mut sites, B, &ann, room, ban(&eve));
    let said = sites.say(A, &eve, room);
    sites.settle();
    let reads = |sites: &mut Cluster| {
        let site = sites.site(A);
        let page = read::room_since(&site.rows, &room, site.shard.durable(), &Vector::new(), 1_000, 1 << 20).unwrap();
        page.events.iter().any(|event| event.id == said.id)
    };
    sites.heal(A, B);
    for _ in 0..100 {
        if !shows(sites.site(A), &said) {
            break;
        }
        sites.sync(B);
        sites.deliver();
        sites.pass_ms(50);
    }
    assert!(!shows(sites.site(A), &said), "the ban is applied");
    assert!(reads(&mut sites), "a power failure can still undo it");
    sites.sync(A);
    assert!(!reads(&mut sites));
}

#[test]
fn a_user_who_cannot_join_any_more_cannot_be_banned_any_more() {
    let mut sites = Cluster::new(&[A]);
    let (ann, eve) = (user("ann"), user("eve"));
    let room = group(&mut sites, &[&ann]);
    let bans: Vec<Wish> = (0..70).map(|_| does(&mut sites, A, &ann, room, ban(&eve))).collect();
    sites.settle();
    let refused = bans.iter().filter(|wish| sites.sites[&A].refused(wish) == Some(Code::NotPermitted)).count();
    assert_eq!(refused, 70 - 64);
    does(&mut sites, A, &ann, room, lift(&eve));
    let join = sites.join(A, &eve, room);
    sites.settle();
    assert_eq!(sites.site(A).refused(&join), Some(Code::NotPermitted));
}
