//! A room as people see it: messages in their places, with edits, redactions and reactions laid over them.
//!
//! Events may come in any order, and more than once: live, from history in either direction, a change before the
//! message that it changes. What is shown depends only on which have come. One thing does not: a kick, a ban, or a
//! demotion to reader that comes live takes away the messages and edits of its target that have come live before it and
//! that its site did not know; of what comes after it, the site shows what is to be shown. A message that others refer to and that is
//! not here has a place of its own, to be filled in.

use std::collections::{BTreeMap, BTreeSet};

use causeway_protocol::{Bytes, Dot, RequestId, Role, Vector};

use crate::quic::{Change, ChangeKind, Event, Message};

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
    /// Redacted by its author, or gone at the site.
    Gone,
    /// It has not come yet: somebody refers to it.
    Unknown,
}

/// What is known of one message.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    message: Option<Message>,
    edits: BTreeMap<RequestId, Edit>,
    redacted_by: BTreeSet<String>,
    /// By symbol and user: the last place at which it was added, and at which it was taken back.
    reactions: BTreeMap<(String, String), (Option<RequestId>, Option<RequestId>)>,
}

#[derive(Clone, Debug)]
struct Edit {
    user: String,
    content_type: String,
    content: Bytes,
    gone: bool,
    dot: Option<Dot>,
}

impl Entry {
    /// The message as it was written; `None` while it has not come.
    pub fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// What is to be shown: a redaction by the author wins, then the author's edit with the highest place.
    pub fn content(&self) -> Content<'_> {
        let Some(message) = &self.message else { return Content::Unknown };
        if self.redacted_by.contains(&message.user) {
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

    /// Symbols with the users who reacted with them. Where two devices of one user add and take back at the same time,
    /// sites keep the reaction and this may not show it.
    pub fn reactions(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut symbols: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for ((symbol, user), (added, taken)) in &self.reactions {
            if added > taken {
                symbols.entry(symbol).or_default().push(user);
            }
        }
        symbols
    }
}

/// The messages of one room, at most as many as it was made for: the newest are kept.
#[derive(Clone, Debug)]
pub struct Timeline {
    entries: BTreeMap<RequestId, Entry>,
    entries_max: usize,
}

impl Timeline {
    /// An empty one.
    pub fn new(entries_max: usize) -> Self {
        Self { entries: BTreeMap::new(), entries_max }
    }

    /// Takes in an event of the room, if it is a message or a change of one; the place whose look may have changed.
    pub fn see(&mut self, event: &Event) -> Option<RequestId> {
        let place = match event {
            Event::Message(message) => {
                if let Some(target) = message.reply_to {
                    self.entries.entry(target).or_default();
                }
                let entry = self.entries.entry(message.id).or_default();
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
        while self.entries.len() > self.entries_max {
            self.entries.pop_first();
        }
        Some(place)
    }

    fn change(&mut self, change: &Change) -> Option<RequestId> {
        let Change { id, user, kind, past, .. } = change;
        match kind {
            ChangeKind::Edited { target, content_type, content, body_gone } => {
                let edits = &mut self.entries.entry(*target).or_default().edits;
                let (content_type, content) = (content_type.clone(), content.clone());
                let (gone, dot) = (*body_gone, change.dot());
                let edit = Edit { user: user.clone(), content_type, content, gone, dot };
                if edits.get(id).is_none_or(|known| !known.gone) {
                    edits.insert(*id, edit);
                }
                Some(*target)
            }
            ChangeKind::Redacted(target) => {
                self.entries.entry(*target).or_default().redacted_by.insert(user.clone());
                Some(*target)
            }
            ChangeKind::Reacted { target, symbol } => {
                let (added, _) = self.reaction(*target, symbol, user);
                *added = (*added).max(Some(*id));
                Some(*target)
            }
            ChangeKind::Unreacted { target, symbol } => {
                let (_, taken) = self.reaction(*target, symbol, user);
                *taken = (*taken).max(Some(*id));
                Some(*target)
            }
            ChangeKind::Kicked { user, .. }
            | ChangeKind::Banned { user, .. }
            | ChangeKind::RoleSet { user, role: Some(Role::Reader) } => {
                self.take_away(user, past.as_ref()?);
                None
            }
            _ => None,
        }
    }

    /// Forgets what a user has done beyond what somebody knew who revoked the user's rights.
    fn take_away(&mut self, user: &str, past: &Vector) {
        let unknown = |dot: Option<Dot>| dot.is_some_and(|dot| !past.covers(&dot));
        self.entries.retain(|_, entry| {
            entry.edits.retain(|_, edit| edit.user != user || !unknown(edit.dot));
            entry.message.as_ref().is_none_or(|message| message.user != user || !unknown(message.dot()))
        });
    }

    fn reaction(&mut self, target: RequestId, symbol: &str, user: &str) -> &mut (Option<RequestId>, Option<RequestId>) {
        let reactions = &mut self.entries.entry(target).or_default().reactions;
        reactions.entry((symbol.to_owned(), user.to_owned())).or_default()
    }

    /// What is known of a message.
    pub fn get(&self, id: RequestId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All messages by their places, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (RequestId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
