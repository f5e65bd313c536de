//! The session machine: everything that a client decides, and nothing that touches a socket, a clock, a file or
//! randomness. The SDK drives it over QUIC; the simulator drives the very same type.
//!
//! # What it decides
//! * **Where**: which site is home, which the standby, when a silent home is left, when to go back.
//! * **The outbox**: requests keep their order per room and stay until `Replicated`; they are sent again wherever
//!   the session goes.
//! * **Deliveries**: each request id once, cursors that never go back.
//!
//! # Contract
//! * Time is passed in with every input ([`Now`]); `mono_ms` never goes back.
//! * After every input, and after a burst of them at the latest before waiting, drain [`Machine::poll_output`]
//!   until `None` and carry the outputs out in order. A [`Change`] in [`Output::Persist`] is saved before later
//!   outputs are carried out.
//! * After draining, ask [`Machine::next_timer`] and call [`Machine::handle_tick`] at that time or soon after.
//!   Inputs that have arrived already go in before a tick: a late tick must not take an unread answer for silence.
//! * For every [`Output::Dial`] the host calls [`Machine::handle_opened`] once the connection and its control stream
//!   stand, then [`Machine::handle_control`] and [`Machine::handle_event`] for each frame in its stream's order, and
//!   [`Machine::handle_closed`] once when the connection fails, at any of these stages. After [`Output::Close`] it
//!   closes the connection and reports nothing more of it (what it reports is ignored).
//! * The streams of one connection are independent: an event may be handed in before a control frame that the site
//!   sent earlier, and the other way round.
//! * [`Output::Deliver`] is in the order in which the application is to see things. The host hands it on and calls
//!   [`Machine::commit`] when the application is done with it: only committed positions survive a restart.

mod config;
mod heartbeat;
mod invitations;
mod io;
mod jitter;
mod links;
mod list;
mod live;
mod marking;
mod receiving;
mod requests;
mod rooms;
mod shown;
mod sites;
mod steering;
mod submitting;
mod watching;

use std::collections::{BTreeMap, VecDeque};

use causeway_protocol::{Bytes, DeviceId, Message, RequestId, RoomId, Stamp, UserId, wire};

use jitter::Jitter;
use links::Link;
use live::Live;
use requests::Requests;
use rooms::Rooms;
use sites::Sites;

pub use config::{Config, Limits, SiteConfig, Standby, Timing};
pub use invitations::Invitation;
pub use list::{Preview, RoomView};

pub use io::{
    Change, ClosedBySite, Counters, Covers, Delivery, Durability, Item, LinkId, MoveReason, Now, Output, Position,
    ProfileChange, Progress, RequestNo, SavedCursor, SavedRequest, SendError, SiteIndex, SiteView, Start, Status, Wish,
};

/// A request that was taken into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Names it in [`Output::Progress`].
    pub no: RequestNo,
    /// Its identity and place, unless [`Progress::Reminted`] says otherwise later.
    pub id: RequestId,
}

/// A client's session across sites. See the module's documentation for the contract.
pub struct Machine {
    config: Config,
    nonce: u64,
    device: DeviceId,
    jitter: Jitter,
    outputs: VecDeque<Output>,
    counters: Counters,
    closed: bool,
    /// The last input's time: no timer is due before the next millisecond.
    last_ms: u64,

    sites: Sites,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    home: Option<LinkId>,
    spare: Option<LinkId>,
    candidate: Option<LinkId>,
    home_dial_ms: u64,
    home_attempts: u32,
    spare_dial_ms: u64,
    spare_attempts: u32,
    /// The site of the last welcomed home.
    last_home: Option<SiteIndex>,
    home_since_ms: u64,
    homes: u64,
    move_reason: MoveReason,
    /// Failovers for silence since things were calm.
    silent_moves: u32,
    /// The last refusal of the session itself, until a site welcomes it.
    refused: Option<(u32, String)>,
    /// The home site's wall clock minus our monotonic one, ms.
    clock: Option<i64>,

    requests: Requests,
    next_no: u64,
    /// Highest stamp minted, where it was near the site's clock.
    minted: Stamp,
    rooms: Rooms,
    invitations: Vec<Invitation>,
    live: Live,
}

impl Machine {
    /// A machine that starts to connect: drain its outputs.
    ///
    /// # Panics
    /// If `config.sites` is empty.
    pub fn new(now: Now, config: Config, start: Start) -> Self {
        assert!(!config.sites.is_empty(), "at least one site must be known");
        let mut requests = Requests::default();
        let next_no = start.outbox.iter().map(|saved| saved.no.0 + 1).max().unwrap_or(1);
        for saved in start.outbox {
            let kind = wire::Request::decode(saved.request.clone()).ok().and_then(|request| request.kind);
            let create = matches!(kind, Some(wire::request::Kind::Create(_)));
            requests.add(saved, false, create);
        }
        let mut machine = Self {
            nonce: start.nonce,
            device: DeviceId::derive(&config.user, start.nonce),
            jitter: Jitter::new(start.seed),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            closed: false,
            last_ms: now.mono_ms,
            sites: Sites::new(&config.sites, config.learn_sites),
            links: BTreeMap::new(),
            next_link: 1,
            home: None,
            spare: None,
            candidate: None,
            home_dial_ms: now.mono_ms,
            home_attempts: 0,
            spare_dial_ms: now.mono_ms,
            spare_attempts: 0,
            last_home: None,
            home_since_ms: now.mono_ms,
            homes: 0,
            move_reason: MoveReason::First,
            silent_moves: 0,
            refused: None,
            clock: None,
            requests,
            next_no,
            minted: Stamp(0),
            rooms: Rooms::resumed(start.cursors),
            invitations: Vec::new(),
            live: Live::default(),
            config,
        };
        machine.steer(now);
        machine
    }

    // ---- inputs: the network

    /// The connection and its control stream stand.
    pub fn handle_opened(&mut self, now: Now, link: LinkId) {
        self.last_ms = now.mono_ms;
        self.opened(now, link);
    }

    /// A frame came on the connection's control stream.
    pub fn handle_control(&mut self, now: Now, link: LinkId, frame: wire::ServerFrame) {
        use wire::server_frame::Frame;
        self.handle_heard(now, link);
        match frame.frame {
            Some(Frame::Welcome(welcome)) => self.welcome(now, link, &welcome),
            Some(Frame::Accepted(accepted)) => self.accepted(now, link, &accepted),
            Some(Frame::Refused(refused)) => self.refused(now, link, refused),
            Some(Frame::Frontier(frontier)) => self.frontier(now, &frontier),
            Some(Frame::Pong(pong)) => self.pong(now, link, &pong),
            Some(Frame::GoAway(go_away)) => self.go_away(now, link, &go_away),
            // A kind of a later version.
            None => self.counters.malformed += 1,
        }
    }

    /// A frame came on the connection's stream of events.
    pub fn handle_event(&mut self, now: Now, link: LinkId, frame: wire::EventFrame) {
        self.last_ms = now.mono_ms;
        self.event(now, link, frame);
    }

    /// A datagram came on the connection: an encoded `wire::ServerDatagram`, if the site keeps to the protocol.
    pub fn handle_datagram(&mut self, now: Now, link: LinkId, datagram: &Bytes) {
        self.last_ms = now.mono_ms;
        self.datagram(now, link, datagram);
    }

    /// Bytes came that are no whole frame yet: a sign of life.
    pub fn handle_heard(&mut self, now: Now, link: LinkId) {
        self.last_ms = now.mono_ms;
        if let Some(link) = self.links.get_mut(&link) {
            link.heartbeat.heard(now.mono_ms);
        }
    }

    /// The connection is gone, or never came to stand. `by_site`: what the site said, if it closed it.
    pub fn handle_closed(&mut self, now: Now, link: LinkId, by_site: Option<ClosedBySite>) {
        self.last_ms = now.mono_ms;
        self.closed_by_host(now, link, by_site);
    }

    /// Time has passed: see [`Machine::next_timer`].
    pub fn handle_tick(&mut self, now: Now) {
        if self.closed {
            return;
        }
        if self.next_timer().is_some_and(|due| now.mono_ms > due + self.config.timing.stall_ms) {
            self.forgive_stall(now);
        }
        self.last_ms = now.mono_ms;
        self.watch(now);
        self.steer(now);
        self.end_pauses(now);
        self.pump_second(now);
        self.tick_live(now);
    }

    // ---- inputs: the application

    /// Takes a request to create a room into the outbox.
    ///
    /// # Errors
    /// Nothing was taken: the outbox is full, or the name too long.
    pub fn create_room(&mut self, now: Now, name: &str, open: bool) -> Result<(RoomId, Submitted), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        self.take_create(now, name, open, false)
    }

    /// As [`Machine::create_room`], a room in which who joins is a reader.
    ///
    /// # Errors
    /// As [`Machine::create_room`].
    pub fn create_channel(&mut self, now: Now, name: &str, open: bool) -> Result<(RoomId, Submitted), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        self.take_create(now, name, open, true)
    }

    /// Takes a request to make the direct room with another user into the outbox. Its id is the same whoever makes it,
    /// wherever and however often.
    ///
    /// # Errors
    /// Nothing was taken: the outbox is full, or the other user is this one.
    pub fn create_direct(&mut self, now: Now, with: &UserId) -> Result<(RoomId, Submitted), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        self.take_direct(now, with)
    }

    /// Takes a request into the outbox to erase the user in every room; and the user's own room, which it is of.
    ///
    /// # Errors
    /// Nothing was taken: the outbox is full.
    pub fn erase_everywhere(&mut self, now: Now) -> Result<(RoomId, Submitted), SendError> {
        let room = RoomId::of_user(&self.config.user);
        self.submit(now, room, Wish::Erase).map(|submitted| (room, submitted))
    }

    /// Takes a request into the outbox.
    ///
    /// # Errors
    /// Nothing was taken: the outbox is full, or a field too long.
    pub fn submit(&mut self, now: Now, room: RoomId, wish: Wish) -> Result<Submitted, SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        if matches!(wish, Wish::Message { .. }) {
            self.typed_to_the_end(room);
        }
        self.take_wish(now, room, wish)
    }

    /// The user is typing in a room: to be called with every key if need be, for the home site is told once in 3 s.
    pub fn say_typing_in(&mut self, now: Now, room: RoomId) {
        self.say_typing(now, room);
    }

    /// Whether the user looks at the application at all. At first somebody does.
    pub fn set_away(&mut self, now: Now, away: bool) {
        self.take_away(now, away);
    }

    /// Lets a request go, whatever has become of it. Reports [`Progress::Discarded`]; `false` if it is not in the
    /// outbox.
    pub fn discard(&mut self, now: Now, no: RequestNo) -> bool {
        let held = self.requests.get(no).is_some();
        self.finish(now, no, Progress::Discarded);
        self.pump(now);
        held
    }

    /// A newer token of the same user: for the connections that stand, which go on until it ends, and for later ones.
    pub fn set_token(&mut self, token: String) {
        self.take_token(token);
    }

    /// Everything delivered of this room so far has been read by the user: it is not marked unread any more.
    pub fn mark_read(&mut self, now: Now, room: RoomId) {
        self.read(now, room);
    }

    /// The user marks the room unread: at all the user's devices, until it is read on one of them.
    pub fn mark_unread(&mut self, now: Now, room: RoomId) {
        self.unread(now, room);
    }

    /// The application is done with a delivery (and, of this origin, with all before it).
    pub fn commit(&mut self, position: &Position) {
        self.commit_position(position);
    }

    /// Closes every connection; nothing happens after it. The outbox stays saved.
    pub fn close(&mut self) {
        self.closed = true;
        self.home = None;
        self.spare = None;
        self.candidate = None;
        while let Some((link, _)) = self.links.pop_first() {
            self.outputs.push_back(Output::Close { link, reason: "closed by the application" });
        }
    }

    // ---- outputs

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The `mono_ms` at which to call [`Machine::handle_tick`].
    pub fn next_timer(&self) -> Option<u64> {
        if self.closed {
            return None;
        }
        let home_has_room = self.home.and_then(|id| self.links.get(&id)).is_some_and(Link::has_room);
        let pause_ends = self.requests.next_waiting_ms().filter(|_| home_has_room);
        let spare = self.spare.and_then(|id| self.links.get(&id));
        let window_max = self.config.limits.second_window_max;
        let takes = spare.is_some_and(|spare| spare.has_room_for_second(window_max));
        let second = self.requests.next_second_ms().filter(|_| takes);
        let due = [self.next_steering_ms(), pause_ends, second, self.next_live_ms()].into_iter().flatten().min()?;
        Some(due.max(self.last_ms + 1))
    }

    // ---- getters

    /// Every site known, in order of preference, [`SiteIndex`] by index. It only grows.
    pub fn sites(&self) -> Vec<SiteView> {
        self.sites.views()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        let home = self.home.and_then(|id| self.links.get(&id)).filter(|link| link.is_live());
        let spare = self.spare.and_then(|id| self.links.get(&id)).filter(|link| link.is_live());
        Status {
            home: home.map(|link| link.site),
            site: home.and_then(|link| link.site_id),
            site_name: home.map_or_else(String::new, |link| self.sites.view(link.site).name.clone()),
            since_ms: self.home_since_ms,
            standby: spare.map(|link| link.site),
            rtt_ms: home.map_or(0, |link| link.heartbeat.srtt_ms()),
            outbox_requests: self.requests.len(),
            outbox_bytes: self.requests.bytes(),
            outbox_stored: self.requests.stored(),
            outbox_parked: self.requests.parked(),
            homes: self.homes,
            refused: self.refused.clone(),
        }
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What is in the outbox, in order.
    pub fn outbox(&self) -> Vec<(RoomId, RequestId)> {
        self.requests.ids().collect()
    }

    /// What was delivered of a room: its cursor.
    pub fn cursor(&self, room: RoomId) -> Option<&causeway_protocol::Vector> {
        self.rooms.get(room).map(|room| &room.cursor)
    }

    /// The rooms that the user is in, as far as a site has shown them: the one with the newest message first.
    pub fn rooms(&self, now: Now) -> Vec<RoomView> {
        self.rooms.list(self.home, self.clock_ms(now))
    }

    /// The rooms that the user is invited to and not in, the newest invitation first, as the home site told last.
    pub fn invitations(&self) -> &[Invitation] {
        &self.invitations
    }

    /// The home's connection, if there is a home.
    pub fn home_link(&self) -> Option<LinkId> {
        self.home
    }

    /// Whether [`Machine::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn put(&mut self, link: LinkId, frame: wire::client_frame::Frame) {
        self.outputs.push_back(Output::Control { link, frame: wire::ClientFrame { frame: Some(frame) } });
    }
}

#[cfg(test)]
mod delivery_tests;
#[cfg(test)]
mod fake_cluster;
#[cfg(test)]
mod fake_site;
#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod outbox_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod scenario_tests;
#[cfg(test)]
mod token_tests;
