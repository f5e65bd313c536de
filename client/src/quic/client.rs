//! The client: what an application holds.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use causeway_protocol::{Bytes, RequestId, Role, RoomId, UserId};

use super::config::{Commit, Config, ConnectError, Status};
use super::draft::Draft;
use super::driver::Driver;
use super::event::Event;
use super::handle::{Cell, Handle};
use super::history::{self, Direction, HistoryPage};
use super::members::{self, MembersPage, Presence, ReadBy};
use super::query::HistoryError;
use super::shared::{Clock, Shared, State};
use crate::machine::{Counters, Invitation, Machine, Now, ProfileChange, RoomView, SendError, Start, Submitted, Wish};

/// When one site refuses the session, the others get this long to welcome it before connecting fails.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// A user's session across sites. Clones are the same session; it closes when the last one is dropped.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
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

    // ---- requests

    /// Makes a room. Its id is known at once; requests in it may be sent at once.
    ///
    /// # Errors
    /// Nothing was sent: the outbox is full or cannot be saved, the name is too long, the client closed.
    pub fn create_room(&self, name: &str, open: bool) -> Result<(RoomId, Handle), SendError> {
        self.create(|machine, now| machine.create_room(now, name, open))
    }

    /// Makes a broadcast channel: a room in which who joins reads, and whom somebody gave a role writes.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn create_channel(&self, name: &str, open: bool) -> Result<(RoomId, Handle), SendError> {
        self.create(|machine, now| machine.create_channel(now, name, open))
    }

    /// Makes the direct room with another user, or makes sure that it is there: its id follows from the two, so that both can
    /// make it, at different sites at the same time, and it is one room. Both are members at once. It has no name, no roles
    /// and no further members; who leaves it comes back when one of the two makes it again.
    ///
    /// # Errors
    /// As [`Client::create_room`]; and where the other user is this one.
    pub fn create_direct(&self, with: &UserId) -> Result<(RoomId, Handle), SendError> {
        self.create(|machine, now| machine.create_direct(now, with))
    }

    fn create(
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

    /// Sends a message. It is in the outbox when this returns.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn send(&self, room: RoomId, content_type: &str, content: impl Into<Bytes>) -> Result<Handle, SendError> {
        self.post(room, Draft::new(content_type, content))
    }

    /// Sends a message that answers another one.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn reply(
        &self,
        room: RoomId,
        to: RequestId,
        content_type: &str,
        content: impl Into<Bytes>,
    ) -> Result<Handle, SendError> {
        self.post(room, Draft::new(content_type, content).reply_to(to))
    }

    /// Gives an own message another content. Everybody sees the edit with the highest place; a redaction wins over all.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn edit(
        &self,
        room: RoomId,
        target: RequestId,
        content_type: &str,
        content: impl Into<Bytes>,
    ) -> Result<Handle, SendError> {
        let (content_type, content, salt) = (content_type.to_owned(), content.into(), salt()?);
        self.wish(room, Wish::Edit { target, content_type, content, salt })
    }

    /// Changes what a room says of itself, and whom it lets in and write: the fields that are there. Topic and avatar are for
    /// whom the name is for, who may join and who writes for admins.
    ///
    /// # Errors
    /// As [`Client::create_room`]; and where no field is named.
    pub fn set_profile(&self, room: RoomId, change: ProfileChange) -> Result<Handle, SendError> {
        self.wish(room, Wish::SetProfile(change))
    }

    /// Pins a message, so that members find it: for moderators, and for both in a direct room. A room has at most 50.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn pin(&self, room: RoomId, target: RequestId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Pin(target))
    }

    /// Unpins it.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn unpin(&self, room: RoomId, target: RequestId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Unpin(target))
    }

    /// Takes the content of an own message away, and of its edits, at every site and for good. Its place stays.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn redact(&self, room: RoomId, target: RequestId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Redact(target))
    }

    /// As [`Client::redact`], somebody else's message: for moderators, where their role is above the author's.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn redact_of(&self, room: RoomId, target: RequestId, author: UserId) -> Result<Handle, SendError> {
        self.wish(room, Wish::RedactOf(target, author))
    }

    /// Reacts to a message with a symbol: an emoji, or a name that the application knows, of 1 to 64 bytes. Once per
    /// user and symbol, however often it is sent.
    ///
    /// # Errors
    /// As [`Client::create_room`], and a symbol that cannot be one.
    pub fn react(&self, room: RoomId, target: RequestId, symbol: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::React(target, symbol.to_owned()))
    }

    /// Takes a reaction back. One that another device of the user sends meanwhile stays.
    ///
    /// # Errors
    /// As [`Client::react`].
    pub fn unreact(&self, room: RoomId, target: RequestId, symbol: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::Unreact(target, symbol.to_owned()))
    }

    /// Sends a message with whatever else it has: what it answers, whom it names.
    ///
    /// # Errors
    /// As [`Client::create_room`], more than 16 mentions, and a lifetime that is out of bounds.
    pub fn post(&self, room: RoomId, draft: Draft) -> Result<Handle, SendError> {
        let Draft { content_type, content, reply_to, mentions, lifetime } = draft;
        let lifetime_ms = lifetime.map_or(0, whole_ms);
        self.wish(room, Wish::Message { content_type, content, salt: salt()?, reply_to, mentions, lifetime_ms })
    }

    /// Becomes a member of a room.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn join(&self, room: RoomId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Join)
    }

    /// Asks to be let into a room that lets people ask ([`ProfileChange::knock`]): its members see it, and one who invites
    /// the user says yes, so that [`Client::invitations`] has it. [`Client::leave`] takes it back.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn knock(&self, room: RoomId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Knock)
    }

    /// Says no to somebody who asks to be let in. That takes a moderator. The user may ask again.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn decline(&self, room: RoomId, user: UserId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Decline(user))
    }

    /// Ceases to be a member of a room, or declines an invitation to it.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn leave(&self, room: RoomId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Leave)
    }

    /// Lets somebody join a closed room.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn invite(&self, room: RoomId, user: UserId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Invite(user))
    }

    /// Gives a member a role; oneself a lower one, too. Who may give which: docs/RIGHTS.md; a site that knows of no
    /// such right refuses. With a lower role than before, the roles given and the bans lifted by the user at sites that
    /// did not know of it yet are hidden everywhere; with that of a reader, messages, edits, reactions and invitations
    /// too.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn set_role(&self, room: RoomId, user: UserId, role: Role) -> Result<Handle, SendError> {
        self.wish(room, Wish::SetRole(user, role))
    }

    /// Ends somebody's membership. The user may join again, where the room lets anybody in. What the user did at sites
    /// that did not know of it yet is hidden everywhere. The reason, which may be empty, is for everybody to read.
    ///
    /// # Errors
    /// As [`Client::create_room`], and a reason of over 512 bytes or with control characters.
    pub fn kick(&self, room: RoomId, user: UserId, reason: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::Kick(user, reason.to_owned()))
    }

    /// Ends somebody's membership, if there is one, and keeps the user out: until a time by the sites' clocks, in whole
    /// milliseconds, or, with `None`, until somebody lifts the ban. What the user did at sites that did not know of it
    /// yet is hidden everywhere. A time that has passed keeps nobody out: it ends the membership only.
    ///
    /// # Errors
    /// As [`Client::kick`].
    pub fn ban(
        &self,
        room: RoomId,
        user: UserId,
        reason: &str,
        until: Option<SystemTime>,
    ) -> Result<Handle, SendError> {
        self.wish(room, Wish::Ban { user, reason: reason.to_owned(), until_ms: until_ms(until) })
    }

    /// Lifts a user's bans: those that the accepting site knows. The user is no member before joining again.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn lift_ban(&self, room: RoomId, user: UserId) -> Result<Handle, SendError> {
        self.wish(room, Wish::LiftBan(user))
    }

    /// Gives a room another name.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub fn set_name(&self, room: RoomId, name: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::SetName(name.to_owned()))
    }

    fn wish(&self, room: RoomId, wish: Wish) -> Result<Handle, SendError> {
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
    pub fn discard(&self, handle: &Handle) -> bool {
        let discarded = self.inner.shared.state().machine.discard(self.inner.shared.clock.now(), handle.no());
        self.inner.shared.driver.wake();
        discarded
    }

    /// Gives the session a newer token of the same user: the connections that stand go on until it ends, and later ones
    /// begin with it. To be called before the old one ends; where [`Event::SessionRefused`] says that it has,
    /// [`Config::refresh`] does it.
    pub fn set_token(&self, token: impl Into<String>) {
        self.inner.shared.state().machine.set_token(token.into());
        self.inner.shared.driver.wake();
    }

    // ---- typing and presence

    /// The user is typing in a room: to be called with every key, for a site is told no more than once in 3 s. Others hear
    /// of it by [`Event::Typing`], if they are members and it does not get lost. Nothing is told with
    /// [`Config::presence`] off, nor where the user may write no messages.
    pub fn typing(&self, room: RoomId) {
        self.inner.shared.state().machine.say_typing_in(self.inner.shared.clock.now(), room);
        self.inner.shared.driver.wake();
    }

    /// Whether the user looks at the application at all, for [`Client::presence`] of others. At first somebody does.
    pub fn set_away(&self, away: bool) {
        self.inner.shared.state().machine.set_away(self.inner.shared.clock.now(), away);
        self.inner.shared.driver.wake();
    }

    /// How lately members of a room were there, at most 100 of them, as the home site has heard. Who is no member is left
    /// out. To be asked again from time to time, of those whom the application shows.
    ///
    /// # Errors
    /// As [`Client::history`]; a site that has presence off refuses as not permitted.
    pub async fn presence(&self, room: RoomId, users: &[UserId]) -> Result<Vec<(String, Presence)>, HistoryError> {
        members::presence(self.inner.shared.home.subscribe(), room, users).await
    }

    // ---- events

    /// The next event; `None` when the client is closed. For one caller at a time.
    pub async fn next_event(&self) -> Option<Event> {
        let mut events = Vec::with_capacity(1);
        self.next_events(&mut events, 1).await;
        events.pop()
    }

    /// Waits for events and appends those that are here, at most `max`; returns how many, 0 when the client is closed.
    /// For one caller at a time.
    pub async fn next_events(&self, into: &mut Vec<Event>, max: usize) -> usize {
        loop {
            if let Some(taken) = self.take_events(into, max.max(1)) {
                return taken;
            }
            self.inner.shared.events_ready.notified().await;
        }
    }

    /// Appends the events that are here, at most `max`, without waiting; returns how many.
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
    pub fn commit(&self, event: &Event) {
        if let Some(position) = event.position() {
            self.inner.shared.state().machine.commit(&position);
            self.inner.shared.driver.wake();
        }
    }

    // ---- reading

    /// A page of a room's history, from a place (exclusive), or from the end (backward) or the start (forward). Limit
    /// 1 to 500.
    ///
    /// # Errors
    /// The site refuses, or none answers.
    pub async fn history(
        &self,
        room: RoomId,
        from: Option<RequestId>,
        direction: Direction,
        limit: u32,
    ) -> Result<HistoryPage, HistoryError> {
        history::fetch(self.inner.shared.home.subscribe(), room, from, direction, limit).await
    }

    /// A page of a room's members by name, of those above `after` or from the first. Limit 1 to 500.
    ///
    /// # Errors
    /// As [`Client::history`].
    pub async fn members(&self, room: RoomId, after: Option<&UserId>, limit: u32) -> Result<MembersPage, HistoryError> {
        members::members(self.inner.shared.home.subscribe(), room, after, limit).await
    }

    /// Who has read a message, and how many members have not: see [`ReadBy`].
    ///
    /// # Errors
    /// As [`Client::history`]; unknown messages are refused as malformed.
    pub async fn read_by(&self, room: RoomId, id: RequestId) -> Result<ReadBy, HistoryError> {
        members::read_by(self.inner.shared.home.subscribe(), room, id).await
    }

    /// How many members have not read each of these messages, at most 100: what some messengers show beside each. Those
    /// that the site does not have are left out. `None` where the room has more than 500 members: many.
    ///
    /// # Errors
    /// As [`Client::history`].
    pub async fn unread_by(
        &self,
        room: RoomId,
        ids: &[RequestId],
    ) -> Result<Option<Vec<(RequestId, u32)>>, HistoryError> {
        members::unread_by(self.inner.shared.home.subscribe(), room, ids).await
    }

    /// The user's rooms, the one with the newest message first: from memory, as the home site has told them and as the
    /// events that followed changed them. [`Event::RoomUpdated`] says where counts changed without an event.
    pub fn rooms(&self) -> Vec<RoomView> {
        self.inner.shared.state().machine.rooms(self.inner.shared.clock.now())
    }

    /// The rooms that the user is invited to and not in, the newest invitation first, as the home site told last;
    /// [`Event::InvitationsChanged`] says that there are others. [`Client::join`] accepts one, [`Client::leave`] declines it.
    pub fn invitations(&self) -> Vec<Invitation> {
        self.inner.shared.state().machine.invitations().to_vec()
    }

    /// Messages of a room that the user has not read, capped at 100, as the home site counts them now.
    ///
    /// # Errors
    /// As [`Client::history`].
    pub async fn unread(&self, room: RoomId) -> Result<u64, HistoryError> {
        Ok(self.history(room, None, Direction::Backward, 1).await?.unread)
    }

    /// The user has read everything of a room that was handed out so far.
    pub fn mark_read(&self, room: RoomId) {
        self.inner.shared.state().machine.mark_read(self.inner.shared.clock.now(), room);
        self.inner.shared.driver.wake();
    }

    // ---- state

    /// How things stand.
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
    pub fn counters(&self) -> Counters {
        self.inner.shared.state().machine.counters()
    }

    /// Requests that are not yet replicated, in order.
    pub fn outbox(&self) -> Vec<(RoomId, RequestId)> {
        self.inner.shared.state().machine.outbox()
    }

    /// Closes the connections and waits until everything is saved. What is in the outbox stays in the store.
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

/// The end of a ban, as the wire has it: 0 is for ever.
fn until_ms(until: Option<SystemTime>) -> u64 {
    let Some(until) = until else { return 0 };
    let since = until.duration_since(UNIX_EPOCH).unwrap_or_default();
    // A time before 1970 has passed, and so has the ban: nobody would mean "for ever" by it.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A lifetime as the wire has it, where 0 is for good.
fn whole_ms(lifetime: Duration) -> u64 {
    u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Keeps a short body from being guessed by its hash.
fn salt() -> Result<[u8; 16], SendError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| SendError::Store(format!("no random numbers: {e}")))?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bans_end_is_in_ms_and_no_time_is_for_ever() {
        let after = |since| until_ms(UNIX_EPOCH.checked_add(since));
        assert_eq!(until_ms(None), 0);
        assert_eq!(after(Duration::from_micros(1_700_000_000_123_900)), 1_700_000_000_123);
        assert_eq!(after(Duration::ZERO), 1);
        assert_eq!(until_ms(UNIX_EPOCH.checked_sub(Duration::from_secs(1))), 1);
        assert_eq!(after(Duration::from_secs(1 << 60)), u64::MAX);
    }
}
