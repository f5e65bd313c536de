//! The whole system: relays as processes, clients over real sockets, faults. Nothing here waits for a fixed time
//! where it can wait for a condition; the limits are guards against hanging.

mod bad_config;
mod bad_frames;
mod changes;
mod cut_off;
mod failover;
mod fuzz;
mod old_disk;
mod reader;
mod rights;
mod slow_reader;
mod smoke;
mod system;
mod tokens;
