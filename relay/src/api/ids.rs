//! Idempotency keys, and the ids that follow from them.
//!
//! A key is a UUIDv7 (RFC 9562). With the user it decides the request's id and its body's salt, and nothing else does:
//! no clock, no site, no memory. So the same call at another site, after a failover, is byte for byte the same request,
//! and sites know it for one.

use std::fmt;

use causeway_protocol::{DeviceId, Hash16, RequestId, Stamp, UserId, hash16};

/// Digits of a UUID, with its hyphens.
const TEXT_BYTES: usize = 36;
/// Where the hyphens are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// A call's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(u128);

impl Key {
    /// Of its text, in quotes or not; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let fits =
            |(at, byte): (usize, u8)| if HYPHENS.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() };
        if text.len() != TEXT_BYTES || !text.bytes().enumerate().all(fits) {
            return Err("must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057");
        }
        let number = u128::from_str_radix(&text.replace('-', ""), 16).map_err(|_| "must be a UUID")?;
        let (version, variant) = (number >> 76 & 0xf, number >> 62 & 0b11);
        if version != 7 || variant != 0b10 {
            return Err("must be a UUID of version 7 (RFC 9562), which begins with the time");
        }
        Ok(Self(number))
    }

    /// With this stamp, and with these random bits where it leaves room for them.
    pub fn new(stamp: Stamp, random: u64) -> Self {
        let (time, counter) = (u128::from(stamp.ms()), u128::from(stamp.0 & 0xffff));
        let random = u128::from(random >> 6);
        Self(time << 80 | 7 << 76 | (counter >> 4) << 64 | 0b10 << 62 | (counter & 0xf) << 58 | random)
    }

    /// Its milliseconds since the Unix epoch.
    pub fn ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// Its time, and of what comes next 16 bits, as counter.
    fn stamp(self) -> Stamp {
        let counter = (self.0 >> 64 & 0xfff) << 4 | self.0 >> 58 & 0xf;
        Stamp(self.ms() << 16 | counter as u64)
    }

    /// The id of the request that a user makes with it.
    pub fn request_id(self, user: &UserId) -> RequestId {
        let hash = hash16("causeway/idempotency", &[&self.0.to_be_bytes()]);
        let [a, b, c, d, e, f, g, h, ..] = hash;
        let nonce = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        RequestId { stamp: self.stamp(), device: DeviceId::derive(user, nonce) }
    }

    /// The salt of the request's body.
    pub fn salt(self, user: &UserId) -> Hash16 {
        hash16("causeway/idempotency/salt", &[&self.0.to_be_bytes(), user.as_str().as_bytes()])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
