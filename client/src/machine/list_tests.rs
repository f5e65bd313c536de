//! The list of rooms by what a site tells and by what follows.

use causeway_protocol::{DeviceId, Origin, SiteId};

use super::*;

const ME: &str = "ann";

fn dot(seq: u64) -> Dot {
    Dot { origin: Origin { site: SiteId(1), node: 0, incarnation: 1 }, seq }
}

fn upto(seq: u64) -> Vector {
    Vector::from_iter([dot(seq)])
}

fn id(place: u64) -> RequestId {
    RequestId { stamp: Stamp(place), device: DeviceId(1) }
}

fn opened(name: &str, named: u64) -> wire::RoomOpened {
    wire::RoomOpened { name: name.to_owned(), named: Some(id(named).to_wire()), ..Default::default() }
}

/// A room of which everything up to a seq has been told: one message, at this place.
fn listed(seq: u64, last: u64) -> Listed {
    let mut listed = Listed::opened(LinkId(1), &opened("lunch", 1));
    let preview = wire::Preview { id: Some(id(last).to_wire()), user: "bob".to_owned(), ..Default::default() };
    let summary = wire::RoomSummary { made: 1, last: Some(preview), unread: 1, mentions: 0, ..Default::default() };
    listed.summarise(&summary, upto(seq), Vector::new().into());
    listed
}

/// Whether the list may be wrong after it.
fn note(listed: &mut Listed, seq: u64, place: u64, by: &str, kind: Kind, text: &str) -> bool {
    note_until(listed, seq, place, by, kind, text, 0)
}

/// The same, of a body that goes at this moment.
fn note_until(l: &mut Listed, seq: u64, place: u64, by: &str, kind: Kind, text: &str, deadline_ms: u64) -> bool {
    let request = wire::Request { id: Some(id(place).to_wire()), kind: Some(kind), ..Default::default() };
    let body = wire::Body { content: Bytes::from(text.to_owned()), ..Default::default() };
    let told = Told { body: Some(&body.encode_to_vec().into()), deadline_ms };
    l.note(ME, dot(seq), id(place), (by, &request, told))
}

fn message(mentions: &[&str]) -> Kind {
    Kind::Message(wire::Message { mentions: mentions.iter().map(|m| (*m).to_owned()).collect(), ..Default::default() })
}

fn view(listed: &Listed) -> RoomView {
    listed.view(RoomId([1; 16]), Some(LinkId(1)), 1_000)
}

fn shown(listed: &Listed) -> (RequestId, Bytes) {
    let last = view(listed).last.unwrap();
    (last.id, last.content)
}

#[test]
fn what_the_summary_holds_is_not_counted_again_and_what_follows_is() {
    let mut room = listed(5, 10);
    note(&mut room, 5, 10, "bob", message(&[ME]), "held");
    assert_eq!((view(&room).unread, view(&room).mentions), (1, 0));
    note(&mut room, 6, 11, "bob", message(&[ME]), "new");
    note(&mut room, 7, 12, ME, message(&[]), "own");
    note(&mut room, 8, 9, "eve", message(&[]), "late, and old");
    assert_eq!((view(&room).unread, view(&room).mentions), (3, 1));
    assert_eq!(shown(&room), (id(12), Bytes::from_static(b"own")));
    for seq in 9..300 {
        note(&mut room, seq, seq + 10, "bob", message(&[]), "flood");
    }
    assert_eq!(view(&room).unread, limits::UNREAD_MAX);
}

#[test]
fn reading_all_that_was_told_leaves_nothing_unread_and_reading_less_is_the_sites_to_count() {
    let mut room = listed(5, 10);
    room.read(&upto(4));
    assert_eq!(view(&room).unread, 1);
    room.read(&upto(7));
    assert_eq!((view(&room).unread, view(&room).read), (0, upto(7)));
    note(&mut room, 7, 11, "bob", message(&[]), "read before it came");
    assert_eq!(view(&room).unread, 0);
    note(&mut room, 8, 12, "bob", message(&[]), "new");
    assert_eq!(view(&room).unread, 1);
}

#[test]
fn the_preview_follows_the_authors_edits_and_the_redaction() {
    let mut room = listed(5, 10);
    let edit = |target| Kind::Edit(wire::Edit { target: Some(id(target).to_wire()) });
    let redact = |target| Kind::Redact(wire::Redact { target: Some(id(target).to_wire()), ..Default::default() });
    note(&mut room, 6, 20, "eve", edit(10), "not hers");
    note(&mut room, 7, 21, "bob", edit(9), "another message");
    assert_eq!(shown(&room), (id(10), Bytes::new()));
    note(&mut room, 8, 23, "bob", edit(10), "second");
    note(&mut room, 9, 22, "bob", edit(10), "first, late");
    assert_eq!(shown(&room), (id(10), Bytes::from_static(b"second")));
    note(&mut room, 10, 24, "eve", redact(10), "");
    assert!(!view(&room).last.unwrap().body_gone);
    let of = |author: &str| Kind::Redact(wire::Redact { target: Some(id(10).to_wire()), author: author.into() });
    note(&mut room, 10, 24, "mod", of("eve"), "");
    assert!(!view(&room).last.unwrap().body_gone, "not hers");
    let mut moderated = listed(5, 10);
    note(&mut moderated, 6, 23, "mod", of("bob"), "");
    let last = view(&moderated).last.unwrap();
    assert_eq!((last.body_gone, last.user.as_str()), (true, "bob"));
    note(&mut room, 11, 25, "bob", redact(10), "");
    note(&mut room, 12, 26, "bob", edit(10), "too late");
    assert!(view(&room).last.unwrap().body_gone);
    assert_eq!(shown(&room), (id(10), Bytes::new()));
}

#[test]
fn who_asks_to_be_let_in_is_the_sites_to_tell_after_what_may_change_it() {
    let bob = || "bob".to_owned();
    let mut room = listed(5, 10);
    assert!(note(&mut room, 6, 11, "bob", Kind::Knock(wire::Knock {}), ""));
    assert!(!note(&mut room, 7, 12, "bob", Kind::Join(wire::Join {}), ""), "nobody asked");
    let told = wire::RoomSummary { knocks: vec![bob()], ..Default::default() };
    room.summarise(&told, upto(7), Vector::new().into());
    assert_eq!(view(&room).knocks, ["bob"]);
    let answers = [
        ("bob", Kind::Join(wire::Join {})),
        ("bob", Kind::Leave(wire::Leave {})),
        ("ann", Kind::Invite(wire::Invite { user: bob() })),
        ("ann", Kind::Decline(wire::Decline { user: bob() })),
        ("ann", Kind::Ban(wire::Ban { user: bob(), ..Default::default() })),
    ];
    for (by, answer) in answers {
        assert!(note(&mut room, 8, 13, by, answer.clone(), ""), "{answer:?}");
    }
    assert!(!note(&mut room, 9, 14, "ann", Kind::Invite(wire::Invite { user: "eve".into() }), ""));
}

#[test]
fn a_preview_goes_at_its_time_and_a_messages_edit_with_it() {
    let mut room = listed(5, 10);
    let at = |room: &Listed, now_ms| room.view(RoomId([1; 16]), None, now_ms).last.unwrap();
    note_until(&mut room, 6, 11, "bob", message(&[]), "for a while", 5_000);
    let before = at(&room, 4_999);
    assert_eq!((before.body_gone, &before.content[..], before.expires_ms), (false, &b"for a while"[..], Some(5_000)));
    let edit = Kind::Edit(wire::Edit { target: Some(id(11).to_wire()) });
    note_until(&mut room, 7, 12, "bob", edit, "edited", 5_000);
    assert_eq!(&at(&room, 4_999).content[..], b"edited");
    let gone = at(&room, 5_000);
    assert_eq!((gone.body_gone, gone.content.len(), gone.content_type.len()), (true, 0, 0));
    assert_eq!((gone.id, gone.user.as_str()), (id(11), "bob"), "the message itself stays");
}

#[test]
fn a_message_whose_edit_or_redaction_came_first_is_the_sites_to_tell() {
    let edit = Kind::Edit(wire::Edit { target: Some(id(20).to_wire()) });
    let redact = Kind::Redact(wire::Redact { target: Some(id(20).to_wire()), ..Default::default() });
    let of = |last: u64| {
        let last = wire::Preview { id: Some(id(last).to_wire()), ..Default::default() };
        wire::RoomSummary { last: Some(last), ..Default::default() }
    };
    for change in [edit, redact] {
        let mut room = listed(5, 10);
        assert!(!note(&mut room, 6, 14, "bob", message(&[]), "nothing is early"));
        assert!(!note(&mut room, 7, 23, "bob", change.clone(), "early"));
        assert!(!note(&mut room, 8, 13, "bob", message(&[]), "not the newest"));
        room.summarise(&of(14), upto(8), Vector::new().into());
        assert!(note(&mut room, 9, 20, "bob", message(&[]), "changed before it came"));
        room.summarise(&of(20), upto(9), Vector::new().into());
        assert!(!note(&mut room, 10, 30, "bob", message(&[]), "the site has told"));
        assert!(!note(&mut room, 11, 31, "bob", change.clone(), "late"));
        assert!(!note(&mut room, 12, 32, "bob", message(&[]), "nothing is early"));
        // A newer one takes its place.
        let mut room = listed(5, 10);
        note(&mut room, 6, 23, "bob", change, "early");
        assert!(!note(&mut room, 7, 21, "bob", message(&[]), "newer"));
        assert!(!note(&mut room, 8, 20, "bob", message(&[]), "not the newest"));
    }
}

#[test]
fn what_another_site_does_not_know_yet_stays() {
    let mut room = listed(5, 10);
    note(&mut room, 6, 30, "bob", message(&[]), "of a dead site");
    note(&mut room, 7, 31, "bob", Kind::SetName(wire::SetName { name: "supper".to_owned() }), "");
    room.opened_again(LinkId(2), &opened("lunch", 1));
    let older = wire::Preview { id: Some(id(20).to_wire()), ..Default::default() };
    let summary = wire::RoomSummary { last: Some(older), ..Default::default() };
    room.summarise(&summary, upto(5), Vector::new().into());
    assert_eq!(shown(&room), (id(30), Bytes::from_static(b"of a dead site")));
    assert_eq!((view(&room).name, view(&room).served), ("supper".to_owned(), false));
    // It knows it, and has it hidden.
    room.summarise(&summary, upto(6), Vector::new().into());
    assert_eq!(shown(&room).0, id(20));
}

#[test]
fn a_hello_says_which_summary_the_list_amounts_to() {
    let mut room = listed(5, 10);
    let of = |seq: u64| Marker::from(Vector::new()).fingerprint(&upto(seq));
    assert_eq!(room.fingerprint(), of(5));
    note(&mut room, 6, 30, "bob", message(&[]), "of a dead site");
    assert_eq!(room.fingerprint(), of(6));
    // A site that lacks it tells of less, whatever the cursor covers.
    room.summarise(&wire::RoomSummary::default(), upto(5), Vector::new().into());
    assert_eq!(room.fingerprint(), of(5));
    // Who has asked and been told nothing holds none.
    assert!(room.asks());
    assert_eq!(room.fingerprint(), 0);
    room.opened_again(LinkId(2), &opened("lunch", 1));
    assert_eq!(room.fingerprint(), 0, "another site is about to tell");
}

#[test]
fn of_two_flags_the_later_one_stays_whichever_is_told_last() {
    let flag = |n: u64, unread: bool| UnreadFlag { id: id(n), unread };
    let told = |flag: UnreadFlag| Marker { read: Vector::new(), flag };
    let mut room = listed(5, 10);
    assert!(!view(&room).marked_unread && room.flag() == UnreadFlag::default());
    room.summarise(&wire::RoomSummary::default(), upto(5), told(flag(7, true)));
    assert!(view(&room).marked_unread);
    assert_eq!(room.fingerprint(), told(flag(7, true)).fingerprint(&upto(5)));
    assert_ne!(room.fingerprint(), Marker::default().fingerprint(&upto(5)), "a hello tells of it");
    room.summarise(&wire::RoomSummary::default(), upto(6), told(flag(6, false)));
    assert!(view(&room).marked_unread, "another site does not know it yet");
    room.summarise(&wire::RoomSummary::default(), upto(6), told(flag(8, false)));
    assert!(!view(&room).marked_unread && !room.may_be_marked_unread());
}

#[test]
fn a_site_is_asked_once_and_not_before_it_has_told() {
    let mut room = Listed::opened(LinkId(1), &opened("lunch", 1));
    assert!(!room.asks());
    assert_eq!(room.fingerprint(), 0);
    room.summarise(&wire::RoomSummary::default(), upto(5), upto(3).into());
    assert_eq!(room.fingerprint(), Marker::from(upto(3)).fingerprint(&upto(5)));
    assert!(room.is_unsure_of(&dot(6)) && !room.is_unsure_of(&dot(5)));
    assert!(room.asks() && !room.asks());
    room.summarise(&wire::RoomSummary::default(), upto(5), upto(3).into());
    assert!(room.asks());
}

#[test]
fn each_field_of_the_profile_is_the_highest_ids() {
    let set = |topic: &str| {
        Kind::SetProfile(wire::SetProfile { topic: Some(topic.into()), writers: Some(3), ..Default::default() })
    };
    let mut room = listed(5, 10);
    note(&mut room, 6, 30, "bob", set("later"), "");
    note(&mut room, 7, 29, "bob", set("earlier"), "");
    assert_eq!((view(&room).topic.as_str(), view(&room).writers), ("later", Some(Role::Moderator)));
    // A site that lacks it does not take it back, and one that knows a later one brings that.
    let told = |topic: &str, by: Option<u64>| {
        let topic_by = by.map(|by| id(by).to_wire());
        let profile = wire::Profile { topic: topic.into(), topic_by, open: true, writers: 2, ..Default::default() };
        wire::RoomSummary { profile: Some(profile), ..Default::default() }
    };
    room.summarise(&told("", None), upto(5), Vector::new().into());
    assert_eq!((view(&room).topic.as_str(), view(&room).open), ("later", true));
    room.summarise(&told("latest", Some(31)), upto(8), Vector::new().into());
    assert_eq!(view(&room).topic, "latest");
    assert_eq!(view(&room).writers, Some(Role::Moderator), "nobody set it later");
}
