//! A site on its own with one room in it.

use std::sync::Arc;

use bytes::Bytes;
use causeway_protocol::{
    DeviceId, Message, Origin, RequestId, RoomId, ShardId, SiteId, Stamp, UserId, Vector, wire, wire::request::Kind,
};
use causeway_replica::Shard;
use causeway_replica::io::{Input, Now, Output, Outputs, SessionId, ShardConfig, Submission, Ticket};
use causeway_replica::read::Durables;
use causeway_replica::request::body_hash;

use super::rows::{Counted, Rows};
use crate::chat::EPOCH_MS;

/// The nonce of everybody's SDK.
pub const NONCE: u64 = 7;
/// Requests that are written at once while the room is filled.
const FILL_BATCH: usize = 256;
/// Bytes of a message's content.
const CONTENT_BYTES: usize = 64;
/// Writes after which a step must have nothing more to write.
const WRITES_MAX: usize = 100;

/// How large a room is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Members, the owner among them.
    pub members: usize,
    /// Messages, at least as many.
    pub messages: usize,
}

/// A room, and the shard that has it.
pub struct LargeRoom<R> {
    /// The room.
    pub room: RoomId,
    /// Its messages, with who wrote them, as they were sent.
    pub messages: Vec<(RequestId, UserId)>,
    /// How large it was made.
    pub size: Size,
    shard: Shard,
    rows: R,
    out: Outputs,
    durable: Arc<Vector>,
    requests: u64,
    tickets: u64,
    read: u64,
    written: u64,
}

impl<R: Rows> Durables for LargeRoom<R> {
    fn durable(&self, _: ShardId) -> Arc<Vector> {
        self.durable.clone()
    }

    fn ready(&self, _: ShardId) -> bool {
        true
    }
}

/// Somebody by number; 0 is the owner.
pub fn user(number: usize) -> UserId {
    UserId::new(&format!("user-{number:07}")).expect("a valid user")
}

impl<R: Rows> LargeRoom<R> {
    /// Makes the room and fills it: members join between the messages of those who are there.
    pub fn fill(rows: R, size: Size) -> Self {
        let config = ShardConfig {
            shard: ShardId(0),
            shard_count: 1,
            origin: Origin { site: SiteId(1), node: 0, incarnation: 1 },
            sites: vec![SiteId(1)],
            must_catch_up: false,
            log_bytes_max: u64::MAX,
            user_rooms_max: usize::MAX,
            room_members_max: u64::MAX,
        };
        let owner = user(0);
        let create = RequestId { stamp: Stamp::from_ms(EPOCH_MS), device: DeviceId::derive(&owner, NONCE) };
        let shard = Shard::open(config, rows.view(), now(0)).expect("the rows are read");
        let (room, out, messages) = (RoomId::derive(&owner, create), Outputs::default(), Vec::new());
        let (durable, requests, tickets, read, written) = (Arc::default(), 0, 0, 0, 0);
        let mut filled = Self { room, messages, size, shard, rows, out, durable, requests, tickets, read, written };
        filled.submit(&owner, Kind::Create(wire::Create { name: "all".into(), open: true, ..Default::default() }));
        for member in 0..size.members {
            if member > 0 {
                filled.submit(&user(member), Kind::Join(wire::Join {}));
            }
            let until = size.messages * (member + 1) / size.members;
            while filled.messages.len() < until {
                filled.message(&user(filled.messages.len() % (member + 1)));
                if filled.messages.len().is_multiple_of(FILL_BATCH) {
                    filled.commit();
                }
            }
        }
        filled.commit();
        filled
    }

    /// A message by somebody.
    pub fn message(&mut self, by: &UserId) -> RequestId {
        let id = self.submit(by, Kind::Message(wire::Message::default()));
        self.messages.push((id, by.clone()));
        id
    }

    /// Hands a request in. It is written with the next commit.
    pub fn submit(&mut self, by: &UserId, kind: Kind) -> RequestId {
        let device = DeviceId::derive(by, NONCE);
        let id = RequestId { stamp: Stamp::from_ms(EPOCH_MS + self.requests), device };
        let body = matches!(kind, Kind::Message(_) | Kind::Edit(_)).then(|| self.body());
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: self.room.to_wire(),
            body_hash: body.as_ref().map_or(Bytes::new(), |body| Bytes::copy_from_slice(&body_hash(body))),
            kind: Some(kind),
        };
        let request = request.encode_to_vec().into();
        self.step(Input::Submit(Submission { session: SessionId(1), user: by.clone(), device, request, body }));
        self.requests += 1;
        id
    }

    fn body(&self) -> Bytes {
        let salt = Bytes::copy_from_slice(&u128::from(self.requests).to_be_bytes());
        let content = Bytes::from(vec![b'x'; CONTENT_BYTES]);
        wire::Body { salt, content_type: "text/plain".into(), content }.encode_to_vec().into()
    }

    /// One step of the shard.
    pub fn step(&mut self, input: Input) {
        let view = Counted::new(self.rows.view());
        self.shard.step(now(self.requests), input, &view, &mut self.out).expect("the rows are read");
        self.read += view.rows();
    }

    /// Writes what there is, as if every write were synced at once, until nothing is left to write.
    ///
    /// # Panics
    /// A request was refused.
    pub fn commit(&mut self) {
        for _ in 0..WRITES_MAX {
            for effect in std::mem::take(&mut self.out.effects) {
                match effect {
                    Output::DurableVector(durable) => self.durable = Arc::new(durable),
                    Output::Refused { detail, .. } => panic!("refused: {detail}"),
                    _ => {}
                }
            }
            let batch = std::mem::take(&mut self.out.batch);
            if batch.is_empty() {
                return;
            }
            self.written += batch.rows().count() as u64;
            self.rows.write(&batch);
            self.tickets += 1;
            self.shard.seal(Ticket(self.tickets));
            self.step(Input::Durable(Ticket(self.tickets)));
        }
        panic!("each write makes the shard write more");
    }

    /// Reads, and counts what it takes.
    pub fn read<T>(&mut self, of: impl FnOnce(&Self, &Counted<'_>) -> T) -> T {
        let view = Counted::new(self.rows.view());
        let found = of(self, &view);
        let rows = view.rows();
        self.read += rows;
        found
    }

    /// Rows read and written since this was asked last.
    pub fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.read), std::mem::take(&mut self.written))
    }

    /// All that is durable, and what was durable some requests ago.
    pub fn vectors(&self, ago: u64) -> (Vector, Vector) {
        let before = self.durable.iter().map(|dot| causeway_protocol::Dot { seq: dot.seq - ago, ..dot }).collect();
        ((*self.durable).clone(), before)
    }
}

/// A millisecond a request.
pub fn now(requests: u64) -> Now {
    Now { mono_ms: 10_000 + requests, wall_ms: EPOCH_MS + requests }
}
