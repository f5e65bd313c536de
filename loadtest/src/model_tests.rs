use causeway_protocol::{DeviceId, Stamp};

use super::*;

fn id(n: u64) -> RequestId {
    RequestId { stamp: Stamp(n), device: DeviceId(1) }
}

fn message(n: u64, by: u32) -> Read {
    Read { id: id(n), no: None, digest: n, gone: false, by: Some(by) }
}

fn change(n: u64, by: u32, did: Did) -> ChangeRead {
    ChangeRead { id: id(n), by: Some(by), did }
}

fn edit(target: u64, digest: u64) -> Did {
    Did::Edit { target: id(target), digest: Some(digest) }
}

fn shown(changes: &[ChangeRead]) -> Option<u64> {
    fold(&[message(1, 0)], changes).looks[&id(1)].shown
}

fn reactions(changes: &[ChangeRead]) -> Vec<(String, u32)> {
    let room = fold(&[message(1, 0)], changes);
    room.looks[&id(1)].reactions.iter().map(|(symbol, by)| (symbol.to_string(), by.unwrap())).collect()
}

#[test]
fn the_authors_edit_with_the_highest_place_is_shown_in_whatever_order_they_stand() {
    assert_eq!(shown(&[]), Some(1));
    assert_eq!(shown(&[change(2, 0, edit(1, 20)), change(3, 0, edit(1, 30))]), Some(30));
    assert_eq!(shown(&[change(3, 0, edit(1, 30)), change(2, 0, edit(1, 20))]), Some(30));
    assert_eq!(shown(&[change(2, 0, edit(1, 20)), change(3, 7, edit(1, 30))]), Some(20), "another's edit");
    assert_eq!(shown(&[change(2, 0, edit(9, 20))]), Some(1), "another message");
}

#[test]
fn a_redaction_by_the_author_wins_over_every_edit() {
    assert_eq!(shown(&[change(2, 0, Did::Redact(id(1))), change(3, 0, edit(1, 30))]), None);
    assert_eq!(shown(&[change(2, 7, Did::Redact(id(1)))]), Some(1), "another's");
    let gone = Read { gone: true, ..message(1, 0) };
    assert_eq!(fold(&[gone], &[]).looks[&id(1)].shown, None);
}

#[test]
fn of_one_clients_reactions_with_one_symbol_the_last_word_counts() {
    let add = |n, by| change(n, by, Did::React(id(1), "x".into()));
    let take = |n, by| change(n, by, Did::Unreact(id(1), "x".into()));
    assert_eq!(reactions(&[add(2, 0), add(3, 0)]), [("x".to_owned(), 0)]);
    assert_eq!(reactions(&[add(2, 0), take(3, 0)]), []);
    assert_eq!(reactions(&[take(3, 0), add(2, 0)]), []);
    assert_eq!(reactions(&[add(2, 0), take(3, 0), add(4, 0)]), [("x".to_owned(), 0)]);
    assert_eq!(reactions(&[add(2, 0), take(3, 5)]), [("x".to_owned(), 0)], "another's removal");
}

#[test]
fn the_name_with_the_highest_place_counts() {
    let named = |n, name: &str| change(n, 0, Did::Name(name.into()));
    assert_eq!(fold(&[], &[]).name, None);
    assert_eq!(fold(&[], &[named(3, "c"), named(2, "b")]).name.as_deref(), Some("c"));
}
