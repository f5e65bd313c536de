//! All that the load tester needs of the client SDK, in one place.

use std::sync::Arc;

use bytes::Bytes;
use causeway_client as client;
use causeway_protocol::{RequestId, RoomId, UserId};

/// Where a cluster is.
#[derive(Clone, Debug)]
pub struct Target {
    /// The sites, in the order of their numbers.
    pub sites: Vec<TargetSite>,
    /// The authority's certificate, PEM.
    pub ca: Vec<u8>,
}

/// A site as clients know it.
#[derive(Clone, Debug)]
pub struct TargetSite {
    /// Its name; empty where it is not known.
    pub name: String,
    /// `host:port`.
    pub address: String,
}
