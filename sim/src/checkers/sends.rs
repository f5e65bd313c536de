//! What users sent, what they were told of it, and that every ready site takes what it should take.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_protocol::wire::request::Kind;
use causeway_protocol::{Code, Message, RequestId, RoomId, SiteId, UserId, limits, wire};
use causeway_replica::io::{Now, SessionId};
use causeway_replica::key::{Key, Policy, Register, knock_of};
use causeway_replica::rights::{ban_stands, bans_of};
use causeway_replica::view::{Batch, Cf, View};

use super::changes::subject;
use super::rights::{self, Model, acts_of};
use super::{Verdict, broken};
use crate::queue::{Micros, SECOND};
use crate::sites::Process;

/// A submit is answered within this, plus some syncs.
const ANSWER_MAX: Micros = 5 * SECOND;
const TAKES: &str = "sends succeed at every ready site";

/// A request as its client made it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The client's number.
    pub client: usize,
    /// Which device of that client: the application's loss makes another.
    pub device_era: u64,
    /// The user.
    pub user: UserId,
    /// An encoded request.
    pub request: Bytes,
    /// An encoded body.
    pub body: Option<Bytes>,
    /// Who acknowledged it to the client as stored, and when.
    pub stored: Vec<(SiteId, Micros)>,
    /// The client was told that it is safe.
    pub replicated: bool,
    /// The client was told that it is refused for good.
    pub refused: bool,
    /// The application let it go.
    pub discarded: bool,
}

/// All of it.
#[derive(Default)]
pub struct Sends {
    sent: BTreeMap<(RoomId, RequestId), Sent>,
    waiting: BTreeMap<(SiteId, SessionId, RequestId), Vec<Micros>>,
    rooms: BTreeMap<(SiteId, SessionId, RequestId), RoomId>,
    acked_by: BTreeMap<(RoomId, RequestId), Vec<SiteId>>,
    /// Room, message and author of every redaction sent, with the redactions.
    redactions: BTreeMap<(RoomId, RequestId, UserId), BTreeSet<RequestId>>,
    /// Rooms that somebody has told how long to keep bodies.
    retentions: BTreeSet<RoomId>,
    /// Users whose erasure in a room somebody has asked for.
    erasures: BTreeSet<(RoomId, UserId)>,
    /// What a site held before the write that a refusal came with.
    before: BTreeMap<(SiteId, SessionId, RequestId), Held>,
    /// Members whose rows were written since.
    touched: BTreeSet<(RoomId, UserId)>,
}

/// What a site holds that a refusal could be about.
#[derive(Clone, Copy, Default)]
struct Held {
    room: bool,
    /// The user may know that the room exists.
    sees: bool,
    member: bool,
    /// What the request names is not a message, or not the user's own where it must be.
    wrong_target: bool,
    /// The user has no right to it.
    no_right: bool,
}

impl Sends {
    /// A client puts a request on the wire, or into its outbox. Its bytes never change.
    pub fn sent(&mut self, client: (usize, u64, &UserId), request: &Bytes, body: Option<&Bytes>) -> Verdict {
        let decoded = wire::Request::decode(request.clone()).ok();
        let place =
            |r: &wire::Request| Some((RoomId::from_wire(&r.room).ok()?, r.id.as_ref().map(RequestId::from_wire)?));
        let place = decoded.as_ref().and_then(place);
        let kind = decoded.and_then(|r| r.kind);
        if matches!(&kind, Some(Kind::SetProfile(set)) if set.retention_ms.is_some()) {
            self.retentions.extend(place.map(|(room, _)| room));
        }
        if matches!(kind, Some(Kind::Erase(_))) {
            self.erasures.extend(place.map(|(room, _)| (room, client.2.clone())));
        }
        if let (Some((room, id)), Some(Kind::Redact(redact))) = (place, kind) {
            let author = UserId::new(&redact.author).unwrap_or_else(|_| client.2.clone());
            if let Some(target) = redact.target.as_ref().map(RequestId::from_wire) {
                self.redactions.entry((room, target, author)).or_default().insert(id);
            }
        }
        let Some((room, id)) = place else { return broken("sent once, never rewritten", "no id or room".into()) };
        let known = self.sent.entry((room, id)).or_insert_with(|| Sent {
            client: client.0,
            device_era: client.1,
            user: client.2.clone(),
            request: request.clone(),
            body: body.cloned(),
            stored: Vec::new(),
            replicated: false,
            refused: false,
            discarded: false,
        });
        if known.request != *request || known.body.as_ref() != body || known.user != *client.2 {
            return broken("sent once, never rewritten", format!("{id:?} in {room:?} has two contents"));
        }
        Ok(())
    }

    /// What was sent under an id.
    pub fn get(&self, room: &RoomId, id: &RequestId) -> Option<&Sent> {
        self.sent.get(&(*room, *id))
    }

    /// The same, to note what the client was told.
    pub fn get_mut(&mut self, room: &RoomId, id: &RequestId) -> Option<&mut Sent> {
        self.sent.get_mut(&(*room, *id))
    }

    /// Everything sent.
    pub fn iter(&self) -> impl Iterator<Item = (&(RoomId, RequestId), &Sent)> {
        self.sent.iter()
    }

    /// The redactions of a user's message.
    pub fn redactions_of(&self, room: RoomId, message: RequestId, user: &UserId) -> Option<&BTreeSet<RequestId>> {
        self.redactions.get(&(room, message, user.clone()))
    }

    /// Whether a body may be gone: somebody has sent a redaction of what it belongs to, or that goes at a time.
    fn may_be_gone(&self, room: RoomId, request: &wire::Request, user: &UserId) -> bool {
        let Some(subject) = subject(request) else { return false };
        let expires = match self.sent.get(&(room, subject)).map(|sent| wire::Request::decode(sent.request.clone())) {
            Some(Ok(wire::Request { kind: Some(Kind::Message(message)), .. })) => message.lifetime_ms > 0,
            _ => false,
        };
        let erased = self.erasures.contains(&(room, user.clone()));
        erased || expires || self.retentions.contains(&room) || self.redactions_of(room, subject, user).is_some()
    }

    /// "every read id was sent, with the same body hash": here with the same bytes.
    pub fn is_as_sent(&self, what: &str, event: &wire::Event) -> Result<(RoomId, RequestId), super::Violation> {
        const INVARIANT: &str = "every read id was sent";
        let request = wire::Request::decode(event.request.clone()).or_else(|e| broken(INVARIANT, e.to_string()))?;
        let room = RoomId::from_wire(&event.room).or_else(|e| broken(INVARIANT, e.to_string()))?;
        let Some(id) = request.id.as_ref().map(RequestId::from_wire) else {
            return broken(INVARIANT, format!("{what}: no id"));
        };
        let Some(sent) = self.sent.get(&(room, id)) else {
            return broken(INVARIANT, format!("{what}: {id:?} in {room:?} was never sent"));
        };
        let gone = event.body.is_none() && self.may_be_gone(room, &request, &sent.user);
        let as_sent = sent.body == event.body || gone;
        if sent.request != event.request || !as_sent || sent.user.as_str() != event.user {
            return broken(INVARIANT, format!("{what}: {id:?} in {room:?} is not what was sent"));
        }
        Ok((room, id))
    }

    /// A session passes a request to a shard.
    pub fn submitted(&mut self, site: SiteId, session: SessionId, room: RoomId, id: RequestId, now: Micros) {
        self.waiting.entry((site, session, id)).or_default().push(now);
        self.rooms.insert((site, session, id), room);
    }

    fn answered(&mut self, site: SiteId, session: SessionId, id: RequestId) -> Verdict {
        let Some(waiting) = self.waiting.get_mut(&(site, session, id)).filter(|waiting| !waiting.is_empty()) else {
            return broken("answered once", format!("{site:?} answers {id:?} to {session:?}, which does not wait"));
        };
        waiting.remove(0);
        Ok(())
    }

    /// Ack 1 leaves a shard.
    pub fn acked(&mut self, site: SiteId, session: SessionId, room: RoomId, id: RequestId) -> Verdict {
        let by = self.acked_by.entry((room, id)).or_default();
        if !by.contains(&site) {
            by.push(site);
        }
        self.answered(site, session, id)
    }

    /// The sites that acknowledged a request.
    pub fn acked_by(&self, room: RoomId, id: RequestId) -> &[SiteId] {
        self.acked_by.get(&(room, id)).map_or(&[], Vec::as_slice)
    }

    /// Requests that two sites acknowledged: clients may take them for replicated.
    pub fn acked_twice(&self) -> impl Iterator<Item = &(RoomId, RequestId)> {
        self.acked_by.iter().filter(|(_, by)| by.len() > 1).map(|(place, _)| place)
    }

    fn held(&self, room: RoomId, id: RequestId, view: &dyn View, now_ms: u64) -> Held {
        let row = |key: Key| view.get(key.family(), &key.encode()).ok().flatten();
        let sent = self.sent.get(&(room, id));
        let element = |key: Key| row(key).and_then(|row| wire::ElementRow::decode(row).ok()).unwrap_or_default();
        let of = |sent: &Sent| element(Key::Member(room, sent.user.clone()));
        let policy = row(Key::Register(room, Register::Policy)).and_then(|row| wire::RegisterRow::decode(row).ok());
        let open = row(Key::Register(room, Register::Open)).and_then(|row| wire::RegisterRow::decode(row).ok());
        let is_open = policy
            .as_ref()
            .is_some_and(|row| Policy::from_value(&row.value).with_open(open.as_ref().map(|row| &row.value[..])).open);
        let knock = row(Key::Register(room, Register::Knock)).and_then(|row| wire::RegisterRow::decode(row).ok());
        let is_open = is_open || knock.is_some_and(|row| knock_of(&row.value));
        let sees = |sent: &Sent| {
            let member = of(sent);
            let is_banned = bans_of(&member).any(|ban| ban_stands(ban, now_ms));
            let invited = element(Key::Invited(room, sent.user.clone()));
            let kind = wire::Request::decode(sent.request.clone()).ok().and_then(|request| request.kind);
            // Whose direct room it is follows from its id.
            let opens = matches!(kind, Some(Kind::Create(_)));
            is_open || opens || is_banned || !member.tags.is_empty() || !invited.tags.is_empty()
        };
        Held {
            room: policy.is_some(),
            sees: policy.is_some() && sent.is_some_and(sees),
            member: sent.is_some_and(|sent| !of(sent).tags.is_empty()),
            wrong_target: sent.is_some_and(|sent| has_wrong_target(room, sent, view)),
            no_right: sent.is_some_and(|sent| has_no_right(room, sent, view, now_ms)),
        }
    }

    /// Steps refused these; `view` is without what the steps write.
    pub fn will_be_refused(
        &mut self,
        site: SiteId,
        refusals: impl Iterator<Item = (SessionId, RequestId)>,
        view: &dyn View,
        now: Now,
    ) {
        self.before.clear();
        self.touched.clear();
        for (session, id) in refusals {
            if let Some(room) = self.rooms.get(&(site, session, id)) {
                let held = self.held(*room, id, view, now.wall_ms);
                self.before.insert((site, session, id), held);
            }
        }
    }

    /// A batch is written: within its steps a membership may have been otherwise than before and after.
    pub fn written(&mut self, batch: &Batch) {
        for (cf, key, _) in batch.rows() {
            if let (Cf::Element, Some(Key::Member(room, user) | Key::Knock(room, user))) = (cf, Key::decode(cf, key)) {
                self.touched.insert((room, user));
            }
        }
    }

    /// A refusal leaves a shard: it must be true by what the site held before and holds after the step.
    pub fn refused(&mut self, by: &Refusal<'_>, process: &Process, view: &dyn View) -> Verdict {
        let place = (by.site, by.session, by.id);
        let Some(room) = self.rooms.get(&place).copied() else { return self.answered(by.site, by.session, by.id) };
        self.answered(by.site, by.session, by.id)?;
        let unjust = |why: &str| broken(TAKES, format!("{:?} refuses {:?} as {:?}: {why}", by.site, by.id, by.code));
        let Some(sent) = self.sent.get(&(room, by.id)) else { return unjust("it was never sent") };
        // A right to do something to somebody rests on other members' rows, too.
        let on_others = is_about_somebody(sent) && self.touched.iter().any(|(of, _)| *of == room);
        if on_others || self.touched.contains(&(room, sent.user.clone())) {
            return Ok(());
        }
        let (before, after) =
            (self.before.get(&place).copied().unwrap_or_default(), self.held(room, by.id, view, by.now.wall_ms));
        match by.code {
            // What is published now, while effects are carried out in order, is what the step saw.
            Code::NotReady if process.is_ready() => unjust("its shards are ready"),
            Code::NotReady => Ok(()),
            // The order to go on accepting may not have reached the shard yet.
            Code::ClockOff | Code::Busy => Ok(()),
            Code::StampAhead if by.id.stamp.ms() <= by.now.wall_ms + limits::STAMP_AHEAD_MAX_MS => {
                unjust("the stamp is not ahead")
            }
            Code::StampAhead => Ok(()),
            Code::UnknownRoom if before.sees && after.sees => unjust("it knows the room, and the user may see it"),
            Code::UnknownRoom => Ok(()),
            // Words and code are then those of a room that is not there.
            Code::NotPermitted if before.room && !before.sees && !after.sees => {
                unjust("it tells of a room that the user may not see")
            }
            Code::NotPermitted if before.wrong_target || after.wrong_target => Ok(()),
            Code::NotPermitted if before.no_right || after.no_right => Ok(()),
            Code::NotPermitted if before.member && after.member => unjust("the user is a member"),
            Code::NotPermitted => Ok(()),
            _ => unjust(by.detail),
        }
    }

    /// "sends succeed at every ready site whatever the others do": nobody waits without end.
    pub fn none_waits_too_long(&self, site: SiteId, now: Micros, sync_time: Micros) -> Verdict {
        let first = (site, SessionId(0), RequestId::MIN);
        let last = (site, SessionId(u64::MAX), RequestId::MAX);
        for ((_, session, id), waiting) in self.waiting.range(first..=last) {
            if waiting.first().is_some_and(|since| now.saturating_sub(*since) > ANSWER_MAX + 10 * sync_time) {
                return broken(TAKES, format!("{id:?} of {session:?} waits at {site:?} since {}", waiting[0]));
            }
        }
        Ok(())
    }

    /// A process was stopped: what waits there has waited for no fault of the replica.
    pub fn excuse(&mut self, site: SiteId, until: Micros) {
        for (_, waiting) in self.waiting.iter_mut().filter(|((s, ..), _)| *s == site) {
            waiting.iter_mut().for_each(|since| *since = (*since).max(until));
        }
    }

    /// The session has ended.
    pub fn session_gone(&mut self, site: SiteId, session: SessionId) {
        self.waiting.retain(|(s, id, _), _| (*s, *id) != (site, session));
        self.rooms.retain(|(s, id, _), _| (*s, *id) != (site, session));
    }

    /// The process has ended.
    pub fn site_gone(&mut self, site: SiteId) {
        self.waiting.retain(|(s, ..), _| *s != site);
        self.rooms.retain(|(s, ..), _| *s != site);
    }
}

/// Whether a request is to change what is not a message, or somebody else's.
fn has_wrong_target(room: RoomId, sent: &Sent, view: &dyn View) -> bool {
    let kind = wire::Request::decode(sent.request.clone()).ok().and_then(|request| request.kind);
    let own = sent.user.as_str();
    let (target, must_be_of) = match &kind {
        Some(Kind::Edit(edit)) => (&edit.target, Some(own)),
        Some(Kind::Redact(redact)) if redact.author.is_empty() => (&redact.target, Some(own)),
        Some(Kind::Redact(redact)) => (&redact.target, Some(redact.author.as_str())),
        Some(Kind::React(react)) => (&react.target, None),
        Some(Kind::Pin(pin)) => (&pin.target, None),
        Some(Kind::Unpin(unpin)) => (&unpin.target, None),
        _ => return false,
    };
    let Some(target) = target.as_ref().map(RequestId::from_wire) else { return false };
    let row = view.get(Cf::Request, &Key::Request(room, target).encode()).ok().flatten();
    let Some(row) = row.and_then(|row| wire::RequestRow::decode(row).ok()) else { return false };
    let of = wire::Request::decode(row.request).ok().and_then(|request| request.kind);
    !matches!(of, Some(Kind::Message(_))) || must_be_of.is_some_and(|user| row.user != user)
}

fn is_about_somebody(sent: &Sent) -> bool {
    let kind = wire::Request::decode(sent.request.clone()).ok().and_then(|request| request.kind);
    kind.is_some_and(|kind| rights::target(&kind).is_some())
}

/// Whether the ops in a store give a user no right to a request.
fn has_no_right(room: RoomId, sent: &Sent, view: &dyn View, now_ms: u64) -> bool {
    let kind = wire::Request::decode(sent.request.clone()).ok().and_then(|request| request.kind);
    let (Some(kind), Ok(acts)) = (kind, acts_of(view, &room)) else { return false };
    let model = Model::of(&acts);
    let is_full =
        [Some(sent.user.as_str()), rights::target(&kind)].into_iter().flatten().any(|user| model.is_full(user));
    is_full || model.may(sent.user.as_str(), &kind, now_ms).is_err()
}

/// A refusal as it leaves.
pub struct Refusal<'a> {
    /// Who refuses.
    pub site: SiteId,
    /// To whom.
    pub session: SessionId,
    /// What.
    pub id: RequestId,
    /// Why.
    pub code: Code,
    /// In words.
    pub detail: &'a str,
    /// When, by the site's clocks.
    pub now: Now,
}
