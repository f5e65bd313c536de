//! Frames made wrong: cut, lengthened, with bits flipped, with lengths that lie.

use causeway_protocol::{Message, limits};

use crate::rng::Rng;

/// A payload with its length in front, however long it is.
pub fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// A message as a frame. Our own may be over the limit, where the protocol's encoder would refuse.
pub fn frame_of(message: &impl Message) -> Vec<u8> {
    framed(&message.encode_to_vec())
}

/// A message as a datagram, which has no length in front; half of them wrong in one way.
pub fn datagram(rng: &mut Rng, message: &impl Message) -> Vec<u8> {
    if rng.chance(0.5) {
        return message.encode_to_vec();
    }
    let mut frame = mutated(rng, message);
    frame.split_off(frame.len().min(4))
}

/// Random bytes.
pub fn noise(rng: &mut Rng, len: usize) -> Vec<u8> {
    (0..len).map(|_| rng.bits() as u8).collect()
}

/// A frame, wrong in one way. The ways that end a connection are the rarer ones.
pub fn mutated(rng: &mut Rng, message: &impl Message) -> Vec<u8> {
    let mut payload = message.encode_to_vec();
    match rng.below(16) {
        0 => {
            let frame = framed(&payload);
            frame[..rng.below(frame.len() + 1)].to_vec()
        }
        1 => {
            let mut frame = framed(&payload);
            let lie = match rng.below(3) {
                0 => limits::FRAME_BYTES_MAX as u32 + 1,
                1 => u32::MAX,
                _ => rng.below(payload.len() + 16) as u32,
            };
            frame[..4].copy_from_slice(&lie.to_be_bytes());
            frame
        }
        2 => {
            let len = rng.below(64);
            framed(&noise(rng, len))
        }
        3 => {
            let at = rng.below(payload.len() + 1);
            payload.truncate(at);
            framed(&payload)
        }
        4 => {
            let (at, len) = (rng.below(payload.len() + 1), rng.below(9));
            let more = noise(rng, len);
            payload.splice(at..at, more);
            framed(&payload)
        }
        5..9 => {
            for _ in 0..=rng.below(3) {
                let at = rng.below(payload.len());
                if let Some(byte) = payload.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
            }
            framed(&payload)
        }
        _ => framed(&payload),
    }
}

#[cfg(test)]
#[path = "mutate_tests.rs"]
mod tests;
