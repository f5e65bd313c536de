//! What the client asks for on its control stream.

use std::collections::BTreeMap;

use causeway_protocol::{
    Code, DecodeError, DeviceId, Marker, Message, RequestId, RoomId, UnreadFlag, UserId, Vector, limits, version,
    wire::{self, client_frame::Frame},
};

use super::rooms::{Held, Rooms};
use super::{Client, ServerSession, SessionOutput, frames};
use crate::io::{Now, Submission};

/// Why a connection ends, or a request is refused.
type Refusal = (Code, String);

impl ServerSession {
    pub(super) fn frame(&mut self, now: Now, frame: wire::ClientFrame, out: &mut Vec<SessionOutput>) {
        let result = match (frame.frame, &self.client) {
            (Some(Frame::Hello(hello)), _) => self.hello(now, hello, out),
            (_, None) => Err(broken("the first frame must be a hello")),
            (Some(Frame::Submit(submit)), Some(client)) => {
                let user = client.user.clone();
                self.submit(user, submit, out);
                Ok(())
            }
            (Some(Frame::Ping(ping)), _) => {
                let pong = wire::Pong { token: ping.token, clock_ms: now.wall_ms };
                out.push(frames::control(wire::server_frame::Frame::Pong(pong)));
                Ok(())
            }
            (Some(Frame::MarkRead(mark)), _) => self.mark_read(now, &mark, out),
            (Some(Frame::Renew(renew)), _) => self.renew(now, &renew.token),
            (None, _) => Err(broken("a frame of no kind that this version knows")),
        };
        if let Err((code, detail)) = result {
            self.closed = true;
            out.push(SessionOutput::Close(code, detail));
        }
    }

    fn hello(&mut self, now: Now, hello: wire::Hello, out: &mut Vec<SessionOutput>) -> Result<(), Refusal> {
        let version = version::negotiate(hello.version_min, hello.version_max).ok_or_else(|| {
            let (low, high) = (version::VERSION_MIN, version::VERSION_MAX);
            let (min, max) = (hello.version_min, hello.version_max);
            (Code::Version, format!("versions {low} to {high} are spoken here, not {min} to {max}"))
        })?;
        let user = UserId::new(&hello.user).map_err(malformed)?;
        let until_ms = self.config.admission.admit(now, &user, &hello.token)?;
        let held = held(&hello.cursors)?;
        match &mut self.client {
            None => {
                out.push(SessionOutput::Bind(user.clone()));
                self.client = Some(Client { user, nonce: hello.nonce, until_ms });
            }
            Some(client) if client.user == user && client.nonce == hello.nonce => client.until_ms = until_ms,
            Some(_) => return Err(broken("a further hello must name the same user and nonce")),
        }
        if let Some(rooms) = self.rooms.take() {
            rooms.unsubscribe_all(out);
        }
        self.rooms = (!hello.standby).then(|| Rooms::resume(held));
        out.push(frames::control(wire::server_frame::Frame::Welcome(self.welcome(now, version))));
        Ok(())
    }

    /// A token that is no good ends the session, as it would have ended with the old one.
    fn renew(&mut self, now: Now, token: &str) -> Result<(), Refusal> {
        let Some(client) = &mut self.client else { return Ok(()) };
        client.until_ms = self.config.admission.admit(now, &client.user, token)?;
        Ok(())
    }

    pub(super) fn tick(&mut self, now: Now, out: &mut Vec<SessionOutput>) {
        if self.next_timer().is_some_and(|until| until <= now.mono_ms) {
            self.closed = true;
            let detail = "the token has expired: come again with a newer one".to_owned();
            out.push(SessionOutput::Close(Code::TokenExpired, detail));
        }
    }

    fn welcome(&self, now: Now, version: u32) -> wire::Welcome {
        wire::Welcome {
            version,
            site: self.config.site.0.into(),
            site_name: self.config.site_name.clone(),
            clock_ms: now.wall_ms,
            shard_count: self.config.shard_count.into(),
            sites: self.config.sites.to_vec(),
            session: self.config.id.0,
            outbox_window_max: self.config.limits.submits_max,
        }
    }

    /// Checks what needs no state; the shard does the rest, and answers.
    fn submit(&mut self, user: UserId, submit: wire::Submit, out: &mut Vec<SessionOutput>) {
        let (id, room) = match place(&submit) {
            Ok(place) => place,
            Err((id, e)) => return out.push(frames::refused(id, Code::Malformed, e.to_string())),
        };
        match self.check(&user, id, &submit, out) {
            Ok(()) => {
                self.in_flight.sent(id, bytes_of(&submit));
                let shard = room.shard(self.config.shard_count);
                let (session, device) = (self.config.id, id.device);
                // Copied: a part keeps the whole frame in memory for as long as the op is held, and most of a frame may be
                // fields that nobody knows.
                let copy = |part: &bytes::Bytes| bytes::Bytes::copy_from_slice(part);
                let (request, body) = (copy(&submit.request), submit.body.as_ref().map(copy));
                let submission = Submission { session, user, device, request, body };
                out.push(SessionOutput::Submit(shard, submission));
            }
            Err((code, detail)) => out.push(frames::refused(Some(id), code, detail)),
        }
    }

    fn check(
        &self,
        user: &UserId,
        id: RequestId,
        submit: &wire::Submit,
        out: &mut Vec<SessionOutput>,
    ) -> Result<(), Refusal> {
        let too_large = |field: &str, got: usize, max: usize, setting: &str| {
            let advice = "send it in parts or by reference";
            let detail = format!("{field} has {got} bytes, the limit is {max}{setting}: {advice}");
            if got > max { Err((Code::TooLarge, detail)) } else { Ok(()) }
        };
        too_large("request", submit.request.len(), limits::REQUEST_BYTES_MAX, "")?;
        let body = submit.body.as_ref().map_or(0, bytes::Bytes::len);
        too_large("body", body, self.config.limits.body_bytes_max, " (`body_bytes_max` and its envelope)")
            .inspect_err(|_| out.push(SessionOutput::Limited("body_bytes_max")))?;
        // An outbox may hold requests of an older start of the SDK: their nonce proves that they are this user's.
        let session_nonce = self.client.as_ref().map_or(0, |client| client.nonce);
        let nonce = if submit.nonce == 0 { session_nonce } else { submit.nonce };
        if DeviceId::derive(user, nonce) != id.device {
            let detail = "request.id.device is not of this user and nonce".to_owned();
            return Err((Code::DeviceMismatch, detail));
        }
        if self.in_flight.count() >= self.config.limits.submits_max {
            let max = self.config.limits.submits_max;
            return Err((Code::Busy, format!("{max} requests are in flight on this connection: wait for their acks")));
        }
        let (bytes, max) = (self.in_flight.bytes(), self.config.limits.submit_bytes_max);
        // One alone always fits.
        if bytes > 0 && bytes + bytes_of(submit) > max {
            out.push(SessionOutput::Limited("connection_in_flight_bytes_max"));
            let detail = format!(
                "{bytes} bytes are in flight on this connection, the limit is {max} \
                 (`connection_in_flight_bytes_max`): try again when one of their acks has come"
            );
            return Err((Code::Busy, detail));
        }
        Ok(())
    }

    fn mark_read(&mut self, now: Now, mark: &wire::MarkRead, out: &mut Vec<SessionOutput>) -> Result<(), Refusal> {
        let room = RoomId::from_wire(&mark.room).map_err(malformed)?;
        let read = Vector::from_wire_opt(mark.vector.as_ref()).map_err(malformed)?;
        let flag = UnreadFlag::from_wire_opt(mark.flag.as_ref()).map_err(malformed)?;
        if flag.id.stamp.ms() > now.wall_ms + limits::STAMP_AHEAD_MAX_MS {
            // It would hold against all that is said from now on.
            let detail = "mark_read.flag.id.stamp is ahead of the site's clock: follow the clock of pongs";
            out.push(frames::refused(Some(flag.id), Code::StampAhead, detail));
            return Ok(());
        }
        if let (Some(rooms), Some(client)) = (&mut self.rooms, &self.client) {
            rooms.mark_read(room, Marker { read, flag }, &client.user, self.config.shard_count, out);
        }
        Ok(())
    }
}

fn broken(detail: &str) -> Refusal {
    (Code::ProtocolError, detail.to_owned())
}

fn malformed(e: DecodeError) -> Refusal {
    (Code::ProtocolError, e.to_string())
}

fn bytes_of(submit: &wire::Submit) -> usize {
    submit.request.len() + submit.body.as_ref().map_or(0, bytes::Bytes::len)
}

/// The id of the request in a frame, where it is a submit and that much can be read.
pub(super) fn id_of(frame: &wire::ClientFrame) -> Option<RequestId> {
    let Some(Frame::Submit(submit)) = &frame.frame else { return None };
    let request = wire::Request::decode(submit.request.clone()).ok()?;
    request.id.as_ref().map(RequestId::from_wire)
}

/// The id and the room of a request. Where these cannot be read, the id if at least that can.
fn place(submit: &wire::Submit) -> Result<(RequestId, RoomId), (Option<RequestId>, DecodeError)> {
    let request = wire::Request::decode(submit.request.clone())
        .map_err(|e| (None, DecodeError::malformed("submit.request", &e)))?;
    let id = request.id.as_ref().map(RequestId::from_wire);
    let missing = DecodeError::Missing { field: "request.id" };
    let id = id.ok_or((None, missing))?;
    Ok((id, RoomId::from_wire(&request.room).map_err(|e| (Some(id), e))?))
}

fn held(entries: &[wire::RoomCursor]) -> Result<BTreeMap<RoomId, Held>, Refusal> {
    if entries.len() > limits::ROOMS_PER_USER_MAX {
        let (max, got) = (limits::ROOMS_PER_USER_MAX, entries.len());
        return Err(malformed(DecodeError::TooLong { field: "hello.cursors", max, got }));
    }
    let cursor = |entry: &wire::RoomCursor| {
        let room = RoomId::from_wire(&entry.room).map_err(malformed)?;
        let cursor = Vector::from_wire_opt(entry.vector.as_ref()).map_err(malformed)?;
        Ok((room, Held { cursor, summary: entry.summary }))
    };
    entries.iter().map(cursor).collect()
}
