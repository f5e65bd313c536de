//! Datagrams: one message each, without a length in front.

use crate::{Bytes, DecodeError, Message, limits};

/// A message as a datagram.
///
/// # Panics
/// If the message is over [`limits::DATAGRAM_BYTES_MAX`]: our own code made it, and must not.
pub fn encode_datagram(message: &impl Message) -> Bytes {
    let datagram = message.encode_to_vec();
    let len = datagram.len();
    assert!(len <= limits::DATAGRAM_BYTES_MAX, "own datagram of {len} bytes is over the limit");
    datagram.into()
}

/// A datagram's message.
///
/// # Errors
/// It is empty or over [`limits::DATAGRAM_BYTES_MAX`], or does not decode.
pub fn decode_datagram<M: Message + Default>(kind: &'static str, datagram: &Bytes) -> Result<M, DecodeError> {
    let (got, max) = (datagram.len(), limits::DATAGRAM_BYTES_MAX);
    if !(1..=max).contains(&got) {
        return Err(DecodeError::TooLong { field: "datagram", max, got });
    }
    M::decode(&datagram[..]).map_err(|e| DecodeError::malformed(kind, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn typing(user: usize) -> wire::Typing {
        wire::Typing { room: vec![1; 16].into(), user: "u".repeat(user) }
    }

    #[test]
    fn what_is_encoded_is_decoded_and_what_is_too_long_or_empty_is_not() {
        let decode = |datagram: &Bytes| decode_datagram::<wire::Typing>("Typing", datagram);
        // Two bytes before the room and three before the user.
        let longest = typing(limits::DATAGRAM_BYTES_MAX - 16 - 2 - 3);
        let datagram = encode_datagram(&longest);
        assert_eq!(datagram.len(), limits::DATAGRAM_BYTES_MAX);
        assert_eq!(decode(&datagram), Ok(longest));
        let too_long = Bytes::from(typing(limits::DATAGRAM_BYTES_MAX - 16 - 2 - 3 + 1).encode_to_vec());
        let error = |got| Err(DecodeError::TooLong { field: "datagram", max: limits::DATAGRAM_BYTES_MAX, got });
        assert_eq!(decode(&too_long), error(513));
        assert_eq!(decode(&Bytes::new()), error(0));
        assert!(matches!(decode(&Bytes::from_static(&[0xff; 9])), Err(DecodeError::Malformed { kind: "Typing", .. })));
    }

    #[test]
    #[should_panic = "over the limit"]
    fn own_datagrams_over_the_limit_are_a_bug() {
        encode_datagram(&typing(limits::DATAGRAM_BYTES_MAX));
    }
}
