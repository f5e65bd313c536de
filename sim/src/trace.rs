//! What happened, as a hash always and as text on request.

use crate::queue::Micros;

/// Who reads the lines.
type Reader = Box<dyn FnMut(&str)>;

/// A run's trace: the same seed gives the same hash.
pub struct Trace {
    hash: u64,
    events: u64,
    text: Option<Reader>,
}

/// FNV-1a's offset and prime, 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl Trace {
    /// A trace that only hashes.
    pub fn silent() -> Self {
        Self { hash: FNV_OFFSET, events: 0, text: None }
    }

    /// A trace that also hands every line to somebody.
    pub fn told(text: impl FnMut(&str) + 'static) -> Self {
        Self { text: Some(Box::new(text)), ..Self::silent() }
    }

    /// Notes that something happened. `line` is only made when somebody reads it; `facts` make the hash.
    pub fn note(&mut self, at: Micros, what: &str, facts: &[u64], line: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(&at.to_le_bytes());
        self.mix(what.as_bytes());
        facts.iter().for_each(|fact| self.mix(&fact.to_le_bytes()));
        if let Some(text) = &mut self.text {
            text(&format!("{:>4}.{:06} {what:<12} {}", at / 1_000_000, at % 1_000_000, line()));
        }
    }

    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    /// Of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Things noted so far.
    pub fn events(&self) -> u64 {
        self.events
    }
}
