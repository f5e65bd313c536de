//! Who may begin a handshake: before TLS, by what an address can prove.
//!
//! The first packet of a connection may name any address as its own. While few handshakes are under way that is let
//! pass, up to half of each burst; beyond it the site answers with a QUIC Retry, which costs it no memory, and only who
//! brings the token back, from that address, takes from the other half. So a flood under false addresses keeps nobody out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::limits::{Limits, Over};
use crate::token_bucket::TokenBucket;

/// How many seconds of its rate a bucket holds: many clients come at once when another site is lost.
const BURST_S: u64 = 10;
/// Sources that are kept apart; further ones share one bucket.
const SOURCES_MAX: usize = 16_384;
/// Between two looks for sources that can be forgotten, ms.
const SWEEP_MS: u64 = 1_000;

/// What becomes of a connection that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may shake hands.
    Take,
    /// It has to prove its address first.
    Retry,
    /// There are too many.
    Refuse(Over),
}

/// Counts the handshakes of all and of each source: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug)]
pub struct Handshakes {
    rate: u64,
    source_rate: u64,
    retry_above: usize,
    all: TokenBucket,
    sources: HashMap<IpAddr, TokenBucket>,
    others: TokenBucket,
    swept_ms: u64,
}

/// One customer's addresses are one source.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

impl Handshakes {
    /// Nobody has come yet.
    pub fn new(limits: &Limits, now_ms: u64) -> Self {
        let (rate, source_rate) = (limits.handshakes_per_s, limits.source_handshakes_per_s);
        let bucket = |rate| TokenBucket::new(rate, rate * BURST_S, now_ms);
        Self {
            rate,
            source_rate,
            retry_above: limits.handshakes_retry_above,
            all: bucket(rate),
            sources: HashMap::new(),
            others: bucket(source_rate),
            swept_ms: now_ms,
        }
    }

    /// Judges a connection that begins. `half_open` is how many handshakes are under way; `is_validated` says that the
    /// address is its own.
    pub fn judge(&mut self, now_ms: u64, address: IpAddr, is_validated: bool, half_open: usize) -> Verdict {
        if !is_validated && half_open >= self.retry_above {
            return Verdict::Retry;
        }
        let (rate, source_rate) = (self.rate, self.source_rate);
        // What comes under an unproved address leaves half for those who prove theirs.
        let left = |rate: u64| if is_validated { 0 } else { rate * BURST_S / 2 };
        let of_source = self.bucket_of(now_ms, source_of(address));
        let source_wait_ms = of_source.wait_ms(now_ms, 1 + left(source_rate));
        let wait_ms = self.all.wait_ms(now_ms, 1 + left(rate));
        if source_wait_ms == 0 && wait_ms == 0 {
            self.bucket_of(now_ms, source_of(address)).spend(1);
            self.all.spend(1);
            return Verdict::Take;
        }
        if !is_validated {
            return Verdict::Retry;
        }
        Verdict::Refuse(if source_wait_ms > 0 {
            Over {
                setting: "source_handshakes_per_s",
                max: source_rate,
                of: "handshakes a second of one source address",
                retry_after_ms: source_wait_ms,
            }
        } else {
            Over { setting: "handshakes_per_s", max: rate, of: "handshakes a second", retry_after_ms: wait_ms }
        })
    }

    fn bucket_of(&mut self, now_ms: u64, source: IpAddr) -> &mut TokenBucket {
        if self.sources.len() >= SOURCES_MAX && now_ms >= self.swept_ms + SWEEP_MS {
            self.swept_ms = now_ms;
            self.sources.retain(|_, bucket| !bucket.is_full(now_ms));
        }
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            return &mut self.others;
        }
        let rate = self.source_rate;
        self.sources.entry(source).or_insert_with(|| TokenBucket::new(rate, rate * BURST_S, now_ms))
    }
}

#[cfg(test)]
#[path = "handshakes_tests.rs"]
mod tests;
