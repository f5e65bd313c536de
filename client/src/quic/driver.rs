//! The task that drives a client: it feeds the session machine and carries out what the machine asks for.
//!
//! One future polls everything: connections, timer, store. It registers one waker, allocates nothing per event, and
//! moves its timer only when the machine wants it earlier.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use causeway_protocol::Code;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use super::config::{Refreshing, TokenRefresh};
use super::connector::Connector;
use super::event::{self, Event, ProgressEvent};
use super::link::{Link, Lost};
use super::shared::{Shared, State};
use crate::machine::{Change, LinkId, Output, SiteIndex};
use crate::store::Store;

/// Reads of one connection in a row before the others, and other tasks, get their turn.
const READS_MAX: usize = 32;
/// Rounds of work before other tasks get their turn.
const ROUNDS_MAX: usize = 16;
/// Changes that the store did not take are tried again after this.
const STORE_RETRY: Duration = Duration::from_millis(500);

type Saving = JoinHandle<(Box<dyn Store>, Vec<Change>, io::Result<()>)>;

/// What is done on the network, in order, after the changes before it are saved.
enum Action {
    Dial { link: LinkId, site: SiteIndex, addresses: Vec<String> },
    Control { link: LinkId, frame: causeway_protocol::wire::ClientFrame },
    Datagram { link: LinkId, datagram: causeway_protocol::wire::ClientDatagram },
    Close { link: LinkId, reason: &'static str },
    Home,
}

pub(super) struct Driver {
    shared: Arc<Shared>,
    connector: Connector,
    dial_timeout: Duration,
    events_max: usize,
    progress_events: bool,
    links: BTreeMap<LinkId, Link>,
    home: Option<LinkId>,
    store: Option<Box<dyn Store>>,
    saving: Option<Saving>,
    unsaved: Vec<Change>,
    actions: VecDeque<Action>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    store_retry: Option<Pin<Box<Sleep>>>,
    refresh: Option<TokenRefresh>,
    refreshing: Option<Refreshing>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        connector: Connector,
        dial_timeout: Duration,
        events_max: usize,
        progress_events: bool,
        store: Box<dyn Store>,
    ) -> Self {
        Self {
            shared,
            connector,
            dial_timeout,
            events_max: events_max.max(1),
            progress_events,
            links: BTreeMap::new(),
            home: None,
            store: Some(store),
            saving: None,
            unsaved: Vec::new(),
            actions: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: Some(Instant::now()),
            store_retry: None,
            refresh: None,
            refreshing: None,
        }
    }

    /// With a way to get newer tokens, if there is one.
    pub(super) fn refresh(mut self, refresh: Option<TokenRefresh>) -> Self {
        self.refresh = refresh;
        self
    }

    /// Ends when the client is closed and everything is saved.
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
        let handles = {
            let mut state = self.shared.state();
            state.ended = true;
            std::mem::take(&mut state.handles)
        };
        handles.values().for_each(|cell| cell.abandon());
        self.shared.home.send_replace(None);
        self.shared.events_ready.notify_one();
        self.shared.ended.notify_waiters();
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.driver.register(cx.waker());
        // Connections that had nothing more to read wake this task when they have: they are not asked twice.
        let mut reads = true;
        for _ in 0..ROUNDS_MAX {
            reads = reads && self.read(cx);
            // What has arrived goes in before a tick.
            let ticked = self.tick(cx);
            self.drain();
            let refreshed = self.poll_refresh(cx);
            let saves = self.save(cx);
            let dialed = self.act();
            self.links.values_mut().for_each(|link| link.flush(cx));
            if self.is_done() {
                return Poll::Ready(());
            }
            reads |= dialed;
            if !(reads || ticked || refreshed || saves) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_done(&self) -> bool {
        let at_rest = self.actions.is_empty() && self.saving.is_none();
        // A store that fails does not keep a closed client: what it lacks, it had not taken.
        let saved = self.unsaved.is_empty() || self.store_retry.is_some();
        at_rest && saved && self.links.is_empty() && self.shared.state().machine.is_closed()
    }

    // ---- in

    /// Reads what the connections have; whether they may have more.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut more = false;
        let ids: [Option<LinkId>; 4] = {
            let mut ids = self.links.keys().copied();
            std::array::from_fn(|_| ids.next())
        };
        for id in ids.into_iter().flatten() {
            let Some(link) = self.links.get_mut(&id) else { continue };
            match poll_link(link, id, &self.shared, self.events_max, cx) {
                Ok(unread) => more |= unread | poll_datagrams(link, id, &self.shared, self.events_max, cx),
                Err(lost) => {
                    tracing::debug!(link = id.0, site = link.site.0, words = lost.words, "connection lost");
                    self.links.remove(&id);
                    let now = self.shared.clock.now();
                    self.shared.state().machine.handle_closed(now, id, lost.by_site);
                }
            }
        }
        more
    }

    /// Whether the timer fired, and is to be set again.
    fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.shared.state().machine.next_timer().map(|ms| Instant::from_std(self.shared.clock.instant(ms)));
        let Some(due) = due else { return false };
        // A timer that fires too early is cheaper than one that is moved with every packet.
        if self.armed.is_none_or(|armed| due < armed) {
            self.timer.as_mut().reset(due);
            self.armed = Some(due);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.armed = None;
        if due <= Instant::now() {
            let now = self.shared.clock.now();
            self.shared.state().machine.handle_tick(now);
        }
        true
    }

    /// Whether there is a newer token.
    fn poll_refresh(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Poll::Ready(token)) = self.refreshing.as_mut().map(|refreshing| refreshing.as_mut().poll(cx)) else {
            return false;
        };
        self.refreshing = None;
        match token {
            Ok(token) => self.shared.state().machine.set_token(token),
            // The next refusal asks again.
            Err(words) => tracing::warn!(words, "there is no newer token"),
        }
        true
    }

    // ---- out

    /// Takes the machine's outputs apart: what is for the application goes there at once.
    fn drain(&mut self) {
        let mut state = self.shared.state();
        let queued = state.events.len();
        while let Some(output) = state.machine.poll_output() {
            match output {
                Output::Deliver(delivery) => state.events.push_back(event::of_delivery(delivery)),
                Output::Control { link, frame } => self.actions.push_back(Action::Control { link, frame }),
                Output::Datagram { link, datagram } => self.actions.push_back(Action::Datagram { link, datagram }),
                Output::Typing { room, user, typing: true } => state.events.push_back(Event::Typing { room, user }),
                Output::Typing { room, user, typing: false } => {
                    state.events.push_back(Event::TypingEnded { room, user });
                }
                Output::Invitations => state.events.push_back(Event::InvitationsChanged),
                Output::Persist(change) => self.unsaved.push(change),
                Output::Progress { no, id, progress } => {
                    let Some(cell) = state.handles.get(&no).cloned() else { continue };
                    if self.progress_events {
                        let after_us = cell.age().as_micros() as u64;
                        let progress = progress.clone();
                        state.events.push_back(Event::Progress(ProgressEvent { no, id, progress, after_us }));
                    }
                    if cell.progress(id, progress) {
                        state.handles.remove(&no);
                    }
                }
                Output::Dial { link, site } => {
                    let addresses = state.machine.sites().get(site.0).map(|s| s.addresses.clone()).unwrap_or_default();
                    self.actions.push_back(Action::Dial { link, site, addresses });
                }
                Output::Close { link, reason } => self.actions.push_back(Action::Close { link, reason }),
                Output::Moved { from, to, reason } => {
                    let (from, to) = (from.map(|site| name(&state, site)), name(&state, to));
                    tracing::info!(from, to, ?reason, "moved");
                    state.events.push_back(Event::Moved { from, to, reason });
                    self.home = state.machine.home_link();
                    self.actions.push_back(Action::Home);
                }
                Output::SessionRefused { site, code, detail } => {
                    let site = name(&state, site);
                    tracing::warn!(site, code, detail, "the site refuses the session");
                    let by_token = matches!(Code::from_number(code), Some(Code::TokenExpired | Code::Unauthenticated));
                    if by_token && self.refreshing.is_none() {
                        self.refreshing = self.refresh.as_ref().map(|refresh| refresh());
                    }
                    state.events.push_back(Event::SessionRefused { site, code, detail });
                }
            }
        }
        let more = state.events.len() > queued;
        drop(state);
        if more {
            self.shared.events_ready.notify_one();
        }
    }

    /// Saves changes; whether there is something to wait for, or to save, that has not been polled.
    fn save(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(saving) = &mut self.saving {
            let Poll::Ready(joined) = Pin::new(saving).poll(cx) else { return false };
            self.saving = None;
            match joined {
                Ok((store, changes, result)) => self.saved(store, changes, result),
                // The store panicked: there is none any more.
                Err(e) => self.shared.state().store_error = Some(e.to_string()),
            }
            return true;
        }
        if let Some(retry) = &mut self.store_retry {
            if retry.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.store_retry = None;
        }
        if self.unsaved.is_empty() {
            return false;
        }
        let Some(mut store) = self.store.take() else {
            self.unsaved.clear();
            return false;
        };
        let changes = std::mem::take(&mut self.unsaved);
        if store.syncs() {
            self.saving = Some(tokio::task::spawn_blocking(move || {
                let result = store.save(&changes);
                (store, changes, result)
            }));
        } else {
            let result = store.save(&changes);
            self.saved(store, changes, result);
        }
        self.saving.is_some() || self.store_retry.is_some()
    }

    fn saved(&mut self, store: Box<dyn Store>, mut changes: Vec<Change>, result: io::Result<()>) {
        self.store = Some(store);
        let error = result.err().map(|e| e.to_string());
        if let Some(error) = &error {
            tracing::error!(error, "the store does not take changes; new sends are refused until it does");
            changes.append(&mut self.unsaved);
            self.unsaved = changes;
            self.store_retry = Some(Box::pin(tokio::time::sleep(STORE_RETRY)));
        } else if self.unsaved.capacity() == 0 {
            // Its memory serves the next batch.
            changes.clear();
            self.unsaved = changes;
        }
        self.shared.state().store_error = error;
    }

    /// Carries out what waits for no change to be saved; whether a connection was dialled, and is to be polled.
    fn act(&mut self) -> bool {
        if self.saving.is_some() || !self.unsaved.is_empty() {
            return false;
        }
        let mut dialed = false;
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::Control { link, frame } => {
                    if let Some(link) = self.links.get_mut(&link) {
                        link.put(&frame);
                    }
                }
                Action::Datagram { link, datagram } => {
                    if let Some(link) = self.links.get(&link) {
                        link.send_datagram(&datagram);
                    }
                }
                Action::Dial { link, site, addresses } => {
                    let dialing = Link::dial(self.connector.clone(), site, addresses, self.dial_timeout);
                    self.links.insert(link, dialing);
                    dialed = true;
                }
                Action::Close { link, reason } => {
                    if let Some(link) = self.links.remove(&link) {
                        link.close(reason);
                    }
                }
                Action::Home => {
                    let home = self.home.and_then(|id| self.links.get(&id)).and_then(Link::connection).cloned();
                    self.shared.home.send_replace(home);
                }
            }
        }
        dialed
    }
}

fn name(state: &State, site: SiteIndex) -> String {
    state.machine.sites().get(site.0).map(|site| site.name.clone()).unwrap_or_default()
}

/// Reads what has come on a connection into the machine; whether there may be more, which was left to give others
/// their turn.
fn poll_link(
    link: &mut Link,
    id: LinkId,
    shared: &Shared,
    events_max: usize,
    cx: &mut Context<'_>,
) -> Result<bool, Lost> {
    if let Poll::Ready(opened) = link.poll_open(cx) {
        opened?;
        shared.state().machine.handle_opened(shared.clock.now(), id);
    }
    let now = shared.clock.now();
    let mut reads = 0..READS_MAX;
    let more_control = loop {
        if reads.next().is_none() {
            break true;
        }
        let mut state = None;
        let polled = link.poll_control(cx, |frame| {
            state.get_or_insert_with(|| shared.state()).machine.handle_control(now, id, frame);
        });
        let Poll::Ready(read) = polled else { break false };
        read?;
        state.get_or_insert_with(|| shared.state()).machine.handle_heard(now, id);
    };
    for _ in 0..READS_MAX {
        let mut state = None;
        {
            let mut state = shared.state();
            // Deliveries that are not drained yet count too: they are at most what one round reads.
            if state.events.len() >= events_max {
                state.paused = true;
                return Ok(more_control);
            }
        }
        let polled = link.poll_events(cx, |frame| {
            state.get_or_insert_with(|| shared.state()).machine.handle_event(now, id, frame);
        });
        let Poll::Ready(read) = polled else { return Ok(more_control) };
        read?;
        state.get_or_insert_with(|| shared.state()).machine.handle_heard(now, id);
    }
    Ok(true)
}

/// Reads datagrams into the machine, but none while the application takes no events; whether there may be more.
fn poll_datagrams(link: &mut Link, id: LinkId, shared: &Shared, events_max: usize, cx: &mut Context<'_>) -> bool {
    for _ in 0..READS_MAX {
        {
            let mut state = shared.state();
            if state.events.len() >= events_max {
                state.paused = true;
                return false;
            }
        }
        let Poll::Ready(datagram) = link.poll_datagram(cx) else { return false };
        shared.state().machine.handle_datagram(shared.clock.now(), id, &datagram);
    }
    true
}
