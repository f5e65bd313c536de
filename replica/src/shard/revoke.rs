//! Revocation (D9): what a kicked, banned or demoted user did without knowing of it is hidden.
//!
//! Whether a revocation hides an op is a rule over the two ([`rights::hides`]), so it is asked when the later of them is
//! applied. Elements keep the tags of hidden requests apart, so that sets converge as if nothing were hidden, and only
//! what shows differs. All that is known of a user's rights in a room is in the user's `Member` row.

use std::ops::ControlFlow::Continue;

use bytes::Bytes;
use causeway_protocol::{Dot, RequestId, RoomId, UserId, Vector, wire, wire::request::Kind};

use super::Shard;
use super::apply::{Effect, Revoked, effects, hide_dot};
use super::tx::{Tx, corrupt, stored_op};
use crate::crdt;
use crate::key::Key;
use crate::request::{Op, Request};
use crate::rights;
use crate::view::{Cf, View, ViewError};

impl Shard {
    /// Whether a revocation that is applied here hides an op.
    /// `member`: the row of its user.
    pub(super) fn is_hidden(&self, member: &wire::ElementRow, op: &Op) -> bool {
        let hides = |act: rights::Act<'_>| member.revocations.iter().any(|by| rights::hides(by, &act));
        !self.sabotaged(crate::Sabotage::ForgetHiding) && act_of(op).is_some_and(hides)
    }

    /// Gives a role.
    pub(super) fn grant(
        &mut self,
        tx: &mut Tx<'_>,
        op: &Op,
        user: UserId,
        role: u32,
        hidden: bool,
    ) -> Result<(), ViewError> {
        let Request { id, room, ref kind, .. } = op.request;
        // The creator's join is the request itself, and nobody outranks it.
        let (rank, saw) = match kind {
            Some(Kind::Create(_)) => (role, vec![id.to_wire()]),
            _ => (op.rank, op.saw.iter().map(|tag| tag.to_wire()).collect()),
        };
        let grant = wire::Grant { id: Some(id.to_wire()), dot: Some(op.dot.to_wire()), role, rank, saw, hidden };
        self.change_member(tx, room, user, |row| {
            crdt::put_by_dot(&mut row.grants, grant, |grant| grant.dot);
        })
    }

    /// Lifts the bans that the accepting site saw.
    pub(super) fn lift(&mut self, tx: &mut Tx<'_>, op: &Op, user: UserId, hidden: bool) -> Result<(), ViewError> {
        self.change_member(tx, op.request.room, user, |row| {
            let lift = wire::Lift { dot: Some(op.dot.to_wire()), hidden };
            crdt::put_lift(row, lift, |id| id.as_ref().is_some_and(|id| op.saw.contains(&RequestId::from_wire(id))));
        })
    }

    /// Takes rights away, and hides what was done meanwhile.
    pub(super) fn revoke(
        &mut self,
        tx: &mut Tx<'_>,
        op: &Op,
        user: UserId,
        revoked: &Revoked,
    ) -> Result<(), ViewError> {
        let past = op.past.clone().unwrap_or_default();
        let by = wire::Revocation {
            id: Some(op.request.id.to_wire()),
            dot: Some(op.dot.to_wire()),
            past: Some(past.to_wire()),
            floor: revoked.floor,
            ban: revoked.ban,
            until_ms: revoked.until_ms,
            lifts: Vec::new(),
            erases: revoked.erases,
        };
        let entry = by.clone();
        self.change_member(tx, op.request.room, user.clone(), |row| {
            crdt::put_revocation(row, entry);
        })?;
        if revoked.erases {
            self.plan_erasure(tx, op.request.room, &user)?;
        }
        self.hide_done(tx, op.request.room, &user, &by)
    }

    fn change_member(
        &mut self,
        tx: &mut Tx<'_>,
        room: RoomId,
        user: UserId,
        change: impl FnOnce(&mut wire::ElementRow),
    ) -> Result<(), ViewError> {
        self.change_element(tx, &room, Key::Member(room, user), |row| {
            change(row);
            true
        })
    }

    /// Hides what a user has done in a room as far as a revocation takes it. Costs as many ops as the room has beyond
    /// the revocation's past.
    pub(super) fn hide_done(
        &mut self,
        tx: &mut Tx<'_>,
        room: RoomId,
        user: &UserId,
        by: &wire::Revocation,
    ) -> Result<(), ViewError> {
        let past = Vector::from_wire_opt(by.past.as_ref()).map_err(|e| corrupt(Cf::Element, e.to_string()))?;
        for op in self.ops_beyond(tx, room, &past)? {
            let taken = op.user == *user && act_of(&op).is_some_and(|act| rights::hides(by, &act));
            if taken {
                self.hide(tx, &op)?;
            }
        }
        Ok(())
    }

    /// The applied ops of a room that a vector does not cover.
    fn ops_beyond(&self, tx: &Tx<'_>, room: RoomId, past: &Vector) -> Result<Vec<Op>, ViewError> {
        let mut headers = Vec::new();
        for last in self.applied.iter().filter(|dot| !past.covers(dot)) {
            let key = |seq| Key::Op(room, Dot { seq, ..last }).encode();
            let (start, end) = (key(past.get(&last.origin) + 1), key(last.seq.saturating_add(1)));
            tx.overlay().scan(Cf::Op, &start, &end, &mut |_, header| {
                headers.push(Bytes::copy_from_slice(header));
                Continue(())
            })?;
        }
        headers.into_iter().map(|header| stored_op(self.config.shard, header)).collect()
    }

    /// Hides one acceptance, and what its request adds where no other shows.
    fn hide(&mut self, tx: &mut Tx<'_>, op: &Op) -> Result<(), ViewError> {
        let key = Key::Request(op.request.room, op.request.id);
        let Some(old) = tx.get::<wire::RequestRow>(&key)? else { return Ok(()) };
        let mut row = old.clone();
        hide_dot(&mut row, op.dot);
        if row == old {
            return Ok(());
        }
        self.counters.hidden += 1;
        self.put_request(tx, &op.request, Some(&old), &row);
        self.place_rights(tx, op, true)?;
        if row.hidden && !old.hidden {
            self.place_additions(tx, op, true)?;
        }
        Ok(())
    }

    /// Moves what a request has added to where it belongs now.
    pub(super) fn place_additions(&mut self, tx: &mut Tx<'_>, op: &Op, hidden: bool) -> Result<(), ViewError> {
        for effect in effects(op) {
            match effect {
                Effect::Add(key) => {
                    self.change_element(tx, &op.request.room, key, |row| crdt::place_tag(row, op.request.id, hidden))?;
                }
                Effect::Member(user) => self.index_member(tx, &op.request.room, &user)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Marks what one acceptance gave or lifted.
    fn place_rights(&mut self, tx: &mut Tx<'_>, op: &Op, hidden: bool) -> Result<(), ViewError> {
        let dot = Some(op.dot.to_wire());
        for effect in effects(op) {
            match effect {
                Effect::Grant(user, _) => self.change_member(tx, op.request.room, user, |row| {
                    row.grants.iter_mut().filter(|grant| grant.dot == dot).for_each(|grant| grant.hidden = hidden);
                })?,
                Effect::Lift(user) => self.change_member(tx, op.request.room, user, |row| {
                    let lifts = row.revocations.iter_mut().flat_map(|by| &mut by.lifts);
                    lifts.filter(|lift| lift.dot == dot).for_each(|lift| lift.hidden = hidden);
                })?,
                _ => {}
            }
        }
        Ok(())
    }

    /// After a merge may have given a request further dots, and its user further revocations: decides all of its dots,
    /// and moves what it added to where it belongs.
    pub(super) fn settle_merged(
        &mut self,
        tx: &mut Tx<'_>,
        request: &Request,
        user: &UserId,
        row: &mut wire::RequestRow,
    ) -> Result<(), ViewError> {
        row.hidden = request.kind.is_none();
        row.hidden_dots.clear();
        let member = member_row(tx, request.room, user)?;
        if member.revocations.is_empty() {
            return Ok(());
        }
        let mut ops = Vec::with_capacity(row.dots.len());
        for dot in &row.dots {
            let dot = Dot::from_wire(dot).map_err(|e| corrupt(Cf::Request, e.to_string()))?;
            ops.extend(self.merged_op(tx, request.room, dot)?);
        }
        for op in &ops {
            if self.is_hidden(&member, op) {
                hide_dot(row, op.dot);
                self.place_rights(tx, op, true)?;
            }
        }
        ops.iter().try_for_each(|op| self.place_additions(tx, op, row.hidden))
    }

    /// An op that is here, or staged.
    pub(super) fn merged_op(&self, tx: &Tx<'_>, room: RoomId, dot: Dot) -> Result<Option<Op>, ViewError> {
        let key = Key::Op(room, dot);
        let header = match tx.get_bytes(&key)? {
            None => tx.get_bytes(&Key::Staged(self.config.shard, Cf::Op, key.encode()))?,
            here => here,
        };
        header.map(|header| stored_op(self.config.shard, header)).transpose()
    }
}

pub(super) fn act_of(op: &Op) -> Option<rights::Act<'_>> {
    let kind = op.request.kind.as_ref()?;
    Some(rights::Act { id: op.request.id, dot: op.dot, kind, aware: &op.aware, revokes: op.past.is_some() })
}

/// All that is known of a user's membership and rights in a room.
pub(super) fn member_row(tx: &Tx<'_>, room: RoomId, user: &UserId) -> Result<wire::ElementRow, ViewError> {
    Ok(tx.get(&Key::Member(room, user.clone()))?.unwrap_or_default())
}
