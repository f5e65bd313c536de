//! The outbox in motion: minting, sending, acks, refusals, the second site.

use bytes::Bytes;
use causeway_protocol::{Code, Dot, RequestId, Role, RoomId, SiteId, Stamp, UserId, hash16, limits, wire};
use prost::Message;

use super::io::{
    Change, Durability, LinkId, Now, Output, ProfileChange, Progress, RequestNo, SavedRequest, SendError, Wish,
};
use super::links::Leaving;
use super::requests::{AtHome, AtSecond};
use super::{Machine, Submitted};

/// How far ahead of the site's clock the device's own floor may be and still be followed, ms. Beyond it the floor
/// came from a wrong clock.
const FLOOR_AHEAD_MAX_MS: u64 = limits::CLOCK_SKEW_MAX_MS;
/// Times that a request gets another id before it is parked.
const REMINTS_MAX: u32 = 3;
/// Longer than this no site has a request wait, whatever it asks for.
const RETRY_AFTER_MAX_MS: u64 = 60_000;

impl Machine {
    // ---- taking requests

    pub(super) fn take_create(
        &mut self,
        now: Now,
        name: &str,
        open: bool,
        channel: bool,
    ) -> Result<(RoomId, Submitted), SendError> {
        within("name", name.len(), limits::NAME_BYTES_MAX)?;
        let id = self.mint(now, Stamp(0));
        let room = RoomId::derive(&self.config.user, id);
        let create = wire::Create { name: name.to_owned(), open, channel, ..Default::default() };
        Ok((room, self.take(now, room, id, wire::request::Kind::Create(create), None)?))
    }

    pub(super) fn take_direct(&mut self, now: Now, with: &UserId) -> Result<(RoomId, Submitted), SendError> {
        if *with == self.config.user {
            return Err(SendError::Invalid { field: "with", fix: "must be another user" });
        }
        let room = RoomId::direct(&self.config.user, with);
        let entry = self.rooms.entry(room);
        let floor = entry.seen.max(entry.minted);
        let id = self.mint(now, floor);
        let create = wire::Create { direct: with.as_str().to_owned(), ..Default::default() };
        Ok((room, self.take(now, room, id, wire::request::Kind::Create(create), None)?))
    }

    pub(super) fn take_wish(&mut self, now: Now, room: RoomId, wish: Wish) -> Result<Submitted, SendError> {
        use wire::request::Kind;
        let (kind, body) = match wish {
            Wish::Message { content_type, content, salt, reply_to, mentions, lifetime_ms } => {
                let mentions = checked_mentions(mentions)?;
                let lifetime_ms = checked_lifetime("lifetime", lifetime_ms)?;
                let message = wire::Message { reply_to: reply_to.map(RequestId::to_wire), mentions, lifetime_ms };
                (Kind::Message(message), Some(body(content_type, content, salt)?))
            }
            Wish::Edit { target, content_type, content, salt } => {
                let edit = wire::Edit { target: Some(target.to_wire()) };
                (Kind::Edit(edit), Some(body(content_type, content, salt)?))
            }
            Wish::Redact(target) => {
                (Kind::Redact(wire::Redact { target: Some(target.to_wire()), author: String::new() }), None)
            }
            Wish::RedactOf(target, author) => {
                let author = author.as_str().to_owned();
                (Kind::Redact(wire::Redact { target: Some(target.to_wire()), author }), None)
            }
            Wish::React(target, symbol) => {
                let symbol = checked_symbol(symbol)?;
                (Kind::React(wire::React { target: Some(target.to_wire()), symbol }), None)
            }
            Wish::Unreact(target, symbol) => {
                let symbol = checked_symbol(symbol)?;
                (Kind::Unreact(wire::Unreact { target: Some(target.to_wire()), symbol }), None)
            }
            Wish::Join => (Kind::Join(wire::Join {}), None),
            Wish::Leave => (Kind::Leave(wire::Leave {}), None),
            Wish::Invite(user) => (Kind::Invite(wire::Invite { user: user.as_str().to_owned() }), None),
            Wish::SetRole(user, role) => {
                (Kind::SetRole(wire::SetRole { user: user.as_str().to_owned(), role: role.number() }), None)
            }
            Wish::Kick(user, reason) => {
                let reason = checked_reason(reason)?;
                (Kind::Kick(wire::Kick { user: user.as_str().to_owned(), reason }), None)
            }
            Wish::Ban { user, reason, until_ms } => {
                let reason = checked_reason(reason)?;
                (Kind::Ban(wire::Ban { user: user.as_str().to_owned(), reason, until_ms }), None)
            }
            Wish::LiftBan(user) => (Kind::LiftBan(wire::LiftBan { user: user.as_str().to_owned() }), None),
            Wish::Pin(target) => (Kind::Pin(wire::Pin { target: Some(target.to_wire()) }), None),
            Wish::Erase => (Kind::Erase(wire::Erase {}), None),
            Wish::Knock => (Kind::Knock(wire::Knock {}), None),
            Wish::Decline(user) => (Kind::Decline(wire::Decline { user: user.as_str().to_owned() }), None),
            Wish::Unpin(target) => (Kind::Unpin(wire::Unpin { target: Some(target.to_wire()) }), None),
            Wish::SetProfile(change) => (Kind::SetProfile(checked_profile(change)?), None),
            Wish::SetName(name) => {
                within("name", name.len(), limits::NAME_BYTES_MAX)?;
                (Kind::SetName(wire::SetName { name }), None)
            }
        };
        let entry = self.rooms.entry(room);
        let floor = entry.seen.max(entry.minted);
        let id = self.mint(now, floor);
        self.take(now, room, id, kind, body)
    }

    fn take(
        &mut self,
        now: Now,
        room: RoomId,
        id: RequestId,
        kind: wire::request::Kind,
        body: Option<Bytes>,
    ) -> Result<Submitted, SendError> {
        let create = matches!(kind, wire::request::Kind::Create(_));
        let body_hash = body.as_ref().map(|b| Bytes::copy_from_slice(&hash16("causeway/body", &[b])));
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: room.to_wire(),
            body_hash: body_hash.unwrap_or_default(),
            kind: Some(kind),
        };
        let request = Bytes::from(request.encode_to_vec());
        let more = request.len() + body.as_ref().map_or(0, Bytes::len);
        let (requests, bytes) = (self.requests.len(), self.requests.bytes());
        let limits = &self.config.limits;
        if requests >= limits.outbox_requests_max || bytes + more > limits.outbox_bytes_max {
            return Err(SendError::OutboxFull { requests, bytes });
        }
        let no = RequestNo(self.next_no);
        self.next_no += 1;
        let minted = &mut self.rooms.entry(room).minted;
        *minted = id.stamp.max(*minted);
        let saved = SavedRequest { no, nonce: self.nonce, id, room, request, body };
        self.outputs.push_back(Output::Persist(Change::Added(saved.clone())));
        self.requests.add(saved, true, create);
        self.pump(now);
        Ok(Submitted { no, id })
    }

    /// The time by the home site's clock, as far as known, ms since the Unix epoch.
    pub(super) fn clock_ms(&self, now: Now) -> u64 {
        match self.clock {
            Some(offset) => now.mono_ms.saturating_add_signed(offset),
            None => now.wall_ms,
        }
    }

    /// An id later than everything minted here and than `floor`, the room's last stamp. A room whose stamps run ahead
    /// (somebody's clock was wrong) does not drag other rooms along.
    pub(super) fn mint(&mut self, now: Now, floor: Stamp) -> RequestId {
        let clock_ms = self.clock_ms(now);
        let mut stamp = Stamp::from_ms(clock_ms).max(floor.next());
        if self.minted.ms() <= clock_ms + FLOOR_AHEAD_MAX_MS {
            stamp = stamp.max(self.minted.next());
        }
        // Acks name the id alone: no two requests in the outbox may share one, whatever their rooms.
        while self.requests.was_used(RequestId { stamp, device: self.device }) {
            // Behind the highest stamp of all, which only a broken clock makes, there is none: it begins again from now.
            stamp = if stamp == stamp.next() { Stamp::from_ms(now.wall_ms) } else { stamp.next() };
        }
        if stamp.ms() <= clock_ms + FLOOR_AHEAD_MAX_MS {
            self.minted = self.minted.max(stamp);
        }
        RequestId { stamp, device: self.device }
    }

    // ---- sending

    /// Sends to the home site what may go.
    pub(super) fn pump(&mut self, now: Now) {
        let Some(home) = self.home else { return };
        while let Some(link) = self.links.get_mut(&home).filter(|link| link.has_room()) {
            let Some(no) = self.requests.pop_ready() else { return };
            link.submitted(now.mono_ms);
            let site = link.site;
            self.requests.set_home(no, AtHome::Sent);
            self.requests.set_second_due(no, now.mono_ms + self.config.timing.second_site_after_ms);
            if let Some(entry) = self.requests.get_mut(no) {
                entry.sending(site, home);
            }
            self.put_submit(home, no);
        }
    }

    /// Sends to the standby site what has been waiting for a second site for too long.
    pub(super) fn pump_second(&mut self, now: Now) {
        let Some(spare) = self.spare else { return };
        let window_max = self.config.limits.second_window_max;
        while let Some(link) = self.links.get_mut(&spare).filter(|link| link.has_room_for_second(window_max)) {
            let Some(no) = self.requests.pop_second(now.mono_ms) else { return };
            let Some(entry) = self.requests.get_mut(no) else { continue };
            // What the home refused, and nobody else has seen, must stay unseen: it may yet be refused for good.
            let under_way = matches!(entry.home, AtHome::Sent | AtHome::Acked);
            if !under_way && !entry.parked {
                self.requests.postpone_second(no, now.mono_ms + self.config.timing.second_site_after_ms);
            } else if entry.second == AtSecond::No {
                link.submitted(now.mono_ms);
                entry.sending(link.site, spare);
                entry.second = AtSecond::Sent(spare);
                self.put_submit(spare, no);
            }
        }
    }

    fn put_submit(&mut self, link: LinkId, no: RequestNo) {
        let Some(entry) = self.requests.get_mut(no) else { return };
        self.counters.submits += 1;
        self.counters.resubmits += u64::from(entry.sent_before);
        entry.sent_before = true;
        let saved = &entry.saved;
        let nonce = if saved.nonce == self.nonce { 0 } else { saved.nonce };
        let submit = wire::Submit { request: saved.request.clone(), body: saved.body.clone(), nonce };
        self.put(link, wire::client_frame::Frame::Submit(submit));
    }

    /// Requests whose pause is over go out again.
    pub(super) fn end_pauses(&mut self, now: Now) {
        while let Some(no) = self.requests.first_rested(now.mono_ms) {
            self.requests.set_home(no, AtHome::Queued);
        }
        self.pump(now);
    }

    // ---- answers

    pub(super) fn accepted(&mut self, now: Now, link_id: LinkId, accepted: &wire::Accepted) {
        let Some(link) = self.links.get_mut(&link_id) else { return };
        link.answered(now.mono_ms);
        let (site, single_site) = (link.site_id, link.single_site);
        if link.leaving == Leaving::Refusing {
            link.leaving = Leaving::No;
        }
        let dot = accepted.dot.as_ref().map(Dot::from_wire);
        let (Some(id), Some(Ok(dot)), Some(site)) = (&accepted.id, dot, site) else {
            self.counters.malformed += 1;
            return;
        };
        if let Some(no) = self.requests.no_of(RequestId::from_wire(id)) {
            self.accepted_one(now, link_id, no, site, accepted.shard, dot);
            let twice = self.requests.get(no).is_some_and(|entry| entry.stored.len() > 1);
            if accepted.replicated {
                self.replicated(now, no, Durability::Replicated);
            } else if twice {
                self.replicated(now, no, Durability::StoredTwice);
            } else if single_site {
                self.replicated(now, no, Durability::SingleSite);
            }
        }
        self.pump(now);
        self.pump_second(now);
    }

    fn accepted_one(&mut self, now: Now, link: LinkId, no: RequestNo, site: SiteId, shard: u32, dot: Dot) {
        let first = self.requests.set_stored(no, site);
        self.requests.await_frontier(no, shard, dot);
        let Some(entry) = self.requests.get_mut(no) else { return };
        let (id, room) = (entry.saved.id, entry.saved.room);
        if entry.second == AtSecond::Sent(link) {
            entry.second = AtSecond::Acked(link);
        }
        if self.home == Some(link) {
            entry.refusals = 0;
            self.requests.set_home(no, AtHome::Acked);
            self.requests.set_parked(no, false);
            self.requests.welcome_in(room);
            self.requests.unblock(room, no);
            self.remint_when_quiet(now, room);
        }
        if first {
            self.outputs.push_back(Output::Progress { no, id, progress: Progress::Stored { site, dot } });
        }
    }

    pub(super) fn frontier(&mut self, now: Now, frontier: &wire::Frontier) {
        let Some(Ok(dot)) = frontier.dot.as_ref().map(Dot::from_wire) else {
            self.counters.malformed += 1;
            return;
        };
        while let Some(no) = self.requests.covered_by(frontier.shard, dot) {
            self.replicated(now, no, Durability::Replicated);
        }
        self.pump(now);
    }

    fn replicated(&mut self, now: Now, no: RequestNo, durability: Durability) {
        self.finish(now, no, Progress::Replicated(durability));
    }

    /// A request leaves the outbox, with the last word on it.
    pub(super) fn finish(&mut self, now: Now, no: RequestNo, progress: Progress) {
        let Some(entry) = self.requests.remove(no) else { return };
        let room = entry.saved.room;
        let stillborn = entry.create && matches!(progress, Progress::Refused { .. });
        self.outputs.push_back(Output::Persist(Change::Removed(no)));
        self.outputs.push_back(Output::Progress { no, id: entry.saved.id, progress: progress.clone() });
        if stillborn {
            // Nothing else can make this room: what was to go there shares the fate.
            for no in self.requests.of_room(room) {
                self.finish(now, no, progress.clone());
            }
        }
        self.remint_when_quiet(now, room);
    }

    // ---- refusals

    pub(super) fn refused(&mut self, now: Now, link_id: LinkId, refused: wire::Refused) {
        let Some(link) = self.links.get_mut(&link_id) else { return };
        link.answered(now.mono_ms);
        let site = link.site_id;
        let code = Code::from_number(refused.code);
        let of_the_site = matches!(
            code,
            Some(Code::NotReady | Code::ClockOff | Code::ShuttingDown | Code::Overloaded | Code::Unauthenticated)
        );
        if of_the_site && link.leaving == Leaving::No {
            link.leaving = Leaving::Refusing;
        }
        let id = refused.id.as_ref().map(RequestId::from_wire);
        if let Some(id) = id.filter(|_| code == Some(Code::StampAhead)) {
            self.flag_refused(now, id);
        }
        let no = id.and_then(|id| self.requests.no_of(id));
        if let Some(no) = no {
            if let Some(entry) = self.requests.get_mut(no) {
                entry.not_there(link_id);
                if entry.second == AtSecond::Sent(link_id) {
                    entry.second = AtSecond::Refused;
                }
            }
            if self.home == Some(link_id) {
                let (code_number, retry_after_ms) = (refused.code, refused.retry_after_ms);
                let words = Words { site, code: code_number, detail: refused.detail, retry_after_ms };
                self.refused_at_home(now, no, code, of_the_site, words);
            }
        }
        self.steer(now);
        self.pump(now);
        self.pump_second(now);
    }

    fn refused_at_home(&mut self, now: Now, no: RequestNo, code: Option<Code>, of_the_site: bool, words: Words) {
        let Some(entry) = self.requests.get(no).filter(|entry| entry.home == AtHome::Sent) else { return };
        let (room, maybe_stored) = (entry.saved.room, entry.maybe_stored());
        let remintable = !maybe_stored && !entry.create && entry.reminted < REMINTS_MAX;
        if Code::number_is_permanent(words.code) {
            return self.finish(now, no, words.refused());
        }
        if let Some(earlier) = self.requests.open_before(room, no) {
            // It may have failed only for want of an earlier one: that one decides first.
            self.requests.set_home(no, AtHome::Queued);
            self.requests.block(room, earlier);
            return self.remint_when_quiet(now, room);
        }
        if of_the_site || code == Some(Code::Busy) {
            return self.pause_for(now, no, words.retry_after_ms.min(RETRY_AFTER_MAX_MS));
        }
        if code == Some(Code::StampAhead) && remintable {
            self.requests.set_home(no, AtHome::Reminting);
            self.requests.block(room, no);
            return self.remint_when_quiet(now, room);
        }
        if maybe_stored || code == Some(Code::StampAhead) {
            return self.park(now, no, words);
        }
        let since = self.requests.refused_since(room, now.mono_ms);
        if now.mono_ms < since + self.config.timing.refusal_patience_ms {
            self.pause(now, no);
        } else {
            self.finish(now, no, words.refused());
        }
    }

    /// Tries again after a pause that grows; later requests of the room wait.
    fn pause(&mut self, now: Now, no: RequestNo) {
        self.pause_for(now, no, 0);
    }

    /// The same, for no shorter than a site has asked for.
    fn pause_for(&mut self, now: Now, no: RequestNo, least_ms: u64) {
        let timing = &self.config.timing;
        let Some(entry) = self.requests.get_mut(no) else { return };
        let pause = self.jitter.backoff(timing.retry_min_ms, timing.retry_max_ms, entry.refusals).max(least_ms);
        entry.refusals += 1;
        let room = entry.saved.room;
        self.requests.set_home(no, AtHome::Waiting(now.mono_ms + pause));
        self.requests.block(room, no);
        self.remint_when_quiet(now, room);
    }

    fn park(&mut self, now: Now, no: RequestNo, words: Words) {
        if let Some(entry) = self.requests.get(no).filter(|entry| !entry.parked) {
            let id = entry.saved.id;
            self.requests.set_parked(no, true);
            self.outputs.push_back(Output::Progress { no, id, progress: words.parked() });
        }
        self.pause(now, no);
    }

    // ---- other ids

    /// If a request of the room waits for another id, and nothing of the room is in flight any more: mints the ids of
    /// all that no site has, in order. (One in flight may yet be accepted under its old id.)
    fn remint_when_quiet(&mut self, now: Now, room: RoomId) {
        let nos = match self.requests.reminting() {
            0 => return,
            _ => self.requests.of_room(room),
        };
        let at = |no: &RequestNo| self.requests.get(*no).map(|entry| entry.home);
        let Some(first) = nos.iter().copied().find(|no| at(no) == Some(AtHome::Reminting)) else { return };
        if nos.iter().any(|no| at(no) == Some(AtHome::Sent)) {
            return;
        }
        let fresh = |no: &RequestNo| self.requests.get(*no).is_some_and(|e| !e.maybe_stored() && !e.create);
        let (fresh, kept): (Vec<_>, Vec<_>) = nos.into_iter().partition(fresh);
        let kept = kept.iter().filter_map(|no| self.requests.get(*no)).map(|entry| entry.saved.id.stamp).max();
        let mut floor = self.rooms.entry(room).seen.max(kept.unwrap_or_default());
        let mut renamed: Vec<(RequestId, RequestId)> = Vec::new();
        for no in fresh {
            let id = self.mint(now, floor);
            floor = id.stamp;
            self.remint(no, id, &mut renamed);
            self.requests.set_home(no, AtHome::Queued);
        }
        self.rooms.entry(room).minted = floor;
        self.requests.unblock(room, first);
    }

    fn remint(&mut self, no: RequestNo, id: RequestId, renamed: &mut Vec<(RequestId, RequestId)>) {
        let Some(entry) = self.requests.get(no) else { return };
        let old = entry.saved.id;
        let Ok(mut request) = wire::Request::decode(entry.saved.request.clone()) else { return };
        request.id = Some(id.to_wire());
        // What refers to a message that has just been renamed follows it.
        if let Some(to) = request.kind.as_mut().and_then(reference) {
            let old = RequestId::from_wire(to);
            *to = renamed.iter().find(|(of, _)| *of == old).map_or(old, |(_, new)| *new).to_wire();
        }
        renamed.push((old, id));
        self.requests.rename(no, id, Bytes::from(request.encode_to_vec()));
        if let Some(entry) = self.requests.get(no) {
            let saved = entry.saved.clone();
            self.outputs.push_back(Output::Persist(Change::Added(saved)));
            self.outputs.push_back(Output::Progress { no, id, progress: Progress::Reminted { old } });
        }
    }
}

/// The message that a request refers to.
fn reference(kind: &mut wire::request::Kind) -> Option<&mut wire::RequestId> {
    use wire::request::Kind;
    match kind {
        Kind::Message(wire::Message { reply_to: target, .. })
        | Kind::Edit(wire::Edit { target })
        | Kind::Redact(wire::Redact { target, .. })
        | Kind::React(wire::React { target, .. })
        | Kind::Unreact(wire::Unreact { target, .. })
        | Kind::Pin(wire::Pin { target })
        | Kind::Unpin(wire::Unpin { target }) => target.as_mut(),
        _ => None,
    }
}

/// What a site said with a refusal.
struct Words {
    site: Option<SiteId>,
    code: u32,
    detail: String,
    retry_after_ms: u64,
}

impl Words {
    fn refused(self) -> Progress {
        Progress::Refused { site: self.site, code: self.code, detail: self.detail }
    }
    fn parked(self) -> Progress {
        Progress::Parked { site: self.site, code: self.code, detail: self.detail }
    }
}

fn body(content_type: String, content: Bytes, salt: [u8; 16]) -> Result<Bytes, SendError> {
    within("content type", content_type.len(), limits::CONTENT_TYPE_BYTES_MAX)?;
    within("content", content.len(), limits::CONTENT_BYTES_MAX)?;
    let body = wire::Body { salt: Bytes::copy_from_slice(&salt), content_type, content };
    Ok(body.encode_to_vec().into())
}

/// Each name once, in order.
fn checked_mentions(mut users: Vec<UserId>) -> Result<Vec<String>, SendError> {
    users.sort_unstable();
    users.dedup();
    within("mentions", users.len(), limits::MENTIONS_MAX)?;
    Ok(users.into_iter().map(|user| user.as_str().to_owned()).collect())
}

fn checked_symbol(symbol: String) -> Result<String, SendError> {
    let fix = "must have 1 to 64 bytes and no control characters";
    if limits::is_symbol(&symbol) { Ok(symbol) } else { Err(SendError::Invalid { field: "symbol", fix }) }
}

fn checked_reason(reason: String) -> Result<String, SendError> {
    within("reason", reason.len(), limits::REASON_BYTES_MAX)?;
    if reason.chars().any(char::is_control) {
        return Err(SendError::Invalid { field: "reason", fix: "must have no control characters" });
    }
    Ok(reason)
}

fn checked_lifetime(field: &'static str, ms: u64) -> Result<u64, SendError> {
    match ms {
        0 | limits::LIFETIME_MS_MIN..=limits::LIFETIME_MS_MAX => Ok(ms),
        _ => Err(SendError::Invalid { field, fix: "must be zero, or from a second to ten years" }),
    }
}

fn checked_profile(change: ProfileChange) -> Result<wire::SetProfile, SendError> {
    let ProfileChange { topic, avatar, open, writers, retention, knock } = change;
    for (field, text, max) in [("topic", &topic, limits::TOPIC_BYTES_MAX), ("avatar", &avatar, limits::NAME_BYTES_MAX)]
    {
        within(field, text.as_ref().map_or(0, String::len), max)?;
        if text.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(SendError::Invalid { field, fix: "must have no control characters" });
        }
    }
    if writers == Some(Role::Reader) {
        return Err(SendError::Invalid { field: "writers", fix: "must be member or above" });
    }
    let retention_ms = retention.map(|retention| u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
    let retention_ms = retention_ms.map(|ms| checked_lifetime("retention", ms)).transpose()?;
    let change = wire::SetProfile { topic, avatar, open, writers: writers.map(Role::number), retention_ms, knock };
    if change == wire::SetProfile::default() {
        return Err(SendError::Invalid { field: "profile", fix: "must name a field that changes" });
    }
    Ok(change)
}

fn within(field: &'static str, got: usize, max: usize) -> Result<(), SendError> {
    if got > max { Err(SendError::TooLarge { field, max, got }) } else { Ok(()) }
}
