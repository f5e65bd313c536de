//! What a client hands to the application.

use std::time::Duration;

use causeway_protocol::{Bytes, Dot, RequestId, Role, RoomId, Vector, wire};
use prost::Message as _;

use crate::machine::{Covers, Delivery, Item, MoveReason, Position, ProfileChange, Progress, RequestNo};

/// A message in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The room.
    pub room: RoomId,
    /// Its identity and its place in the room.
    pub id: RequestId,
    /// Who wrote it.
    pub user: String,
    /// A media type; empty where the body is gone.
    pub content_type: String,
    /// The content, as written.
    pub content: Bytes,
    /// Whether the body is gone (redacted, expired).
    pub body_gone: bool,
    /// When it goes, ms since the Unix epoch; `None`: never. No event says so then: see
    /// [`crate::timeline::Timeline::expire`].
    pub expires_ms: Option<u64>,
    /// Hash of the body, as the author gave it.
    pub body_hash: Bytes,
    /// The message that this one answers.
    pub reply_to: Option<RequestId>,
    /// Users whom it names.
    pub mentions: Vec<String>,
    pub(super) covers: Covers,
}

impl Message {
    /// The acceptance through which it came; `None` in history and in the page after a gap.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Direction, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let stored = ann.send(room, "text/plain", "noodles?")?.stored().await?;
    /// # let message = causeway_tests::until_message(&ann, "noodles?").await?;
    /// assert_eq!(message.dot(), Some(stored.dot));
    /// # Ok(()) });
    /// ```
    pub fn dot(&self) -> Option<Dot> {
        match self.covers {
            Covers::Dot(dot, _) => Some(dot),
            _ => None,
        }
    }
}

/// Something else that somebody did in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The room.
    pub room: RoomId,
    /// Its identity and its place in the room.
    pub id: RequestId,
    /// Who did it.
    pub user: String,
    /// What.
    pub kind: ChangeKind,
    /// With a kick, a ban, a role below the one before, and an erasure: what the accepting site had. What the user in question did
    /// beyond it, at sites that did not know of it, is hidden. `None` in history.
    pub past: Option<Vector>,
    pub(super) covers: Covers,
}

impl Change {
    /// The acceptance through which it came; `None` in history and in the page after a gap.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{ChangeKind, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let stored = ann.set_name(room, "dinner")?.stored().await?;
    /// while let Some(event) = ann.next_event().await {
    ///     let Event::Change(change) = event else { continue };
    ///     if change.kind == ChangeKind::Renamed("dinner".to_owned()) {
    ///         assert_eq!(change.dot(), Some(stored.dot));
    ///         break;
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub fn dot(&self) -> Option<Dot> {
        match self.covers {
            Covers::Dot(dot, _) => Some(dot),
            _ => None,
        }
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The room was made.
    Created {
        /// Its name.
        name: String,
        /// Whether anybody may join.
        open: bool,
        /// Whether who joins is a reader.
        channel: bool,
        /// Of a direct room: the user whom its maker made it with.
        direct: Option<String>,
    },
    /// It has another name.
    Renamed(String),
    /// The user joined.
    Joined,
    /// The user left.
    Left,
    /// The user invited this one.
    Invited(String),
    /// The user left, and took away all that the user wrote: contents of messages and edits.
    Erased,
    /// The user asks to be let in: an invitation says yes.
    Knocked,
    /// The user said no to this one, who asked to be let in.
    KnockDeclined(String),
    /// The user gave a message another content. It counts if the message is the user's own, and until an edit with a
    /// higher place, or a redaction, comes.
    Edited {
        /// The message.
        target: RequestId,
        /// A media type; empty where the body is gone.
        content_type: String,
        /// The content, as written.
        content: Bytes,
        /// Whether the body is gone: the message was redacted.
        body_gone: bool,
    },
    /// The user changed the room's profile: the fields that are there. Of two changes of one field the one with the higher
    /// id holds; [`crate::RoomView`] has what does.
    ProfileSet(ProfileChange),
    /// The user pinned a message.
    Pinned(RequestId),
    /// The user unpinned a message.
    Unpinned(RequestId),
    /// The user took a message's content away. It counts if the message is the author's.
    Redacted {
        /// The message.
        target: RequestId,
        /// Whose message it is, where a moderator did it; `None`: the user's own.
        author: Option<String>,
    },
    /// The user reacted to a message.
    Reacted {
        /// The message.
        target: RequestId,
        /// With what.
        symbol: String,
    },
    /// The user took a reaction back.
    Unreacted {
        /// The message.
        target: RequestId,
        /// Which.
        symbol: String,
    },
    /// The user gave this one a role; `None` for a number of a newer version.
    RoleSet {
        /// Who has it now.
        user: String,
        /// The role.
        role: Option<Role>,
    },
    /// The user ended this one's membership.
    Kicked {
        /// Whose.
        user: String,
        /// Why, in the user's words.
        reason: String,
    },
    /// The user keeps this one out.
    Banned {
        /// Whom.
        user: String,
        /// Why, in the user's words.
        reason: String,
        /// Until when, ms since the Unix epoch; 0: until somebody lifts it.
        until_ms: u64,
    },
    /// The user lifted this one's bans.
    BanLifted(String),
    /// Something that this version of the SDK does not know.
    Unknown,
}

/// More was missing than one page: the newest page follows, history fills the rest.
///
/// # Example
/// ```
/// use causeway_client::{Direction, Event};
///
/// # causeway_tests::example(async |site| {
/// # let (ann, room) = site.ann_in_a_room().await?;
/// # for n in 0..2_499 { ann.send(room, "text/plain", format!("{n}"))?; }
/// # ann.send(room, "text/plain", "last")?.replicated().await?;
/// # let (ann, mut shown) = (site.connect("ann").await?, Vec::new());
/// # let gap = loop { if let Some(Event::Gap(gap)) = ann.next_event().await { break gap } };
/// # loop { match ann.next_event().await.expect("open") { Event::CaughtUp { .. } => break, event => shown.push(event) } }
/// // `shown` is the page that came with the gap. As the user scrolls up:
/// let mut from = shown.iter().filter_map(Event::id).min();
/// while from > gap.lowest {
///     let page = ann.history(room, from, Direction::Backward, 500).await?;
///     from = page.events.first().and_then(Event::id);
///     shown.extend(page.events);
/// }
/// # assert_eq!(shown.iter().filter(|event| matches!(event, Event::Message(_))).count(), 2_500);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// The room.
    pub room: RoomId,
    /// What the client had.
    pub from: Vector,
    /// What it has after the page.
    pub to: Vector,
    /// The lowest place among the missing; late arrivals can lie above older ones.
    pub lowest: Option<RequestId>,
    /// How many are left out, capped at 10,000; where `from` is empty, by the site's count of the room, hidden ones too.
    pub missing: u64,
}

/// What became of a request (with [`crate::Config::progress_events`]).
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressEvent {
    /// As [`crate::Handle::no`].
    pub no: RequestNo,
    /// The request's id now.
    pub id: RequestId,
    /// What.
    pub progress: Progress,
    /// Microseconds since it was sent.
    pub after_us: u64,
}

/// What a client hands to the application, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message, the user's own too. Each id once.
    Message(Message),
    /// Something else that somebody did in a room. Each id once.
    Change(Change),
    /// A room became visible.
    RoomOpened {
        /// The room.
        room: RoomId,
        /// Its name.
        name: String,
        /// Whether anybody may join.
        open: bool,
        /// Whether who joins is a reader.
        channel: bool,
        /// Of a direct room: the other user. It has no name.
        direct: Option<String>,
    },
    /// How a room stands in [`crate::Client::rooms`] may have changed without an event: the site has told it, after the
    /// room opened, after another session of the user has moved the read marker, or after a ban.
    RoomUpdated {
        /// The room.
        room: RoomId,
    },
    /// A room is visible no longer.
    RoomClosed {
        /// The room.
        room: RoomId,
    },
    /// [`crate::Client::invitations`] are others now.
    InvitationsChanged,
    /// Somebody else has begun to type in a room. Told once, until [`Event::TypingEnded`].
    Typing {
        /// The room.
        room: RoomId,
        /// Who.
        user: String,
    },
    /// Somebody types no longer: nothing was heard of it for 6 s, or the message has come, which is the next event then.
    TypingEnded {
        /// The room.
        room: RoomId,
        /// Who.
        user: String,
    },
    /// More was missing than one page.
    Gap(Gap),
    /// Everything of the room that the site has was handed out.
    CaughtUp {
        /// The room.
        room: RoomId,
        /// The cursor.
        vector: Vector,
    },
    /// The session has another home site. Nothing is to be done about it.
    Moved {
        /// The name of the site before; `None` at first.
        from: Option<String>,
        /// The name of the site now.
        to: String,
        /// Why the former was left.
        reason: MoveReason,
    },
    /// A site would not have the session at all.
    SessionRefused {
        /// The site's name.
        site: String,
        /// The code's number.
        code: u32,
        /// The site's words.
        detail: String,
    },
    /// What became of a request; only if asked for.
    Progress(ProgressEvent),
}

impl Event {
    /// The identity and the place of a message or a change; of what else there is, `None`. The last one of a page of history is
    /// where the next page begins.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # use causeway_client::{Direction, Event};
    /// # sent.stored().await?;
    /// let page = ann.history(room, None, Direction::Backward, 1).await?;
    /// assert_eq!(page.events[0].id(), Some(sent.id()));
    /// # Ok(()) });
    /// ```
    pub fn id(&self) -> Option<RequestId> {
        match self {
            Event::Message(message) => Some(message.id),
            Event::Change(change) => Some(change.id),
            _ => None,
        }
    }

    /// What a commit of it covers.
    pub(super) fn position(&self) -> Option<Position> {
        let (room, covers) = match self {
            Event::Message(message) => (message.room, message.covers.clone()),
            Event::Change(change) => (change.room, change.covers.clone()),
            Event::CaughtUp { room, vector } => (*room, Covers::Vector(vector.clone())),
            _ => return None,
        };
        Some(Position { room, covers })
    }
}

/// The application's view of a delivery.
pub(crate) fn of_delivery(delivery: Delivery) -> Event {
    let Position { room, covers } = delivery.position;
    match delivery.item {
        Item::Request { id, user, request, body, deadline_ms, past } => {
            of_request(room, covers, id, user, (request, body, deadline_ms, past))
        }
        Item::Opened { name, open, channel, direct } => Event::RoomOpened { room, name, open, channel, direct },
        Item::Summarised => Event::RoomUpdated { room },
        Item::Closed => Event::RoomClosed { room },
        Item::Gap { from, to, lowest, missing } => Event::Gap(Gap { room, from, to, lowest, missing }),
        Item::CaughtUp => {
            let vector = if let Covers::Vector(vector) = covers { vector } else { Vector::new() };
            Event::CaughtUp { room, vector }
        }
    }
}

fn of_request(
    room: RoomId,
    covers: Covers,
    id: RequestId,
    user: String,
    (request, body, deadline_ms, past): (wire::Request, Option<Bytes>, u64, Option<Vector>),
) -> Event {
    use wire::request::Kind;
    let kind = match request.kind {
        Some(Kind::Message(message)) => {
            let (content_type, content, body_gone) = content_of(body);
            let reply_to = message.reply_to.as_ref().map(RequestId::from_wire);
            let body_hash = request.body_hash;
            let mentions = message.mentions;
            let expires_ms = Some(deadline_ms).filter(|ms| *ms > 0);
            return Event::Message(Message {
                room,
                id,
                user,
                content_type,
                content,
                body_gone,
                expires_ms,
                body_hash,
                reply_to,
                mentions,
                covers,
            });
        }
        Some(Kind::Create(wire::Create { name, open, channel, direct })) => {
            ChangeKind::Created { name, open, channel, direct: Some(direct).filter(|with| !with.is_empty()) }
        }
        Some(Kind::SetProfile(wire::SetProfile { topic, avatar, open, writers, retention_ms, knock })) => {
            let writers = writers.and_then(Role::from_number);
            let retention = retention_ms.map(Duration::from_millis);
            ChangeKind::ProfileSet(ProfileChange { topic, avatar, open, writers, retention, knock })
        }
        Some(Kind::Pin(pin)) => ChangeKind::Pinned(place(pin.target)),
        Some(Kind::Erase(_)) => ChangeKind::Erased,
        Some(Kind::Knock(_)) => ChangeKind::Knocked,
        Some(Kind::Decline(decline)) => ChangeKind::KnockDeclined(decline.user),
        Some(Kind::Unpin(unpin)) => ChangeKind::Unpinned(place(unpin.target)),
        Some(Kind::SetName(set_name)) => ChangeKind::Renamed(set_name.name),
        Some(Kind::Join(_)) => ChangeKind::Joined,
        Some(Kind::Leave(_)) => ChangeKind::Left,
        Some(Kind::Invite(invite)) => ChangeKind::Invited(invite.user),
        Some(Kind::Edit(edit)) => {
            let (content_type, content, body_gone) = content_of(body);
            ChangeKind::Edited { target: place(edit.target), content_type, content, body_gone }
        }
        Some(Kind::Redact(wire::Redact { target, author })) => {
            ChangeKind::Redacted { target: place(target), author: Some(author).filter(|author| !author.is_empty()) }
        }
        Some(Kind::React(react)) => ChangeKind::Reacted { target: place(react.target), symbol: react.symbol },
        Some(Kind::Unreact(unreact)) => ChangeKind::Unreacted { target: place(unreact.target), symbol: unreact.symbol },
        Some(Kind::SetRole(wire::SetRole { user, role })) => {
            ChangeKind::RoleSet { user, role: Role::from_number(role) }
        }
        Some(Kind::Kick(wire::Kick { user, reason })) => ChangeKind::Kicked { user, reason },
        Some(Kind::Ban(wire::Ban { user, reason, until_ms })) => ChangeKind::Banned { user, reason, until_ms },
        Some(Kind::LiftBan(lift)) => ChangeKind::BanLifted(lift.user),
        None => ChangeKind::Unknown,
    };
    Event::Change(Change { room, id, user, kind, past, covers })
}

/// Content type, content, and whether there is none any more.
fn content_of(body: Option<Bytes>) -> (String, Bytes, bool) {
    let body = body.and_then(|body| wire::Body::decode(body).ok());
    let gone = body.is_none();
    let wire::Body { content_type, content, .. } = body.unwrap_or_default();
    (content_type, content, gone)
}

/// No site accepts a request without its target: should one come, it names no message.
fn place(target: Option<wire::RequestId>) -> RequestId {
    target.as_ref().map_or(RequestId::MIN, RequestId::from_wire)
}

/// The application's view of an event in a page of history; `None` if it makes no sense.
pub(crate) fn of_history(event: wire::Event) -> Option<Event> {
    let room = RoomId::from_wire(&event.room).ok()?;
    let request = wire::Request::decode(event.request).ok()?;
    let id = RequestId::from_wire(request.id.as_ref()?);
    Some(of_request(room, Covers::Nothing, id, event.user, (request, event.body, event.deadline_ms, None)))
}
