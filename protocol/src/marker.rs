//! What a user has read of a room, and whether the user wants it among the unread ones all the same. Both are joined by maximum,
//! so that markers may come in any order, and as often as they like.

use crate::{DecodeError, RequestId, Vector, hash16, wire};

/// A room marked unread, or no longer: of all that a user's devices said, the one with the highest id holds. The default is
/// a room of which nobody ever said anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UnreadFlag {
    /// When it was said, and by which device.
    pub id: RequestId,
    /// Whether the room is marked unread.
    pub unread: bool,
}

impl Default for UnreadFlag {
    fn default() -> Self {
        Self { id: RequestId::MIN, unread: false }
    }
}

impl UnreadFlag {
    /// Whether anybody ever said anything.
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// The wire form; `None` where nobody said anything.
    pub fn to_wire(self) -> Option<wire::UnreadFlag> {
        self.is_set().then(|| wire::UnreadFlag { id: Some(self.id.to_wire()), unread: self.unread })
    }

    /// Of an optional field.
    pub fn from_wire_opt(w: Option<&wire::UnreadFlag>) -> Result<Self, DecodeError> {
        let Some(w) = w else { return Ok(Self::default()) };
        let id = w.id.as_ref().map(RequestId::from_wire);
        // The least id is nobody's.
        let id = id.filter(|id| *id > RequestId::MIN).ok_or(DecodeError::Missing { field: "unread_flag.id" })?;
        Ok(Self { id, unread: w.unread })
    }
}

/// How far a user is in a room.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Marker {
    /// What the user has read.
    pub read: Vector,
    /// Whether the user has marked it unread.
    pub flag: UnreadFlag,
}

impl Marker {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty() && !self.flag.is_set()
    }

    /// Takes the other one in; returns whether that changed anything.
    pub fn join(&mut self, other: &Self) -> bool {
        let moves = !self.read.covers_all(&other.read) || self.flag < other.flag;
        self.read.join(&other.read);
        self.flag = self.flag.max(other.flag);
        moves
    }

    /// Of a summary that holds all up to here, made with this marker: the first 8 bytes of a hash of all, big-endian;
    /// never 0. For telling whether somebody holds the same one.
    pub fn fingerprint(&self, upto: &Vector) -> u64 {
        let (upto, read) = (upto.hash(), self.read.hash());
        let hash = match self.flag.is_set() {
            true => {
                let flag = [&self.flag.id.to_bytes()[..], &[self.flag.unread.into()]].concat();
                hash16("causeway/summary", &[&upto, &read, &flag])
            }
            false => hash16("causeway/summary", &[&upto, &read]),
        };
        let (first, _) = hash.split_first_chunk().expect("a hash has 16 bytes");
        u64::from_be_bytes(*first).max(1)
    }
}

impl From<Vector> for Marker {
    fn from(read: Vector) -> Self {
        Self { read, flag: UnreadFlag::default() }
    }
}
