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
mod io;

use std::collections::VecDeque;

use causeway_protocol::{RequestId, RoomId, wire};

pub use config::{Config, Limits, SiteConfig, Standby, Timing};
pub use io::{
    Change, Counters, Covers, Delivery, Durability, Item, LinkId, MoveReason, Now, Output, Position, Progress,
    RequestNo, SavedCursor, SavedRequest, SendError, SiteIndex, SiteView, Start, Status, Wish,
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
    outputs: VecDeque<Output>,
}

impl Machine {
    /// A machine that starts to connect: drain its outputs.
    ///
    /// # Panics
    /// If `config.sites` is empty.
    pub fn new(now: Now, config: Config, start: Start) -> Self {
        assert!(!config.sites.is_empty(), "at least one site must be known");
        let _ = (now, start);
        Self { config, outputs: VecDeque::new() }
    }

    // ---- inputs: the network

    /// The connection and its control stream stand.
    pub fn handle_opened(&mut self, now: Now, link: LinkId) {
        let _ = (now, link);
    }

    /// A frame came on the connection's control stream.
    pub fn handle_control(&mut self, now: Now, link: LinkId, frame: wire::ServerFrame) {
        let _ = (now, link, frame);
    }

    /// A frame came on the connection's stream of events.
    pub fn handle_event(&mut self, now: Now, link: LinkId, frame: wire::EventFrame) {
        let _ = (now, link, frame);
    }

    /// The connection is gone, or never came to stand.
    pub fn handle_closed(&mut self, now: Now, link: LinkId) {
        let _ = (now, link);
    }

    /// Time has passed: see [`Machine::next_timer`].
    pub fn handle_tick(&mut self, now: Now) {
        let _ = now;
    }

    // ---- inputs: the application

    /// Takes a request to create a room into the outbox.
    ///
    /// # Errors
    /// Nothing was taken: the outbox is full, or the name too long.
    pub fn create_room(&mut self, now: Now, name: &str, open: bool) -> Result<(RoomId, Submitted), SendError> {
        let _ = (now, name, open);
        Err(SendError::Closed)
    }

    /// Takes a request into the outbox.
    ///
    /// # Errors
    /// Nothing was taken: the outbox is full, or a field too long.
    pub fn submit(&mut self, now: Now, room: RoomId, wish: Wish) -> Result<Submitted, SendError> {
        let _ = (now, room, wish);
        Err(SendError::Closed)
    }

    /// Lets a request go, whatever has become of it. Reports [`Progress::Discarded`]; `false` if it is not in the
    /// outbox.
    pub fn discard(&mut self, now: Now, no: RequestNo) -> bool {
        let _ = (now, no);
        false
    }

    /// Everything delivered of this room so far has been read by the user.
    pub fn mark_read(&mut self, now: Now, room: RoomId) {
        let _ = (now, room);
    }

    /// The application is done with a delivery (and, of this origin, with all before it).
    pub fn commit(&mut self, position: &Position) {
        let _ = position;
    }

    /// Closes every connection; nothing happens after it. The outbox stays saved.
    pub fn close(&mut self) {}

    // ---- outputs

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The `mono_ms` at which to call [`Machine::handle_tick`].
    pub fn next_timer(&self) -> Option<u64> {
        None
    }

    // ---- getters

    /// Every site known, in order of preference, [`SiteIndex`] by index. It only grows.
    pub fn sites(&self) -> Vec<SiteView> {
        self.config
            .sites
            .iter()
            .map(|s| SiteView { id: None, name: s.name.clone(), addresses: s.addresses.clone() })
            .collect()
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Counts since the start.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Ids of what is in the outbox, in order.
    pub fn outbox(&self) -> Vec<(RoomId, RequestId)> {
        Vec::new()
    }
}
