//! After the last send: outboxes empty, sites equal, members served. Each is a condition with a bound, none a fixed wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::player::{Player, Stage};
use crate::ledger::Sent;
use crate::site::{self, SiteStatus};

/// Outboxes that are not empty after this stay full.
const OUTBOX_WAIT: Duration = Duration::from_secs(120);
/// Sites that are not equal after this stay unequal.
const CONVERGENCE_WAIT: Duration = Duration::from_secs(120);
/// Members that were shown nothing new for this long get nothing more.
const DELIVERY_QUIET: Duration = Duration::from_secs(10);
/// And no longer than this in all.
const DELIVERY_WAIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Waits until nobody has anything to send or to have acknowledged. False if it takes too long.
pub async fn outboxes_empty(players: &[Arc<Player>], replicates: bool) -> bool {
    until(OUTBOX_WAIT, || {
        // Every one is asked each time: what waits is sent by asking.
        let busy = players.iter().filter(|p| !p.drain() || (replicates && p.session.outbox_len() > 0)).count();
        busy == 0
    })
    .await
}

/// Waits until all messages have their last answer. False if it takes too long.
pub async fn answered(stage: &Stage, replicates: bool) -> bool {
    until(OUTBOX_WAIT, || {
        let ledger = stage.ledger();
        let done =
            |s: &Sent| s.refused.is_some() || s.replicated_us.is_some() || (!replicates && s.stored_us.is_some());
        ledger.sent.iter().all(done)
    })
    .await
}

/// Waits until all sites hold the same. What differs, if it takes too long.
pub async fn converged(admins: &[SocketAddr], say: impl Fn(&str)) -> Result<(), String> {
    let deadline = Instant::now() + CONVERGENCE_WAIT;
    loop {
        let statuses: Vec<Option<SiteStatus>> =
            futures_util::future::join_all(admins.iter().map(|a| async { SiteStatus::read(*a).await.ok() })).await;
        if site::converged(&statuses) {
            return Ok(());
        }
        let difference = site::difference(&statuses);
        if Instant::now() >= deadline {
            return Err(difference);
        }
        say(&difference);
        tokio::time::sleep(POLL * 4).await;
    }
}

/// Waits until every member has been shown what is due to it, or nothing comes any more.
pub async fn delivered(players: &[Arc<Player>], stage: &Stage) {
    let deadline = Instant::now() + DELIVERY_WAIT;
    let mut missing = missing(players, stage);
    let mut last = (missing.len(), Instant::now());
    while Instant::now() < deadline && last.1.elapsed() < DELIVERY_QUIET && !missing.is_empty() {
        tokio::time::sleep(POLL).await;
        missing.retain(|(client, no)| !players[*client].state().seen.has(*no));
        if missing.len() != last.0 {
            last = (missing.len(), Instant::now());
        }
    }
}

/// Deliveries that are due and have not come: client and message.
fn missing(players: &[Arc<Player>], stage: &Stage) -> Vec<(usize, u32)> {
    // Copied, because a client's state must not be locked inside the ledger's lock: clients lock the other way round.
    let mut acked: BTreeMap<u32, Vec<(u32, Sent)>> = BTreeMap::new();
    for (no, sent) in stage.ledger().sent.iter().enumerate().filter(|(_, s)| s.is_acked()) {
        acked.entry(sent.room).or_default().push((no as u32, sent.clone()));
    }
    let mut missing = Vec::new();
    for (client, player) in players.iter().enumerate() {
        let state = player.state();
        let due = state.seen.joined_us.keys().filter_map(|room| acked.get(room)).flatten();
        let due =
            due.filter(|(no, sent)| state.seen.expects(sent) && !state.seen.has(*no) && !state.seen.behind_gap(sent));
        missing.extend(due.map(|(no, _)| (client, *no)));
    }
    missing
}

async fn until(wait: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + wait;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
}
