//! Reads every room's whole history back, at every site.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use causeway_protocol::{RequestId, RoomId};
use tokio::time::timeout;

use super::setup::auditor;
use crate::sdk::{Session, SessionOptions, Shared};
use crate::stamp::{LoadStamp, digest};
use crate::verdict::{Read, SiteRead};

/// A page that takes longer does not come.
const PAGE_WAIT: Duration = Duration::from_secs(30);
/// Pages of one room: 500 requests each, more than any run makes.
const PAGES_MAX: usize = 1_000_000;

/// Reads all rooms at one site.
pub async fn read_site(
    shared: &Shared,
    run: &str,
    index: usize,
    name: &str,
    rooms: &[RoomId],
    progress: impl Fn(u64),
) -> Result<SiteRead> {
    let options = SessionOptions { user: auditor(run), home: index, turn: 0, standby: false, roams: false };
    let connecting = timeout(PAGE_WAIT, Session::connect(shared, options)).await;
    let session = connecting.map_err(|_| anyhow::anyhow!("{name} does not answer"))??;
    let home = session.home();
    let mut read = SiteRead { site: name.to_owned(), ..SiteRead::default() };
    for (i, room) in rooms.iter().enumerate() {
        let messages = read_room(&session, *room).await.with_context(|| format!("{name}, room {i}"))?;
        progress(messages.len() as u64);
        read.rooms.insert(i as u32, messages);
    }
    ensure!(home == session.home() && home.is_some(), "the session left {name} while it read");
    session.close().await;
    Ok(read)
}

async fn read_room(session: &Session, room: RoomId) -> Result<Vec<Read>> {
    let mut reads = Vec::new();
    let mut after: Option<RequestId> = None;
    for _ in 0..PAGES_MAX {
        let page = timeout(PAGE_WAIT, session.history(room, after)).await.context("a page does not come")??;
        for message in page.messages {
            let content = message.content.unwrap_or_default();
            reads.push(Read { id: message.id, no: LoadStamp::read(&content).map(|s| s.no), digest: digest(&content) });
        }
        if !page.more {
            return Ok(reads);
        }
        ensure!(page.last > after, "a page does not lead on");
        after = page.last;
    }
    anyhow::bail!("the history has no end")
}
