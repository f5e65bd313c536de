//! The whole system: relays as processes, clients over real sockets, faults. Nothing here waits for a fixed time
//! where it can wait for a condition; the limits are guards against hanging.

mod admin;
mod api;
mod api_client;
mod api_tokens;
mod bad_config;
mod bad_frames;
mod changes;
mod cut_off;
mod direct;
mod erasures;
mod expire;
mod failover;
mod fuzz;
mod gap;
mod invitations;
mod limits;
mod limits_of_strangers;
mod no_leaks;
mod old_disk;
mod profile;
mod raw;
mod reader;
mod rights;
mod room_list;
mod security;
mod slow_reader;
mod smoke;
mod system;
mod token_site;
mod tokens;
mod typing;
