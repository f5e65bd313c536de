//! Golden vectors, round trips, and decoders against arbitrary bytes.
