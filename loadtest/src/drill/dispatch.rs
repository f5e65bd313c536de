//! Hands the plan's events to the clients at their times.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::clock::RunClock;
use super::player::Player;
use super::stage::Stage;
use crate::workload::Plan;

/// How often those whose outbox was full are asked again, at the least.
const RETRY_EVERY: Duration = Duration::from_millis(10);
/// Events handed over before others get their turn.
const BURST_MAX: usize = 64;

/// Plays the whole plan. A client that cannot send keeps its events and gets its turn again; nobody else waits for it.
pub async fn send_all(plan: &Plan, players: &[Arc<Player>], stage: &Stage, clock: RunClock) {
    let mut behind: BTreeSet<u32> = BTreeSet::new();
    let mut burst = 0;
    for event in &plan.events {
        while stage.now_us() < event.at_us {
            let due = clock.moment(event.at_us);
            let wake = if behind.is_empty() { due } else { due.min(tokio::time::Instant::now() + RETRY_EVERY) };
            tokio::time::sleep_until(wake).await;
            retry(players, &mut behind);
            burst = 0;
        }
        burst += 1;
        if burst >= BURST_MAX {
            tokio::task::yield_now().await;
            retry(players, &mut behind);
            burst = 0;
        }
        if let Some(player) = players.get(event.client as usize)
            && !player.play(event)
        {
            behind.insert(event.client);
        }
    }
    while !behind.is_empty() {
        tokio::time::sleep(RETRY_EVERY).await;
        retry(players, &mut behind);
    }
}

fn retry(players: &[Arc<Player>], behind: &mut BTreeSet<u32>) {
    behind.retain(|client| players.get(*client as usize).is_some_and(|p| !p.drain()));
}
