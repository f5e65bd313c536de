//! The server's side of one client connection, sans-IO: hello, submits, resume, live events.
//!
//! # Contract
//!
//! The host calls [`ServerSession::handle`] for everything that happens, and [`ServerSession::read`] while
//! [`ServerSession::wants_read`] says so and the client's event stream has room. Each call appends outputs; the
//! host carries out **all outputs of a call, in order, before it makes the next call**. That is what makes the
//! switch from storage to live events safe: a room's `Subscribe` comes out of an earlier call than the first
//! page read for it, and a shard's durable vector is published before its deliveries, so an event that is
//! delivered before the last page is read lies in that page, and one delivered after it is queued.
//!
//! * `handle` does no reads and is cheap. `read` may touch the disk: call it off the async threads.
//! * The queue of live events of a session is the host's, and bounded. When it overflows, the host drops what
//!   it likes of it and passes [`SessionInput::Overflowed`] *after* it has gone on to queue later ones; the
//!   session then reads every room from storage at its cursor.
//! * A shard's [`SessionInput::ShardReady`] comes after its readiness is published, and before the live events that
//!   the shard delivered later: such an event raises the cursor, and a merge may have brought rows below it that
//!   nobody delivered. A host that keeps both in different queues looks into the one of `ShardReady` again after
//!   it has taken live events and before it passes them on.
//! * After [`SessionOutput::Close`] the session ignores every input and wants no reads.
//! * A room's events reach the client in causal order, each once; an event's dot raises the client's cursor.
//!   Between a `Gap` and its `CaughtUp` that holds too: the page is sent in causal order, so a cursor within it
//!   covers nothing that was neither sent nor named by the gap.
//! * A standby session (`Hello.standby`) has no rooms. A further `Hello` of the same user and nonce makes it
//!   active (with its cursors), starts an active one over, or makes it a standby again; each is answered by a
//!   `Welcome`.
//!
//! * At [`ServerSession::next_timer`] the host passes a [`SessionInput::Tick`]: the client's token has ended.
//!
//! The session knows nothing of sockets, tasks, clocks or shards: the host routes `Submit` and `MarkRead` to the
//! shard, and the shard's answers for this session back into `handle`.

mod admission;
mod control;
mod frames;
mod in_flight;
mod rooms;

use bytes::Bytes;
use causeway_protocol::{Code, Dot, Marker, RequestId, RoomId, ShardId, SiteId, UserId, limits, wire};

use self::in_flight::InFlight;
use crate::io::{Now, SessionId, Submission};
use crate::read::Durables;
use crate::view::{View, ViewError};

pub use admission::{Admission, Grant, Tokens};

/// What a session is told at its start.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Its number at this host.
    pub id: SessionId,
    /// This site.
    pub site: SiteId,
    /// Its name.
    pub site_name: String,
    /// Shards of the cluster.
    pub shard_count: u16,
    /// Every configured site, this one too, with the addresses that clients dial.
    pub sites: std::sync::Arc<[wire::SiteInfo]>,
    /// How clients prove who they are.
    pub admission: Admission,
    /// Limits; the default ones suit a relay.
    pub limits: SessionLimits,
}

/// Bounds of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Submits that may be in flight. Told to the client; further ones are refused as `Busy`.
    pub submits_max: u32,
    /// Bytes of requests and bodies that may be in flight. Further ones are refused as `Busy`.
    pub submit_bytes_max: usize,
    /// Bytes of an encoded body.
    pub body_bytes_max: usize,
    /// A resumed room that lacks more ops than this gets its newest page and a gap.
    pub resume_ops_max: usize,
    /// Requests in the page that comes with a gap.
    pub gap_page_max: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            submits_max: 256,
            submit_bytes_max: 8 << 20,
            body_bytes_max: limits::BODY_BYTES_MAX,
            resume_ops_max: 2_000,
            gap_page_max: 100,
        }
    }
}

/// Everything that a session can be told.
#[derive(Clone, Debug)]
pub enum SessionInput {
    /// A frame from the client's control stream.
    Frame(wire::ClientFrame),
    /// A frame that is refused, since its sender is over a limit of the host's.
    Limited {
        /// The frame.
        frame: wire::ClientFrame,
        /// Names the limit, the setting, and when to try again.
        detail: String,
        /// When to try again, ms.
        retry_after_ms: u64,
    },
    /// From the session's queue of live events (`io::Output::Deliver` of a room that it subscribed to).
    Live {
        /// The room.
        room: RoomId,
        /// The dot that made it visible.
        dot: Dot,
        /// The encoded frame.
        frame: Bytes,
    },
    /// From the same queue (`io::Output::Recount` of a room that it subscribed to).
    Recount {
        /// The room.
        room: RoomId,
        /// The op that did it.
        dot: Dot,
        /// Whether it hid something.
        hides: bool,
    },
    /// From the same queue: somebody whom the site lets do so is typing in a room.
    Typing {
        /// The room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// The encoded datagram.
        datagram: Bytes,
    },
    /// The queue of live events was full and something was dropped.
    Overflowed,
    /// The bound user became or ceased to be a member of a room (`io::Output::Membership`).
    Membership {
        /// The room.
        room: RoomId,
        /// Whether the user is a member now.
        member: bool,
    },
    /// The bound user's invitations have changed (`io::Output::Invitations`).
    Invitations,
    /// The bound user's marker of a room has moved (`io::Output::Marked`).
    Marked {
        /// The room.
        room: RoomId,
        /// Where it is now.
        marker: Marker,
    },
    /// A shard began to serve (`io::Output::Ready(true)`): its rooms are looked for, and read on from their
    /// cursors, since rows may have come by a merge.
    ShardReady(ShardId),
    /// A shard accepted one of this session's submits.
    Accepted {
        /// The shard.
        shard: ShardId,
        /// The request.
        id: RequestId,
        /// One of its dots.
        dot: Dot,
        /// Whether that dot is stable already.
        replicated: bool,
    },
    /// A shard refused one of this session's submits.
    Refused {
        /// The request.
        id: Option<RequestId>,
        /// Why.
        code: Code,
        /// Names the field and the fix.
        detail: String,
    },
    /// A shard's stable vector grew.
    Frontier {
        /// The shard.
        shard: ShardId,
        /// Every dot of the origin up to this one.
        dot: Dot,
    },
    /// The site wants the client to move.
    GoAway(Code, String),
    /// The time that [`ServerSession::next_timer`] told has come.
    Tick,
}

/// Everything that a session can ask of its host.
#[derive(Clone, Debug)]
pub enum SessionOutput {
    /// A frame (its length in front) for the control stream.
    Control(Bytes),
    /// A frame (its length in front) for the stream of events.
    Event(Bytes),
    /// A datagram, where there is room for it: nobody misses it.
    Datagram(Bytes),
    /// A request for a shard. The shard answers it, also where it is not ready.
    Submit(ShardId, Submission),
    /// A user's marker, for a shard.
    MarkRead(ShardId, UserId, RoomId, Marker),
    /// The session is this user's from now on: route the user's `Membership` and `Invitations` to it. Comes once.
    Bind(UserId),
    /// Queue the room's live events for this session from now on.
    Subscribe(RoomId),
    /// No longer.
    Unsubscribe(RoomId),
    /// A request was refused by a limit, named by its setting: to be counted.
    Limited(&'static str),
    /// Close the connection with this code and reason, after what was put out before. Comes last.
    Close(Code, String),
}

/// Who is at the other end, as the first hello said.
#[derive(Debug)]
struct Client {
    user: UserId,
    nonce: u64,
    /// When the client's right to be here ends, `mono_ms`.
    until_ms: Option<u64>,
}

/// The server's side of one client connection. The module's text is its contract.
#[derive(Debug)]
pub struct ServerSession {
    config: SessionConfig,
    client: Option<Client>,
    closed: bool,
    /// Submits that a shard has not answered yet.
    in_flight: InFlight,
    /// `Some` while the client wants events.
    rooms: Option<rooms::Rooms>,
}

impl ServerSession {
    /// A session whose client has said nothing yet.
    pub fn new(config: SessionConfig) -> Self {
        Self { config, client: None, closed: false, in_flight: InFlight::default(), rooms: None }
    }

    /// Its number.
    pub fn id(&self) -> SessionId {
        self.config.id
    }

    /// The user, once the client has said hello.
    pub fn user(&self) -> Option<&UserId> {
        self.client.as_ref().map(|client| &client.user)
    }

    /// Whether the client wants events: it said hello, and not as a standby.
    pub fn is_active(&self) -> bool {
        self.rooms.is_some() && !self.closed
    }

    /// Whether everything has been read: each room that the user sees gets its events live.
    pub fn is_live(&self) -> bool {
        !self.closed && self.rooms.as_ref().is_some_and(rooms::Rooms::are_live)
    }

    /// Takes one input. `now.wall_ms` is the site's clock as clients are told it.
    pub fn handle(&mut self, now: Now, input: SessionInput, out: &mut Vec<SessionOutput>) {
        if self.closed {
            return;
        }
        match input {
            SessionInput::Frame(frame) => self.frame(now, frame, out),
            SessionInput::Limited { frame, detail, retry_after_ms } => {
                out.push(frames::refused_for_now(control::id_of(&frame), detail, retry_after_ms));
            }
            SessionInput::Accepted { shard, id, dot, replicated } => {
                self.in_flight.answered(Some(id));
                out.push(frames::accepted(shard, id, dot, replicated));
            }
            SessionInput::Refused { id, code, detail } => {
                self.in_flight.answered(id);
                out.push(frames::refused(id, code, detail));
            }
            SessionInput::Frontier { shard, dot } => out.push(frames::frontier(shard, dot)),
            SessionInput::GoAway(code, detail) => out.push(frames::go_away(code, detail)),
            SessionInput::Tick => self.tick(now, out),
            SessionInput::Live { room, dot, frame } => {
                if let Some(rooms) = &mut self.rooms {
                    rooms.live(room, dot, frame, out);
                }
            }
            SessionInput::Recount { room, dot, hides } => {
                if let Some(rooms) = &mut self.rooms {
                    rooms.recount(room, dot, hides);
                }
            }
            SessionInput::Typing { room, user, datagram } => {
                let is_other = self.user().is_some_and(|own| *own != user);
                if is_other && self.rooms.as_ref().is_some_and(|rooms| rooms.is_live(&room)) {
                    out.push(SessionOutput::Datagram(datagram));
                }
            }
            SessionInput::Overflowed => {
                if let Some(rooms) = &mut self.rooms {
                    rooms.overflowed();
                }
            }
            SessionInput::Membership { room, member } => {
                if let Some(rooms) = &mut self.rooms {
                    rooms.membership(room, member, out);
                }
            }
            SessionInput::Invitations => {
                if let Some(rooms) = &mut self.rooms {
                    rooms.invitations_changed();
                }
            }
            SessionInput::Marked { room, marker } => {
                if let Some(rooms) = &mut self.rooms {
                    rooms.marked(room, marker);
                }
            }
            SessionInput::ShardReady(shard) => {
                if let Some(rooms) = &mut self.rooms {
                    rooms.shard_ready(shard, self.config.shard_count);
                }
            }
        }
    }

    /// When to call [`ServerSession::handle`] with a [`SessionInput::Tick`], `mono_ms`. It changes only with a frame.
    pub fn next_timer(&self) -> Option<u64> {
        self.client.as_ref().filter(|_| !self.closed)?.until_ms
    }

    /// Whether [`ServerSession::read`] has anything to do.
    pub fn wants_read(&self) -> bool {
        !self.closed && self.rooms.as_ref().is_some_and(rooms::Rooms::wants_read)
    }

    /// Reads on from storage: lists rooms, opens them, catches up, newest rooms first and in turns. Puts out
    /// about `bytes_max` bytes of events at most (one event may exceed it), and does a bounded amount of work.
    pub fn read(
        &mut self,
        view: &dyn View,
        durables: &dyn Durables,
        bytes_max: usize,
        out: &mut Vec<SessionOutput>,
    ) -> Result<(), ViewError> {
        match (&self.client, &mut self.rooms) {
            (Some(client), Some(rooms)) if !self.closed => {
                let site = rooms::Site { view, durables, config: &self.config, user: &client.user };
                rooms.read(&site, bytes_max, out)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod admission_tests;
#[cfg(test)]
mod control_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod test_host;
#[cfg(test)]
mod tests;
