//! What a list of rooms shows of a message.

use bytes::Bytes;

use crate::limits::PREVIEW_BYTES_MAX;

/// The first bytes of a content, at most [`PREVIEW_BYTES_MAX`]: not cut within a character of UTF-8. A copy, since a
/// slice would keep all of the content.
pub fn preview(content: &Bytes) -> Bytes {
    let mut at = content.len().min(PREVIEW_BYTES_MAX);
    while at < content.len() && at > 0 && content[at] & 0b1100_0000 == 0b1000_0000 {
        at -= 1;
    }
    Bytes::copy_from_slice(&content[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_the_beginning_and_ends_between_characters() {
        let short = Bytes::from_static("점심".as_bytes());
        assert_eq!(preview(&short), short);
        // 85 characters of three bytes are 255 bytes; the 86th would end at 258.
        let long = Bytes::from("점".repeat(100));
        assert_eq!(preview(&long), Bytes::from("점".repeat(85)));
        let exact = Bytes::from("a".repeat(PREVIEW_BYTES_MAX));
        assert_eq!(preview(&exact), exact);
        assert_eq!(preview(&Bytes::from("a".repeat(PREVIEW_BYTES_MAX + 1))), exact);
        // What is no UTF-8 at all comes out empty at worst.
        assert_eq!(preview(&Bytes::from(vec![0x80; 300])), Bytes::new());
    }
}
