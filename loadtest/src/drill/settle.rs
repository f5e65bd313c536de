//! After the last send: outboxes empty, sites equal, members served. Each is a condition with a bound, none a fixed wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use causeway_protocol::RequestId;
use tokio::time::Instant;

use super::player::Player;
use super::stage::Stage;
use crate::acts::Act;
use crate::ledger::{Seen, Sent};
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

/// Waits until everything is sent and has its last answer. False if it takes too long.
pub async fn emptied(players: &[Arc<Player>], stage: &Stage, replicates: bool) -> bool {
    let answered = answered(stage, replicates).await;
    outboxes_empty(players, replicates).await && answered
}

/// Waits until nobody has anything to send or to have acknowledged. False if it takes too long.
async fn outboxes_empty(players: &[Arc<Player>], replicates: bool) -> bool {
    until(OUTBOX_WAIT, || {
        // Every one is asked each time: what waits is sent by asking.
        let busy = players.iter().filter(|p| !p.drain() || (replicates && p.session.outbox_len() > 0)).count();
        busy == 0
    })
    .await
}

/// Waits until all requests have their last answer. False if it takes too long.
async fn answered(stage: &Stage, replicates: bool) -> bool {
    until(OUTBOX_WAIT, || {
        let ledger = stage.ledger();
        let done =
            |s: &Sent| s.refused.is_some() || s.replicated_us.is_some() || (!replicates && s.stored_us.is_some());
        let done_too = |a: &Act| a.refused.is_some() || a.replicated || (!replicates && a.stored);
        ledger.sent.iter().all(done) && ledger.acts.iter().all(done_too)
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
        missing.retain(|(client, due)| !due.came_to(&players[*client].state().seen));
        if missing.len() != last.0 {
            last = (missing.len(), Instant::now());
        }
    }
}

/// What a member has to be shown.
#[derive(Clone, Copy)]
enum Due {
    Message(u32, RequestId),
    Change(RequestId),
}

impl Due {
    fn came_to(self, seen: &Seen) -> bool {
        match self {
            Due::Message(no, _) => seen.has(no),
            Due::Change(id) => seen.changes.contains(&id),
        }
    }

    fn id(self) -> RequestId {
        match self {
            Due::Message(_, id) | Due::Change(id) => id,
        }
    }
}

/// Deliveries that are due and have not come: to which client, and what.
fn missing(players: &[Arc<Player>], stage: &Stage) -> Vec<(usize, Due)> {
    // Copied, because a client's state must not be locked inside the ledger's lock: clients lock the other way round.
    let mut acked: BTreeMap<u32, Vec<(u64, Due)>> = BTreeMap::new();
    {
        let ledger = stage.ledger();
        for (sent, no) in ledger.sent.iter().zip(0..).filter(|(s, _)| s.is_acked()) {
            acked.entry(sent.room).or_default().push((sent.intended_us, Due::Message(no, sent.id)));
        }
        for act in ledger.acts.iter().filter(|a| a.is_acked()) {
            acked.entry(act.room).or_default().push((act.intended_us, Due::Change(act.id)));
        }
    }
    let mut missing = Vec::new();
    for (client, player) in players.iter().enumerate() {
        let state = player.state();
        let seen = &state.seen;
        for room in seen.joined_us.keys() {
            let due = acked.get(room).into_iter().flatten().filter(|(intended_us, due)| {
                seen.expects_at(*room, *intended_us)
                    && !due.came_to(seen)
                    && !seen.gap_covers(*room, due.id(), *intended_us)
            });
            missing.extend(due.map(|(_, due)| (client, *due)));
        }
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
