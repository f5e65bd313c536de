//! Those who may give roles, kick, ban and lift bans; now and then somebody who may not tries.

use std::time::Duration;

use causeway_client::machine::{ProfileChange, Wish};
use causeway_protocol::wire::request::Kind;
use causeway_protocol::{Role, RoomId, UserId, wire};

use crate::checkers::rights::{Model, acts_of};
use crate::world::{Step, World};

/// Of a hundred deeds without a right to them, those that are tried all the same: a refused one waits in the outbox.
const TRIES_PERCENT: u64 = 1;
/// Throws of the dice for one deed.
const ATTEMPTS: usize = 5;
/// How long a ban with an end lasts at most, ms: runs last some tens of seconds.
const BAN_MS_MAX: u64 = 8_000;

impl World {
    /// One such deed, in this room or another; `None` where the user has no right to any that the dice gave, by what
    /// some site holds.
    pub fn use_rights(&mut self, number: usize, room: RoomId) -> Option<Step> {
        (0..ATTEMPTS).find_map(|attempt| {
            let rooms = self.workload.rooms().to_vec();
            let room = if attempt == 0 { room } else { *self.workload.rng().pick(&rooms)? };
            let user = self.workload.rng().below(self.plan.users as u64);
            let other = UserId::new(&format!("user-{user}")).ok()?;
            self.use_right(number, room, other)
        })
    }

    fn use_right(&mut self, number: usize, room: RoomId, other: UserId) -> Option<Step> {
        let own = self.clients[number].user.clone();
        let sites = self.plan.sites as u64;
        let now_ms = self.clients[number].read_clock(self.queue.now()).wall_ms;
        let rng = self.workload.rng();
        let (at, tries) = (rng.below(sites) as usize, rng.percent(TRIES_PERCENT));
        let other = if rng.percent(8) { own.clone() } else { other };
        let role = *rng.pick(&Role::ALL)?;
        let until_ms = if rng.percent(60) { now_ms + rng.within(500, BAN_MS_MAX) } else { 0 };
        let deed = rng.below(30);
        let acts = acts_of(self.sites[at].disk.visible(), &room).ok()?;
        let model = Model::of(&acts);
        // Few are banned, and few ask to be let in: who lifts a ban or answers looks for them.
        let banned = match deed {
            11..14 => model.banned(),
            25..29 => model.knocking(),
            _ => Vec::new(),
        };
        let banned = self.workload.rng().pick(&banned).and_then(|user| UserId::new(user).ok());
        let other = banned.unwrap_or(other);
        let (user, reason) = (other.as_str().to_owned(), "a reason".to_owned());
        let (kind, wish) = match deed {
            0..6 => (Kind::SetRole(wire::SetRole { user, role: role.number() }), Wish::SetRole(other, role)),
            6..9 => (Kind::Kick(wire::Kick { user, reason: reason.clone() }), Wish::Kick(other, reason)),
            9..11 => {
                let kind = Kind::Ban(wire::Ban { user, reason: reason.clone(), until_ms });
                (kind, Wish::Ban { user: other, reason, until_ms })
            }
            16..19 => {
                let rng = self.workload.rng();
                let mut change = ProfileChange::default();
                match rng.below(8) {
                    0..2 => change.open = Some(rng.percent(60)),
                    // Mostly back to what lets people write.
                    2..4 => change.writers = Some(if rng.percent(70) { Role::Member } else { role.max(Role::Member) }),
                    4..7 => change.knock = Some(rng.percent(80)),
                    _ => {
                        let kept_ms = if rng.percent(50) { 0 } else { rng.within(1_000, 8_000) };
                        change.retention = Some(Duration::from_millis(kept_ms));
                    }
                }
                let set = wire::SetProfile {
                    open: change.open,
                    writers: change.writers.map(Role::number),
                    retention_ms: change.retention.map(|kept| kept.as_millis() as u64),
                    knock: change.knock,
                    ..Default::default()
                };
                (Kind::SetProfile(set), Wish::SetProfile(change))
            }
            19..22 => {
                let seen = self.clients[number].seen.iter().rev().filter(|seen| seen.room == room);
                let seen: Vec<_> = seen.take(3).map(|seen| seen.id).collect();
                let target = *self.workload.rng().pick(&seen)?;
                let id = Some(target.to_wire());
                match self.workload.rng().percent(60) {
                    true => (Kind::Pin(wire::Pin { target: id }), Wish::Pin(target)),
                    false => (Kind::Unpin(wire::Unpin { target: id }), Wish::Unpin(target)),
                }
            }
            22..25 => (Kind::Knock(wire::Knock {}), Wish::Knock),
            25..27 => (Kind::Decline(wire::Decline { user }), Wish::Decline(other)),
            27..29 => (Kind::Invite(wire::Invite { user }), Wish::Invite(other)),
            11..14 => (Kind::LiftBan(wire::LiftBan { user }), Wish::LiftBan(other)),
            _ => {
                let seen = self.clients[number].seen.iter().rev().filter(|seen| seen.room == room && !seen.own);
                let seen: Vec<_> = seen.take(3).map(|seen| (seen.id, seen.by.clone())).collect();
                let (target, author) = self.workload.rng().pick(&seen).cloned()?;
                let (of, id) = (author.as_str().to_owned(), Some(target.to_wire()));
                (Kind::Redact(wire::Redact { target: id, author: of }), Wish::RedactOf(target, author))
            }
        };
        let may = model.may(own.as_str(), &kind, now_ms);
        (may.is_ok() || tries).then(|| self.wish(number, room, wish))
    }
}
