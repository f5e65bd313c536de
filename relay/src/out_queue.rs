//! Frames that a QUIC stream has not taken yet.

use bytes::Bytes;
use quinn::{SendStream, WriteError};

/// Slots kept when the queue is empty; a burst's allocation above it is given back.
const SLOTS_KEPT_MAX: usize = 64;

/// Frames for one stream, in order. Whoever fills it keeps it bounded: it takes no more while much is left.
#[derive(Default)]
pub struct OutQueue {
    chunks: Vec<Bytes>,
    start: usize,
    bytes: usize,
}

impl OutQueue {
    /// Adds a frame.
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.chunks.push(frame);
    }

    /// Whether the stream has taken everything.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that it has not taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the stream what it takes, in one go; waits until it takes something. Cancelling it loses nothing.
    /// Without a stream or frames it waits for ever.
    pub async fn write_to(&mut self, stream: Option<&mut SendStream>) -> Result<(), WriteError> {
        let Some(stream) = stream.filter(|_| self.bytes > 0) else { return std::future::pending().await };
        let written = stream.write_chunks(&mut self.chunks[self.start..]).await?;
        self.start += written.chunks;
        self.bytes -= written.bytes;
        if self.bytes == 0 {
            self.start = 0;
            if self.chunks.capacity() > SLOTS_KEPT_MAX {
                self.chunks = Vec::new();
            } else {
                self.chunks.clear();
            }
        }
        Ok(())
    }
}
