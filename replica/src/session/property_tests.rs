//! Any interleaving of writes, syncs, deliveries, overflows and reads shows each request once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use causeway_protocol::{RequestId, RoomId, ShardId, Vector, wire};
use proptest::prelude::*;
use wire::event_frame::Frame as Event;

use super::test_host::{Host, config, seen};
use super::{SessionInput, SessionLimits};
use crate::read::fixture::{Effect, Fixture, SHARDS, is_covered, rows_of};

/// Live events that the host queues for the session.
const QUEUE_MAX: usize = 4;

#[derive(Clone, Debug)]
enum Act {
    Message {
        site: u16,
        room: usize,
    },
    Again {
        site: u16,
        which: prop::sample::Index,
    },
    Join {
        room: usize,
    },
    Leave {
        room: usize,
    },
    Sync(usize),
    /// The session takes inputs out of its queue.
    Take(usize),
    Read(usize),
    ShardReady(u16),
    /// The connection ends and the client comes back with its cursors.
    Reconnect,
    /// A further hello on the same connection.
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1u16..4, 0usize..ROOMS).prop_map(|(site, room)| Act::Message { site, room }),
        2 => (1u16..4, any::<prop::sample::Index>()).prop_map(|(site, which)| Act::Again { site, which }),
        1 => (0usize..ROOMS).prop_map(|room| Act::Join { room }),
        1 => (0usize..ROOMS).prop_map(|room| Act::Leave { room }),
        5 => (1usize..4).prop_map(Act::Sync),
        5 => (1usize..6).prop_map(Act::Take),
        5 => prop_oneof![Just(1usize), Just(300), Just(1 << 20)].prop_map(Act::Read),
        1 => (0..SHARDS).prop_map(Act::ShardReady),
        1 => Just(Act::Reconnect),
        1 => Just(Act::Restart),
    ]
}

const ROOMS: usize = 3;

/// The host with its bounded queue, and what a client makes of the events.
struct World {
    host: Host,
    rooms: Vec<RoomId>,
    queue: VecDeque<SessionInput>,
    /// An overflow is to be told before anything that is queued after it.
    overflowed: bool,
    sent: Vec<(RoomId, RequestId)>,
    cursors: BTreeMap<RoomId, Vector>,
    shown: BTreeMap<RoomId, Vec<RequestId>>,
    open: BTreeSet<RoomId>,
    taken: usize,
}

impl World {
    fn new(limits: SessionLimits) -> Self {
        let mut site = Fixture::default();
        let rooms: Vec<RoomId> = (0..ROOMS).map(|_| site.room("ann")).collect();
        let mut config = config();
        config.limits = limits;
        let host = Host::with(site, "bob", config);
        let mut world = Self {
            host,
            rooms,
            queue: VecDeque::new(),
            overflowed: false,
            sent: Vec::new(),
            cursors: BTreeMap::new(),
            shown: BTreeMap::new(),
            open: BTreeSet::new(),
            taken: 0,
        };
        world.hello();
        world
    }

    fn hello(&mut self) {
        let cursors: Vec<(RoomId, Vector)> = self.cursors.iter().map(|(r, v)| (*r, v.clone())).collect();
        self.open.clear();
        self.host.say_hello(&cursors);
        self.look();
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Message { site, room } => {
                let room = self.rooms[*room];
                self.sent.push((room, self.host.site.message(*site, room, "ann").0));
            }
            Act::Again { site, which } => {
                if !self.sent.is_empty() {
                    let (room, id) = self.sent[which.index(self.sent.len())];
                    self.host.site.again(*site, room, id);
                }
            }
            Act::Join { room } => drop(self.host.site.join(1, self.rooms[*room], "bob")),
            Act::Leave { room } => drop(self.host.site.leave(1, self.rooms[*room], "bob")),
            Act::Sync(count) => {
                for effect in self.host.site.sync_some(*count) {
                    self.queue_up(effect);
                }
            }
            Act::Take(count) => self.take(*count),
            Act::Read(bytes) => {
                if self.host.session.wants_read() {
                    self.host.read(*bytes);
                    self.look();
                }
            }
            Act::ShardReady(shard) => self.queue.push_back(SessionInput::ShardReady(ShardId(*shard))),
            Act::Reconnect => {
                let site = std::mem::take(&mut self.host.site);
                let mut config = config();
                config.limits = SessionLimits { resume_ops_max: usize::MAX, ..config.limits };
                self.host = Host::with(site, "bob", config);
                self.queue.clear();
                (self.overflowed, self.taken) = (false, 0);
                self.hello();
            }
            Act::Restart => self.hello(),
        }
    }

    fn queue_up(&mut self, effect: Effect) {
        match self.host.route(effect) {
            // Memberships are few and small, and not dropped.
            Some(live @ SessionInput::Live { .. }) => {
                let queued = self.queue.iter().filter(|input| matches!(input, SessionInput::Live { .. })).count();
                if queued < QUEUE_MAX {
                    self.queue.push_back(live);
                } else {
                    self.overflowed = true;
                }
            }
            Some(other) => self.queue.push_back(other),
            None => {}
        }
    }

    fn take(&mut self, count: usize) {
        for _ in 0..count {
            if std::mem::take(&mut self.overflowed) {
                self.host.handle(SessionInput::Overflowed);
            }
            let Some(input) = self.queue.pop_front() else { break };
            self.host.handle(input);
        }
        self.look();
    }

    /// The client takes note of new events.
    fn look(&mut self) {
        for event in &self.host.events[self.taken..] {
            match event {
                Event::Invitations(_) => {}
                Event::Event(_) => {
                    let (room, id, dot) = seen(event).unwrap();
                    assert!(self.open.contains(&room), "an event of a room that is not open");
                    assert!(self.host.site.durable_of(room).covers(&dot), "{dot:?} left before it was durable");
                    let shown = self.shown.entry(room).or_default();
                    assert!(!shown.contains(&id), "{id:?} shown twice");
                    shown.push(id);
                    let cursor = self.cursors.entry(room).or_default();
                    assert!(!cursor.covers(&dot), "a dot that the cursor had");
                    cursor.raise(dot);
                }
                Event::RoomOpened(opened) => {
                    assert!(self.open.insert(RoomId::from_wire(&opened.room).unwrap()), "opened twice");
                }
                Event::RoomClosed(closed) => {
                    assert!(self.open.remove(&RoomId::from_wire(&closed.room).unwrap()), "closed, but not open");
                }
                Event::CaughtUp(caught_up) => {
                    let room = RoomId::from_wire(&caught_up.room).unwrap();
                    let vector = Vector::from_wire_opt(caught_up.vector.as_ref()).unwrap();
                    let cursor = self.cursors.entry(room).or_default();
                    assert!(vector.covers_all(cursor), "a cursor went back");
                    *cursor = vector;
                }
                Event::Summary(summary) => {
                    let room = RoomId::from_wire(&summary.room).unwrap();
                    assert!(self.open.contains(&room), "a summary of a room that is not open");
                    let upto = Vector::from_wire_opt(summary.upto.as_ref()).unwrap();
                    assert!(self.host.site.durable_of(room).covers_all(&upto), "told before it was durable");
                }
                Event::Unchanged(unchanged) => panic!("{unchanged:?}: this client holds no summaries"),
                Event::Gap(gap) => panic!("{gap:?}"),
            }
        }
        self.taken = self.host.events.len();
    }

    /// Everything synced, taken and read.
    fn settle(&mut self) {
        self.act(&Act::Sync(usize::MAX / 2));
        for _ in 0..1_000 {
            self.take(QUEUE_MAX);
            if self.host.session.wants_read() {
                self.act(&Act::Read(1 << 20));
            } else if self.queue.is_empty() && !self.overflowed {
                return;
            }
        }
        panic!("it does not come to rest");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]
    #[test]
    fn each_request_is_shown_once_and_the_cursor_covers_what_was_shown(
        acts in prop::collection::vec(act(), 0..120),
    ) {
        let limits = SessionLimits { resume_ops_max: usize::MAX, ..SessionLimits::default() };
        let mut world = World::new(limits);
        for act in &acts {
            world.act(act);
            // What a cursor covers was shown, at every moment.
            for (room, cursor) in &world.cursors {
                for (id, row) in rows_of(&world.host.site.view, *room) {
                    let shown = world.shown.get(room).is_some_and(|shown| shown.contains(&id));
                    prop_assert_eq!(is_covered(&row, cursor), shown, "{:?}", id);
                }
            }
        }
        world.settle();
        let member = crate::read::rooms_of(
            &world.host.site.view, &world.host.site, SHARDS, &world.host.user, None, ROOMS + 1,
        ).unwrap().rooms;
        prop_assert_eq!(&world.open, &member.into_iter().collect::<BTreeSet<_>>());
        for room in &world.open {
            let mut shown = world.shown[room].clone();
            shown.sort();
            let all: Vec<RequestId> = rows_of(&world.host.site.view, *room).into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(shown, all);
        }
    }
}
