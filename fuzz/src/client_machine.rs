//! The client's session machine against any site: whatever it says, an id is shown once, cursors never go back, and
//! what is put out can be sent.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use causeway_client::machine::{
    ClosedBySite, Config, Item, LinkId, Machine, Now, Output, Position, RequestNo, SiteConfig, Start, Wish,
};
use causeway_protocol::{Message, Origin, RequestId, RoomId, SiteId, Vector, limits, wire};
use wire::{event_frame::Frame as Event, server_frame::Frame as Server};

use crate::forge::{Forge, NONCE, one, some_bytes};
use crate::site::EPOCH_MS;

/// Steps of one input.
const STEPS_MAX: usize = 400;
/// What one input may make the machine put out: it resends an outbox of some hundred requests at most.
const OUTPUTS_MAX: usize = 10_000;
/// Ticks that may follow each other without time passing beyond them.
const TICKS_MAX: usize = 2_000;
/// Sites that a welcome may teach, and some.
const SITES_MAX: usize = 128;

struct Run {
    machine: Machine,
    forge: Forge,
    now: Now,
    links: Vec<LinkId>,
    shown: BTreeSet<(RoomId, RequestId)>,
    delivered: Vec<Position>,
    cursors: Vec<(RoomId, Vector)>,
    last_no: u64,
}

/// Steps of an input: see `Run::step`.
pub fn client_machine(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let forge = Forge::new();
    let now = Now { mono_ms: 1_000, wall_ms: EPOCH_MS };
    let site = |n: u8| SiteConfig { name: format!("s{n}"), addresses: vec![format!("127.0.0.1:{n}")] };
    let config = Config::new(forge.users[0].clone(), vec![site(1), site(2)]);
    let start = Start { nonce: NONCE, seed: 1, ..Start::default() };
    let machine = Machine::new(now, config, start);
    let cursors = forge.rooms.iter().map(|room| (*room, Vector::new())).collect();
    let (links, shown, delivered) = (Vec::new(), BTreeSet::new(), Vec::new());
    let mut run = Run { machine, forge, now, links, shown, delivered, cursors, last_no: 1 };
    run.drain();
    for _ in 0..STEPS_MAX {
        if u.is_empty() || run.step(&mut u).is_err() {
            break;
        }
        run.drain();
    }
}

fn own() -> Origin {
    Origin { site: SiteId(1), node: 0, incarnation: 1 }
}

impl Run {
    fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = self.machine.poll_output() else { return self.check() };
            match output {
                Output::Dial { link, .. } => self.links.push(link),
                Output::Close { link, .. } => self.links.retain(|other| *other != link),
                Output::Control { frame, .. } => {
                    assert!(frame.encoded_len() <= limits::FRAME_BYTES_MAX, "a frame that cannot be sent");
                }
                Output::Datagram { datagram, .. } => drop(causeway_protocol::encode_datagram(&datagram)),
                Output::Deliver(delivery) => {
                    if let Item::Request { id, .. } = delivery.item {
                        assert!(self.shown.insert((delivery.position.room, id)), "{id:?} is shown twice");
                    }
                    self.delivered.push(delivery.position);
                }
                _ => {}
            }
        }
        panic!("one input makes the machine put out without end");
    }

    fn check(&mut self) {
        for (room, before) in &mut self.cursors {
            let present = self.machine.cursor(*room).cloned().unwrap_or_default();
            assert!(present.covers_all(before), "a cursor goes back");
            *before = present;
        }
        assert!(self.machine.sites().len() <= SITES_MAX, "more sites than a cluster has");
        assert!(self.machine.next_timer().is_none_or(|at| at > self.now.mono_ms), "a timer that is due for ever");
        let _ = (self.machine.status(), self.machine.counters());
    }

    fn link(&self, u: &mut Unstructured<'_>) -> Result<LinkId> {
        let n = usize::from(u.arbitrary::<u8>()?);
        // Mostly one that is there.
        Ok(match self.links.len() {
            0 => LinkId(n as u64),
            len => self.links[len - 1 - n % len],
        })
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let now = self.now;
        match u.arbitrary::<u8>()? % 32 {
            0..3 => {
                let frame = wire::ServerFrame::decode(some_bytes(u)?).unwrap_or_default();
                self.machine.handle_control(now, self.link(u)?, frame);
            }
            3..6 => {
                let bytes = some_bytes(u)?;
                let link = self.link(u)?;
                self.machine.handle_event(now, link, wire::EventFrame::decode(bytes.clone()).unwrap_or_default());
                // The same bytes as a datagram, and with every third one what the home would say of somebody else.
                self.machine.handle_datagram(now, link, &bytes);
                if let (0, Some(home)) = (bytes.len() % 3, self.machine.home_link()) {
                    let user = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
                    let typing = wire::Typing { room: self.forge.rooms[0].to_wire(), user };
                    let datagram = Some(wire::server_datagram::Datagram::Typing(typing));
                    let datagram = wire::ServerDatagram { datagram }.encode_to_vec().into();
                    self.machine.handle_datagram(now, home, &datagram);
                }
            }
            6..9 => {
                let link = self.link(u)?;
                self.machine.handle_opened(now, link);
                self.drain();
                let welcome = self.welcome(u)?;
                self.machine.handle_control(now, link, server(Server::Welcome(welcome)));
            }
            9..13 => {
                let frame = self.answer(u)?;
                self.machine.handle_control(now, self.link(u)?, frame);
            }
            13..19 => {
                let frame = wire::EventFrame { frame: Some(self.event(u)?) };
                let link = if u.ratio(7, 8)? { self.machine.home_link() } else { None };
                let link = link.map_or_else(|| self.link(u), Ok)?;
                self.machine.handle_event(now, link, frame);
            }
            19 => self.machine.handle_opened(now, self.link(u)?),
            20 => {
                let link = self.link(u)?;
                let by_site = u.arbitrary::<bool>()?.then(|| ClosedBySite { code: 302, detail: String::new() });
                self.links.retain(|other| *other != link);
                self.machine.handle_closed(now, link, by_site);
            }
            21..24 => self.pass_ms(*one(u, &[1, 50, 200, 600, 2_000, 20_000])?),
            24..27 => {
                let room = *one(u, &self.forge.rooms)?;
                let wish = self.wish(u)?;
                if let Ok(submitted) = self.machine.submit(now, room, wish) {
                    self.last_no = submitted.no.0;
                }
            }
            27 => drop(self.machine.create_room(now, "room", u.arbitrary()?)),
            28 => {
                let no = RequestNo(u64::from(u.arbitrary::<u8>()?) % (self.last_no + 1));
                self.machine.discard(now, no);
            }
            29 if u.arbitrary()? => self.machine.mark_unread(now, *one(u, &self.forge.rooms)?),
            29 => self.machine.mark_read(now, *one(u, &self.forge.rooms)?),
            30 => {
                self.machine.set_token("token".to_owned());
                self.machine.say_typing_in(now, self.forge.rooms[(now.mono_ms % 2) as usize]);
                self.machine.set_away(now, now.mono_ms % 3 == 0);
            }
            _ => {
                let n = usize::from(u.arbitrary::<u8>()?);
                if let Some(position) = self.delivered.get(n % self.delivered.len().max(1)).cloned() {
                    self.machine.commit(&position);
                }
            }
        }
        Ok(())
    }

    fn pass_ms(&mut self, ms: u64) {
        let until = self.now.mono_ms + ms;
        for _ in 0..TICKS_MAX {
            let Some(at) = self.machine.next_timer().filter(|at| *at <= until) else { break };
            self.now.wall_ms += at.saturating_sub(self.now.mono_ms);
            self.now.mono_ms = at.max(self.now.mono_ms);
            self.machine.handle_tick(self.now);
            self.drain();
        }
        self.now.wall_ms += until.saturating_sub(self.now.mono_ms);
        self.now.mono_ms = until.max(self.now.mono_ms);
        self.machine.handle_tick(self.now);
    }

    fn wish(&self, u: &mut Unstructured<'_>) -> Result<Wish> {
        let target = self.forge.id(u)?;
        Ok(match u.arbitrary::<u8>()? % 5 {
            0 => Wish::Join,
            1 => Wish::Leave,
            2 => Wish::SetName(String::from_utf8_lossy(&some_bytes(u)?).into_owned()),
            3 => Wish::React(target, String::from_utf8_lossy(&some_bytes(u)?).into_owned()),
            _ => Wish::Message {
                content_type: "text/plain".into(),
                content: some_bytes(u)?,
                salt: [1; 16],
                reply_to: Some(target),
                mentions: Vec::new(),
                lifetime_ms: 0,
            },
        })
    }

    fn welcome(&self, u: &mut Unstructured<'_>) -> Result<wire::Welcome> {
        let count =
            if u.ratio(1, 8)? { usize::from(u.arbitrary::<u16>()?) } else { usize::from(u.arbitrary::<u8>()? % 4) };
        let named = u.arbitrary::<u8>()?;
        let site = |n: usize| wire::SiteInfo {
            site: n as u32 + u32::from(named % 3),
            name: format!("s{n}"),
            addresses: (0..usize::from(named % 4)).map(|port| format!("127.0.0.1:{port}")).collect(),
        };
        Ok(wire::Welcome {
            version: u.arbitrary::<u8>()?.into(),
            site: if u.ratio(7, 8)? { u32::from(u.arbitrary::<u8>()? % 3) } else { u.arbitrary()? },
            site_name: String::new(),
            clock_ms: if u.ratio(7, 8)? { self.now.wall_ms } else { u.arbitrary()? },
            shard_count: *one(u, &[0_u32, 1, 2, 256, 65_535, 65_536, u32::MAX])?,
            sites: (0..count).map(site).collect(),
            session: 1,
            outbox_window_max: *one(u, &[0_u32, 1, 256, u32::MAX])?,
        })
    }

    fn answer(&self, u: &mut Unstructured<'_>) -> Result<wire::ServerFrame> {
        let outbox = self.machine.outbox();
        let n = usize::from(u.arbitrary::<u8>()?);
        let id = outbox.get(n % outbox.len().max(1)).map(|(_, id)| *id);
        let id = if u.ratio(1, 8)? { None } else { id.map(RequestId::to_wire) };
        let seq = *one(u, &[0, 1, 2, 3, u64::MAX])?;
        let dot = Some(wire::Dot { origin: Some(self.forge.origin(u, own())?.to_wire()), seq });
        let shard = *one(u, &[0_u32, 1, u32::MAX])?;
        Ok(server(match u.arbitrary::<u8>()? % 6 {
            0 | 1 => Server::Accepted(wire::Accepted { id, dot, shard, replicated: u.arbitrary()? }),
            2 => {
                let code =
                    *one(u, &[0, 100, 101, 200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 999, u32::MAX])?;
                Server::Refused(wire::Refused { id, code, detail: String::new(), retry_after_ms: u.arbitrary()? })
            }
            3 => Server::Frontier(wire::Frontier { shard, dot }),
            4 => Server::Pong(wire::Pong { token: u.arbitrary()?, clock_ms: u.arbitrary()? }),
            _ => Server::GoAway(wire::GoAway { code: 302, detail: String::new() }),
        }))
    }

    fn event(&self, u: &mut Unstructured<'_>) -> Result<Event> {
        let place = one(u, &self.forge.rooms)?;
        let (room, held) = (place.to_wire(), self.machine.cursor(*place).cloned().unwrap_or_default());
        Ok(match u.arbitrary::<u8>()? % 12 {
            0 => Event::RoomOpened(wire::RoomOpened {
                direct: String::new(),
                room,
                name: "room".into(),
                open: true,
                channel: u.arbitrary()?,
                named: Some(self.forge.id(u)?.to_wire()),
            }),
            1 => Event::RoomClosed(wire::RoomClosed { room }),
            2 => {
                let (from, to) = (Some(held.to_wire()), Some(self.forge.vector(u, &held, own())?));
                Event::Gap(wire::Gap {
                    room,
                    from,
                    to,
                    lowest: Some(self.forge.id(u)?.to_wire()),
                    missing: u.arbitrary()?,
                })
            }
            4 if u.arbitrary()? => Event::Invitations(wire::Invitations {
                invitations: vec![wire::Invitation {
                    room,
                    name: "room".into(),
                    channel: u.arbitrary()?,
                    by: "ann".into(),
                    id: Some(self.forge.id(u)?.to_wire()),
                }],
            }),
            4 => Event::Unchanged(wire::RoomUnchanged { room }),
            5 => Event::Summary(wire::RoomSummary {
                room,
                upto: Some(self.forge.vector(u, &held, own())?),
                marker: Some(self.forge.vector(u, &held, own())?),
                made: u.arbitrary()?,
                last: Some(wire::Preview { id: Some(self.forge.id(u)?.to_wire()), ..Default::default() }),
                unread: u.arbitrary()?,
                mentions: u.arbitrary()?,
                name: "room".into(),
                named: Some(self.forge.id(u)?.to_wire()),
                profile: Some(wire::Profile { topic: "topic".into(), writers: u.arbitrary()?, ..Default::default() }),
                pins: vec![self.forge.id(u)?.to_wire()],
                knocks: if u.arbitrary()? { vec!["ann".into()] } else { Vec::new() },
                flag: self.forge.flag(u)?,
            }),
            3 => Event::CaughtUp(wire::CaughtUp { room, vector: Some(self.forge.vector(u, &held, own())?) }),
            _ => {
                let (user, request, body) = self.forge.request(u)?;
                let origin = self.forge.origin(u, own())?;
                let seq = match u.arbitrary::<u8>()? {
                    n @ 0..240 => held.get(&origin).saturating_add(u64::from(n % 3)),
                    _ => u.arbitrary()?,
                };
                let dot = Some(wire::Dot { origin: Some(origin.to_wire()), seq });
                let past = if u.ratio(1, 8)? { Some(self.forge.vector(u, &held, own())?) } else { None };
                let request = if u.ratio(1, 16)? { some_bytes(u)? } else { request };
                let room = if u.ratio(1, 16)? { Bytes::new() } else { room };
                Event::Event(wire::Event {
                    room,
                    dot,
                    user: user.to_string(),
                    request,
                    body,
                    past,
                    deadline_ms: u.arbitrary::<u8>()?.into(),
                })
            }
        })
    }
}

fn server(frame: Server) -> wire::ServerFrame {
    wire::ServerFrame { frame: Some(frame) }
}
