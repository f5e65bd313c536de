//! Clocks that are wrong: each place has its own, with an offset, a drift and jumps.

use causeway_replica::io::Now;

use crate::queue::{MS, Micros};

/// The wall time at which every run starts, ms since the Unix epoch: 2026-01-01.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// One machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// How far the wall clock is off, ms.
    offset_ms: i64,
    /// How much too fast it runs, parts per million, from `since`.
    drift_ppm: i64,
    since: Micros,
    /// The monotonic clock starts anew with the machine.
    booted: Micros,
    /// When it was last set, and how far it was behind at worst in the time before.
    set: Option<(Micros, i64)>,
}

/// Everybody has looked at the wall clock anew for sure.
const HEEDED: Micros = 6_000 * MS;

impl Clock {
    /// A clock with an offset and a drift.
    pub fn new(offset_ms: i64, drift_ppm: i64) -> Self {
        Self { offset_ms, drift_ppm, ..Self::default() }
    }

    /// Both clocks at a moment.
    pub fn read(&self, at: Micros) -> Now {
        // Its zero lies apart for each boot, so that nobody compares two machines' monotonic clocks unpunished.
        let mono_ms = (at - self.booted) / MS + 1 + self.booted % 10_007;
        let off = self.offset_ms + self.drifted_ms(at);
        Now { mono_ms, wall_ms: (EPOCH_MS + at / MS).saturating_add_signed(off) }
    }

    fn drifted_ms(&self, at: Micros) -> i64 {
        (at - self.since) as i64 / MS as i64 * self.drift_ppm / 1_000_000
    }

    /// How long until the monotonic clock shows this.
    pub fn until_mono(&self, at: Micros, mono_ms: u64) -> Micros {
        mono_ms.saturating_sub(self.read(at).mono_ms) * MS
    }

    /// How far the wall clock is off now, ms.
    pub fn error_ms(&self, at: Micros) -> i64 {
        self.offset_ms + self.drifted_ms(at)
    }

    /// The wall clock jumps.
    pub fn jump(&mut self, at: Micros, by_ms: i64) {
        self.note_set(at);
        self.offset_ms += by_ms;
    }

    /// Somebody sets it right.
    pub fn heal(&mut self, at: Micros) {
        self.note_set(at);
        (self.offset_ms, self.drift_ppm) = (0, 0);
    }

    fn note_set(&mut self, at: Micros) {
        self.set = Some((at, self.behind_ms(at)));
    }

    /// The least error of late, ms: of now, or of before it was set.
    fn behind_ms(&self, at: Micros) -> i64 {
        let before = self.set.filter(|(set, _)| at - set < HEEDED).map_or(0, |(_, behind)| behind);
        self.error_ms(at).min(before)
    }

    /// A moment that everybody at this place knows to be past: a clock that is set forward is not looked at at once.
    pub fn heeded_ms(&self, at: Micros) -> u64 {
        (EPOCH_MS + at / MS).saturating_add_signed(self.behind_ms(at))
    }

    /// The machine starts again.
    pub fn reboot(&mut self, at: Micros) {
        self.booted = at;
    }
}
