//! What must hold when everything is healed: nothing acknowledged is lost, everybody has seen everything.

use causeway_protocol::{RequestId, RoomId};

use super::sends::Sent;
use super::{Verdict, broken};
use crate::queue::Micros;
use causeway_protocol::SiteId;

/// What was destroyed: disks, and the sender's devices.
pub struct Losses<'a> {
    /// Disks, and when.
    pub disks: &'a [(SiteId, Micros)],
    /// Devices of the sender, and when.
    pub devices: &'a [Micros],
}

/// "a request acked `Replicated` is read at every live, ready site at the end"; "one acked `Stored` is read there
/// or still in its outbox". `readable`: every site's history holds it.
pub fn kept(place: &(RoomId, RequestId), sent: &Sent, readable: bool, in_outbox: bool, losses: &Losses<'_>) -> Verdict {
    if readable {
        return Ok(());
    }
    let (room, id) = place;
    if sent.replicated {
        return broken("replicated is never lost", format!("{id:?} of client {} in {room:?} is gone", sent.client));
    }
    let Some((_, first)) = sent.stored.first() else { return Ok(()) };
    if in_outbox || sent.discarded {
        return Ok(());
    }
    let device_lost = losses.devices.iter().any(|at| at >= first);
    let disks_lost = sent.stored.iter().all(|(site, at)| losses.disks.iter().any(|(s, lost)| s == site && lost >= at));
    if device_lost && disks_lost {
        return Ok(());
    }
    broken("stored is kept or waits in the outbox", format!("{id:?} of client {} in {room:?} is gone", sent.client))
}
