//! A site that falls silent: packets vanish, no socket is closed, no ICMP comes.

use crate::system::{System, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_site_is_left_and_taken_back() {
    let system = System::start(3, true).await;
    let ann = system.person("ann", 0).await;
    let mut bob = system.person("bob", 1).await;
    let room = ann.create_room().await;
    bob.join(room).await;
    let mut sent = ann.say_all(room, texts(0..20)).await;
    let proxies = system.cluster.proxies().expect("a proxied cluster");
    proxies.silence(0);
    sent.extend(ann.say_all(room, texts(20..40)).await);
    ann.outbox_empty().await;
    bob.until_seen(sent.len()).await;
    proxies.heal(0);
    sent.extend(ann.say_all(room, texts(40..50)).await);
    ann.outbox_empty().await;
    system.converged().await;
    bob.until_seen(sent.len()).await;
    system.assert_history("ann", room, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_partition_accept_and_come_together() {
    let system = System::start(2, true).await;
    let ann = system.person("ann", 0).await;
    let mut bob = system.person("bob", 1).await;
    let room = ann.create_room().await;
    bob.join(room).await;
    system.converged().await;
    let proxies = system.cluster.proxies().expect("a proxied cluster");
    proxies.cut_between(0, 1);
    let mut sent = ann.say_all(room, texts(0..10)).await;
    sent.extend(bob.say_all(room, texts(10..20)).await);
    proxies.heal_all();
    system.converged().await;
    bob.until_seen(sent.len()).await;
    system.assert_history("ann", room, &sent).await;
}
