//! A host of one shard in memory: the loop that a relay's shard thread runs.

use bytes::Bytes;
use causeway_protocol::{Origin, ShardId, SiteId, wire};
use causeway_replica::Shard;
use causeway_replica::io::{Input, Now, Output, Outputs, ShardConfig, Ticket};
use causeway_replica::view::{Batch, MemView, View};

use crate::Chat;
use crate::chat::EPOCH_MS;

/// Rounds of messages between two sites after which they must have nothing left to say.
const ROUNDS_MAX: usize = 100;

/// A shard and its rows.
pub struct Host {
    shard: Shard,
    rows: MemView,
    tickets: u64,
    out: Outputs,
}

impl Host {
    /// An empty shard of `site`, where these sites are configured.
    pub fn new(site: SiteId, sites: &[SiteId]) -> Self {
        let config = ShardConfig {
            shard: ShardId(0),
            shard_count: 1,
            origin: Origin { site, node: 0, incarnation: 1 },
            sites: sites.to_vec(),
            must_catch_up: false,
            log_bytes_max: u64::MAX,
            user_rooms_max: usize::MAX,
            room_members_max: u64::MAX,
        };
        let rows = MemView::default();
        let shard = Shard::open(config, &rows, now()).expect("memory does not fail");
        Self { shard, rows, tickets: 0, out: Outputs::default() }
    }

    /// A site on its own with a room.
    pub fn alone(chat: &mut Chat) -> Self {
        let mut host = Self::new(SiteId(1), &[SiteId(1)]);
        host.step(Input::Submit(chat.create()));
        host.commit();
        host
    }

    /// One step, which reads this host's rows.
    pub fn step(&mut self, input: Input) {
        self.shard.step(now(), input, &self.rows, &mut self.out).expect("memory does not fail");
    }

    /// One step, which reads another view.
    pub fn step_on(&mut self, input: Input, view: &dyn View) {
        self.shard.step(now(), input, view, &mut self.out).expect("the view does not fail");
    }

    /// The batch of the steps so far.
    pub fn take_batch(&mut self) -> Batch {
        std::mem::take(&mut self.out.batch)
    }

    /// The batch has been written under this ticket.
    pub fn seal(&mut self, ticket: Ticket) {
        self.shard.seal(ticket);
    }

    /// What the steps so far asked for.
    pub fn take_effects(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out.effects)
    }

    /// Writes the batch to memory, and makes it durable at once, until nothing is left to write. Returns what
    /// became visible.
    pub fn commit(&mut self) -> Vec<Output> {
        for _ in 0..ROUNDS_MAX {
            let batch = self.take_batch();
            if batch.is_empty() {
                return self.take_effects();
            }
            self.rows.apply(&batch);
            self.tickets += 1;
            self.seal(Ticket(self.tickets));
            self.step(Input::Durable(Ticket(self.tickets)));
        }
        panic!("each commit makes the shard write more");
    }
}

fn now() -> Now {
    Now { mono_ms: 10_000, wall_ms: EPOCH_MS + 10_000 }
}

/// The frames that a site with `messages` messages sends to an empty one, from the handshake on.
pub fn replicated_frames(messages: usize) -> Vec<wire::ShardFrame> {
    let sites = [SiteId(1), SiteId(2)];
    let mut hosts = sites.map(|site| Host::new(site, &sites));
    let mut chat = Chat::new();
    let mut recorded = Vec::new();
    // Each waits for the other before it serves.
    hosts[0].step(Input::PeerUp(sites[1]));
    hosts[1].step(Input::PeerUp(sites[0]));
    exchange(&mut hosts, &mut recorded);
    hosts[0].step(Input::Submit(chat.create()));
    for _ in 0..messages {
        hosts[0].step(Input::Submit(chat.message()));
    }
    exchange(&mut hosts, &mut recorded);
    recorded
}

/// Passes frames between two hosts until both are silent, and records what the first one sends.
fn exchange(hosts: &mut [Host; 2], recorded: &mut Vec<wire::ShardFrame>) {
    for _ in 0..ROUNDS_MAX {
        let mut silent = true;
        for (from, to) in [(0, 1), (1, 0)] {
            for effect in hosts[from].commit() {
                let Output::ToPeer(_, frame) = effect else { continue };
                silent = false;
                if from == 0 {
                    recorded.push(frame.clone());
                }
                hosts[to].step(Input::Peer(SiteId(from as u16 + 1), frame));
            }
        }
        if silent {
            return;
        }
    }
    panic!("two sites that never fall silent");
}

/// A key and a value as large as an event's, for measurements of the store alone.
pub fn row(number: u64) -> (Bytes, Bytes) {
    let key = [&(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes()[..], &[1; 24]].concat();
    (key.into(), vec![number as u8; crate::CONTENT_BYTES + 64].into())
}
