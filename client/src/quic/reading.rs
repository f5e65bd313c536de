//! What a client reads of its rooms, what the user has read, who types and who is there.

use causeway_protocol::{RequestId, RoomId, UserId};

use super::client::Client;
use super::history::{self, Direction, HistoryPage};
use super::members::{self, MembersPage, Presence, ReadBy};
use super::query::HistoryError;
use crate::machine::{Invitation, RoomView};

impl Client {
    /// A page of a room's history, from a place (exclusive), or from the end (backward) or the start (forward). Limit
    /// 1 to 500.
    ///
    /// # Errors
    /// The site refuses, or none answers.
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Direction, Event};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # for n in 0..5 { ann.send(room, "text/plain", format!("{n}"))?.stored().await?; }
    /// let (mut from, mut messages) = (None, Vec::new());
    /// loop {
    ///     let page = ann.history(room, from, Direction::Forward, 2).await?;
    ///     for event in page.events {
    ///         from = event.id();
    ///         if let Event::Message(message) = event { messages.push(message) }
    ///     }
    ///     if !page.more { break }
    /// }
    /// # assert_eq!(messages.len(), 5);
    /// # Ok(()) });
    /// ```
    pub async fn history(
        &self,
        room: RoomId,
        from: Option<RequestId>,
        direction: Direction,
        limit: u32,
    ) -> Result<HistoryPage, HistoryError> {
        history::fetch(self.inner.shared.home.subscribe(), room, from, direction, limit).await
    }

    /// Messages of a room that the user has not read, capped at 100, as the home site counts them now.
    ///
    /// # Errors
    /// As [`Client::history`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// ann.send(room, "text/plain", "noodles?")?.stored().await?;
    /// assert_eq!(bob.unread(room).await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn unread(&self, room: RoomId) -> Result<u64, HistoryError> {
        Ok(self.history(room, None, Direction::Backward, 1).await?.unread)
    }

    /// The user has read everything of a room that was handed out so far; it is marked unread no longer.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// # ann.send(room, "text/plain", "noodles?")?;
    /// # causeway_tests::until_message(&bob, "noodles?").await?;
    /// bob.mark_read(room);
    /// assert_eq!(bob.rooms()[0].unread, 0);
    /// # Ok(()) });
    /// ```
    pub fn mark_read(&self, room: RoomId) {
        self.inner.shared.state().machine.mark_read(self.inner.shared.clock.now(), room);
        self.inner.shared.driver.wake();
    }

    /// Marks a room unread, whatever has been read of it, for the user to come back to: [`RoomView::marked_unread`] says so on
    /// all the user's devices until [`Client::mark_read`] on one of them. No message counts as unread by it, and nobody else
    /// is told. Where two devices disagree, who said it last is right.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let (phone, desk) = (site.connect("ann").await?, site.connect("ann").await?);
    /// # for device in [&phone, &desk] { causeway_tests::until(device, || !device.rooms().is_empty()).await?; }
    /// phone.mark_unread(room);
    /// # causeway_tests::until(&desk, || desk.rooms()[0].marked_unread).await?;
    /// assert!(desk.rooms()[0].marked_unread);
    /// desk.mark_read(room);
    /// # causeway_tests::until(&phone, || !phone.rooms()[0].marked_unread).await?;
    /// assert!(!phone.rooms()[0].marked_unread);
    /// # Ok(()) });
    /// ```
    pub fn mark_unread(&self, room: RoomId) {
        self.inner.shared.state().machine.mark_unread(self.inner.shared.clock.now(), room);
        self.inner.shared.driver.wake();
    }

    /// The user's rooms, the one with the newest message first: from memory, as the home site has told them and as the
    /// events that followed changed them. [`crate::Event::RoomUpdated`] says where counts changed without an event.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// ann.send(room, "text/plain", "noodles?")?;
    /// # causeway_tests::until(&bob, || bob.rooms()[0].unread == 1).await?;
    /// for room in bob.rooms() {
    ///     let last = room.last.map_or_else(String::new, |last| String::from_utf8_lossy(&last.content).into());
    ///     assert_eq!((room.name.as_str(), room.unread, last.as_str()), ("lunch", 1, "noodles?"));
    /// }
    /// # Ok(()) });
    /// ```
    pub fn rooms(&self) -> Vec<RoomView> {
        self.inner.shared.state().machine.rooms(self.inner.shared.clock.now())
    }

    /// The rooms that the user is invited to and not in, the newest invitation first, as the home site told last;
    /// [`crate::Event::InvitationsChanged`] says that there are others. [`Client::join`] accepts one, [`Client::leave`] declines
    /// it.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Event, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob) = (site.connect("ann").await?, site.connect("bob").await?);
    /// # let (room, _) = ann.create_room("surprise", false)?;
    /// ann.invite(room, UserId::new("bob")?)?.stored().await?;
    /// # causeway_tests::until(&bob, || !bob.invitations().is_empty()).await?;
    /// for invitation in bob.invitations() {
    ///     println!("{} invites to {}", invitation.by, invitation.name);
    ///     bob.join(invitation.room)?.stored().await?;
    /// }
    /// # Ok(()) });
    /// ```
    pub fn invitations(&self) -> Vec<Invitation> {
        self.inner.shared.state().machine.invitations().to_vec()
    }

    /// A page of a room's members by name, of those above `after` or from the first. Limit 1 to 500.
    ///
    /// # Errors
    /// As [`Client::history`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let page = ann.members(room, None, 1).await?;
    /// assert_eq!(page.members[0].user, "ann");
    /// let page = ann.members(room, page.next.as_ref(), 1).await?;
    /// assert_eq!(page.members[0].user, "bob");
    /// # Ok(()) });
    /// ```
    pub async fn members(&self, room: RoomId, after: Option<&UserId>, limit: u32) -> Result<MembersPage, HistoryError> {
        members::members(self.inner.shared.home.subscribe(), room, after, limit).await
    }

    /// Who has read a message, and how many members have not: see [`ReadBy`].
    ///
    /// # Errors
    /// As [`Client::history`]; unknown messages are refused as malformed.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # sent.stored().await?;
    /// assert_eq!(ann.read_by(room, sent.id()).await?.unread, 1);
    /// # causeway_tests::until_message(&bob, "noodles?").await?;
    /// bob.mark_read(room);
    /// # while ann.read_by(room, sent.id()).await?.unread > 0 {}
    /// assert_eq!(ann.read_by(room, sent.id()).await?.readers, ["bob"]);
    /// # Ok(()) });
    /// ```
    pub async fn read_by(&self, room: RoomId, id: RequestId) -> Result<ReadBy, HistoryError> {
        members::read_by(self.inner.shared.home.subscribe(), room, id).await
    }

    /// How many members have not read each of these messages, at most 100: what some messengers show beside each. Those
    /// that the site does not have are left out. `None` where the room has more than 500 members: many.
    ///
    /// # Errors
    /// As [`Client::history`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # sent.stored().await?;
    /// let counts = ann.unread_by(room, &[sent.id()]).await?;
    /// assert_eq!(counts, Some(vec![(sent.id(), 1)]));
    /// # Ok(()) });
    /// ```
    pub async fn unread_by(
        &self,
        room: RoomId,
        ids: &[RequestId],
    ) -> Result<Option<Vec<(RequestId, u32)>>, HistoryError> {
        members::unread_by(self.inner.shared.home.subscribe(), room, ids).await
    }

    /// The user is typing in a room: to be called with every key, for a site is told no more than once in 3 s. Others hear
    /// of it by [`crate::Event::Typing`], if they are members and it does not get lost. Nothing is told with
    /// [`crate::Config::presence`] off, nor where the user may write no messages.
    ///
    /// # Example
    /// ```
    /// use causeway_client::Event;
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// ann.typing(room);
    /// while let Some(event) = bob.next_event().await {
    ///     if let Event::Typing { user, .. } = event {
    ///         assert_eq!(user, "ann");
    ///         break;
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub fn typing(&self, room: RoomId) {
        self.inner.shared.state().machine.say_typing_in(self.inner.shared.clock.now(), room);
        self.inner.shared.driver.wake();
    }

    /// Whether the user looks at the application at all, for [`Client::presence`] of others. At first somebody does.
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Presence, UserId};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let users = [UserId::new("bob")?];
    /// bob.set_away(true);
    /// # while ann.presence(room, &users).await?[0].1 != Presence::Away {}
    /// assert_eq!(ann.presence(room, &users).await?[0].1, Presence::Away);
    /// # Ok(()) });
    /// ```
    pub fn set_away(&self, away: bool) {
        self.inner.shared.state().machine.set_away(self.inner.shared.clock.now(), away);
        self.inner.shared.driver.wake();
    }

    /// How lately members of a room were there, at most 100 of them, as the home site has heard. Who is no member is left
    /// out. To be asked again from time to time, of those whom the application shows.
    ///
    /// # Errors
    /// As [`Client::history`]; a site that has presence off refuses as not permitted.
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Presence, UserId};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let users = [UserId::new("bob")?, UserId::new("nobody")?];
    /// # while ann.presence(room, &users).await?[0].1 != Presence::Online {}
    /// let told = ann.presence(room, &users).await?;
    /// assert_eq!(told, [("bob".to_owned(), Presence::Online)]);
    /// # Ok(()) });
    /// ```
    pub async fn presence(&self, room: RoomId, users: &[UserId]) -> Result<Vec<(String, Presence)>, HistoryError> {
        members::presence(self.inner.shared.home.subscribe(), room, users).await
    }
}
