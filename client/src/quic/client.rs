//! The client: what an application holds. What it asks for is in [`super::rooms`], [`super::messages`] and [`super::reading`].

use std::sync::Arc;
use std::time::Duration;

use causeway_protocol::{RequestId, RoomId};

use super::config::{Commit, Config, ConnectError, Status};
use super::driver::Driver;
use super::event::Event;
use super::handle::{Cell, Handle};
use super::shared::{Clock, Shared, State};
use crate::machine::{Counters, Machine, Now, SendError, Start, Submitted, Wish};

/// When one site refuses the session, the others get this long to welcome it before connecting fails.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// A user's session across sites. Clones are the same session; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    commit: Commit,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.state().machine.close();
        self.shared.driver.wake();
    }
}

impl Client {
    /// Connects, and waits until a site has welcomed the session. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The store cannot be read, no site answers in time, or one refuses the session.
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Client, Config, Connector, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (ca, sites, token) = (site.ca(), site.sites(), site.token("ann")?);
    ///
    /// let roots = Connector::roots_of_pem(&std::fs::read(ca)?)?;
    /// let config = Config::new(UserId::new("ann")?, sites, Connector::new(roots)?).token(token);
    /// let ann = Client::connect(config).await?;
    /// assert_eq!(ann.status().site_name, "seoul");
    /// # Ok(()) });
    /// ```
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let timeout = config.connect_timeout;
        let client = Self::start(config)?;
        let mut home = client.inner.shared.home.subscribe();
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let slice = tokio::time::Instant::now() + REFUSAL_PATIENCE;
            let welcomed = tokio::time::timeout_at(slice.min(deadline), home.wait_for(Option::is_some)).await.is_ok();
            let refused = client.status().refused;
            match (welcomed, refused) {
                (true, _) => return Ok(client),
                (false, Some((code, detail))) => return Err(ConnectError::Refused { code, detail }),
                (false, None) if tokio::time::Instant::now() >= deadline => {
                    return Err(ConnectError::Unreachable(timeout));
                }
                (false, None) => {}
            }
        }
    }

    /// Starts to connect. Sends are taken into the outbox at once. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The store cannot be read.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Client;
    /// # causeway_tests::example(async |site| {
    /// # let config = site.config("ann")?;
    /// let ann = Client::start(config)?;
    /// // No site has answered yet.
    /// let (_room, made) = ann.create_room("lunch", true)?;
    /// made.stored().await?;
    /// # Ok(()) });
    /// ```
    pub fn start(config: Config) -> Result<Self, ConnectError> {
        let Config { session, connector, refresh, mut store, commit, events_max, progress_events, .. } = config;
        if session.sites.is_empty() {
            return Err(ConnectError::NoSites);
        }
        let saved = store.load()?;
        let random = || getrandom::u64().map_err(|e| ConnectError::Random(e.to_string()));
        let start = Start { nonce: random()?, seed: random()?, outbox: saved.outbox, cursors: saved.cursors };
        let dial_timeout = Duration::from_millis(session.timing.dial_timeout_ms);
        let clock = Clock::start();
        let shared = Shared::new(clock, Machine::new(clock.now(), session, start));
        let driver = Driver::new(shared.clone(), connector, dial_timeout, events_max, progress_events, store);
        tokio::spawn(driver.refresh(refresh).run());
        Ok(Self { inner: Arc::new(Inner { shared, commit }) })
    }

    pub(super) fn create(
        &self,
        make: impl FnOnce(&mut Machine, Now) -> Result<(RoomId, Submitted), SendError>,
    ) -> Result<(RoomId, Handle), SendError> {
        self.request(|state, clock| {
            let (room, submitted) = make(&mut state.machine, clock.now())?;
            let cell = Cell::new(submitted.id);
            state.handles.insert(submitted.no, cell.clone());
            Ok((room, Handle::new(submitted.no, room, cell)))
        })
    }

    pub(super) fn wish(&self, room: RoomId, wish: Wish) -> Result<Handle, SendError> {
        self.request(|state, clock| {
            let submitted = state.machine.submit(clock.now(), room, wish)?;
            let cell = Cell::new(submitted.id);
            state.handles.insert(submitted.no, cell.clone());
            Ok(Handle::new(submitted.no, room, cell))
        })
    }

    fn request<T>(&self, take: impl FnOnce(&mut State, Clock) -> Result<T, SendError>) -> Result<T, SendError> {
        let taken = {
            let mut state = self.inner.shared.state();
            if let Some(error) = &state.store_error {
                return Err(SendError::Store(error.clone()));
            }
            take(&mut state, self.inner.shared.clock)?
        };
        self.inner.shared.driver.wake();
        Ok(taken)
    }

    /// Lets a request go that is still in the outbox, whatever has become of it; `false` if it is not there. The way
    /// out for a full outbox and for a parked request, where the application accepts `Stored`, or less.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Client, SiteConfig};
    /// # causeway_tests::example(async |site| {
    /// # let mut config = site.config("ann")?;
    /// # // A port that nobody listens at.
    /// # config.session.sites = vec![SiteConfig { name: String::new(), addresses: vec!["127.0.0.1:1".to_owned()] }];
    /// # let ann = Client::start(config)?;
    /// // No site can be reached.
    /// let (room, _) = ann.create_room("lunch", true)?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// assert!(ann.discard(&handle));
    /// assert!(handle.stored().await.is_err());
    /// # Ok(()) });
    /// ```
    pub fn discard(&self, handle: &Handle) -> bool {
        let discarded = self.inner.shared.state().machine.discard(self.inner.shared.clock.now(), handle.no());
        self.inner.shared.driver.wake();
        discarded
    }

    /// Gives the session a newer token of the same user: the connections that stand go on until it ends, and later ones
    /// begin with it. To be called before the old one ends; where [`Event::SessionRefused`] says that it has,
    /// [`Config::refresh`] does it.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let newer = site.token("ann")?;
    /// ann.set_token(newer);
    /// ann.send(room, "text/plain", "still here")?.stored().await?;
    /// # Ok(()) });
    /// ```
    pub fn set_token(&self, token: impl Into<String>) {
        self.inner.shared.state().machine.set_token(token.into());
        self.inner.shared.driver.wake();
    }

    // ---- events

    /// The next event; `None` when the client is closed. For one caller at a time.
    ///
    /// # Example
    /// ```
    /// use causeway_client::Event;
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// ann.send(room, "text/plain", "noodles?")?;
    /// while let Some(event) = ann.next_event().await {
    ///     match event {
    ///         Event::Message(message) => {
    ///             assert_eq!((message.user.as_str(), &message.content[..]), ("ann", &b"noodles?"[..]));
    ///             break;
    ///         }
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub async fn next_event(&self) -> Option<Event> {
        let mut events = Vec::with_capacity(1);
        self.next_events(&mut events, 1).await;
        events.pop()
    }

    /// Waits for events and appends those that are here, at most `max`; returns how many, 0 when the client is closed.
    /// For one caller at a time.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Event;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # for n in 0..3 { ann.send(room, "text/plain", format!("{n}"))?; }
    /// let (mut events, mut messages) = (Vec::new(), 0);
    /// while messages < 3 && ann.next_events(&mut events, 1_024).await > 0 {
    ///     messages += events.drain(..).filter(|event| matches!(event, Event::Message(_))).count();
    /// }
    /// # assert_eq!(messages, 3);
    /// # Ok(()) });
    /// ```
    pub async fn next_events(&self, into: &mut Vec<Event>, max: usize) -> usize {
        loop {
            if let Some(taken) = self.take_events(into, max.max(1)) {
                return taken;
            }
            self.inner.shared.events_ready.notified().await;
        }
    }

    /// Appends the events that are here, at most `max`, without waiting; returns how many.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// // Once a frame of the application's own loop.
    /// let mut events = Vec::new();
    /// let taken = ann.try_events(&mut events, 64);
    /// assert_eq!(events.len(), taken);
    /// # Ok(()) });
    /// ```
    pub fn try_events(&self, into: &mut Vec<Event>, max: usize) -> usize {
        self.take_events(into, max).unwrap_or(0)
    }

    fn take_events(&self, into: &mut Vec<Event>, max: usize) -> Option<usize> {
        let mut state = self.inner.shared.state();
        let State { machine, events, handed, paused, ended, .. } = &mut *state;
        let committed = !handed.is_empty();
        handed.drain(..).for_each(|position| machine.commit(&position));
        let taken = events.len().min(max);
        if self.inner.commit == Commit::Auto {
            handed.extend(events.iter().take(taken).filter_map(Event::position));
        }
        into.extend(events.drain(..taken));
        let resumed = taken > 0 && std::mem::take(paused);
        let ended = *ended;
        drop(state);
        if committed || resumed {
            self.inner.shared.driver.wake();
        }
        if taken == 0 && ended {
            // Whoever else waits learns it too.
            self.inner.shared.events_ready.notify_one();
            return Some(0);
        }
        (taken > 0).then_some(taken)
    }

    /// The application is done with this event, and with all before it in its room: after a restart they are not handed
    /// out again. Only with [`Commit::Manual`].
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Client, Commit, Config};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let config: Config = site.config("ann")?;
    /// let ann = Client::connect(Config { commit: Commit::Manual, ..config }).await?;
    /// # let (room, _) = ann.create_room("lunch", true)?;
    /// # ann.send(room, "text/plain", "noodles?")?;
    /// while let Some(event) = ann.next_event().await {
    ///     // Written to the application's database here; then it needs not come again.
    ///     ann.commit(&event);
    /// #   if matches!(event, causeway_client::Event::Message(_)) { break }
    /// }
    /// # Ok(()) });
    /// ```
    pub fn commit(&self, event: &Event) {
        if let Some(position) = event.position() {
            self.inner.shared.state().machine.commit(&position);
            self.inner.shared.driver.wake();
        }
    }

    // ---- state

    /// How things stand.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let status = ann.status();
    /// println!("at {} for {:?}, {:?} away", status.site_name, status.since, status.rtt);
    /// assert_eq!(status.outbox_parked, 0);
    /// # Ok(()) });
    /// ```
    pub fn status(&self) -> Status {
        let state = self.inner.shared.state();
        let status = state.machine.status();
        let sites = state.machine.sites();
        let store_error = state.store_error.clone();
        drop(state);
        let since_ms = self.inner.shared.clock.now().mono_ms.saturating_sub(status.since_ms);
        let rtt = self.inner.shared.home.borrow().as_ref().map(quinn::Connection::rtt);
        Status {
            site: status.site,
            site_name: status.site_name,
            since: Duration::from_millis(since_ms),
            standby: status.standby.and_then(|site| sites.get(site.0)).map(|site| site.name.clone()),
            rtt: rtt.unwrap_or(Duration::from_millis(status.rtt_ms)),
            outbox_requests: status.outbox_requests,
            outbox_bytes: status.outbox_bytes,
            outbox_stored: status.outbox_stored,
            outbox_parked: status.outbox_parked,
            homes: status.homes,
            refused: status.refused,
            store_error,
        }
    }

    /// Counts since the start.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let counters = ann.counters();
    /// assert!(counters.submits >= 1);
    /// # Ok(()) });
    /// ```
    pub fn counters(&self) -> Counters {
        self.inner.shared.state().machine.counters()
    }

    /// Requests that are not yet replicated, in order.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// handle.replicated().await?;
    /// assert!(ann.outbox().is_empty());
    /// # Ok(()) });
    /// ```
    pub fn outbox(&self) -> Vec<(RoomId, RequestId)> {
        self.inner.shared.state().machine.outbox()
    }

    /// Closes the connections and waits until everything is saved. What is in the outbox stays in the store.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # use causeway_client::SendError;
    /// ann.close().await;
    /// assert_eq!(ann.send(room, "text/plain", "too late").unwrap_err(), SendError::Closed);
    /// # Ok(()) });
    /// ```
    pub async fn close(&self) {
        let ended = self.inner.shared.ended.notified();
        let already = {
            let mut state = self.inner.shared.state();
            let State { machine, handed, .. } = &mut *state;
            handed.drain(..).for_each(|position| machine.commit(&position));
            machine.close();
            state.ended
        };
        self.inner.shared.driver.wake();
        if !already {
            ended.await;
        }
    }
}
