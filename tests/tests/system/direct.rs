//! Direct rooms: both users open theirs, at different sites at the same time, and it is one.

use causeway_client::{Event, RoomId, UserId};
use serde_json::Value;

use crate::api_client::Caller;
use crate::reader::{Reader, replicated};
use crate::system::System;

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_open_it_at_two_sites_are_in_one_room() {
    let mut system = System::start(3, false).await;
    let mut ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    // Neither waits for anything: both rooms, and what is said there, are in the outboxes at once.
    let (room, by_ann) = ann.client.create_direct(&user("bob")).unwrap();
    let (same, by_bob) = bob.client.create_direct(&user("ann")).unwrap();
    assert_eq!(room, same);
    let (hello, hi) =
        (ann.client.send(room, "text/plain", "hello").unwrap(), bob.client.send(room, "text/plain", "hi").unwrap());
    let (hello_id, hi_id) = (hello.id(), hi.id());
    for handle in [by_ann, by_bob, hello, hi] {
        replicated(handle).await;
    }
    for reader in [&mut ann, &mut bob] {
        reader.until_it_reads(hello_id, "hello").await;
        reader.until_it_reads(hi_id, "hi").await;
    }
    system.converged().await;
    let direct = |reader: &Reader| {
        let rooms = reader.client.rooms();
        let listed: Vec<_> = rooms.iter().map(|view| (view.room, view.direct.clone(), view.name.clone())).collect();
        listed
    };
    assert_eq!(direct(&ann), [(room, Some("bob".to_owned()), String::new())]);
    assert_eq!(direct(&bob), [(room, Some("ann".to_owned()), String::new())]);
    assert!(ann.client.create_direct(&user("ann")).is_err(), "with oneself");

    // Whose home dies goes on; a back end that opens it again finds the same room.
    system.kill(0).await;
    let again = ann.client.send(room, "text/plain", "still there?").unwrap();
    let again_id = again.id();
    replicated(again).await;
    bob.until_it_reads(again_id, "still there?").await;
    let answer = Caller::plain(system.cluster.sites[2].api, "bob").call("PUT", "/v1/direct/ann", None).await;
    assert_eq!((answer.status, answer.json()["room"].clone()), (201, Value::from(room.to_string())));
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_in_it_without_joining_and_nobody_else_sees_it() {
    let system = System::start(2, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let eve = Reader::sign_in(&system, "eve", 1).await;
    let (room, made) = ann.client.create_direct(&user("bob")).unwrap();
    replicated(made).await;
    let with_ann = |event: &Event, of: RoomId| matches!(event, Event::RoomOpened { room, direct, .. } if *room == of && direct.as_deref() == Some("ann"));
    bob.until("the room opens", |event| with_ann(event, room)).await;
    replicated(bob.client.send(room, "text/plain", "oh, hello").unwrap()).await;
    system.converged().await;
    assert!(eve.client.members(room, None, 10).await.is_err());
    assert!(eve.client.rooms().is_empty());
    system.cluster.stop_all().await.unwrap();
}
