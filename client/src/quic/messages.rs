//! Messages, and what is done to them: what a client asks for.

use std::time::Duration;

use causeway_protocol::{Bytes, RequestId, RoomId, UserId};

use super::client::Client;
use super::draft::Draft;
use super::handle::Handle;
use crate::machine::{SendError, Wish};

impl Client {
    /// Sends a message with whatever else it has: what it answers, whom it names.
    ///
    /// # Errors
    /// As [`Client::create_room`], more than 16 mentions, and a lifetime that is out of bounds.
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Draft, UserId};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let question = ann.send(room, "text/plain", "who eats noodles?")?;
    /// let draft = Draft::text("you, @bob?").reply_to(question.id()).mention(UserId::new("bob")?);
    /// ann.post(room, draft)?.stored().await?;
    /// # causeway_tests::until(&bob, || bob.rooms()[0].unread == 2).await?;
    /// assert_eq!(bob.rooms()[0].mentions, 1);
    /// # Ok(()) });
    /// ```
    pub fn post(&self, room: RoomId, draft: Draft) -> Result<Handle, SendError> {
        let Draft { content_type, content, reply_to, mentions, lifetime } = draft;
        let lifetime_ms = lifetime.map_or(0, whole_ms);
        self.wish(room, Wish::Message { content_type, content, salt: salt()?, reply_to, mentions, lifetime_ms })
    }

    /// Sends a message. It is in the outbox when this returns.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let handle = ann.send(room, "text/plain", "noodles?")?;
    /// println!("fsynced at site {}", handle.stored().await?.site);
    /// println!("as safe as the cluster makes it: {:?}", handle.replicated().await?);
    /// # Ok(()) });
    /// ```
    pub fn send(&self, room: RoomId, content_type: &str, content: impl Into<Bytes>) -> Result<Handle, SendError> {
        self.post(room, Draft::new(content_type, content))
    }

    /// Sends a message that answers another one.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Event;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let question = ann.send(room, "text/plain", "noodles?")?;
    /// let answer = ann.reply(room, question.id(), "text/plain", "soup.")?;
    /// answer.stored().await?;
    /// # let shown = causeway_tests::until_message(&ann, "soup.").await?;
    /// assert_eq!(shown.reply_to, Some(question.id()));
    /// # Ok(()) });
    /// ```
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
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Direction, timeline::Timeline};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let sent = ann.send(room, "text/plain", "nodles?")?;
    /// ann.edit(room, sent.id(), "text/plain", "noodles?")?.stored().await?;
    /// # let mut timeline = Timeline::new(10);
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # page.events.iter().for_each(|event| _ = timeline.see(event));
    /// # let content = timeline.get(sent.id()).map(|entry| format!("{:?}", entry.content()));
    /// # assert!(content.is_some_and(|content| content.contains("\"noodles?\"") && content.contains("edited: true")));
    /// # Ok(()) });
    /// ```
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

    /// Takes the content of an own message away, and of its edits, at every site and for good. Its place stays.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Direction, Event};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let sent = ann.send(room, "text/plain", "my password is 1234")?;
    /// ann.redact(room, sent.id())?.stored().await?;
    /// let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// let gone = |event: &Event| matches!(event, Event::Message(message) if message.body_gone);
    /// assert!(page.events.iter().any(gone));
    /// # Ok(()) });
    /// ```
    pub fn redact(&self, room: RoomId, target: RequestId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Redact(target))
    }

    /// As [`Client::redact`], somebody else's message: for moderators, where their role is above the author's.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Direction, Event, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let spam = bob.send(room, "text/plain", "buy this")?;
    /// spam.stored().await?;
    /// ann.redact_of(room, spam.id(), UserId::new("bob")?)?.stored().await?;
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # assert!(page.events.iter().any(|event| matches!(event, Event::Message(message) if message.body_gone)));
    /// # Ok(()) });
    /// ```
    pub fn redact_of(&self, room: RoomId, target: RequestId, author: UserId) -> Result<Handle, SendError> {
        self.wish(room, Wish::RedactOf(target, author))
    }

    /// Reacts to a message with a symbol: an emoji, or a name that the application knows, of 1 to 64 bytes. Once per
    /// user and symbol, however often it is sent.
    ///
    /// # Errors
    /// As [`Client::create_room`], and a symbol that cannot be one.
    ///
    /// # Example
    /// ```
    /// use causeway_client::{ChangeKind, Event};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let sent = ann.send(room, "text/plain", "noodles?")?;
    /// sent.stored().await?;
    /// bob.react(room, sent.id(), "👍")?.stored().await?;
    /// while let Some(event) = ann.next_event().await {
    ///     let Event::Change(change) = event else { continue };
    ///     let ChangeKind::Reacted { target, symbol } = change.kind else { continue };
    ///     assert_eq!((change.user.as_str(), target, symbol.as_str()), ("bob", sent.id(), "👍"));
    ///     break;
    /// }
    /// # Ok(()) });
    /// ```
    pub fn react(&self, room: RoomId, target: RequestId, symbol: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::React(target, symbol.to_owned()))
    }

    /// Takes a reaction back. One that another device of the user sends meanwhile stays.
    ///
    /// # Errors
    /// As [`Client::react`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let sent = ann.send(room, "text/plain", "noodles?")?;
    /// ann.react(room, sent.id(), "👍")?;
    /// ann.unreact(room, sent.id(), "👍")?.stored().await?;
    /// # use causeway_client::{Direction, timeline::Timeline};
    /// # let mut timeline = Timeline::new(10);
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # page.events.iter().for_each(|event| _ = timeline.see(event));
    /// # assert!(timeline.get(sent.id()).is_some_and(|entry| entry.reactions().is_empty()));
    /// # Ok(()) });
    /// ```
    pub fn unreact(&self, room: RoomId, target: RequestId, symbol: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::Unreact(target, symbol.to_owned()))
    }

    /// Pins a message, so that members find it: for moderators, and for both in a direct room. A room has at most 50.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let rules = ann.send(room, "text/plain", "be kind")?;
    /// ann.pin(room, rules.id())?.stored().await?;
    /// # causeway_tests::until(&ann, || !ann.rooms()[0].pins.is_empty()).await?;
    /// assert_eq!(ann.rooms()[0].pins, [rules.id()]);
    /// # Ok(()) });
    /// ```
    pub fn pin(&self, room: RoomId, target: RequestId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Pin(target))
    }

    /// Unpins it.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let rules = ann.send(room, "text/plain", "be kind")?;
    /// ann.pin(room, rules.id())?.stored().await?;
    /// ann.unpin(room, rules.id())?.stored().await?;
    /// # use causeway_client::{ChangeKind, Event};
    /// # while !matches!(ann.next_event().await, Some(Event::Change(c)) if c.kind == ChangeKind::Unpinned(rules.id())) {}
    /// # causeway_tests::until(&ann, || ann.rooms()[0].pins.is_empty()).await?;
    /// assert!(ann.rooms()[0].pins.is_empty());
    /// # Ok(()) });
    /// ```
    pub fn unpin(&self, room: RoomId, target: RequestId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Unpin(target))
    }
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
