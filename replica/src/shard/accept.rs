//! Accepting requests (D1, D1a): dedup by the request's row, situation by this site's state, then one op.

use causeway_protocol::{
    Code, Dot, Message, RequestId, Role, RoomId, Stamp, UserId, Vector, limits, wire, wire::request::Kind,
};

use super::apply::{reaction_key, stamp_max};
use super::permit::{Grounds, JOINS_MAX, SAW_MAX};
use super::redact::{edits_of, keys_of};
use super::release::Pending;
use super::revoke::member_row;
use super::tx::{Tx, corrupt};
use super::{Shard, timers};
use crate::crdt;
use crate::io::{Output, Submission};
use crate::key::{Key, Policy, Register, pins_range};
use crate::request::{NewOp, Request, check_content, request_hash};
use crate::rights;
use crate::view::{Cf, ViewError};

/// Requests that may wait for what they refer to, in one shard.
const REFERENCE_WAITS_MAX: usize = 1_024;
/// A request that refers to a message which this site lacks, or that comes behind such a one of its device and room: a
/// leave must not overtake what was asked for before it.
pub(super) struct Referring {
    submission: Submission,
    room: RoomId,
    target: RequestId,
    until_ms: u64,
    /// It waits for another one alone, and may then wait for a message of its own.
    behind: bool,
}

type Refusal = (Code, String);

impl Shard {
    pub(super) fn on_submit(&mut self, tx: &mut Tx<'_>, submission: Submission) -> Result<(), ViewError> {
        self.submit(tx, submission, true)
    }

    fn submit(&mut self, tx: &mut Tx<'_>, submission: Submission, may_wait: bool) -> Result<(), ViewError> {
        let request = match Request::decode(&submission.request) {
            Ok(request) => request,
            Err(e) => {
                // Sessions look that far before they pass it on.
                let id = wire::Request::decode(submission.request.clone()).ok().and_then(|request| request.id);
                let id = id.as_ref().map(RequestId::from_wire);
                self.refuse(tx, &submission, id, (Code::Malformed, e.to_string()));
                return Ok(());
            }
        };
        let id = Some(request.id);
        if let Err(refusal) = self.check_stateless(&submission, &request) {
            self.refuse(tx, &submission, id, refusal);
            return Ok(());
        }
        let row: Option<wire::RequestRow> = tx.get(&Key::Request(request.room, request.id))?;
        if let Some(row) = &row
            && !self.sabotaged(crate::Sabotage::DedupByWatermark)
        {
            self.answer_resend(tx, &submission, request.id, row);
            return Ok(());
        }
        if self.sabotaged(crate::Sabotage::DedupByWatermark) && self.watermark_covers(tx, &submission, request.id) {
            return Ok(());
        }
        if may_wait && let Some((target, until_ms)) = self.waits_behind(&submission, &request) {
            let room = request.room;
            self.referring.push_back(Referring { submission, room, target, until_ms, behind: true });
            return Ok(());
        }
        let grounds = match self.check_situation(tx, &submission, &request)? {
            Ok(grounds) => grounds,
            Err(refusal) => {
                self.refuse(tx, &submission, id, refusal);
                return Ok(());
            }
        };
        if let Some(user) = self.who_has_too_many_rooms(tx, &request, &submission.user)? {
            self.counters.rooms_limited += 1;
            let (max, user) = (self.config.user_rooms_max, user.as_str());
            let user = if user == submission.user.as_str() { "user" } else { user };
            let detail =
                format!("{user} is in {max} rooms, the limit is {max} (`user_rooms_max`): leave one, then try again");
            self.refuse(tx, &submission, id, (Code::NotPermitted, detail));
            return Ok(());
        }
        if self.has_too_many_invitations(tx, &request)? {
            self.counters.invitations_limited += 1;
            let max = limits::INVITATIONS_PER_USER_MAX;
            let detail = format!("user has {max} invitations, the limit: wait until some are accepted or declined");
            self.refuse(tx, &submission, id, (Code::NotPermitted, detail));
            return Ok(());
        }
        if self.has_too_many_members(tx, &request, &submission.user)? {
            self.counters.members_limited += 1;
            let max = self.config.room_members_max;
            let detail = format!("the room has as many members as it may have, {max} (`room_members_max`)");
            self.refuse(tx, &submission, id, (Code::NotPermitted, detail));
            return Ok(());
        }
        if may_wait && let Some(target) = self.missing_reference(tx, &request)? {
            self.counters.reference_waits += 1;
            let until_ms = tx.now.mono_ms + timers::REFERENCE_WAIT_MS;
            let room = request.room;
            self.referring.push_back(Referring { submission, room, target, until_ms, behind: false });
            return Ok(());
        }
        self.accept(tx, submission, request, grounds)
    }

    fn refuse(&mut self, tx: &mut Tx<'_>, submission: &Submission, id: Option<RequestId>, (code, detail): Refusal) {
        self.counters.refused += 1;
        tx.emit(Output::Refused { session: submission.session, id, code, detail });
    }

    /// What does not depend on rows.
    fn check_stateless(&self, submission: &Submission, request: &Request) -> Result<(), Refusal> {
        let refuse = |code, detail: &str| Err((code, detail.to_owned()));
        if request.room.shard(self.config.shard_count) != self.config.shard {
            return refuse(Code::Malformed, "room is not of this shard");
        }
        if request.id.device != submission.device {
            return refuse(Code::DeviceMismatch, "request.id.device must be the hash of the user and the nonce");
        }
        if !self.is_ready() {
            return refuse(Code::NotReady, "the site is catching up: use another one");
        }
        if !self.accepting {
            return refuse(Code::ClockOff, "the site's clock is off: use another one");
        }
        check_content(&submission.user, request, submission.body.as_ref())
    }

    /// Any site, any time: a resend is acknowledged again, with a dot that is the request's.
    fn answer_resend(&mut self, tx: &mut Tx<'_>, submission: &Submission, id: RequestId, row: &wire::RequestRow) {
        let hash = request_hash(&submission.user, &submission.request);
        if row.hash[..] != hash && row.also.iter().all(|also| also[..] != hash) {
            let detail = "another request has this id: mint a new one".to_owned();
            self.refuse(tx, submission, Some(id), (Code::IdConflict, detail));
            return;
        }
        self.counters.resent += 1;
        let dots: Vec<Dot> = row.dots.iter().filter_map(|dot| Dot::from_wire(dot).ok()).collect();
        // `Accepted` says "fsynced here", so a dot that two other sites have synced is not enough.
        let mut here = dots.iter().filter(|dot| self.durable.covers(dot));
        let stable = here.clone().find(|dot| self.stable_seq(&dot.origin) >= dot.seq);
        let durable = stable.or_else(|| here.next());
        match (durable, dots.first()) {
            (Some(dot), _) => self.acknowledge(tx, submission.session, id, *dot),
            (None, Some(dot)) => {
                let session = submission.session;
                self.release.push_behind_last(Pending::Ack { session, id, dot: *dot });
            }
            (None, None) => {}
        }
    }

    /// What this site knows of the room.
    fn check_situation(
        &self,
        tx: &Tx<'_>,
        submission: &Submission,
        request: &Request,
    ) -> Result<Result<Grounds, Refusal>, ViewError> {
        let refuse = |code, detail: &str| Ok(Err((code, detail.to_owned())));
        let (room, user) = (request.room, &submission.user);
        let policy: Option<wire::RegisterRow> = tx.get(&Key::Register(room, Register::Policy))?;
        let is_new = policy.is_none();
        let member = member_row(tx, room, user)?;
        // Who may not see a room is answered as if there were none: from here on nothing of it is looked at.
        let with = request.direct_with();
        let policy = match policy.map(|row| Policy::from_value(&row.value)) {
            // Its id says that the user is one of the two.
            Some(policy) if with.is_some() || self.sees(tx, room, policy, (user, &member))? => Some(policy),
            _ => None,
        };
        let head: Option<wire::HeadRow> = match policy {
            Some(_) => tx.get(&Key::Head(room))?,
            None => None,
        };
        let ahead = tx.now.wall_ms + limits::STAMP_AHEAD_MAX_MS;
        if request.id.stamp.ms() > ahead.max(stamp_max(head.as_ref()).ms() + 1) {
            return refuse(
                Code::StampAhead,
                "request.id.stamp is ahead of the site's clock: follow the clock of pongs",
            );
        }
        if matches!(request.kind, Some(Kind::Erase(_))) {
            return self.check_erasure(tx, room, policy.is_some(), (user, &member));
        }
        let Some(mut policy) = policy else {
            return match request.kind {
                Some(Kind::Create(_)) if is_new => Ok(Ok(Grounds::default())),
                _ => refuse(Code::UnknownRoom, rights::UNSEEN),
            };
        };
        let writers = head.as_ref().and_then(|head| Role::from_number(head.writers));
        if matches!(request.kind, Some(Kind::Message(_))) {
            policy.writers = writers.unwrap_or(policy.writers);
        }
        let retention_ms = head.map_or(0, |head| head.retention_ms);
        let aware = rights::revocations_of(&member);
        let saw = |row: &wire::ElementRow| -> Vec<RequestId> { crdt::tags(row).take(SAW_MAX).collect() };
        let grounds = match &request.kind {
            Some(Kind::Create(_)) if let Some(with) = &with => {
                let other = member_row(tx, room, with)?;
                if [&member, &other].iter().any(|row| crdt::tags(row).count() >= JOINS_MAX) {
                    return refuse(Code::NotPermitted, "the room is there, and was made as often as a room takes");
                }
                Grounds::default()
            }
            Some(Kind::Join(_)) => {
                let invited: Option<wire::ElementRow> = tx.get(&Key::Invited(room, user.clone()))?;
                if let Err(detail) = self.may_join(tx, &member) {
                    return refuse(Code::NotPermitted, &detail);
                }
                // Who sees a room that lets people ask may not be one whom it lets in.
                let is_let_in = !member.tags.is_empty() || invited.as_ref().is_some_and(|row| !row.tags.is_empty());
                if !is_let_in && !self.is_open(tx, room, policy)? && !self.sabotaged(crate::Sabotage::TrustAnybody) {
                    return refuse(Code::NotPermitted, "user is not invited: ask to be let in");
                }
                if crdt::tags(&member).count() >= JOINS_MAX {
                    return refuse(Code::NotPermitted, "user has joined as often as a room takes: leave it first");
                }
                let knock: Option<wire::ElementRow> = tx.get(&Key::Knock(room, user.clone()))?;
                let saw = [invited, knock].iter().flatten().flat_map(saw).collect();
                Grounds { saw, ..Grounds::default() }
            }
            Some(Kind::Knock(_)) => match self.may_knock(tx, room, (user, &member))? {
                Ok(()) => Grounds::default(),
                Err(detail) => return refuse(Code::NotPermitted, &detail),
            },
            _ if member.tags.is_empty() && self.is_banned(tx, &member) => {
                return refuse(Code::NotPermitted, &self.may_join(tx, &member).err().unwrap_or_default());
            }
            // To leave a room twice is to have left it.
            Some(Kind::Leave(_)) => {
                let invited: wire::ElementRow = tx.get(&Key::Invited(room, user.clone()))?.unwrap_or_default();
                let knock: wire::ElementRow = tx.get(&Key::Knock(room, user.clone()))?.unwrap_or_default();
                Grounds { saw: [&member, &invited, &knock].map(saw).concat(), ..Grounds::default() }
            }
            _ if member.tags.is_empty() => {
                return refuse(Code::NotPermitted, "user is not a member of the room: join it first");
            }
            Some(Kind::Unreact(_)) => {
                let reaction = reaction_key(request, user).map(|key| tx.get(&key)).transpose()?.flatten();
                Grounds { saw: reaction.as_ref().map(saw).unwrap_or_default(), ..Grounds::default() }
            }
            Some(kind) => match self.check_rights(tx, (room, policy), (user, &member), kind)? {
                Ok(grounds) => match self.check_target(tx, request, user)? {
                    Ok(()) if matches!(kind, Kind::Unpin(_)) => {
                        let pin = request.target().map(|target| tx.get(&Key::Pin(room, target))).transpose()?.flatten();
                        Grounds { saw: pin.as_ref().map(saw).unwrap_or_default(), ..grounds }
                    }
                    Ok(()) => grounds,
                    Err(refusal) => return Ok(Err(refusal)),
                },
                Err(detail) => return refuse(Code::NotPermitted, &detail),
            },
            None => Grounds::default(),
        };
        Ok(Ok(Grounds { aware, retention_ms, ..grounds }))
    }

    /// What a request changes must be a message, and the user's own to be edited or redacted. What is not here yet can
    /// be anything: an edit or a redaction by somebody else takes no effect then.
    fn check_target(&self, tx: &Tx<'_>, request: &Request, user: &UserId) -> Result<Result<(), Refusal>, ViewError> {
        let refuse = |code, detail: &str| Ok(Err((code, detail.to_owned())));
        let Some(target) = request.target() else { return Ok(Ok(())) };
        let Some(row) = tx.get::<wire::RequestRow>(&Key::Request(request.room, target))? else { return Ok(Ok(())) };
        let of = Request::decode(&row.request).map_err(|e| corrupt(Cf::Request, e.to_string()))?;
        if !matches!(of.kind, Some(Kind::Message(_))) {
            return refuse(Code::NotPermitted, "target is not a message");
        }
        let is_own = row.user == user.as_str();
        match &request.kind {
            Some(Kind::Redact(redact)) if !redact.author.is_empty() && redact.author != row.user => {
                refuse(Code::NotPermitted, "target is not that author's message")
            }
            Some(Kind::Redact(redact)) if !redact.author.is_empty() => Ok(Ok(())),
            Some(Kind::Edit(_) | Kind::Redact(_)) if !is_own => {
                refuse(Code::NotPermitted, "target is not the user's own message: a moderator names its author")
            }
            Some(Kind::Pin(_))
                if keys_of(&tx.overlay(), Cf::Element, &pins_range(&request.room))?.len()
                    >= limits::PINS_PER_ROOM_MAX =>
            {
                refuse(Code::NotPermitted, "the room has as many pinned messages as it may have: unpin one")
            }
            Some(Kind::Edit(_)) if edits_of(tx, &request.room, target)?.len() >= limits::EDITS_PER_MESSAGE_MAX => {
                refuse(Code::NotPermitted, "target has as many edits as a message may have")
            }
            _ => Ok(Ok(())),
        }
    }

    /// The message that this one answers or changes and that is not here, while there is room to wait for it.
    fn missing_reference(&self, tx: &Tx<'_>, request: &Request) -> Result<Option<RequestId>, ViewError> {
        let target = match &request.kind {
            Some(Kind::Message(message)) => message.reply_to.as_ref().map(RequestId::from_wire),
            _ => request.target(),
        };
        let Some(target) = target else { return Ok(None) };
        let here = tx.get_bytes(&Key::Request(request.room, target))?.is_some();
        Ok((!here && self.referring.len() < REFERENCE_WAITS_MAX).then_some(target))
    }

    /// What an earlier request of the same device and room waits for, and until when. What is waited for itself goes
    /// ahead.
    fn waits_behind(&self, submission: &Submission, request: &Request) -> Option<(RequestId, u64)> {
        let of_room = || self.referring.iter().filter(|waiting| waiting.room == request.room);
        if of_room().any(|waiting| waiting.target == request.id) || self.referring.len() >= REFERENCE_WAITS_MAX {
            return None;
        }
        let ahead = of_room().filter(|waiting| waiting.submission.device == submission.device).last()?;
        Some((ahead.target, ahead.until_ms))
    }

    /// Requests whose target came, or whose patience ended, are taken up again.
    pub(super) fn retry_referring(&mut self, tx: &mut Tx<'_>) -> Result<(), ViewError> {
        // Each sees only those before it that go on waiting.
        for waiting in std::mem::take(&mut self.referring) {
            let here = tx.get_bytes(&Key::Request(waiting.room, waiting.target))?.is_some();
            if here || tx.now.mono_ms >= waiting.until_ms {
                self.submit(tx, waiting.submission, waiting.behind)?;
            } else {
                self.referring.push_back(waiting);
            }
        }
        Ok(())
    }

    /// When the first waiting request's patience ends.
    pub(super) fn referring_until(&self) -> Option<u64> {
        self.referring.iter().map(|waiting| waiting.until_ms).min()
    }

    pub(super) fn forget_session(&mut self, session: crate::io::SessionId) {
        self.release.forget(session);
        self.referring.retain(|waiting| waiting.submission.session != session);
        self.stalled.retain(|input| !matches!(input, crate::io::Input::Submit(s) if s.session == session));
    }

    /// Makes the op, and applies it.
    fn accept(
        &mut self,
        tx: &mut Tx<'_>,
        submission: Submission,
        request: Request,
        grounds: Grounds,
    ) -> Result<(), ViewError> {
        self.counters.accepted += 1;
        let origin = self.config.origin;
        let dot = Dot { origin, seq: self.applied.get(&origin) + 1 };
        let id = request.id;
        self.hlc.observe(id.stamp);
        let stamp: Stamp = self.hlc.mint(tx.now.wall_ms);
        let deadline_ms = self.deadline(tx, &request, stamp, grounds.retention_ms)?;
        let op = NewOp {
            dot,
            shard: self.config.shard,
            stamp,
            past: grounds.revokes.then(|| self.applied.clone()),
            deps: self.take_deps(),
            prev: self.chains.get(&origin).copied(),
            user: &submission.user,
            request_bytes: submission.request,
            request,
            saw: grounds.saw,
            aware: grounds.aware,
            rank: grounds.rank,
            deadline_ms,
            body: submission.body,
        }
        .seal();
        self.apply(tx, op)?;
        self.release.push(Pending::Ack { session: submission.session, id, dot });
        Ok(())
    }

    /// The applied vector's entries that changed since our last op; our own chain is no dependency.
    fn take_deps(&mut self) -> Vector {
        let deps = self.applied.beyond(&self.deps_told).iter().filter(|dot| dot.origin != self.config.origin).collect();
        self.deps_told = self.applied.clone();
        deps
    }

    /// The defect that lost messages elsewhere: a high-water mark of each device instead of rows.
    fn watermark_covers(&mut self, tx: &mut Tx<'_>, submission: &Submission, id: RequestId) -> bool {
        let mark = self.watermarks.entry(id.device).or_insert(RequestId::MIN);
        let covered = id <= *mark;
        *mark = id.max(*mark);
        let last = Dot { origin: self.config.origin, seq: self.durable.get(&self.config.origin).max(1) };
        if covered {
            self.acknowledge(tx, submission.session, id, last);
        }
        covered
    }
}
