//! A user who writes messages.

use bytes::Bytes;
use causeway_protocol::{
    DeviceId, Dot, Message, Origin, RequestId, RoomId, SiteId, Stamp, UserId, encode_frame, wire, wire::request::Kind,
};
use causeway_replica::io::{SessionId, Submission};
use causeway_replica::request::{Request, body_hash};

use crate::CONTENT_BYTES;

/// When the first request is made, ms since the Unix epoch.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// One user on one device, and the room that the user made.
pub struct Chat {
    user: UserId,
    device: DeviceId,
    /// The room; the shard count is one, so every room will do.
    pub room: RoomId,
    minted: u64,
}

impl Default for Chat {
    fn default() -> Self {
        Self::new()
    }
}

impl Chat {
    /// The user, and nothing sent yet.
    pub fn new() -> Self {
        let user = UserId::new("alice").expect("a valid user");
        let device = DeviceId::derive(&user, 7);
        let create = RequestId { stamp: Stamp::from_ms(EPOCH_MS), device };
        Self { room: RoomId::derive(&user, create), user, device, minted: 0 }
    }

    /// The request that makes the room. To be sent first.
    pub fn create(&mut self) -> Submission {
        self.submission(
            Kind::Create(wire::Create { name: "the room".into(), open: true, channel: false, ..Default::default() }),
            None,
        )
    }

    /// The next message.
    pub fn message(&mut self) -> Submission {
        let salt = Bytes::copy_from_slice(&u128::from(self.minted).to_be_bytes());
        let content = Bytes::from(vec![b'x'; CONTENT_BYTES]);
        let body = wire::Body { salt, content_type: "text/plain".into(), content };
        self.submission(Kind::Message(wire::Message::default()), Some(body.encode_to_vec().into()))
    }

    fn submission(&mut self, kind: Kind, body: Option<Bytes>) -> Submission {
        let id = RequestId { stamp: Stamp(Stamp::from_ms(EPOCH_MS).0 + self.minted), device: self.device };
        self.minted += 1;
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: self.room.to_wire(),
            body_hash: body.as_ref().map_or(Bytes::new(), |body| Bytes::copy_from_slice(&body_hash(body))),
            kind: Some(kind),
        };
        Submission {
            session: SessionId(1),
            user: self.user.clone(),
            device: self.device,
            request: request.encode_to_vec().into(),
            body,
        }
    }
}

/// A message as a member receives it.
pub fn event_frame() -> wire::EventFrame {
    let mut chat = Chat::new();
    let message = chat.message();
    let origin = Origin { site: SiteId(1), node: 0, incarnation: 0x1234_5678_9abc_def0 };
    let event = wire::Event {
        room: chat.room.to_wire(),
        dot: Some(Dot { origin, seq: 123_456 }.to_wire()),
        user: message.user.as_str().into(),
        request: message.request,
        body: message.body,
        past: None,
        deadline_ms: 0,
    };
    wire::EventFrame { frame: Some(wire::event_frame::Frame::Event(event)) }
}

/// The event as a frame, and the request in it, decoded by the replica's own code.
pub fn op() -> (Bytes, Request) {
    let request = Request::decode(&Chat::new().message().request).expect("own request");
    (encode_frame(&event_frame()), request)
}
