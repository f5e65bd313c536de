//! What users do: create rooms, join, leave, invite, name, write, answer, read history, mark as read; `workload_rights`
//! has what takes a role.

use bytes::Bytes;
use causeway_client::machine::{ProfileChange, SendError, Wish};
use causeway_protocol::{RequestId, RoomId, UserId, wire};

use crate::checkers::broken;
use crate::checkers::reads::Reader;
use crate::coverage::Coverage;
use crate::plan::Plan;
use crate::queue::MS;
use crate::rng::Rng;
use crate::world::{Event, Step, World};

/// Rooms of a run.
const ROOMS_MAX: usize = 6;
/// Of a hundred users who think of it, those that go, and take with them what they wrote.
const ERASE_PERCENT: u64 = 50;

/// The users' dice, and what they know.
pub struct Workload {
    rng: Rng,
    rooms: Vec<RoomId>,
    left: u64,
    pause_ms: u64,
    written: u64,
}

impl Workload {
    /// Of a plan.
    pub fn new(rng: Rng, plan: &Plan) -> Self {
        let pause_ms = (plan.fault_phase / MS * plan.clients as u64 / plan.requests.max(1)).max(1);
        Self { rng, rooms: Vec::new(), left: plan.requests, pause_ms, written: 0 }
    }

    /// The dice.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Every room that somebody asked for.
    pub fn rooms(&self) -> &[RoomId] {
        &self.rooms
    }
}

impl World {
    /// A user does something, and will again.
    pub fn work(&mut self, number: usize) -> Step {
        if self.healed || self.workload.left == 0 {
            return Ok(());
        }
        let pause = self.workload.rng.within(0, 2 * self.workload.pause_ms);
        self.queue.after(pause * MS, Event::Work(number));
        if self.clients[number].machine.is_none() {
            return Ok(());
        }
        // A burst now and then: several requests within one moment.
        let times = if self.workload.rng.percent(10) { 5 } else { 1 };
        for _ in 0..times {
            self.workload.left = self.workload.left.saturating_sub(1);
            self.one_deed(number)?;
        }
        self.drain(number)
    }

    fn one_deed(&mut self, number: usize) -> Step {
        let rng = &mut self.workload.rng;
        let few = self.workload.rooms.len() < ROOMS_MAX;
        if self.workload.rooms.is_empty() || (few && rng.percent(8)) {
            return self.create_room(number);
        }
        let Some(room) = rng.pick(&self.workload.rooms).copied() else { return Ok(()) };
        let deed = rng.below(100);
        let other = UserId::new(&format!("user-{}", rng.below(self.plan.users as u64))).ok();
        if rng.percent(20)
            && let Some(done) = self.use_rights(number, room)
        {
            return done;
        }
        match (deed, other) {
            (0..15, _) => self.wish(number, room, Wish::Join),
            (15..20, _) => self.wish(number, room, Wish::Leave),
            (20..26, Some(other)) => self.wish(number, room, Wish::Invite(other)),
            (26..30, _) => {
                self.workload.written += 1;
                let name = format!("name {}", self.workload.written);
                let topic = ProfileChange { topic: Some(name.clone()), ..ProfileChange::default() };
                let set = if self.workload.rng.percent(50) { Wish::SetName(name) } else { Wish::SetProfile(topic) };
                self.wish(number, room, set)
            }
            (30..36, _) => self.mark(number, room),
            (36..39, _) => self.read_history(number, room),
            (39, _) if self.workload.rng.percent(ERASE_PERCENT) => self.erase(number, room),
            (39..42, _) => self.create_direct(number),
            (42..58, _) => self.change_message(number),
            _ => self.write_message(number, room),
        }
    }

    /// The user goes: from one room, or from all.
    fn erase(&mut self, number: usize, room: RoomId) -> Step {
        let user = self.clients[number].user.clone();
        match self.workload.rng.percent(50) {
            true => self.wish(number, room, Wish::Erase),
            false => self.wish(number, RoomId::of_user(&user), Wish::Erase),
        }
    }

    /// Marks a room as read or unread; now and then the user's other devices do so at the same time, so that they disagree.
    fn mark(&mut self, number: usize, room: RoomId) -> Step {
        let user = self.clients[number].user.clone();
        let all = self.workload.rng.percent(40);
        for device in 0..self.clients.len() {
            if device != number && !(all && self.clients[device].user == user) {
                continue;
            }
            let unread = self.workload.rng.percent(50);
            let at = self.clients[device].read_clock(self.queue.now());
            match self.clients[device].machine.as_mut() {
                Some(machine) if unread => machine.mark_unread(at, room),
                Some(machine) => machine.mark_read(at, room),
                None => {}
            }
            if device != number {
                self.drain(device)?;
            }
        }
        Ok(())
    }

    fn create_room(&mut self, number: usize) -> Step {
        if self.workload.rng.percent(25) {
            return self.create_direct(number);
        }
        let (open, channel) = (self.workload.rng.percent(70), self.workload.rng.percent(15));
        let client = &mut self.clients[number];
        let at = client.read_clock(self.queue.now());
        let Some(machine) = client.machine.as_mut() else { return Ok(()) };
        let made = match channel {
            true => machine.create_channel(at, "a channel", open),
            false => machine.create_room(at, "a room", open),
        };
        match made {
            Ok((room, _)) => {
                self.workload.rooms.push(room);
                Ok(())
            }
            Err(e) => outbox_refuses(&mut self.coverage, &e),
        }
    }

    /// Of few users, so that both make it, and make it again after a leave.
    fn create_direct(&mut self, number: usize) -> Step {
        let with = UserId::new(&format!("user-{}", self.workload.rng.below(self.plan.users as u64)));
        let client = &mut self.clients[number];
        let at = client.read_clock(self.queue.now());
        let (Some(machine), Ok(with)) = (client.machine.as_mut(), with) else { return Ok(()) };
        if with == client.user {
            return Ok(());
        }
        match machine.create_direct(at, &with) {
            Ok((room, _)) => {
                if !self.workload.rooms.contains(&room) {
                    self.workload.rooms.push(room);
                }
                self.coverage.hit("direct room");
                Ok(())
            }
            Err(e) => outbox_refuses(&mut self.coverage, &e),
        }
    }

    fn write_message(&mut self, number: usize, room: RoomId) -> Step {
        let rng = &mut self.workload.rng;
        self.workload.written += 1;
        let content = format!("message {} {}", self.workload.written, "x".repeat(rng.below(150) as usize));
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&rng.bits().to_be_bytes());
        let seen: Vec<RequestId> = self.clients[number]
            .seen
            .iter()
            .rev()
            .filter(|seen| seen.room == room)
            .take(5)
            .map(|seen| seen.id)
            .collect();
        let reply_to = if rng.percent(20) { rng.pick(&seen).copied() } else { None };
        let named = UserId::new(&format!("user-{}", rng.below(self.plan.users as u64)));
        let mentions = named.into_iter().filter(|_| rng.percent(30)).collect();
        let lifetime_ms = if rng.percent(10) { rng.within(1_000, 8_000) } else { 0 };
        self.wish(
            number,
            room,
            Wish::Message {
                content_type: "text/plain".into(),
                content: Bytes::from(content),
                salt,
                reply_to,
                mentions,
                lifetime_ms,
            },
        )
    }

    /// Edits or redacts a message, mostly an own one, or reacts to one, or takes a reaction back. Of few messages and with
    /// one symbol, so that changes meet.
    fn change_message(&mut self, number: usize) -> Step {
        let rng = &mut self.workload.rng;
        let client = &self.clients[number];
        let deed = rng.below(10);
        let own = deed < 6 && rng.percent(90);
        let seen = client.seen.iter().rev().filter(|seen| seen.own || !own).take(3);
        let seen: Vec<(RoomId, RequestId)> = seen.map(|seen| (seen.room, seen.id)).collect();
        let Some((room, target)) = rng.pick(&seen).copied() else { return Ok(()) };
        let symbol = "+1";
        let wish = match deed {
            0..4 => {
                self.workload.written += 1;
                let content = Bytes::from(format!("edit {}", self.workload.written));
                let salt = [self.workload.rng.below(256) as u8; 16];
                Wish::Edit { target, content_type: "text/plain".into(), content, salt }
            }
            4..6 => Wish::Redact(target),
            6..8 => Wish::React(target, symbol.into()),
            _ => Wish::Unreact(target, symbol.into()),
        };
        self.wish(number, room, wish)
    }

    pub(crate) fn wish(&mut self, number: usize, room: RoomId, wish: Wish) -> Step {
        let client = &mut self.clients[number];
        let at = client.read_clock(self.queue.now());
        let Some(machine) = client.machine.as_mut() else { return Ok(()) };
        match machine.submit(at, room, wish) {
            Ok(_) => Ok(()),
            Err(e) => outbox_refuses(&mut self.coverage, &e),
        }
    }

    /// Reads at a site of chance, and checks what is read while faults are on.
    fn read_history(&mut self, number: usize, room: RoomId) -> Step {
        let rng = &mut self.workload.rng;
        let at = rng.below(self.plan.sites as u64) as usize;
        let (forward, limit) = (rng.percent(50), rng.within(1, 30) as u32);
        let site = &self.sites[at];
        let Some(process) = site.process.as_ref() else { return Ok(()) };
        let reader = Reader {
            site: site.id,
            view: site.disk.visible(),
            durables: &process.published,
            shard_count: self.plan.shards,
            truth: &site.truth[usize::from(self.shard_of(&room).0)],
            user: &self.clients[number].user,
            sends: &self.checks.sends,
        };
        if reader.all(room, forward, limit)?.is_none() {
            return Ok(());
        }
        self.coverage.hit("history read");
        let newest = wire::HistoryRequest { room: room.to_wire(), from: None, forward: false, limit: 1 };
        let Some(page) = reader.page(&newest)? else { return Ok(()) };
        self.coverage.hit("unread checked");
        reader.unread_is_right(room, page.unread)
    }
}

/// "A full outbox refuses new sends"; nothing else may.
fn outbox_refuses(coverage: &mut Coverage, e: &SendError) -> Step {
    match e {
        SendError::OutboxFull { .. } => {
            coverage.hit("outbox full");
            Ok(())
        }
        e => broken("outboxes take requests", e.to_string()),
    }
}
