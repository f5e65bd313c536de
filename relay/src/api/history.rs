//! Pages of a room's history, as JSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use causeway_protocol::{Code, Message as _, RequestId, Role, wire, wire::request::Kind};
use serde::{Deserialize, Serialize};

use super::Api;
use super::auth::Caller;
use super::extract::{Asked, Id, Place};
use super::problem::Problem;
use super::rooms::InRoom;

/// Events of a page where the call does not say.
const LIMIT_DEFAULT: u32 = 50;

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Backward,
    Forward,
}

/// Which page.
#[derive(Deserialize)]
pub struct Pages {
    from: Option<Id>,
    #[serde(default)]
    direction: Direction,
    limit: Option<u32>,
}

/// A page: the oldest first.
#[derive(Serialize, Debug)]
pub struct Page {
    events: Vec<Event>,
    /// Whether there is more in the direction asked for.
    more: bool,
    /// Where the next page begins, if there is more.
    next: Option<Id>,
}

/// One request of a room, as its members see it.
#[derive(Serialize, Default, Debug, PartialEq)]
pub struct Event {
    id: Option<Id>,
    /// When, by the clock of whoever made it: ms since the Unix epoch.
    at: u64,
    user: String,
    kind: &'static str,
    #[serde(flatten)]
    content: Option<EventContent>,
    /// When the content goes, ms since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Id>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writers: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knock: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<bool>,
    /// Whom a change of members is about; whose message a moderator redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// What a message or an edit says; not there when it is gone.
#[derive(Serialize, Debug, PartialEq)]
struct EventContent {
    content_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_base64: Option<String>,
}

/// Reads a page.
pub async fn page(
    caller: Caller,
    State(api): State<Arc<Api>>,
    Place(place): Place<InRoom>,
    Asked(pages): Asked<Pages>,
) -> Result<Json<Page>, Problem> {
    let forward = pages.direction == Direction::Forward;
    let asked = wire::HistoryRequest {
        room: place.room.0.to_wire(),
        from: pages.from.map(|id| id.0.to_wire()),
        forward,
        limit: pages.limit.unwrap_or(LIMIT_DEFAULT),
    };
    let page = crate::queries::history(&api.core, caller.user, asked).await;
    if let Some(code) = Code::from_number(page.code) {
        return Err(Problem::of(code, page.detail));
    }
    let events: Vec<Event> = page.events.into_iter().map(event).collect();
    let end = if forward { events.last() } else { events.first() };
    let next = end.and_then(|event| event.id).filter(|_| page.more);
    Ok(Json(Page { events, more: page.more, next }))
}

fn event(event: wire::Event) -> Event {
    let Ok(request) = wire::Request::decode(event.request) else { return Event::default() };
    let id = request.id.as_ref().map(RequestId::from_wire);
    let known = Event {
        id: id.map(Id),
        at: id.map_or(0, |id| id.stamp.ms()),
        user: event.user,
        kind: "unknown",
        expires: Some(event.deadline_ms).filter(|ms| *ms > 0),
        content: event.body.and_then(|body| wire::Body::decode(body).ok()).map(content),
        ..Event::default()
    };
    match request.kind {
        Some(kind) => of_kind(known, kind),
        None => known,
    }
}

fn of_kind(event: Event, kind: Kind) -> Event {
    let id = |id: Option<wire::RequestId>| id.as_ref().map(RequestId::from_wire).map(Id);
    match kind {
        Kind::Create(wire::Create { direct, .. }) if !direct.is_empty() => {
            Event { kind: "create", member: Some(direct), ..event }
        }
        Kind::Create(wire::Create { name, open, channel, .. }) => {
            Event { kind: "create", name: Some(name), open: Some(open), channel: Some(channel), ..event }
        }
        Kind::SetProfile(wire::SetProfile { topic, avatar, open, writers, retention_ms, knock }) => {
            let writers = writers.and_then(Role::from_number).map(Role::name);
            Event { kind: "set_profile", topic, avatar, open, writers, retention_ms, knock, ..event }
        }
        Kind::Pin(pin) => Event { kind: "pin", target: id(pin.target), ..event },
        Kind::Erase(_) => Event { kind: "erase", ..event },
        Kind::Knock(_) => Event { kind: "knock", ..event },
        Kind::Decline(decline) => Event { kind: "decline", member: Some(decline.user), ..event },
        Kind::Unpin(unpin) => Event { kind: "unpin", target: id(unpin.target), ..event },
        Kind::SetName(set) => Event { kind: "set_name", name: Some(set.name), ..event },
        Kind::Join(_) => Event { kind: "join", ..event },
        Kind::Leave(_) => Event { kind: "leave", ..event },
        Kind::Invite(invite) => Event { kind: "invite", member: Some(invite.user), ..event },
        Kind::Message(wire::Message { reply_to, mentions, .. }) => {
            Event { kind: "message", reply_to: id(reply_to), mentions, ..event }
        }
        Kind::Edit(edit) => Event { kind: "edit", target: id(edit.target), ..event },
        Kind::Redact(redact) => {
            let member = Some(redact.author).filter(|author| !author.is_empty());
            Event { kind: "redact", target: id(redact.target), member, ..event }
        }
        Kind::React(react) => Event { kind: "react", target: id(react.target), symbol: Some(react.symbol), ..event },
        Kind::Unreact(react) => {
            Event { kind: "unreact", target: id(react.target), symbol: Some(react.symbol), ..event }
        }
        Kind::SetRole(set) => {
            let role = Role::from_number(set.role).map(Role::name);
            Event { kind: "set_role", member: Some(set.user), role, ..event }
        }
        Kind::Kick(kick) => Event { kind: "kick", member: Some(kick.user), reason: Some(kick.reason), ..event },
        Kind::Ban(ban) => {
            let until = Some(ban.until_ms).filter(|until| *until > 0);
            Event { kind: "ban", member: Some(ban.user), reason: Some(ban.reason), until, ..event }
        }
        Kind::LiftBan(lift) => Event { kind: "lift_ban", member: Some(lift.user), ..event },
    }
}

/// As text where it is one.
fn content(body: wire::Body) -> EventContent {
    let wire::Body { content_type, content, .. } = body;
    let is_text = content_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    let text = std::str::from_utf8(&content).ok().filter(|_| is_text).map(str::to_owned);
    let content_base64 = if text.is_none() { Some(STANDARD.encode(&content)) } else { None };
    EventContent { content_type, text, content_base64 }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
