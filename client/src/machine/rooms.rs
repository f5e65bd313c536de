//! What the client has of each room: cursors, stamps, what was shown.

use std::collections::BTreeMap;

use causeway_protocol::{Marker, RequestId, RoomId, Stamp, Vector, wire};
use prost::Message;

use super::config::Limits;
use super::io::{Covers, LinkId, SavedCursor};
use super::list::{Listed, RoomView};
use super::shown::Shown;

/// Bytes of cursors in a hello: what is beyond it is left out (those rooms are sent from their start, and what the
/// cursor here covers is dropped here), since a hello is one frame.
const HELLO_CURSOR_BYTES_MAX: usize = 768 << 10;

const _: () = assert!(HELLO_CURSOR_BYTES_MAX < causeway_protocol::limits::FRAME_BYTES_MAX * 7 / 8);

/// A marker to be sent.
#[derive(Default)]
pub(super) struct Mark {
    pub(super) marker: Marker,
    /// A site found its flag's stamp ahead of its clock, and it got another one.
    pub(super) reminted: bool,
    pub(super) at_ms: u64,
    pub(super) sent: bool,
}

#[derive(Default)]
pub(super) struct Room {
    /// What was delivered.
    pub(super) cursor: Vector,
    /// What the application is done with.
    pub(super) committed: Vector,
    pub(super) shown: Shown,
    /// Highest stamp seen in the room.
    pub(super) seen: Stamp,
    /// Highest stamp minted for it.
    pub(super) minted: Stamp,
    /// A gap was announced and its page is under way: only its end moves the cursor.
    pub(super) in_page: bool,
    pub(super) mark: Option<Mark>,
    /// How it stands, once a site has shown it.
    pub(super) listed: Option<Box<Listed>>,
}

impl Room {
    pub(super) fn resumed(saved: SavedCursor) -> Self {
        let mut room = Self { cursor: saved.vector.clone(), committed: saved.vector, ..Self::default() };
        for id in saved.shown {
            room.seen = room.seen.max(id.stamp);
            room.shown.push(id);
        }
        room
    }

    /// Raises what is committed; returns whether that was news.
    pub(super) fn commit(&mut self, covers: &Covers) -> bool {
        match covers {
            Covers::Dot(dot, _) => {
                let news = !self.committed.covers(dot);
                self.committed.raise(*dot);
                news
            }
            Covers::Vector(vector) => {
                let news = !self.committed.covers_all(vector);
                self.committed.join(vector);
                news
            }
            Covers::Page(_) => true,
            Covers::Nothing => false,
        }
    }
}

#[derive(Default)]
pub(super) struct Rooms {
    map: BTreeMap<RoomId, Room>,
    shown: usize,
}

impl Rooms {
    pub(super) fn resumed(cursors: BTreeMap<RoomId, SavedCursor>) -> Self {
        let shown = cursors.values().map(|saved| saved.shown.len()).sum();
        Self { map: cursors.into_iter().map(|(id, saved)| (id, Room::resumed(saved))).collect(), shown }
    }

    pub(super) fn get(&self, room: RoomId) -> Option<&Room> {
        self.map.get(&room)
    }

    pub(super) fn entry(&mut self, room: RoomId) -> &mut Room {
        self.map.entry(room).or_default()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (RoomId, &mut Room)> {
        self.map.iter_mut().map(|(id, room)| (*id, room))
    }

    /// Those that a site has shown, the one with the newest message first.
    pub(super) fn list(&self, home: Option<LinkId>, clock_ms: u64) -> Vec<RoomView> {
        let listed = self.map.iter().filter_map(|(id, room)| Some(room.listed.as_ref()?.view(*id, home, clock_ms)));
        let mut list: Vec<RoomView> = listed.collect();
        list.sort_by_key(|room| std::cmp::Reverse(room.place()));
        list
    }

    /// Remembers a delivered request, within the limits.
    pub(super) fn remember(&mut self, room: RoomId, id: RequestId, limits: &Limits) {
        let max = match self.shown < limits.shown_total_max {
            true => limits.shown_per_room_max,
            false => limits.shown_per_room_min,
        };
        let shown = &mut self.map.entry(room).or_default().shown;
        shown.push(id);
        self.shown = self.shown + 1 - shown.shrink_to(max);
    }

    /// For a hello.
    pub(super) fn cursors(&self) -> Vec<wire::RoomCursor> {
        let mut budget = HELLO_CURSOR_BYTES_MAX;
        let held = self.map.iter().filter(|(_, room)| !room.cursor.is_empty());
        let cursors = held.map(|(id, room)| wire::RoomCursor {
            room: id.to_wire(),
            vector: Some(room.cursor.to_wire()),
            summary: room.listed.as_ref().map_or(0, |listed| listed.fingerprint()),
        });
        cursors
            .take_while(|cursor| {
                // Tag and length of the entry itself.
                let bytes = cursor.encoded_len() + 8;
                let fits = bytes <= budget;
                budget = budget.saturating_sub(bytes);
                fits
            })
            .collect()
    }
}
