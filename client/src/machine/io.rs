//! What goes into the session machine and what comes out of it.

use std::time::Duration;

use std::collections::BTreeMap;

use bytes::Bytes;
use causeway_protocol::{Dot, RequestId, Role, RoomId, SiteId, UserId, Vector, wire};

/// Both clocks of the host at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Never goes back; for timers. Milliseconds since any moment.
    pub mono_ms: u64,
    /// The wall clock, which may jump. Milliseconds since the Unix epoch. Used for stamps only as long as no
    /// site's clock is known.
    pub wall_ms: u64,
}

/// A connection, numbered by the machine, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// A site in the machine's list: its number in [`crate::machine::Machine::sites`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SiteIndex(pub usize);

/// A request of this machine. It stays the same where the id does not: see [`Progress::Reminted`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestNo(pub u64);

/// What a user may ask of a room. (Creating one is [`crate::machine::Machine::create_room`].)
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// A message.
    Message {
        /// A media type.
        content_type: String,
        /// Opaque to the relay, up to `limits::CONTENT_BYTES_MAX`.
        content: Bytes,
        /// Keeps a short content from being guessed by its hash: random.
        salt: [u8; 16],
        /// The message that this one answers.
        reply_to: Option<RequestId>,
        /// Users whom it names: at most `limits::MENTIONS_MAX`.
        mentions: Vec<UserId>,
        /// How long its body is kept, ms; 0: as long as the room keeps one.
        lifetime_ms: u64,
    },
    /// Become a member.
    Join,
    /// Be one no longer.
    Leave,
    /// Let somebody join a closed room.
    Invite(UserId),
    /// Another name for the room.
    SetName(String),
    /// Change fields of the room's profile.
    SetProfile(ProfileChange),
    /// Pin a message.
    Pin(RequestId),
    /// Unpin it.
    Unpin(RequestId),
    /// Be a member no longer, and take all that one wrote away; in the user's own room, in every room.
    Erase,
    /// Ask to be let into a room.
    Knock,
    /// Answer with no to somebody who asks to be let in.
    Decline(UserId),
    /// Give a member a role.
    SetRole(UserId, Role),
    /// End somebody's membership, with a reason of up to `limits::REASON_BYTES_MAX`.
    Kick(UserId, String),
    /// End it, and keep the user out.
    Ban {
        /// The user, a member or not.
        user: UserId,
        /// As a kick's.
        reason: String,
        /// Until when, ms since the Unix epoch; 0: until somebody lifts it.
        until_ms: u64,
    },
    /// Lift a user's bans.
    LiftBan(UserId),
    /// Another body for an own message.
    Edit {
        /// The message.
        target: RequestId,
        /// A media type.
        content_type: String,
        /// As a message's.
        content: Bytes,
        /// As a message's.
        salt: [u8; 16],
    },
    /// Take away the body of an own message, and of its edits, for good.
    Redact(RequestId),
    /// Take somebody else's message away: this message, whose author is this user.
    RedactOf(RequestId, UserId),
    /// React to a message with a symbol.
    React(RequestId, String),
    /// Take the reaction back.
    Unreact(RequestId, String),
}

/// What is to change of a room's profile: the fields that are there, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// Its topic, up to `limits::TOPIC_BYTES_MAX`.
    pub topic: Option<String>,
    /// Its avatar: a reference that the application knows, up to `limits::NAME_BYTES_MAX`.
    pub avatar: Option<String>,
    /// Whether anybody may join.
    pub open: Option<bool>,
    /// The least role that writes messages: member or above.
    pub writers: Option<Role>,
    /// How long bodies of messages are kept that are accepted from now on: a second to ten years, in whole ms; zero: for
    /// good.
    pub retention: Option<Duration>,
    /// Whether who may not join may ask to be let in.
    pub knock: Option<bool>,
}

/// Why a request was not taken into the outbox. Nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The outbox holds as many requests as it may.
    #[error("the outbox is full: {requests} requests wait for a second site; send again when some are replicated")]
    OutboxFull {
        /// Requests in it.
        requests: usize,
        /// Bytes in it.
        bytes: usize,
    },
    /// A field's text cannot be what it is meant to be.
    #[error("{field} {fix}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it must be.
        fix: &'static str,
    },
    /// Over a limit of the wire.
    #[error("{field} must have at most {max} bytes, not {got}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// The limit, bytes.
        max: usize,
        /// What it has.
        got: usize,
    },
    /// The outbox store does not take it.
    #[error("the outbox cannot be saved: {0}")]
    Store(String),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// How safe a request is, once it leaves the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In at least two sites' fsynced storage, as a site said.
    Replicated,
    /// Two different sites said `Stored`.
    StoredTwice,
    /// The cluster has one site, and the request is fsynced there: more cannot be had.
    SingleSite,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Ack 1: fsynced at a site. It stays in the outbox.
    Stored {
        /// The site that said so.
        site: SiteId,
        /// Its place in an origin's log.
        dot: Dot,
    },
    /// Ack 2: it has left the outbox. The last word.
    Replicated(Durability),
    /// Not accepted, and never will be (or never transmitted anywhere else): it has left the outbox. The
    /// last word.
    Refused {
        /// The site that refused.
        site: Option<SiteId>,
        /// Its code's number.
        code: u32,
        /// Its words.
        detail: String,
    },
    /// Refused here, may be stored elsewhere: it waits in the outbox, holds back later requests of its room,
    /// and is tried again.
    Parked {
        /// The site that refused.
        site: Option<SiteId>,
        /// Its code's number.
        code: u32,
        /// Its words.
        detail: String,
    },
    /// Its stamp was too far ahead and no site has it: it goes out again under another id.
    Reminted {
        /// The id that is void.
        old: RequestId,
    },
    /// The application let it go.
    Discarded,
}

/// What a delivery covers; what a commit takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Covers {
    /// One request: the cursor's entry of this origin rises to the dot.
    Dot(Dot, RequestId),
    /// One request of a page after a gap: the page's end moves the cursor.
    Page(RequestId),
    /// All of this.
    Vector(Vector),
    /// Nothing.
    Nothing,
}

/// What a site said when it closed a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedBySite {
    /// A code's number.
    pub code: u32,
    /// Its words.
    pub detail: String,
}

/// Where a delivery is in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// The room.
    pub room: RoomId,
    /// What it covers.
    pub covers: Covers,
}

/// Something of a room, in the order in which the application is to see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// For [`crate::machine::Machine::commit`].
    pub position: Position,
    /// What.
    pub item: Item,
}

/// What is delivered.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A request that was accepted in the room, the user's own too. Each id once.
    Request {
        /// Identity and place.
        id: RequestId,
        /// Who asked.
        user: String,
        /// What.
        request: wire::Request,
        /// An encoded `wire::Body`; absent when the body is gone.
        body: Option<Bytes>,
        /// When the body goes, ms since the Unix epoch; 0: never.
        deadline_ms: u64,
        /// A revocation's: what the accepting site had applied.
        past: Option<Vector>,
    },
    /// The room became visible.
    Opened {
        /// Its name.
        name: String,
        /// Whether anybody may join.
        open: bool,
        /// Whether who joins is a reader.
        channel: bool,
        /// Of a direct room: the other user.
        direct: Option<String>,
    },
    /// A site told how the room stands in the list of rooms: its counts may have changed without an event.
    Summarised,
    /// The room is visible no longer.
    Closed,
    /// More is missing than one page; the newest page follows.
    Gap {
        /// What the client had.
        from: Vector,
        /// What it has after the page.
        to: Vector,
        /// The lowest place among the missing.
        lowest: Option<RequestId>,
        /// How many are left out.
        missing: u64,
    },
    /// Everything of the room up to here has been delivered.
    CaughtUp,
}

impl Item {
    pub(super) fn opened(opened: wire::RoomOpened) -> Self {
        let wire::RoomOpened { name, open, channel, direct, .. } = opened;
        Self::Opened { name, open, channel, direct: Some(direct).filter(|with| !with.is_empty()) }
    }
}

/// A request as the outbox store keeps it. Its order is the number's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRequest {
    /// Order in the outbox.
    pub no: RequestNo,
    /// The nonce of the device that minted it.
    pub nonce: u64,
    /// Its id.
    pub id: RequestId,
    /// Its room.
    pub room: RoomId,
    /// An encoded `wire::Request`.
    pub request: Bytes,
    /// An encoded `wire::Body`.
    pub body: Option<Bytes>,
}

/// A room's cursor as the cursor store keeps it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SavedCursor {
    /// What the application has committed.
    pub vector: Vector,
    /// Ids of requests committed last, oldest first, so that a second acceptance is not shown again after a
    /// restart. The store bounds it.
    pub shown: Vec<RequestId>,
}

/// What a store is to keep, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new request of the outbox. It must be saved before the outputs that follow it are carried out.
    Added(SavedRequest),
    /// It has left the outbox.
    Removed(RequestNo),
    /// The application committed this.
    Committed(Position),
}

/// Everything that the machine asks of its host, in order.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are deliveries")]
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Connect to a site (its addresses: [`crate::machine::Machine::sites`]). Answered by `handle_opened` or
    /// `handle_closed`.
    Dial {
        /// The new connection.
        link: LinkId,
        /// Where.
        site: SiteIndex,
    },
    /// Send on a connection's control stream.
    Control {
        /// Which.
        link: LinkId,
        /// What.
        frame: wire::ClientFrame,
    },
    /// Send a datagram on a connection, if that can be done: nobody misses it.
    Datagram {
        /// Which.
        link: LinkId,
        /// What.
        datagram: wire::ClientDatagram,
    },
    /// Somebody else begins or ends to type in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// Who.
        user: String,
        /// Begins; or ends: for 6 s nothing was heard of it, or a message came, or the room is closed.
        typing: bool,
    },
    /// [`crate::machine::Machine::invitations`] are others now.
    Invitations,
    /// Close a connection, or give up dialling. Inputs for it are ignored from now on.
    Close {
        /// Which.
        link: LinkId,
        /// For the site's logs.
        reason: &'static str,
    },
    /// Hand to the application.
    Deliver(Delivery),
    /// What became of a request.
    Progress {
        /// Which.
        no: RequestNo,
        /// Its id now.
        id: RequestId,
        /// What.
        progress: Progress,
    },
    /// Save.
    Persist(Change),
    /// The session has another home.
    Moved {
        /// The site before; `None` at first.
        from: Option<SiteIndex>,
        /// The site now.
        to: SiteIndex,
        /// Why the former was left.
        reason: MoveReason,
    },
    /// A site would not have the session at all (version, token).
    SessionRefused {
        /// Which.
        site: SiteIndex,
        /// Its code's number.
        code: u32,
        /// Its words.
        detail: String,
    },
}

/// Why the home site changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveReason {
    /// It is the first.
    First,
    /// The former fell silent.
    Silent,
    /// The former closed the connection, or it broke.
    Closed,
    /// The former asked for it: it shuts down, is not ready, or its clock is off.
    Asked,
    /// The former answered pings and no requests.
    Stalled,
    /// The preferred site is well again.
    Return,
}

/// What a machine starts from.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Random, new at every start of the SDK: it makes the device.
    pub nonce: u64,
    /// Random: jitter comes from it.
    pub seed: u64,
    /// The outbox as saved, in order.
    pub outbox: Vec<SavedRequest>,
    /// Cursors as saved.
    pub cursors: BTreeMap<RoomId, SavedCursor>,
}

/// A site in the machine's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteView {
    /// Its number, once a welcome said it.
    pub id: Option<SiteId>,
    /// Its name.
    pub name: String,
    /// `host:port`, in the order to try.
    pub addresses: Vec<String>,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// The home site, once it has welcomed the session.
    pub home: Option<SiteIndex>,
    /// Its number.
    pub site: Option<SiteId>,
    /// Its name.
    pub site_name: String,
    /// Since when it is the home, on the host's monotonic clock, ms.
    pub since_ms: u64,
    /// The welcomed standby site.
    pub standby: Option<SiteIndex>,
    /// Smoothed round trip to the home site, ms.
    pub rtt_ms: u64,
    /// Requests in the outbox.
    pub outbox_requests: usize,
    /// Bytes in the outbox.
    pub outbox_bytes: usize,
    /// Requests among them that are stored at one site.
    pub outbox_stored: usize,
    /// Requests among them that a site refused for now.
    pub outbox_parked: usize,
    /// Homes so far.
    pub homes: u64,
    /// The last refusal of the session itself: code and words.
    pub refused: Option<(u32, String)>,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counters {
    /// Submits sent, second ones too.
    pub submits: u64,
    /// Submits of requests that had been sent before.
    pub resubmits: u64,
    /// Requests delivered.
    pub delivered: u64,
    /// Deliveries dropped because the cursor covered them or the id had been shown.
    pub duplicates: u64,
    /// Events that did not decode.
    pub malformed: u64,
    /// Suspicions: silent homes that were left.
    pub suspicions: u64,
    /// Ticks that came so late that a site was given more time.
    pub stalls: u64,
}
