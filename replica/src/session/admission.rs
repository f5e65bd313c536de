//! How clients prove who they are: the rules of a session. Keys and signatures are the host's.

use std::fmt::Debug;
use std::sync::Arc;

use causeway_protocol::{Code, UserId, limits};

use crate::io::Now;

/// A session needs a new token after this at the latest, ms: ten years, which keeps sums with times in range.
const LIFE_MAX_MS: u64 = 10 * 365 * 24 * 3_600_000;

/// What a token grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// To whom.
    pub user: UserId,
    /// Until when, by this site's wall clock, ms since the Unix epoch. Any leeway for clocks is in it.
    pub until_ms: u64,
}

/// Checks tokens. It asks nobody: a site admits clients while it is cut off from everything else.
pub trait Tokens: Debug + Send + Sync {
    /// What a token grants now. A refusal's words never quote the token.
    fn check(&self, wall_ms: u64, token: &str) -> Result<Grant, (Code, String)>;
}

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub enum Admission {
    /// They do not (`--dev`).
    Tokenless,
    /// By a token.
    Tokens(Arc<dyn Tokens>),
}

impl Admission {
    /// Until when a client may be here as this user, `mono_ms`; `None` for ever.
    pub(super) fn admit(&self, now: Now, user: &UserId, token: &str) -> Result<Option<u64>, (Code, String)> {
        let refused = |detail: String| Err((Code::Unauthenticated, detail));
        let Admission::Tokens(tokens) = self else { return Ok(None) };
        if token.is_empty() {
            return refused("token is empty: this site admits clients by token".to_owned());
        }
        if token.len() > limits::TOKEN_BYTES_MAX {
            return refused(format!("token has {} bytes, the limit is {}", token.len(), limits::TOKEN_BYTES_MAX));
        }
        let grant = tokens.check(now.wall_ms, token)?;
        if grant.user != *user {
            return refused("the token is another user's than the hello names: `sub` must be the user".to_owned());
        }
        Ok(Some(now.mono_ms + grant.until_ms.saturating_sub(now.wall_ms).min(LIFE_MAX_MS)))
    }
}
