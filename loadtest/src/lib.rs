//! End-to-end load, fault drills and reports.
//!
//! A run is a [`workload::Plan`] (generated, or from a trace), played through SDK clients against relays that run as
//! processes, with a fault in the middle; a ledger keeps what was sent and seen, and a verdict judges it.

pub mod rng;
pub mod workload;
