//! What people do with messages that are there: edits, redactions, reactions, and reading. It is laid over a plan, so
//! that generated chat and traces have it alike. The same seed makes the same.

use std::collections::VecDeque;

use super::quantiles::{BODY_BYTES, interpolate};
use super::text::{Script, body_of};
use super::{Kind, Plan, PlanEvent};
use crate::rng::Rng;

/// Messages of a room that people still edit, redact and react to.
const RECENT_MAX: usize = 64;
/// Reactions of a room that may yet be taken back, and those taken back that may come again.
const REACTIONS_MAX: usize = 256;
/// Edits that change what was edited last, so that messages have several.
const EDIT_AGAIN_CHANCE: f64 = 0.3;
/// Reactions that come again after they were taken back.
const REACT_AGAIN_CHANCE: f64 = 0.1;
/// What people react with.
const SYMBOLS: [&str; 6] = ["👍", "❤️", "😂", "🎉", "👀", ":ship-it:"];
/// Keeps the choices here apart from those of a generator with the same seed.
const SEED_SALT: u64 = 0x6163_7473;

/// How often people do what, as shares of messages: 0.02 is twice for 100 messages.
#[derive(clap::Args, Clone, Copy, Debug, PartialEq)]
pub struct ActRates {
    /// Edits by the author of a recent message, as a share of messages
    #[arg(long, value_name = "SHARE", default_value_t = ActRates::default().edits)]
    pub edits: f64,
    /// Redactions by the author of a recent message, as a share of messages
    #[arg(long, value_name = "SHARE", default_value_t = ActRates::default().redactions)]
    pub redactions: f64,
    /// Reactions by members to a recent message, as a share of messages
    #[arg(long, value_name = "SHARE", default_value_t = ActRates::default().reactions)]
    pub reactions: f64,
    /// Reactions taken back, as a share of messages
    #[arg(long, value_name = "SHARE", default_value_t = ActRates::default().unreactions)]
    pub unreactions: f64,
    /// Members who mark a room as read, as a share of messages
    #[arg(long, value_name = "SHARE", default_value_t = ActRates::default().marks)]
    pub marks: f64,
}

impl Default for ActRates {
    fn default() -> Self {
        Self { edits: 0.02, redactions: 0.005, reactions: 0.15, unreactions: 0.02, marks: 0.1 }
    }
}

impl ActRates {
    /// Nobody does anything of it.
    pub const NONE: Self = Self { edits: 0.0, redactions: 0.0, reactions: 0.0, unreactions: 0.0, marks: 0.0 };

    fn each(&self) -> [(Kind, f64); 5] {
        [
            (Kind::Edit, self.edits),
            (Kind::Redact, self.redactions),
            (Kind::React, self.reactions),
            (Kind::Unreact, self.unreactions),
            (Kind::Mark, self.marks),
        ]
    }

    /// Whether all are shares: from 0 to 1.
    pub fn are_shares(&self) -> bool {
        self.each().iter().all(|(_, rate)| (0.0..=1.0).contains(rate))
    }
}

/// Lays edits, redactions, reactions and read markers over a plan: each by somebody who is in the room then.
pub fn overlay(plan: Plan, rates: &ActRates, seed: u64) -> Plan {
    let mut rng = Rng::seeded(seed ^ SEED_SALT);
    let mut rooms: Vec<Room> =
        plan.rooms.iter().map(|r| Room { present: r.members.clone(), ..Room::default() }).collect();
    let mut events = Vec::with_capacity(plan.events.len() + plan.events.len() / 3);
    let mut messages = 0u32;
    for event in plan.events {
        let PlanEvent { at_us, room: index, client, kind, .. } = event;
        events.push(event);
        let Some(room) = rooms.get_mut(index as usize) else { continue };
        match kind {
            Kind::Join => room.present.push(client),
            Kind::Leave => room.present.retain(|c| *c != client),
            _ => {}
        }
        if !kind.is_message() {
            continue;
        }
        room.said(messages, client);
        messages += 1;
        for (kind, rate) in rates.each() {
            if rng.chance(rate)
                && let Some((client, target, body)) = room.act(kind, &mut rng)
            {
                events.push(PlanEvent { at_us, room: index, client, kind, target, body });
            }
        }
    }
    Plan { events, ..plan }
}

/// Somebody's reaction to a message.
#[derive(Clone, Copy, PartialEq)]
struct Reaction {
    client: u32,
    no: u32,
    symbol: &'static str,
}

/// A room while the plan is gone through.
#[derive(Default)]
struct Room {
    present: Vec<u32>,
    /// Recent messages and their authors.
    recent: VecDeque<(u32, u32)>,
    edited: Option<(u32, u32)>,
    shown: VecDeque<Reaction>,
    taken: VecDeque<Reaction>,
}

/// Who, which message, and with what.
type Act = (u32, Option<u32>, Box<str>);

impl Room {
    fn said(&mut self, no: u32, client: u32) {
        push_bounded(&mut self.recent, (no, client), RECENT_MAX);
    }

    fn is_here(&self, client: u32) -> bool {
        self.present.contains(&client)
    }

    fn act(&mut self, kind: Kind, rng: &mut Rng) -> Option<Act> {
        match kind {
            Kind::Edit => {
                let again = self.edited.filter(|(_, author)| rng.chance(EDIT_AGAIN_CHANCE) && self.is_here(*author));
                let (no, author) = again.or_else(|| self.recent_of_present(rng))?;
                self.edited = Some((no, author));
                let bytes = interpolate(&BODY_BYTES, rng.unit()).round() as usize;
                Some((author, Some(no), body_of(Script::Ascii, bytes, rng)))
            }
            Kind::Redact => self.recent_of_present(rng).map(|(no, author)| (author, Some(no), "".into())),
            Kind::React => {
                let Reaction { client, no, symbol } = self.reaction(rng)?;
                Some((client, Some(no), symbol.into()))
            }
            Kind::Unreact => {
                let here = |r: &Reaction| self.present.contains(&r.client);
                let at = position_from(&self.shown, rng.below(self.shown.len()), here)?;
                let reaction = self.shown.remove(at)?;
                push_bounded(&mut self.taken, reaction, REACTIONS_MAX);
                Some((reaction.client, Some(reaction.no), reaction.symbol.into()))
            }
            Kind::Mark => self.anybody(rng).map(|client| (client, None, "".into())),
            _ => None,
        }
    }

    fn anybody(&self, rng: &mut Rng) -> Option<u32> {
        self.present.get(rng.below(self.present.len())).copied()
    }

    /// A recent message whose author is still here.
    fn recent_of_present(&self, rng: &mut Rng) -> Option<(u32, u32)> {
        let from = rng.below(self.recent.len());
        let at = position_from(&self.recent, from, |(_, author)| self.is_here(*author))?;
        self.recent.get(at).copied()
    }

    fn reaction(&mut self, rng: &mut Rng) -> Option<Reaction> {
        let again = match rng.chance(REACT_AGAIN_CHANCE) {
            true => self.taken.iter().rposition(|r| self.present.contains(&r.client)),
            false => None,
        };
        let reaction = match again.and_then(|at| self.taken.remove(at)) {
            Some(reaction) => reaction,
            None => {
                let (no, _) = *self.recent.get(rng.below(self.recent.len()))?;
                Reaction { client: self.anybody(rng)?, no, symbol: SYMBOLS[rng.below(SYMBOLS.len())] }
            }
        };
        if !self.shown.contains(&reaction) {
            push_bounded(&mut self.shown, reaction, REACTIONS_MAX);
        }
        Some(reaction)
    }
}

fn push_bounded<T>(into: &mut VecDeque<T>, item: T, max: usize) {
    into.push_back(item);
    if into.len() > max {
        into.pop_front();
    }
}

/// The first that fits from this place on, and then from the start.
fn position_from<T>(of: &VecDeque<T>, from: usize, fits: impl Fn(&T) -> bool) -> Option<usize> {
    (from..of.len()).chain(0..from).find(|i| of.get(*i).is_some_and(&fits))
}

#[cfg(test)]
#[path = "acts_tests.rs"]
mod tests;
