//! Before a run: sessions opened, rooms made, members in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use causeway_protocol::RoomId;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::timeout;

use super::player::Player;
use super::stage::Stage;
use crate::sdk::{Pending, SdkError, Session, SessionOptions, Shared};
use crate::workload::Plan;

/// Sessions opened at a time: handshakes are work for both ends.
const OPENING_MAX: usize = 16;
/// A request of the setup that takes longer has failed.
const STEP_WAIT: Duration = Duration::from_secs(60);
/// How long a full outbox is waited for before the next try.
const FULL_WAIT: Duration = Duration::from_millis(5);

/// The user that reads everything back at the end.
pub fn auditor(run: &str) -> String {
    format!("auditor-{run}")
}

/// A client's user.
pub fn user(run: &str, number: u32) -> String {
    format!("client{number:05}-{run}")
}

/// The client that a user is.
pub fn client_of(run: &str, user: &str) -> Option<u32> {
    user.strip_prefix("client")?.strip_suffix(run)?.strip_suffix('-')?.parse().ok()
}

/// Opens all clients' sessions, their homes spread evenly, and starts to watch them.
pub async fn open_players(
    shared: &Shared,
    clients: usize,
    sites: usize,
    standby: bool,
    stage: &Arc<Stage>,
) -> Result<Vec<Arc<Player>>> {
    let open = |number: u32| async move {
        let home = number as usize % sites;
        let options = SessionOptions {
            user: user(&stage.run, number),
            home,
            turn: number as usize / sites,
            standby,
            roams: true,
        };
        let session = timeout(STEP_WAIT, Session::connect(shared, options)).await;
        session
            .map_err(|_| anyhow::anyhow!("client {number} is not connected after {STEP_WAIT:?}"))?
            .context("a client cannot connect")
            .map(|s| (number, s))
    };
    let mut opening = FuturesUnordered::new();
    let mut players = BTreeMap::new();
    let mut next = 0..clients as u32;
    loop {
        while opening.len() < OPENING_MAX
            && let Some(number) = next.next()
        {
            opening.push(open(number));
        }
        let Some(opened) = opening.next().await else { break };
        let (number, session) = opened?;
        players.insert(number, Arc::new(Player::new(number, session, Arc::clone(stage))));
    }
    let players: Vec<_> = players.into_values().collect();
    for player in &players {
        tokio::spawn(Arc::clone(player).watch());
    }
    Ok(players)
}

/// Makes the rooms and lets the first members in, and the auditor into every room.
pub async fn make_rooms(
    plan: &Plan,
    players: &[Arc<Player>],
    shared: &Shared,
    stage: &Stage,
    replicates: bool,
) -> Result<()> {
    let mut rooms = Vec::with_capacity(plan.rooms.len());
    let mut made = Vec::with_capacity(plan.rooms.len());
    for room in &plan.rooms {
        let creator = room.members.first().and_then(|c| players.get(*c as usize));
        let Some(creator) = creator else { bail!("room {:?} has no first member", room.name) };
        let (id, pending) =
            patiently(|| creator.session.create_room(&room.name)).await.context("a room cannot be made")?;
        rooms.push(id);
        made.push(pending);
    }
    all_answered(made, replicates).await.context("making rooms")?;
    let index: BTreeMap<RoomId, u32> = rooms.iter().enumerate().map(|(i, id)| (*id, i as u32)).collect();
    let first_time = stage.rooms.set(rooms.clone()).is_ok() && stage.room_index.set(index).is_ok();
    anyhow::ensure!(first_time, "the rooms of a run are made once");

    let mut joined = Vec::new();
    for (i, (room, id)) in plan.rooms.iter().zip(&rooms).enumerate() {
        for (place, member) in room.members.iter().enumerate() {
            let player = players.get(*member as usize).context("a member that is no client")?;
            if place > 0 {
                joined.push(patiently(|| player.session.join(*id)).await.context("a member cannot join")?);
            }
            player.state().seen.first_member(i as u32);
        }
    }
    all_answered(joined, replicates).await.context("joining")?;

    let options = SessionOptions { user: auditor(&stage.run), home: 0, turn: 0, standby: false, roams: true };
    let auditor = Session::connect(shared, options).await.context("the auditor cannot connect")?;
    let mut joined = Vec::new();
    for id in &rooms {
        joined.push(patiently(|| auditor.join(*id)).await.context("the auditor cannot join")?);
    }
    all_answered(joined, replicates).await.context("letting the auditor in")?;
    auditor.close().await;
    Ok(())
}

/// Asks again as long as the outbox is full.
async fn patiently<T>(mut ask: impl FnMut() -> Result<T, SdkError>) -> Result<T> {
    let tries_max = (STEP_WAIT.as_millis() / FULL_WAIT.as_millis()) as usize;
    for _ in 0..tries_max {
        match ask() {
            Err(SdkError::Full) => tokio::time::sleep(FULL_WAIT).await,
            other => return Ok(other?),
        }
    }
    bail!("the outbox stays full")
}

async fn all_answered(pending: Vec<Pending>, replicates: bool) -> Result<()> {
    let count = pending.len();
    let all = async {
        for p in &pending {
            let answer = if replicates { p.replicated().await } else { p.stored().await };
            if let Err(refused) = answer {
                bail!("{:?} was refused with code {}", p.id(), refused.0);
            }
        }
        Ok(())
    };
    timeout(STEP_WAIT, all).await.map_err(|_| anyhow::anyhow!("{count} requests have no answer after {STEP_WAIT:?}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_apart_by_their_names() {
        assert_eq!(client_of("0a1b", &user("0a1b", 123)), Some(123));
        assert_eq!(client_of("0a1b", &auditor("0a1b")), None);
        assert_eq!(client_of("0a1b", &user("ffff", 1)), None);
    }
}
