//! What was sent, what was promised about it, and what each client saw. The verdict is judged from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use causeway_protocol::RequestId;

use crate::acts::{Act, What};

/// A message of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Index of its room.
    pub room: u32,
    /// The client that sent it.
    pub client: u32,
    /// When it was meant to be sent, microseconds since the run's start.
    pub intended_us: u64,
    /// Its identity and place, as the SDK said.
    pub id: RequestId,
    /// Of its content: [`crate::stamp::digest`].
    pub digest: u64,
    /// When ack 1 came.
    pub stored_us: Option<u64>,
    /// When ack 2 came.
    pub replicated_us: Option<u64>,
    /// It was refused for good, with this code.
    pub refused: Option<u32>,
}

impl Sent {
    /// Whether somebody promised to keep it.
    pub fn is_acked(&self) -> bool {
        self.stored_us.is_some() || self.replicated_us.is_some()
    }
}

/// Every message of a run; a message's number is its index.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The messages.
    pub sent: Vec<Sent>,
    /// Everything else that was asked for and promised to somebody, in the order of sending.
    pub acts: Vec<Act>,
    /// Numbers of messages by their ids.
    numbers: HashMap<RequestId, u32>,
}

impl Ledger {
    /// Notes a message before it is sent, and gives it its number.
    pub fn open(&mut self, room: u32, client: u32, intended_us: u64) -> u32 {
        let id = RequestId::MIN;
        let (digest, stored_us, replicated_us, refused) = (0, None, None, None);
        self.sent.push(Sent { room, client, intended_us, id, digest, stored_us, replicated_us, refused });
        (self.sent.len() - 1) as u32
    }

    /// The SDK has a message, under this id.
    pub fn name(&mut self, no: u32, id: RequestId) {
        if let Some(sent) = self.sent.get_mut(no as usize)
            && sent.id != id
        {
            sent.id = id;
            self.numbers.insert(id, no);
        }
    }

    /// The message that had this id at some time.
    pub fn number_of(&self, id: RequestId) -> Option<u32> {
        self.numbers.get(&id).copied()
    }

    /// Notes something else that the SDK has taken, and gives it its number among these.
    pub fn open_act(
        &mut self,
        (room, client, intended_us): (u32, u32, u64),
        what: What,
        id: RequestId,
        aimed: Option<RequestId>,
    ) -> usize {
        let (stored, replicated, refused) = (false, false, None);
        self.acts.push(Act { room, client, intended_us, what, id, aimed, stored, replicated, refused });
        self.acts.len() - 1
    }

    /// A message by its number.
    pub fn get(&self, no: u32) -> Option<&Sent> {
        self.sent.get(no as usize)
    }

    /// A message by its number.
    pub fn get_mut(&mut self, no: u32) -> Option<&mut Sent> {
        self.sent.get_mut(no as usize)
    }
}

/// Set of message numbers.
#[derive(Clone, Debug, Default)]
pub struct NumberSet {
    words: Vec<u64>,
}

impl NumberSet {
    /// Adds one; false if it was there.
    pub fn insert(&mut self, no: u32) -> bool {
        let (word, bit) = ((no / 64) as usize, 1u64 << (no % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let fresh = self.words[word] & bit == 0;
        self.words[word] |= bit;
        fresh
    }

    /// Whether it is there.
    pub fn contains(&self, no: u32) -> bool {
        self.words.get((no / 64) as usize).is_some_and(|w| w & (1u64 << (no % 64)) != 0)
    }
}

/// One message as a client was shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The message.
    pub no: u32,
    /// When, in units of 10 microseconds since the run's start: half the memory of microseconds.
    pub at_10us: u32,
}

impl Shown {
    /// When, microseconds since the run's start.
    pub fn at_us(self) -> u64 {
        u64::from(self.at_10us) * 10
    }
}

/// What a client was told it has to page for: messages at this place or above, meant to be sent by this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The lowest place among the missing.
    pub lowest: RequestId,
    /// When it was told, microseconds: what is sent later must come by itself.
    pub told_us: u64,
}

/// What one client saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Each message at its first showing.
    pub shown: Vec<Shown>,
    numbers: NumberSet,
    /// Messages that were shown again.
    pub twice: Vec<u32>,
    /// Ids under which messages were shown; checked against the ledger's last word.
    pub ids: Vec<(u32, RequestId)>,
    /// Changes that it was shown: edits, redactions, reactions, joins, leaves, names.
    pub changes: HashSet<RequestId>,
    /// Changes that were shown again.
    pub changes_twice: Vec<RequestId>,
    /// Messages whose content was not what was sent, or that nobody sent.
    pub foreign: u64,
    /// Rooms that the client is in from the start, or asked to join at some time: no others are to be shown to it.
    pub asked: BTreeSet<u32>,
    /// Since when the client is a member of a room, microseconds; 0 for those from the start.
    pub joined_us: BTreeMap<u32, u64>,
    /// Rooms that the client left at some time: what it must have seen there depends on when each site knew.
    pub left: BTreeSet<u32>,
    /// Rooms in which it was told of a gap.
    pub gaps: BTreeMap<u32, Gap>,
}

impl Seen {
    /// The client is in a room from the start.
    pub fn first_member(&mut self, room: u32) {
        self.asked.insert(room);
        self.joined_us.insert(room, 0);
    }

    /// A message was shown; false if it was not the first time.
    pub fn show(&mut self, no: u32, id: RequestId, at_us: u64) -> bool {
        if !self.numbers.insert(no) {
            self.twice.push(no);
            return false;
        }
        self.shown.push(Shown { no, at_10us: u32::try_from(at_us / 10).unwrap_or(u32::MAX) });
        self.ids.push((no, id));
        true
    }

    /// A change was shown.
    pub fn show_change(&mut self, id: RequestId) {
        if !self.changes.insert(id) {
            self.changes_twice.push(id);
        }
    }

    /// Whether a message was shown.
    pub fn has(&self, no: u32) -> bool {
        self.numbers.contains(no)
    }

    /// A gap was announced in a room. Several count as one that spans them.
    pub fn gap(&mut self, room: u32, lowest: RequestId, told_us: u64) {
        let entry = self.gaps.entry(room).or_insert(Gap { lowest, told_us });
        *entry = Gap { lowest: lowest.min(entry.lowest), told_us: told_us.max(entry.told_us) };
    }

    /// Whether the client was told that it has to page for this message.
    pub fn behind_gap(&self, sent: &Sent) -> bool {
        self.gap_covers(sent.room, sent.id, sent.intended_us)
    }

    /// Whether the client was told that it has to page for what is at this place.
    pub fn gap_covers(&self, room: u32, id: RequestId, intended_us: u64) -> bool {
        self.gaps.get(&room).is_some_and(|gap| gap.lowest <= id && intended_us <= gap.told_us)
    }

    /// Whether the client must have been shown this message, by what it can know itself: it was a member before the
    /// message was meant to go out, and stayed.
    pub fn expects(&self, sent: &Sent) -> bool {
        self.expects_at(sent.room, sent.intended_us)
    }

    /// Whether the client must have been shown what somebody meant to do in the room at this time.
    pub fn expects_at(&self, room: u32, intended_us: u64) -> bool {
        !self.left.contains(&room) && self.joined_us.get(&room).is_some_and(|at| *at <= intended_us)
    }
}
