//! Every buffer is within its limit.

use causeway_client::machine::Status;
use causeway_protocol::SiteId;
use causeway_replica::shard::{Bounds, ShardStatus};

use super::{Verdict, broken};

const INVARIANT: &str = "every buffer is within its limit";

/// Of a shard: ops that wait for others.
pub fn of_shard(site: SiteId, status: &ShardStatus, bounds: &Bounds) -> Verdict {
    if status.waiting_bytes <= bounds.waiting_bytes_max {
        return Ok(());
    }
    broken(INVARIANT, format!("{site:?} {:?}: {} bytes of ops wait", status.shard, status.waiting_bytes))
}

/// Of a client: its outbox.
pub fn of_client(client: usize, status: &Status, requests_max: usize, bytes_max: usize) -> Verdict {
    if status.outbox_requests <= requests_max && status.outbox_bytes <= bytes_max {
        return Ok(());
    }
    let (requests, bytes) = (status.outbox_requests, status.outbox_bytes);
    broken(INVARIANT, format!("client {client}: {requests} requests of {bytes} bytes in the outbox"))
}
