//! A room as people see it: messages in their places, with edits, redactions and reactions laid over them.
//!
//! Events may come in any order, and more than once: live, from history in either direction, a change before the
//! message that it changes. What is shown depends only on which have come. A message that others refer to and that is
//! not here has a place of its own, to be filled in.
//!
//! # What a kick, a ban, a demotion to reader or an erasure takes away
//! One thing depends on the order. When such a revocation is first seen with its past ([`Change::past`]), the messages,
//! edits and reactions of its target go that were seen before it, whose acceptance is known ([`Message::dot`]) and is
//! not in the past. It is then as if they had never come, but for older messages that have made room for them. What is
//! seen later stays: the site that sent it knew of the revocation and has judged it. So live events belong here in the
//! order in which the client hands them out, and a page of history before the events that came while it was fetched.
//!
//! An erasure leaves what its user wrote before it in its place, without its content, whichever came first.
//!
//! A site may show less, or more, until a new timeline is filled from its history:
//! * What came from history or in the page after a gap is not taken away: its acceptance is not known.
//! * A revocation that a gap left out takes nothing away: history has it without its past.
//! * A request may be accepted by several sites, and the client sees it once. What another acceptance of the revocation
//!   hides on top stays; a message that another acceptance of it still shows is taken away.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::{Bytes, Dot, RequestId, Role, Vector};

use crate::quic::{Change, ChangeKind, Event, Message};

/// How many places are kept at which one user added one reaction to one message.
const ADDED_MAX: usize = 8;
/// How many revocations are remembered.
const REVOCATIONS_MAX: usize = 1_024;
/// How many erased users are remembered: sites give nothing of theirs, and this is for what is on its way already.
const ERASED_MAX: usize = 256;

/// A message's present content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// As written, or as last edited.
    Text {
        /// A media type.
        content_type: &'a str,
        /// The content.
        content: &'a Bytes,
        /// Whether it was edited.
        edited: bool,
    },
    /// Redacted, or gone at the site.
    Gone,
    /// It has not come yet: somebody refers to it.
    Unknown,
}

/// What is known of one message.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    message: Option<Message>,
    /// The message's acceptance, where it has come live: a copy from history does not know it.
    dot: Option<Dot>,
    edits: BTreeMap<RequestId, Edit>,
    redacted_by: BTreeSet<String>,
    /// By symbol and user.
    reactions: BTreeMap<(String, String), Reaction>,
}

#[derive(Clone, Debug)]
struct Edit {
    user: String,
    content_type: String,
    content: Bytes,
    gone: bool,
    dot: Option<Dot>,
}

impl Edit {
    fn empty(&mut self) {
        (self.gone, self.content_type, self.content) = (true, String::new(), Bytes::new());
    }
}

/// One user's reaction with one symbol.
#[derive(Clone, Debug, Default)]
struct Reaction {
    /// The last places at which it was added, with the acceptances as far as they are known. Each shows it, and any may
    /// be taken away.
    added: BTreeMap<RequestId, Option<Dot>>,
    /// The last place at which it was taken back.
    taken: Option<RequestId>,
}

impl Reaction {
    fn add(&mut self, id: RequestId, dot: Option<Dot>) {
        let known = self.added.entry(id).or_default();
        *known = known.or(dot);
        if self.added.len() > ADDED_MAX {
            self.added.pop_first();
        }
    }

    fn shows(&self) -> bool {
        self.added.keys().next_back().is_some_and(|last| Some(*last) > self.taken)
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.taken.is_none()
    }
}

impl Entry {
    /// The message as it was written; `None` while it has not come.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::timeline::{Content, Timeline};
    /// # use causeway_client::{Direction, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # ann.react(room, sent.id(), "👍")?.stored().await?;
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # let mut timeline = Timeline::new(1_000);
    /// # page.events.iter().for_each(|event| _ = timeline.see(event));
    ///
    /// let entry = timeline.get(sent.id()).expect("it has come");
    /// assert_eq!(entry.message().map(|message| message.user.as_str()), Some("ann"));
    /// # Ok(()) });
    /// ```
    pub fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// What is to be shown: a redaction by the author wins, then the author's edit with the highest place.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::timeline::{Content, Timeline};
    /// # use causeway_client::{Direction, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # ann.react(room, sent.id(), "👍")?.stored().await?;
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # let mut timeline = Timeline::new(1_000);
    /// # page.events.iter().for_each(|event| _ = timeline.see(event));
    ///
    /// let entry = timeline.get(sent.id()).expect("it has come");
    /// match entry.content() {
    ///     Content::Text { content, edited, .. } => println!("{content:?}{}", if edited { " (edited)" } else { "" }),
    ///     Content::Gone => println!("(gone)"),
    ///     Content::Unknown => println!("(not here yet)"),
    /// }
    /// # assert!(matches!(entry.content(), Content::Text { edited: false, .. }));
    /// # Ok(()) });
    /// ```
    pub fn content(&self) -> Content<'_> {
        let Some(message) = &self.message else { return Content::Unknown };
        if self.redacted_by.contains(&message.user) {
            return Content::Gone;
        }
        if message.body_gone && message.expires_ms.is_some() {
            return Content::Gone;
        }
        match self.edits.values().rev().find(|edit| edit.user == message.user) {
            Some(edit) if edit.gone => Content::Gone,
            Some(Edit { content_type, content, .. }) => Content::Text { content_type, content, edited: true },
            None if message.body_gone => Content::Gone,
            None => {
                let Message { content_type, content, .. } = message;
                Content::Text { content_type, content, edited: false }
            }
        }
    }

    /// Whether the content went just now.
    fn expire(&mut self, now_ms: u64) -> bool {
        let is_due = |message: &&mut Message| message.expires_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let Some(message) = self.message.as_mut().filter(is_due) else { return false };
        let went = !message.body_gone;
        empty(message);
        self.edits.values_mut().for_each(Edit::empty);
        went
    }

    /// Takes the contents of what a user wrote here below a place.
    fn erase(&mut self, user: &str, below: RequestId) {
        if let Some(message) = self.message.as_mut().filter(|message| message.user == user && message.id < below) {
            empty(message);
        }
        let edits = self.edits.iter_mut().filter(|(id, edit)| edit.user == user && **id < below);
        edits.for_each(|(_, edit)| edit.empty());
    }

    /// Symbols with the users who reacted with them. Where two devices of one user add and take back at the same time,
    /// sites keep the reaction and this may not show it.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::timeline::{Content, Timeline};
    /// # use causeway_client::{Direction, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # ann.react(room, sent.id(), "👍")?.stored().await?;
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # let mut timeline = Timeline::new(1_000);
    /// # page.events.iter().for_each(|event| _ = timeline.see(event));
    ///
    /// let entry = timeline.get(sent.id()).expect("it has come");
    /// assert_eq!(entry.reactions()["👍"], ["ann"]);
    /// # Ok(()) });
    /// ```
    pub fn reactions(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut symbols: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for ((symbol, user), reaction) in &self.reactions {
            if reaction.shows() {
                symbols.entry(symbol).or_default().push(user);
            }
        }
        symbols
    }

    /// Forgets what a user has done that a revocation hides.
    fn take_away(&mut self, user: &str, is_hidden: impl Fn(Option<Dot>) -> bool) {
        if self.message.as_ref().is_some_and(|message| message.user == user) && is_hidden(self.dot) {
            (self.message, self.dot) = (None, None);
        }
        self.edits.retain(|_, edit| edit.user != user || !is_hidden(edit.dot));
        self.reactions.retain(|(_, by), reaction| {
            if by == user {
                reaction.added.retain(|_, dot| !is_hidden(*dot));
            }
            !reaction.is_empty()
        });
    }

    /// Whether nothing is known of the message.
    fn is_empty(&self) -> bool {
        self.message.is_none() && self.edits.is_empty() && self.redacted_by.is_empty() && self.reactions.is_empty()
    }
}

fn empty(message: &mut Message) {
    (message.body_gone, message.content_type, message.content) = (true, String::new(), Bytes::new());
}

/// The messages of one room, at most as many as it was made for: the newest are kept.
#[derive(Clone, Debug)]
pub struct Timeline {
    entries: BTreeMap<RequestId, Entry>,
    entries_max: usize,
    /// Revocations that have taken away what they take: one that comes again must not take what came after it.
    revocations: BTreeSet<RequestId>,
    /// Users who were erased: what they wrote below this place has no content.
    erased: BTreeMap<String, RequestId>,
}

impl Timeline {
    /// An empty one.
    ///
    /// # Example
    /// ```
    /// use causeway_client::timeline::Timeline;
    ///
    /// // The newest 1,000 messages.
    /// let timeline = Timeline::new(1_000);
    /// assert_eq!(timeline.iter().count(), 0);
    /// ```
    pub fn new(entries_max: usize) -> Self {
        Self { entries: BTreeMap::new(), entries_max, revocations: BTreeSet::new(), erased: BTreeMap::new() }
    }

    /// Takes in an event of the room, if it is a message or a change of one; the place whose look may have changed.
    /// `None` for a kick, a ban and a demotion as well: any place may have changed.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::timeline::Timeline;
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let sent = ann.send(room, "text/plain", "noodles?")?;
    /// let mut timeline = Timeline::new(1_000);
    /// while let Some(event) = ann.next_event().await {
    ///     if let Some(place) = timeline.see(&event) {
    ///         // Draw this message anew.
    ///         assert_eq!(place, sent.id());
    ///         break;
    ///     }
    /// }
    /// # Ok(()) });
    /// ```
    pub fn see(&mut self, event: &Event) -> Option<RequestId> {
        let place = match event {
            Event::Message(message) => {
                if let Some(target) = message.reply_to {
                    self.entries.entry(target).or_default();
                }
                let entry = self.entries.entry(message.id).or_default();
                entry.dot = entry.dot.or(message.dot());
                // A copy from before the body went may come late.
                let gone = entry.message.as_ref().is_some_and(|known| known.body_gone);
                if !gone {
                    entry.message = Some(message.clone());
                }
                message.id
            }
            Event::Change(change) => self.change(change)?,
            _ => return None,
        };
        if let Some(entry) = self.entries.get_mut(&place) {
            self.erased.iter().for_each(|(user, below)| entry.erase(user, *below));
        }
        while self.entries.len() > self.entries_max {
            self.entries.pop_first();
        }
        Some(place)
    }

    /// Lets contents go whose time has come, by a clock, ms since the Unix epoch; the places that look different now. No
    /// event tells of it: call this as often as the screen is drawn.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Draft, timeline::Timeline};
    /// # use std::time::{Duration, SystemTime, UNIX_EPOCH};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let mut timeline = Timeline::new(1_000);
    /// let sent = ann.post(room, Draft::text("for a minute").lifetime(Duration::from_secs(60)))?;
    /// # while let Some(event) = ann.next_event().await && timeline.see(&event).is_none() {}
    /// let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    /// let in_a_while = now + Duration::from_secs(120);
    /// assert_eq!(timeline.expire(in_a_while.as_millis() as u64), [sent.id()]);
    /// # Ok(()) });
    /// ```
    pub fn expire(&mut self, now_ms: u64) -> Vec<RequestId> {
        let expired = self.entries.iter_mut().filter_map(|(id, entry)| entry.expire(now_ms).then_some(*id));
        expired.collect()
    }

    fn change(&mut self, change: &Change) -> Option<RequestId> {
        let Change { id, user, kind, past, .. } = change;
        match kind {
            ChangeKind::Edited { target, content_type, content, body_gone } => {
                let edits = &mut self.entries.entry(*target).or_default().edits;
                let known = edits.get(id);
                let dot = known.and_then(|known| known.dot).or(change.dot());
                // As with messages.
                if known.is_none_or(|known| !known.gone) {
                    let (content_type, content) = (content_type.clone(), content.clone());
                    edits.insert(*id, Edit { user: user.clone(), content_type, content, gone: *body_gone, dot });
                } else if let Some(known) = edits.get_mut(id) {
                    known.dot = dot;
                }
                Some(*target)
            }
            ChangeKind::Redacted { target, author } => {
                let author = author.as_ref().unwrap_or(user);
                self.entries.entry(*target).or_default().redacted_by.insert(author.clone());
                Some(*target)
            }
            ChangeKind::Reacted { target, symbol } => {
                self.reaction(*target, symbol, user).add(*id, change.dot());
                Some(*target)
            }
            ChangeKind::Unreacted { target, symbol } => {
                let reaction = self.reaction(*target, symbol, user);
                reaction.taken = reaction.taken.max(Some(*id));
                Some(*target)
            }
            ChangeKind::Kicked { user, .. }
            | ChangeKind::Banned { user, .. }
            | ChangeKind::RoleSet { user, role: Some(Role::Reader) } => {
                self.take_away(*id, user, past.as_ref()?);
                None
            }
            ChangeKind::Erased => {
                self.erase(*id, user);
                self.take_away(*id, user, past.as_ref()?);
                None
            }
            _ => None,
        }
    }

    fn erase(&mut self, erasure: RequestId, user: &str) {
        let below = self.erased.entry(user.to_owned()).or_insert(erasure);
        *below = erasure.max(*below);
        self.entries.values_mut().for_each(|entry| entry.erase(user, erasure));
        if self.erased.len() > ERASED_MAX {
            self.erased.pop_first();
        }
    }

    /// Forgets what a user has done beyond what the site had that accepted the revocation.
    fn take_away(&mut self, revocation: RequestId, user: &str, past: &Vector) {
        if !self.revocations.insert(revocation) {
            return;
        }
        if self.revocations.len() > REVOCATIONS_MAX {
            self.revocations.pop_first();
        }
        let is_hidden = |dot: Option<Dot>| dot.is_some_and(|dot| !past.covers(&dot));
        self.entries.values_mut().for_each(|entry| entry.take_away(user, is_hidden));
        let messages = self.entries.values().filter_map(Entry::message);
        let answered: BTreeSet<RequestId> = messages.filter_map(|message| message.reply_to).collect();
        self.entries.retain(|place, entry| !entry.is_empty() || answered.contains(place));
    }

    fn reaction(&mut self, target: RequestId, symbol: &str, user: &str) -> &mut Reaction {
        let reactions = &mut self.entries.entry(target).or_default().reactions;
        reactions.entry((symbol.to_owned(), user.to_owned())).or_default()
    }

    /// What is known of a message.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::timeline::{Content, Timeline};
    /// # use causeway_client::{Direction, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # ann.react(room, sent.id(), "👍")?.stored().await?;
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # let mut timeline = Timeline::new(1_000);
    /// # page.events.iter().for_each(|event| _ = timeline.see(event));
    ///
    /// assert!(timeline.get(sent.id()).is_some());
    /// # Ok(()) });
    /// ```
    pub fn get(&self, id: RequestId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All messages by their places, oldest first.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::timeline::{Content, Timeline};
    /// # use causeway_client::{Direction, Event};
    /// # causeway_tests::example(async |site| {
    /// # let (ann, room) = site.ann_in_a_room().await?;
    /// # let sent = ann.send(room, "text/plain", "noodles?")?;
    /// # ann.react(room, sent.id(), "👍")?.stored().await?;
    /// # let page = ann.history(room, None, Direction::Backward, 10).await?;
    /// # let mut timeline = Timeline::new(1_000);
    /// # page.events.iter().for_each(|event| _ = timeline.see(event));
    ///
    /// for (id, entry) in timeline.iter() {
    ///     println!("{id:?}: {:?}", entry.content());
    /// }
    /// # assert_eq!(timeline.iter().count(), 1);
    /// # Ok(()) });
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (RequestId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
