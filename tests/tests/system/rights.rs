//! Roles, kicks and bans across sites, and what a partition hides.

use causeway_client::{Change, ChangeKind, Direction, Event, Handle, HistoryError, Role, RoomId, Standby, UserId};
use causeway_protocol::Code;

use crate::reader::{Reader, bodies_at, replicated};
use crate::system::{System, in_time};

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a name")
}

/// The code of a refusal. The request would wait in the outbox, and the room's later ones behind it: it is let go.
async fn refused(by: &Reader, handle: Handle) -> u32 {
    let refusal = in_time("an answer", handle.stored()).await.expect_err("refused");
    by.client.discard(&handle);
    refusal.code
}

fn closed(room: RoomId) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::RoomClosed { room: closed } if *closed == room)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_role_keeps_order_at_every_site() {
    let system = System::start(3, false).await;
    let mut ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 1).await;
    let mut eve = Reader::sign_in(&system, "eve", 2).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;
    replicated(eve.client.join(room).unwrap()).await;
    system.converged().await;

    // Nobody's to do without a role. A request that is refused waits in the outbox until it is let go.
    let not_permitted = Code::NotPermitted.number();
    for tried in [
        eve.client.kick(room, user("bob"), "").unwrap(),
        eve.client.ban(room, user("ann"), "", None).unwrap(),
        eve.client.set_role(room, user("eve"), Role::Owner).unwrap(),
        eve.client.lift_ban(room, user("bob")).unwrap(),
    ] {
        assert_eq!(refused(&eve, tried).await, not_permitted);
    }
    replicated(ann.client.set_role(room, user("bob"), Role::Moderator).unwrap()).await;
    let is_moderator = |event: &Event| {
        let moderator = ChangeKind::RoleSet { user: "bob".into(), role: Some(Role::Moderator) };
        matches!(event, Event::Change(Change { kind, .. }) if *kind == moderator)
    };
    bob.until("bob hears of it", is_moderator).await;

    // What she wrote goes everywhere, for her too.
    let noise = eve.client.send(room, "text/plain", "noise").unwrap();
    let noise_id = noise.id();
    replicated(noise).await;
    bob.until_it_reads(noise_id, "noise").await;
    replicated(bob.client.redact_of(room, noise_id, user("eve")).unwrap()).await;
    for reader in [&mut ann, &mut bob, &mut eve] {
        reader.until_it_reads(noise_id, "gone").await;
    }
    assert_eq!(refused(&eve, eve.client.redact_of(room, noise_id, user("bob")).unwrap()).await, not_permitted);
    system.converged().await;
    for site in 0..3 {
        assert_eq!(bodies_at(&system, site, "ann", room).await, ["gone"]);
    }

    replicated(bob.client.kick(room, user("eve"), "noise").unwrap()).await;
    eve.until("eve is out", closed(room)).await;
    let page = in_time("an answer", eve.client.history(room, None, Direction::Backward, 10)).await;
    assert!(matches!(page, Err(HistoryError::Refused { code, .. }) if code == not_permitted), "{page:?}");
    // A kick is no ban.
    replicated(eve.client.join(room).unwrap()).await;
    system.converged().await;
    replicated(bob.client.ban(room, user("eve"), "again", None).unwrap()).await;
    eve.until("eve is out again", closed(room)).await;
    system.converged().await;
    for site in 0..3 {
        let again = Reader::sign_in(&system, "eve", site).await;
        let tried = again.client.join(room).unwrap();
        assert_eq!(refused(&again, tried).await, not_permitted, "site {}", site + 1);
        again.client.close().await;
    }
    replicated(ann.client.lift_ban(room, user("eve")).unwrap()).await;
    system.converged().await;
    replicated(eve.client.join(room).unwrap()).await;
    let lifted = |event: &Event| matches!(event, Event::Change(Change { kind: ChangeKind::BanLifted(user), .. }) if user == "eve");
    ann.until("ann hears of it", lifted).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_banned_user_wrote_in_a_partition_is_hidden_everywhere_and_taken_away() {
    let system = System::start(2, true).await;
    // Cold: nobody carries anything over the partition.
    let mut ann = Reader::sign_in_with(&system, "ann", 0, Standby::Cold).await;
    let mut bob = Reader::sign_in_with(&system, "bob", 1, Standby::Cold).await;
    let eve = Reader::sign_in_with(&system, "eve", 1, Standby::Cold).await;
    let (room, created) = ann.client.create_room("lunch", true).unwrap();
    replicated(created).await;
    replicated(bob.client.join(room).unwrap()).await;
    replicated(eve.client.join(room).unwrap()).await;
    let before = eve.client.send(room, "text/plain", "good").unwrap();
    let before_id = before.id();
    replicated(before).await;
    system.converged().await;

    let proxies = system.cluster.proxies().expect("a proxied cluster");
    proxies.cut_between(0, 1);
    let banned = ann.client.ban(room, user("eve"), "", None).unwrap();
    in_time("the ban is stored", banned.stored()).await.expect("accepted");
    let meanwhile = eve.client.send(room, "text/plain", "evil").unwrap();
    let meanwhile_id = meanwhile.id();
    in_time("eve's site takes it", meanwhile.stored()).await.expect("accepted");
    bob.until_it_reads(meanwhile_id, "evil").await;

    proxies.heal_all();
    let is_ban = |event: &Event| matches!(event, Event::Change(Change { kind: ChangeKind::Banned { .. }, .. }));
    bob.until("bob hears of the ban", is_ban).await;
    assert_eq!((bob.reads(before_id), bob.reads(meanwhile_id)), ("good".into(), "nothing".into()));
    system.converged().await;
    let last = ann.client.send(room, "text/plain", "peace").unwrap();
    let last_id = last.id();
    replicated(last).await;
    ann.until_it_reads(last_id, "peace").await;
    assert_eq!(ann.reads(meanwhile_id), "nothing");
    system.converged().await;
    for site in 0..2 {
        assert_eq!(bodies_at(&system, site, "bob", room).await, ["good", "peace"], "site {}", site + 1);
    }
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_channel_those_write_who_were_given_a_role() {
    let system = System::start(1, false).await;
    let ann = Reader::sign_in(&system, "ann", 0).await;
    let mut bob = Reader::sign_in(&system, "bob", 0).await;
    let (room, created) = ann.client.create_channel("news", true).unwrap();
    in_time("stored", created.stored()).await.expect("accepted");
    in_time("stored", bob.client.join(room).unwrap().stored()).await.expect("accepted");
    let opened = |event: &Event| matches!(event, Event::RoomOpened { channel: true, .. });
    bob.until("the channel opens", opened).await;
    let news = ann.client.send(room, "text/plain", "news").unwrap();
    bob.until_it_reads(news.id(), "news").await;
    let tried = bob.client.send(room, "text/plain", "me too").unwrap();
    assert_eq!(refused(&bob, tried).await, Code::NotPermitted.number());
    system.cluster.stop_all().await.unwrap();
}
