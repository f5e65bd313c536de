//! Read markers (D10): vectors joined by maximum, coalesced, replicated as state, never in the log.

use bytes::Bytes;
use causeway_protocol::{Message, RoomId, UserId, Vector, limits, wire, wire::shard_frame::Frame};

use super::tx::Tx;
use super::{Shard, timers};
use crate::io::Output;
use crate::key::Key;
use crate::view::ViewError;

/// Markers that wait to be sent in one shard; beyond it the oldest room's go unsent until read again.
const MARKS_DUE_MAX: usize = 4_096;
/// Markers of which a site that is down was not told, in one shard; beyond it such a site hears of further ones when they
/// move again.
const MARKS_MISSED_MAX: usize = 65_536;
/// Markers in one frame.
const FRAME_MARKS_MAX: usize = 512;

impl Shard {
    pub(super) fn on_mark_read(
        &mut self,
        tx: &mut Tx<'_>,
        user: UserId,
        room: RoomId,
        vector: Vector,
    ) -> Result<(), ViewError> {
        // Nobody has read what no site has announced.
        let capped = vector.meet(&self.durable);
        if self.join_mark(tx, &user, room, &capped)? && self.marks_due.len() < MARKS_DUE_MAX {
            self.marks_due.entry((room, user)).or_default().join(&capped);
        }
        Ok(())
    }

    pub(super) fn on_read_marks(&mut self, tx: &mut Tx<'_>, marks: wire::ReadMarks) -> super::peers::Checked {
        for mark in marks.marks.into_iter().take(FRAME_MARKS_MAX) {
            let vector = Vector::from_wire_opt(mark.vector.as_ref());
            let (room, user, vector) = match (RoomId::from_wire(&mark.room), UserId::new(&mark.user), vector) {
                (Ok(room), Ok(user), Ok(vector)) => (room, user, vector),
                (Err(e), ..) | (_, Err(e), _) | (_, _, Err(e)) => return Ok(Err(e)),
            };
            self.join_mark(tx, &user, room, &vector)?;
        }
        Ok(Ok(()))
    }

    /// `true` where the marker moved.
    fn join_mark(&self, tx: &mut Tx<'_>, user: &UserId, room: RoomId, vector: &Vector) -> Result<bool, ViewError> {
        let key = Key::Read(room, user.clone());
        let row: wire::ReadRow = tx.get(&key)?.unwrap_or_default();
        let mut joined = Vector::from_wire_opt(row.vector.as_ref()).unwrap_or_default();
        if joined.covers_all(vector) {
            return Ok(false);
        }
        joined.join(vector);
        if joined.len() > limits::VECTOR_ENTRIES_MAX {
            return Ok(false); // No honest sites have so many origins, and nobody could be told.
        }
        tx.put(&key, &wire::ReadRow { vector: Some(joined.to_wire()) });
        tx.emit(Output::Marked { room, user: user.clone(), marker: joined });
        Ok(true)
    }

    /// Whether there are markers to be sent now.
    pub(super) fn owes_marks(&self) -> bool {
        !self.marks_due.is_empty() || (!self.marks_missed.is_empty() && self.all_peers_up())
    }

    fn all_peers_up(&self) -> bool {
        self.peers.values().all(|peer| peer.up)
    }

    /// Sites that were down are told what they missed, all again at once: a marker that they know changes nothing.
    fn take_up_missed(&mut self, tx: &Tx<'_>) -> Result<(), ViewError> {
        for _ in 0..FRAME_MARKS_MAX {
            let Some((room, user)) = self.marks_missed.pop_first() else { break };
            let row: wire::ReadRow = tx.get(&Key::Read(room, user.clone()))?.unwrap_or_default();
            let vector = Vector::from_wire_opt(row.vector.as_ref()).unwrap_or_default();
            self.marks_due.entry((room, user)).or_default().join(&vector);
        }
        Ok(())
    }

    pub(super) fn send_marks(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        self.marks_at = tx.now.mono_ms + timers::MARKS_MS;
        let all_up = self.all_peers_up();
        if all_up {
            self.take_up_missed(tx)?;
        }
        let mut marks = Vec::new();
        let mut bytes = 0;
        while marks.len() < FRAME_MARKS_MAX
            && bytes < self.bounds.frame_bytes_max
            && let Some(((room, user), vector)) = self.marks_due.pop_first()
        {
            if !all_up && self.marks_missed.len() < MARKS_MISSED_MAX {
                self.marks_missed.insert((room, user.clone()));
            }
            let room = Bytes::copy_from_slice(&room.0);
            let mark = wire::ReadMark { room, user: user.as_str().to_owned(), vector: Some(vector.to_wire()) };
            bytes += mark.encoded_len();
            marks.push(mark);
        }
        if marks.is_empty() {
            return Ok(());
        }
        for (site, _) in self.peers.iter().filter(|(_, peer)| peer.up) {
            let frame = Frame::ReadMarks(wire::ReadMarks { marks: marks.clone() });
            tx.emit(Output::ToPeer(*site, self.config.frame(frame)));
        }
        Ok(())
    }
}
