//! Version vectors: origin -> highest contiguous seq.

use std::collections::BTreeMap;
use std::fmt;

use crate::{DecodeError, Dot, Hash16, Origin, hash16, limits, wire};

/// A set of dots that holds, of each origin, all up to a seq. The join is a semilattice's: commutative,
/// associative, idempotent (property tests compare it with `crdts::VClock`).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Vector {
    entries: BTreeMap<Origin, u64>,
}

impl Vector {
    /// The empty one.
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new() }
    }

    /// The highest seq held of an origin; 0 where none is.
    pub fn get(&self, origin: &Origin) -> u64 {
        self.entries.get(origin).copied().unwrap_or(0)
    }

    /// Raises an entry; never lowers one.
    pub fn raise(&mut self, dot: Dot) {
        if dot.seq > 0 {
            let seq = self.entries.entry(dot.origin).or_insert(0);
            *seq = (*seq).max(dot.seq);
        }
    }

    /// Whether it holds the dot.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.get(&dot.origin) >= dot.seq
    }

    /// Whether it holds all that `other` does.
    pub fn covers_all(&self, other: &Vector) -> bool {
        other.entries.iter().all(|(origin, seq)| self.get(origin) >= *seq)
    }

    /// The least vector that covers both.
    pub fn join(&mut self, other: &Vector) {
        for (origin, seq) in &other.entries {
            self.raise(Dot { origin: *origin, seq: *seq });
        }
    }

    /// The greatest vector that both cover.
    pub fn meet(&self, other: &Vector) -> Vector {
        let both = |(origin, seq): (&Origin, &u64)| {
            let seq = (*seq).min(other.get(origin));
            (seq > 0).then_some((*origin, seq))
        };
        Vector { entries: self.entries.iter().filter_map(both).collect() }
    }

    /// Its entries, by origin.
    pub fn iter(&self) -> impl Iterator<Item = Dot> + '_ {
        self.entries.iter().map(|(origin, seq)| Dot { origin: *origin, seq: *seq })
    }

    /// How many origins it names.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in which it is ahead of `base`, with its own seqs.
    pub fn beyond(&self, base: &Vector) -> Vector {
        self.iter().filter(|dot| !base.covers(dot)).collect()
    }

    /// Equal vectors have equal hashes.
    pub fn hash(&self) -> Hash16 {
        let mut bytes = Vec::with_capacity(self.len() * (Origin::LEN + 8));
        for dot in self.iter() {
            bytes.extend_from_slice(&dot.origin.to_bytes());
            bytes.extend_from_slice(&dot.seq.to_be_bytes());
        }
        hash16("causeway/vector", &[&bytes])
    }

    /// The wire form, sorted.
    pub fn to_wire(&self) -> wire::Vector {
        wire::Vector { entries: self.iter().map(Dot::to_wire).collect() }
    }

    /// Order and doubles do not matter: the result is the join of the entries.
    pub fn from_wire(w: &wire::Vector) -> Result<Self, DecodeError> {
        if w.entries.len() > limits::VECTOR_ENTRIES_MAX {
            return Err(DecodeError::TooLong {
                field: "vector.entries",
                max: limits::VECTOR_ENTRIES_MAX,
                got: w.entries.len(),
            });
        }
        w.entries.iter().map(Dot::from_wire).collect()
    }

    /// Of an optional field; absent is empty.
    pub fn from_wire_opt(w: Option<&wire::Vector>) -> Result<Self, DecodeError> {
        w.map_or(Ok(Self::new()), Self::from_wire)
    }
}

impl FromIterator<Dot> for Vector {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut vector = Self::new();
        dots.into_iter().for_each(|dot| vector.raise(dot));
        vector
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
