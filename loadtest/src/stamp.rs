//! The stamp in front of every message that a load tester sends: which message it is and when it was meant to go out.
//! It is what delivery latency, loss and duplication are told by, so it is cheap to write and to read.

use bytes::{BufMut, Bytes, BytesMut};

/// The content type of stamped messages.
pub const CONTENT_TYPE: &str = "application/x-causeway-load";
/// And of stamped actions (`/me`).
pub const CONTENT_TYPE_ACTION: &str = "application/x-causeway-load; kind=action";

const MAGIC: u32 = 0x4357_4c31;
/// Bytes of a stamp.
pub const STAMP_BYTES: usize = 24;

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadStamp {
    /// Its number in the run.
    pub no: u32,
    /// When it was meant to be sent, microseconds since the run's start.
    pub intended_us: u64,
}

impl LoadStamp {
    /// The stamp with the text behind it.
    pub fn stamp(self, text: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(STAMP_BYTES + text.len());
        out.put_u32(MAGIC);
        out.put_u32(self.no);
        out.put_u64(self.intended_us);
        out.put_u64(digest(text));
        out.extend_from_slice(text);
        out.freeze()
    }

    /// Reads a content's stamp; `None` where it has none, or the text is not the one that was stamped.
    pub fn read(content: &[u8]) -> Option<Self> {
        let (stamp, text) = Self::read_unchecked(content)?;
        let (_, sum) = content[..STAMP_BYTES].split_last_chunk::<8>()?;
        (u64::from_be_bytes(*sum) == digest(text)).then_some(stamp)
    }

    /// Reads a content's stamp and does not look at the text: for where every microsecond counts.
    pub fn read_unchecked(content: &[u8]) -> Option<(Self, &[u8])> {
        let (head, _) = content.split_first_chunk::<16>()?;
        let number = u128::from_be_bytes(*head);
        let text = content.get(STAMP_BYTES..)?;
        let magic = (number >> 96) as u32;
        (magic == MAGIC).then_some((Self { no: (number >> 64) as u32, intended_us: number as u64 }, text))
    }
}

/// FNV-1a: tells whether what was read is what was sent. Nobody attacks it here.
pub fn digest(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_and_other_content_has_none() {
        let stamp = LoadStamp { no: 7, intended_us: u64::MAX - 3 };
        let content = stamp.stamp("안녕".as_bytes());
        assert_eq!(LoadStamp::read(&content), Some(stamp));
        assert_eq!(LoadStamp::read_unchecked(&content), Some((stamp, "안녕".as_bytes())));
        assert_eq!(LoadStamp::read(&content[..STAMP_BYTES - 1]), None);
        assert_eq!(LoadStamp::read(b"just some text that is long enough"), None);
        let mut other = content.to_vec();
        other[STAMP_BYTES] ^= 1;
        assert_eq!(LoadStamp::read(&other), None, "the text is another");
    }
}
