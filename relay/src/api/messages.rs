//! Messages: sent, edited, redacted.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use causeway_protocol::{wire, wire::request::Kind};
use serde::Deserialize;

use super::extract::{Asked, Body, Id, Place, Room, User};
use super::problem::Problem;
use super::rooms::InRoom;
use super::submit::{Change, Content};

/// The type of a text that says none.
const TEXT: &str = "text/plain";
/// The type of bytes that say none.
const BYTES: &str = "application/octet-stream";

/// A message of a room.
#[derive(Deserialize)]
pub struct InMessages {
    room: Room,
    id: Id,
}

/// A new message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    content_type: Option<String>,
    text: Option<String>,
    content_base64: Option<String>,
    reply_to: Option<Id>,
    #[serde(default)]
    mentions: Vec<String>,
    #[serde(default)]
    lifetime_ms: u64,
}

/// What a message is to be from now on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewContent {
    content_type: Option<String>,
    text: Option<String>,
    content_base64: Option<String>,
}

impl NewContent {
    fn content(self) -> Result<Content, Problem> {
        let (default, content) = match (self.text, self.content_base64) {
            (Some(text), None) => (TEXT, Bytes::from(text)),
            (None, Some(base64)) => {
                let no_base64 = |e| Problem::malformed("content_base64", format!("content_base64: {e}"));
                (BYTES, Bytes::from(STANDARD.decode(base64).map_err(no_base64)?))
            }
            _ => return Err(Problem::malformed("text", "write one of `text` and `content_base64`")),
        };
        Ok(Content { content_type: self.content_type.unwrap_or_else(|| default.to_owned()), content })
    }
}

/// Sends a message.
pub async fn send(
    change: Change,
    Place(place): Place<InRoom>,
    Body(new): Body<NewMessage>,
) -> Result<Response, Problem> {
    let NewMessage { content_type, text, content_base64, reply_to, mut mentions, lifetime_ms } = new;
    let content = NewContent { content_type, text, content_base64 }.content()?;
    mentions.sort_unstable();
    mentions.dedup();
    let message = wire::Message { reply_to: reply_to.map(|id| id.0.to_wire()), mentions, lifetime_ms };
    change.carry_out(place.room.0, Kind::Message(message), Some(content)).await
}

/// Edits one's own message.
pub async fn edit(
    change: Change,
    Place(place): Place<InMessages>,
    Body(new): Body<NewContent>,
) -> Result<Response, Problem> {
    let content = new.content()?;
    let edit = wire::Edit { target: Some(place.id.0.to_wire()) };
    change.carry_out(place.room.0, Kind::Edit(edit), Some(content)).await
}

/// Pins a message.
pub async fn pin(change: Change, Place(place): Place<InMessages>) -> Result<Response, Problem> {
    let pin = wire::Pin { target: Some(place.id.0.to_wire()) };
    change.carry_out(place.room.0, Kind::Pin(pin), None).await
}

/// Unpins it.
pub async fn unpin(change: Change, Place(place): Place<InMessages>) -> Result<Response, Problem> {
    let unpin = wire::Unpin { target: Some(place.id.0.to_wire()) };
    change.carry_out(place.room.0, Kind::Unpin(unpin), None).await
}

/// Whose message is redacted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Of {
    author: Option<User>,
}

/// Redacts one's own message, or as a moderator somebody else's.
pub async fn redact(
    change: Change,
    Place(place): Place<InMessages>,
    Asked(of): Asked<Of>,
) -> Result<Response, Problem> {
    let author = of.author.map_or_else(String::new, |author| author.0.as_str().to_owned());
    let redact = wire::Redact { target: Some(place.id.0.to_wire()), author };
    change.carry_out(place.room.0, Kind::Redact(redact), None).await
}
