//! Topic, who may join and write, pinned messages: across sites, and past the loss of one.

use causeway_client::{Code, Event, ProfileChange, Role, RoomView};

use crate::reader::{Reader, replicated};
use crate::system::{System, in_time};

/// Sees events until the room is listed as wanted.
async fn until_listed(reader: &mut Reader, what: &str, wanted: impl Fn(&RoomView) -> bool) {
    while !reader.client.rooms().first().is_some_and(&wanted) {
        in_time(what, reader.client.next_event()).await.expect("the client lives");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_room_says_of_itself_is_the_same_everywhere() {
    let mut system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let (room, created) = ann.client.create_room("duty", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;
    let rules = ann.client.send(room, "text/plain", "the rules").unwrap();
    let rules_id = rules.id();
    replicated(rules).await;
    bob.until("the message", |event| matches!(event, Event::Message(_))).await;

    let topic = ProfileChange { topic: Some("who is on duty".to_owned()), ..ProfileChange::default() };
    replicated(bob.client.set_profile(room, topic.clone()).unwrap()).await;
    let rules = ProfileChange { open: Some(false), writers: Some(Role::Moderator), ..ProfileChange::default() };
    replicated(ann.client.set_profile(room, rules).unwrap()).await;
    replicated(ann.client.pin(room, rules_id).unwrap()).await;
    let as_set = |view: &RoomView| {
        let said = (view.topic.as_str(), view.open, view.writers) == ("who is on duty", false, Some(Role::Moderator));
        said && view.pins == [rules_id]
    };
    until_listed(&mut bob, "bob's list", as_set).await;
    assert!(ann.client.set_profile(room, ProfileChange::default()).is_err(), "nothing to change");

    // The rules hold at every site: bob may not write, cat may not join, and does not even see the room.
    system.converged().await;
    let refused = bob.client.send(room, "text/plain", "me").unwrap();
    assert_eq!(in_time("an answer", refused.stored()).await.expect_err("refused").code, Code::NotPermitted.number());
    bob.client.discard(&refused);
    let cat = Reader::sign_in(&system, "cat", 2).await;
    let refused = cat.client.join(room).unwrap();
    assert_eq!(in_time("an answer", refused.stored()).await.expect_err("refused").code, Code::UnknownRoom.number());

    // A device that comes later, at a site that lives, sees the same.
    system.kill(0).await;
    let mut late = Reader::sign_in(&system, "bob", 2).await;
    until_listed(&mut late, "the list of a later device", as_set).await;
    until_listed(&mut bob, "bob's list", |view| view.served && as_set(view)).await;
    replicated(ann.client.unpin(room, rules_id).unwrap()).await;
    until_listed(&mut bob, "bob hears of the unpinning", |view| view.pins.is_empty()).await;
    until_listed(&mut late, "so does the other device", |view| view.pins.is_empty()).await;
    system.cluster.stop_all().await.unwrap();
}
