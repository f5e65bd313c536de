//! What a list of rooms is told, and who has read what.

use causeway_protocol::{
    Code, DeviceId, Dot, Marker, RequestId, Role, RoomId, Stamp, UnreadFlag, Vector, wire, wire::request::Kind,
};

use crate::read::fixture::{Fixture, SHARDS, user};
use crate::read::{members, readers, standing, summary};

fn told(site: &Fixture, room: RoomId, name: &str) -> wire::RoomSummary {
    let (durable, user) = (site.durable_of(room), user(name));
    let standing = standing(&site.view, &durable, &room, &user).unwrap();
    summary(&site.view, &durable, &room, &user, &standing).unwrap()
}

fn message(mentions: &[&str]) -> Kind {
    let mentions = mentions.iter().map(|name| (*name).to_owned()).collect();
    Kind::Message(wire::Message { mentions, ..Default::default() })
}

fn last(site: &Fixture, room: RoomId) -> Option<RequestId> {
    told(site, room, "ann").last.map(|last| RequestId::from_wire(&last.id.unwrap()))
}

#[test]
fn the_newest_message_that_shows_is_told_whatever_lies_behind_it() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    assert_eq!(told(&site, room, "ann").last, None);
    assert!(told(&site, room, "ann").made > 0);
    let (first, _) = site.message(1, room, "bob");
    let (second, _) = site.message(1, room, "bob");
    assert_eq!(last(&site, room), None, "nothing of it is durable");
    site.sync();
    assert_eq!(last(&site, room), Some(second));
    site.join(1, room, "eve");
    site.sync();
    assert_eq!(last(&site, room), Some(second), "a join is no message");
    site.request_at(2, room, "bob", message(&[]), Stamp(9));
    site.sync();
    assert_eq!(last(&site, room), Some(second), "a late message with an old place is not the newest");
    site.hide(room, second);
    assert_eq!(last(&site, room), Some(first));
}

#[test]
fn own_messages_are_not_unread_and_mentions_are_counted_by_name() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.message(1, room, "ann");
    site.request(1, room, "bob", message(&["ann", "eve"]));
    site.request(1, room, "bob", message(&["anna"]));
    site.sync();
    let counts = |site: &Fixture, name: &str| {
        let told = told(site, room, name);
        (told.unread, told.mentions)
    };
    assert_eq!(counts(&site, "ann"), (2, 1));
    assert_eq!(counts(&site, "bob"), (1, 0));
    assert_eq!(counts(&site, "eve"), (3, 1));
    site.mark(room, "ann", &site.durable_of(room));
    assert_eq!(counts(&site, "ann"), (0, 0));
}

#[test]
fn a_room_is_unchanged_for_whom_has_all_of_it_and_its_summary() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    site.message(1, room, "bob");
    site.sync();
    let unchanged = |site: &Fixture, cursor: &Vector, upto: &Vector, marker: &Vector| {
        let standing = standing(&site.view, &site.durable_of(room), &room, &user("ann")).unwrap();
        standing.is_held(cursor, Marker::from(marker.clone()).fingerprint(upto))
    };
    let (all, none) = (site.durable_of(room), Vector::new());
    assert!(unchanged(&site, &all, &all, &none));
    assert!(!unchanged(&site, &none, &all, &none));
    assert!(!unchanged(&site, &all, &none, &none), "its summary holds less");
    assert!(!unchanged(&site, &all, &all, &all), "that is not its marker");
    let mut more = all.clone();
    more.raise(Dot { seq: 9, ..all.iter().next().unwrap() });
    assert!(!unchanged(&site, &more, &more, &none), "its summary holds what the site has lost");
    assert!(unchanged(&site, &more, &all, &none));
    site.message(1, room, "bob");
    assert!(unchanged(&site, &all, &all, &none), "what is not durable is nobody's business");
    site.sync();
    assert!(!unchanged(&site, &all, &all, &none));
    let all = site.durable_of(room);
    site.mark(room, "ann", &all);
    assert!(!unchanged(&site, &all, &all, &none));
    assert!(unchanged(&site, &all, &all, &all));
    let flag = UnreadFlag { id: RequestId { stamp: Stamp(7), device: DeviceId(1) }, unread: false };
    let marker = Marker { read: all.clone(), flag };
    site.put_marker(room, "ann", &marker);
    assert!(!unchanged(&site, &all, &all, &all), "somebody has said something, be it that it is not marked");
    let standing = standing(&site.view, &all, &room, &user("ann")).unwrap();
    assert!(standing.is_held(&all, marker.fingerprint(&all)));
    let told = summary(&site.view, &all, &room, &user("ann"), &standing).unwrap();
    assert_eq!(told.flag, flag.to_wire());
}

fn page(site: &Fixture, room: RoomId, name: &str, after: &str, limit: u32) -> wire::MembersPage {
    let request = wire::MembersRequest { room: room.to_wire(), after: after.to_owned(), limit };
    members(&site.view, site, SHARDS, &user(name), &request).unwrap()
}

#[test]
fn members_come_by_name_page_by_page_and_to_members_only() {
    let mut site = Fixture::default();
    let room = site.room("dan");
    for name in ["eve", "bob", "cat"] {
        site.join(1, room, name);
    }
    site.sync();
    site.join(1, room, "zoe");
    site.leave(1, room, "cat");
    site.sync();
    site.join(1, room, "late");
    let names = |page: &wire::MembersPage| page.members.iter().map(|m| m.user.clone()).collect::<Vec<_>>();
    let all = page(&site, room, "dan", "", 500);
    assert_eq!(names(&all), ["bob", "dan", "eve", "zoe"], "who is not durable is not there");
    assert!(all.next.is_empty() && all.members.iter().all(|member| member.role == Role::Member.number()));
    let first = page(&site, room, "dan", "", 2);
    assert_eq!((names(&first), first.next), (vec!["bob".to_owned(), "dan".to_owned()], "dan".to_owned()));
    let rest = page(&site, room, "dan", "dan", 500);
    assert_eq!((names(&rest), rest.next), (vec!["eve".to_owned(), "zoe".to_owned()], String::new()));
    for (name, limit, code) in
        [("cat", 1, Code::NotPermitted), ("dan", 0, Code::Malformed), ("dan", 501, Code::Malformed)]
    {
        let refused = page(&site, room, name, "", limit);
        assert_eq!((refused.code, names(&refused)), (code.number(), Vec::new()), "{name} {limit}");
    }
}

#[test]
fn a_page_without_members_says_where_to_go_on() {
    let mut site = Fixture::default();
    let room = site.room("zoe");
    for n in 0..2_010 {
        site.former(room, &format!("gone-{n:04}"));
    }
    let first = page(&site, room, "zoe", "", 1);
    assert_eq!((first.members.len(), first.next.as_str()), (0, "gone-2000"));
    let rest = page(&site, room, "zoe", &first.next, 1);
    assert_eq!((rest.members.len(), rest.next.as_str()), (1, ""));
}

#[test]
fn who_has_read_a_message_is_who_passed_any_of_its_dots() {
    let mut site = Fixture::default();
    let room = site.room("ann");
    for name in ["bob", "cat"] {
        site.join(1, room, name);
    }
    let (id, first) = site.message(1, room, "ann");
    site.sync();
    let ask = |site: &Fixture, ids: &[RequestId], names: bool| {
        let ids = ids.iter().map(|id| id.to_wire()).collect();
        let request = wire::ReadersRequest { room: room.to_wire(), ids, names };
        readers(&site.view, site, SHARDS, &user("bob"), &request).unwrap()
    };
    let told = |site: &Fixture| {
        let page = ask(site, &[id], true);
        (page.messages[0].unread, page.messages[0].readers.clone())
    };
    assert_eq!(told(&site), (2, vec![]), "the author counts as neither");
    site.mark(room, "cat", &Vector::from_iter([first]));
    assert_eq!(told(&site), (1, vec!["cat".to_owned()]));
    let second = site.again(2, room, id);
    site.sync();
    site.mark(room, "bob", &Vector::from_iter([second]));
    assert_eq!(told(&site), (0, vec!["bob".to_owned(), "cat".to_owned()]));
    assert_eq!(ask(&site, &[id], false).messages[0].readers, Vec::<String>::new());
    // What is not there is left out; too many or none are refused.
    assert_eq!(ask(&site, &[RequestId::MIN, id], false).messages.len(), 1);
    assert_eq!(ask(&site, &[], false).code, Code::Malformed.number());
    assert_eq!(ask(&site, &[id; 101], false).code, Code::Malformed.number());
    site.hide(room, id);
    assert_eq!(ask(&site, &[id], false).messages, []);
}

#[test]
fn in_a_room_of_many_nobody_counts_the_readers() {
    let mut site = Fixture::default();
    let room = site.room("m000");
    for n in 1..500 {
        site.join(1, room, &format!("m{n:03}"));
    }
    let (id, _) = site.message(1, room, "m000");
    site.sync();
    let request = wire::ReadersRequest { room: room.to_wire(), ids: vec![id.to_wire()], names: false };
    let ask = |site: &Fixture| readers(&site.view, site, SHARDS, &user("m000"), &request).unwrap();
    assert_eq!((ask(&site).many, ask(&site).messages[0].unread), (false, 499));
    site.join(1, room, "m500");
    site.sync();
    assert_eq!(ask(&site), wire::ReadersPage { many: true, ..Default::default() });
}
