//! One room as it is shown.

use std::collections::{BTreeMap, BTreeSet};

use causeway_client::timeline::Timeline;
use causeway_client::{Change, ChangeKind, Event, Handle, Presence, ProfileChange, RequestId, UserId};

/// Lines kept of a room.
const LINES_MAX: usize = 1_000;
/// Own messages of which it is asked who has read them. What is known of further ones is as it was.
const ASKED_MAX: usize = 20;

/// An own message that no site has handed back yet.
pub struct Sent {
    pub text: String,
    pub handle: Handle,
}

/// What is known of one room.
pub struct Room {
    pub name: String,
    /// By place: a message that comes late goes where it belongs.
    pub timeline: Timeline,
    /// Joins, leaves and other things that are said between messages, by place.
    pub said: BTreeMap<RequestId, String>,
    /// Own messages of this start, by place: for their marks.
    pub sent: BTreeMap<RequestId, Sent>,
    /// Who is typing.
    pub typing: BTreeSet<String>,
    /// Members, as far as they are shown.
    pub members: Vec<(String, Option<Presence>)>,
    /// How many have not read an own message.
    pub unread: BTreeMap<RequestId, u32>,
    /// There may be older messages.
    pub older: bool,
    /// And the user wants them.
    pub wants_older: bool,
    /// The newest page has been asked for.
    pub asked: bool,
}

impl Room {
    pub fn new() -> Self {
        Self {
            name: String::new(),
            timeline: Timeline::new(LINES_MAX),
            said: BTreeMap::new(),
            sent: BTreeMap::new(),
            typing: BTreeSet::new(),
            members: Vec::new(),
            unread: BTreeMap::new(),
            older: true,
            wants_older: false,
            asked: false,
        }
    }

    /// Takes in a message or a change of this room.
    pub fn see(&mut self, event: Event) {
        if self.timeline.see(&event).is_some() {
            return;
        }
        let Event::Change(change) = event else { return };
        let id = change.id;
        let words = self.words(change);
        self.said.insert(id, words);
        while self.said.len() > LINES_MAX {
            self.said.pop_first();
        }
    }

    fn words(&mut self, change: Change) -> String {
        let text = match change.kind {
            ChangeKind::Created { direct: Some(with), .. } => format!("began to talk with {with}"),
            ChangeKind::Created { name, .. } => format!("made the room “{name}”"),
            ChangeKind::Renamed(name) => format!("named the room “{name}”"),
            ChangeKind::ProfileSet(ProfileChange { topic: Some(topic), .. }) => format!("set the topic “{topic}”"),
            ChangeKind::ProfileSet(_) => "changed the room's profile".to_owned(),
            ChangeKind::Pinned(_) => "pinned a message".to_owned(),
            ChangeKind::Erased => "left, and took all words along".to_owned(),
            ChangeKind::Knocked => "asks to be let in: /invite says yes, /no says no".to_owned(),
            ChangeKind::KnockDeclined(user) => format!("does not let {user} in"),
            ChangeKind::Unpinned(_) => "unpinned a message".to_owned(),
            ChangeKind::Joined => "joined".to_owned(),
            ChangeKind::Left => "left".to_owned(),
            ChangeKind::Invited(user) => format!("invited {user}"),
            ChangeKind::RoleSet { user, role: Some(role) } => format!("gave {user} the role of {role}"),
            ChangeKind::Kicked { user, reason } => format!("threw {user} out{}", because(&reason)),
            ChangeKind::Banned { user, reason, until_ms: 0 } => format!("banned {user}{}", because(&reason)),
            ChangeKind::Banned { user, reason, .. } => format!("banned {user} for a time{}", because(&reason)),
            ChangeKind::BanLifted(user) => format!("lets {user} in again"),
            _ => "did something that this version does not know".to_owned(),
        };
        format!("{} {text}", change.user)
    }

    pub fn put_sent(&mut self, text: String, handle: Handle) {
        self.sent.insert(handle.id(), Sent { text, handle });
        while self.sent.len() > LINES_MAX {
            self.sent.pop_first();
        }
    }

    /// How many have not read own messages.
    pub fn put_unread(&mut self, unread: Vec<(RequestId, u32)>) {
        self.unread.extend(unread);
        while self.unread.len() > LINES_MAX {
            self.unread.pop_first();
        }
    }

    /// Messages are numbered from the newest, 1, upwards.
    pub fn numbered(&self, number: usize) -> Option<RequestId> {
        self.timeline.iter().rev().nth(number.checked_sub(1)?).map(|(id, _)| id)
    }

    /// Who wrote a message, where that is known.
    pub fn author(&self, id: RequestId) -> Option<UserId> {
        UserId::new(&self.timeline.get(id)?.message()?.user).ok()
    }

    /// The oldest place that is here.
    pub fn oldest(&self) -> Option<RequestId> {
        let message = self.timeline.iter().find(|(_, entry)| entry.message().is_some()).map(|(id, _)| id);
        message.into_iter().chain(self.said.keys().next().copied()).min()
    }

    /// The newest messages of a user.
    pub fn newest_of(&self, user: &str) -> Vec<RequestId> {
        let own = self.timeline.iter().rev().filter(|(_, entry)| entry.message().is_some_and(|m| m.user == user));
        own.map(|(id, _)| id).take(ASKED_MAX).collect()
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}
