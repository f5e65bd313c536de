//! The list of rooms: what a site tells of each once, kept up by the events that follow.

use std::time::Duration;

use causeway_protocol::{
    Bytes, Dot, Marker, RequestId, Role, RoomId, Stamp, UnreadFlag, Vector, limits, preview, wire,
};
use prost::Message;
use wire::request::Kind;

use super::io::LinkId;

/// A room as a list of rooms shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// The room.
    pub room: RoomId,
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// Its avatar: a reference that the application knows.
    pub avatar: String,
    /// Whether anybody may join.
    pub open: bool,
    /// The least role that writes messages; `None` for a number of a newer version.
    pub writers: Option<Role>,
    /// How long bodies of new messages are kept; `None`: for good.
    pub retention: Option<Duration>,
    /// Whether who may not join may ask to be let in.
    pub knock: bool,
    /// Who asks to be let in, by name, as the home site told last: the first 50.
    pub knocks: Vec<String>,
    /// Pinned messages, by their places, as the home site told last.
    pub pins: Vec<RequestId>,
    /// Whether who joins is a reader.
    pub channel: bool,
    /// Of a direct room: the other user. It has no name.
    pub direct: Option<String>,
    /// Whether the home site shows it. It does not where it has not heard of the room, or of the membership, yet; and
    /// where the membership ended while the client was away.
    pub served: bool,
    /// When it was made; 0 where that is not known.
    pub made: Stamp,
    /// Its newest message, if there is one.
    pub last: Option<Preview>,
    /// Messages by others that the user has not read; 100 stands for more, too.
    pub unread: u64,
    /// Of these, those that name the user.
    pub mentions: u64,
    /// What the user has read, as the home site told and this client added.
    pub read: Vector,
    /// Whether the user has marked it unread, and not read it since: to be shown among the unread rooms whatever the counts.
    pub marked_unread: bool,
}

/// A message as a list of rooms shows it: with its author's last edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its identity and its place in the room.
    pub id: RequestId,
    /// Who wrote it.
    pub user: String,
    /// A media type; empty where the body is gone.
    pub content_type: String,
    /// The first 256 bytes of the content.
    pub content: Bytes,
    /// Whether the body is gone (redacted, expired).
    pub body_gone: bool,
    /// When it goes, ms since the Unix epoch; `None`: never.
    pub expires_ms: Option<u64>,
    /// The edit that it shows.
    pub edit: Option<RequestId>,
}

/// Sites tell of no more who ask to be let in.
const KNOCKS_TOLD: usize = 50;

/// A body as it came.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    /// Encoded; `None` where it is gone.
    pub body: Option<&'a Bytes>,
    /// When it goes, ms since the Unix epoch; 0: never.
    pub deadline_ms: u64,
}

/// A field of a room, with the request that set it: of two the one with the higher id holds.
#[derive(Default)]
struct Field<T> {
    value: T,
    by: Option<RequestId>,
}

impl<T> Field<T> {
    fn of(value: T, by: Option<&wire::RequestId>) -> Self {
        Self { value, by: by.map(RequestId::from_wire) }
    }

    fn set(&mut self, value: T, by: RequestId) {
        if Some(by) >= self.by {
            *self = Self { value, by: Some(by) };
        }
    }

    /// By a site, which may not know yet what was set here.
    fn told(&mut self, value: T, by: Option<&wire::RequestId>) {
        let by = by.map(RequestId::from_wire);
        if by >= self.by {
            *self = Self { value, by };
        }
    }
}

/// A room in the list.
pub(super) struct Listed {
    /// The connection whose site showed it last.
    by: LinkId,
    name: Field<String>,
    topic: Field<String>,
    avatar: Field<String>,
    open: Field<bool>,
    writers: Field<u32>,
    retention_ms: Field<u64>,
    knock: Field<bool>,
    knocks: Vec<String>,
    pins: Vec<RequestId>,
    channel: bool,
    direct: String,
    made: Stamp,
    /// What the last summary held.
    upto: Vector,
    /// What is known here: the last summary and the events that followed.
    held: Vector,
    /// What the user has read; `None` until the site has told.
    marker: Option<Marker>,
    last: Option<Preview>,
    /// Through which acceptance the newest message came, where it came as an event.
    last_dot: Option<Dot>,
    unread: u64,
    mentions: u64,
    /// Of the messages whose edit or redaction is here, and which are newer than the newest here: the newest.
    early: Option<RequestId>,
    /// The site has been asked to tell anew.
    asked: bool,
}

impl Listed {
    pub(super) fn opened(by: LinkId, opened: &wire::RoomOpened) -> Self {
        Self {
            by,
            name: Field::of(opened.name.clone(), opened.named.as_ref()),
            topic: Field::default(),
            avatar: Field::default(),
            open: Field::of(opened.open, None),
            writers: Field::of(Role::Member.number(), None),
            retention_ms: Field::default(),
            knock: Field::default(),
            knocks: Vec::new(),
            pins: Vec::new(),
            channel: opened.channel,
            direct: opened.direct.clone(),
            made: Stamp(0),
            upto: Vector::new(),
            held: Vector::new(),
            marker: None,
            last: None,
            last_dot: None,
            unread: 0,
            mentions: 0,
            early: None,
            asked: false,
        }
    }

    /// The site showed it anew: what it does not know yet stays. A question is answered by the summary that follows, not yet.
    pub(super) fn opened_again(&mut self, by: LinkId, opened: &wire::RoomOpened) {
        (self.by, self.channel) = (by, opened.channel);
        self.name.told(opened.name.clone(), opened.named.as_ref());
    }

    /// As it was, for another home.
    pub(super) fn unchanged(&mut self, by: LinkId) {
        (self.by, self.asked) = (by, false);
    }

    pub(super) fn summarise(&mut self, summary: &wire::RoomSummary, upto: Vector, told: Marker) {
        self.made = Stamp(summary.made);
        self.name.told(summary.name.clone(), summary.named.as_ref());
        if let Some(profile) = &summary.profile {
            self.topic.told(profile.topic.clone(), profile.topic_by.as_ref());
            self.avatar.told(profile.avatar.clone(), profile.avatar_by.as_ref());
            self.open.told(profile.open, profile.open_by.as_ref());
            self.writers.told(profile.writers, profile.writers_by.as_ref());
            self.retention_ms.told(profile.retention_ms, profile.retention_by.as_ref());
            self.knock.told(profile.knock, profile.knock_by.as_ref());
        }
        self.knocks.clone_from(&summary.knocks);
        self.pins = summary.pins.iter().map(RequestId::from_wire).collect();
        (self.unread, self.mentions, self.asked) = (summary.unread, summary.mentions, false);
        let last = summary.last.as_ref().map(Preview::of_wire);
        // What a dead site told and nobody else holds yet has been shown, and stays.
        let is_ahead = self.last_dot.is_some_and(|dot| !upto.covers(&dot));
        let place = |last: &Option<Preview>| last.as_ref().map(|last| last.id);
        if !is_ahead || place(&last) > place(&self.last) {
            (self.last, self.last_dot) = (last, None);
        }
        self.early = self.early.filter(|early| Some(*early) > place(&self.last));
        self.held.clone_from(&upto);
        self.upto = upto;
        // What was marked here, or told by a site that is gone, and is newer, stays.
        let flag = self.flag().max(told.flag);
        self.marker = Some(Marker { flag, ..told });
    }

    /// For a hello: of the summary that what is here amounts to. 0, so that a site tells anew, where a question was not
    /// answered.
    pub(super) fn fingerprint(&self) -> u64 {
        self.marker.as_ref().filter(|_| !self.asked).map_or(0, |marker| marker.fingerprint(&self.held))
    }

    /// The flag by which the room is marked unread, as far as it is known here.
    pub(super) fn flag(&self) -> UnreadFlag {
        self.marker.as_ref().map(|marker| marker.flag).unwrap_or_default()
    }

    /// Whether reading the room has to take the flag away.
    pub(super) fn may_be_marked_unread(&self) -> bool {
        self.marker.as_ref().is_none_or(|marker| marker.flag.unread)
    }

    /// The user marks the room unread, or no longer.
    pub(super) fn set_flag(&mut self, flag: UnreadFlag) {
        if let Some(marker) = &mut self.marker {
            marker.flag = flag;
        }
    }

    /// The user has read all of this. Where the counts hold messages that are still on their way here, the site tells
    /// what is left; it tells nothing where none is.
    pub(super) fn read(&mut self, vector: &Vector) {
        if let Some(marker) = &mut self.marker
            && vector.covers_all(&self.upto)
        {
            marker.read.join(vector);
            (self.unread, self.mentions) = (0, 0);
        }
    }

    /// Whether the site is to be asked to tell anew, since what is here may be wrong; it is asked once.
    pub(super) fn asks(&mut self) -> bool {
        self.marker.is_some() && !std::mem::replace(&mut self.asked, true)
    }

    /// Whether a request that was shown before came through an acceptance that the counts do not hold.
    pub(super) fn is_unsure_of(&self, dot: &Dot) -> bool {
        !self.upto.covers(dot)
    }

    /// A request that was delivered, once. Whether what is here may be wrong after it: its newest message has been
    /// changed by what came before it and is not here, and which pins and knocks a removal has seen is the site's to say.
    pub(super) fn note(
        &mut self,
        me: &str,
        dot: Dot,
        id: RequestId,
        (by, request, body): (&str, &wire::Request, Told<'_>),
    ) -> bool {
        self.held.raise(dot);
        let mut may_be_wrong = false;
        let newest = self.last.as_ref().map(|last| last.id);
        match &request.kind {
            Some(Kind::Message(message)) => {
                if Some(id) > newest && !self.upto.covers(&dot) {
                    self.last = Some(Preview::of_body(id, by, body, None));
                    self.last_dot = Some(dot);
                    may_be_wrong = self.early >= Some(id);
                }
                let is_read = self.marker.as_ref().is_none_or(|marker| marker.read.covers(&dot));
                if by != me && !is_read && !self.upto.covers(&dot) && self.unread < limits::UNREAD_MAX {
                    self.unread += 1;
                    self.mentions += u64::from(message.mentions.iter().any(|name| name == me));
                }
            }
            Some(Kind::Edit(edit)) => {
                let target = edit.target.as_ref().map(RequestId::from_wire);
                self.early = self.early.max(target.filter(|target| Some(*target) > newest));
                if let Some(last) = self.last.as_mut().filter(|last| Some(last.id) == target && last.user == by)
                    && last.edit.is_none_or(|shown| id > shown)
                    && !last.body_gone
                {
                    *last = Preview::of_body(last.id, by, body, Some(id));
                    self.last_dot = Some(dot);
                }
            }
            Some(Kind::Redact(redact)) => {
                let target = redact.target.as_ref().map(RequestId::from_wire);
                self.early = self.early.max(target.filter(|target| Some(*target) > newest));
                let author = if redact.author.is_empty() { by } else { redact.author.as_str() };
                if let Some(last) = self.last.as_mut().filter(|last| Some(last.id) == target && last.user == author) {
                    let by = last.user.clone();
                    *last = Preview::of_body(last.id, &by, Told { body: None, deadline_ms: 0 }, None);
                    self.last_dot = Some(dot);
                }
            }
            Some(Kind::SetName(set)) => self.name.set(set.name.clone(), id),
            Some(Kind::SetProfile(set)) => {
                set.topic.iter().for_each(|topic| self.topic.set(topic.clone(), id));
                set.avatar.iter().for_each(|avatar| self.avatar.set(avatar.clone(), id));
                set.open.iter().for_each(|open| self.open.set(*open, id));
                set.writers.iter().for_each(|writers| self.writers.set(*writers, id));
                set.retention_ms.iter().for_each(|ms| self.retention_ms.set(*ms, id));
                set.knock.iter().for_each(|knock| self.knock.set(*knock, id));
            }
            Some(Kind::Pin(_) | Kind::Unpin(_) | Kind::Knock(_) | Kind::Decline(_)) => may_be_wrong = true,
            Some(Kind::Erase(_)) => {
                may_be_wrong = true;
                if let Some(last) = self.last.as_mut().filter(|last| last.user == by) {
                    *last = Preview::of_body(last.id, by, Told { body: None, deadline_ms: 0 }, None);
                    self.last_dot = Some(dot);
                }
            }
            Some(Kind::Join(_) | Kind::Leave(_)) => may_be_wrong = self.is_knocking(by),
            Some(
                Kind::Invite(wire::Invite { user })
                | Kind::Kick(wire::Kick { user, .. })
                | Kind::Ban(wire::Ban { user, .. }),
            ) => may_be_wrong = self.is_knocking(user),
            _ => {}
        }
        may_be_wrong
    }

    /// Whether somebody asks to be let in, or may be among those that are not told.
    fn is_knocking(&self, user: &str) -> bool {
        self.knocks.len() >= KNOCKS_TOLD || self.knocks.iter().any(|asks| asks == user)
    }

    pub(super) fn view(&self, room: RoomId, home: Option<LinkId>, clock_ms: u64) -> RoomView {
        let last = self.last.clone().map(|last| last.at(clock_ms));
        RoomView {
            room,
            name: self.name.value.clone(),
            topic: self.topic.value.clone(),
            avatar: self.avatar.value.clone(),
            open: self.open.value,
            writers: Role::from_number(self.writers.value),
            retention: Some(self.retention_ms.value).filter(|ms| *ms > 0).map(Duration::from_millis),
            knock: self.knock.value,
            knocks: self.knocks.clone(),
            pins: self.pins.clone(),
            channel: self.channel,
            direct: Some(self.direct.clone()).filter(|with| !with.is_empty()),
            served: home == Some(self.by),
            made: self.made,
            last,
            unread: self.unread,
            mentions: self.mentions,
            read: self.marker.as_ref().map(|marker| marker.read.clone()).unwrap_or_default(),
            marked_unread: self.flag().unread,
        }
    }
}

impl RoomView {
    /// By which lists of rooms are ordered, the greatest first: the place of the newest message; where there is none, when
    /// the room was made.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let (other, made) = ann.create_room("dinner", true)?;
    /// # made.stored().await?;
    /// # causeway_tests::until(&ann, || ann.rooms().len() == 2).await?;
    /// let rooms = ann.rooms();
    /// assert!(rooms[0].place() >= rooms[1].place());
    /// # Ok(()) });
    /// ```
    pub fn place(&self) -> (Stamp, Option<RequestId>) {
        let last = self.last.as_ref().map(|last| last.id);
        (last.map_or(self.made, |id| id.stamp), last)
    }
}

impl Preview {
    fn of_wire(w: &wire::Preview) -> Self {
        Self {
            id: w.id.as_ref().map_or(RequestId::MIN, RequestId::from_wire),
            user: w.user.clone(),
            content_type: w.content_type.clone(),
            content: w.content.clone(),
            body_gone: w.body_gone,
            expires_ms: Some(w.deadline_ms).filter(|ms| *ms > 0),
            edit: w.edit.as_ref().map(RequestId::from_wire),
        }
    }

    fn of_body(id: RequestId, user: &str, told: Told<'_>, edit: Option<RequestId>) -> Self {
        let expires_ms = Some(told.deadline_ms).filter(|ms| *ms > 0);
        let body = told.body.and_then(|body| wire::Body::decode(body.clone()).ok());
        let body_gone = body.is_none();
        let wire::Body { content_type, content, .. } = body.unwrap_or_default();
        let content = preview(&content);
        Self { id, user: user.to_owned(), content_type, content, body_gone, expires_ms, edit }
    }

    /// As it is by a clock: its body may have gone.
    fn at(self, clock_ms: u64) -> Self {
        match self.expires_ms {
            Some(expires_ms) if expires_ms <= clock_ms => {
                Self { content_type: String::new(), content: Bytes::new(), body_gone: true, ..self }
            }
            _ => self,
        }
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
