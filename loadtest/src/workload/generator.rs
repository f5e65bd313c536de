//! Chat that is made up, fitted to figures of real chat: room popularity, members, body sizes, scripts, conversations
//! that come in bursts, pasted lines, joins, leaves and topics. The same seed makes the same run.

use super::quantiles::{
    ACTION_SHARE, BODY_BYTES, JOIN_SHARE, LEAVE_SHARE, MEMBERS_MEDIAN, MEMBERS_SIGMA, ROOM_SHARES, TOPIC_SHARE,
    interpolate,
};
use super::text::{Script, body_of};
use super::{Kind, Plan, PlanEvent, RoomPlan};
use crate::rng::{Rng, Weighted};

/// Messages of one conversation, on average.
const CONVERSATION_MESSAGES_MEAN: f64 = 8.0;
/// Conversations that are one person pasting lines at once: it makes the busiest second of real chat.
const PASTE_CHANCE: f64 = 0.002;
/// Lines of a paste, on average.
const PASTE_LINES_MEAN: f64 = 20.0;
/// A conversation's length as a part of the run: its gaps are short against the room's mean gap, and shrink with it.
const CONVERSATION_SPAN: f64 = 0.02;
/// Share of a Korean room's messages that hold Hangul, as in the real one.
const KOREAN_ROOM_SHARE: f64 = 0.82;
/// People in a room at a time who came later. When so many are there, one leaves for the next to come.
const VISITORS_MAX: usize = 2;
/// Which room, by popularity, is the Korean one, as in the real figures.
const KOREAN_ROOM: usize = 1;

/// What is generated.
#[derive(Clone, Debug)]
pub struct GeneratorConfig {
    /// Makes this run and no other.
    pub seed: u64,
    /// Clients.
    pub clients: usize,
    /// Rooms.
    pub rooms: usize,
    /// Members of a room at most.
    pub members_max: usize,
    /// Messages a second, offered.
    pub rate: f64,
    /// How long, seconds.
    pub seconds: f64,
}

/// Makes the run.
pub fn generate(config: &GeneratorConfig) -> Plan {
    let mut rng = Rng::seeded(config.seed);
    let clients = config.clients.max(1);
    let count = config.rooms.max(1);
    let rooms: Vec<RoomPlan> = (0..count)
        .map(|room| RoomPlan { name: name(room), members: first_members(room, clients, config, &mut rng) })
        .collect();
    let mut casts: Vec<Vec<u32>> = rooms.iter().map(|r| r.members.clone()).collect();
    let messages = (config.rate * config.seconds).ceil().max(1.0) as usize;
    let slots = slots(messages, config, &room_weights(count), &mut rng);
    let others = OTHERS_PER_MESSAGE;
    let scripts = other_scripts(count);
    let mut events = Vec::with_capacity(messages + messages / 16);
    for Slot { at_us, room, paste } in slots {
        let cast = &mut casts[room];
        if rng.chance(others) {
            let (client, kind) = other_event(cast, rooms[room].members.len(), clients, &mut rng);
            let body = if kind == Kind::Topic { body_of(Script::Ascii, 24, &mut rng) } else { "".into() };
            events.push(PlanEvent { at_us, room: room as u32, client, kind, target: None, body });
        }
        let speaker = if paste { cast[0] } else { speaker(cast, &mut rng) };
        let kind = if rng.chance(ACTION_SHARE) { Kind::Action } else { Kind::Message };
        let bytes = interpolate(&BODY_BYTES, rng.unit()).round() as usize;
        let body = body_of(script_of(room, &scripts, &mut rng), bytes, &mut rng);
        events.push(PlanEvent { at_us, room: room as u32, client: speaker, kind, target: None, body });
    }
    Plan { clients, rooms, events }
}

/// Joins, leaves and topics that go with one message.
const OTHERS_PER_MESSAGE: f64 =
    (JOIN_SHARE + LEAVE_SHARE + TOPIC_SHARE) / (1.0 - JOIN_SHARE - LEAVE_SHARE - TOPIC_SHARE);

fn name(room: usize) -> String {
    if room == KOREAN_ROOM { "이야기방".to_owned() } else { format!("room {room}") }
}

/// The measured shares of the largest rooms, then a Zipf tail for the rest.
fn room_weights(rooms: usize) -> Weighted {
    let rest = 1.0 - ROOM_SHARES.iter().sum::<f64>();
    let tail: f64 = (ROOM_SHARES.len()..rooms).map(|i| 1.0 / (i + 1) as f64).sum();
    Weighted::new((0..rooms).map(|i| ROOM_SHARES.get(i).copied().unwrap_or(rest / tail / (i + 1) as f64)))
}

fn first_members(room: usize, clients: usize, config: &GeneratorConfig, rng: &mut Rng) -> Vec<u32> {
    let drawn = (MEMBERS_MEDIAN * (MEMBERS_SIGMA * rng.normal()).exp()).round() as usize;
    let limit = config.members_max.min(clients).max(1);
    // Popular rooms are those with many people.
    let size = if room < ROOM_SHARES.len() { limit } else { drawn.clamp(2.min(limit), limit) };
    let mut pool: Vec<u32> = (0..clients as u32).collect();
    (0..size).map(|_| pool.swap_remove(rng.below(pool.len()))).collect()
}

struct Slot {
    at_us: u64,
    room: usize,
    paste: bool,
}

/// Exactly `messages` times and rooms: conversations start evenly over the run, their messages follow in short gaps.
fn slots(messages: usize, config: &GeneratorConfig, weights: &Weighted, rng: &mut Rng) -> Vec<Slot> {
    let run_us = config.seconds * 1e6;
    let mut slots = Vec::with_capacity(messages);
    while slots.len() < messages {
        let room = weights.pick(rng);
        let paste = rng.chance(PASTE_CHANCE);
        let mean = if paste { PASTE_LINES_MEAN } else { CONVERSATION_MESSAGES_MEAN };
        let gap_us = if paste { 1_000.0 } else { run_us * CONVERSATION_SPAN / CONVERSATION_MESSAGES_MEAN };
        let mut at = rng.unit() * run_us;
        for _ in 0..rng.geometric(mean) {
            if slots.len() == messages {
                break;
            }
            // What would fall behind the end comes at the beginning, so that the rate is even over the run.
            slots.push(Slot { at_us: (at % run_us) as u64, room, paste });
            at += rng.exponential(gap_us);
        }
    }
    slots.sort_by_key(|s| s.at_us);
    slots
}

/// A few talk much, most little.
fn speaker(cast: &[u32], rng: &mut Rng) -> u32 {
    let skewed = rng.unit() * rng.unit();
    cast[((skewed * cast.len() as f64) as usize).min(cast.len() - 1)]
}

/// A join by somebody who is not there, a leave, or a topic. Visitors come and go, first members stay: so every room has
/// members from whom a verdict can ask for everything.
fn other_event(cast: &mut Vec<u32>, first: usize, clients: usize, rng: &mut Rng) -> (u32, Kind) {
    let which = rng.unit() * (JOIN_SHARE + LEAVE_SHARE + TOPIC_SHARE);
    if which < TOPIC_SHARE {
        return (cast[0], Kind::Topic);
    }
    let visitors = cast.len() - first;
    let full = visitors >= VISITORS_MAX || cast.len() == clients;
    if visitors > 0 && (which < TOPIC_SHARE + LEAVE_SHARE || full) {
        return (cast.remove(first + rng.below(visitors)), Kind::Leave);
    }
    let mut client = rng.below(clients) as u32;
    for _ in 0..clients {
        if !cast.contains(&client) {
            cast.push(client);
            return (client, Kind::Join);
        }
        client = (client + 1) % clients as u32;
    }
    (cast[0], Kind::Topic)
}

/// What the messages of the other rooms are written in.
fn other_scripts(rooms: usize) -> (Weighted, Vec<Script>) {
    let of = f64::from(Script::COUNTS_OF);
    // The Korean room has the Korean messages, where there is one.
    let korean_elsewhere = rooms <= KOREAN_ROOM;
    let shares = Script::COUNTS
        .iter()
        .map(|(s, n)| (*s, if *s == Script::Hangul && !korean_elsewhere { 0.0 } else { f64::from(*n) / of }))
        .collect::<Vec<_>>();
    let ascii = 1.0 - shares.iter().map(|(_, share)| share).sum::<f64>();
    let all: Vec<(Script, f64)> = shares.into_iter().chain([(Script::Ascii, ascii)]).collect();
    (Weighted::new(all.iter().map(|(_, share)| *share)), all.into_iter().map(|(s, _)| s).collect())
}

fn script_of(room: usize, (weights, scripts): &(Weighted, Vec<Script>), rng: &mut Rng) -> Script {
    if room == KOREAN_ROOM && rng.chance(KOREAN_ROOM_SHARE) {
        return Script::Hangul;
    }
    scripts[weights.pick(rng)]
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
