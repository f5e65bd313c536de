//! Makes a plan of a trace: folds the years, keeps the busiest rooms, maps people to clients, speeds it up.

use std::collections::BTreeMap;

use causeway_protocol::limits;

use super::{Kind, Plan, PlanEvent, RoomPlan, TraceError, TraceEvent, TraceKind};

/// How a long trace is laid over itself. Gaps within a conversation stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fold {
    /// All days at once; a room of each day is a room of its own.
    #[default]
    Day,
    /// All weeks at once.
    Week,
    /// As it was.
    None,
}

impl Fold {
    fn period_ms(self) -> Option<u64> {
        const DAY_MS: u64 = 86_400_000;
        match self {
            Fold::Day => Some(DAY_MS),
            Fold::Week => Some(7 * DAY_MS),
            Fold::None => None,
        }
    }

    /// The time and the room after folding.
    pub fn apply(self, t: u64, room: &str) -> (u64, String) {
        match self.period_ms() {
            Some(period) => (t % period, format!("{room}~{}", t / period)),
            None => (t, room.to_owned()),
        }
    }
}

/// How a trace becomes a plan.
#[derive(Clone, Debug)]
pub struct ScheduleConfig {
    /// How it is folded.
    pub fold: Fold,
    /// How many times faster than it was.
    pub speed: f64,
    /// The busiest rooms (after folding) that are kept.
    pub rooms_max: usize,
    /// Clients that play the people.
    pub clients: usize,
    /// Clients of one room at most: more people than that share them.
    pub members_max: usize,
    /// Ends after this many messages.
    pub messages_max: usize,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The trace is wrong.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The speed is not a positive number.
    #[error("--speed must be a number above 0, not {0}")]
    Speed(f64),
    /// Nothing to do.
    #[error("the trace holds no message")]
    Empty,
}

struct Folded {
    t: u64,
    room: usize,
    event: TraceEvent,
}

/// Reads the trace to its end and makes the plan.
pub fn schedule(
    trace: impl Iterator<Item = Result<TraceEvent, TraceError>>,
    config: &ScheduleConfig,
) -> Result<Plan, ScheduleError> {
    if !(config.speed.is_finite() && config.speed > 0.0) {
        return Err(ScheduleError::Speed(config.speed));
    }
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut busy: Vec<usize> = Vec::new();
    let mut folded = Vec::new();
    for event in trace {
        let event = event?;
        let (t, name) = config.fold.apply(event.t, &event.room);
        let next = names.len();
        let room = *names.entry(name).or_insert(next);
        if room == busy.len() {
            busy.push(0);
        }
        busy[room] += usize::from(matches!(event.kind, TraceKind::Message | TraceKind::Action));
        folded.push(Folded { t, room, event });
    }
    keep_busiest(&mut folded, &busy, config.rooms_max);
    // Stable: what stood at one time in the trace stays in its order.
    folded.sort_by_key(|f| f.t);
    cut_after(&mut folded, config.messages_max);
    if folded.is_empty() {
        return Err(ScheduleError::Empty);
    }
    let names: BTreeMap<usize, String> = names.into_iter().map(|(name, room)| (room, name)).collect();
    Ok(people_to_clients(folded, &names, config))
}

fn keep_busiest(folded: &mut Vec<Folded>, busy: &[usize], rooms_max: usize) {
    let mut order: Vec<usize> = (0..busy.len()).filter(|room| busy[*room] > 0).collect();
    order.sort_by_key(|room| (std::cmp::Reverse(busy[*room]), *room));
    order.truncate(rooms_max);
    let mut kept = vec![false; busy.len()];
    for room in order {
        kept[room] = true;
    }
    folded.retain(|f| kept[f.room]);
}

fn cut_after(folded: &mut Vec<Folded>, messages_max: usize) {
    let mut messages = 0;
    let end = folded.iter().position(|f| {
        messages += usize::from(matches!(f.event.kind, TraceKind::Message | TraceKind::Action));
        messages > messages_max
    });
    if let Some(end) = end {
        folded.truncate(end);
    }
}

/// A room while its people get their clients.
#[derive(Default)]
struct Casting {
    /// Of each person, which client plays them here.
    clients: BTreeMap<Box<str>, u32>,
    /// Which clients play somebody here, in the order of coming.
    cast: Vec<u32>,
    /// Of each client, how many people it plays here that are in the room now.
    present: BTreeMap<u32, u32>,
    /// Of each person, whether they are in the room now.
    inside: BTreeMap<Box<str>, bool>,
    plan: Option<u32>,
    first_members: Vec<u32>,
}

fn people_to_clients(folded: Vec<Folded>, names: &BTreeMap<usize, String>, config: &ScheduleConfig) -> Plan {
    let clients = config.clients.max(1);
    let t0 = folded.first().map_or(0, |f| f.t);
    let mut rooms: BTreeMap<usize, Casting> = BTreeMap::new();
    let mut plan = Plan { clients, ..Plan::default() };
    let mut next_client = 0u32;
    for Folded { t, room: key, event } in folded {
        let casting = rooms.entry(key).or_default();
        let room = *casting.plan.get_or_insert_with(|| {
            let name = names.get(&key).cloned().unwrap_or_default();
            plan.rooms.push(RoomPlan { name, members: Vec::new() });
            plan.rooms.len() as u32 - 1
        });
        let client = casting.client_of(&event.user, clients, config.members_max.max(1), &mut next_client);
        let at_us = ((t - t0) as f64 * 1000.0 / config.speed) as u64;
        let mut push = |kind, body| plan.events.push(PlanEvent { at_us, room, client, kind, target: None, body });
        match event.kind {
            TraceKind::Join => {
                if casting.enter(&event.user, client) {
                    push(Kind::Join, "".into());
                }
            }
            TraceKind::Leave => {
                if casting.exit(&event.user, client) {
                    push(Kind::Leave, "".into());
                }
            }
            kind @ (TraceKind::Message | TraceKind::Action | TraceKind::Topic) => {
                // Whoever speaks without having joined was there from the start.
                if casting.speak(&event.user, client) {
                    push(Kind::Join, "".into());
                }
                let kind = match kind {
                    TraceKind::Action => Kind::Action,
                    TraceKind::Topic => Kind::Topic,
                    _ => Kind::Message,
                };
                let body = if kind == Kind::Topic { short(event.body) } else { event.body };
                push(kind, body);
            }
        }
    }
    for casting in rooms.into_values() {
        if let Some(room) = casting.plan.and_then(|i| plan.rooms.get_mut(i as usize)) {
            room.members = casting.first_members;
            if room.members.is_empty() {
                // Everybody came later; somebody has to make the room.
                room.members.extend(casting.cast.first());
            }
        }
    }
    plan
}

/// A topic as a room's name: as much of it as a name may have.
fn short(topic: Box<str>) -> Box<str> {
    match topic.floor_char_boundary(limits::NAME_BYTES_MAX) {
        end if end < topic.len() => topic[..end].into(),
        _ => topic,
    }
}

impl Casting {
    fn client_of(&mut self, user: &str, clients: usize, members_max: usize, next: &mut u32) -> u32 {
        if let Some(client) = self.clients.get(user) {
            return *client;
        }
        let client = if self.cast.len() < members_max.min(clients) {
            // Rooms take turns over the clients, so that all clients get about as many rooms.
            let mut client = *next % clients as u32;
            while self.cast.contains(&client) {
                client = (client + 1) % clients as u32;
            }
            *next = client.wrapping_add(1);
            self.cast.push(client);
            client
        } else {
            self.cast[self.clients.len() % self.cast.len()]
        };
        self.clients.insert(user.into(), client);
        client
    }

    /// Somebody joins: whether their client has to, because nobody that it plays here is in.
    fn enter(&mut self, user: &str, client: u32) -> bool {
        if self.inside.insert(user.into(), true) == Some(true) {
            return false;
        }
        let here = self.present.entry(client).or_default();
        *here += 1;
        *here == 1
    }

    /// Somebody leaves: whether their client has to, because nobody that it plays here stays.
    fn exit(&mut self, user: &str, client: u32) -> bool {
        if self.inside.insert(user.into(), false) != Some(true) {
            return false;
        }
        let here = self.present.entry(client).or_default();
        *here = here.saturating_sub(1);
        *here == 0
    }

    /// Somebody speaks: whether their client has to join first. Those who were never seen to join were there.
    fn speak(&mut self, user: &str, client: u32) -> bool {
        if self.inside.contains_key(user) || self.present.contains_key(&client) {
            return self.enter(user, client);
        }
        self.inside.insert(user.into(), true);
        self.present.insert(client, 1);
        self.first_members.push(client);
        false
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
