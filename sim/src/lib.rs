//! Deterministic simulation of sites, clients, networks, disks and clocks, with checkers.
//!
//! A seed is a run: the real shard replicas, server sessions and client machines live in virtual time on simulated
//! disks and a simulated network, while faults strike. Then everything is healed and the system must settle. The
//! checkers ([`checkers`]) watch every write, everything that leaves a site, and everything that an application is
//! shown. The same seed gives the same trace, event for event.
//!
//! It knows nothing of sockets, RocksDB, threads or the system's clock.

#![forbid(unsafe_code)]

pub mod checkers;
pub mod clients;
pub mod clock;
pub mod coverage;
pub mod disk;
pub mod effects;
pub mod erasures;
pub mod links;
pub mod nemesis;
pub mod network;
pub mod pipes;
pub mod plan;
pub mod queue;
pub mod rng;
pub mod run;
pub mod sabotage;
pub mod sessions;
pub mod sites;
pub mod trace;
pub mod workload;
mod workload_rights;
pub mod world;

pub use run::{Outcome, run};
pub use sabotage::Break;
