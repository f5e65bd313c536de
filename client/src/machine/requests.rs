//! The outbox as a data structure: requests in order, and the indices that keep each step short.
//!
//! It knows where each request stands with the home site and with the second one, and which request of a room holds
//! the others back. It decides nothing about sites or time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use bytes::Bytes;
use causeway_protocol::{Dot, Origin, RequestId, RoomId, SiteId};

use super::io::{LinkId, RequestNo, SavedRequest, SiteIndex};

/// Where a request stands with the home site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtHome {
    /// To be sent, as soon as the window and the room allow.
    Queued,
    /// Sent, not answered.
    Sent,
    /// Refused for now: to be sent again at this time; holds back its room.
    Waiting(u64),
    /// Refused because its stamp is ahead: it gets another id once nothing of its room is in flight.
    Reminting,
    /// Accepted.
    Acked,
}

/// Where it stands with the standby site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtSecond {
    /// Not sent.
    No,
    /// Sent on this connection.
    Sent(LinkId),
    /// Accepted on this connection.
    Acked(LinkId),
    /// Refused there: not sent there again before the next failover.
    Refused,
}

/// A transmission whose outcome is not known.
#[derive(Clone, Copy, Debug)]
struct Sending {
    site: SiteIndex,
    link: LinkId,
    /// On more than one connection.
    many: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) saved: SavedRequest,
    /// Minted at this start of the SDK.
    pub(super) own: bool,
    pub(super) create: bool,
    pub(super) home: AtHome,
    pub(super) second: AtSecond,
    /// When it goes to a second site as well, ms; `None` before it was first sent.
    pub(super) second_due: Option<u64>,
    /// Refusals for now in a row.
    pub(super) refusals: u32,
    pub(super) reminted: u32,
    pub(super) parked: bool,
    pub(super) sent_before: bool,
    /// Sites that said `Stored`.
    pub(super) stored: Vec<SiteId>,
    sendings: Vec<Sending>,
    dots: Vec<(u32, Dot)>,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.saved.request.len() + self.saved.body.as_ref().map_or(0, Bytes::len)
    }

    /// Sent on this connection; what comes of it is not known.
    pub(super) fn sending(&mut self, site: SiteIndex, link: LinkId) {
        match self.sendings.iter_mut().find(|s| s.site == site) {
            Some(s) if s.link == link => {}
            Some(s) => *s = Sending { site, link, many: true },
            None => self.sendings.push(Sending { site, link, many: false }),
        }
    }

    /// Refused on this connection: that transmission left nothing behind.
    pub(super) fn not_there(&mut self, link: LinkId) {
        self.sendings.retain(|s| s.link != link || s.many);
    }

    /// Whether some site may have it.
    pub(super) fn maybe_stored(&self) -> bool {
        !self.own || !self.stored.is_empty() || !self.sendings.is_empty()
    }

    fn open_at_home(&self) -> bool {
        self.home != AtHome::Acked
    }
}

/// One room's part of the outbox.
#[derive(Default)]
struct RoomQueue {
    nos: BTreeSet<RequestNo>,
    /// This request was refused for now: no later one is sent before it is accepted or gone.
    blocker: Option<RequestNo>,
    /// Since when the site refuses requests of this room, ms.
    refused_since: Option<u64>,
}

/// Ids used that are remembered.
const RETIRED_MAX: usize = 8_192;

/// Requests that are not yet replicated, in order.
#[derive(Default)]
pub(super) struct Requests {
    entries: BTreeMap<RequestNo, Entry>,
    by_id: BTreeMap<RequestId, RequestNo>,
    /// Ids that were used: the highest, which alone can be minted again.
    retired: BTreeSet<RequestId>,
    rooms: BTreeMap<RoomId, RoomQueue>,
    /// `AtHome::Queued`, and not held back when it was put here.
    ready: BTreeSet<RequestNo>,
    waiting: BTreeSet<(u64, RequestNo)>,
    second_due: BTreeSet<(u64, RequestNo)>,
    by_dot: BTreeMap<(u32, Origin, u64), RequestNo>,
    bytes: usize,
    stored: usize,
    parked: usize,
    reminting: usize,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    pub(super) fn stored(&self) -> usize {
        self.stored
    }
    pub(super) fn parked(&self) -> usize {
        self.parked
    }

    /// How many wait for another id.
    pub(super) fn reminting(&self) -> usize {
        self.reminting
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (RoomId, RequestId)> + '_ {
        self.entries.values().map(|e| (e.saved.room, e.saved.id))
    }

    /// Whether an id is a request's, or was one's that left or got another: it must not come again with another
    /// content, and clocks that were set back could make it.
    pub(super) fn was_used(&self, id: RequestId) -> bool {
        self.by_id.contains_key(&id) || self.retired.contains(&id)
    }

    pub(super) fn no_of(&self, id: RequestId) -> Option<RequestNo> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, no: RequestNo) -> Option<&Entry> {
        self.entries.get(&no)
    }

    pub(super) fn get_mut(&mut self, no: RequestNo) -> Option<&mut Entry> {
        self.entries.get_mut(&no)
    }

    pub(super) fn add(&mut self, saved: SavedRequest, own: bool, create: bool) {
        let no = saved.no;
        self.by_id.insert(saved.id, no);
        let queue = self.rooms.entry(saved.room).or_default();
        queue.nos.insert(no);
        if queue.blocker.is_none() {
            self.ready.insert(no);
        }
        let entry = Entry {
            saved,
            own,
            create,
            home: AtHome::Queued,
            second: AtSecond::No,
            second_due: None,
            refusals: 0,
            reminted: 0,
            parked: false,
            sent_before: false,
            stored: Vec::new(),
            sendings: Vec::new(),
            dots: Vec::new(),
        };
        self.bytes += entry.bytes();
        self.entries.insert(no, entry);
    }

    pub(super) fn remove(&mut self, no: RequestNo) -> Option<Entry> {
        let entry = self.entries.remove(&no)?;
        self.retire(entry.saved.id);
        self.bytes -= entry.bytes();
        self.stored -= usize::from(!entry.stored.is_empty());
        self.parked -= usize::from(entry.parked);
        self.by_id.remove(&entry.saved.id);
        self.ready.remove(&no);
        self.reminting -= usize::from(entry.home == AtHome::Reminting);
        if let AtHome::Waiting(at) = entry.home {
            self.waiting.remove(&(at, no));
        }
        if let Some(due) = entry.second_due {
            self.second_due.remove(&(due, no));
        }
        for (shard, dot) in &entry.dots {
            self.by_dot.remove(&(*shard, dot.origin, dot.seq));
        }
        self.unblock(entry.saved.room, no);
        if let Some(queue) = self.rooms.get_mut(&entry.saved.room) {
            queue.nos.remove(&no);
            if queue.nos.is_empty() {
                self.rooms.remove(&entry.saved.room);
            }
        }
        Some(entry)
    }

    // ---- the home site

    /// The next request that may be sent to the home site.
    pub(super) fn pop_ready(&mut self) -> Option<RequestNo> {
        while let Some(no) = self.ready.pop_first() {
            let entry = &self.entries[&no];
            let blocker = self.rooms.get(&entry.saved.room).and_then(|queue| queue.blocker);
            // One that is held back comes again when the room is free.
            if entry.home == AtHome::Queued && blocker.is_none_or(|blocker| blocker == no) {
                return Some(no);
            }
        }
        None
    }

    pub(super) fn set_home(&mut self, no: RequestNo, home: AtHome) {
        let Some(entry) = self.entries.get_mut(&no) else { return };
        let before = std::mem::replace(&mut entry.home, home);
        self.reminting =
            self.reminting + usize::from(home == AtHome::Reminting) - usize::from(before == AtHome::Reminting);
        if let AtHome::Waiting(at) = before {
            self.waiting.remove(&(at, no));
        }
        if before == AtHome::Queued {
            self.ready.remove(&no);
        }
        match home {
            AtHome::Queued => {
                self.ready.insert(no);
            }
            AtHome::Waiting(at) => {
                self.waiting.insert((at, no));
            }
            AtHome::Sent | AtHome::Reminting | AtHome::Acked => {}
        }
    }

    pub(super) fn set_parked(&mut self, no: RequestNo, parked: bool) {
        let Some(entry) = self.entries.get_mut(&no) else { return };
        self.parked = self.parked + usize::from(parked) - usize::from(entry.parked);
        entry.parked = parked;
    }

    /// The first request of the room before this one that the home site has not accepted.
    pub(super) fn open_before(&self, room: RoomId, no: RequestNo) -> Option<RequestNo> {
        let queue = self.rooms.get(&room)?;
        queue.nos.range(..no).copied().find(|earlier| self.entries[earlier].open_at_home())
    }

    /// Later requests of the room wait for this one.
    pub(super) fn block(&mut self, room: RoomId, no: RequestNo) {
        if let Some(queue) = self.rooms.get_mut(&room) {
            // The first stays: it is what the later ones wait for.
            queue.blocker = Some(queue.blocker.map_or(no, |blocker| blocker.min(no)));
        }
    }

    /// If it was this one that held its room back: the later ones may go.
    pub(super) fn unblock(&mut self, room: RoomId, no: RequestNo) {
        let Some(queue) = self.rooms.get_mut(&room).filter(|queue| queue.blocker == Some(no)) else { return };
        queue.blocker = None;
        for later in queue.nos.range((Excluded(no), Unbounded)) {
            if self.entries.get(later).is_some_and(|e| e.home == AtHome::Queued) {
                self.ready.insert(*later);
            }
        }
    }

    /// Since when the home site refuses requests of this room: from the first call until `welcome_in`.
    pub(super) fn refused_since(&mut self, room: RoomId, now_ms: u64) -> u64 {
        self.rooms.get_mut(&room).map_or(now_ms, |queue| *queue.refused_since.get_or_insert(now_ms))
    }

    /// The home site accepts requests of this room.
    pub(super) fn welcome_in(&mut self, room: RoomId) {
        if let Some(queue) = self.rooms.get_mut(&room) {
            queue.refused_since = None;
        }
    }

    /// Requests of a room, in order.
    pub(super) fn of_room(&self, room: RoomId) -> Vec<RequestNo> {
        self.rooms.get(&room).map_or_else(Vec::new, |queue| queue.nos.iter().copied().collect())
    }

    pub(super) fn next_waiting_ms(&self) -> Option<u64> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// A request whose pause is over.
    pub(super) fn first_rested(&self, now_ms: u64) -> Option<RequestNo> {
        self.waiting.first().filter(|(at, _)| *at <= now_ms).map(|(_, no)| *no)
    }

    /// There is another home, on this connection: everything goes to it, except what it got as the standby, which goes
    /// to the next standby at `second_due`.
    pub(super) fn requeue_all(&mut self, home: LinkId, second_due: u64) {
        self.ready.clear();
        self.waiting.clear();
        self.second_due.clear();
        self.parked = 0;
        self.reminting = 0;
        for queue in self.rooms.values_mut() {
            queue.blocker = None;
            queue.refused_since = None;
        }
        for (no, entry) in &mut self.entries {
            entry.home = match entry.second {
                AtSecond::Acked(link) if link == home => AtHome::Acked,
                AtSecond::Sent(link) if link == home => AtHome::Sent,
                _ => AtHome::Queued,
            };
            entry.second_due = None;
            if entry.home == AtHome::Queued {
                self.ready.insert(*no);
            } else {
                entry.second_due = Some(second_due);
                self.second_due.insert((second_due, *no));
            }
            entry.refusals = 0;
            entry.parked = false;
            entry.second = AtSecond::No;
        }
    }

    // ---- ids

    /// Another id and encoding for a request that no site has.
    pub(super) fn rename(&mut self, no: RequestNo, id: RequestId, request: Bytes) {
        let Some(entry) = self.entries.get_mut(&no) else { return };
        let old = std::mem::replace(&mut entry.saved.id, id);
        self.by_id.remove(&old);
        self.by_id.insert(id, no);
        self.bytes = self.bytes + request.len() - entry.saved.request.len();
        entry.saved.request = request;
        entry.reminted += 1;
        self.retire(old);
    }

    fn retire(&mut self, id: RequestId) {
        self.retired.insert(id);
        if self.retired.len() > RETIRED_MAX {
            self.retired.pop_first();
        }
    }

    // ---- acks

    /// A site said `Stored`. Returns whether it is the first to say so.
    pub(super) fn set_stored(&mut self, no: RequestNo, site: SiteId) -> bool {
        let Some(entry) = self.entries.get_mut(&no) else { return false };
        let first = entry.stored.is_empty();
        if !entry.stored.contains(&site) {
            entry.stored.push(site);
        }
        self.stored += usize::from(first);
        first
    }

    /// A frontier that reaches this dot makes the request `Replicated`.
    pub(super) fn await_frontier(&mut self, no: RequestNo, shard: u32, dot: Dot) {
        let Some(entry) = self.entries.get_mut(&no) else { return };
        if !entry.dots.contains(&(shard, dot)) {
            entry.dots.push((shard, dot));
            self.by_dot.insert((shard, dot.origin, dot.seq), no);
        }
    }

    /// A request that this frontier covers.
    pub(super) fn covered_by(&self, shard: u32, dot: Dot) -> Option<RequestNo> {
        self.by_dot.range((shard, dot.origin, 0)..=(shard, dot.origin, dot.seq)).next().map(|(_, no)| *no)
    }

    // ---- the second site

    pub(super) fn set_second_due(&mut self, no: RequestNo, due: u64) {
        let Some(entry) = self.entries.get_mut(&no).filter(|e| e.second_due.is_none()) else { return };
        entry.second_due = Some(due);
        self.second_due.insert((due, no));
    }

    /// When the first request that a second site has not got is due there.
    pub(super) fn next_second_ms(&self) -> Option<u64> {
        self.second_due.first().map(|(due, _)| *due)
    }

    /// The first request that is due at a second site. It is taken off the list.
    pub(super) fn pop_second(&mut self, now_ms: u64) -> Option<RequestNo> {
        let (due, no) = self.second_due.first().filter(|(due, _)| *due <= now_ms).copied()?;
        self.second_due.remove(&(due, no));
        Some(no)
    }

    /// Not now: later.
    pub(super) fn postpone_second(&mut self, no: RequestNo, due: u64) {
        if let Some(entry) = self.entries.get_mut(&no) {
            if let Some(before) = entry.second_due.replace(due) {
                self.second_due.remove(&(before, no));
            }
            self.second_due.insert((due, no));
        }
    }

    /// The second connection is another one: all that is due may have to go out on it.
    pub(super) fn second_lost(&mut self) {
        for (no, entry) in &mut self.entries {
            entry.second = AtSecond::No;
            if let Some(due) = entry.second_due {
                self.second_due.insert((due, *no));
            }
        }
    }
}
