//! Erasure of a user: the membership ends, and what the user wrote in the room goes.
//!
//! In a room it is a revocation that its user asks for, so that what the user did elsewhere meanwhile is hidden, with
//! one thing more: the bodies of all that the user wrote, not knowing of it, go ([`rights::erases`]). That is a rule over
//! two ops, asked when the later of them is applied. What is here already is taken by a walk over the room's requests,
//! a bounded part of it at a time, which begins when the erasure is durable, as redactions do; readers are kept from
//! those bodies meanwhile.
//!
//! In the user's own room ([`RoomId::of_user`]) it says that the user is to be erased everywhere: the host of each site
//! asks for it, under the same id, in every room that the user was ever in by what the site knows.

use std::collections::BTreeSet;
use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{Bytes, Code, Dot, RequestId, RoomId, ShardId, UserId, limits, wire, wire::request::Kind};

use super::permit::{Grounds, SAW_MAX};
use super::redact::keys_of;
use super::release::Pending;
use super::revoke::{act_of, member_row};
use super::tx::{Tx, corrupt, decode_row};
use super::{Shard, timers};
use crate::crdt;
use crate::io::Output;
use crate::key::{Key, erasing_range, prefix_range, user_hash, was_since};
use crate::read::is_revocation_durable;
use crate::request::{Op, Request};
use crate::rights;
use crate::view::{Cf, View, ViewError};

impl Shard {
    /// Whether a user may be erased in a room, whose policy the user may see or not.
    pub(super) fn check_erasure(
        &self,
        tx: &Tx<'_>,
        room: RoomId,
        sees: bool,
        (user, member): (&UserId, &wire::ElementRow),
    ) -> Result<Result<Grounds, (Code, String)>, ViewError> {
        let mut saw: Vec<RequestId> = crdt::tags(member).take(SAW_MAX).collect();
        for key in [Key::Invited(room, user.clone()), Key::Knock(room, user.clone())] {
            let row: Option<wire::ElementRow> = tx.get(&key)?;
            saw.extend(row.iter().flat_map(|row| crdt::tags(row).take(SAW_MAX)));
        }
        let was_here = !saw.is_empty()
            || *member != wire::ElementRow::default()
            || tx.get_bytes(&Key::UserWas(user_hash(user), room))?.is_some();
        if !was_here && room != RoomId::of_user(user) {
            return Ok(Err(match sees {
                true => (Code::NotPermitted, "user has never been in the room: there is nothing to erase".to_owned()),
                false => (Code::UnknownRoom, rights::UNSEEN.to_owned()),
            }));
        }
        if rights::erasures_of(member).count() >= limits::REVOCATIONS_PER_USER_MAX {
            return Ok(Err((Code::NotPermitted, "user was erased as often as a room takes".to_owned())));
        }
        let aware = rights::revocations_of(member);
        Ok(Ok(Grounds { saw, aware, revokes: true, ..Grounds::default() }))
    }

    /// An erasure was written: bodies go when it is durable.
    pub(super) fn plan_erasure(&mut self, tx: &mut Tx<'_>, room: RoomId, user: &UserId) -> Result<(), ViewError> {
        let key = Key::Erasing(self.config.shard, room, user.clone());
        if tx.get_bytes(&key)?.is_none() {
            change_erasures(tx, room, |erasures| erasures + 1)?;
        }
        tx.put(&key, &wire::ErasingRow::default());
        if room == RoomId::of_user(user) {
            tx.put_bytes(&Key::Erased(self.config.shard, user.clone()), Bytes::new());
        }
        self.release.push(Pending::Erase(room, user.clone()));
        Ok(())
    }

    /// The erasure is durable.
    pub(super) fn start_erasing(&mut self, room: RoomId, user: UserId) -> Option<Output> {
        let own = room == RoomId::of_user(&user);
        self.erasing.insert((room, user.clone()));
        own.then_some(Output::Erased { user })
    }

    /// Takes bodies, of one user in one room, up to a bound.
    pub(super) fn erase_on(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let Some((room, user)) = self.erasing.first().cloned() else { return Ok(()) };
        let key = Key::Erasing(self.config.shard, room, user.clone());
        let member = member_row(tx, room, &user)?;
        let is_durable = |by: &wire::Revocation| is_revocation_durable(&self.durable, by);
        let (durable, waiting): (Vec<_>, Vec<_>) = rights::erasures_of(&member).cloned().partition(is_durable);
        let member = wire::ElementRow { revocations: durable, ..Default::default() };
        let after = tx.get::<wire::ErasingRow>(&key)?.unwrap_or_default().after;
        let (mut start, end) = prefix_range(&room.0);
        if !after.is_empty() {
            let mut above = [&room.0[..], &after].concat();
            above.push(0);
            start = above.into();
        }
        self.erase_at = tx.now.mono_ms + timers::ERASE_MS;
        let (mut rows, rows_max) = (Vec::new(), self.bounds.erase_rows_max);
        tx.overlay().scan(Cf::Request, &start, &end, &mut |key, value| {
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if rows.len() < rows_max { Continue(()) } else { Break(()) }
        })?;
        let is_last = rows.len() < rows_max;
        let after = rows.last().map_or(after, |(key, _)| key.slice(RoomId::LEN..));
        for (row_key, value) in rows {
            let row: wire::RequestRow = decode_row(Cf::Request, value)?;
            if row.user == user.as_str() && row.body.is_some() && self.is_erased_row(tx, &member, room, &row)? {
                let row_key = Key::decode(Cf::Request, &row_key).ok_or_else(|| corrupt(Cf::Request, "a bad key"))?;
                // Bodies are not hashed: no digest changes.
                tx.put(&row_key, &wire::RequestRow { body: None, ..row });
                self.counters.bodies_erased += 1;
            }
        }
        if !is_last {
            tx.put(&key, &wire::ErasingRow { after });
            return Ok(());
        }
        self.erasing.remove(&(room, user));
        if waiting.is_empty() {
            tx.delete(&key);
            change_erasures(tx, room, |erasures| erasures.saturating_sub(1))
        } else {
            // It begins anew when what brings another one is durable: a write, or a whole merge.
            tx.put(&key, &wire::ErasingRow::default());
            Ok(())
        }
    }

    /// Whether a request's body is gone by an erasure of its user, whose row this is: by any of its acceptances.
    pub(super) fn is_erased_row(
        &self,
        tx: &Tx<'_>,
        member: &wire::ElementRow,
        room: RoomId,
        row: &wire::RequestRow,
    ) -> Result<bool, ViewError> {
        if rights::erasures_of(member).next().is_none() || self.sabotaged(crate::Sabotage::KeepLateBodies) {
            return Ok(false);
        }
        for dot in &row.dots {
            let dot = Dot::from_wire(dot).map_err(|e| corrupt(Cf::Request, e.to_string()))?;
            if self.merged_op(tx, room, dot)?.is_some_and(|op| is_erased(member, &op)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether an erasure of its user, whose row this is, takes what an op brings.
pub(super) fn is_erased(member: &wire::ElementRow, op: &Op) -> bool {
    act_of(op).is_some_and(|act| rights::erasures_of(member).any(|by| rights::erases(by, &act)))
}

/// Notes in which rooms a user has ever been, and since when.
pub(super) fn index_was(tx: &mut Tx<'_>, request: &Request, user: &str) -> Result<(), ViewError> {
    if !matches!(request.kind, Some(Kind::Create(_) | Kind::Join(_))) {
        return Ok(());
    }
    for user in UserId::new(user).into_iter().chain(request.direct_with()) {
        let key = Key::UserWas(user_hash(&user), request.room);
        let stamp = request.id.stamp.0;
        let first = tx.get_bytes(&key)?.map_or(stamp, |value| was_since(&value).0.min(stamp));
        tx.put_bytes(&key, Bytes::copy_from_slice(&first.to_be_bytes()));
    }
    Ok(())
}

/// What a store is in the middle of.
pub(super) fn erasing_of(view: &dyn View, shard: ShardId) -> Result<BTreeSet<(RoomId, UserId)>, ViewError> {
    let erasing = |key: Bytes| match Key::decode(Cf::Meta, &key) {
        Some(Key::Erasing(_, room, user)) => Ok((room, user)),
        _ => Err(corrupt(Cf::Meta, "an erasure's key does not decode")),
    };
    keys_of(view, Cf::Meta, &erasing_range(shard))?.into_iter().map(erasing).collect()
}

/// The head says whether readers have to look for erasures.
fn change_erasures(tx: &mut Tx<'_>, room: RoomId, change: impl Fn(u32) -> u32) -> Result<(), ViewError> {
    let key = Key::Head(room);
    let mut head: wire::HeadRow = tx.get(&key)?.unwrap_or_default();
    head.erasures = change(head.erasures);
    tx.put(&key, &head);
    Ok(())
}
