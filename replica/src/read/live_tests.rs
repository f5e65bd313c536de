//! Who may say that they type, and of whom it is told whether they are there.

use causeway_protocol::{Code, RequestId, Role, RoomId, limits, wire};

use super::fixture::{Fixture, SHARDS, user};
use super::{may_type, presence};

const NOW_MS: u64 = 1_000;

fn types(site: &Fixture, room: RoomId, name: &str) -> bool {
    may_type(&site.view, site, SHARDS, NOW_MS, &room, &user(name)).unwrap()
}

#[test]
fn members_may_type_and_strangers_may_not() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.join(1, room, "bob");
    assert!(types(&site, room, "ann"));
    assert!(!types(&site, room, "bob"), "the join is not durable");
    site.sync();
    assert!(types(&site, room, "bob"));
    assert!(!types(&site, room, "eve"));
    assert!(!types(&site, RoomId([9; 16]), "ann"));
    site.leave(1, room, "bob");
    assert!(!types(&site, room, "bob"), "a leave counts before it is durable");
    site.unready.insert(room.shard(SHARDS));
    assert!(!types(&site, room, "ann"), "the shard does not serve");
}

#[test]
fn a_ban_that_stands_ends_it_whatever_else_holds() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.join(1, room, "bob");
    site.sync();
    let ban = |until_ms| wire::Revocation { ban: true, until_ms, ..Default::default() };
    site.change_member(room, "bob", |row| row.revocations = vec![ban(NOW_MS)]);
    assert!(types(&site, room, "bob"), "it has ended");
    site.change_member(room, "bob", |row| row.revocations = vec![ban(NOW_MS + 1)]);
    assert!(!types(&site, room, "bob"));
    site.change_member(room, "bob", |row| row.revocations = vec![ban(0)]);
    assert!(!types(&site, room, "bob"));
}

#[test]
fn a_reader_may_not_type_and_who_was_given_a_role_may() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    let join: RequestId = site.join(1, room, "bob");
    site.sync();
    site.make_channel(room);
    assert!(!types(&site, room, "bob"));
    let grant = |role: Role| wire::Grant { role: role.number(), saw: vec![join.to_wire()], ..Default::default() };
    site.change_member(room, "bob", |row| row.grants = vec![grant(Role::Reader)]);
    assert!(!types(&site, room, "bob"));
    site.change_member(room, "bob", |row| row.grants = vec![grant(Role::Member)]);
    assert!(types(&site, room, "bob"));
}

#[test]
fn presence_is_told_to_members_of_members() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.join(1, room, "bob");
    site.sync();
    let ask = |name: &str, room: RoomId, users: &[&str]| {
        let users = users.iter().map(|name| (*name).to_owned()).collect();
        let request = wire::PresenceRequest { room: room.to_wire(), users };
        let page = presence(&site.view, &site, SHARDS, &user(name), &request, &|of| of.as_str().len() as u32);
        let page = page.unwrap();
        (page.code, page.users.into_iter().map(|told| (told.user, told.seen)).collect::<Vec<_>>())
    };
    let told =
        |users: &[&str]| (0, users.iter().map(|name| ((*name).to_owned(), name.len() as u32)).collect::<Vec<_>>());
    assert_eq!(ask("ann", room, &["bob", "eve", "ann"]), told(&["bob", "ann"]), "of eve nothing is said");
    assert_eq!(ask("bob", room, &["ann"]), told(&["ann"]));
    // The fixture's rooms are open, so that their being there is no secret.
    assert_eq!(ask("eve", room, &["ann"]), (Code::NotPermitted.number(), vec![]));
    assert_eq!(ask("ann", RoomId([9; 16]), &["ann"]), (Code::UnknownRoom.number(), vec![]));
    let malformed = (Code::Malformed.number(), vec![]);
    assert_eq!(ask("ann", room, &[]), malformed);
    assert_eq!(ask("ann", room, &["ann", ""]), malformed);
    assert_eq!(ask("ann", room, &["ann"; limits::PRESENCE_USERS_MAX + 1]), malformed);
    assert_eq!(ask("ann", room, &["ann"; limits::PRESENCE_USERS_MAX]).1.len(), limits::PRESENCE_USERS_MAX);
}
