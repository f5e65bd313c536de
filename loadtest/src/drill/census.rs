//! What each site says of clients at the end: who is a member, and who has how much unread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use causeway_protocol::RoomId;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout};

use super::player::Player;
use super::setup::user;
use super::stage::Stage;
use crate::acts::What;
use crate::ledger::Sent;
use crate::sdk::{Session, SessionOptions, Shared};
use crate::verdict::{SiteRead, UnreadRead};
use crate::workload::{Kind, PlanEvent};

/// Sessions open at a time.
const SESSIONS_MAX: usize = 16;
/// A session, or an answer, that takes longer does not come.
const STEP_WAIT: Duration = Duration::from_secs(30);
/// Read markers that are not known at every site after this do not get there.
const MARK_WAIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Clients, each in one room, whose unread messages are counted.
const READERS_MAX: usize = 24;
/// Messages that come after a marker, at most.
const AFTER_MARK_MAX: u32 = 3;

async fn open(shared: &Shared, run: &str, client: u32, site: usize) -> Result<Session> {
    let options = SessionOptions { user: user(run, client), home: site, turn: 0, standby: false, roams: false };
    Ok(timeout(STEP_WAIT, Session::connect(shared, options)).await.context("no session in time")??)
}

/// Asks a site about everybody who joined or left a room during the run.
pub async fn memberships(shared: &Shared, stage: &Stage, site: usize, read: &mut SiteRead) {
    let mut asked: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for act in stage.ledger().acts.iter().filter(|act| matches!(act.what, What::Join | What::Leave)) {
        asked.entry(act.client).or_default().insert(act.room);
    }
    let rooms = stage.rooms.get().map_or(&[][..], |rooms| rooms);
    let ask = |(client, of): (u32, BTreeSet<u32>)| async move {
        let session = open(shared, &stage.run, client, site).await.ok();
        let mut answers = Vec::new();
        for room in of {
            let answer = match (&session, rooms.get(room as usize)) {
                (Some(session), Some(id)) => timeout(STEP_WAIT, session.may_read(*id)).await.ok().and_then(Result::ok),
                _ => None,
            };
            answers.push(((room, client), answer));
        }
        if let Some(session) = session {
            session.close().await;
        }
        answers
    };
    let mut asking = stream::iter(asked.into_iter().map(ask)).buffer_unordered(SESSIONS_MAX);
    while let Some(answers) = asking.next().await {
        read.members.extend(answers);
    }
}

/// A client whose unread messages of a room are counted.
struct Reader {
    client: u32,
    room: u32,
    id: RoomId,
    /// Messages of the room that it had not been shown when it marked it.
    expected: u64,
}

/// Clients that have marked rooms as read do it once more, each at its home; then others write. `settle` waits until
/// all is answered, and the same everywhere.
pub async fn unread<F: Future<Output = bool>>(
    shared: &Shared,
    stage: &Stage,
    players: &[Arc<Player>],
    reads: &mut [SiteRead],
    settle: impl FnOnce() -> F,
) -> bool {
    let rooms = stage.rooms.get().cloned().unwrap_or_default();
    let mut readers = Vec::new();
    for (client, room) in choose(players, stage) {
        let (Some(id), Some(player)) = (rooms.get(room as usize), players.get(client as usize)) else { continue };
        player.session.mark_read(*id);
        readers.push(Reader { client, room, id: *id, expected: 0 });
    }
    let first = stage.ledger().sent.len();
    for reader in &mut readers {
        reader.expected = not_shown(players, stage, reader, first);
    }
    count(shared, stage, &readers, reads, MARK_WAIT).await;
    for (turn, reader) in (1u32..).zip(&readers) {
        let member = |p: &&Arc<Player>| p.number != reader.client && p.state().seen.expects_at(reader.room, u64::MAX);
        let Some(writer) = players.iter().find(member) else { continue };
        for _ in 0..turn % (AFTER_MARK_MAX + 1) {
            let (at_us, kind, target) = (stage.now_us(), Kind::Message, None);
            let (room, client, body) = (reader.room, writer.number, "unread".into());
            writer.play(&PlanEvent { at_us, room, client, kind, target, body });
        }
    }
    let settled = settle().await;
    for reader in &mut readers {
        reader.expected += not_shown_since(stage, reader, first);
    }
    count(shared, stage, &readers, reads, MARK_WAIT).await;
    settled
}

/// Members from the start who were told everything: first those who marked a room after which nothing was said in it, the
/// longest ago first; no marker follows that would make good for theirs.
fn choose(players: &[Arc<Player>], stage: &Stage) -> Vec<(u32, u32)> {
    let mut last_said: BTreeMap<u32, u64> = BTreeMap::new();
    for sent in &stage.ledger().sent {
        let last = last_said.entry(sent.room).or_default();
        *last = sent.intended_us.max(*last);
    }
    let mut quiet = Vec::new();
    let mut others = Vec::new();
    for player in players {
        let state = player.state();
        for (room, at_us) in &state.marked_us {
            let seen = &state.seen;
            if !seen.expects_at(*room, 0) || seen.gaps.contains_key(room) {
                continue;
            }
            match last_said.get(room).is_none_or(|said| said < at_us) {
                true => quiet.push((*at_us, player.number, *room)),
                false => others.push((*at_us, player.number, *room)),
            }
        }
    }
    quiet.sort_unstable();
    // Spread over the run.
    others.sort_unstable();
    quiet.truncate(READERS_MAX / 2);
    let left = READERS_MAX - quiet.len();
    let step = others.len().div_ceil(left).max(1);
    quiet.into_iter().chain(others.into_iter().step_by(step)).map(|(_, client, room)| (client, room)).collect()
}

fn not_shown(players: &[Arc<Player>], stage: &Stage, reader: &Reader, until: usize) -> u64 {
    // Copied, because a client's state must not be locked inside the ledger's lock.
    let said: Vec<u32> = {
        let ledger = stage.ledger();
        let of_room = ledger.sent[..until].iter().zip(0..).filter(|(s, _)| s.room == reader.room && s.is_acked());
        of_room.map(|(_, no)| no).collect()
    };
    let Some(player) = players.get(reader.client as usize) else { return 0 };
    let state = player.state();
    said.into_iter().filter(|no| !state.seen.has(*no)).count() as u64
}

/// What a reader has written itself, for another reader of the room, is not unread to it.
fn not_shown_since(stage: &Stage, reader: &Reader, from: usize) -> u64 {
    let others = |sent: &&Sent| sent.room == reader.room && sent.client != reader.client && sent.is_acked();
    stage.ledger().sent[from..].iter().filter(others).count() as u64
}

/// Asks every site for every reader's count, until it is the expected one or it takes too long.
async fn count(shared: &Shared, stage: &Stage, readers: &[Reader], reads: &mut [SiteRead], wait: Duration) {
    let deadline = Instant::now() + wait;
    for (site, read) in reads.iter_mut().enumerate() {
        let ask = |reader: &Reader| {
            let Reader { client, room, id, expected } = *reader;
            async move {
                let session = open(shared, &stage.run, client, site).await.ok();
                let mut got = None;
                if let Some(session) = session {
                    loop {
                        got = timeout(STEP_WAIT, session.unread(id)).await.ok().and_then(Result::ok);
                        if got == Some(expected) || Instant::now() >= deadline {
                            break;
                        }
                        tokio::time::sleep(POLL).await;
                    }
                    session.close().await;
                }
                UnreadRead { client, room, expected, got }
            }
        };
        let asked: Vec<_> = readers.iter().map(ask).collect();
        let mut asking = stream::iter(asked).buffer_unordered(SESSIONS_MAX);
        while let Some(answer) = asking.next().await {
            read.unread.push(answer);
        }
    }
}
