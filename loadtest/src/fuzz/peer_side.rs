//! Hostile peers: the other site's certificate, a valid hello, and then anything that a link can carry. What an honest
//! site could say to everybody's harm, such as the wrong time or a revocation of somebody's rights, is left out: sites
//! trust each other that far.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_protocol::{
    Bytes, DeviceId, FrameDecoder, Hash16, Origin, ShardId, hash16, version, wire, wire::peer_datagram::Datagram,
    wire::peer_frame::Frame as Peer, wire::shard_frame::Frame,
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::{Instant, timeout};

use super::Counts;
use super::connect::{Dialler, STEP_MAX, leave};
use super::hostile::{Chain, count, id, op, origin, rooms_of, vector};
use super::mutate::{datagram, frame_of, mutated, noise};
use crate::rng::Rng;

/// The cluster's name in the configurations that this crate writes.
const CLUSTER: &str = "loadtest";
/// Shards that the relay has: its hello says so.
type Shards = u16;
/// Frames of one link.
const FRAMES_MAX: usize = 300;

struct Attacker {
    rng: Rng,
    counts: Counts,
    shards: Shards,
    chains: BTreeMap<(ShardId, Origin), Chain>,
    /// Transfers that the relay asked for.
    transfers: Vec<(ShardId, u64)>,
}

/// Attacks until then; what it did.
pub async fn attack(dialler: Arc<Dialler>, rng: Rng, until: Instant) -> Counts {
    let (chains, transfers) = (BTreeMap::new(), Vec::new());
    // Replaced by the next one, while it is in use.
    let mut held: Option<Connection> = None;
    let mut attacker = Attacker { rng, counts: Counts::default(), shards: 1, chains, transfers };
    while Instant::now() < until {
        match dialler.peer().await {
            Some(connection) => {
                attacker.counts.connections += 1;
                let _ = timeout(STEP_MAX * 5, attacker.link(&connection)).await;
                let done = if attacker.rng.chance(0.3) { held.replace(connection) } else { Some(connection) };
                attacker.counts.refused += u64::from(done.is_some_and(|done| leave(&done)));
            }
            None => tokio::task::yield_now().await,
        }
    }
    attacker.counts
}

fn peer(frame: Peer) -> wire::PeerFrame {
    wire::PeerFrame { frame: Some(frame) }
}

impl Attacker {
    async fn write(&mut self, send: &mut SendStream, bytes: &[u8]) -> Option<()> {
        self.counts.writes += 1;
        self.counts.bytes += bytes.len() as u64;
        timeout(STEP_MAX, send.write_all(bytes)).await.ok()?.ok()
    }

    async fn link(&mut self, connection: &Connection) -> Option<()> {
        let (mut send, mut recv) = connection.open_bi().await.ok()?;
        if self.rng.chance(0.05) {
            let bytes = noise(&mut self.rng, 500);
            return self.write(&mut send, &bytes).await;
        }
        // The acceptor speaks once the stream is there, which the first byte brings; how many shards it has we do not
        // know at the first link, and say so wrongly once.
        let hello = peer(Peer::Hello(self.hello()));
        let bytes = if self.rng.chance(0.05) { mutated(&mut self.rng, &hello) } else { frame_of(&hello) };
        self.write(&mut send, &bytes).await?;
        let mut decoder = FrameDecoder::default();
        self.learn(&mut recv, &mut decoder).await?;
        let reads = self.rng.chance(0.8);
        for _ in 0..self.rng.below(FRAMES_MAX) {
            let frame = self.frame()?;
            let bytes = if self.rng.chance(0.04) { mutated(&mut self.rng, &frame) } else { frame_of(&frame) };
            self.write(&mut send, &bytes).await?;
            self.datagram(connection);
            if reads {
                self.listen(&mut recv, &mut decoder).await?;
            }
        }
        match self.rng.below(3) {
            0 => drop(send.finish()),
            1 => drop(send.reset(7_u32.into())),
            _ => {}
        }
        Some(())
    }

    /// Sends a datagram, now and then.
    fn datagram(&mut self, connection: &Connection) {
        let rng = &mut self.rng;
        if rng.chance(0.7) {
            return;
        }
        let said = match rng.below(3) {
            0 => {
                let rooms = rooms_of(ShardId(rng.below(self.shards.into()) as u16), self.shards);
                let room = rooms[rng.below(rooms.len())].to_wire();
                Datagram::Typing(wire::Typing { room, user: "mallory".into() })
            }
            _ => {
                let keys = |rng: &mut Rng| (0..rng.below(20)).map(|_| rng.bits()).collect();
                Datagram::Presences(wire::Presences { online: keys(rng), away: keys(rng), gone: keys(rng) })
            }
        };
        let bytes = if rng.chance(0.1) {
            noise(rng, 1_000)
        } else {
            datagram(rng, &wire::PeerDatagram { datagram: Some(said) })
        };
        self.counts.writes += 1;
        let _ = connection.send_datagram(bytes.into());
    }

    fn hello(&mut self) -> wire::PeerHello {
        let rng = &mut self.rng;
        let cluster: Hash16 = hash16("causeway/cluster", &[CLUSTER.as_bytes()]);
        let mut hello = wire::PeerHello {
            version_min: version::VERSION_MIN,
            version_max: version::VERSION_MAX,
            site: 1,
            node: 0,
            incarnation: rng.bits(),
            shard_count: self.shards.into(),
            cluster: Bytes::copy_from_slice(&cluster),
            kinds: (10..24).collect(),
        };
        if rng.chance(0.1) {
            match rng.below(5) {
                0 => hello.site = 2,
                1 => hello.version_min = 9,
                2 => hello.shard_count = rng.bits() as u32,
                3 => hello.cluster = Bytes::from_static(b"short"),
                _ => hello.kinds = (0..count(rng) as u32).collect(),
            }
        }
        hello
    }

    /// Reads the relay's hello.
    async fn learn(&mut self, recv: &mut RecvStream, decoder: &mut FrameDecoder) -> Option<()> {
        loop {
            if let Some(frame) = decoder.next::<wire::PeerFrame>("PeerFrame").ok()? {
                let Some(Peer::Hello(hello)) = frame.frame else { return None };
                self.shards = u16::try_from(hello.shard_count).ok().filter(|count| *count > 0)?;
                return Some(());
            }
            let chunk = timeout(STEP_MAX, recv.read_chunk(usize::MAX, true)).await.ok()?.ok()??;
            decoder.push(&chunk.bytes);
        }
    }

    /// Takes what is here already; waits for nothing. What it asks for is remembered.
    async fn listen(&mut self, recv: &mut RecvStream, decoder: &mut FrameDecoder) -> Option<()> {
        let here = recv.read_chunk(usize::MAX, true);
        let chunk = tokio::select! {
            biased;
            chunk = here => chunk.ok()??,
            () = std::future::ready(()) => return Some(()),
        };
        decoder.push(&chunk.bytes);
        while let Some(frame) = decoder.next::<wire::PeerFrame>("PeerFrame").ok()? {
            if let Some(Peer::Shard(wire::ShardFrame { shard, frame: Some(Frame::SnapshotAsk(ask)) })) = frame.frame {
                self.transfers.push((ShardId(u16::try_from(shard).ok()?), ask.transfer));
            }
        }
        Some(())
    }

    fn frame(&mut self) -> Option<wire::PeerFrame> {
        let rng = &mut self.rng;
        let shard = ShardId(rng.below(self.shards.into()) as u16);
        let frame = match rng.below(24) {
            0 => return Some(peer(Peer::Ping(wire::PeerPing { token: rng.bits() }))),
            1 if rng.chance(0.2) => return Some(peer(Peer::Hello(self.hello()))),
            2 => Frame::Ack(wire::PeerAck { vector: Some(vector(rng)) }),
            3 | 4 => Frame::Hello(wire::ShardHello {
                vector: Some(vector(rng)),
                again: rng.chance(0.5),
                floor: rng.chance(0.3).then(|| vector(rng)),
            }),
            5 => Frame::Digest(self.digest()),
            6 => Frame::SnapshotAsk(wire::SnapshotAsk {
                transfer: rng.bits(),
                after: if rng.chance(0.7) { Bytes::new() } else { noise(rng, 30).into() },
                vector: rng.chance(0.3).then(|| vector(rng)),
            }),
            7..9 => return self.page(),
            9 => Frame::ReadMarks(self.marks(shard)),
            _ => Frame::Ops(self.ops(shard)),
        };
        let shard = if self.rng.chance(0.002) { 70_000 } else { shard.0.into() };
        Some(peer(Peer::Shard(wire::ShardFrame { shard, frame: Some(frame) })))
    }

    fn ops(&mut self, shard: ShardId) -> wire::Ops {
        let mut rooms = rooms_of(shard, self.shards);
        let origin = origin(&mut self.rng);
        let chain = self.chains.entry((shard, origin)).or_default();
        let ops = (0..=self.rng.below(5)).filter_map(|_| op(&mut self.rng, chain, origin, shard, &mut rooms));
        wire::Ops { ops: ops.collect() }
    }

    fn digest(&mut self) -> wire::Digest {
        let rng = &mut self.rng;
        // Equal touch sums make hashes count: of an empty bucket both are known.
        let bucket = |rng: &mut Rng| wire::BucketDigest {
            bucket: rng.below(300) as u32,
            touch: if rng.chance(0.8) { vec![0; 16].into() } else { noise(rng, 5).into() },
            hash: noise(rng, 16).into(),
        };
        wire::Digest { buckets: (0..count(rng)).map(|_| bucket(rng)).collect() }
    }

    fn marks(&mut self, shard: ShardId) -> wire::ReadMarks {
        let rooms = rooms_of(shard, self.shards);
        let rng = &mut self.rng;
        let mark = |rng: &mut Rng| wire::ReadMark {
            room: if rng.chance(0.9) { rooms[rng.below(rooms.len())].to_wire() } else { Bytes::new() },
            user: "mallory".into(),
            vector: Some(vector(rng)),
            flag: rng.chance(0.5).then(|| wire::UnreadFlag {
                id: rng.chance(0.9).then(|| id(rng, DeviceId(1)).to_wire()),
                unread: rng.chance(0.5),
            }),
        };
        wire::ReadMarks { marks: (0..rng.below(8)).map(|_| mark(rng)).collect() }
    }

    /// Of a transfer that the relay asked for, where it did.
    fn page(&mut self) -> Option<wire::PeerFrame> {
        let (shard, transfer) = self.transfers.pop().unwrap_or((ShardId(0), 1));
        let rooms = rooms_of(shard, self.shards);
        let rng = &mut self.rng;
        let row = |rng: &mut Rng| {
            let (family, value) = (rng.below(10) as u32, noise(rng, 20).into());
            let mut key = rooms[rng.below(rooms.len())].0.to_vec();
            key.extend(noise(rng, 17));
            wire::Row { family, key: key.into(), value }
        };
        let mut rows: Vec<wire::Row> = (0..rng.below(6)).map(|_| row(rng)).collect();
        rows.sort_by(|a, b| (a.family, &a.key).cmp(&(b.family, &b.key)));
        let page = wire::SnapshotPage { transfer, vector: Some(vector(rng)), rows, done: rng.chance(0.5) };
        Some(peer(Peer::Shard(wire::ShardFrame { shard: shard.0.into(), frame: Some(Frame::SnapshotPage(page)) })))
    }
}
