//! Requests and headers, checked: from bytes of anybody's making to values that hold what they promise.

use bytes::Bytes;
use causeway_protocol::{
    Code, DecodeError, Dot, Hash16, Message, Origin, RequestId, Role, RoomId, ShardId, Stamp, UserId, Vector, hash16,
    limits,
    wire::{self, request::Kind},
};

use crate::rights;

/// The request kinds that this version applies: the field tags of `Request.kind`.
pub const KINDS: [u32; 20] = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27, 29, 32, 33];

/// A request that decoded, with its ids checked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its identity and place.
    pub id: RequestId,
    /// Its room.
    pub room: RoomId,
    /// Hash of its body; `None` where the kind has none.
    pub body_hash: Option<Hash16>,
    /// `None` for a kind of a newer version.
    pub kind: Option<Kind>,
}

impl Request {
    /// Decodes, and checks what does not depend on any state.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > limits::REQUEST_BYTES_MAX {
            let (max, got) = (limits::REQUEST_BYTES_MAX, bytes.len());
            return Err(DecodeError::TooLong { field: "request", max, got });
        }
        let w = wire::Request::decode(bytes.clone()).map_err(|e| DecodeError::malformed("request", &e))?;
        let id = w.id.as_ref().ok_or(DecodeError::Missing { field: "request.id" })?;
        let body_hash = match w.body_hash.len() {
            0 => None,
            16 => w.body_hash[..].try_into().ok(),
            got => return Err(DecodeError::Length { field: "request.body_hash", want: 16, got }),
        };
        Ok(Self { id: RequestId::from_wire(id), room: RoomId::from_wire(&w.room)?, body_hash, kind: w.kind })
    }

    /// Whether it changes elements of the room: all do but messages.
    pub fn changes_elements(&self) -> bool {
        !matches!(self.kind, Some(Kind::Message(_)))
    }

    /// Whether it has a body.
    pub fn has_body(&self) -> bool {
        matches!(self.kind, Some(Kind::Message(_) | Kind::Edit(_)))
    }

    /// The other user of the direct room that it makes.
    pub fn direct_with(&self) -> Option<UserId> {
        match &self.kind {
            Some(Kind::Create(create)) => UserId::new(&create.direct).ok(),
            _ => None,
        }
    }

    /// The message that its body belongs to: itself, or the one that it edits.
    pub fn subject(&self) -> Option<RequestId> {
        match &self.kind {
            Some(Kind::Message(_)) => Some(self.id),
            Some(Kind::Edit(edit)) => edit.target.as_ref().map(RequestId::from_wire),
            _ => None,
        }
    }

    /// The message that it changes.
    pub fn target(&self) -> Option<RequestId> {
        let target = match &self.kind {
            Some(Kind::Edit(edit)) => &edit.target,
            Some(Kind::Redact(redact)) => &redact.target,
            Some(Kind::React(react)) => &react.target,
            Some(Kind::Unreact(unreact)) => &unreact.target,
            Some(Kind::Pin(pin)) => &pin.target,
            Some(Kind::Unpin(unpin)) => &unpin.target,
            _ => return None,
        };
        target.as_ref().map(RequestId::from_wire)
    }

    /// Whose bodies a redaction takes, given who asks for it.
    pub fn redacts(&self, user: &UserId) -> Option<UserId> {
        match &self.kind {
            Some(Kind::Redact(redact)) if redact.author.is_empty() => Some(user.clone()),
            Some(Kind::Redact(redact)) => UserId::new(&redact.author).ok(),
            _ => None,
        }
    }

    /// The reaction that it adds or removes: its symbol.
    pub fn symbol(&self) -> Option<&str> {
        match &self.kind {
            Some(Kind::React(react)) => Some(&react.symbol),
            Some(Kind::Unreact(unreact)) => Some(&unreact.symbol),
            _ => None,
        }
    }
}

/// Identifies a request's whole content, with who asked.
pub fn request_hash(user: &UserId, request: &[u8]) -> Hash16 {
    hash16("causeway/request", &[user.as_str().as_bytes(), request])
}

/// The hash by which a request names its body.
pub fn body_hash(body: &[u8]) -> Hash16 {
    hash16("causeway/body", &[body])
}

/// A header's link in its origin's chain.
pub fn chain_hash(header: &[u8]) -> Hash16 {
    hash16("causeway/chain", &[header])
}

/// What a site checks of a request before it looks at any state. The error is for the client.
pub fn check_content(user: &UserId, request: &Request, body: Option<&Bytes>) -> Result<(), (Code, String)> {
    let malformed = |detail: &str| Err((Code::Malformed, detail.to_owned()));
    let name_fits = |name: &str| name.len() <= limits::NAME_BYTES_MAX && !name.chars().any(char::is_control);
    let bad_name = "name must have at most 512 bytes and no control characters";
    let reason_fits = |reason: &str| reason.len() <= limits::REASON_BYTES_MAX && !reason.chars().any(char::is_control);
    if let Some(kind) = &request.kind {
        if rights::target(kind).is_some_and(|user| UserId::new(user).is_err()) {
            return malformed("user must have 1 to 128 bytes and no control characters");
        }
        if let Kind::Kick(wire::Kick { reason, .. }) | Kind::Ban(wire::Ban { reason, .. }) = kind
            && !reason_fits(reason)
        {
            return malformed("reason must have at most 512 bytes and no control characters");
        }
        if matches!(kind, Kind::SetRole(set) if Role::from_number(set.role).is_none()) {
            return malformed("role must be 1 (reader) to 5 (owner)");
        }
    }
    match &request.kind {
        None => return Err((Code::UnknownKind, "kind of request is not known here: use a newer site".to_owned())),
        Some(Kind::Create(create)) if !create.direct.is_empty() => {
            let other = match UserId::new(&create.direct) {
                Ok(other) if other != *user => other,
                _ => return malformed("direct must be another user, of 1 to 128 bytes and no control characters"),
            };
            if !create.name.is_empty() || create.open || create.channel {
                return malformed("a direct room has no name, and is neither open nor a channel: leave these empty");
            }
            if RoomId::direct(user, &other) != request.room {
                let detail = "room must be the hash of the two users of a direct room".to_owned();
                return Err((Code::RoomMismatch, detail));
            }
        }
        Some(Kind::Create(create)) => {
            if RoomId::derive(user, request.id) != request.room {
                let detail = "room must be the hash of the creator and the request's id".to_owned();
                return Err((Code::RoomMismatch, detail));
            }
            if !name_fits(&create.name) {
                return malformed(bad_name);
            }
        }
        Some(Kind::Message(message)) => {
            let once = message.mentions.is_sorted_by(|a, b| a < b);
            if message.mentions.len() > limits::MENTIONS_MAX || !once {
                return malformed("mentions must be at most 16 users, each once, sorted");
            }
            if !is_lifetime(message.lifetime_ms) {
                return malformed("lifetime_ms must be 0 (as the room), or from 1,000 to 315,532,800,000 (ten years)");
            }
            if message.mentions.iter().any(|user| UserId::new(user).is_err()) {
                return malformed("mentions must have 1 to 128 bytes each and no control characters");
            }
        }
        Some(Kind::SetName(set)) if !name_fits(&set.name) => return malformed(bad_name),
        Some(Kind::SetProfile(set)) => return check_profile(set).and_then(|()| check_bodiless(request, body)),
        Some(Kind::Edit(_) | Kind::Redact(_) | Kind::React(_) | Kind::Unreact(_) | Kind::Pin(_) | Kind::Unpin(_)) => {
            if request.target().is_none() {
                return malformed("target is missing: name the message");
            }
            if matches!(&request.kind, Some(Kind::Redact(redact)) if redact.author == user.as_str()) {
                return malformed("author must be somebody else: leave it empty for an own message");
            }
            if request.symbol().is_some_and(|symbol| !limits::is_symbol(symbol)) {
                return malformed("symbol must have 1 to 64 bytes and no control characters");
            }
        }
        Some(_) => {}
    }
    match (request.has_body(), request.body_hash, body) {
        (false, ..) => check_bodiless(request, body),
        (true, Some(hash), Some(body)) => check_body(hash, body),
        (true, ..) => malformed("a message needs a body and its body_hash"),
    }
}

fn check_bodiless(request: &Request, body: Option<&Bytes>) -> Result<(), (Code, String)> {
    match (request.body_hash, body) {
        (None, None) => Ok(()),
        _ => {
            let detail = "body is for messages and edits only: leave body and body_hash empty".to_owned();
            Err((Code::Malformed, detail))
        }
    }
}

fn check_profile(set: &wire::SetProfile) -> Result<(), (Code, String)> {
    let malformed = |detail: &str| Err((Code::Malformed, detail.to_owned()));
    let fits = |text: &Option<String>, max: usize| {
        text.as_ref().is_none_or(|text| text.len() <= max && !text.chars().any(char::is_control))
    };
    if *set == wire::SetProfile::default() {
        return malformed("set_profile is empty: name a field");
    }
    if !fits(&set.topic, limits::TOPIC_BYTES_MAX) {
        return malformed("topic must have at most 2,048 bytes and no control characters");
    }
    if !fits(&set.avatar, limits::NAME_BYTES_MAX) {
        return malformed("avatar must have at most 512 bytes and no control characters");
    }
    if set.retention_ms.is_some_and(|ms| !is_lifetime(ms)) {
        return malformed("retention_ms must be 0 (for good), or from 1,000 to 315,532,800,000 (ten years)");
    }
    let writers = set.writers.map(Role::from_number);
    if writers.is_some_and(|role| role.is_none_or(|role| role < Role::Member)) {
        return malformed("writers must be 2 (member) to 5 (owner)");
    }
    Ok(())
}

fn is_lifetime(ms: u64) -> bool {
    ms == 0 || (limits::LIFETIME_MS_MIN..=limits::LIFETIME_MS_MAX).contains(&ms)
}

fn check_body(hash: Hash16, bytes: &Bytes) -> Result<(), (Code, String)> {
    let too_large = |detail: String| Err((Code::TooLarge, detail));
    let malformed = |detail: &str| Err((Code::Malformed, detail.to_owned()));
    if bytes.len() > limits::BODY_BYTES_MAX {
        return too_large(format!("body has {} bytes, the limit is {}", bytes.len(), limits::BODY_BYTES_MAX));
    }
    if body_hash(bytes) != hash {
        return malformed("body_hash is not the hash of the body");
    }
    let Ok(body) = wire::Body::decode(bytes.clone()) else { return malformed("body does not decode") };
    if body.salt.len() != limits::SALT_BYTES {
        return malformed("body.salt must have 16 bytes");
    }
    if body.content.len() > limits::CONTENT_BYTES_MAX {
        let (got, max) = (body.content.len(), limits::CONTENT_BYTES_MAX);
        return too_large(format!("content has {got} bytes, the limit is {max}: send it in parts or by reference"));
    }
    if body.content_type.is_empty() || body.content_type.len() > limits::CONTENT_TYPE_BYTES_MAX {
        return malformed("body.content_type must have 1 to 128 bytes");
    }
    Ok(())
}

/// An op that decoded. The bytes are kept: they are what is stored, hashed and forwarded.
#[derive(Clone, Debug)]
pub struct Op {
    /// Its header, byte for byte.
    pub header: Bytes,
    /// Its body, where it is not absent.
    pub body: Option<Bytes>,
    /// Which acceptance it is.
    pub dot: Dot,
    /// The accepting site's clock.
    pub stamp: Stamp,
    /// What the accepting site had applied: entries changed since the origin's last op.
    pub deps: Vector,
    /// Hash of the origin's header before; `None` for its first.
    pub prev: Option<Hash16>,
    /// Who asked.
    pub user: UserId,
    /// The request's bytes.
    pub request_bytes: Bytes,
    /// The request.
    pub request: Request,
    /// A removal's tags, a given role's joins, or lifted bans.
    pub saw: Vec<RequestId>,
    /// The revocations of its user in its room that the accepting site knew.
    pub aware: Vec<RequestId>,
    /// A revocation's: what the accepting site had applied.
    pub past: Option<Vector>,
    /// A given role's: the giver's role.
    pub rank: u32,
    /// A message's or an edit's: when its body goes, ms since the Unix epoch; 0: never.
    pub deadline_ms: u64,
}

impl Op {
    /// Decodes an op of a peer's.
    pub fn decode(shard: ShardId, header: Bytes, body: Option<Bytes>) -> Result<Self, DecodeError> {
        if header.len() > limits::HEADER_BYTES_MAX {
            let (max, got) = (limits::HEADER_BYTES_MAX, header.len());
            return Err(DecodeError::TooLong { field: "op.header", max, got });
        }
        let w = wire::Header::decode(header.clone()).map_err(|e| DecodeError::malformed("op.header", &e))?;
        if w.shard != u32::from(shard.0) {
            return Err(DecodeError::Range { field: "op.header.shard" });
        }
        let origin = w.origin.as_ref().ok_or(DecodeError::Missing { field: "op.header.origin" })?;
        let dot = Dot::from_wire(&wire::Dot { origin: Some(*origin), seq: w.seq })?;
        let prev = match w.prev.len() {
            0 if dot.seq == 1 => None,
            16 => w.prev[..].try_into().ok(),
            got => return Err(DecodeError::Length { field: "op.header.prev", want: 16, got }),
        };
        if body.as_ref().is_some_and(|b| b.len() > limits::BODY_BYTES_MAX) {
            let got = body.as_ref().map_or(0, Bytes::len);
            return Err(DecodeError::TooLong { field: "op.body", max: limits::BODY_BYTES_MAX, got });
        }
        let request = Request::decode(&w.request)?;
        // A body that is not the one that was accepted is as good as absent.
        let body = body.filter(|b| request.body_hash == Some(body_hash(b)));
        Ok(Self {
            dot,
            stamp: Stamp(w.stamp),
            deps: w.deps.iter().map(Dot::from_wire).collect::<Result<_, _>>()?,
            prev,
            user: UserId::new(&w.user)?,
            request_bytes: w.request,
            request,
            saw: w.saw.iter().map(RequestId::from_wire).collect(),
            aware: w.aware.iter().map(RequestId::from_wire).collect(),
            past: w.past.as_ref().map(Vector::from_wire).transpose()?,
            rank: w.rank,
            deadline_ms: w.deadline_ms,
            header,
            body,
        })
    }

    /// Bytes that it takes on a link.
    pub fn bytes(&self) -> usize {
        self.header.len() + self.body.as_ref().map_or(0, Bytes::len) + 16
    }

    /// Its wire form.
    pub fn to_wire(&self) -> wire::Op {
        wire::Op { header: self.header.clone(), body: self.body.clone() }
    }
}

/// Everything of which an origin makes an op.
pub struct NewOp<'a> {
    /// The dot to be.
    pub dot: Dot,
    /// The shard.
    pub shard: ShardId,
    /// The accepting site's clock.
    pub stamp: Stamp,
    /// Entries of the applied vector that changed since this origin's last op.
    pub deps: Vector,
    /// The chain so far.
    pub prev: Option<Hash16>,
    /// Who asks.
    pub user: &'a UserId,
    /// The request's bytes.
    pub request_bytes: Bytes,
    /// The request.
    pub request: Request,
    /// As [`Op::saw`].
    pub saw: Vec<RequestId>,
    /// As [`Op::aware`].
    pub aware: Vec<RequestId>,
    /// As [`Op::past`].
    pub past: Option<Vector>,
    /// As [`Op::rank`].
    pub rank: u32,
    /// As [`Op::deadline_ms`].
    pub deadline_ms: u64,
    /// The body.
    pub body: Option<Bytes>,
}

impl NewOp<'_> {
    /// Encodes the header, once.
    pub fn seal(self) -> Op {
        let origin: Origin = self.dot.origin;
        let header = wire::Header {
            origin: Some(origin.to_wire()),
            shard: self.shard.0.into(),
            seq: self.dot.seq,
            stamp: self.stamp.0,
            deps: self.deps.iter().map(Dot::to_wire).collect(),
            prev: self.prev.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash)),
            user: self.user.as_str().to_owned(),
            request: self.request_bytes.clone(),
            saw: self.saw.iter().map(|id| id.to_wire()).collect(),
            aware: self.aware.iter().map(|id| id.to_wire()).collect(),
            past: self.past.as_ref().map(Vector::to_wire),
            rank: self.rank,
            deadline_ms: self.deadline_ms,
        };
        Op {
            header: header.encode_to_vec().into(),
            body: self.body,
            dot: self.dot,
            stamp: self.stamp,
            deps: self.deps,
            prev: self.prev,
            user: self.user.clone(),
            request_bytes: self.request_bytes,
            request: self.request,
            saw: self.saw,
            aware: self.aware,
            past: self.past,
            rank: self.rank,
            deadline_ms: self.deadline_ms,
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
