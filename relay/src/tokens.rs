//! Clients' tokens: JSON Web Tokens (RFC 7519), checked with the public keys of a file. No other site and no network
//! service is asked, so clients get in while everything else is out of reach.
//!
//! The key says which algorithm a token is signed with, never the token (RFC 8725, 3.1): Ed25519 keys EdDSA, P-256
//! keys ES256, RSA keys RS256. Keys are replaced by replacing the file: publish the new key beside the old one,
//! sign with it, take the old one out when its last token has ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_protocol::{Code, UserId};
use causeway_replica::session::{Grant, Tokens};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use crate::config::TokenConfig;

/// A file of keys is no larger.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Keys of a file. A token without a key id is tried with each.
const KEYS_MAX: usize = 32;
/// Bytes of an Ed25519 public key.
const ED25519_KEY_BYTES: usize = 32;
/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`token_keys` = {path}: {reason}")]
pub struct TokenKeysError {
    path: PathBuf,
    reason: String,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What tells one state of the file from another.
pub(crate) type Version = (u64, Option<SystemTime>);

/// Checks tokens by the keys of a file.
pub struct TokenKeys {
    config: TokenConfig,
    keys: ArcSwap<Vec<Key>>,
    /// Of the file that was loaded.
    loaded: Option<Version>,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKeys").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The claims that are looked at; `iss` and `aud` the library compares.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since the Unix epoch; fractions are allowed.
    exp: f64,
    nbf: Option<f64>,
    /// Anything else than `true` is as good as absent.
    #[serde(default)]
    causeway_service: serde_json::Value,
}

/// What a token says of who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// To whom, and until when.
    pub grant: Grant,
    /// Whether it is a back end's that may act as any user, over the API.
    pub is_service: bool,
}

impl TokenKeys {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or a key in it cannot be used.
    pub fn load(config: TokenConfig) -> Result<Self, TokenKeysError> {
        // Before it is read: what changes meanwhile is read once more.
        let loaded = version(&config.keys);
        let keys = read(&config.keys)?;
        Ok(Self { config, keys: ArcSwap::from_pointee(keys), loaded })
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.load().len()
    }

    /// Reads the file again whenever it has changed, for ever; `tell` hears of each try. A file that cannot be used
    /// changes nothing. Replace the file by renaming another one, or it may be read half written, and then once more.
    pub async fn follow(self: Arc<Self>, tell: impl Fn(Result<usize, TokenKeysError>)) {
        let mut seen = self.loaded;
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let tokens = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let now = version(&tokens.config.keys);
                (now != seen).then(|| (now, read(&tokens.config.keys)))
            });
            let Some((now, result)) = looked.await.expect("a panic aborts the process") else { continue };
            seen = now;
            tell(result.map(|keys| {
                let count = keys.len();
                self.keys.store(Arc::new(keys));
                count
            }));
        }
    }

    fn claims(&self, token: &str) -> Result<Claims, String> {
        let header = decode_header(token).map_err(|_| "it is no JWT".to_owned())?;
        let mut words = "no key of this site has signed it".to_owned();
        for key in self.keys.load().iter() {
            if header.kid.is_some() && key.id != header.kid || header.alg != key.algorithm {
                continue;
            }
            let mut validation = Validation::new(key.algorithm);
            validation.set_issuer(&[&self.config.issuer]);
            validation.set_audience(&[&self.config.audience]);
            validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
            // By the site's clock, as it was handed in.
            (validation.validate_exp, validation.validate_nbf) = (false, false);
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(e) => {
                    words = match e.kind() {
                        // Another key may have signed it.
                        ErrorKind::InvalidSignature => continue,
                        ErrorKind::InvalidIssuer => format!("`iss` must be {:?}", self.config.issuer),
                        ErrorKind::InvalidAudience => format!("`aud` must be or hold {:?}", self.config.audience),
                        ErrorKind::MissingRequiredClaim(claim) => format!("`{claim}` is missing"),
                        _ => "its claims cannot be read: `sub` is a string, `exp` and `nbf` are numbers".to_owned(),
                    };
                }
            }
        }
        Err(words)
    }
}

impl TokenKeys {
    /// What a token says. A refusal's words never quote it.
    pub fn bearer(&self, wall_ms: u64, token: &str) -> Result<Bearer, (Code, String)> {
        let refused = |words: &str| (Code::Unauthenticated, format!("the token is refused: {words}"));
        let claims = self.claims(token).map_err(|words| refused(&words))?;
        let leeway_ms = self.config.leeway.as_millis() as f64;
        if claims.nbf.is_some_and(|nbf| nbf * 1e3 - leeway_ms > wall_ms as f64) {
            return Err(refused("`nbf` lies ahead"));
        }
        // Saturates: what is no time, or beyond all time, has passed or never will.
        let until_ms = (claims.exp * 1e3 + leeway_ms) as u64;
        if until_ms <= wall_ms {
            return Err((Code::TokenExpired, "the token has expired: come again with a newer one".to_owned()));
        }
        let user = UserId::new(&claims.sub).map_err(|e| refused(&format!("`sub` is no user: {e}")))?;
        let is_service = claims.causeway_service == serde_json::Value::Bool(true);
        Ok(Bearer { grant: Grant { user, until_ms }, is_service })
    }
}

impl Tokens for TokenKeys {
    fn check(&self, wall_ms: u64, token: &str) -> Result<Grant, (Code, String)> {
        self.bearer(wall_ms, token).map(|bearer| bearer.grant)
    }
}

pub(crate) fn version(path: &Path) -> Option<Version> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.len(), file.modified().ok()))
}

fn read(path: &Path) -> Result<Vec<Key>, TokenKeysError> {
    let error = |reason: String| TokenKeysError { path: path.to_owned(), reason };
    let length = std::fs::metadata(path).map_err(|e| error(e.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(error(format!("it has {length} bytes, the limit is {FILE_BYTES_MAX}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
    keys(&text).map_err(error)
}

/// The keys of a JWKS text; the error names the key and the fix.
fn keys(text: &str) -> Result<Vec<Key>, String> {
    let raw: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
    let private = |key: &serde_json::Value| key.get("d").is_some() || key.get("k").is_some();
    if raw.get("keys").and_then(|keys| keys.as_array()).is_some_and(|keys| keys.iter().any(private)) {
        return Err("it holds a private or secret key: publish only public ones (no `d`, no `k`)".to_owned());
    }
    let set: JwkSet = serde_json::from_value(raw).map_err(|e| format!("it is no JWKS: {e}"))?;
    if set.keys.is_empty() || set.keys.len() > KEYS_MAX {
        return Err(format!("it holds {} keys: use 1 to {KEYS_MAX}", set.keys.len()));
    }
    set.keys.iter().enumerate().map(|(at, jwk)| key(jwk).map_err(|e| format!("keys[{at}]: {e}"))).collect()
}

fn key(jwk: &Jwk) -> Result<Key, String> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return Err("its type is not supported: use Ed25519 (EdDSA), P-256 (ES256) or RSA (RS256)".to_owned()),
    };
    if jwk.common.key_algorithm.is_some_and(|said| said != named) {
        return Err(format!("its `alg` must be {algorithm:?} or absent"));
    }
    if let AlgorithmParameters::OctetKeyPair(key) = &jwk.algorithm
        && URL_SAFE_NO_PAD.decode(&key.x).is_ok_and(|x| x.len() != ED25519_KEY_BYTES)
    {
        // The library takes the first 32 bytes, and panics where there are fewer.
        return Err(format!("its `x` must be {ED25519_KEY_BYTES} bytes"));
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|e| format!("it cannot be used: {e}"))?;
    Ok(Key { id: jwk.common.key_id.clone(), algorithm, key })
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
