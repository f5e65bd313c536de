//! Errors as RFC 9457 wants them: `application/problem+json`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use causeway_protocol::Code;
use serde::Serialize;

/// What stands before a problem's name in its type.
const TYPE_BASE: &str = "https://causeway.chat/problems/";
/// The header of a call's key.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why a call is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    name: Box<str>,
    title: &'static str,
    detail: Box<str>,
    code: Option<Code>,
    field: Option<&'static str>,
    retry_after_s: Option<u32>,
    key: Option<HeaderValue>,
}

/// As it is written.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    /// Of a refusal's code.
    pub fn of(code: Code, detail: impl Into<String>) -> Self {
        let (status, title) = meaning(code);
        let retry_after_s = match code {
            Code::Busy => Some(1),
            Code::NotReady | Code::ClockOff | Code::ShuttingDown | Code::Overloaded => Some(5),
            _ => None,
        };
        let (name, detail) = (format!("{code:?}").into(), detail.into().into());
        Self { status, name, title, detail, code: Some(code), field: None, retry_after_s, key: None }
    }

    /// One that only the API has.
    pub fn own(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("refused");
        let (name, detail) = (name.into(), detail.into().into());
        Self { status, name, title, detail, code: None, field: None, retry_after_s: None, key: None }
    }

    /// A call that no site would ever carry out, for this field.
    pub fn malformed(field: &'static str, detail: impl Into<String>) -> Self {
        Self::of(Code::Malformed, detail).field(field)
    }

    /// Names the field that is to be changed.
    pub fn field(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// Says when to come again.
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Names the key of the call, so that it can be made again.
    pub fn key(self, key: HeaderValue) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Its name, for logs.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The status and the title of a code.
fn meaning(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::Malformed => (StatusCode::BAD_REQUEST, "A field is missing or out of range"),
        Code::IdConflict => (StatusCode::CONFLICT, "Another request has this key"),
        Code::DeviceMismatch => (StatusCode::BAD_REQUEST, "The device is not this user's"),
        Code::RoomMismatch => (StatusCode::BAD_REQUEST, "The room does not follow from the request"),
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Over a size limit"),
        Code::UnknownKind => (StatusCode::BAD_REQUEST, "A kind of request that this site does not know"),
        Code::UnknownRoom => (StatusCode::NOT_FOUND, "This site does not know the room"),
        Code::NotPermitted => (StatusCode::FORBIDDEN, "Not permitted"),
        Code::StampAhead => (StatusCode::UNPROCESSABLE_ENTITY, "The key is ahead of the site's clock"),
        Code::Busy => (StatusCode::TOO_MANY_REQUESTS, "A limit of this site is reached"),
        Code::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "The site is catching up"),
        Code::ClockOff => (StatusCode::SERVICE_UNAVAILABLE, "The site's clock is off"),
        Code::Version => (StatusCode::BAD_REQUEST, "No common protocol version"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "Not authenticated"),
        Code::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "The site is shutting down"),
        Code::ProtocolError => (StatusCode::BAD_REQUEST, "The protocol was broken"),
        Code::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "Too many connections"),
        Code::TokenExpired => (StatusCode::UNAUTHORIZED, "The token has expired"),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("{TYPE_BASE}{}", self.name),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.map(Code::number),
            field: self.field,
        };
        let mut response = (self.status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(key) = self.key {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        response
    }
}

#[cfg(test)]
#[path = "problem_tests.rs"]
mod tests;
