//! Who is invited where, as the user's sessions are told.

use std::sync::Arc;

use causeway_protocol::{Code, RoomId, ShardId, SiteId, UserId, Vector, limits, wire, wire::request::Kind};

use super::cluster::{A, B, Cluster, Wish, user};
use crate::io::Output;
use crate::read::{self, Durables};

struct Durable(Arc<Vector>);

impl Durables for Durable {
    fn durable(&self, _: ShardId) -> Arc<Vector> {
        self.0.clone()
    }
    fn ready(&self, _: ShardId) -> bool {
        true
    }
}

fn does(sites: &mut Cluster, at: SiteId, user: &UserId, room: RoomId, kind: Kind) -> Wish {
    let wish = sites.wish(user, Some(room), kind);
    sites.submit(at, &wish);
    wish
}

fn invite(user: &UserId) -> Kind {
    Kind::Invite(wire::Invite { user: user.to_string() })
}

fn ban(user: &UserId) -> Kind {
    Kind::Ban(wire::Ban { user: user.to_string(), ..Default::default() })
}

/// What a session of the user's at a site is told: room, name, who invites.
fn told(sites: &mut Cluster, at: SiteId, user: &UserId) -> Vec<(RoomId, String, String)> {
    let site = sites.site(at);
    let durable = Durable(Arc::new(site.shard.durable().clone()));
    let all = read::invitations(&site.rows, &durable, 1, user).unwrap();
    all.into_iter().map(|told| (RoomId::from_wire(&told.room).unwrap(), told.name, told.by)).collect()
}

/// How often sessions of the user's at a site were told to look since it was asked last.
fn looks(sites: &mut Cluster, at: SiteId, who: &UserId) -> usize {
    let effects = std::mem::take(&mut sites.site(at).effects);
    effects.iter().filter(|effect| matches!(effect, Output::Invitations { user } if user == who)).count()
}

#[test]
fn who_is_invited_is_told_at_every_site_until_it_is_accepted_or_declined() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob) = (user("ann"), user("bob"));
    let [lunch, duty] = [(); 2].map(|()| sites.create(A, &ann, false));
    sites.settle();
    does(&mut sites, A, &ann, lunch, Kind::SetName(wire::SetName { name: "lunch".into() }));
    does(&mut sites, A, &ann, lunch, invite(&bob));
    does(&mut sites, A, &ann, duty, invite(&bob));
    sites.settle();
    for at in [A, B] {
        assert!(looks(&mut sites, at, &bob) > 0);
        let told = told(&mut sites, at, &bob);
        assert_eq!(told.len(), 2);
        assert!(told.contains(&(lunch, "lunch".into(), "ann".into())), "{told:?}");
    }
    sites.join(B, &bob, lunch);
    does(&mut sites, B, &bob, duty, Kind::Leave(wire::Leave {}));
    sites.settle();
    for at in [A, B] {
        assert!(looks(&mut sites, at, &bob) > 0);
        assert_eq!(told(&mut sites, at, &bob), []);
    }
    // Declined is declined: it takes another invitation.
    let refused = does(&mut sites, B, &bob, duty, Kind::Join(wire::Join {}));
    sites.settle();
    assert_eq!(sites.site(B).refused(&refused), Some(Code::UnknownRoom));
    sites.assert_converged();
}

#[test]
fn nothing_is_told_before_it_is_durable() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob) = (user("ann"), user("bob"));
    let room = sites.create(A, &ann, false);
    sites.settle();
    does(&mut sites, A, &ann, room, invite(&bob));
    assert_eq!((told(&mut sites, A, &bob).len(), looks(&mut sites, A, &bob)), (0, 0));
    sites.settle();
    assert_eq!((told(&mut sites, A, &bob).len(), looks(&mut sites, A, &bob)), (1, 1));
}

#[test]
fn members_and_banned_users_are_told_of_no_invitation_that_nobody_took_back() {
    let mut sites = Cluster::new(&[A, B]);
    let (ann, bob, cat) = (user("ann"), user("bob"), user("cat"));
    let room = sites.create(A, &ann, true);
    sites.settle();
    sites.cut(A, B);
    // Neither the ban nor the join sees the invitation.
    does(&mut sites, A, &ann, room, invite(&bob));
    does(&mut sites, A, &ann, room, invite(&cat));
    does(&mut sites, B, &ann, room, ban(&bob));
    sites.join(B, &cat, room);
    sites.settle();
    assert_eq!([&bob, &cat].map(|user| told(&mut sites, A, user).len()), [1, 1]);
    looks(&mut sites, A, &bob);
    sites.heal(A, B);
    sites.settle();
    for at in [A, B] {
        assert_eq!([&bob, &cat].map(|user| told(&mut sites, at, user).len()), [0, 0], "{at:?}");
    }
    assert!(looks(&mut sites, A, &bob) > 0, "the ban is a reason to look");
    does(&mut sites, B, &ann, room, Kind::LiftBan(wire::LiftBan { user: "bob".into() }));
    sites.settle();
    assert!(looks(&mut sites, A, &bob) > 0, "its lifting, too");
    assert_eq!(told(&mut sites, A, &bob).len(), 1);
}

#[test]
fn a_user_has_a_hundred_invitations_at_most() {
    let mut sites = Cluster::new(&[A]);
    let (ann, bob) = (user("ann"), user("bob"));
    let mut last = None;
    for n in 0..=limits::INVITATIONS_PER_USER_MAX {
        // Nobody is in too many rooms.
        let inviter = user(&format!("ann{}", n / 50));
        let room = sites.create(A, &inviter, false);
        sites.settle();
        last = Some((room, does(&mut sites, A, &inviter, room, invite(&bob))));
        sites.settle();
        let is_refused = sites.site(A).refused(&last.as_ref().unwrap().1).is_some();
        assert_eq!(is_refused, n == limits::INVITATIONS_PER_USER_MAX, "{n}");
    }
    assert_eq!(sites.site(A).shard.counters().invitations_limited, 1);
    let (first, _, by) = told(&mut sites, A, &bob).remove(0);
    let same = does(&mut sites, A, &user(&by), first, invite(&bob));
    sites.settle();
    assert_eq!(sites.site(A).refused(&same), None, "a room counts once");
    does(&mut sites, A, &bob, first, Kind::Leave(wire::Leave {}));
    let (room, _) = last.unwrap();
    let now = does(&mut sites, A, &user("ann2"), room, invite(&bob));
    sites.settle();
    assert_eq!(sites.site(A).refused(&now), None, "there is room again");
    assert_eq!(told(&mut sites, A, &ann), []);
}
