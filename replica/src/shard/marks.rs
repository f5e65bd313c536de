//! Markers (D10): what users have read and which rooms they marked unread, joined by maximum, coalesced, replicated as
//! state, never in the log.

use bytes::Bytes;
use causeway_protocol::{
    DecodeError, Marker, Message, RoomId, UnreadFlag, UserId, Vector, limits, wire, wire::shard_frame::Frame,
};

use super::tx::Tx;
use super::{Shard, timers};
use crate::io::Output;
use crate::key::Key;
use crate::view::ViewError;

/// Markers that wait to be sent in one shard; beyond it they are sent when every site is there.
const MARKS_DUE_MAX: usize = 4_096;
/// Markers of which a site was not told, in one shard; beyond it such a site hears of further ones when they
/// move again.
const MARKS_MISSED_MAX: usize = 65_536;
/// A link that broke may have lost what was sent on it for so long, ms: longer than any takes to notice it.
const MARKS_RECENT_MS: u64 = 12_000;
/// Of that, markers of one shard.
const MARKS_RECENT_MAX: usize = 4_096;
/// Markers in one frame.
const FRAME_MARKS_MAX: usize = 512;

impl Shard {
    pub(super) fn on_mark_read(
        &mut self,
        tx: &mut Tx<'_>,
        user: UserId,
        room: RoomId,
        said: Marker,
    ) -> Result<(), ViewError> {
        // Nobody has read what no site has announced. What the time is, a site whose clock is off does not know.
        let flag = if self.accepting { said.flag } else { UnreadFlag::default() };
        let capped = Marker { read: said.read.meet(&self.durable), flag };
        if !self.join_mark(tx, &user, room, &capped)? {
            return Ok(());
        }
        let place = (room, user);
        if self.marks_due.len() < MARKS_DUE_MAX || self.marks_due.contains_key(&place) {
            self.marks_due.entry(place).or_default().join(&capped);
        } else if self.marks_missed.len() < MARKS_MISSED_MAX {
            self.marks_missed.insert(place);
        }
        Ok(())
    }

    pub(super) fn on_read_marks(&mut self, tx: &mut Tx<'_>, marks: wire::ReadMarks) -> super::peers::Checked {
        for mark in marks.marks.into_iter().take(FRAME_MARKS_MAX) {
            let marker = marker_of(mark.vector.as_ref(), mark.flag.as_ref());
            let (room, user, marker) = match (RoomId::from_wire(&mark.room), UserId::new(&mark.user), marker) {
                (Ok(room), Ok(user), Ok(marker)) => (room, user, marker),
                (Err(e), ..) | (_, Err(e), _) | (_, _, Err(e)) => return Ok(Err(e)),
            };
            self.join_mark(tx, &user, room, &marker)?;
        }
        Ok(Ok(()))
    }

    /// `true` where the marker moved.
    fn join_mark(&self, tx: &mut Tx<'_>, user: &UserId, room: RoomId, marker: &Marker) -> Result<bool, ViewError> {
        let key = Key::Read(room, user.clone());
        let mut joined = marker_row(tx, &key)?;
        if !self.join_marker(&mut joined, marker) {
            return Ok(false);
        }
        if joined.read.len() > limits::VECTOR_ENTRIES_MAX {
            return Ok(false); // No honest sites have so many origins, and nobody could be told.
        }
        let vector = (!joined.read.is_empty()).then(|| joined.read.to_wire());
        tx.put(&key, &wire::ReadRow { vector, flag: joined.flag.to_wire() });
        tx.emit(Output::Marked { room, user: user.clone(), marker: joined });
        Ok(true)
    }

    fn join_marker(&self, joined: &mut Marker, marker: &Marker) -> bool {
        if self.sabotaged(crate::Sabotage::LastFlagToCome) && marker.flag.is_set() && marker.flag != joined.flag {
            joined.flag = marker.flag;
            joined.read.join(&marker.read);
            return true;
        }
        joined.join(marker)
    }

    /// A link broke: what was sent on it of late may not have got there.
    pub(super) fn miss_recent_marks(&mut self) {
        let room = MARKS_MISSED_MAX.saturating_sub(self.marks_missed.len());
        self.marks_missed.extend(self.marks_recent.drain(..).map(|(_, place)| place).take(room));
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
            let marker = marker_row(tx, &Key::Read(room, user.clone()))?;
            self.marks_due.entry((room, user)).or_default().join(&marker);
        }
        Ok(())
    }

    pub(super) fn send_marks(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        self.marks_at = tx.now.mono_ms + timers::MARKS_MS;
        let all_up = self.all_peers_up();
        if all_up {
            self.take_up_missed(tx)?;
        }
        let now = tx.now.mono_ms;
        let is_old = |sent_ms: u64| now.saturating_sub(sent_ms) > MARKS_RECENT_MS;
        while self.marks_recent.front().is_some_and(|(sent_ms, _)| is_old(*sent_ms)) {
            self.marks_recent.pop_front();
        }
        let mut marks = Vec::new();
        let mut bytes = 0;
        while marks.len() < FRAME_MARKS_MAX
            && bytes < self.bounds.frame_bytes_max
            && let Some(((room, user), marker)) = self.marks_due.pop_first()
        {
            if !all_up && self.marks_missed.len() < MARKS_MISSED_MAX {
                self.marks_missed.insert((room, user.clone()));
            } else if self.marks_recent.len() < MARKS_RECENT_MAX {
                self.marks_recent.push_back((now, (room, user.clone())));
            }
            let room = Bytes::copy_from_slice(&room.0);
            let vector = (!marker.read.is_empty()).then(|| marker.read.to_wire());
            let flag = marker.flag.to_wire();
            let mark = wire::ReadMark { room, user: user.as_str().to_owned(), vector, flag };
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

/// A user's marker of a room as it is stored.
fn marker_row(tx: &Tx<'_>, key: &Key) -> Result<Marker, ViewError> {
    let row: wire::ReadRow = tx.get(key)?.unwrap_or_default();
    Ok(marker_of(row.vector.as_ref(), row.flag.as_ref()).unwrap_or_default())
}

fn marker_of(read: Option<&wire::Vector>, flag: Option<&wire::UnreadFlag>) -> Result<Marker, DecodeError> {
    Ok(Marker { read: Vector::from_wire_opt(read)?, flag: UnreadFlag::from_wire_opt(flag)? })
}
