//! Redaction (D12): the bodies of a message and of its edits go, and never come back.
//!
//! A redaction is an element of its own, by message and author, that is only ever added. A body is gone where the message
//! that it belongs to is redacted as its author's, by the author or by a moderator who names the author: a rule over two
//! rows of the room, whichever came first. A
//! body that comes after its redaction is not taken. Those that are here go when the redaction is durable, and not
//! before: what is read and sent meanwhile would otherwise lack a body that a power failure brings back. A row keeps the
//! purge in mind until it is done.

use std::collections::VecDeque;
use std::ops::ControlFlow::Continue;

use causeway_protocol::{Bytes, RequestId, RoomId, ShardId, UserId, wire};

use super::Shard;
use super::release::Pending;
use super::tx::{Tx, corrupt};
use crate::key::{Key, edits_range, purges_range};
use crate::request::Request;
use crate::view::{Cf, View, ViewError};

/// Purges that a tick catches up with.
const PURGES_PER_TICK_MAX: usize = 64;

/// Bodies that go: those of a message and of its edits, as far as they are this user's.
#[derive(Clone, Debug)]
pub(super) struct Purge {
    room: RoomId,
    target: RequestId,
    user: UserId,
}

impl Shard {
    /// Whether a request's body is gone: its author has redacted what it belongs to.
    pub(super) fn is_redacted(&self, tx: &Tx<'_>, request: &Request, user: &UserId) -> Result<bool, ViewError> {
        if self.sabotaged(crate::Sabotage::KeepLateBodies) {
            return Ok(false);
        }
        let Some(subject) = request.subject() else { return Ok(false) };
        Ok(tx.get_bytes(&Key::Redaction(request.room, subject, user.clone()))?.is_some())
    }

    /// A redaction was written: its bodies go when it is durable.
    pub(super) fn plan_purge(&mut self, tx: &mut Tx<'_>, room: RoomId, target: RequestId, user: &UserId) {
        let purge = Purge { room, target, user: user.clone() };
        tx.put_bytes(&purge.key(self.config.shard), Bytes::new());
        self.release.push(Pending::Purge(purge));
    }

    /// The redaction is durable.
    pub(super) fn purge(&mut self, tx: &mut Tx<'_>, purge: &Purge) -> Result<(), ViewError> {
        self.counters.bodies_purged += self.take_bodies(tx, purge)?;
        tx.delete(&purge.key(self.config.shard));
        Ok(())
    }

    /// Takes the bodies of a message and of its author's edits away; how many there were.
    pub(super) fn take_bodies(&mut self, tx: &mut Tx<'_>, purge: &Purge) -> Result<u64, ViewError> {
        let mut taken = self.purge_one(tx, purge, purge.target)?;
        for (id, author) in edits_of(tx, &purge.room, purge.target)? {
            // Nobody else's edit ever takes effect.
            if author == purge.user {
                taken += self.purge_one(tx, purge, id)?;
            }
        }
        Ok(taken)
    }

    fn purge_one(&mut self, tx: &mut Tx<'_>, purge: &Purge, id: RequestId) -> Result<u64, ViewError> {
        let key = Key::Request(purge.room, id);
        let Some(mut row) = tx.get::<wire::RequestRow>(&key)? else { return Ok(0) };
        let is_taken = row.user == purge.user.as_str() && row.body.take().is_some();
        if is_taken {
            // Bodies are not hashed: no digest changes.
            tx.put(&key, &row);
        }
        Ok(u64::from(is_taken))
    }

    /// After a restart: purges whose redactions are durable and that were not done, or not durably.
    pub(super) fn catch_up_with_purges(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        for _ in 0..PURGES_PER_TICK_MAX {
            let Some(purge) = self.purges_left.pop_front() else { break };
            self.purge(tx, &purge)?;
        }
        Ok(())
    }
}

impl Purge {
    pub(super) fn new(room: RoomId, target: RequestId, user: UserId) -> Self {
        Self { room, target, user }
    }

    fn key(&self, shard: ShardId) -> Key {
        Key::Purge(shard, self.room, self.target, self.user.clone())
    }
}

/// The purges that a store has still to do.
pub(super) fn purges_of(view: &dyn View, shard: ShardId) -> Result<VecDeque<Purge>, ViewError> {
    let range = purges_range(shard);
    let purge = |key: Bytes| match Key::decode(Cf::Meta, &key) {
        Some(Key::Purge(_, room, target, user)) => Ok(Purge { room, target, user }),
        _ => Err(corrupt(Cf::Meta, "a purge's key does not decode")),
    };
    keys_of(view, Cf::Meta, &range)?.into_iter().map(purge).collect()
}

/// A message's edits and who made them, by their places.
pub(super) fn edits_of(tx: &Tx<'_>, room: &RoomId, target: RequestId) -> Result<Vec<(RequestId, UserId)>, ViewError> {
    let range = edits_range(room, target);
    let edit = |key: Bytes| match Key::decode(Cf::Element, &key) {
        Some(Key::Edit(_, _, id, user)) => Ok((id, user)),
        _ => Err(corrupt(Cf::Element, "an edit's key does not decode")),
    };
    keys_of(&tx.overlay(), Cf::Element, &range)?.into_iter().map(edit).collect()
}

/// The keys of a range.
pub(super) fn keys_of(view: &dyn View, cf: Cf, (start, end): &(Bytes, Bytes)) -> Result<Vec<Bytes>, ViewError> {
    let mut keys = Vec::new();
    view.scan(cf, start, end, &mut |key, _| {
        keys.push(Bytes::copy_from_slice(key));
        Continue(())
    })?;
    Ok(keys)
}
