//! A shard against everything that clients and peers could say: it must not panic, must not stop, and must stay within
//! its bounds.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use causeway_protocol::{Hash16, Marker, Message, Origin, SiteId, UnreadFlag, Vector, wire, wire::shard_frame::Frame};
use causeway_replica::io::{Input, SessionId, Submission};
use causeway_replica::key::Key;
use causeway_replica::view::{Cf, View};

use crate::forge::{self, Forge, one, peer, some_bytes};
use crate::site::{SHARD, Site};

/// Steps of one input.
const STEPS_MAX: usize = 200;
/// Bytes of inputs that make large messages, in one run: a run must end soon.
const LARGE_BYTES_MAX: usize = 4 << 20;

struct Run {
    site: Site,
    forge: Forge,
    bytes: usize,
}

/// Steps of an input: see `Run::step`.
pub fn shard(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(small) = u.arbitrary::<bool>() else { return };
    let mut run = Run { site: Site::new(small), forge: Forge::new(), bytes: 0 };
    for site in [SiteId(2), SiteId(3)] {
        run.site.step(Input::PeerUp(site));
    }
    for _ in 0..STEPS_MAX {
        if u.is_empty() || run.bytes > LARGE_BYTES_MAX || run.step(&mut u).is_err() {
            break;
        }
    }
    run.settle();
}

impl Run {
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let input = match u.arbitrary::<u8>()? % 32 {
            0..6 => Input::Submit(self.forge.submission(u)?),
            6 => Input::Submit(Submission { request: some_bytes(u)?, ..self.forge.submission(u)? }),
            7..14 => return self.ops(u),
            14 => self.raw_frame(u)?,
            15 | 16 => self.hello(u)?,
            17 => self.frame(u, |run, u| Ok(Frame::Ack(wire::PeerAck { vector: Some(run.vector(u)?) })))?,
            18 => self.frame(u, Self::digest)?,
            19 => self.frame(u, Self::ask)?,
            20 | 21 => self.page(u)?,
            22 => self.frame(u, Self::marks)?,
            23 => {
                let vector = Vector::from_wire(&self.vector(u)?).unwrap_or_default();
                let marker =
                    Marker { read: vector, flag: UnreadFlag { id: self.forge.id(u)?, unread: u.arbitrary()? } };
                Input::MarkRead(one(u, &self.forge.users)?.clone(), *one(u, &self.forge.rooms)?, marker)
            }
            24..27 => {
                self.site.sync();
                return Ok(());
            }
            27 => {
                let ms = *one(u, &[1, 50, 300, 1_000, 2_000, 5_000])?;
                self.site.pass_ms(ms);
                return Ok(());
            }
            28 => Input::PeerDown(peer(u)?),
            29 => Input::PeerUp(peer(u)?),
            30 => match u.arbitrary::<u8>()? % 3 {
                0 => Input::Accepting(u.arbitrary()?),
                1 => Input::ForceReady,
                _ => Input::SessionEnded(SessionId(u.int_in_range(1..=3)?)),
            },
            _ => {
                self.restart(u.arbitrary()?);
                return Ok(());
            }
        };
        self.site.step(input);
        Ok(())
    }

    fn restart(&mut self, power: bool) {
        self.site.restart(power);
        for site in [SiteId(2), SiteId(3)] {
            self.site.step(Input::PeerUp(site));
        }
    }

    fn vector(&mut self, u: &mut Unstructured<'_>) -> Result<wire::Vector> {
        let vector = self.forge.vector(u, self.site.shard.applied(), self.site.origin())?;
        self.bytes += vector.encoded_len();
        Ok(vector)
    }

    fn frame(
        &mut self,
        u: &mut Unstructured<'_>,
        make: impl Fn(&mut Self, &mut Unstructured<'_>) -> Result<Frame>,
    ) -> Result<Input> {
        let frame = Some(make(self, u)?);
        Ok(Input::Peer(peer(u)?, wire::ShardFrame { shard: SHARD.0.into(), frame }))
    }

    fn ops(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut ops = Vec::new();
        for _ in 0..u.int_in_range(1..=4)? {
            // An op that was refused leaves its origin where the site has it.
            for (origin, seq, chain) in self.chains() {
                if ops.is_empty() {
                    self.forge.follow(origin, seq, chain);
                }
            }
            let op = self.forge.op(u, self.site.shard.applied(), self.site.origin())?;
            self.bytes += op.header.len();
            ops.push(op);
        }
        let frame = wire::ShardFrame { shard: SHARD.0.into(), frame: Some(Frame::Ops(wire::Ops { ops })) };
        // What no frame can carry never arrives.
        if frame.encoded_len() < causeway_protocol::limits::FRAME_BYTES_MAX - 16 {
            self.site.step(Input::Peer(peer(u)?, frame));
        }
        Ok(())
    }

    fn chains(&self) -> Vec<(Origin, u64, Option<Hash16>)> {
        let row = |origin: Origin| {
            let value = self.site.rows.get(Cf::Meta, &Key::Origin(SHARD, origin).encode()).ok()??;
            let row = wire::OriginRow::decode(value).ok()?;
            Some((origin, row.seq, row.chain[..].try_into().ok()))
        };
        self.site.shard.applied().iter().take(8).filter_map(|dot| row(dot.origin)).collect()
    }

    fn raw_frame(&mut self, u: &mut Unstructured<'_>) -> Result<Input> {
        let frame = wire::ShardFrame::decode(some_bytes(u)?).unwrap_or_default();
        Ok(Input::Peer(peer(u)?, frame))
    }

    fn hello(&mut self, u: &mut Unstructured<'_>) -> Result<Input> {
        self.frame(u, |run, u| {
            let (vector, floor) = (Some(run.vector(u)?), Some(run.vector(u)?));
            Ok(Frame::Hello(wire::ShardHello { vector, again: u.arbitrary()?, floor }))
        })
    }

    /// Of a bucket that there is, at times with the right touch sum, which makes its hash count.
    fn digest(&mut self, u: &mut Unstructured<'_>) -> Result<Frame> {
        let (start, end) = causeway_replica::key::buckets_range(SHARD);
        let mut buckets = Vec::new();
        let _ = self.site.rows.scan(Cf::Meta, &start, &end, &mut |key, value| {
            if let (Some(Key::Bucket(_, number)), Ok(row)) =
                (Key::decode(Cf::Meta, key), wire::BucketRow::decode(value))
            {
                buckets.push(wire::BucketDigest { bucket: number.into(), touch: row.touch, hash: row.hash });
            }
            std::ops::ControlFlow::Continue(())
        });
        buckets.push(wire::BucketDigest {
            bucket: u.arbitrary::<u8>()?.into(),
            touch: some_bytes(u)?,
            hash: some_bytes(u)?,
        });
        let mut bucket = one(u, &buckets)?.clone();
        if u.arbitrary()? {
            bucket.hash = Bytes::from_static(&[7; 16]);
        }
        Ok(Frame::Digest(wire::Digest { buckets: vec![bucket] }))
    }

    fn ask(&mut self, u: &mut Unstructured<'_>) -> Result<Frame> {
        let pages = self.site.sent.iter().filter_map(|(_, frame)| match &frame.frame {
            Some(Frame::SnapshotPage(page)) => page.rows.last(),
            _ => None,
        });
        let after = pages.last().map_or_else(Bytes::new, |row| [&[row.family as u8][..], &row.key].concat().into());
        let after = if u.ratio(1, 4)? { some_bytes(u)? } else { after };
        let vector = if u.arbitrary()? { Some(self.vector(u)?) } else { None };
        Ok(Frame::SnapshotAsk(wire::SnapshotAsk { transfer: 1, after, vector }))
    }

    /// Of the transfer that the shard asked for, from whom it asked.
    fn page(&mut self, u: &mut Unstructured<'_>) -> Result<Input> {
        let asked = self.site.sent.iter().rev().find_map(|(to, frame)| match &frame.frame {
            Some(Frame::SnapshotAsk(ask)) => Some((*to, ask.transfer)),
            _ => None,
        });
        let (site, transfer) = asked.unwrap_or((SiteId(2), 1));
        let mut rows = Vec::new();
        for _ in 0..u.int_in_range(0..=6)? {
            rows.push(self.row(u)?);
        }
        if u.ratio(15, 16)? {
            rows.sort_by(|a, b| (a.family, &a.key).cmp(&(b.family, &b.key)));
        }
        let page = wire::SnapshotPage { transfer, vector: Some(self.vector(u)?), rows, done: u.arbitrary()? };
        Ok(Input::Peer(site, wire::ShardFrame { shard: SHARD.0.into(), frame: Some(Frame::SnapshotPage(page)) }))
    }

    /// One that another site could have, with a key that fits or one that does not.
    fn row(&mut self, u: &mut Unstructured<'_>) -> Result<wire::Row> {
        let own = self.site.origin();
        let room = *one(u, &self.forge.rooms)?;
        let user = one(u, &self.forge.users)?.clone();
        let which = u.arbitrary::<u8>()? % 6;
        if which == 5 {
            let family = u.arbitrary::<u8>()?.into();
            return Ok(wire::Row { family, key: some_bytes(u)?, value: some_bytes(u)? });
        }
        let (key, value): (Key, Vec<u8>) = if which < 2 {
            let op = self.forge.op(u, self.site.shard.applied(), own)?;
            self.bytes += op.header.len();
            let header = wire::Header::decode(op.header.clone()).unwrap_or_default();
            let dot = header.origin.map(|origin| wire::Dot { origin: Some(origin), seq: header.seq });
            let request = wire::Request::decode(header.request.clone()).unwrap_or_default();
            let of = causeway_protocol::RoomId::from_wire(&request.room).unwrap_or(room);
            let of = if u.ratio(1, 16)? { room } else { of };
            let Some(Ok(place)) = dot.as_ref().map(causeway_protocol::Dot::from_wire) else {
                return Ok(wire::Row::default());
            };
            if which == 0 {
                (Key::Op(of, place), op.header.to_vec())
            } else {
                let id = request.id.as_ref().map_or(self.forge.id(u)?, causeway_protocol::RequestId::from_wire);
                let row = wire::RequestRow {
                    hash: Bytes::copy_from_slice(&causeway_replica::request::body_hash(&header.request)),
                    dots: dot.into_iter().collect(),
                    user: header.user,
                    request: header.request,
                    body: op.body,
                    ..Default::default()
                };
                (Key::Request(of, id), row.encode_to_vec())
            }
        } else {
            let key = match u.arbitrary::<u8>()? % 7 {
                0 => Key::Invited(room, user),
                1 => Key::Register(room, causeway_replica::key::Register::Name),
                2 => Key::Register(room, causeway_replica::key::Register::Policy),
                3 => Key::Reaction(room, self.forge.id(u)?, "+".into(), user),
                4 => Key::Edit(room, self.forge.id(u)?, self.forge.id(u)?, user),
                5 => Key::Redaction(room, self.forge.id(u)?, user),
                _ => Key::Member(room, user),
            };
            let value = match key {
                Key::Register(..) => {
                    let marker = Some(self.forge.id(u)?.to_wire());
                    wire::RegisterRow { marker, value: some_bytes(u)? }.encode_to_vec()
                }
                _ => self.element(u)?.encode_to_vec(),
            };
            (key, value)
        };
        let value = if u.ratio(1, 8)? { some_bytes(u)? } else { value.into() };
        Ok(wire::Row { family: key.family() as u32, key: key.encode(), value })
    }

    fn element(&mut self, u: &mut Unstructured<'_>) -> Result<wire::ElementRow> {
        let dot = |run: &mut Self, u: &mut Unstructured<'_>| -> Result<Option<wire::Dot>> {
            let origin = run.forge.origin(u, run.site.origin())?;
            Ok(Some(wire::Dot { origin: Some(origin.to_wire()), seq: u64::from(u.arbitrary::<u8>()?) }))
        };
        let mut row = wire::ElementRow { tags: self.forge.ids(u)?, hidden: self.forge.ids(u)?, ..Default::default() };
        for _ in 0..u.int_in_range(0..=2)? {
            let id = if u.ratio(1, 16)? { None } else { Some(self.forge.id(u)?.to_wire()) };
            let (role, rank) = (u.arbitrary::<u8>()?.into(), u.arbitrary::<u8>()?.into());
            row.grants.push(wire::Grant {
                id,
                dot: dot(self, u)?,
                role,
                rank,
                saw: self.forge.ids(u)?,
                hidden: u.arbitrary()?,
            });
        }
        for _ in 0..u.int_in_range(0..=2)? {
            let id = if u.ratio(1, 16)? { None } else { Some(self.forge.id(u)?.to_wire()) };
            let past = if u.ratio(1, 16)? { None } else { Some(self.vector(u)?) };
            let lifts = vec![wire::Lift { dot: dot(self, u)?, hidden: u.arbitrary()? }];
            let dot = if u.ratio(1, 16)? { None } else { dot(self, u)? };
            let (floor, ban) = (u.arbitrary::<u8>()?.into(), u.arbitrary()?);
            row.revocations.push(wire::Revocation {
                id,
                dot,
                past,
                floor,
                ban,
                until_ms: 0,
                lifts,
                erases: u.arbitrary()?,
            });
        }
        Ok(row)
    }

    fn marks(&mut self, u: &mut Unstructured<'_>) -> Result<Frame> {
        let mut marks = Vec::new();
        for _ in 0..u.int_in_range(1..=4)? {
            let (room, user) = (one(u, &self.forge.rooms)?.to_wire(), one(u, &self.forge.users)?.to_string());
            marks.push(wire::ReadMark { room, user, vector: Some(self.vector(u)?), flag: self.forge.flag(u)? });
        }
        Ok(Frame::ReadMarks(wire::ReadMarks { marks }))
    }

    /// Whatever was said: the timers run, everything is synced and read, a peer may take a snapshot of it, and it can be
    /// opened again.
    fn settle(&mut self) {
        let users = forge::users();
        for round in 0..2 {
            for _ in 0..12 {
                self.site.sync();
                self.site.pass_ms(250);
            }
            self.site.read_all(&users, &self.forge.rooms.clone());
            self.site.step(Input::PeerUp(SiteId(2)));
            for frame in [
                Frame::Hello(wire::ShardHello { again: true, ..Default::default() }),
                Frame::SnapshotAsk(wire::SnapshotAsk { transfer: 9, ..Default::default() }),
            ] {
                self.site.step(Input::Peer(SiteId(2), wire::ShardFrame { shard: SHARD.0.into(), frame: Some(frame) }));
                self.site.sync();
            }
            if round == 0 {
                self.restart(false);
            }
        }
    }
}
