//! What calls are made of, taken from HTTP: paths, queries, bodies, headers. What does not fit is a [`Problem`].

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use causeway_protocol::{Code, RequestId, RoomId, UserId};
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::{Api, BODY_BYTES_MAX};

/// The one header of a name.
pub fn one_header<'a>(
    headers: &'a HeaderMap,
    name: &str,
    field: &'static str,
) -> Result<Option<&'a HeaderValue>, Problem> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::malformed(field, format!("{field} is there twice: send it once"))),
    }
}

/// The parameters of a path.
pub struct Place<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, api).await;
        path.map(|Path(place)| Self(place)).map_err(|e| Problem::malformed("path", e.body_text()))
    }
}

/// The parameters of a query.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Api>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(asked)| Self(asked)).map_err(|e| Problem::malformed("query", e.body_text()))
    }
}

/// A body of JSON.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let bytes = bytes(request, api).await?;
        if !is_json {
            let detail = "Content-Type must be application/json";
            return Err(Problem::own(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NoJson", detail).field("Content-Type"));
        }
        parsed(&bytes).map(Self)
    }
}

/// A body of JSON that may be left out.
pub struct MaybeBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<Api>> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let bytes = bytes(request, api).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parsed(&bytes).map(Self) }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|e| Problem::malformed("body", format!("the body does not fit: {e}")))
}

/// Half of the call's time is for its body to arrive.
async fn bytes(request: Request, api: &Arc<Api>) -> Result<Bytes, Problem> {
    let arriving = api.config.timeout / 2;
    match tokio::time::timeout(arriving, Bytes::from_request(request, api)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            let detail = format!("the body has more than {BODY_BYTES_MAX} bytes: send it in parts or by reference");
            Err(Problem::of(Code::TooLarge, detail).field("body"))
        }
        Ok(Err(e)) => Err(Problem::malformed("body", e.body_text())),
        Err(_) => {
            let detail = format!("the body did not arrive within {} ms", arriving.as_millis());
            Err(Problem::own(StatusCode::REQUEST_TIMEOUT, "BodyTimeout", detail))
        }
    }
}

/// A room in a path.
#[derive(Clone, Copy)]
pub struct Room(pub RoomId);

impl<'de> Deserialize<'de> for Room {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let no_room = |_| D::Error::custom("room must be 32 hexadecimal digits");
        RoomId::parse(&text).map(Self).map_err(no_room)
    }
}

/// A user in a path.
pub struct User(pub UserId);

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        UserId::new(&String::deserialize(from)?).map(Self).map_err(D::Error::custom)
    }
}

/// The id of a message, or of another request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id(pub RequestId);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let no_id = |_| D::Error::custom("a message's id must be 32 hexadecimal digits");
        RequestId::parse(&text).map(Self).map_err(no_id)
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}
