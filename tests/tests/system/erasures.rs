//! A user is erased: everywhere, also at sites that were away, by what the user asks for at one of them.

use causeway_client::{ChangeKind, Event, UserId};

use crate::reader::{Reader, bodies_at, replicated};
use crate::system::System;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_is_erased_in_every_room_at_every_site_that_was_away_too() {
    let mut system = System::start(3, false).await;
    let mut ann = Reader::sign_in(&system, "ann", 0).await;
    let bob = Reader::sign_in(&system, "bob", 1).await;
    let mut rooms = Vec::new();
    for name in ["lunch", "left", "invited"] {
        let (room, created) = ann.client.create_room(name, name != "invited").unwrap();
        replicated(created).await;
        if name == "invited" {
            replicated(ann.client.invite(room, UserId::new("bob").unwrap()).unwrap()).await;
            continue;
        }
        replicated(bob.client.join(room).unwrap()).await;
        let sent = bob.client.send(room, "text/plain", "I was here").unwrap();
        let id = sent.id();
        replicated(sent).await;
        replicated(bob.client.edit(room, id, "text/plain", "I was here!").unwrap()).await;
        replicated(ann.client.send(room, "text/plain", "so was I").unwrap()).await;
        ann.until_it_reads(id, "I was here! (edited)").await;
        rooms.push((room, id));
    }
    let (lunch, left) = (rooms[0].0, rooms[1].0);
    replicated(bob.client.leave(left).unwrap()).await;
    system.converged().await;

    system.kill(2).await;
    replicated(bob.client.erase_everywhere().unwrap()).await;
    let mut erased = Vec::new();
    while erased.len() < rooms.len() {
        let is_erasure = |event: &Event| match event {
            Event::Change(change) => change.kind == ChangeKind::Erased && change.user == "bob",
            _ => false,
        };
        ann.until("bob is erased", is_erasure).await;
        erased.push(());
    }
    for (_, id) in &rooms {
        assert_eq!(ann.reads(*id), "gone");
    }
    for (at, room) in [(0, lunch), (1, lunch), (0, left), (1, left)] {
        assert_eq!(bodies_at(&system, at, "ann", room).await, ["gone", "so was I"]);
    }

    // The site that was away; and whoever comes back starts anew.
    system.start_again(2).await;
    system.converged().await;
    let again = Reader::sign_in(&system, "bob", 2).await;
    assert!(again.client.rooms().is_empty() && again.client.invitations().is_empty());
    replicated(again.client.join(lunch).unwrap()).await;
    replicated(again.client.send(lunch, "text/plain", "hello").unwrap()).await;
    system.converged().await;
    for at in 0..3 {
        assert_eq!(bodies_at(&system, at, "ann", left).await, ["gone", "so was I"], "at {at}");
        assert_eq!(bodies_at(&system, at, "ann", lunch).await, ["gone", "so was I", "hello"], "at {at}");
    }
    system.cluster.stop_all().await.unwrap();
}
