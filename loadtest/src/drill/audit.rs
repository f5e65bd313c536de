//! Reads every room's whole history back, at every site, and shows it to the SDK's timeline.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use causeway_protocol::{RequestId, RoomId};
use tokio::time::timeout;

use super::setup::{auditor, client_of};
use crate::acts::{ChangeRead, Did};
use crate::model::Look;
use crate::sdk::{Change, ChangeKind, Content, Event, Message, Session, SessionOptions, Shared, Timeline, place};
use crate::stamp::{LoadStamp, digest};
use crate::verdict::{Read, SiteRead};

/// A page that takes longer does not come.
const PAGE_WAIT: Duration = Duration::from_secs(30);
/// Rooms that are not all opened after this are not known to the site; the verdict says which.
const NAMES_WAIT: Duration = Duration::from_secs(60);
/// Pages of one room: 500 requests each, more than any run makes.
const PAGES_MAX: usize = 1_000_000;

/// Reads all rooms at one site into `read`, which has the site's name.
pub async fn read_site(
    shared: &Shared,
    run: &str,
    index: usize,
    rooms: &[RoomId],
    progress: impl Fn(u64),
    read: &mut SiteRead,
) -> Result<()> {
    let options = SessionOptions { user: auditor(run), home: index, turn: 0, standby: false, roams: false };
    let connecting = timeout(PAGE_WAIT, Session::connect(shared, options)).await;
    let session = connecting.map_err(|_| anyhow::anyhow!("{} does not answer", read.site))??;
    let home = session.home();
    read.names = names(&session, rooms).await;
    for (room, id) in (0u32..).zip(rooms) {
        let of = RoomRead::read(&session, *id, run).await.with_context(|| format!("{}, room {room}", read.site))?;
        progress(of.messages.len() as u64);
        read.timelines.insert(room, of.looks(run));
        read.rooms.insert(room, of.messages);
        read.changes.insert(room, of.changes);
        read.places.insert(room, of.places);
    }
    ensure!(home == session.home() && home.is_some(), "the session left {} while it read", read.site);
    session.close().await;
    Ok(())
}

/// The names that the site opens the rooms with.
async fn names(session: &Session, rooms: &[RoomId]) -> BTreeMap<u32, String> {
    let index: BTreeMap<RoomId, u32> = rooms.iter().copied().zip(0..).collect();
    let mut names = BTreeMap::new();
    let all = async {
        let mut events = Vec::new();
        while names.len() < rooms.len() && session.next(&mut events).await {
            for event in events.drain(..) {
                if let Event::RoomOpened { room, name, .. } = event
                    && let Some(room) = index.get(&room)
                {
                    names.insert(*room, name);
                }
            }
        }
    };
    // What is not opened in time has no name then, and is wrong.
    let _ = timeout(NAMES_WAIT, all).await;
    names
}

/// A room's history.
struct RoomRead {
    messages: Vec<Read>,
    changes: Vec<ChangeRead>,
    places: Vec<RequestId>,
    timeline: Timeline,
}

impl RoomRead {
    async fn read(session: &Session, room: RoomId, run: &str) -> Result<Self> {
        let timeline = Timeline::new(usize::MAX);
        let mut read = Self { messages: Vec::new(), changes: Vec::new(), places: Vec::new(), timeline };
        let mut after: Option<RequestId> = None;
        for _ in 0..PAGES_MAX {
            let page = timeout(PAGE_WAIT, session.events(room, after)).await.context("a page does not come")??;
            page.events.iter().for_each(|event| read.take(event, run));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(read),
            }
        }
        anyhow::bail!("the history has no end")
    }

    fn take(&mut self, event: &Event, run: &str) {
        self.places.extend(place(event));
        self.timeline.see(event);
        match event {
            Event::Message(Message { id, user, content, body_gone, .. }) => self.messages.push(Read {
                id: *id,
                no: LoadStamp::read(content).map(|s| s.no),
                digest: digest(content),
                gone: *body_gone,
                by: client_of(run, user),
            }),
            Event::Change(Change { id, user, kind, .. }) => {
                self.changes.push(ChangeRead { id: *id, by: client_of(run, user), did: did(kind) });
            }
            _ => {}
        }
    }

    /// Every message as the timeline shows it.
    fn looks(&self, run: &str) -> BTreeMap<RequestId, Look> {
        let look = |(id, entry): (RequestId, &causeway_client::timeline::Entry)| {
            let shown = match entry.content() {
                Content::Text { content, .. } => Some(digest(content)),
                Content::Gone => None,
                Content::Unknown => return None,
            };
            let with = |(symbol, users): (&str, Vec<&str>)| {
                users.into_iter().map(|user| (Box::from(symbol), client_of(run, user))).collect::<Vec<_>>()
            };
            Some((id, Look { shown, reactions: entry.reactions().into_iter().flat_map(with).collect() }))
        };
        self.timeline.iter().filter_map(look).collect()
    }
}

fn did(kind: &ChangeKind) -> Did {
    match kind {
        ChangeKind::Edited { target, content, body_gone, .. } => {
            Did::Edit { target: *target, digest: (!body_gone).then(|| digest(content)) }
        }
        ChangeKind::Redacted { target, .. } => Did::Redact(*target),
        ChangeKind::Reacted { target, symbol } => Did::React(*target, symbol.as_str().into()),
        ChangeKind::Unreacted { target, symbol } => Did::Unreact(*target, symbol.as_str().into()),
        ChangeKind::Joined => Did::Join,
        ChangeKind::Left => Did::Leave,
        ChangeKind::Renamed(name) => Did::Name(name.as_str().into()),
        _ => Did::Other,
    }
}
