//! Markers: what the user has read, and which rooms the user marks unread.

use causeway_protocol::{RequestId, RoomId, UnreadFlag, wire};

use super::Machine;
use super::io::Now;
use super::links::Link;

impl Machine {
    /// Everything delivered of this room so far has been read by the user: it is not marked unread any more.
    pub(super) fn read(&mut self, now: Now, room: RoomId) {
        let entry = self.rooms.entry(room);
        let read = entry.cursor.clone();
        let mut is_flagged = true;
        if let Some(listed) = &mut entry.listed {
            listed.read(&read);
            is_flagged = listed.may_be_marked_unread();
        }
        // A site may hear of this before it hears of the flag: what is not known to be there is left alone, so that it stays
        // where another device has set it meanwhile.
        if is_flagged {
            self.flag(now, room, false);
        }
        let mark = self.rooms.entry(room).mark.get_or_insert_default();
        mark.marker.read = read;
        (mark.at_ms, mark.sent) = (now.mono_ms, false);
        self.send_mark(room);
    }

    /// The user marks the room unread.
    pub(super) fn unread(&mut self, now: Now, room: RoomId) {
        self.flag(now, room, true);
        self.send_mark(room);
    }

    fn flag(&mut self, now: Now, room: RoomId, unread: bool) {
        let listed = self.rooms.entry(room).listed.as_ref();
        let known = listed.map(|listed| listed.flag()).unwrap_or_default();
        let id = self.mint(now, known.id.stamp);
        let flag = UnreadFlag { id, unread };
        let entry = self.rooms.entry(room);
        if let Some(listed) = &mut entry.listed {
            listed.set_flag(flag);
        }
        let mark = entry.mark.get_or_insert_default();
        mark.marker.flag = flag;
        (mark.reminted, mark.at_ms, mark.sent) = (false, now.mono_ms, false);
    }

    /// A site's clock is behind the flag's stamp: it was made before any site's clock was known. It gets another one, once.
    pub(super) fn flag_refused(&mut self, now: Now, id: RequestId) {
        let is_refused = |mark: &super::rooms::Mark| mark.marker.flag.id == id;
        let found = self.rooms.iter_mut().find(|(_, room)| room.mark.as_ref().is_some_and(is_refused));
        let Some((room, entry)) = found else { return };
        let Some(mark) = &mut entry.mark else { return };
        let UnreadFlag { unread, .. } = std::mem::take(&mut mark.marker.flag);
        let is_given_up = mark.reminted;
        if let Some(listed) = &mut entry.listed {
            listed.set_flag(UnreadFlag::default());
        }
        if is_given_up {
            return self.ask_about(room);
        }
        self.flag(now, room, unread);
        if let Some(mark) = &mut self.rooms.entry(room).mark {
            mark.reminted = true;
        }
        self.send_mark(room);
    }

    /// Asks the home site how the room stands.
    fn ask_about(&mut self, room: RoomId) {
        let Some(home) = self.home else { return };
        if self.rooms.entry(room).listed.as_mut().is_some_and(|listed| listed.asks()) {
            let ask = wire::MarkRead { room: room.to_wire(), vector: None, flag: None };
            self.put(home, wire::client_frame::Frame::MarkRead(ask));
        }
    }

    pub(super) fn send_mark(&mut self, room: RoomId) {
        let Some(home) = self.home.filter(|home| self.links.get(home).is_some_and(Link::is_live)) else { return };
        let Some(mark) = &mut self.rooms.entry(room).mark else { return };
        mark.sent = true;
        if mark.marker.is_empty() {
            return;
        }
        let vector = (!mark.marker.read.is_empty()).then(|| mark.marker.read.to_wire());
        let frame = wire::MarkRead { room: room.to_wire(), vector, flag: mark.marker.flag.to_wire() };
        self.put(home, wire::client_frame::Frame::MarkRead(frame));
    }
}

#[cfg(test)]
#[path = "marking_tests.rs"]
mod tests;
