//! Random delays from a seed that the host passes in (SplitMix64): the same seed, the same session.

pub(super) struct Jitter {
    state: u64,
}

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `max`, both included.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        // The modulo's bias does not matter for a delay.
        self.next() % max.saturating_add(1).max(1)
    }

    /// Half of `ms` to one and a half of it.
    pub(super) fn around(&mut self, ms: u64) -> u64 {
        ms / 2 + self.up_to(ms)
    }

    /// The `attempt`-th pause (from 0) of a doubling back-off between two bounds, with jitter.
    pub(super) fn backoff(&mut self, min_ms: u64, max_ms: u64, attempt: u32) -> u64 {
        let ms = min_ms.saturating_mul(1_u64 << attempt.min(20)).min(max_ms);
        self.around(ms)
    }
}
