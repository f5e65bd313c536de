//! Reliable ordered streams over the bad network: a connection's streams, and peer links where they are streams.
//! A cut stalls them; the one who waits breaks the connection, and everything in flight is lost.

use std::collections::{BTreeMap, VecDeque};

use crate::network::{Network, Place};
use crate::queue::Micros;

/// A stream in one direction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PipeId(pub u64);

struct Pipe<T> {
    from: Place,
    to: Place,
    in_flight: VecDeque<(T, usize)>,
    bytes: usize,
    /// Arrivals that a cut held up.
    held_up: usize,
    last_arrival: Micros,
    /// A slow reader takes so long for each item.
    slowness: Micros,
}

/// All of them.
pub struct Pipes<T> {
    next: u64,
    pipes: BTreeMap<PipeId, Pipe<T>>,
}

impl<T> Default for Pipes<T> {
    fn default() -> Self {
        Self { next: 0, pipes: BTreeMap::new() }
    }
}

impl<T> Pipes<T> {
    /// A new one, on which nothing arrives before `from_at`.
    pub fn open(&mut self, from: Place, to: Place, from_at: Micros) -> PipeId {
        self.next += 1;
        let pipe =
            Pipe { from, to, in_flight: VecDeque::new(), bytes: 0, held_up: 0, last_arrival: from_at, slowness: 0 };
        self.pipes.insert(PipeId(self.next), pipe);
        PipeId(self.next)
    }

    /// Everything in flight is lost.
    pub fn close(&mut self, id: PipeId) {
        self.pipes.remove(&id);
    }

    /// Sends an item; gives the delay after which to call [`Pipes::arrive`]. `None`: there is no such stream.
    pub fn send(&mut self, id: PipeId, item: T, bytes: usize, now: Micros, net: &mut Network) -> Option<Micros> {
        let pipe = self.pipes.get_mut(&id)?;
        pipe.in_flight.push_back((item, bytes));
        pipe.bytes += bytes;
        Some(pipe.schedule(now, net))
    }

    /// The next item arrives, unless a cut holds it up.
    pub fn arrive(&mut self, id: PipeId, net: &Network) -> Option<T> {
        let pipe = self.pipes.get_mut(&id)?;
        if !net.open(pipe.from, pipe.to) {
            pipe.held_up += 1;
            return None;
        }
        let (item, bytes) = pipe.in_flight.pop_front()?;
        pipe.bytes -= bytes;
        Some(item)
    }

    /// Where it ends.
    pub fn target(&self, id: PipeId) -> Option<Place> {
        self.pipes.get(&id).map(|pipe| pipe.to)
    }

    /// Bytes sent and not arrived.
    pub fn bytes(&self, id: PipeId) -> usize {
        self.pipes.get(&id).map_or(0, |pipe| pipe.bytes)
    }

    /// Its reader takes so long for each item from now on.
    pub fn slow(&mut self, id: PipeId, slowness: Micros) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.slowness = slowness;
        }
    }

    /// Paths were mended: the arrivals that were held up, with their delays.
    pub fn mended(&mut self, now: Micros, net: &mut Network) -> Vec<(PipeId, Micros)> {
        let mut arrivals = Vec::new();
        for (id, pipe) in &mut self.pipes {
            if net.open(pipe.from, pipe.to) {
                for _ in 0..std::mem::take(&mut pipe.held_up) {
                    arrivals.push((*id, pipe.schedule(now, net)));
                }
            }
        }
        arrivals
    }
}

impl<T> Pipe<T> {
    fn schedule(&mut self, now: Micros, net: &mut Network) -> Micros {
        let arrival = (now + net.stream_delay(self.from, self.to)).max(self.last_arrival + self.slowness);
        self.last_arrival = arrival;
        arrival - now
    }
}

#[cfg(test)]
#[path = "pipes_tests.rs"]
mod tests;
