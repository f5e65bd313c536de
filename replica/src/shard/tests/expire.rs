//! Lifetimes of messages and the retention of rooms.

use causeway_protocol::{Code, Message, RoomId, SiteId, UserId, limits, wire, wire::request::Kind};

use super::cluster::{A, B, C, Cluster, Wish, user};
use crate::io::Input;
use crate::key::Key;
use crate::read;
use crate::view::{Cf, View};

/// Longer than the sites take to settle.
const MINUTE_MS: u64 = 60_000;

fn does(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Wish {
    let wish = sites.wish(user, Some(room), kind);
    sites.submit(at, &wish);
    wish
}

fn message(lifetime_ms: u64) -> Kind {
    Kind::Message(wire::Message { lifetime_ms, ..Default::default() })
}

fn retention(ms: u64) -> Kind {
    Kind::SetProfile(wire::SetProfile { retention_ms: Some(ms), ..Default::default() })
}

fn edit(target: &Wish) -> Kind {
    Kind::Edit(wire::Edit { target: Some(target.id.to_wire()) })
}

fn row(sites: &mut Cluster, at: SiteId, wish: &Wish) -> wire::RequestRow {
    let row = sites.site(at).rows.get(Cf::Request, &Key::Request(wish.room, wish.id).encode()).unwrap();
    wire::RequestRow::decode(row.expect("the request")).unwrap()
}

fn bodies(sites: &mut Cluster, at: SiteId, wishes: &[&Wish]) -> Vec<bool> {
    wishes.iter().map(|wish| row(sites, at, wish).body.is_some()).collect()
}

/// When the body goes, counted from the place, ms.
fn lifetime(sites: &mut Cluster, at: SiteId, wish: &Wish) -> u64 {
    row(sites, at, wish).deadline_ms.saturating_sub(wish.id.stamp.ms())
}

fn room_of(sites: &mut Cluster, members: &[&UserId]) -> RoomId {
    let room = sites.create(A, members[0], true);
    sites.settle();
    members[1..].iter().for_each(|member| _ = sites.join(A, member, room));
    sites.settle();
    room
}

#[test]
fn a_body_goes_at_its_time_at_every_site_and_its_edits_go_with_it() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let short = does(&mut sites, A, &ann, room, message(MINUTE_MS));
    let stays = does(&mut sites, A, &bob, room, message(0));
    sites.settle();
    let edited = does(&mut sites, B, &ann, room, edit(&short));
    sites.settle();
    assert_eq!(lifetime(&mut sites, B, &short), MINUTE_MS);
    assert_eq!(row(&mut sites, A, &edited).deadline_ms, row(&mut sites, A, &short).deadline_ms);
    let now = sites.now.wall_ms;
    let deadline_ms = row(&mut sites, A, &short).deadline_ms;
    sites.pass_ms(deadline_ms - now - 1);
    for at in [A, B] {
        assert_eq!(bodies(&mut sites, at, &[&short, &edited, &stays]), [true, true, true], "{at:?}, a moment before");
    }
    sites.pass_ms(1_000);
    for at in [A, B] {
        assert_eq!(bodies(&mut sites, at, &[&short, &edited, &stays]), [false, false, true], "{at:?}");
        assert_eq!(sites.site(at).shard.counters().bodies_expired, 2);
        assert_eq!(sites.site(at).shard.next_timer().filter(|due| *due < 1_000), None);
    }
    // An edit that comes later has no body any more.
    let late = does(&mut sites, B, &ann, room, edit(&short));
    sites.settle();
    assert_eq!((bodies(&mut sites, A, &[&late]), bodies(&mut sites, B, &[&late])), (vec![false], vec![false]));
    sites.assert_converged();
}

#[test]
fn what_a_room_keeps_is_for_what_is_accepted_from_then_on_and_the_shorter_one_holds() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    let before = sites.say(A, &bob, room);
    let refused = does(&mut sites, A, &bob, room, retention(MINUTE_MS));
    does(&mut sites, A, &ann, room, retention(2 * MINUTE_MS));
    sites.settle();
    assert_eq!(sites.site(A).refused(&refused), Some(Code::NotPermitted));
    let kept = sites.say(B, &bob, room);
    let shorter = does(&mut sites, B, &bob, room, message(MINUTE_MS));
    let longer = does(&mut sites, B, &bob, room, message(3 * MINUTE_MS));
    sites.settle();
    let of: Vec<u64> = [&before, &kept, &shorter, &longer].map(|wish| lifetime(&mut sites, A, wish)).into();
    assert_eq!(of, [0, 2 * MINUTE_MS, MINUTE_MS, 2 * MINUTE_MS]);
    does(&mut sites, B, &ann, room, retention(0));
    sites.settle();
    let for_good = sites.say(A, &bob, room);
    sites.settle();
    assert_eq!(lifetime(&mut sites, B, &for_good), 0);
    let site = sites.site(A);
    let face = read::room_face(&site.rows, site.shard.durable(), &room).unwrap();
    assert_eq!(face.profile.retention_ms, 0);
    sites.pass_ms(4 * MINUTE_MS);
    sites.settle();
    for at in [A, B] {
        let wishes = [&before, &kept, &shorter, &longer, &for_good];
        assert_eq!(bodies(&mut sites, at, &wishes), [true, false, false, false, true], "{at:?}");
    }
    sites.assert_converged();
}

#[test]
fn both_of_a_direct_room_say_how_long_it_keeps_bodies() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob) = (user("ann"), user("bob"));
    let create = Kind::Create(wire::Create { direct: "bob".into(), ..Default::default() });
    let room = RoomId::direct(&ann, &bob);
    does(&mut sites, A, &ann, room, create);
    sites.settle();
    let refused = Kind::SetProfile(wire::SetProfile {
        retention_ms: Some(MINUTE_MS),
        topic: Some("topic".into()),
        ..Default::default()
    });
    let refused = does(&mut sites, A, &bob, room, refused);
    does(&mut sites, A, &bob, room, retention(2 * MINUTE_MS));
    sites.settle();
    assert_eq!(sites.site(A).refused(&refused), Some(Code::NotPermitted));
    let said = sites.say(A, &ann, room);
    sites.settle();
    assert_eq!(lifetime(&mut sites, A, &said), 2 * MINUTE_MS);
}

#[test]
fn of_two_acceptances_the_earlier_time_holds_and_a_late_body_does_not_come_back() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = room_of(&mut sites, &[&ann, &bob]);
    sites.cut(A, B);
    does(&mut sites, A, &ann, room, retention(MINUTE_MS));
    sites.settle();
    let said = sites.wish(&bob, Some(room), message(0));
    sites.submit(A, &said);
    sites.submit(B, &said);
    sites.settle();
    assert_eq!((lifetime(&mut sites, A, &said), lifetime(&mut sites, B, &said)), (MINUTE_MS, 0));
    sites.pass_ms(2 * MINUTE_MS);
    assert_eq!((bodies(&mut sites, A, &[&said]), bodies(&mut sites, B, &[&said])), (vec![false], vec![true]));
    sites.heal(A, B);
    sites.settle();
    for at in [A, B] {
        assert_eq!((lifetime(&mut sites, at, &said), bodies(&mut sites, at, &[&said])), (MINUTE_MS, vec![false]));
    }
    sites.assert_converged();
}

#[test]
fn a_restart_forgets_no_time_and_a_snapshot_brings_them() {
    let mut sites = Cluster::with_short_logs(&[A, B, C]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    sites.cut(A, B);
    sites.cut(C, B);
    let said = does(&mut sites, A, &ann, room, message(5 * MINUTE_MS));
    (0..30).for_each(|_| _ = sites.say(A, &ann, room));
    sites.settle();
    sites.heal(A, B);
    sites.heal(C, B);
    sites.settle();
    sites.settle();
    assert!(sites.site(B).shard.counters().snapshots_merged > 0);
    assert_eq!(bodies(&mut sites, B, &[&said]), [true]);
    let rows = sites.crash(B);
    sites.start(B, rows, false);
    sites.pass_ms(6 * MINUTE_MS);
    sites.settle();
    assert_eq!((bodies(&mut sites, A, &[&said]), bodies(&mut sites, B, &[&said])), (vec![false], vec![false]));
    sites.assert_converged();
}

#[test]
fn a_snapshot_brings_the_time_of_another_acceptance() {
    let mut sites = Cluster::with_short_logs(&[A, B, C]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    sites.cut(A, B);
    sites.cut(C, B);
    does(&mut sites, A, &ann, room, retention(5 * MINUTE_MS));
    sites.settle();
    let said = sites.wish(&ann, Some(room), message(0));
    sites.submit(A, &said);
    sites.submit(B, &said);
    (0..30).for_each(|_| _ = sites.say(A, &ann, room));
    sites.settle();
    assert_eq!((lifetime(&mut sites, A, &said), lifetime(&mut sites, B, &said)), (5 * MINUTE_MS, 0));
    sites.heal(A, B);
    sites.heal(C, B);
    sites.settle();
    sites.settle();
    assert!(sites.site(B).shard.counters().snapshots_merged > 0);
    assert_eq!((lifetime(&mut sites, A, &said), lifetime(&mut sites, B, &said)), (5 * MINUTE_MS, 5 * MINUTE_MS));
    sites.pass_ms(6 * MINUTE_MS);
    sites.settle();
    assert_eq!((bodies(&mut sites, A, &[&said]), bodies(&mut sites, B, &[&said])), (vec![false], vec![false]));
    sites.assert_converged();
}

#[test]
fn a_site_whose_clock_is_off_lets_nothing_go() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    let said = does(&mut sites, A, &ann, room, message(MINUTE_MS));
    sites.settle();
    sites.input(A, Input::Accepting(false));
    sites.pass_ms(2 * MINUTE_MS);
    assert_eq!(bodies(&mut sites, A, &[&said]), [true]);
    sites.input(A, Input::Accepting(true));
    sites.pass_ms(MINUTE_MS);
    sites.settle();
    assert_eq!(bodies(&mut sites, A, &[&said]), [false]);
}

#[test]
fn more_than_a_tick_takes_goes_in_several() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    let said: Vec<Wish> = (0..600).map(|_| does(&mut sites, A, &ann, room, message(MINUTE_MS))).collect();
    sites.settle();
    sites.pass_ms(2 * MINUTE_MS);
    let left = |sites: &mut Cluster| said.iter().filter(|wish| row(sites, A, wish).body.is_some()).count();
    assert_eq!(left(&mut sites), 600 - 256);
    sites.settle();
    assert_eq!(left(&mut sites), 0);
}

#[test]
fn lifetimes_are_from_a_second_to_ten_years() {
    let mut sites = Cluster::new(&[A]);
    let ann = user("ann");
    let room = room_of(&mut sites, &[&ann]);
    for bad in [limits::LIFETIME_MS_MIN - 1, limits::LIFETIME_MS_MAX + 1] {
        for kind in [message(bad), retention(bad)] {
            let wish = does(&mut sites, A, &ann, room, kind);
            sites.settle();
            assert_eq!(sites.site(A).refused(&wish), Some(Code::Malformed), "{bad}");
        }
    }
}
