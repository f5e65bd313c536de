//! The server's frames.

use causeway_protocol::{
    Code, Dot, RequestId, RoomId, ShardId, UserId, Vector, encode_frame,
    wire::{self, event_frame::Frame as Event, server_frame::Frame as Control},
};

use super::SessionOutput;
use crate::read::{NewestPage, RoomFace};

pub fn control(frame: Control) -> SessionOutput {
    SessionOutput::Control(encode_frame(&wire::ServerFrame { frame: Some(frame) }))
}

fn event(frame: Event) -> SessionOutput {
    SessionOutput::Event(encode_frame(&wire::EventFrame { frame: Some(frame) }))
}

pub fn accepted(shard: ShardId, id: RequestId, dot: Dot, replicated: bool) -> SessionOutput {
    let (id, dot) = (Some(id.to_wire()), Some(dot.to_wire()));
    control(Control::Accepted(wire::Accepted { id, dot, shard: shard.0.into(), replicated }))
}

pub fn refused(id: Option<RequestId>, code: Code, detail: impl Into<String>) -> SessionOutput {
    let id = id.map(RequestId::to_wire);
    control(Control::Refused(wire::Refused { id, code: code.number(), detail: detail.into(), retry_after_ms: 0 }))
}

/// Over a limit: may be tried again after this long.
pub fn refused_for_now(id: Option<RequestId>, detail: String, retry_after_ms: u64) -> SessionOutput {
    let id = id.map(RequestId::to_wire);
    control(Control::Refused(wire::Refused { id, code: Code::Busy.number(), detail, retry_after_ms }))
}

pub fn frontier(shard: ShardId, dot: Dot) -> SessionOutput {
    control(Control::Frontier(wire::Frontier { shard: shard.0.into(), dot: Some(dot.to_wire()) }))
}

pub fn go_away(code: Code, detail: String) -> SessionOutput {
    control(Control::GoAway(wire::GoAway { code: code.number(), detail }))
}

pub fn room_opened(room: &RoomId, face: RoomFace, user: &UserId) -> SessionOutput {
    let direct = face.direct_with(user).map_or_else(String::new, |with| with.as_str().to_owned());
    let RoomFace { name, named, open, channel, .. } = face;
    let named = named.map(RequestId::to_wire);
    event(Event::RoomOpened(wire::RoomOpened { room: room.to_wire(), name, open, channel, named, direct }))
}

pub fn summary(summary: wire::RoomSummary) -> SessionOutput {
    event(Event::Summary(summary))
}

pub fn invitations(invitations: Vec<wire::Invitation>) -> SessionOutput {
    event(Event::Invitations(wire::Invitations { invitations }))
}

pub fn room_unchanged(room: &RoomId) -> SessionOutput {
    event(Event::Unchanged(wire::RoomUnchanged { room: room.to_wire() }))
}

pub fn room_closed(room: &RoomId) -> SessionOutput {
    event(Event::RoomClosed(wire::RoomClosed { room: room.to_wire() }))
}

pub fn caught_up(room: &RoomId, vector: &Vector) -> SessionOutput {
    event(Event::CaughtUp(wire::CaughtUp { room: room.to_wire(), vector: Some(vector.to_wire()) }))
}

pub fn gap(room: &RoomId, from: &Vector, page: &NewestPage) -> SessionOutput {
    event(Event::Gap(wire::Gap {
        room: room.to_wire(),
        from: Some(from.to_wire()),
        to: Some(page.cursor.to_wire()),
        lowest: page.lowest.map(RequestId::to_wire),
        missing: page.missing,
    }))
}
