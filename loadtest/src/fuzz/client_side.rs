//! Hostile clients: a valid handshake, and then anything.

use std::sync::Arc;

use causeway_protocol::{
    DeviceId, RoomId, UserId, limits, version, wire, wire::client_datagram::Datagram, wire::client_frame::Frame,
    wire::query::Query,
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::{Instant, timeout};

use super::Counts;
use super::connect::{Dialler, STEP_MAX, leave};
use super::hostile::{count, id, request, vector};
use super::mutate::{datagram, frame_of, framed, mutated, noise};
use crate::rng::Rng;

/// Frames of one connection.
const FRAMES_MAX: usize = 400;
/// Streams of history that one connection opens.
const STREAMS_MAX: usize = 24;
/// Datagrams of one connection: many times what a site takes.
const DATAGRAMS_MAX: usize = 100;
/// Datagrams that no QUIC packet is in.
const RAW_DATAGRAMS: usize = 50;
/// What a session reads of the answers, bytes: some read all, some nothing.
const READ_BYTES_MAX: usize = 1 << 20;
/// Code of a stream that is given up.
const RESET: quinn::VarInt = quinn::VarInt::from_u32(7);

struct Attacker {
    dialler: Arc<Dialler>,
    rng: Rng,
    counts: Counts,
    user: UserId,
    nonce: u64,
    rooms: Vec<RoomId>,
}

/// Attacks until then; what it did.
pub async fn attack(dialler: Arc<Dialler>, mut rng: Rng, until: Instant) -> Counts {
    let name = format!("eve{}", rng.below(1_000));
    let Ok(user) = UserId::new(&name) else { return Counts::default() };
    let nonce = rng.bits();
    let mut attacker = Attacker { dialler, rng, counts: Counts::default(), user, nonce, rooms: Vec::new() };
    while Instant::now() < until {
        match attacker.dialler.client().await {
            Some(connection) => {
                attacker.counts.connections += 1;
                attacker.session(&connection).await;
                attacker.counts.refused += u64::from(leave(&connection));
            }
            // The relay is pressed: the others go on meanwhile.
            None => tokio::task::yield_now().await,
        }
    }
    attacker.counts
}

fn client(frame: Frame) -> wire::ClientFrame {
    wire::ClientFrame { frame: Some(frame) }
}

impl Attacker {
    async fn write(&mut self, send: &mut SendStream, bytes: &[u8]) -> bool {
        self.counts.writes += 1;
        self.counts.bytes += bytes.len() as u64;
        matches!(timeout(STEP_MAX, send.write_all(bytes)).await, Ok(Ok(())))
    }

    async fn session(&mut self, connection: &Connection) {
        let Ok(Ok((mut send, mut recv))) = timeout(STEP_MAX, connection.open_bi()).await else { return };
        // Out of order: something else before the hello.
        if self.rng.chance(0.9) {
            let hello = frame_of(&client(Frame::Hello(self.hello(true))));
            if !self.write(&mut send, &hello).await || !welcomed(&mut recv).await {
                return;
            }
        }
        match self.rng.below(12) {
            0..5 => self.frames(&mut send, true).await,
            5 => self.frames(&mut send, false).await,
            6 => self.pings(&mut send).await,
            7 | 8 => self.history(connection).await,
            9 => self.odd_streams(connection).await,
            10 => {
                let len = self.rng.below(5_000);
                let bytes = noise(&mut self.rng, len);
                self.write(&mut send, &bytes).await;
            }
            _ => self.datagrams(connection).await,
        }
        match self.rng.below(4) {
            0 => drop(send.finish()),
            1 => drop(send.reset(RESET)),
            2 => drop(recv.stop(RESET)),
            _ => {}
        }
        if self.rng.chance(0.7) {
            let _ = timeout(STEP_MAX / 10, recv.read_to_end(READ_BYTES_MAX)).await;
        }
    }

    fn hello(&mut self, valid: bool) -> wire::Hello {
        let rng = &mut self.rng;
        let mut hello = wire::Hello {
            version_min: version::VERSION_MIN,
            version_max: version::VERSION_MAX,
            user: self.user.to_string(),
            nonce: self.nonce,
            ..Default::default()
        };
        let cursors = if rng.chance(0.3) { rng.below(20) } else { 0 };
        for _ in 0..cursors {
            let room = if self.rooms.is_empty() { RoomId([1; 16]) } else { self.rooms[rng.below(self.rooms.len())] };
            let mut vector = vector(rng);
            vector.entries.truncate(limits::VECTOR_ENTRIES_MAX);
            vector.entries.iter_mut().for_each(|dot| dot.seq = dot.seq.clamp(1, 1 << 48));
            hello.cursors.push(wire::RoomCursor { room: room.to_wire(), vector: Some(vector), summary: rng.bits() });
        }
        if !valid {
            match rng.below(5) {
                0 => hello.user = "somebody else".into(),
                1 => hello.nonce = rng.bits(),
                2 => hello.standby = true,
                3 => hello.cursors = (0..count(rng)).map(|_| wire::RoomCursor::default()).collect(),
                _ => hello.token = "x".repeat(rng.below(20_000)),
            }
        }
        hello
    }

    fn frame(&mut self) -> wire::ClientFrame {
        let device = DeviceId::derive(&self.user, self.nonce);
        let rng = &mut self.rng;
        client(match rng.below(16) {
            0 => {
                let valid = rng.chance(0.5);
                Frame::Hello(self.hello(valid))
            }
            1 => Frame::Ping(wire::Ping { token: rng.bits() }),
            2 => {
                let room =
                    if self.rooms.is_empty() { RoomId([2; 16]) } else { self.rooms[rng.below(self.rooms.len())] };
                let flag = wire::UnreadFlag { id: Some(id(rng, device).to_wire()), unread: rng.chance(0.5) };
                let flag = rng.chance(0.5).then_some(flag);
                Frame::MarkRead(wire::MarkRead { room: room.to_wire(), vector: Some(vector(rng)), flag })
            }
            3 => Frame::Renew(wire::Renew { token: "x".repeat(rng.below(100)) }),
            4 => {
                let len = rng.below(3_000);
                let request = noise(rng, len).into();
                Frame::Submit(wire::Submit { request, body: None, nonce: rng.bits() })
            }
            _ => {
                let (_, request, body) = request(rng, &self.user, device, &mut self.rooms, true);
                Frame::Submit(wire::Submit { request, body, nonce: if rng.chance(0.97) { 0 } else { rng.bits() } })
            }
        })
    }

    /// Frames that are right but for what they hold, with wrong ones in between or only at the end.
    async fn frames(&mut self, send: &mut SendStream, wrong_early: bool) {
        let frames = self.rng.below(FRAMES_MAX);
        for n in 0..frames {
            let frame = self.frame();
            let wrong = n + 1 == frames || (wrong_early && self.rng.chance(0.05));
            let bytes = if wrong { mutated(&mut self.rng, &frame) } else { frame_of(&frame) };
            if !self.write(send, &bytes).await {
                return;
            }
        }
    }

    /// A flood of what must be answered at once, while nothing is read.
    async fn pings(&mut self, send: &mut SendStream) {
        let ping = frame_of(&client(Frame::Ping(wire::Ping { token: 1 })));
        let many = ping.repeat(1_000);
        for _ in 0..self.rng.below(100) {
            if !self.write(send, &many).await {
                return;
            }
        }
    }

    async fn history(&mut self, connection: &Connection) {
        let mut held = Vec::new();
        for _ in 0..self.rng.below(STREAMS_MAX) {
            let Ok(Ok((mut send, mut recv))) = timeout(STEP_MAX / 4, connection.open_bi()).await else { break };
            let rng = &mut self.rng;
            let room = if self.rooms.is_empty() { RoomId([3; 16]) } else { self.rooms[rng.below(self.rooms.len())] };
            let from = rng.chance(0.5).then(|| id(rng, DeviceId(1)).to_wire());
            let (forward, limit) = (rng.chance(0.5), rng.bits() as u32);
            let history = wire::HistoryRequest { room: room.to_wire(), from, forward, limit };
            let ids = vec![id(rng, DeviceId(1)).to_wire(); rng.below(200)];
            let query = match rng.below(4) {
                0 => Query::Members(wire::MembersRequest { room: room.to_wire(), after: "b".into(), limit }),
                1 => Query::Readers(wire::ReadersRequest { room: room.to_wire(), ids, names: forward }),
                _ => Query::History(history),
            };
            let query = wire::Query { query: Some(query) };
            let bytes = match rng.below(8) {
                0 => framed(&noise(rng, 2_000)),
                1 => noise(rng, 3),
                _ => mutated(rng, &query),
            };
            self.write(&mut send, &bytes).await;
            match self.rng.below(6) {
                0 => drop(send.reset(RESET)),
                1 => drop(recv.stop(RESET)),
                // Neither ended nor read: held until the connection goes.
                2 => held.push((send, recv)),
                _ => {
                    let _ = send.finish();
                    let _ = timeout(STEP_MAX / 4, recv.read_to_end(READ_BYTES_MAX)).await;
                }
            }
        }
    }

    /// Streams that no client opens.
    async fn odd_streams(&mut self, connection: &Connection) {
        if let Ok(Ok(mut send)) = timeout(STEP_MAX / 20, connection.open_uni()).await {
            self.write(&mut send, b"there is no such stream").await;
        }
        // The event stream is stopped before anything came on it.
        if let Ok(Ok(mut recv)) = timeout(STEP_MAX / 20, connection.accept_uni()).await {
            let _ = recv.stop(RESET);
        }
    }

    async fn datagrams(&mut self, connection: &Connection) {
        for _ in 0..self.rng.below(DATAGRAMS_MAX) {
            let rng = &mut self.rng;
            let room = if self.rooms.is_empty() { RoomId([4; 16]) } else { self.rooms[rng.below(self.rooms.len())] };
            let said = match rng.below(4) {
                0 => Datagram::Activity(wire::Activity { away: rng.chance(0.5) }),
                _ => Datagram::Typing(wire::TypingIn { room: room.to_wire() }),
            };
            let bytes = match rng.below(8) {
                0 => Vec::new(),
                1 => noise(rng, 1_000),
                _ => datagram(rng, &wire::ClientDatagram { datagram: Some(said) }),
            };
            self.counts.writes += 1;
            let _ = connection.send_datagram(bytes.into());
        }
        let Ok(socket) = tokio::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await else { return };
        for _ in 0..RAW_DATAGRAMS {
            let len = self.rng.below(1_400);
            let mut bytes = noise(&mut self.rng, len);
            if let Some(first) = bytes.first_mut().filter(|_| self.rng.chance(0.5)) {
                // A long header, as an Initial packet's.
                *first |= 0xc0;
            }
            self.counts.writes += 1;
            let _ = socket.send_to(&bytes, self.dialler.address).await;
        }
    }
}

/// Waits for the first frame's length and kind; a refusal closes instead.
async fn welcomed(recv: &mut RecvStream) -> bool {
    let mut length = [0; 4];
    matches!(timeout(STEP_MAX, recv.read_exact(&mut length)).await, Ok(Ok(())))
}
