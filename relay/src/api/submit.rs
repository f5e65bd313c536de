//! A call's way into a shard and back. Nothing is told the caller before it is fsynced.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use causeway_protocol::{Code, Dot, Message as _, RequestId, RoomId, UserId, wire, wire::request::Kind};
use causeway_replica::read::Durables;
use causeway_replica::request::body_hash;
use serde::{Deserialize, Serialize};

use super::Api;
use super::auth::Caller;
use super::extract::{Asked, Id, one_header};
use super::ids::Key;
use super::problem::{IDEMPOTENCY_KEY, Problem};
use crate::asking::Asking;

/// How old a key may be, ms. It is the message's place in the room: history is not to be written long after.
const KEY_AGE_MAX_MS: u64 = 24 * 3_600_000;

/// Everything of a call that changes something, but for what.
pub struct Change {
    api: Arc<Api>,
    caller: Caller,
    key: Key,
    wants_replicated: bool,
    /// Method and path, for the log.
    call: String,
}

/// What to wait for.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum WaitFor {
    Stored,
    Replicated,
}

#[derive(Deserialize)]
struct Wait {
    wait: Option<WaitFor>,
}

impl FromRequestParts<Arc<Api>> for Change {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let Asked(Wait { wait }) = Asked::from_request_parts(parts, api).await?;
        let wants_replicated = wait == Some(WaitFor::Replicated);
        let key = match one_header(&parts.headers, IDEMPOTENCY_KEY.as_str(), "Idempotency-Key")? {
            Some(value) => given_key(api, value)?,
            None => Key::new(api.mint(), random()?),
        };
        let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let call = format!("{} {path}", parts.method);
        Ok(Self { api: api.clone(), caller, key, wants_replicated, call })
    }
}

fn given_key(api: &Api, value: &HeaderValue) -> Result<Key, Problem> {
    let parsed = value.to_str().map_err(|_| "must be a UUID").and_then(Key::parse);
    let key = parsed.map_err(|words| Problem::malformed("Idempotency-Key", format!("Idempotency-Key {words}")))?;
    if key.ms() + KEY_AGE_MAX_MS < api.core.clock.now().wall_ms {
        let detail = "Idempotency-Key is older than 24 hours: make a new one, if the call is still to be made";
        return Err(Problem::own(StatusCode::UNPROCESSABLE_ENTITY, "KeyTooOld", detail).field("Idempotency-Key"));
    }
    Ok(key)
}

fn random() -> Result<u64, Problem> {
    getrandom::u64().map_err(|e| Problem::of(Code::NotReady, format!("the system has no random numbers: {e}")))
}

/// The detachable part of a message.
pub struct Content {
    /// Its media type.
    pub content_type: String,
    /// The bytes.
    pub content: Bytes,
}

/// What a change is answered with.
#[derive(Serialize)]
struct Answer {
    id: Id,
    room: String,
    dot: AnswerDot,
    durability: &'static str,
}

#[derive(Serialize)]
struct AnswerDot {
    site: u16,
    node: u16,
    /// In hexadecimal: a number would lose its last bits in JavaScript.
    incarnation: String,
    seq: u64,
}

impl Change {
    /// The id of the request that it makes.
    pub fn id(&self) -> RequestId {
        self.key.request_id(&self.caller.user)
    }

    /// The room that it makes, if it makes one.
    pub fn new_room(&self) -> RoomId {
        RoomId::derive(&self.caller.user, self.id())
    }

    /// The direct room with somebody.
    pub fn direct_room(&self, with: &UserId) -> RoomId {
        RoomId::direct(&self.caller.user, with)
    }

    /// The user's own room.
    pub fn own_room(&self) -> RoomId {
        RoomId::of_user(&self.caller.user)
    }

    /// Carries it out; answers when this site has it for good.
    pub async fn carry_out(self, room: RoomId, kind: Kind, content: Option<Content>) -> Result<Response, Problem> {
        let result = self.submit(room, kind, content).await;
        let (sub, user, call) = (self.caller.sub.as_str(), self.caller.user.as_str(), self.call.as_str());
        let outcome = result.as_ref().map_or_else(|problem| problem.name(), |done| done.durability());
        tracing::info!(sub, user, call, %room, id = %self.id(), outcome, "api");
        let key =
            HeaderValue::try_from(self.key.to_string()).map_err(|e| Problem::of(Code::Malformed, e.to_string()))?;
        let done = result.map_err(|problem| problem.key(key.clone()))?;
        let status = if done.is_replay { StatusCode::OK } else { StatusCode::CREATED };
        let answer = Answer {
            id: Id(self.id()),
            room: room.to_string(),
            dot: AnswerDot {
                site: done.dot.origin.site.0,
                node: done.dot.origin.node,
                incarnation: format!("{:016x}", done.dot.origin.incarnation),
                seq: done.dot.seq,
            },
            durability: done.durability(),
        };
        Ok((status, [(IDEMPOTENCY_KEY, key)], axum::Json(answer)).into_response())
    }

    async fn submit(&self, room: RoomId, kind: Kind, content: Option<Content>) -> Result<Done, Problem> {
        let (core, user, id) = (&self.api.core, &self.caller.user, self.id());
        let body = content.map(|Content { content_type, content }| {
            let salt = Bytes::copy_from_slice(&self.key.salt(user));
            Bytes::from(wire::Body { salt, content_type, content }.encode_to_vec())
        });
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: room.to_wire(),
            body_hash: body.as_ref().map(|body| Bytes::copy_from_slice(&body_hash(body))).unwrap_or_default(),
            kind: Some(kind),
        };
        let shard = room.shard(core.config.shards);
        // What is covered now was there before.
        let before = core.published.durable(shard);
        let mut asking = Asking::new(core, shard);
        asking.ask(user.clone(), id.device, request.encode_to_vec().into(), body).await;
        let (dot, mut is_replicated) = asking.accepted(id).await.map_err(refusal)?;
        let is_replay = dot.origin != core.origin || before.covers(&dot);
        if self.wants_replicated && !is_replicated {
            let waited = tokio::time::timeout(self.api.config.wait, asking.replicated(dot)).await;
            is_replicated = waited.unwrap_or(false);
        }
        Ok(Done { dot, is_replicated, is_replay })
    }
}

/// What the shard says of the ids, in the words of keys.
fn refusal((code, detail): (Code, String)) -> Problem {
    const FIELD: &str = "Idempotency-Key";
    match code {
        Code::IdConflict => {
            Problem::of(code, "Idempotency-Key was used for another request of this room: use a new one").field(FIELD)
        }
        Code::StampAhead => {
            Problem::of(code, "Idempotency-Key is ahead of the site's clock: make keys by a clock that is right")
                .field(FIELD)
        }
        _ => Problem::of(code, detail),
    }
}

/// A change that this site has for good.
struct Done {
    dot: Dot,
    is_replicated: bool,
    /// It was here before the call.
    is_replay: bool,
}

impl Done {
    fn durability(&self) -> &'static str {
        if self.is_replicated { "replicated" } else { "stored" }
    }
}
