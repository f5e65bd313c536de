//! Frames: 4 bytes of big-endian length, then one message.

use crate::{Bytes, Message, limits};
use bytes::{Buf, BufMut, BytesMut};

/// What is wrong with a stream of frames. The connection is closed with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length prefix is beyond the limit.
    #[error("frame of {got} bytes is longer than the limit of {max}: split the request")]
    TooLong {
        /// What the prefix says.
        got: usize,
        /// [`limits::FRAME_BYTES_MAX`], or what [`FrameDecoder::set_max`] said.
        max: usize,
    },
    /// The stream ended within a frame.
    #[error("stream ended within a frame: {got} of {want} bytes arrived")]
    Truncated {
        /// Bytes that arrived.
        got: usize,
        /// Bytes that were announced, prefix included.
        want: usize,
    },
    /// The payload is no such message.
    #[error("frame does not decode as {kind}: {reason}")]
    Malformed {
        /// The message expected.
        kind: &'static str,
        /// The decoder's words.
        reason: String,
    },
}

/// A message as a frame.
///
/// # Panics
/// If the message is over [`limits::FRAME_BYTES_MAX`]: our own code made it, and must not.
pub fn encode_frame(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + message.encoded_len());
    encode_frame_into(message, &mut out);
    out.freeze()
}

/// Appends a message as a frame; see [`encode_frame`].
pub fn encode_frame_into(message: &impl Message, out: &mut BytesMut) {
    let len = message.encoded_len();
    assert!(len <= limits::FRAME_BYTES_MAX, "own frame of {len} bytes is over the limit");
    out.reserve(4 + len);
    out.put_u32(len as u32);
    message.encode_raw(out);
}

/// Cuts a byte stream into frames. Holds at most one incomplete frame and what one read brought.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    max: usize,
}

impl Default for FrameDecoder {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), max: limits::FRAME_BYTES_MAX }
    }
}

impl FrameDecoder {
    /// Takes frames up to this length from now on, if that is below the limit.
    pub fn set_max(&mut self, max: usize) {
        self.max = max.min(limits::FRAME_BYTES_MAX);
    }

    /// Takes what a read brought.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// Where a read may write directly.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole frame's payload, if one is here.
    pub fn next_payload(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > self.max {
            return Err(FrameError::TooLong { got: len, max: self.max });
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }

    /// The next whole frame, decoded.
    pub fn next<M: Message + Default>(&mut self, kind: &'static str) -> Result<Option<M>, FrameError> {
        let Some(payload) = self.next_payload()? else { return Ok(None) };
        M::decode(payload).map(Some).map_err(|e| FrameError::Malformed { kind, reason: e.to_string() })
    }

    /// At the stream's end: whether it ended between frames.
    pub fn finish(&self) -> Result<(), FrameError> {
        let got = self.buffer.len();
        let want = match self.buffer.first_chunk::<4>() {
            Some(prefix) => 4 + u32::from_be_bytes(*prefix) as usize,
            None => 4,
        };
        if got == 0 { Ok(()) } else { Err(FrameError::Truncated { got, want }) }
    }
}
