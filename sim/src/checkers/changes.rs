//! Edits, redactions and reactions, recomputed from the ops of a room.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow::Continue;

use bytes::Bytes;
use causeway_protocol::wire::request::Kind;
use causeway_protocol::{Message, RequestId, RoomId, SiteId, Vector, wire};
use causeway_replica::key::{Key, prefix_range};
use causeway_replica::view::{Cf, View};

use super::{Verdict, Violation, broken};

/// A site looks for what is due every 5 s at least: its clock may have been set.
const EXPIRY_SLACK_MS: u64 = 6_000;
const REDACTED: &str = "no body after its redaction";
const ERASED: &str = "no body of whom an erasure takes it";
const REACTIONS: &str = "reactions are those added and not removed";
const EDITS: &str = "every edit is known by its message";

/// What the ops of a room make of its messages.
#[derive(Default)]
pub struct Changes {
    /// Message and redacting user.
    redacted: BTreeSet<(RequestId, String)>,
    /// Message, symbol and user: the requests that added it.
    added: BTreeMap<(RequestId, String, String), BTreeSet<RequestId>>,
    /// The same: the requests whose addition somebody's removal saw.
    removed: BTreeMap<(RequestId, String, String), BTreeSet<RequestId>>,
    /// Message, edit and user.
    edits: BTreeSet<(RequestId, RequestId, String)>,
    /// Request and user: when the body goes, ms since the Unix epoch.
    deadlines: BTreeMap<(RequestId, String), u64>,
    /// Who was erased, by which requests.
    erasures: BTreeMap<String, BTreeSet<RequestId>>,
    /// Acceptances of what was written: of which erasures of its user each knew.
    written: BTreeMap<(RequestId, String), Vec<BTreeSet<RequestId>>>,
}

fn rows(view: &dyn View, cf: Cf, room: &RoomId) -> Vec<(Key, Bytes)> {
    let (start, end) = prefix_range(&room.0);
    let mut rows = Vec::new();
    let _ = view.scan(cf, &start, &end, &mut |key, value| {
        rows.extend(Key::decode(cf, key).map(|key| (key, Bytes::copy_from_slice(value))));
        Continue(())
    });
    rows
}

fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Violation> {
    M::decode(bytes).or_else(|e| broken("rows decode", e.to_string()))
}

/// The message that a request's body belongs to: itself, or the one that it edits.
pub fn subject(request: &wire::Request) -> Option<RequestId> {
    match &request.kind {
        Some(Kind::Message(_)) => Some(place(&request.id)),
        Some(Kind::Edit(edit)) => Some(place(&edit.target)),
        _ => None,
    }
}

fn place(id: &Option<wire::RequestId>) -> RequestId {
    id.as_ref().map_or(RequestId::MIN, RequestId::from_wire)
}

impl Changes {
    /// By the ops that a site holds; `within`: that a vector covers.
    pub fn of_room(view: &dyn View, room: &RoomId, within: Option<&Vector>) -> Result<Self, Violation> {
        let mut changes = Self::default();
        for (key, value) in rows(view, Cf::Op, room) {
            let Key::Op(_, dot) = key else { continue };
            if within.is_some_and(|within: &Vector| !within.covers(&dot)) {
                continue;
            }
            let header: wire::Header = decode(value)?;
            let request: wire::Request = decode(header.request.clone())?;
            let (id, user) = (place(&request.id), header.user);
            if header.deadline_ms != 0 {
                let least = changes.deadlines.entry((id, user.clone())).or_insert(header.deadline_ms);
                *least = header.deadline_ms.min(*least);
            }
            if subject(&request).is_some() {
                let aware = header.aware.iter().map(RequestId::from_wire).collect();
                changes.written.entry((id, user.clone())).or_default().push(aware);
            }
            match request.kind {
                Some(Kind::Erase(_)) => _ = changes.erasures.entry(user).or_default().insert(id),
                Some(Kind::Redact(redact)) => {
                    let author = if redact.author.is_empty() { user } else { redact.author };
                    changes.redacted.insert((place(&redact.target), author));
                }
                Some(Kind::Edit(edit)) => _ = changes.edits.insert((place(&edit.target), id, user)),
                Some(Kind::React(react)) => {
                    changes.added.entry((place(&react.target), react.symbol, user)).or_default().insert(id);
                }
                Some(Kind::Unreact(unreact)) => {
                    let saw = header.saw.iter().map(RequestId::from_wire);
                    changes.removed.entry((place(&unreact.target), unreact.symbol, user)).or_default().extend(saw);
                }
                _ => {}
            }
        }
        Ok(changes)
    }

    /// Whether the body of a user's request is gone.
    fn is_redacted(&self, request: &wire::Request, user: &str) -> bool {
        subject(request).is_some_and(|subject| self.redacted.contains(&(subject, user.to_owned())))
    }

    /// Whether an erasure of its user takes the body of a request: one that any of its acceptances did not know of.
    fn is_erased(&self, request: &wire::Request, user: &str) -> bool {
        let key = (place(&request.id), user.to_owned());
        let (Some(erasures), Some(written)) = (self.erasures.get(user), self.written.get(&key)) else { return false };
        written.iter().any(|aware| !erasures.is_subset(aware))
    }

    /// When the body of a user's request goes: at its own time, or its message's.
    fn expires(&self, request: &wire::Request, user: &str) -> Option<u64> {
        let own = place(&request.id);
        let of = |id: RequestId| self.deadlines.get(&(id, user.to_owned())).copied();
        [of(own), subject(request).and_then(of)].into_iter().flatten().min()
    }

    /// "no read returns the body after the redaction was applied". `self`: by what is durable where it is read.
    pub fn allow(&self, site: SiteId, event: &wire::Event) -> Verdict {
        let request: wire::Request = decode(event.request.clone())?;
        if event.body.is_some() && self.is_redacted(&request, &event.user) {
            return broken(REDACTED, format!("{site:?} still gives the body of {:?}", place(&request.id)));
        }
        if event.body.is_some() && self.is_erased(&request, &event.user) {
            return broken(ERASED, format!("{site:?} still gives the body of {:?}", place(&request.id)));
        }
        Ok(())
    }

    /// When all is healed: bodies are there but for those that were redacted and those whose time has come, by the site's
    /// clock, and elements are what the ops say. A clock that was ahead may have let a body go too early.
    pub fn settled(&self, site: SiteId, now_ms: u64, view: &dyn View, room: &RoomId) -> Verdict {
        for (_, value) in rows(view, Cf::Request, room) {
            let row: wire::RequestRow = decode(value)?;
            let request: wire::Request = decode(row.request)?;
            let expires = self.expires(&request, &row.user);
            let must_be_gone = self.is_redacted(&request, &row.user)
                || self.is_erased(&request, &row.user)
                || expires.is_some_and(|at_ms| at_ms + EXPIRY_SLACK_MS <= now_ms);
            let is_right = if row.body.is_some() { !must_be_gone } else { must_be_gone || expires.is_some() };
            if subject(&request).is_some() && !is_right {
                let (id, there) = (place(&request.id), row.body.is_some());
                let due = format!("due {expires:?}, {} by its row, now {now_ms}", row.deadline_ms);
                return broken(REDACTED, format!("{site:?}: {id:?} in {room:?} has a body: {there}; {due}"));
            }
        }
        let mut reactions = BTreeMap::new();
        let mut edits = BTreeSet::new();
        for (key, value) in rows(view, Cf::Element, room) {
            match key {
                Key::Reaction(_, target, symbol, user) => {
                    let row: wire::ElementRow = decode(value)?;
                    // What hides some of them is another checker's.
                    let tags = row.tags.iter().chain(&row.hidden).map(RequestId::from_wire).collect();
                    reactions.insert((target, symbol.into_string(), user.as_str().to_owned()), tags);
                }
                Key::Edit(_, target, id, user) => _ = edits.insert((target, id, user.as_str().to_owned())),
                _ => {}
            }
        }
        let none = BTreeSet::new();
        let left = self.added.iter().map(|(key, tags)| (key.clone(), tags - self.removed.get(key).unwrap_or(&none)));
        let right: BTreeMap<_, BTreeSet<RequestId>> = left.filter(|(_, tags)| !tags.is_empty()).collect();
        if reactions != right {
            return broken(REACTIONS, format!("{site:?} {room:?}: has {reactions:?}, ops make {right:?}"));
        }
        if edits != self.edits {
            return broken(EDITS, format!("{site:?} {room:?}: has {edits:?}, ops make {:?}", self.edits));
        }
        Ok(())
    }

    /// What there was to check, for the coverage.
    pub fn found(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let removed = self.removed.values().filter(|tags| !tags.is_empty()).count();
        let found = [
            ("redaction checked", self.redacted.len()),
            ("reaction removed", removed),
            ("edit checked", self.edits.len()),
            ("expiry checked", self.deadlines.len()),
            ("erasure checked", self.erasures.len()),
        ];
        found.into_iter().map(|(what, count)| (what, count as u64))
    }
}
