//! Truncating the log (D6): what every configured site has goes; a laggard holds it back up to a limit; and
//! nothing goes that no other configured site is known to have.

use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{Dot, Vector, wire};

use super::tx::{Tx, decode_row};
use super::{Shard, timers};
use crate::key::Key;
use crate::view::{Cf, View, ViewError};

/// Order rows that one pass looks at.
const PASS_ROWS_MAX: usize = 8_192;

impl Shard {
    pub(super) fn truncate(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        self.truncate_at = tx.now.mono_ms + timers::TRUNCATE_MS;
        if self.peers.is_empty() || self.merge.is_some() {
            return Ok(());
        }
        let mut target = self.truncation_target();
        target.join(&self.floor);
        let gone = target.beyond(&self.floor);
        if gone.is_empty() {
            return Ok(());
        }
        let shard = self.config.shard;
        for dot in gone.iter() {
            let from = Dot { seq: self.floor.get(&dot.origin) + 1, ..dot };
            let to = Dot { seq: dot.seq + 1, ..dot };
            self.counters.truncated += to.seq - from.seq;
            tx.delete_range(Cf::Log, Key::Log(shard, from).encode(), Key::Log(shard, to).encode());
        }
        self.floor = target;
        self.log_bytes = 0;
        self.raise_order_floor(tx)?;
        self.write_shard_row(tx);
        Ok(())
    }

    fn truncation_target(&self) -> Vector {
        let mut acked = self.peers.values().map(|peer| &peer.acked);
        let Some(first) = acked.next() else { return Vector::new() };
        let everywhere = acked.fold(first.clone(), |all, next| all.meet(next));
        if self.log_bytes <= self.config.log_bytes_max {
            return everywhere.meet(&self.durable);
        }
        // Over the limit: what any other site has can go, and the laggard needs a snapshot.
        let mut somewhere = first.clone();
        self.peers.values().for_each(|peer| somewhere.join(&peer.acked));
        somewhere.meet(&self.durable)
    }

    /// Drops the order rows below the first op that is still in the log.
    fn raise_order_floor(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let shard = self.config.shard;
        let (start, end) =
            (Key::Order(shard, self.order_floor).encode(), Key::Order(shard, self.order_durable).encode());
        let mut rows = Vec::new();
        tx.overlay().scan(Cf::Order, &start, &end, &mut |key, value| {
            rows.push((Key::decode(Cf::Order, key), bytes::Bytes::copy_from_slice(value)));
            if rows.len() < PASS_ROWS_MAX { Continue(()) } else { Break(()) }
        })?;
        let mut floor = self.order_floor;
        for (key, value) in rows {
            let row: wire::OrderRow = decode_row(Cf::Order, value)?;
            let dot = row.dot.as_ref().and_then(|dot| Dot::from_wire(dot).ok());
            match (key, dot) {
                (Some(Key::Order(_, number)), Some(dot)) if self.floor.covers(&dot) => floor = number + 1,
                _ => break,
            }
        }
        tx.delete_range(Cf::Order, start, Key::Order(shard, floor).encode());
        self.order_floor = floor;
        Ok(())
    }
}
