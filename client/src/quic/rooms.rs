//! Rooms and who is in them: what a client asks for.

use std::time::{SystemTime, UNIX_EPOCH};

use causeway_protocol::{Role, RoomId, UserId};

use super::client::Client;
use super::handle::Handle;
use crate::machine::{ProfileChange, SendError, Wish};

impl Client {
    /// Makes a room. Its id is known at once; requests in it may be sent at once.
    ///
    /// # Errors
    /// Nothing was sent: the outbox is full or cannot be saved, the name is too long, the client closed.
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let ann = site.connect("ann").await?;
    /// let (room, made) = ann.create_room("lunch", true)?;
    /// ann.send(room, "text/plain", "noodles?")?.stored().await?;
    /// assert!(made.is_stored().is_some());
    /// # Ok(()) });
    /// ```
    pub fn create_room(&self, name: &str, open: bool) -> Result<(RoomId, Handle), SendError> {
        self.create(|machine, now| machine.create_room(now, name, open))
    }

    /// Makes a broadcast channel: a room in which who joins reads, and whom somebody gave a role writes.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Code;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob) = (site.connect("ann").await?, site.connect("bob").await?);
    /// let (news, made) = ann.create_channel("news", true)?;
    /// made.stored().await?;
    /// bob.join(news)?.stored().await?;
    /// let refusal = bob.send(news, "text/plain", "me too")?.stored().await.unwrap_err();
    /// assert_eq!(refusal.code, Code::NotPermitted.number());
    /// # Ok(()) });
    /// ```
    pub fn create_channel(&self, name: &str, open: bool) -> Result<(RoomId, Handle), SendError> {
        self.create(|machine, now| machine.create_channel(now, name, open))
    }

    /// Makes the direct room with another user, or makes sure that it is there: its id follows from the two, so that both can
    /// make it, at different sites at the same time, and it is one room. Both are members at once. It has no name, no roles
    /// and no further members; who leaves it comes back when one of the two makes it again.
    ///
    /// # Errors
    /// As [`Client::create_room`]; and where the other user is this one.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::UserId;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob) = (site.connect("ann").await?, site.connect("bob").await?);
    /// let (room, _) = ann.create_direct(&UserId::new("bob")?)?;
    /// let (same, _) = bob.create_direct(&UserId::new("ann")?)?;
    /// assert_eq!(room, same);
    /// ann.send(room, "text/plain", "only for you")?.stored().await?;
    /// # Ok(()) });
    /// ```
    pub fn create_direct(&self, with: &UserId) -> Result<(RoomId, Handle), SendError> {
        self.create(|machine, now| machine.create_direct(now, with))
    }

    /// Changes what a room says of itself, and whom it lets in and write: the fields that are there. Topic and avatar are for
    /// whom the name is for, who may join and who writes for admins.
    ///
    /// # Errors
    /// As [`Client::create_room`]; and where no field is named.
    ///
    /// # Example
    /// ```
    /// use causeway_client::{ProfileChange, Role};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// let topic = Some("who eats what".to_owned());
    /// let change = ProfileChange { topic, writers: Some(Role::Moderator), ..Default::default() };
    /// ann.set_profile(room, change)?.stored().await?;
    /// # causeway_tests::until(&ann, || ann.rooms()[0].topic == "who eats what").await?;
    /// assert_eq!(ann.rooms()[0].writers, Some(Role::Moderator));
    /// # Ok(()) });
    /// ```
    pub fn set_profile(&self, room: RoomId, change: ProfileChange) -> Result<Handle, SendError> {
        self.wish(room, Wish::SetProfile(change))
    }

    /// Gives a room another name.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// ann.set_name(room, "dinner")?.stored().await?;
    /// # causeway_tests::until(&ann, || ann.rooms()[0].name == "dinner").await?;
    /// assert_eq!(ann.rooms()[0].name, "dinner");
    /// # Ok(()) });
    /// ```
    pub fn set_name(&self, room: RoomId, name: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::SetName(name.to_owned()))
    }

    /// Becomes a member of a room.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let bob = site.connect("bob").await?;
    /// bob.join(room)?.stored().await?;
    /// # causeway_tests::until(&bob, || !bob.rooms().is_empty()).await?;
    /// assert_eq!(bob.rooms()[0].name, "lunch");
    /// # Ok(()) });
    /// ```
    pub fn join(&self, room: RoomId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Join)
    }

    /// Asks to be let into a room that lets people ask ([`ProfileChange::knock`]): its members see it, and one who invites
    /// the user says yes, so that [`Client::invitations`] has it. [`Client::leave`] takes it back.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{ProfileChange, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob) = (site.connect("ann").await?, site.connect("bob").await?);
    /// # let (room, _) = ann.create_room("lunch", false)?;
    /// ann.set_profile(room, ProfileChange { knock: Some(true), ..Default::default() })?.stored().await?;
    /// bob.knock(room)?.stored().await?;
    /// ann.invite(room, UserId::new("bob")?)?.stored().await?;
    /// bob.join(room)?.stored().await?;
    /// # Ok(()) });
    /// ```
    pub fn knock(&self, room: RoomId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Knock)
    }

    /// Says no to somebody who asks to be let in. That takes a moderator. The user may ask again.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{ProfileChange, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob) = (site.connect("ann").await?, site.connect("bob").await?);
    /// # let (room, _) = ann.create_room("lunch", false)?;
    /// # ann.set_profile(room, ProfileChange { knock: Some(true), ..Default::default() })?.stored().await?;
    /// bob.knock(room)?.stored().await?;
    /// ann.decline(room, UserId::new("bob")?)?.stored().await?;
    /// # Ok(()) });
    /// ```
    pub fn decline(&self, room: RoomId, user: UserId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Decline(user))
    }

    /// Ceases to be a member of a room, or declines an invitation to it.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// bob.leave(room)?.stored().await?;
    /// # causeway_tests::until(&bob, || bob.rooms().is_empty()).await?;
    /// assert!(bob.rooms().is_empty());
    /// # Ok(()) });
    /// ```
    pub fn leave(&self, room: RoomId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Leave)
    }

    /// Leaves a room, and takes away all that the user wrote there: at every site, for good. The messages stay in their
    /// places without content; what the user did at other sites at the same time does not show. The user may come back.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// bob.send(room, "text/plain", "I was never here")?.stored().await?;
    /// bob.erase(room)?.stored().await?;
    /// # causeway_tests::until(&bob, || bob.rooms().is_empty()).await?;
    /// assert!(bob.rooms().is_empty());
    /// # Ok(()) });
    /// ```
    pub fn erase(&self, room: RoomId) -> Result<Handle, SendError> {
        self.wish(room, Wish::Erase)
    }

    /// As [`Client::erase`], for every room that the user was ever in or is invited to. Each site asks for it in the rooms
    /// that it knows of, those that are cut off now when they hear of it.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// bob.erase_everywhere()?.stored().await?;
    /// # causeway_tests::until(&bob, || bob.rooms().is_empty()).await?;
    /// assert!(bob.rooms().is_empty());
    /// # Ok(()) });
    /// ```
    pub fn erase_everywhere(&self) -> Result<Handle, SendError> {
        self.create(|machine, now| machine.erase_everywhere(now)).map(|(_, handle)| handle)
    }

    /// Lets somebody join a closed room.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::UserId;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob) = (site.connect("ann").await?, site.connect("bob").await?);
    /// let (room, _) = ann.create_room("surprise", false)?;
    /// ann.invite(room, UserId::new("bob")?)?.stored().await?;
    /// bob.join(room)?.stored().await?;
    /// # Ok(()) });
    /// ```
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
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Role, UserId};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// ann.set_role(room, UserId::new("bob")?, Role::Moderator)?.stored().await?;
    /// let members = ann.members(room, None, 10).await?.members;
    /// assert_eq!((members[1].user.as_str(), members[1].role), ("bob", Some(Role::Moderator)));
    /// # Ok(()) });
    /// ```
    pub fn set_role(&self, room: RoomId, user: UserId, role: Role) -> Result<Handle, SendError> {
        self.wish(room, Wish::SetRole(user, role))
    }

    /// Ends somebody's membership. The user may join again, where the room lets anybody in. What the user did at sites
    /// that did not know of it yet is hidden everywhere. The reason, which may be empty, is for everybody to read.
    ///
    /// # Errors
    /// As [`Client::create_room`], and a reason of over 512 bytes or with control characters.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Event, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// ann.kick(room, UserId::new("bob")?, "no spam, please")?.stored().await?;
    /// while let Some(event) = bob.next_event().await {
    ///     if event == (Event::RoomClosed { room }) {
    ///         break;
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub fn kick(&self, room: RoomId, user: UserId, reason: &str) -> Result<Handle, SendError> {
        self.wish(room, Wish::Kick(user, reason.to_owned()))
    }

    /// Ends somebody's membership, if there is one, and keeps the user out: until a time by the sites' clocks, in whole
    /// milliseconds, or, with `None`, until somebody lifts the ban. What the user did at sites that did not know of it
    /// yet is hidden everywhere. A time that has passed keeps nobody out: it ends the membership only.
    ///
    /// # Errors
    /// As [`Client::kick`].
    ///
    /// # Example
    /// ```
    /// # use causeway_client::UserId;
    /// use std::time::{Duration, SystemTime};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    /// ann.ban(room, UserId::new("bob")?, "spam", Some(tomorrow))?.stored().await?;
    /// let refusal = bob.join(room)?.stored().await.unwrap_err();
    /// println!("not before tomorrow: {refusal}");
    /// # Ok(()) });
    /// ```
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
    ///
    /// # Example
    /// ```
    /// # use causeway_client::UserId;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, bob, room) = site.ann_and_bob().await?;
    /// ann.ban(room, UserId::new("bob")?, "spam", None)?.stored().await?;
    /// ann.lift_ban(room, UserId::new("bob")?)?.stored().await?;
    /// bob.join(room)?.stored().await?;
    /// # Ok(()) });
    /// ```
    pub fn lift_ban(&self, room: RoomId, user: UserId) -> Result<Handle, SendError> {
        self.wish(room, Wish::LiftBan(user))
    }
}

/// The end of a ban, as the wire has it: 0 is for ever.
fn until_ms(until: Option<SystemTime>) -> u64 {
    let Some(until) = until else { return 0 };
    let since = until.duration_since(UNIX_EPOCH).unwrap_or_default();
    // A time before 1970 has passed, and so has the ban: nobody would mean "for ever" by it.
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
