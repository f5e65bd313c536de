//! Who is erased by what the user's own room says is erased in every room: this site asks for it wherever it knows of the
//! user, under the id that the request has in the user's own room. All sites do, so that it is one request a room.
//!
//! It is asked for when the site hears of the erasure, and what is left is looked for every minute: rooms of shards that
//! were not ready, joins that came late from a site that was away.

use std::sync::Arc;
use std::time::Duration;

use causeway_protocol::{Code, RequestId, RoomId, ShardId, UserId};
use causeway_replica::read;
use causeway_replica::view::ViewError;
use tokio::sync::mpsc;

use crate::asking::Asking;
use crate::core::Core;

/// Erased users who wait for their turn: whoever finds no place is found by the next look.
const WAITING_MAX: usize = 1_024;
/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Users whom one read tells of.
const PAGE: usize = 256;
/// For a shard's answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Where shard threads put who was erased.
pub fn erased_queue() -> (mpsc::Sender<UserId>, mpsc::Receiver<UserId>) {
    mpsc::channel(WAITING_MAX)
}

/// Asks for erasures, for ever.
pub async fn ask_for_erasures(core: Arc<Core>, mut told: mpsc::Receiver<UserId>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            user = told.recv() => match user {
                Some(user) => ask_for(&core, user).await,
                None => return,
            },
            _ = looks.tick() => ask_for_all(&core).await,
        };
        if let Err(e) = asked {
            tracing::error!("erasures cannot be asked for: {e}");
        }
    }
}

async fn ask_for_all(core: &Arc<Core>) -> Result<(), ViewError> {
    for shard in (0..core.config.shards).map(ShardId) {
        let mut after = None;
        loop {
            let from = after.clone();
            let users = read(core, move |core| read::erased(&core.store, shard, from.as_ref(), PAGE)).await?;
            let is_last = users.len() < PAGE;
            after = users.last().cloned();
            for user in users {
                ask_for(core, user).await?;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

/// Asks for one user's, in all rooms that lack it and take it now.
async fn ask_for(core: &Arc<Core>, user: UserId) -> Result<(), ViewError> {
    loop {
        let of = user.clone();
        let (erasure, rooms) = read(core, move |core| to_erase(core, &of)).await?;
        let Some(erasure) = erasure else { return Ok(()) };
        let mut done = 0;
        for room in &rooms {
            match ask(core, &user, erasure, *room).await {
                Ok(()) => done += 1,
                Err((code, detail)) => tracing::debug!(%room, ?code, detail, "an erasure has to wait"),
            }
        }
        core.metrics.erasures_asked.increment(done);
        // What is refused is so for now: the next look asks again.
        if rooms.len() < read::TO_ERASE_MAX || done == 0 {
            return Ok(());
        }
    }
}

fn to_erase(core: &Core, user: &UserId) -> Result<(Option<RequestId>, Vec<RoomId>), ViewError> {
    let (view, published, shards) = (&core.store, &core.published, core.config.shards);
    let Some(erasure) = read::erasure_of(view, published, shards, user)? else { return Ok((None, Vec::new())) };
    Ok((Some(erasure), read::to_erase(view, published, shards, user, erasure)?))
}

async fn ask(core: &Arc<Core>, user: &UserId, erasure: RequestId, room: RoomId) -> Result<(), (Code, String)> {
    let mut asking = Asking::new(core, room.shard(core.config.shards));
    asking.ask(user.clone(), erasure.device, read::erasing_request(room, erasure), None).await;
    match tokio::time::timeout(ANSWER_MAX, asking.accepted(erasure)).await {
        Ok(answer) => answer.map(drop),
        Err(_) => Err((Code::Busy, "the shard does not answer".to_owned())),
    }
}

/// A read of the store, off the async threads, among those that sessions make.
async fn read<T: Send + 'static>(
    core: &Arc<Core>,
    look: impl FnOnce(&Core) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, ViewError> {
    let permit = core.reads.clone().acquire_owned().await;
    let core = core.clone();
    let read = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        look(&core)
    });
    read.await.expect("a panic aborts the process")
}
