//! Hybrid logical clocks (Kulkarni et al., 2014): physical milliseconds with a counter for what happens within
//! one, so that a stamp is later than every stamp that its maker had seen.

use std::fmt;

/// 48 bits of milliseconds since the Unix epoch, 16 of counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The first stamp of a millisecond.
    pub fn from_ms(ms: u64) -> Self {
        Self(ms.min((1 << 48) - 1) << 16)
    }

    /// Its milliseconds.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & 0xffff)
    }
}

/// The clock itself. Time is passed in; it reads none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hlc {
    last: Stamp,
}

impl Hlc {
    /// A clock that has given or seen `last`.
    pub fn after(last: Stamp) -> Self {
        Self { last }
    }

    /// The last stamp given or seen.
    pub fn last(&self) -> Stamp {
        self.last
    }

    /// Takes note of somebody's stamp: those given from now on are later.
    pub fn observe(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp);
    }

    /// A stamp later than everything given or seen, and not before `wall_ms`.
    pub fn mint(&mut self, wall_ms: u64) -> Stamp {
        self.last = Stamp::from_ms(wall_ms).max(self.last.next());
        self.last
    }
}
