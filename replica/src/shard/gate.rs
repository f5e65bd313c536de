//! Gating (D5): ops that came before what they depend on wait here, bounded.

use std::collections::BTreeMap;

use causeway_protocol::{Dot, Origin, Vector};

use crate::request::Op;

/// Ops whose time has not come.
#[derive(Default)]
pub(super) struct Gate {
    waiting: BTreeMap<Dot, Op>,
    bytes: usize,
    /// Since when something has been waiting.
    pub since_ms: Option<u64>,
}

impl Gate {
    /// Takes an op in. `false`: the buffer was full, and everything that waited is gone, to be asked for again.
    pub fn push(&mut self, op: Op, mono_ms: u64, bytes_max: usize) -> bool {
        self.since_ms.get_or_insert(mono_ms);
        self.bytes += op.bytes();
        if let Some(old) = self.waiting.insert(op.dot, op) {
            self.bytes -= old.bytes();
        }
        let fits = self.bytes <= bytes_max;
        if !fits {
            self.waiting.clear();
            self.bytes = 0;
        }
        fits
    }

    /// An op that can be applied now: next of its origin, its deps covered.
    pub fn pop_ready(&mut self, applied: &Vector, covered: impl Fn(&Op) -> bool) -> Option<Op> {
        let mut from = Dot { origin: Origin::from_bytes([0; Origin::LEN]), seq: 0 };
        let ready = loop {
            // One look an origin: only its next op can be ready.
            let dot = *self.waiting.range(from..).next()?.0;
            let next = Dot { origin: dot.origin, seq: applied.get(&dot.origin) + 1 };
            if dot.seq < next.seq {
                self.remove(dot);
                continue;
            }
            if self.waiting.get(&next).is_some_and(&covered) {
                break next;
            }
            from = Dot { origin: dot.origin, seq: u64::MAX };
        };
        self.remove(ready)
    }

    fn remove(&mut self, dot: Dot) -> Option<Op> {
        let op = self.waiting.remove(&dot)?;
        self.bytes -= op.bytes();
        if self.waiting.is_empty() {
            self.since_ms = None;
        }
        Some(op)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
