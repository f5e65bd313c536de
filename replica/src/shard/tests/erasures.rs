//! A user is erased: what the user wrote goes, at every site, whatever came when.

use causeway_protocol::{Code, Message, RoomId, SiteId, UserId, Vector, wire, wire::request::Kind};

use super::cluster::{A, B, C, Cluster, Wish, user};
use crate::io::Output;
use crate::key::{Key, user_was_range};
use crate::read::{self, Durables};
use crate::view::{Cf, View};

fn does(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Wish {
    let wish = sites.wish(user, Some(room), kind);
    sites.submit(at, &wish);
    wish
}

fn erase(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId) -> Wish {
    does(sites, at, user, room, Kind::Erase(wire::Erase {}))
}

fn edit(target: &Wish) -> Kind {
    Kind::Edit(wire::Edit { target: Some(target.id.to_wire()) })
}

fn bodies(sites: &mut Cluster, at: SiteId, wishes: &[&Wish]) -> Vec<bool> {
    let mut row = |wish: &Wish| {
        let row = sites.site(at).rows.get(Cf::Request, &Key::Request(wish.room, wish.id).encode()).unwrap();
        wire::RequestRow::decode(row.expect("the request")).unwrap()
    };
    wishes.iter().map(|wish| row(wish).body.is_some()).collect()
}

fn room_of(sites: &mut Cluster, members: &[&UserId]) -> RoomId {
    let room = sites.create(A, members[0], true);
    sites.settle();
    members[1..].iter().for_each(|member| _ = sites.join(A, member, room));
    sites.settle();
    room
}

#[test]
fn all_that_a_user_wrote_goes_at_every_site_and_nothing_of_others() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let by_ann = sites.say(A, &ann, room);
    let by_bob = sites.say(B, &bob, room);
    sites.settle();
    let edited = does(&mut sites, B, &bob, room, edit(&by_bob));
    sites.settle();
    let erased = erase(&mut sites, A, &bob, room);
    sites.settle();
    assert!(sites.site(A).acked(&erased).is_some(), "{:?}", sites.site(A).refused(&erased));
    for at in [A, B] {
        assert_eq!(bodies(&mut sites, at, &[&by_ann, &by_bob, &edited]), [true, false, false], "{at:?}");
        assert!(!sites.site(at).is_member(room, &bob), "{at:?}");
        assert_eq!(sites.site(at).shard.counters().bodies_erased, 2, "{at:?}");
        assert_eq!(sites.site(at).shard.next_timer().filter(|due| *due < 1_000), None, "{at:?}");
    }
    // Whoever comes back writes as anybody.
    sites.join(B, &bob, room);
    sites.settle();
    let again = sites.say(A, &bob, room);
    sites.settle();
    for at in [A, B] {
        assert_eq!(bodies(&mut sites, at, &[&by_bob, &again]), [false, true], "{at:?}");
    }
    sites.assert_converged();
}

#[test]
fn what_was_done_elsewhere_meanwhile_is_hidden_and_has_no_body() {
    let mut sites = Cluster::new(&[A, B, C]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let before = sites.say(A, &bob, room);
    sites.settle();
    sites.cut(A, B);
    sites.cut(A, C);
    let meanwhile = sites.say(B, &bob, room);
    let edited = does(&mut sites, B, &bob, room, edit(&before));
    sites.settle();
    let erased = erase(&mut sites, A, &bob, room);
    sites.settle();
    assert_eq!(bodies(&mut sites, B, &[&before, &meanwhile, &edited]), [true; 3]);
    sites.heal(A, B);
    sites.heal(A, C);
    sites.settle();
    for at in [A, B, C] {
        assert_eq!(bodies(&mut sites, at, &[&before, &meanwhile, &edited]), [false; 3], "{at:?}");
        let hidden = [&meanwhile, &edited, &before, &erased].map(|wish| {
            let row = sites.site(at).rows.get(Cf::Request, &Key::Request(room, wish.id).encode()).unwrap();
            wire::RequestRow::decode(row.unwrap()).unwrap().hidden
        });
        assert_eq!(hidden, [true, true, false, false], "{at:?}");
    }
    sites.assert_converged();
}

/// A request that is accepted twice, once knowing of the erasure, has its body where it came first, and nowhere in the end.
#[test]
fn a_second_acceptance_that_knows_brings_no_body_back() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    sites.cut(A, B);
    let twice = sites.say(A, &bob, room);
    sites.settle();
    erase(&mut sites, B, &bob, room);
    sites.settle();
    sites.join(B, &bob, room);
    sites.settle();
    sites.submit(B, &twice);
    sites.settle();
    assert_eq!(bodies(&mut sites, B, &[&twice]), [true], "to B it is a new message");
    sites.heal(A, B);
    sites.settle();
    for at in [A, B] {
        assert_eq!(sites.site(at).dots(&twice), 2);
        assert_eq!(bodies(&mut sites, at, &[&twice]), [false], "{at:?}");
    }
    sites.assert_converged();
}

#[test]
fn a_site_that_comes_back_by_a_snapshot_has_no_body_of_an_erased_user() {
    let mut sites = Cluster::with_short_logs(&[A, B, C]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let old = sites.say(A, &bob, room);
    sites.settle();
    let rows = sites.crash(C);
    erase(&mut sites, A, &bob, room);
    for _ in 0..40 {
        sites.say(A, &ann, room);
    }
    sites.settle();
    sites.pass_ms(20_000);
    sites.settle();
    sites.start(C, rows, false);
    sites.settle();
    sites.pass_ms(20_000);
    sites.settle();
    assert!(sites.site(C).shard.counters().snapshots_merged > 0, "the log would have done");
    assert_eq!(bodies(&mut sites, C, &[&old]), [false]);
    sites.assert_converged();
}

/// The walk is bounded, goes on after a restart, and readers have nothing of it meanwhile.
#[test]
fn readers_are_kept_from_what_the_walk_has_not_reached_and_a_restart_goes_on() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let said: Vec<Wish> = (0..600).map(|_| sites.say(A, &bob, room)).collect();
    sites.settle();
    let last = said.last().unwrap();
    let history = |sites: &mut Cluster| {
        struct Now<'a>(&'a Vector);
        impl Durables for Now<'_> {
            fn durable(&self, _: causeway_protocol::ShardId) -> std::sync::Arc<Vector> {
                std::sync::Arc::new(self.0.clone())
            }
            fn ready(&self, _: causeway_protocol::ShardId) -> bool {
                true
            }
        }
        let site = sites.site(A);
        let ask = wire::HistoryRequest { room: room.to_wire(), from: None, forward: false, limit: 500 };
        let page = read::history(&site.rows, &Now(site.shard.durable()), 1, &ann, &ask).unwrap();
        assert_eq!(page.code, 0, "{}", page.detail);
        page.events.iter().filter(|event| event.user == "bob" && event.body.is_some()).count()
    };
    assert_eq!(history(&mut sites), 500);
    erase(&mut sites, A, &bob, room);
    assert_eq!(history(&mut sites), 500, "not durable yet");
    sites.sync(A);
    assert_eq!(bodies(&mut sites, A, &[last]), [true], "the walk has not begun");
    assert_eq!(history(&mut sites), 0);
    sites.pass_ms(10);
    let taken = sites.site(A).shard.counters().bodies_erased;
    assert!((1..600).contains(&taken), "{taken} at one tick");
    sites.sync(A);
    let rows = sites.crash(A);
    sites.start(A, rows, false);
    assert_eq!(history(&mut sites), 0, "after the restart");
    sites.settle();
    sites.pass_ms(3_000);
    sites.settle();
    assert_eq!(taken + sites.site(A).shard.counters().bodies_erased, 600);
    assert_eq!(bodies(&mut sites, A, &[&said[0], last]), [false, false]);
    let left = sites.site(A).rows.get(Cf::Meta, &Key::Erasing(last.room.shard(1), room, bob).encode()).unwrap();
    assert_eq!(left, None);
}

#[test]
fn the_users_own_room_takes_an_erasure_and_says_where_to_ask_for_it() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let left = room_of(&mut sites, &[&ann, &bob]);
    let here = room_of(&mut sites, &[&ann, &bob]);
    let closed = sites.create(A, &ann, false);
    let others = room_of(&mut sites, &[&ann]);
    sites.settle();
    sites.leave(A, &bob, left);
    does(&mut sites, A, &ann, closed, Kind::Invite(wire::Invite { user: "bob".into() }));
    sites.settle();
    let own = RoomId::of_user(&bob);
    let not_bobs = erase(&mut sites, A, &ann, own);
    let message = sites.say(A, &bob, own);
    let nothing = erase(&mut sites, A, &bob, others);
    let unknown = erase(&mut sites, A, &bob, RoomId([7; 16]));
    sites.settle();
    for (wish, code) in [
        (&not_bobs, Code::UnknownRoom),
        (&message, Code::UnknownRoom),
        (&nothing, Code::NotPermitted),
        (&unknown, Code::UnknownRoom),
    ] {
        assert_eq!(sites.site(A).refused(wish), Some(code));
    }
    let erased = erase(&mut sites, A, &bob, own);
    sites.settle();
    assert!(sites.site(A).acked(&erased).is_some(), "{:?}", sites.site(A).refused(&erased));
    // Each site is told, and finds the same rooms; what is asked for at both is one request.
    for at in [A, B] {
        let site = sites.site(at);
        assert!(site.effects.contains(&Output::Erased { user: bob.clone() }), "{at:?}");
        let rooms = to_erase(site, &bob, erased.id);
        assert_eq!(rooms, [left, here, closed].into(), "{at:?}");
        for room in rooms {
            let request = read::erasing_request(room, erased.id);
            sites.submit(at, &Wish { room, request, ..erased.clone() });
        }
    }
    sites.settle();
    sites.join(A, &bob, others);
    sites.settle();
    for at in [A, B] {
        let site = sites.site(at);
        assert!(to_erase(site, &bob, erased.id).is_empty(), "{at:?}: of a later life, or asked for already");
        assert!(!site.is_member(here, &bob) && site.is_member(others, &bob), "{at:?}");
        let invited = site.rows.get(Cf::Element, &Key::Invited(closed, bob.clone()).encode()).unwrap();
        assert_eq!(invited, None, "{at:?}");
        let was = user_was_range(&bob);
        let mut count = 0;
        let mut each = |_: &[u8], _: &[u8]| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        };
        site.rows.scan(Cf::Head, &was.0, &was.1, &mut each).unwrap();
        assert_eq!(count, 3, "{at:?}");
    }
    sites.assert_converged();
}

fn to_erase(
    site: &super::cluster::Site,
    user: &UserId,
    erasure: causeway_protocol::RequestId,
) -> std::collections::BTreeSet<RoomId> {
    struct All(std::sync::Arc<Vector>);
    impl Durables for All {
        fn durable(&self, _: causeway_protocol::ShardId) -> std::sync::Arc<Vector> {
            self.0.clone()
        }
        fn ready(&self, _: causeway_protocol::ShardId) -> bool {
            true
        }
    }
    let durables = All(std::sync::Arc::new(site.shard.durable().clone()));
    assert_eq!(read::erasure_of(&site.rows, &durables, 1, user).unwrap(), Some(erasure));
    let erased = read::erased(&site.rows, causeway_protocol::ShardId(0), None, 10).unwrap();
    assert_eq!(erased, std::slice::from_ref(user));
    read::to_erase(&site.rows, &durables, 1, user, erasure).unwrap().into_iter().collect()
}
