//! The rooms of an active session: which there are, how far the client has them, whose turn it is.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use causeway_protocol::{Dot, Marker, RoomId, ShardId, Stamp, UserId, Vector, limits, wire};

use super::{SessionConfig, SessionOutput, frames};
use crate::read::{self, Durables};
use crate::view::{View, ViewError};

/// Rooms that one read looks up in the list of the user's rooms.
const LIST_ROOMS_MAX: usize = 256;
/// Rooms that one read reads.
const READ_ROOMS_MAX: usize = 64;
/// Ops that one read reads, in all rooms.
const READ_OPS_MAX: usize = 2_048;
/// What one room gets in its turn, ops.
const TURN_OPS_MAX: usize = 128;
/// What one room gets in its turn, bytes of frames.
const TURN_BYTES_MAX: usize = 64 << 10;

/// Entries of read markers that wait for the list of rooms, in all: a client that reads nothing holds the list up, and
/// must not fill the memory meanwhile.
const MARK_ENTRIES_MAX: usize = 64 * limits::VECTOR_ENTRIES_MAX;

/// Where a read reads.
pub struct Site<'a> {
    pub view: &'a dyn View,
    pub durables: &'a dyn Durables,
    pub config: &'a SessionConfig,
    pub user: &'a UserId,
}

/// Entries of a read marker that is remembered as what the client said. An honest one has fewer.
const SAID_ENTRIES_MAX: usize = 256;

/// All rooms of an active session.
#[derive(Debug)]
pub struct Rooms {
    open: BTreeMap<RoomId, Room>,
    /// What the client has of rooms that are not open: of other sites, of shards that are not ready, or left.
    held: BTreeMap<RoomId, Held>,
    /// Rooms to be read, each once: exactly those that are `Reading`.
    turns: VecDeque<RoomId>,
    listing: Option<Listing>,
    /// Read markers that came before the list of rooms was complete.
    marks: BTreeMap<RoomId, Marker>,
    /// Entries of all of them.
    mark_entries: usize,
    /// The client is to be told of the user's invitations, if they are not the ones that it was told of.
    owes_invitations: bool,
    invitations: Option<Vec<wire::Invitation>>,
}

/// What the client has of a room.
#[derive(Debug, Default)]
pub struct Held {
    /// All up to here.
    pub cursor: Vector,
    /// The fingerprint of the summary that it holds; 0: it holds none.
    pub summary: u64,
}

/// The user's rooms, while they are looked up.
#[derive(Debug, Default)]
struct Listing {
    after: Option<RoomId>,
    found: Vec<(Stamp, RoomId)>,
}

#[derive(Debug)]
struct Room {
    /// What the client has been sent, or had.
    cursor: Vector,
    stage: Stage,
    /// The client has not been told of it yet.
    fresh: bool,
    /// The client is to be told that it has everything.
    owes_caught_up: bool,
    /// Of the summary that the client holds; 0: it holds none.
    held_summary: u64,
    /// What this client said last that was read: of that it need not be told.
    said: Option<Vector>,
    /// The marker; its flag is the one that the client knows.
    marker: Marker,
    /// The client is to be told how the room stands.
    owes_summary: bool,
    /// What the client's summary holds.
    upto: Vector,
    /// And the events that followed.
    told: Vector,
    /// The cursor when this reading began. Ops within it that the site learns of later are not sent: a summary tells.
    base: Vector,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Storage has more, or may have. Live events are ignored: storage has them, too.
    Reading,
    /// To be read when its shard is ready.
    Stalled,
    /// The user is a member by what is applied, but not by what is durable. To be looked at again when anything
    /// of the room becomes durable: a leave and another join, applied at once, tell nobody of a membership.
    Unsure,
    /// Everything durable was sent, and the room's events come live.
    Live,
}

impl Rooms {
    /// With what a hello said.
    pub fn resume(held: BTreeMap<RoomId, Held>) -> Self {
        let listing = Some(Listing::default());
        Self {
            open: BTreeMap::new(),
            held,
            turns: VecDeque::new(),
            listing,
            marks: BTreeMap::new(),
            mark_entries: 0,
            owes_invitations: true,
            invitations: None,
        }
    }

    pub fn unsubscribe_all(self, out: &mut Vec<SessionOutput>) {
        out.extend(self.open.into_keys().map(SessionOutput::Unsubscribe));
    }

    pub fn wants_read(&self) -> bool {
        self.listing.is_some() || self.owes_invitations || !self.turns.is_empty()
    }

    pub fn are_live(&self) -> bool {
        !self.wants_read() && self.open.values().all(|room| matches!(room.stage, Stage::Live | Stage::Unsure))
    }

    /// Whether the client has been told of the room and gets its events live.
    pub fn is_live(&self, id: &RoomId) -> bool {
        self.open.get(id).is_some_and(|room| room.stage == Stage::Live)
    }

    pub fn live(&mut self, id: RoomId, dot: Dot, frame: Bytes, out: &mut Vec<SessionOutput>) {
        let Some(room) = self.open.get_mut(&id) else { return };
        match room.stage {
            Stage::Live if !room.cursor.covers(&dot) => {
                room.cursor.raise(dot);
                room.told.raise(dot);
                out.push(SessionOutput::Event(frame));
            }
            Stage::Live if !room.told.covers(&dot) => self.summarise(id),
            Stage::Unsure => self.no_longer_unsure(id),
            Stage::Live | Stage::Reading | Stage::Stalled => {}
        }
    }

    fn no_longer_unsure(&mut self, id: RoomId) {
        if let Some(room) = self.open.get_mut(&id).filter(|room| room.stage == Stage::Unsure) {
            room.read();
            self.turns.push_back(id);
        }
    }

    pub fn overflowed(&mut self) {
        self.read_again(|_, stage| matches!(stage, Stage::Live | Stage::Unsure));
    }

    pub fn shard_ready(&mut self, shard: ShardId, shard_count: u16) {
        self.listing = Some(Listing::default());
        self.owes_invitations = true;
        // A merge may have hidden what was told of.
        let of_shard = self.open.iter_mut().filter(|(room, _)| room.shard(shard_count) == shard);
        of_shard.for_each(|(_, room)| room.owes_summary |= !room.fresh);
        self.read_again(|room, stage| room.shard(shard_count) == shard && stage != Stage::Reading);
    }

    fn read_again(&mut self, which: impl Fn(&RoomId, Stage) -> bool) {
        for (id, room) in &mut self.open {
            if which(id, room.stage) {
                room.read();
                self.turns.push_back(*id);
            }
        }
    }

    /// The user's invitations have changed, or may have.
    pub fn invitations_changed(&mut self) {
        self.owes_invitations = true;
    }

    /// The user's marker has moved.
    pub fn marked(&mut self, id: RoomId, marker: Marker) {
        let Some(room) = self.open.get_mut(&id) else { return };
        let is_read_anew = room.marker.read != marker.read;
        // Who said it, of all that the summary held, knows what is left: the events that are still on their way.
        let knows_what_is_left = room.said.as_ref() == Some(&marker.read) && marker.read.covers_all(&room.upto);
        let knows_flag = room.marker.flag >= marker.flag;
        room.marker.join(&marker);
        if !knows_flag || (is_read_anew && !knows_what_is_left) {
            self.summarise(id);
        }
    }

    /// Something that was told of may count otherwise now: a message is read if the user has passed any of its dots, and one
    /// that another site showed may be hidden here.
    pub fn recount(&mut self, id: RoomId, dot: Dot, hides: bool) {
        self.no_longer_unsure(id);
        let is_shown = |room: &Room| room.cursor.covers(&dot) && !room.told.covers(&dot);
        if self.open.get(&id).is_some_and(|room| hides || room.marker.read.covers(&dot) || is_shown(room)) {
            self.summarise(id);
        }
    }

    /// Tells the client how a room stands.
    fn summarise(&mut self, id: RoomId) {
        let Some(room) = self.open.get_mut(&id) else { return };
        room.owes_summary = true;
        if room.stage == Stage::Live {
            room.read();
            self.turns.push_back(id);
        }
    }

    pub fn membership(&mut self, room: RoomId, member: bool, out: &mut Vec<SessionOutput>) {
        // An invitation to a room that one is in says nothing.
        self.owes_invitations = true;
        if member {
            self.open(room, out);
            self.no_longer_unsure(room);
        } else {
            self.close(room, out);
        }
    }

    pub fn mark_read(
        &mut self,
        room: RoomId,
        marker: Marker,
        user: &UserId,
        shard_count: u16,
        out: &mut Vec<SessionOutput>,
    ) {
        if marker.is_empty() {
            self.summarise(room);
        } else if let Some(open) = self.open.get_mut(&room) {
            if !marker.read.is_empty() {
                open.said = Some(marker.read.clone()).filter(|said| said.len() <= SAID_ENTRIES_MAX);
            }
            open.marker.flag = open.marker.flag.max(marker.flag);
            out.push(SessionOutput::MarkRead(room.shard(shard_count), user.clone(), room, marker));
        } else if self.listing.is_some() && self.mark_entries <= MARK_ENTRIES_MAX {
            // Counted as if none were there twice: it is a bound.
            self.mark_entries += 1 + marker.read.len();
            self.marks.entry(room).or_default().join(&marker);
        }
    }

    /// Subscribes at once, and reads in a later call: what is delivered in between lies in both.
    fn open(&mut self, id: RoomId, out: &mut Vec<SessionOutput>) {
        if self.open.contains_key(&id) || self.open.len() >= limits::ROOMS_PER_USER_MAX {
            return;
        }
        let Held { cursor, summary } = self.held.remove(&id).unwrap_or_default();
        let room = Room {
            cursor,
            stage: Stage::Reading,
            fresh: true,
            owes_caught_up: true,
            held_summary: summary,
            said: None,
            marker: Marker::default(),
            owes_summary: false,
            upto: Vector::new(),
            told: Vector::new(),
            base: Vector::new(),
        };
        self.open.insert(id, room);
        self.turns.push_back(id);
        out.push(SessionOutput::Subscribe(id));
    }

    fn close(&mut self, id: RoomId, out: &mut Vec<SessionOutput>) {
        if let Some(listing) = &mut self.listing {
            listing.found.retain(|(_, found)| *found != id);
        }
        let Some(room) = self.open.remove(&id) else { return };
        self.turns.retain(|turn| *turn != id);
        out.push(SessionOutput::Unsubscribe(id));
        if !room.fresh {
            out.push(frames::room_closed(&id));
        }
        if self.held.len() < limits::ROOMS_PER_USER_MAX {
            self.held.insert(id, Held { cursor: room.cursor, summary: 0 });
        }
    }

    pub fn read(&mut self, site: &Site<'_>, bytes_max: usize, out: &mut Vec<SessionOutput>) -> Result<(), ViewError> {
        if let Some(listing) = self.listing.take() {
            return self.list(site, listing, out);
        }
        if std::mem::take(&mut self.owes_invitations) {
            self.invite(site, out)?;
        }
        let (mut rooms, mut ops, mut bytes) = (READ_ROOMS_MAX, READ_OPS_MAX, bytes_max.max(1));
        while rooms > 0
            && ops > 0
            && bytes > 0
            && let Some(id) = self.turns.pop_front()
        {
            let Some(room) = self.open.get_mut(&id) else { continue };
            let sent = out.len();
            let read = room.turn(site, &id, ops.min(TURN_OPS_MAX), bytes.min(TURN_BYTES_MAX), out)?;
            if room.stage == Stage::Reading {
                self.turns.push_back(id);
            }
            rooms -= 1;
            ops = ops.saturating_sub(read);
            bytes = bytes.saturating_sub(out[sent..].iter().map(event_bytes).sum());
        }
        Ok(())
    }

    /// Tells of the user's invitations what the client has not been told.
    fn invite(&mut self, site: &Site<'_>, out: &mut Vec<SessionOutput>) -> Result<(), ViewError> {
        let found = read::invitations(site.view, site.durables, site.config.shard_count, site.user)?;
        // A client that comes from elsewhere may hold some.
        if self.invitations.as_ref() != Some(&found) {
            out.push(frames::invitations(found.clone()));
            self.invitations = Some(found);
        }
        Ok(())
    }

    /// Looks up some of the user's rooms; once all are found, opens them, the newest first.
    fn list(&mut self, site: &Site<'_>, mut listing: Listing, out: &mut Vec<SessionOutput>) -> Result<(), ViewError> {
        let shard_count = site.config.shard_count;
        let page = read::rooms_applied(site.view, site.user, listing.after, LIST_ROOMS_MAX)?;
        for room in page.rooms {
            let is_served = site.durables.ready(room.shard(shard_count));
            if is_served && !self.open.contains_key(&room) && listing.found.len() < limits::ROOMS_PER_USER_MAX {
                listing.found.push((read::last_stamp(site.view, &room)?, room));
            }
        }
        if page.next.is_some() {
            self.listing = Some(Listing { after: page.next, ..listing });
            return Ok(());
        }
        listing.found.sort_unstable_by(|a, b| b.cmp(a));
        for (_, room) in listing.found {
            self.open(room, out);
        }
        self.mark_entries = 0;
        for (room, marker) in std::mem::take(&mut self.marks) {
            self.mark_read(room, marker, site.user, shard_count, out);
        }
        Ok(())
    }
}

impl Room {
    fn read(&mut self) {
        self.stage = Stage::Reading;
        self.base.clone_from(&self.cursor);
    }

    /// Sends some of what the client lacks. Returns the ops read; afterwards `stage` says whether there is more.
    fn turn(
        &mut self,
        site: &Site<'_>,
        id: &RoomId,
        ops_max: usize,
        bytes_max: usize,
        out: &mut Vec<SessionOutput>,
    ) -> Result<usize, ViewError> {
        let shard = id.shard(site.config.shard_count);
        if !site.durables.ready(shard) {
            self.stage = Stage::Stalled;
            return Ok(0);
        }
        let durable = site.durables.durable(shard);
        // Each time, not only the first: word of a kick or a ban may still be on its way, and what was accepted after
        // it must not be read. The durable vector is older than this look.
        if !read::is_member(site.view, &durable, id, site.user)? {
            self.stage = Stage::Unsure;
            return Ok(0);
        }
        if self.fresh {
            self.fresh = false;
            self.base.clone_from(&self.cursor);
            if self.held_summary != 0 {
                let standing = read::standing(site.view, &durable, id, site.user)?;
                if standing.is_held(&self.cursor, self.held_summary) {
                    out.push(frames::room_unchanged(id));
                    self.is_told(standing);
                    self.stage = Stage::Live;
                    return Ok(0);
                }
            }
            out.push(frames::room_opened(id, read::room_face(site.view, &durable, id)?, site.user));
            self.owes_summary = true;
            if read::is_far_behind(site.view, id, &durable, &self.cursor, site.config.limits.resume_ops_max)? {
                return self.skip_to_newest(site, id, &durable, out);
            }
        }
        let has_told = self.summarise(site, id, &durable, out)?;
        let page = read::room_since(site.view, id, &durable, &self.cursor, ops_max, bytes_max)?;
        self.owes_caught_up |= !page.events.is_empty();
        // A summary of this turn holds all that the page does.
        self.owes_summary |= page.unsent && !has_told;
        out.extend(page.events.into_iter().map(|event| SessionOutput::Event(event.frame)));
        self.cursor = page.cursor;
        if !page.more {
            self.caught_up(site, id, &durable, out)?;
        }
        Ok(page.ops)
    }

    /// Tells how the room stands, if that is owed. Returns whether it was.
    fn summarise(
        &mut self,
        site: &Site<'_>,
        id: &RoomId,
        durable: &Vector,
        out: &mut Vec<SessionOutput>,
    ) -> Result<bool, ViewError> {
        let owed = std::mem::take(&mut self.owes_summary);
        if owed {
            let standing = read::standing(site.view, durable, id, site.user)?;
            out.push(frames::summary(read::summary(site.view, durable, id, site.user, &standing)?));
            self.is_told(standing);
        }
        Ok(owed)
    }

    /// The client holds a summary of this.
    fn is_told(&mut self, standing: read::Standing) {
        self.told.clone_from(&standing.upto);
        self.upto = standing.upto;
        // It may have said a newer flag, which is on its way to the shard.
        let flag = standing.marker.flag.max(self.marker.flag);
        self.marker = Marker { read: standing.marker.read, flag };
    }

    fn skip_to_newest(
        &mut self,
        site: &Site<'_>,
        id: &RoomId,
        durable: &Vector,
        out: &mut Vec<SessionOutput>,
    ) -> Result<usize, ViewError> {
        self.summarise(site, id, durable, out)?;
        let requests_max = site.config.limits.gap_page_max;
        let page = read::newest_page(site.view, id, durable, &self.cursor, requests_max, TURN_BYTES_MAX)?;
        if page.lowest.is_some() {
            out.push(frames::gap(id, &self.cursor, &page));
        }
        out.extend(page.events.into_iter().map(|event| SessionOutput::Event(event.frame)));
        self.cursor = page.cursor;
        self.caught_up(site, id, durable, out)?;
        // Counting what is missing was the work of many turns.
        Ok(READ_OPS_MAX)
    }

    fn caught_up(
        &mut self,
        site: &Site<'_>,
        id: &RoomId,
        durable: &Vector,
        out: &mut Vec<SessionOutput>,
    ) -> Result<(), ViewError> {
        self.stage = Stage::Live;
        if std::mem::take(&mut self.owes_caught_up) {
            out.push(frames::caught_up(id, &self.cursor));
        }
        let base = std::mem::take(&mut self.base);
        let news = read::extent(site.view, durable, id)?.beyond(&self.told);
        // Something of these origins came since, and some of it may have been within the cursor.
        self.owes_summary |= news.iter().any(|dot| base.get(&dot.origin) > self.told.get(&dot.origin));
        self.told.join(&news);
        self.summarise(site, id, durable, out)?;
        Ok(())
    }
}

fn event_bytes(output: &SessionOutput) -> usize {
    match output {
        SessionOutput::Event(frame) => frame.len(),
        _ => 0,
    }
}
