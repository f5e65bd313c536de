//! A request that was sent, and what became of it.

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_protocol::{Dot, RequestId, RoomId, SiteId};
use tokio::sync::Notify;

use crate::machine::{Durability, Progress, RequestNo};

/// Ack 1: fsynced at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The site that said so.
    pub site: SiteId,
    /// Its place in an origin's log.
    pub dot: Dot,
}

/// A request was not accepted, and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused with code {code}: {detail}")]
pub struct Refusal {
    /// The site that refused.
    pub site: Option<SiteId>,
    /// The code's number; 0 if the application let the request go or closed the client.
    pub code: u32,
    /// The site's words.
    pub detail: String,
}

#[derive(Debug)]
struct State {
    id: RequestId,
    stored: Option<(Stored, Instant)>,
    end: Option<(Result<Durability, Refusal>, Instant)>,
    parked: Option<Refusal>,
}

/// What the driver and the application share of a request.
pub(super) struct Cell {
    sent: Instant,
    state: Mutex<State>,
    changed: Notify,
}

impl Cell {
    pub(super) fn new(id: RequestId) -> Arc<Self> {
        let state = Mutex::new(State { id, stored: None, end: None, parked: None });
        Arc::new(Self { sent: Instant::now(), state, changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn age(&self) -> Duration {
        self.sent.elapsed()
    }

    /// Takes note; returns whether it was the last word.
    pub(super) fn progress(&self, id: RequestId, progress: Progress) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        state.id = id;
        match progress {
            Progress::Stored { site, dot } => {
                state.stored.get_or_insert((Stored { site, dot }, now));
                state.parked = None;
            }
            Progress::Replicated(durability) => state.end = Some((Ok(durability), now)),
            Progress::Refused { site, code, detail } => state.end = Some((Err(Refusal { site, code, detail }), now)),
            Progress::Parked { site, code, detail } => state.parked = Some(Refusal { site, code, detail }),
            Progress::Reminted { .. } => {}
            Progress::Discarded => {
                state.end = Some((Err(let_go("the application let the request go")), now));
            }
        }
        let last = state.end.is_some();
        drop(state);
        self.changed.notify_waiters();
        last
    }

    /// The client is closed: nothing more will be heard.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.end.get_or_insert_with(|| {
            (Err(let_go("the client was closed; the outbox keeps the request")), Instant::now())
        });
        drop(state);
        self.changed.notify_waiters();
    }
}

fn let_go(detail: &str) -> Refusal {
    Refusal { site: None, code: 0, detail: detail.to_owned() }
}

/// A request that was taken into the outbox. Dropping it changes nothing.
#[derive(Clone)]
pub struct Handle {
    no: RequestNo,
    room: RoomId,
    cell: Arc<Cell>,
}

impl Handle {
    pub(super) fn new(no: RequestNo, room: RoomId, cell: Arc<Cell>) -> Self {
        Self { no, room, cell }
    }

    /// Its number, which stays; [`crate::ProgressEvent::no`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Client, Config, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let ann = Client::connect(Config { progress_events: true, ..site.config("ann")? }).await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// while let Some(event) = ann.next_event().await {
    ///     if let Event::Progress(progress) = event && progress.no == handle.no() {
    ///         println!("{:?} after {} µs", progress.progress, progress.after_us);
    ///         break;
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub fn no(&self) -> RequestNo {
        self.no
    }

    /// Its identity and its place in the room. It changes only if the first site finds the stamp too far ahead.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// ann.edit(room, handle.id(), "text/plain", "noodles!")?.stored().await?;
    /// # Ok(()) });
    /// ```
    pub fn id(&self) -> RequestId {
        self.cell.state().id
    }

    /// Its room.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// assert_eq!(handle.room(), room);
    /// # Ok(()) });
    /// ```
    pub fn room(&self) -> RoomId {
        self.room
    }

    /// Waits for ack 1: the request is fsynced at a site.
    ///
    /// # Errors
    /// It was refused for good.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// let stored = handle.stored().await?;
    /// println!("site {} has it as {:?}", stored.site, stored.dot);
    /// # Ok(()) });
    /// ```
    pub async fn stored(&self) -> Result<Stored, Refusal> {
        self.wait(|state| match (&state.stored, &state.end) {
            (Some((stored, _)), _) => Some(Ok(*stored)),
            (None, Some((Err(refusal), _))) => Some(Err(refusal.clone())),
            _ => None,
        })
        .await
    }

    /// Waits for ack 2: the request is as safe as this cluster makes it.
    ///
    /// # Errors
    /// It was refused for good.
    ///
    /// # Example
    /// ```
    /// use causeway_client::Durability;
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// if handle.replicated().await? == Durability::Replicated {
    ///     println!("no loss of one site can take it");
    /// }
    /// # Ok(()) });
    /// ```
    pub async fn replicated(&self) -> Result<Durability, Refusal> {
        self.wait(|state| state.end.as_ref().map(|(end, _)| end.clone())).await
    }

    async fn wait<T>(&self, mut ready: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.cell.changed.notified());
            changed.as_mut().enable();
            if let Some(value) = ready(&self.cell.state()) {
                return value;
            }
            changed.await;
        }
    }

    /// Ack 1, if it has come.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// handle.stored().await?;
    /// assert!(handle.is_stored().is_some());
    /// # Ok(()) });
    /// ```
    pub fn is_stored(&self) -> Option<Stored> {
        self.cell.state().stored.map(|(stored, _)| stored)
    }

    /// The last word, if it has come.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// handle.replicated().await?;
    /// assert!(matches!(handle.end(), Some(Ok(_))));
    /// # Ok(()) });
    /// ```
    pub fn end(&self) -> Option<Result<Durability, Refusal>> {
        self.cell.state().end.as_ref().map(|(end, _)| end.clone())
    }

    /// A site refused it, another may have it: it waits in the outbox and holds back later requests of its room.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// match handle.parked() {
    ///     Some(refusal) => println!("held back: {}", refusal.detail),
    ///     None => handle.stored().await.map(drop)?,
    /// }
    /// # Ok(()) });
    /// ```
    pub fn parked(&self) -> Option<Refusal> {
        self.cell.state().parked.clone()
    }

    /// When it was sent.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// println!("{:?} ago", handle.sent_at().elapsed());
    /// # Ok(()) });
    /// ```
    pub fn sent_at(&self) -> Instant {
        self.cell.sent
    }

    /// When ack 1 came.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// handle.stored().await?;
    /// println!("stored after {:?}", handle.stored_at().map(|at| at - handle.sent_at()));
    /// # assert!(handle.stored_at() >= Some(handle.sent_at()));
    /// # Ok(()) });
    /// ```
    pub fn stored_at(&self) -> Option<Instant> {
        self.cell.state().stored.map(|(_, at)| at)
    }

    /// When the last word came.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// handle.replicated().await?;
    /// println!("replicated after {:?}", handle.ended_at().map(|at| at - handle.sent_at()));
    /// # assert!(handle.ended_at() >= handle.stored_at());
    /// # Ok(()) });
    /// ```
    pub fn ended_at(&self) -> Option<Instant> {
        self.cell.state().end.as_ref().map(|(_, at)| *at)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("no", &self.no).field("room", &self.room).field("id", &self.id()).finish()
    }
}
