//! A token bucket: what may happen how often.

/// Lets through what a rate and a burst allow: in any span of time never more than the burst and the rate's share of
/// that time. Times come in, ms, and should not go back; one that does counts as no time.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    /// Tokens a second; so, thousandths of a token a millisecond.
    rate: u64,
    /// Thousandths of tokens that it holds at most.
    full: u64,
    /// Thousandths of tokens that it holds.
    level: u64,
    at_ms: u64,
}

impl TokenBucket {
    /// A full one. A rate of 0 counts as 1.
    pub fn new(rate: u64, burst: u64, now_ms: u64) -> Self {
        let full = burst.max(1).saturating_mul(1_000);
        Self { rate: rate.max(1), full, level: full, at_ms: now_ms }
    }

    fn fill(&mut self, now_ms: u64) {
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(self.rate);
        self.level = self.level.saturating_add(gained).min(self.full);
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// How long until it holds so many tokens, ms; 0 when it does. What it can never hold it has when it is full.
    pub fn wait_ms(&mut self, now_ms: u64, tokens: u64) -> u64 {
        self.fill(now_ms);
        let wanted = tokens.saturating_mul(1_000).min(self.full);
        wanted.saturating_sub(self.level).div_ceil(self.rate)
    }

    /// Takes tokens, or says how long until they are there, ms.
    ///
    /// # Errors
    /// They are not there; none are taken.
    pub fn take(&mut self, now_ms: u64, tokens: u64) -> Result<(), u64> {
        self.take_above(now_ms, tokens, 0)
    }

    /// The same, but leaves so many for others.
    ///
    /// # Errors
    /// They are not there; none are taken.
    pub fn take_above(&mut self, now_ms: u64, tokens: u64, left: u64) -> Result<(), u64> {
        match self.wait_ms(now_ms, tokens.saturating_add(left)) {
            0 => {
                self.spend(tokens);
                Ok(())
            }
            wait_ms => Err(wait_ms),
        }
    }

    /// Takes tokens that [`TokenBucket::wait_ms`] said are there.
    pub fn spend(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(tokens.saturating_mul(1_000));
    }

    /// Whether it is as good as a new one.
    pub fn is_full(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        self.level == self.full
    }
}

#[cfg(test)]
#[path = "token_bucket_tests.rs"]
mod tests;
