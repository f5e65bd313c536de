//! What applications are shown: each id once, causes first, cursors that only rise and cover exactly what was shown.

use std::collections::{BTreeMap, BTreeSet};

use causeway_client::machine::{Covers, Delivery, Item, SavedCursor};
use causeway_protocol::{RequestId, RoomId, Vector};

use super::ops::Ops;
use super::{Verdict, broken};

/// One room as one device was shown it, across starts of its application.
#[derive(Default)]
struct Chain {
    /// Shown and committed.
    committed: BTreeSet<RequestId>,
    /// Shown since the application started, in order.
    shown: BTreeSet<RequestId>,
    /// What gaps named: not shown by deliveries.
    skipped: Vector,
    /// The cursor as last seen.
    cursor: Vector,
}

/// All chains, by client and room.
#[derive(Default)]
pub struct Chains {
    chains: BTreeMap<(usize, RoomId), Chain>,
}

impl Chains {
    /// The application starts on what was saved: what was shown and not committed may come again.
    pub fn started(&mut self, client: usize, storage_lost: bool) {
        if storage_lost {
            self.chains.retain(|(c, _), _| *c != client);
        }
        for (_, chain) in self.chains.iter_mut().filter(|((c, _), _)| *c == client) {
            chain.shown = chain.committed.clone();
        }
    }

    /// "no id twice on a cursor chain"; causes first.
    pub fn delivered(&mut self, client: usize, delivery: &Delivery, shard_count: u16, ops: &mut Ops) -> Verdict {
        let room = delivery.position.room;
        let chain = self.chains.entry((client, room)).or_default();
        match &delivery.item {
            Item::Request { id, .. } => {
                if !chain.shown.insert(*id) {
                    return broken("no id twice on a cursor chain", format!("client {client} was shown {id:?} twice"));
                }
                let Covers::Dot(dot, _) = &delivery.position.covers else { return Ok(()) };
                let Some(deps) = ops.deps(room.shard(shard_count), *dot) else { return Ok(()) };
                for (cause, dots) in ops.of_room(room) {
                    let needed = dots.iter().any(|dot| deps.covers(dot));
                    let skipped = || dots.iter().any(|dot| chain.skipped.covers(dot));
                    let excused = || skipped() || ops.may_be_hidden(room.shard(shard_count), dots);
                    if needed && cause != id && !chain.shown.contains(cause) && !excused() {
                        return broken("causes are shown first", format!("client {client}: {id:?} before {cause:?}"));
                    }
                }
            }
            Item::Gap { to, .. } => chain.skipped.join(to),
            _ => {}
        }
        Ok(())
    }

    /// "cursor entries never go back"; the application has committed a delivery.
    pub fn committed(&mut self, client: usize, room: RoomId, covers: &Covers, cursor: &SavedCursor) -> Verdict {
        let chain = self.chains.entry((client, room)).or_default();
        if let Covers::Dot(_, id) | Covers::Page(id) = covers {
            chain.committed.insert(*id);
        }
        if !cursor.vector.covers_all(&chain.cursor) {
            return broken("cursors never go back", format!("client {client} in {room:?}"));
        }
        chain.cursor = cursor.vector.clone();
        Ok(())
    }

    /// "what was delivered up to a cursor is exactly what it covers". `complete`: nothing is on its way to this client
    /// in this room, so that the other direction holds too.
    /// What a revocation hides is shown to those who read before it came, and to nobody else.
    pub fn cover_exactly<'a>(
        &self,
        ops: &Ops,
        shard_count: u16,
        complete: impl Fn(usize, &RoomId) -> Option<&'a Vector>,
    ) -> Verdict {
        for ((client, room), chain) in &self.chains {
            for (id, dots) in ops.of_room(*room) {
                let covered = dots.iter().any(|dot| chain.cursor.covers(dot));
                let skipped = dots.iter().any(|dot| chain.skipped.covers(dot));
                let shard = room.shard(shard_count);
                let hidden = match complete(*client, room) {
                    Some(within) => ops.are_hidden(shard, dots, within),
                    None => ops.may_be_hidden(shard, dots),
                };
                let excused = skipped || hidden;
                let shown = chain.committed.contains(id);
                if covered && !shown && !excused {
                    let detail = format!("client {client} never saw {id:?} in {room:?}, which its cursor covers");
                    return broken("a cursor covers what was delivered", detail);
                }
                if shown && !covered && complete(*client, room).is_some() {
                    let detail = format!("client {client} saw {id:?} in {room:?}, which its cursor does not cover");
                    return broken("a cursor covers what was delivered", detail);
                }
            }
        }
        Ok(())
    }

    /// How many chains there are.
    pub fn len(&self) -> usize {
        self.chains.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }
}
