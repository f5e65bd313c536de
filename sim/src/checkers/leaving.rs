//! Nothing leaves a site beyond its durable vector: what a power failure can undo, nobody has seen.

use causeway_protocol::{Dot, Message, ShardId, SiteId, Vector, wire};

use super::{Verdict, broken};

const INVARIANT: &str = "nothing leaves beyond the durable vector";

/// A dot leaves: in an ack, an event, a page.
pub fn dot(site: SiteId, shard: ShardId, what: &str, dot: &Dot, durable: &Vector) -> Verdict {
    if durable.covers(dot) {
        return Ok(());
    }
    broken(INVARIANT, format!("{site:?} let {dot:?} of {shard:?} leave in {what}; durable is {durable:?}"))
}

/// A vector leaves: an acknowledgement to a peer, a cursor. `known` is what the receiver itself claimed.
pub fn vector(site: SiteId, shard: ShardId, what: &str, vector: &Vector, known: &Vector, durable: &Vector) -> Verdict {
    match vector.iter().find(|dot| !durable.covers(dot) && !known.covers(dot)) {
        None => Ok(()),
        Some(dot) => broken(INVARIANT, format!("{site:?} claimed {dot:?} of {shard:?} in {what}; durable {durable:?}")),
    }
}

/// A frame leaves for a peer.
pub fn frame(site: SiteId, shard: ShardId, frame: &wire::ShardFrame, durable: &Vector) -> Verdict {
    use wire::shard_frame::Frame;
    let decoded = |v: &Option<wire::Vector>| {
        Vector::from_wire_opt(v.as_ref()).or_else(|e| broken("frames decode", format!("from {site:?}: {e}")))
    };
    let none = Vector::new();
    match &frame.frame {
        Some(Frame::Ops(ops)) => {
            for op in &ops.ops {
                let header = wire::Header::decode(op.header.clone());
                let header = header.or_else(|e| broken("frames decode", format!("op from {site:?}: {e}")))?;
                let dot = wire::Dot { origin: header.origin, seq: header.seq };
                let dot = Dot::from_wire(&dot).or_else(|e| broken("frames decode", e.to_string()))?;
                self::dot(site, shard, "ops", &dot, durable)?;
            }
            Ok(())
        }
        Some(Frame::Ack(ack)) => vector(site, shard, "a peer ack", &decoded(&ack.vector)?, &none, durable),
        Some(Frame::Hello(hello)) => vector(site, shard, "a shard hello", &decoded(&hello.vector)?, &none, durable),
        Some(Frame::SnapshotPage(page)) => vector(site, shard, "a snapshot", &decoded(&page.vector)?, &none, durable),
        _ => Ok(()),
    }
}
