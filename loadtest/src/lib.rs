//! End-to-end load, fault drills and reports.
//!
//! A run is a [`workload::Plan`] (generated, or from a trace), played through SDK clients against relays that run as
//! processes, with a fault in the middle; a ledger keeps what was sent and seen, and a verdict judges it.
#![deny(unsafe_code)]

pub mod acts;
pub mod cli;
pub mod drill;
pub mod fanout;
pub mod fuzz;
pub mod http;
pub mod latency;
pub mod ledger;
pub mod model;
pub mod outage;
pub mod proc_stats;
pub mod process_signal;
pub mod report;
pub mod rng;
pub mod sdk;
pub mod site;
pub mod sites;
pub mod stamp;
pub mod udp_proxy;
pub mod verdict;
pub mod workload;
