//! What comes on the stream of events: each request once, cursors that never go back.

use causeway_protocol::{DecodeError, Dot, Marker, RequestId, RoomId, UnreadFlag, Vector, limits, wire};
use prost::Message;

use super::Machine;
use super::invitations;
use super::io::{Change, Covers, Delivery, Item, LinkId, Now, Output, Position};
use super::list::{Listed, Told};

/// A cursor that a hello can tell: with one that names more origins no site would welcome the client again.
fn told(cursor: Vector) -> Result<Vector, DecodeError> {
    if cursor.len() > limits::VECTOR_ENTRIES_MAX { Err(too_long(cursor.len())) } else { Ok(cursor) }
}

fn too_long(got: usize) -> DecodeError {
    DecodeError::TooLong { field: "cursor", max: limits::VECTOR_ENTRIES_MAX, got }
}

impl Machine {
    pub(super) fn event(&mut self, now: Now, link: LinkId, frame: wire::EventFrame) {
        if let Some(link) = self.links.get_mut(&link) {
            link.heartbeat.heard(now.mono_ms);
        }
        // Only the home's events are consecutive: what another connection still brings belongs to a former cursor.
        if self.home != Some(link) {
            return;
        }
        if self.deliver(link, frame).is_err() {
            self.counters.malformed += 1;
        }
    }

    fn deliver(&mut self, link: LinkId, frame: wire::EventFrame) -> Result<(), DecodeError> {
        use wire::event_frame::Frame;
        let missing = DecodeError::Missing { field: "event_frame.frame" };
        let (room, covers, item) = match frame.frame.ok_or(missing)? {
            Frame::Event(event) => match self.request(link, event)? {
                Some(delivery) => delivery,
                None => return Ok(()),
            },
            Frame::RoomOpened(opened) => {
                let room = RoomId::from_wire(&opened.room)?;
                match &mut self.rooms.entry(room).listed {
                    Some(listed) => listed.opened_again(link, &opened),
                    listed => *listed = Some(Box::new(Listed::opened(link, &opened))),
                }
                (room, Covers::Nothing, Item::opened(opened))
            }
            Frame::Unchanged(unchanged) => {
                let entry = self.rooms.entry(RoomId::from_wire(&unchanged.room)?);
                entry.in_page = false;
                if let Some(listed) = &mut entry.listed {
                    listed.unchanged(link);
                }
                return Ok(());
            }
            Frame::Invitations(told) => {
                let told = invitations::of_wire(&told)?;
                if told != self.invitations {
                    self.invitations = told;
                    self.outputs.push_back(Output::Invitations);
                }
                return Ok(());
            }
            Frame::Summary(summary) => {
                let room = RoomId::from_wire(&summary.room)?;
                let upto = Vector::from_wire_opt(summary.upto.as_ref())?;
                let read = Vector::from_wire_opt(summary.marker.as_ref())?;
                let flag = UnreadFlag::from_wire_opt(summary.flag.as_ref())?;
                let entry = self.rooms.entry(room);
                let Some(listed) = &mut entry.listed else { return Ok(()) };
                // What was marked before the first summary came is in none.
                let own = entry.mark.as_ref().map(|mark| mark.marker.flag).unwrap_or_default();
                listed.summarise(&summary, upto, Marker { read, flag: flag.max(own) });
                let known = listed.flag();
                if known > flag {
                    // The site has lost it, or has not heard of it: nobody else may be left to tell it.
                    let tell = wire::MarkRead { room: room.to_wire(), vector: None, flag: known.to_wire() };
                    self.put(link, wire::client_frame::Frame::MarkRead(tell));
                }
                (room, Covers::Nothing, Item::Summarised)
            }
            Frame::RoomClosed(closed) => {
                let room = RoomId::from_wire(&closed.room)?;
                self.rooms.entry(room).listed = None;
                self.hears_no_more_of(room);
                (room, Covers::Nothing, Item::Closed)
            }
            Frame::Gap(gap) => {
                let room = RoomId::from_wire(&gap.room)?;
                let (from, to) = (Vector::from_wire_opt(gap.from.as_ref())?, Vector::from_wire_opt(gap.to.as_ref())?);
                self.rooms.entry(room).in_page = true;
                let lowest = gap.lowest.as_ref().map(RequestId::from_wire);
                (room, Covers::Nothing, Item::Gap { from, to, lowest, missing: gap.missing })
            }
            Frame::CaughtUp(caught_up) => {
                let room = RoomId::from_wire(&caught_up.room)?;
                let vector = Vector::from_wire_opt(caught_up.vector.as_ref())?;
                let entry = self.rooms.entry(room);
                let mut cursor = entry.cursor.clone();
                cursor.join(&vector);
                entry.cursor = told(cursor)?;
                entry.in_page = false;
                (room, Covers::Vector(vector), Item::CaughtUp)
            }
        };
        self.outputs.push_back(Output::Deliver(Delivery { position: Position { room, covers }, item }));
        Ok(())
    }

    /// A request's event; `None` where it was delivered before.
    fn request(&mut self, link: LinkId, event: wire::Event) -> Result<Option<(RoomId, Covers, Item)>, DecodeError> {
        let room = RoomId::from_wire(&event.room)?;
        let dot = Dot::from_wire(event.dot.as_ref().ok_or(DecodeError::Missing { field: "event.dot" })?)?;
        let request = wire::Request::decode(event.request).map_err(|e| DecodeError::malformed("event.request", &e))?;
        let id = request.id.as_ref().ok_or(DecodeError::Missing { field: "request.id" })?;
        let id = RequestId::from_wire(id);
        let past = event.past.as_ref().map(Vector::from_wire).transpose()?;

        let entry = self.rooms.entry(room);
        let covered = entry.cursor.covers(&dot);
        if entry.cursor.get(&dot.origin) == 0 && entry.cursor.len() >= limits::VECTOR_ENTRIES_MAX {
            return Err(too_long(entry.cursor.len() + 1));
        }
        // The highest stamp of all has not been shown: most ids need no look-up.
        let shown = covered || (id.stamp <= entry.seen && entry.shown.contains(id));
        entry.seen = entry.seen.max(id.stamp);
        if !entry.in_page {
            entry.cursor.raise(dot);
        }
        let covers = if entry.in_page { Covers::Page(id) } else { Covers::Dot(dot, id) };
        if let Some(listed) = &mut entry.listed {
            // Of what was shown before, and of what a revocation hides, nobody knows here whether it is counted.
            let is_wrong = match shown {
                true => listed.is_unsure_of(&dot),
                false => {
                    let body = Told { body: event.body.as_ref(), deadline_ms: event.deadline_ms };
                    listed.note(self.config.user.as_str(), dot, id, (&event.user, &request, body))
                }
            };
            if (past.is_some() || is_wrong) && listed.asks() {
                let ask = wire::MarkRead { room: room.to_wire(), vector: None, flag: None };
                self.put(link, wire::client_frame::Frame::MarkRead(ask));
            }
        }
        if shown {
            self.counters.duplicates += 1;
            return Ok(None);
        }
        self.rooms.remember(room, id, &self.config.limits);
        self.counters.delivered += 1;
        if matches!(request.kind, Some(wire::request::Kind::Message(_))) {
            self.heard_from(room, &event.user);
        }
        let wire::Event { user, body, deadline_ms, .. } = event;
        Ok(Some((room, covers, Item::Request { id, user, request, body, deadline_ms, past })))
    }

    pub(super) fn commit_position(&mut self, position: &Position) {
        if self.rooms.entry(position.room).commit(&position.covers) {
            self.outputs.push_back(Output::Persist(Change::Committed(position.clone())));
        }
    }
}
