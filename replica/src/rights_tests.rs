use causeway_protocol::{DeviceId, Origin, SiteId, Stamp};

use super::*;

fn id(n: u64) -> RequestId {
    RequestId { stamp: Stamp(n), device: DeviceId(1) }
}

fn grant(n: u64, role: Role, rank: Role, saw: u64) -> wire::Grant {
    let (id, saw) = (Some(id(n).to_wire()), vec![id(saw).to_wire()]);
    wire::Grant { id, dot: None, role: role.number(), rank: rank.number(), saw, hidden: false }
}

fn row(joins: &[u64], grants: Vec<wire::Grant>) -> wire::ElementRow {
    wire::ElementRow { tags: joins.iter().map(|n| id(*n).to_wire()).collect(), grants, ..Default::default() }
}

#[test]
fn a_role_holds_while_the_join_that_it_was_given_to_does() {
    let grants = vec![grant(5, Role::Admin, Role::Owner, 1)];
    assert_eq!(role_of(&row(&[1], grants.clone()), false), Some(Role::Admin));
    assert_eq!(role_of(&row(&[2], grants.clone()), false), Some(Role::Member));
    assert_eq!(role_of(&row(&[2], grants.clone()), true), Some(Role::Reader));
    assert_eq!(role_of(&row(&[], grants.clone()), false), None);
    let hidden = wire::Grant { hidden: true, ..grants[0].clone() };
    assert_eq!(role_of(&row(&[1], vec![hidden]), false), Some(Role::Member));
}

#[test]
fn the_highest_giver_holds_and_among_equals_the_higher_id() {
    let by_owner = grant(5, Role::Moderator, Role::Owner, 1);
    let later_by_admin = grant(9, Role::Member, Role::Admin, 1);
    let later_by_owner = grant(8, Role::Admin, Role::Owner, 1);
    let both = row(&[1], vec![by_owner.clone(), later_by_admin.clone()]);
    assert_eq!((role_of(&both, false), given_by(&both)), (Some(Role::Moderator), 5));
    let all = row(&[1], vec![later_by_owner, by_owner, later_by_admin]);
    assert_eq!(role_of(&all, false), Some(Role::Admin));
}

fn set_role(role: Role) -> Kind {
    Kind::SetRole(wire::SetRole { user: "bob".into(), role: role.number() })
}

#[test]
fn roles_are_given_below_ones_own_but_by_owners_to_all() {
    let kick = Kind::Kick(wire::Kick { user: "bob".into(), reason: String::new() });
    for role in Role::ALL {
        for other in Role::ALL {
            assert_eq!(
                check(&kick, Policy::default(), role, Some(other), 0).is_ok(),
                role >= Role::Moderator && other < role
            );
            for new in Role::ALL {
                let may = role == Role::Owner || (role == Role::Admin && other < role && new < role);
                assert_eq!(
                    check(&set_role(new), Policy::default(), role, Some(other), 0).is_ok(),
                    may,
                    "{role} {other} {new}"
                );
            }
        }
        assert!(check(&kick, Policy::default(), role, None, 0).is_err());
        assert!(check(&set_role(Role::Reader), Policy::default(), role, None, 0).is_err());
    }
    assert!(check(&set_role(Role::Member), Policy::default(), Role::Admin, Some(Role::Moderator), 5).is_err());
    assert!(
        check(&Kind::SetRole(wire::SetRole { user: "bob".into(), role: 9 }), Policy::default(), Role::Owner, None, 0)
            .is_err()
    );
}

#[test]
fn a_revocation_hides_what_it_takes_and_what_neither_knew_of_the_other() {
    let origin = Origin { site: SiteId(1), node: 0, incarnation: 3 };
    let dot = |seq| Dot { origin, seq };
    let by = |floor: u32| wire::Revocation {
        id: Some(id(7).to_wire()),
        dot: Some(dot(9).to_wire()),
        past: Some(Vector::from_iter([dot(4)]).to_wire()),
        floor,
        ..Default::default()
    };
    let message = Kind::Message(wire::Message::default());
    let act = |seq, kind| Act { id: id(1), dot: dot(seq), kind, aware: &[], revokes: false };
    assert!(hides(&by(0), &act(5, &message)));
    assert!(!hides(&by(0), &act(4, &message)), "in its past");
    assert!(!hides(&by(0), &Act { aware: &[id(7)], ..act(5, &message) }), "aware of it");
    assert!(!hides(&by(0), &Act { id: id(7), ..act(5, &message) }), "its own request");
    assert!(hides(&by(1), &act(5, &message)), "readers write nothing");
    assert!(!hides(&by(2), &act(5, &message)), "members write");
    let promotes = set_role(Role::Admin);
    assert!(hides(&by(2), &act(5, &promotes)));
    assert!(!hides(&by(2), &Act { revokes: true, ..act(5, &promotes) }), "a demotion stands");
    let removals = [Kind::Leave(wire::Leave {}), Kind::Redact(wire::Redact { target: None, ..Default::default() })];
    assert!(removals.iter().all(|kind| !hides(&by(0), &act(5, kind))), "removals stand");
    let join = Kind::Join(wire::Join {});
    assert!(hides(&by(0), &act(5, &join)));
    assert!(!hides(&by(1), &act(5, &join)), "a demoted user is a member still");
}
