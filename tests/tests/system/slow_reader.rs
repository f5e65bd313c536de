//! Somebody who does not read holds nobody up, and misses nothing.

use causeway_loadtest::site::metrics;

use crate::system::{System, in_time, texts};

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_reads_from_storage_and_misses_nothing() {
    let system = System::start_with(1, false, &["session_queue_bytes = 132096"]).await;
    let ann = system.person("ann", 0).await;
    let mut quick = system.person("quick", 0).await;
    let mut slow = system.person("slow", 0).await;
    let room = ann.create_room().await;
    quick.join(room).await;
    slow.join(room).await;
    let mut sent = Vec::new();
    // More than the slow one's queues hold, here and there, while it does not look.
    let filler = "x".repeat(2_000);
    while sent.len() < MESSAGES_MIN || overflows(&system).await < 1.0 {
        assert!(sent.len() < MESSAGES_MAX, "the slow reader's queue never overflowed");
        let batch: Vec<_> = texts(sent.len()..sent.len() + 500).map(|text| format!("{text} {filler}")).collect();
        let pending: Vec<_> = batch.into_iter().map(|text| (ann.say(room, &text), text)).collect();
        for ((id, pending), text) in pending {
            in_time("stored", pending.stored()).await.expect("accepted");
            sent.push((id, text));
        }
        quick.until_seen(sent.len()).await;
    }
    slow.until_seen(sent.len()).await;
    system.assert_history("slow", room, &sent).await;
}

/// At 2 KB each, more than the relay's queue for a session and the connection's window.
const MESSAGES_MIN: usize = 5_000;
/// More than all queues on the way may hold together.
const MESSAGES_MAX: usize = 30_000;

/// Queues of live events that overflowed at the first site.
async fn overflows(system: &System) -> f64 {
    let metrics = metrics(system.cluster.sites[0].admin).await.expect("the metrics page");
    metrics["causeway_session_overflows_total"]
}
