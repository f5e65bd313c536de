//! Invitations: told at every site, to a session that is there and to one that comes later, until they are answered.

use causeway_client::{Code, Event, Invitation, ProfileChange, RoomId, UserId};

use crate::reader::{Reader, replicated};
use crate::system::{System, in_time};

/// Sees events until the user is invited to exactly these rooms.
async fn until_invited(reader: &mut Reader, to: &[RoomId]) -> Vec<Invitation> {
    loop {
        let all = reader.client.invitations();
        if all.len() == to.len() && to.iter().all(|room| all.iter().any(|invitation| invitation.room == *room)) {
            return all;
        }
        reader.until("other invitations", |event| matches!(event, Event::InvitationsChanged)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_invited_learns_of_it_and_accepts_or_declines() {
    let mut system = System::start(3, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let bob_is = UserId::new("bob").unwrap();
    let mut rooms = Vec::new();
    for name in ["lunch", "duty"] {
        let (room, created) = ann.client.create_room(name, false).unwrap();
        replicated(created).await;
        replicated(ann.client.invite(room, bob_is.clone()).unwrap()).await;
        rooms.push(room);
    }
    let [lunch, duty] = rooms[..] else { unreachable!("two rooms") };
    let all = until_invited(&mut bob, &[lunch, duty]).await;
    let words: Vec<_> = all.iter().map(|told| (told.room, told.name.as_str(), told.by.as_str())).collect();
    assert_eq!(words, [(duty, "duty", "ann"), (lunch, "lunch", "ann")], "the newest first");

    // A device that comes later sees them at a site that lives; what one answers, the other is told.
    system.kill(1).await;
    let mut late = Reader::sign_in(&system, "bob", 2).await;
    until_invited(&mut late, &[lunch, duty]).await;
    replicated(late.client.join(lunch).unwrap()).await;
    until_invited(&mut bob, &[duty]).await;
    replicated(bob.client.leave(duty).unwrap()).await;
    until_invited(&mut late, &[]).await;
    until_invited(&mut bob, &[]).await;
    let refused = late.client.join(duty).unwrap();
    assert_eq!(in_time("an answer", refused.stored()).await.expect_err("refused").code, Code::UnknownRoom.number());
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_to_be_let_in_is_seen_by_members_everywhere_and_answered() {
    let mut system = System::start(3, false).await;
    let mut ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let (room, created) = ann.client.create_room("lunch", false).unwrap();
    replicated(created).await;
    let ask = ProfileChange { knock: Some(true), ..ProfileChange::default() };
    replicated(ann.client.set_profile(room, ask).unwrap()).await;
    system.converged().await;
    let refused = bob.client.join(room).unwrap();
    assert_eq!(in_time("an answer", refused.stored()).await.expect_err("refused").code, Code::NotPermitted.number());
    replicated(bob.client.knock(room).unwrap()).await;
    until_asked(&mut ann, &["bob"]).await;
    replicated(ann.client.decline(room, UserId::new("bob").unwrap()).unwrap()).await;
    until_asked(&mut ann, &[]).await;

    // Asked at a site that then dies: a member at another answers.
    replicated(bob.client.knock(room).unwrap()).await;
    until_asked(&mut ann, &["bob"]).await;
    system.kill(1).await;
    replicated(ann.client.invite(room, UserId::new("bob").unwrap()).unwrap()).await;
    until_asked(&mut ann, &[]).await;
    until_invited(&mut bob, &[room]).await;
    replicated(bob.client.join(room).unwrap()).await;
    until_invited(&mut bob, &[]).await;
    bob.until("the room", |event| matches!(event, Event::RoomOpened { .. })).await;
    system.cluster.stop_all().await.unwrap();
}

/// Sees events until exactly these users ask to be let into the only room.
async fn until_asked(reader: &mut Reader, by: &[&str]) {
    while reader.client.rooms().first().is_none_or(|view| view.knocks != by) {
        in_time("others ask", reader.client.next_event()).await.expect("the client lives");
    }
}
