//! A site is killed while people talk, and comes back.

use crate::system::{System, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_site_costs_nothing_and_catches_up() {
    let mut system = System::start(3, false).await;
    let ann = system.person("ann", 0).await;
    let mut bob = system.person("bob", 0).await;
    let mut eve = system.person("eve", 1).await;
    let room = ann.create_room().await;
    bob.join(room).await;
    eve.join(room).await;
    let mut sent = ann.say_all(room, texts(0..30)).await;
    // Unacknowledged ones are on their way when the site dies.
    let flying: Vec<_> = texts(30..60).map(|text| (ann.say(room, &text), text)).collect();
    system.kill(0).await;
    for ((id, pending), text) in flying {
        crate::system::in_time("stored elsewhere", pending.stored()).await.expect("accepted");
        sent.push((id, text));
    }
    sent.extend(ann.say_all(room, texts(60..90)).await);
    ann.outbox_empty().await;
    bob.until_seen(sent.len()).await;
    eve.until_seen(sent.len()).await;
    assert_ne!(ann.session.home(), Some(1), "ann has moved");
    system.start_again(0).await;
    sent.extend(ann.say_all(room, texts(90..100)).await);
    bob.until_seen(sent.len()).await;
    ann.outbox_empty().await;
    system.converged().await;
    system.assert_history("eve", room, &sent).await;
}
