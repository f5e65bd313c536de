//! What a run plays: rooms with their first members, and events at their times. It comes from the generator or from a
//! trace; the rest of the load tester does not know which.

mod acts;
mod generator;
mod quantiles;
mod schedule;
mod text;
mod trace;

pub use acts::{ActRates, overlay};
pub use generator::{GeneratorConfig, generate};
pub use quantiles::{BODY_BYTES, ROOM_SHARES};
pub use schedule::{Fold, ScheduleConfig, ScheduleError, schedule};
pub use text::{Script, body_of};
pub use trace::{TraceError, TraceEvent, TraceKind, TraceReader};

/// What somebody does in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Says something.
    Message,
    /// Says what they do (IRC's `/me`): a message of another content type.
    Action,
    /// Becomes a member.
    Join,
    /// Stops being one.
    Leave,
    /// Names the room.
    Topic,
    /// Gives an own message another content.
    Edit,
    /// Takes an own message's content away.
    Redact,
    /// Reacts to a message.
    React,
    /// Takes a reaction back.
    Unreact,
    /// Has read the room.
    Mark,
}

impl Kind {
    /// Whether members are shown it as a message.
    pub fn is_message(self) -> bool {
        matches!(self, Kind::Message | Kind::Action)
    }
}

/// One event of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanEvent {
    /// When it is meant to happen, microseconds since the run's start.
    pub at_us: u64,
    /// Index into [`Plan::rooms`].
    pub room: u32,
    /// Which client does it: 0 .. [`Plan::clients`].
    pub client: u32,
    /// What it is.
    pub kind: Kind,
    /// Which message is edited, redacted or reacted to, counted from 0 in the order of the plan's messages.
    pub target: Option<u32>,
    /// The text of a message, an action, a topic or an edit; a reaction's symbol.
    pub body: Box<str>,
}

/// A room of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomPlan {
    /// Its name.
    pub name: String,
    /// The clients that are members when the run starts; the first creates it. Never empty.
    pub members: Vec<u32>,
}

/// A whole run, decided before it starts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// How many clients there are.
    pub clients: usize,
    /// The rooms.
    pub rooms: Vec<RoomPlan>,
    /// The events in the order of their times.
    pub events: Vec<PlanEvent>,
}

impl Plan {
    /// When the last event happens, microseconds.
    pub fn duration_us(&self) -> u64 {
        self.events.last().map_or(0, |e| e.at_us)
    }

    /// How many of the events are messages.
    pub fn messages(&self) -> usize {
        self.events.iter().filter(|e| e.kind.is_message()).count()
    }

    /// Messages times the room's first members, over messages: what one message costs in deliveries, about.
    pub fn fan_out(&self) -> f64 {
        let deliveries: usize = self
            .events
            .iter()
            .filter(|e| e.kind.is_message())
            .map(|e| self.rooms.get(e.room as usize).map_or(0, |r| r.members.len()))
            .sum();
        deliveries as f64 / self.messages().max(1) as f64
    }
}
