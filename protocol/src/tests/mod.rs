//! Golden vectors, round trips, laws, and decoders against arbitrary bytes.

mod frames;
mod golden;
mod hostile;
mod ids;
mod samples;
mod schema;
mod vectors;
