//! Everything works when nothing fails; and after all of it failed at once.

use crate::system::{System, in_time, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_crosses_sites_and_is_replicated() {
    let system = System::start(3, false).await;
    let ann = system.person("ann", 0).await;
    let mut bob = system.person("bob", 1).await;
    let room = ann.create_room().await;
    bob.join(room).await;
    let (id, pending) = ann.say(room, "안녕하세요");
    in_time("stored", pending.stored()).await.unwrap();
    in_time("replicated", pending.replicated()).await.unwrap();
    bob.until_seen(1).await;
    assert!(bob.seen.contains_key(&id));
    system.converged().await;
    system.assert_history("bob", room, &[(id, "안녕하세요".to_owned())]).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sites_replicate_and_one_site_stores() {
    let system = System::start(1, false).await;
    let ann = system.person("ann", 0).await;
    let room = ann.create_room().await;
    let sent = ann.say_all(room, texts(0..3)).await;
    ann.outbox_empty().await;
    system.assert_history("ann", room, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_everything_loses_nothing() {
    let mut system = System::start(3, false).await;
    let ann = system.person("ann", 0).await;
    let mut bob = system.person("bob", 2).await;
    let room = ann.create_room().await;
    bob.join(room).await;
    let mut sent = ann.say_all(room, texts(0..20)).await;
    for site in 0..3 {
        system.kill(site).await;
    }
    // Said while nobody listens: the outbox keeps it.
    let (id, pending) = ann.say(room, "into the dark");
    sent.push((id, "into the dark".to_owned()));
    for site in 0..3 {
        system.cluster.start_again(site).unwrap();
    }
    in_time("replicated after the restart", pending.replicated()).await.unwrap();
    ann.outbox_empty().await;
    bob.until_seen(sent.len()).await;
    system.converged().await;
    system.assert_history("bob", room, &sent).await;
}
