//! Expiry (D16): bodies that go at a moment that their acceptance says.
//!
//! The accepting site works the moment out, from the message's lifetime and the room's retention as it knows it, and
//! writes it into the op; nothing that happens later moves it. A row has the least of its acceptances. An index by time
//! leads a timer to what is due; bodies that come after their time are not taken. A site whose clock is off lets nothing
//! go: what it takes for the past may be the future.
//!
//! A message takes the author's edits with it, those that come later too. Nothing waits for a sync, as redactions do:
//! after a power failure the clock says again what the timer did.

use std::ops::ControlFlow::{Break, Continue};

use causeway_protocol::{Bytes, Dot, RoomId, Stamp, UserId, limits, wire, wire::request::Kind};

use super::Shard;
use super::redact::Purge;
use super::tx::{Tx, corrupt};
use crate::io::Now;
use crate::key::{Key, Register, deadlines_range, retention_of, writers_of};
use crate::request::{Op, Request};
use crate::view::{Cf, View, ViewError};

/// Bodies that one tick lets go.
const EXPIRED_PER_TICK_MAX: usize = 256;
/// At least so long from one look to the next, ms.
const EXPIRE_EVERY_MS: u64 = 250;
/// At most so long, ms: the wall clock may be set. So long while it is off.
const LOOK_AGAIN_MS: u64 = 5_000;

/// When to look for bodies whose time has come.
#[derive(Default)]
pub(super) struct Expiry {
    /// `mono_ms`; `None` while no body of the shard will go.
    pub due_ms: Option<u64>,
    looked_ms: u64,
}

impl Expiry {
    /// Of a shard that is taken up from its rows.
    pub fn open(view: &dyn View, shard: causeway_protocol::ShardId, now: Now) -> Result<Self, ViewError> {
        let (start, end) = deadlines_range(shard);
        let mut due_ms = None;
        view.scan(Cf::Meta, &start, &end, &mut |_, _| {
            due_ms = Some(now.mono_ms);
            Break(())
        })?;
        Ok(Self { due_ms, looked_ms: 0 })
    }

    fn note(&mut self, now: Now, deadline_ms: u64) {
        let wait = deadline_ms.saturating_sub(now.wall_ms).min(LOOK_AGAIN_MS);
        let due = (now.mono_ms + wait).max(self.looked_ms + EXPIRE_EVERY_MS);
        self.due_ms = Some(self.due_ms.map_or(due, |before| before.min(due)));
    }
}

/// The earlier of two moments, 0 being never.
pub(super) fn earlier(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

impl Shard {
    /// When the body of a request goes that is accepted with this stamp; 0: never. An edit's goes with its message.
    pub(super) fn deadline(
        &self,
        tx: &Tx<'_>,
        request: &Request,
        stamp: Stamp,
        retention_ms: u64,
    ) -> Result<u64, ViewError> {
        let after = |lifetime_ms: u64| match lifetime_ms {
            0 => 0,
            lifetime_ms => stamp.ms() + lifetime_ms.clamp(limits::LIFETIME_MS_MIN, limits::LIFETIME_MS_MAX),
        };
        Ok(match &request.kind {
            Some(Kind::Message(message)) => after(earlier(retention_ms, message.lifetime_ms)),
            Some(Kind::Edit(_)) => match self.subject_row(tx, request)? {
                Some(row) => row.deadline_ms,
                None => after(retention_ms),
            },
            _ => 0,
        })
    }

    /// The least of some acceptances, by their ops, those of a transfer too: a row of it is trimmed to fewer than its
    /// deadline was taken from.
    pub(super) fn least_deadline(&self, tx: &Tx<'_>, room: &RoomId, dots: &[wire::Dot]) -> Result<u64, ViewError> {
        let mut least = 0;
        for dot in dots {
            let dot = Dot::from_wire(dot).map_err(|e| corrupt(Cf::Request, e.to_string()))?;
            let op = Key::Op(*room, dot);
            let staged = Key::Staged(self.config.shard, Cf::Op, op.encode());
            let header: Option<wire::Header> =
                tx.get(&op)?.map_or_else(|| tx.get(&staged), |header| Ok(Some(header)))?;
            least = earlier(least, header.map_or(0, |header| header.deadline_ms));
        }
        Ok(least)
    }

    /// The row of the message that an edit changes.
    fn subject_row(&self, tx: &Tx<'_>, request: &Request) -> Result<Option<wire::RequestRow>, ViewError> {
        match &request.kind {
            Some(Kind::Edit(_)) => {
                let target = request.target().map(|target| tx.get(&Key::Request(request.room, target)));
                Ok(target.transpose()?.flatten())
            }
            _ => Ok(None),
        }
    }

    fn is_past(&self, tx: &Tx<'_>, deadline_ms: u64) -> bool {
        deadline_ms != 0 && self.accepting && deadline_ms <= tx.now.wall_ms
    }

    /// Whether a body has come after its time.
    pub(super) fn is_expired(
        &self,
        tx: &Tx<'_>,
        request: &Request,
        user: &UserId,
        deadline_ms: u64,
    ) -> Result<bool, ViewError> {
        if self.sabotaged(crate::Sabotage::KeepLateBodies) {
            return Ok(false);
        }
        let of_message = self.subject_row(tx, request)?.filter(|row| row.user == user.as_str());
        Ok(self.is_past(tx, deadline_ms) || of_message.is_some_and(|row| self.is_past(tx, row.deadline_ms)))
    }

    /// Whether an op's body is not to be taken: its author redacted what it belongs to, or its time has come.
    pub(super) fn is_body_gone(&self, tx: &Tx<'_>, op: &Op) -> Result<bool, ViewError> {
        Ok(self.is_redacted(tx, &op.request, &op.user)?
            || self.is_expired(tx, &op.request, &op.user, op.deadline_ms)?)
    }

    /// A request's row is written: its body is to go when its time comes. `before`: the time that it had. One that comes
    /// without its body may have edits with theirs, which came first.
    pub(super) fn plan_expiry(&mut self, tx: &mut Tx<'_>, request: &Request, row: &wire::RequestRow, before: u64) {
        if row.deadline_ms != 0 && (row.body.is_some() || row.deadline_ms != before) {
            tx.put_bytes(&Key::Deadline(self.config.shard, row.deadline_ms, request.room, request.id), Bytes::new());
            self.expiry.note(tx.now, row.deadline_ms);
        }
    }

    /// The clock is right again, or off.
    pub(super) fn set_accepting(&mut self, now: Now, accepting: bool) {
        if accepting && !self.accepting {
            self.expiry.due_ms = self.expiry.due_ms.map(|due_ms| due_ms.min(now.mono_ms));
        }
        self.accepting = accepting;
    }

    /// Lets bodies go whose time has come.
    pub(super) fn expire(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        let now = tx.now;
        self.expiry = Expiry { due_ms: None, looked_ms: now.mono_ms };
        if !self.accepting {
            self.expiry.due_ms = Some(now.mono_ms + LOOK_AGAIN_MS);
            return Ok(());
        }
        let (start, end) = deadlines_range(self.config.shard);
        let mut first = Vec::new();
        tx.overlay().scan(Cf::Meta, &start, &end, &mut |key, _| {
            first.push(Key::decode(Cf::Meta, key));
            if first.len() <= EXPIRED_PER_TICK_MAX { Continue(()) } else { Break(()) }
        })?;
        for (n, key) in first.into_iter().enumerate() {
            let Some(Key::Deadline(_, deadline_ms, room, id)) = key else {
                return Err(corrupt(Cf::Meta, "a deadline's key does not decode"));
            };
            if n == EXPIRED_PER_TICK_MAX || !self.is_past(tx, deadline_ms) {
                self.expiry.note(now, deadline_ms);
                break;
            }
            let key = Key::Request(room, id);
            if let Some(row) = tx.get::<wire::RequestRow>(&key)?
                && let Ok(user) = UserId::new(&row.user)
            {
                self.counters.bodies_expired += self.take_bodies(tx, &Purge::new(room, id, user))?;
            }
            tx.delete(&Key::Deadline(self.config.shard, deadline_ms, room, id));
        }
        Ok(())
    }

    /// Keeps the head's copy of a register.
    pub(super) fn copy_register(
        &self,
        tx: &mut Tx<'_>,
        room: &RoomId,
        register: Register,
        row: Option<&wire::RegisterRow>,
    ) -> Result<(), ViewError> {
        let key = Key::Head(*room);
        let mut head: wire::HeadRow = tx.get(&key)?.unwrap_or_default();
        let value = row.map(|row| &row.value[..]);
        match register {
            Register::Writers => head.writers = value.map_or(0, |value| writers_of(value).number()),
            Register::Retention => head.retention_ms = value.map_or(0, retention_of),
            _ => return Ok(()),
        }
        tx.put(&key, &head);
        Ok(())
    }
}
