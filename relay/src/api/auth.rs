//! Who makes a call, and as whom.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use causeway_protocol::{Code, UserId, limits};

use super::extract::one_header;
use super::problem::Problem;
use super::{Api, BODY_BYTES_MAX};

/// The header that names the user to act as.
const CAUSEWAY_USER: &str = "causeway-user";

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose token it is.
    pub sub: UserId,
    /// As whom: all that follows is this user's doing.
    pub user: UserId,
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let named = named_user(&parts.headers)?;
        let Some(tokens) = &api.tokens else {
            let detail = "name the user in the header Causeway-User: this site runs under --dev, without tokens";
            let user = named.ok_or_else(|| Problem::of(Code::Unauthenticated, detail))?;
            return Ok(Self { sub: user.clone(), user });
        };
        let token = bearer_token(&parts.headers)?;
        let refused = |(code, detail)| Problem::of(code, detail);
        let bearer = tokens.bearer(api.core.clock.now().wall_ms, token).map_err(refused)?;
        if !bearer.is_service {
            count(api, &bearer.grant.user, &parts.headers)?;
        }
        acting(bearer.grant.user, bearer.is_service, named)
    }
}

/// A user's calls count with what the user's sessions ask for. Back ends are the operator's own: they are trusted.
fn count(api: &Api, user: &UserId, headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let (core, bytes) = (&api.core, length.unwrap_or(0).min(BODY_BYTES_MAX as u64));
    core.visitors.call(user, &core.config.limits, core.clock.now().mono_ms, bytes).map_err(|over| {
        core.metrics.limited(over.setting);
        let seconds = u32::try_from(over.retry_after_ms.div_ceil(1_000)).unwrap_or(u32::MAX);
        Problem::of(Code::Busy, over.to_string()).retry_after(seconds)
    })
}

/// A user acts as oneself; a back end as whom it names.
fn acting(sub: UserId, is_service: bool, named: Option<UserId>) -> Result<Caller, Problem> {
    match named {
        None => Ok(Caller { user: sub.clone(), sub }),
        Some(user) if is_service => Ok(Caller { sub, user }),
        Some(_) => {
            let detail = "the header Causeway-User is for tokens with the claim `causeway_service`: true";
            Err(Problem::of(Code::NotPermitted, detail).field("Causeway-User"))
        }
    }
}

fn named_user(headers: &HeaderMap) -> Result<Option<UserId>, Problem> {
    let Some(value) = one_header(headers, CAUSEWAY_USER, "Causeway-User")? else { return Ok(None) };
    let refused = |detail: String| Problem::malformed("Causeway-User", detail);
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refused("Causeway-User must be UTF-8".into()))?;
    UserId::new(text).map(Some).map_err(|e| refused(format!("Causeway-User: {e}")))
}

fn bearer_token(headers: &HeaderMap) -> Result<&str, Problem> {
    let refused = |detail: &str| Problem::of(Code::Unauthenticated, detail);
    let value = one_header(headers, header::AUTHORIZATION.as_str(), "Authorization")?;
    let value = value.ok_or_else(|| refused("send the header Authorization: Bearer TOKEN"))?;
    let is_bearer = |scheme: &str| scheme.eq_ignore_ascii_case("bearer");
    let token = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| is_bearer(scheme));
    let (_, token) = token.ok_or_else(|| refused("Authorization must be: Bearer TOKEN"))?;
    if token.len() > limits::TOKEN_BYTES_MAX {
        let (got, max) = (token.len(), limits::TOKEN_BYTES_MAX);
        return Err(refused(&format!("the token has {got} bytes, the limit is {max}")));
    }
    Ok(token.trim())
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
