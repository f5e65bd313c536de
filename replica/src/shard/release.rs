//! Durability is an event (D3): everything that leaves waits here until the write that holds it is fsynced.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use causeway_protocol::{Dot, Origin, RequestId, RoomId, UserId, Vector, wire};

use super::Shard;
use super::erase::erasing_of;
use super::redact::Purge;
use super::tx::Tx;
use crate::io::{Output, SessionId, Ticket};
use crate::request::Op;
use crate::view::ViewError;

/// What a step leaves to be told once it is durable.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are the largest")]
pub(super) enum Pending {
    /// An op was applied.
    Applied {
        op: Op,
        order: u64,
        /// Its event, where it made a request visible.
        event: Option<Bytes>,
        /// Whether it took a body that was here.
        took_body: bool,
    },
    /// A user's membership changed.
    Membership { room: RoomId, user: UserId, member: bool },
    /// A user's invitations changed.
    Invitations(UserId),
    /// A session waits for its ack.
    Ack { session: SessionId, id: RequestId, dot: Dot },
    /// A snapshot was merged, up to this vector.
    Merged(Vector),
    /// Bodies go.
    Purge(Purge),
    /// All that a user wrote in a room goes.
    Erase(RoomId, UserId),
}

/// Pending things by the write that holds them.
#[derive(Default)]
pub(super) struct Release {
    unsealed: Vec<Pending>,
    sealed: VecDeque<(Ticket, Vec<Pending>)>,
    /// Sessions that wait for ack 2, by origin.
    awaiting: BTreeMap<Origin, Awaiting>,
}

/// Sessions that wait for an origin's dots to be stable.
#[derive(Default)]
struct Awaiting {
    /// The frontier that they were told last. It can fall, when a peer returns with less than it had.
    told: u64,
    /// Each with its highest dot.
    sessions: BTreeMap<SessionId, u64>,
}

impl Release {
    /// For a step that writes.
    pub fn push(&mut self, pending: Pending) {
        self.unsealed.push(pending);
    }

    /// For a step that need not write: rides on the last write that is not durable yet.
    pub fn push_behind_last(&mut self, pending: Pending) {
        match self.sealed.back_mut() {
            Some((_, group)) if self.unsealed.is_empty() => group.push(pending),
            _ => self.unsealed.push(pending),
        }
    }

    pub fn seal(&mut self, ticket: Ticket) {
        assert!(self.sealed.back().is_none_or(|(last, _)| *last < ticket), "tickets must rise");
        self.sealed.push_back((ticket, std::mem::take(&mut self.unsealed)));
    }

    fn pop(&mut self, durable: Ticket) -> Option<Vec<Pending>> {
        self.sealed.pop_front_if(|(ticket, _)| *ticket <= durable).map(|(_, group)| group)
    }

    pub fn forget(&mut self, session: SessionId) {
        self.awaiting.retain(|_, awaiting| {
            awaiting.sessions.remove(&session);
            !awaiting.sessions.is_empty()
        });
    }
}

impl Shard {
    pub(super) fn on_durable(&mut self, tx: &mut Tx<'_>, ticket: Ticket) -> Result<(), ViewError> {
        let mut acks = Vec::new();
        let mut effects = Vec::new();
        let mut grown = false;
        while let Some(group) = self.release.pop(ticket) {
            for pending in group {
                match pending {
                    Pending::Applied { op, order, event, took_body } => {
                        grown = true;
                        self.durable.raise(op.dot);
                        self.order_durable = order + 1;
                        // While the shard is not ready, rows can be merged that no live event told of: a later event
                        // would raise cursors over them. When it is ready, sessions read at their cursors.
                        if self.ready {
                            effects.push(news(&op, event, took_body));
                        }
                        self.tail.push(order, op, self.bounds.tail_bytes_max);
                    }
                    Pending::Membership { room, user, member } => {
                        effects.push(Output::Membership { room, user, member });
                    }
                    Pending::Invitations(user) => effects.push(Output::Invitations { user }),
                    Pending::Purge(purge) => self.purge(tx, &purge)?,
                    Pending::Erase(room, user) => effects.extend(self.start_erasing(room, user)),
                    Pending::Ack { session, id, dot } => acks.push((session, id, dot)),
                    Pending::Merged(vector) => {
                        grown = true;
                        self.merge_unsynced = false;
                        self.durable.join(&vector);
                        // Erasures that it brought had to wait for it.
                        self.erasing = erasing_of(&tx.overlay(), self.config.shard)?;
                    }
                }
            }
        }
        if grown {
            tx.emit(Output::DurableVector(self.durable.clone()));
        }
        effects.into_iter().for_each(|effect| tx.emit(effect));
        for (session, id, dot) in acks {
            self.acknowledge(tx, session, id, dot);
        }
        if grown {
            self.check_ready(tx);
            self.send_acks(tx);
            self.stable_may_have_grown(tx);
            self.pump_all(tx)?;
        }
        self.serve_snapshot_asks(tx)
    }

    /// Ack 1, of a dot that is durable; and a place in the queue for ack 2.
    pub(super) fn acknowledge(&mut self, tx: &mut Tx<'_>, session: SessionId, id: RequestId, dot: Dot) {
        let stable = self.stable_seq(&dot.origin);
        let replicated = stable >= dot.seq;
        if !replicated {
            let new = || Awaiting { told: stable, ..Awaiting::default() };
            let awaiting = self.release.awaiting.entry(dot.origin).or_insert_with(new);
            let seq = awaiting.sessions.entry(session).or_insert(0);
            *seq = dot.seq.max(*seq);
        }
        tx.emit(Output::Accepted { session, id, dot, replicated });
    }

    /// What is fsynced in at least two sites: of this site and its peers, the second highest.
    pub(super) fn stable_seq(&self, origin: &Origin) -> u64 {
        let (mut first, mut second) = (self.durable.get(origin), 0);
        for seq in self.peers.values().map(|peer| peer.acked.get(origin)) {
            (first, second) = if seq > first { (seq, first) } else { (first, second.max(seq)) };
        }
        second
    }

    pub(super) fn stable_may_have_grown(&mut self, tx: &mut Tx<'_>) {
        let origins: Vec<Origin> = self.release.awaiting.keys().copied().collect();
        for origin in origins {
            let stable = self.stable_seq(&origin);
            let Some(awaiting) = self.release.awaiting.get_mut(&origin) else { continue };
            let grown = stable > awaiting.told;
            awaiting.told = stable;
            if !grown {
                continue;
            }
            let dot = Dot { origin, seq: stable };
            for session in awaiting.sessions.keys() {
                tx.emit(Output::Frontier { session: *session, dot });
            }
            awaiting.sessions.retain(|_, seq| *seq > stable);
            if awaiting.sessions.is_empty() {
                self.release.awaiting.remove(&origin);
            }
        }
    }
}

/// What an op is to the sessions of its room.
fn news(op: &Op, event: Option<Bytes>, took_body: bool) -> Output {
    let (room, dot) = (op.request.room, op.dot);
    match event {
        Some(frame) => Output::Deliver { room, dot, frame },
        // Another acceptance of a removal may have seen what the first did not.
        None => Output::Recount { room, dot, hides: op.past.is_some() || !op.saw.is_empty() || took_body },
    }
}

/// The newest durable ops, still in memory: links that keep up read nothing from the store.
#[derive(Default)]
pub(super) struct Tail {
    ops: VecDeque<(u64, Op)>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, order: u64, op: Op, bytes_max: usize) {
        self.bytes += op.bytes();
        self.ops.push_back((order, op));
        while self.bytes > bytes_max
            && let Some((_, old)) = self.ops.pop_front()
        {
            self.bytes -= old.bytes();
        }
    }

    /// Whether the op of an apply number is still here.
    pub fn holds(&self, order: u64) -> bool {
        self.ops.binary_search_by_key(&order, |(number, _)| *number).is_ok()
    }

    /// The op of an apply number, where it is still here.
    pub fn get(&self, order: u64) -> Option<(Dot, wire::Op)> {
        let at = self.ops.binary_search_by_key(&order, |(number, _)| *number).ok()?;
        self.ops.get(at).map(|(_, op)| (op.dot, op.to_wire()))
    }
}
