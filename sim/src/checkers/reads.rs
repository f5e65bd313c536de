//! What reads give: every read id was sent, each once and in its place, nothing undurable, nothing missing.

use std::collections::BTreeSet;

use causeway_protocol::{Dot, Message, RequestId, RoomId, SiteId, UserId, Vector, limits, wire};
use causeway_replica::key::Key;
use causeway_replica::read::{self, Durables};
use causeway_replica::view::{Cf, MemView, View};

use super::changes::Changes;
use super::rights::{Act, Model, acts_of};
use super::sends::Sends;
use super::{Verdict, Violation, broken, leaving};

/// Where something is read, and by whom.
pub struct Reader<'a> {
    /// The site.
    pub site: SiteId,
    /// Its rows.
    pub view: &'a MemView,
    /// What its shards have published.
    pub durables: &'a dyn Durables,
    /// Shards of the cluster.
    pub shard_count: u16,
    /// What is fsynced of the room's shard.
    pub truth: &'a Vector,
    /// Who reads.
    pub user: &'a UserId,
    /// What was sent.
    pub sends: &'a Sends,
}

/// Pages in one read: no room of a run has more.
const PAGES_MAX: usize = 200;

impl Reader<'_> {
    /// One page; `None` where the site refuses.
    pub fn page(&self, request: &wire::HistoryRequest) -> Result<Option<wire::HistoryPage>, Violation> {
        let page = read::history(self.view, self.durables, self.shard_count, self.user, request);
        let page = page.or_else(|e| broken("rows decode", e.to_string()))?;
        if page.code != 0 {
            return Ok(None);
        }
        if page.events.len() > request.limit as usize {
            return broken("pages keep their limit", format!("{} of {}", page.events.len(), request.limit));
        }
        Ok(Some(page))
    }

    /// Everything of a room in one direction, page by page, oldest first. `None` where the site refuses.
    pub fn all(&self, room: RoomId, forward: bool, limit: u32) -> Result<Option<Vec<RequestId>>, Violation> {
        let mut request = wire::HistoryRequest { room: room.to_wire(), from: None, forward, limit };
        let mut pages: Vec<Vec<RequestId>> = Vec::new();
        let changes = Changes::of_room(self.view, &room, Some(self.truth))?;
        let acts = self.durable_acts(&room)?;
        let rights = Model::of(&acts);
        for _ in 0..PAGES_MAX {
            let Some(page) = self.page(&request)? else { return Ok(None) };
            page.events.iter().try_for_each(|event| changes.allow(self.site, event))?;
            let ids = self.check_page(&room, &page)?;
            if let Some(hidden) = ids.iter().find(|id| !rights.shows(id)) {
                return broken(
                    "no op of a revoked user shows",
                    format!("{:?} reads {hidden:?} in {room:?}", self.site),
                );
            }
            let edge = if forward { ids.last() } else { ids.first() };
            request.from = edge.map(|id| id.to_wire());
            pages.push(ids);
            if !page.more {
                if !forward {
                    pages.reverse();
                }
                let all = pages.concat();
                let durable = self.durables.durable(room.shard(self.shard_count));
                let has = |act: &&Act| durable.covers(&act.dot) && !rights.is_hidden(&act.dot);
                let shown: BTreeSet<RequestId> = acts.iter().filter(has).map(|act| act.id).collect();
                if let Some(missing) = shown.iter().find(|id| all.binary_search(id).is_err()) {
                    return broken("what shows is read", format!("{:?} leaves {missing:?} out of {room:?}", self.site));
                }
                return match all.is_sorted_by(|a, b| a < b) {
                    true => Ok(Some(all)),
                    false => broken("one place in all reads", format!("{:?} reads {room:?} out of order", self.site)),
                };
            }
            if request.from.is_none() {
                return broken(
                    "pages end",
                    format!("{:?}: an empty page of {room:?} says that there is more", self.site),
                );
            }
        }
        broken("pages end", format!("{:?}: {room:?} has no end", self.site))
    }

    /// What a reader may know of: a revocation that is not durable hides nothing yet.
    fn durable_acts(&self, room: &RoomId) -> Result<Vec<Act>, Violation> {
        let durable = self.durables.durable(room.shard(self.shard_count));
        let mut acts = acts_of(self.view, room)?;
        acts.retain(|act| durable.covers(&act.dot));
        Ok(acts)
    }

    /// As sent, durable, in order.
    fn check_page(&self, room: &RoomId, page: &wire::HistoryPage) -> Result<Vec<RequestId>, Violation> {
        let mut ids = Vec::new();
        for event in &page.events {
            let (of, id) = self.sends.is_as_sent("history", event)?;
            let dot = event.dot.as_ref().map(Dot::from_wire);
            let Some(Ok(dot)) = dot else { return broken("every read id was sent", "an event without a dot".into()) };
            leaving::dot(self.site, room.shard(self.shard_count), "history", &dot, self.truth)?;
            if of != *room {
                return broken("every read id was sent", format!("{id:?} of {of:?} is read in {room:?}"));
            }
            ids.push(id);
        }
        Ok(ids)
    }

    /// "unread equals a brute-force count": durable messages by others of which no dot is within the marker.
    pub fn unread_is_right(&self, room: RoomId, told: u64) -> Verdict {
        let marker = self.view.get(Cf::Read, &Key::Read(room, self.user.clone()).encode());
        let marker = marker.ok().flatten().and_then(|row| wire::ReadRow::decode(row).ok()).unwrap_or_default();
        let marker = Vector::from_wire_opt(marker.vector.as_ref()).or_else(|e| broken("rows decode", e.to_string()))?;
        let durable = self.durables.durable(room.shard(self.shard_count));
        let acts = self.durable_acts(&room)?;
        let rights = Model::of(&acts);
        let mut unread = BTreeSet::new();
        for (key, value) in self.view.family(Cf::Request) {
            let Some(Key::Request(of, id)) = Key::decode(Cf::Request, key) else { continue };
            if of != room {
                continue;
            }
            let row = wire::RequestRow::decode(value.clone()).or_else(|e| broken("rows decode", e.to_string()))?;
            let request =
                wire::Request::decode(row.request.clone()).or_else(|e| broken("rows decode", e.to_string()))?;
            let message = matches!(request.kind, Some(wire::request::Kind::Message(_)));
            let dots = row.dots.iter().filter_map(|dot| Dot::from_wire(dot).ok());
            let dots: Vec<Dot> = dots.filter(|dot| !rights.is_hidden(dot)).collect();
            let shows = dots.iter().any(|dot| durable.covers(dot));
            if message && row.user != self.user.as_str() && shows && !dots.iter().any(|dot| marker.covers(dot)) {
                unread.insert(id);
            }
        }
        let count = (unread.len() as u64).min(limits::UNREAD_MAX);
        if count == told {
            return Ok(());
        }
        broken("unread equals a brute-force count", format!("{:?} {room:?}: told {told}, is {count}", self.site))
    }
}
