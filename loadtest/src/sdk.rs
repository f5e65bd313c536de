//! All that the load tester needs of the client SDK, in one place: what changes there changes here and nowhere else.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use causeway_client::{Client, Config, Connector, Direction, Handle, HistoryError, SendError, SiteConfig, Standby};
use causeway_protocol::{Code, RequestId, RoomId, UserId, limits};

use crate::stamp::CONTENT_TYPE;

pub use causeway_client::timeline::{Content, Timeline};
pub use causeway_client::{Change, ChangeKind, Event, Message};

/// Where a cluster is.
#[derive(Clone, Debug)]
pub struct Target {
    /// The sites, in the order of their numbers.
    pub sites: Vec<TargetSite>,
    /// The authority's certificate, PEM.
    pub ca: Vec<u8>,
}

/// A site as clients know it.
#[derive(Clone, Debug)]
pub struct TargetSite {
    /// Its name; empty where it is not known.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// What the SDK said when it did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SdkError {
    /// The outbox is full: later.
    #[error("the outbox is full")]
    Full,
    /// Anything else, in the SDK's words.
    #[error("{0}")]
    Other(String),
}

/// Refused for good, with a code of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedFor(pub u32);

/// Something that the SDK told the application.
#[derive(Debug)]
pub enum Happening {
    /// A message.
    Message {
        /// Its room.
        room: RoomId,
        /// Its identity and place.
        id: RequestId,
        /// Its content.
        content: Bytes,
    },
    /// A message whose body is gone: it was redacted before it came here.
    Gone {
        /// Its room.
        room: RoomId,
        /// Its identity and place.
        id: RequestId,
    },
    /// Something else that somebody did in a room.
    Change {
        /// Its room.
        room: RoomId,
        /// Its identity and place.
        id: RequestId,
    },
    /// More is missing than one page.
    Gap {
        /// In which room.
        room: RoomId,
        /// The lowest place among the missing, as far as it is known.
        lowest: RequestId,
    },
    /// The session has another home.
    Moved {
        /// The site's name.
        to: String,
        /// Why, in a word.
        reason: String,
    },
    /// What a load tester does not count.
    Other,
}

/// A message of a page of history.
#[derive(Debug)]
pub struct HistoryMessage {
    /// Its place.
    pub id: RequestId,
    /// Its content; `None` where the body is gone.
    pub content: Option<Bytes>,
}

/// A page of history, oldest first.
#[derive(Debug)]
pub struct HistoryPage {
    /// The messages in it; other requests are left out.
    pub messages: Vec<HistoryMessage>,
    /// The last place in it, of whatever kind: where the next page starts.
    pub last: Option<RequestId>,
    /// Whether there is a next page.
    pub more: bool,
}

/// A page of everything that was done in a room, oldest first.
#[derive(Debug)]
pub struct EventPage {
    /// Messages and changes.
    pub events: Vec<Event>,
    /// Whether there is a next page, and after which place.
    pub next: Option<RequestId>,
}

/// How a session is opened.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Who signs in.
    pub user: String,
    /// Which site is its home: index into [`Target::sites`].
    pub home: usize,
    /// In which order the others follow: clients of one home with different turns go to different sites when it is lost.
    pub turn: usize,
    /// Whether it holds a warm standby connection.
    pub standby: bool,
    /// Whether it may know other sites than its home.
    pub roams: bool,
}

/// What the sessions of one process share: a few UDP sockets and the roots of trust. One socket would do, but its buffer
/// in the kernel is small against the bursts of thousands of clients.
pub struct Shared {
    target: Target,
    connectors: Vec<Connector>,
    next: AtomicUsize,
}

/// Buffers of a socket, bytes: what Linux grants without privileges where it was told to, and more than it does elsewhere.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// UDP sockets of a process.
const SOCKETS: usize = 8;
/// Events taken at a time.
const EVENTS_MAX: usize = 256;

/// When a session that knows one site only takes it for lost.
const PATIENT_MS: u64 = 15_000;

/// A client of the cluster.
pub struct Session {
    client: Client,
}

/// A request on its way.
pub struct Pending {
    handle: Handle,
}

fn other(error: impl std::fmt::Display) -> SdkError {
    SdkError::Other(error.to_string())
}

/// The place of an event that has one.
pub fn place(event: &Event) -> Option<RequestId> {
    match event {
        Event::Message(message) => Some(message.id),
        Event::Change(change) => Some(change.id),
        _ => None,
    }
}

fn not_taken(error: SendError) -> SdkError {
    match error {
        SendError::OutboxFull { .. } => SdkError::Full,
        error => other(error),
    }
}

impl Shared {
    /// For all sessions of this process. Within a runtime.
    pub fn new(target: Target) -> Result<Self, SdkError> {
        let roots = Connector::roots_of_pem(&target.ca).map_err(other)?;
        let connector = |_| Connector::with_endpoint(endpoint().map_err(other)?, roots.clone()).map_err(other);
        let connectors = (0..SOCKETS).map(connector).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { target, connectors, next: AtomicUsize::new(0) })
    }
}

/// A socket whose buffers hold a burst to hundreds of clients. With the kernel's default, a few hundred packets, such
/// bursts are lost, and what is measured is QUIC's recovery from a loss that real clients, with a socket each, never see.
fn endpoint() -> std::io::Result<quinn::Endpoint> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The kernel may grant less; that still works.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
    let runtime = Arc::new(quinn::TokioRuntime);
    quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket.into(), runtime)
}

impl Session {
    /// Connects; resolves when a site has welcomed the session.
    pub async fn connect(shared: &Shared, options: SessionOptions) -> Result<Self, SdkError> {
        let count = shared.target.sites.len();
        let reach = if options.roams { count } else { 1 };
        let order = preference(options.home, options.turn, count);
        let sites = order.take(reach).map(|i| &shared.target.sites[i]);
        let sites = sites.map(|s| SiteConfig { name: s.name.clone(), addresses: vec![s.address.clone()] }).collect();
        let turn = shared.next.fetch_add(1, Ordering::Relaxed) % shared.connectors.len();
        let user = UserId::new(&options.user).map_err(other)?;
        let mut config = Config::new(user, sites, shared.connectors[turn].clone());
        config.session.standby = if options.standby { Standby::Warm } else { Standby::Cold };
        config.session.learn_sites = options.roams;
        if !options.roams {
            // There is no better site to go to: to suspect this one, slow as it may be, only costs handshakes.
            config.session.timing.suspect_min_ms = PATIENT_MS;
            config.session.timing.suspect_max_ms = PATIENT_MS;
        }
        Ok(Self { client: Client::connect(config).await.map_err(other)? })
    }

    /// Creates a room that anybody may join.
    pub fn create_room(&self, name: &str) -> Result<(RoomId, Pending), SdkError> {
        let (room, handle) = self.client.create_room(name, true).map_err(not_taken)?;
        Ok((room, Pending { handle }))
    }

    /// Becomes a member.
    pub fn join(&self, room: RoomId) -> Result<Pending, SdkError> {
        self.client.join(room).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// Stops being one.
    pub fn leave(&self, room: RoomId) -> Result<Pending, SdkError> {
        self.client.leave(room).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// Names the room.
    pub fn set_name(&self, room: RoomId, name: &str) -> Result<Pending, SdkError> {
        self.client.set_name(room, name).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// Says something.
    pub fn send(&self, room: RoomId, content_type: &'static str, content: Bytes) -> Result<Pending, SdkError> {
        self.client.send(room, content_type, content).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// Gives an own message another content.
    pub fn edit(&self, room: RoomId, target: RequestId, content: Bytes) -> Result<Pending, SdkError> {
        self.client.edit(room, target, CONTENT_TYPE, content).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// Takes an own message's content away.
    pub fn redact(&self, room: RoomId, target: RequestId) -> Result<Pending, SdkError> {
        self.client.redact(room, target).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// Reacts to a message.
    pub fn react(&self, room: RoomId, target: RequestId, symbol: &str) -> Result<Pending, SdkError> {
        self.client.react(room, target, symbol).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// Takes a reaction back.
    pub fn unreact(&self, room: RoomId, target: RequestId, symbol: &str) -> Result<Pending, SdkError> {
        self.client.unreact(room, target, symbol).map(|handle| Pending { handle }).map_err(not_taken)
    }

    /// The user has read what came of the room so far.
    pub fn mark_read(&self, room: RoomId) {
        self.client.mark_read(room);
    }

    /// Messages of a room that the user has not read, by the home site.
    pub async fn unread(&self, room: RoomId) -> Result<u64, SdkError> {
        self.client.unread(room).await.map_err(other)
    }

    /// Whether the home site lets the user read a room: whether it takes the user for a member.
    pub async fn may_read(&self, room: RoomId) -> Result<bool, SdkError> {
        match self.client.history(room, None, Direction::Backward, 1).await {
            Ok(_) => Ok(true),
            Err(HistoryError::Refused { code, .. }) if code == Code::NotPermitted.number() => Ok(false),
            Err(e) => Err(other(e)),
        }
    }

    /// Waits for events and appends those that are here; false when the session has ended.
    pub async fn next(&self, into: &mut Vec<Event>) -> bool {
        self.client.next_events(into, EVENTS_MAX).await > 0
    }

    /// A page of everything that was done, towards newer.
    pub async fn events(&self, room: RoomId, after: Option<RequestId>) -> Result<EventPage, SdkError> {
        let page = self.client.history(room, after, Direction::Forward, limits::HISTORY_PAGE_MAX).await;
        let page = page.map_err(other)?;
        let last = page.events.iter().filter_map(place).last();
        if page.more && last <= after {
            return Err(SdkError::Other("a page does not lead on".to_owned()));
        }
        Ok(EventPage { next: last.filter(|_| page.more), events: page.events })
    }

    /// A page of history, towards newer.
    pub async fn history(&self, room: RoomId, after: Option<RequestId>) -> Result<HistoryPage, SdkError> {
        let page =
            self.client.history(room, after, Direction::Forward, limits::HISTORY_PAGE_MAX).await.map_err(other)?;
        let last = page.events.iter().filter_map(place).last();
        let message = |event: Event| match event {
            Event::Message(m) => Some(HistoryMessage { id: m.id, content: (!m.body_gone).then_some(m.content) }),
            _ => None,
        };
        Ok(HistoryPage { last, more: page.more, messages: page.events.into_iter().filter_map(message).collect() })
    }

    /// Requests that are not yet safe.
    pub fn outbox_len(&self) -> usize {
        self.client.status().outbox_requests
    }

    /// The home site's number, while there is one.
    pub fn home(&self) -> Option<u16> {
        self.client.status().site.map(|site| site.0)
    }

    /// Ends the session.
    pub async fn close(&self) {
        self.client.close().await;
    }
}

impl Pending {
    /// Its identity and place now.
    pub fn id(&self) -> RequestId {
        self.handle.id()
    }

    /// Ack 1.
    pub async fn stored(&self) -> Result<(), RefusedFor> {
        self.handle.stored().await.map(drop).map_err(|r| RefusedFor(r.code))
    }

    /// Ack 2.
    pub async fn replicated(&self) -> Result<(), RefusedFor> {
        self.handle.replicated().await.map(drop).map_err(|r| RefusedFor(r.code))
    }
}

/// The home, then the others, the first of them by turn.
fn preference(home: usize, turn: usize, sites: usize) -> impl Iterator<Item = usize> {
    let others = sites.saturating_sub(1);
    let other = move |i: usize| (home + 1 + (turn + i) % others) % sites;
    std::iter::once(home % sites.max(1)).chain((0..others).map(other))
}

/// What an event is to a load tester.
pub fn happening(event: Event) -> Happening {
    match event {
        Event::Message(m) if m.body_gone => Happening::Gone { room: m.room, id: m.id },
        Event::Message(m) => Happening::Message { room: m.room, id: m.id, content: m.content },
        Event::Change(change) => Happening::Change { room: change.room, id: change.id },
        Event::Gap(gap) => Happening::Gap { room: gap.room, lowest: gap.lowest.unwrap_or(RequestId::MIN) },
        Event::Moved { to, reason, .. } => Happening::Moved { to, reason: format!("{reason:?}").to_lowercase() },
        _ => Happening::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_home_prefer_different_sites_after_it() {
        let order = |home, turn, sites| preference(home, turn, sites).collect::<Vec<_>>();
        assert_eq!(order(0, 0, 3), [0, 1, 2]);
        assert_eq!(order(0, 1, 3), [0, 2, 1]);
        assert_eq!(order(2, 0, 3), [2, 0, 1]);
        assert_eq!(order(2, 3, 3), [2, 1, 0]);
        assert_eq!(order(0, 5, 1), [0]);
        assert_eq!(order(1, 9, 2), [1, 0]);
    }
}
