//! Tokens of a development cluster: a key, its public half as a JWKS file, and what it signs. In production an identity
//! provider does this, and a relay never sees a private key.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_protocol::UserId;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use serde::Serialize;

use crate::certs::write;
use crate::clock::wall_ms;

/// The `iss` of development tokens.
pub const DEV_ISSUER: &str = "causeway-dev";
/// The `aud` of development tokens.
pub const DEV_AUDIENCE: &str = "causeway";
/// The private key's file.
const KEY_FILE: &str = "token.key";
/// The public keys' file.
const JWKS_FILE: &str = "jwks.json";
/// Bytes of an Ed25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// What a development token says.
#[derive(Clone, Debug, Serialize)]
pub struct DevClaims {
    sub: String,
    iss: String,
    aud: String,
    /// Seconds since the Unix epoch.
    exp: u64,
    /// A back end's, that may act as any user over the API.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    causeway_service: bool,
}

impl DevClaims {
    /// Good for so many seconds from now.
    ///
    /// # Errors
    /// The user's name cannot be one.
    pub fn from_now(user: String, issuer: String, audience: String, seconds: u64) -> Result<Self> {
        UserId::new(&user).context("`--user` cannot be used")?;
        let exp = wall_ms() / 1_000 + seconds;
        Ok(Self { sub: user, iss: issuer, aud: audience, exp, causeway_service: false })
    }

    /// The same, for a back end that may act as any user over the API, or not.
    pub fn service(self, is_service: bool) -> Self {
        Self { causeway_service: is_service, ..self }
    }
}

/// Signs claims with the Ed25519 key of a PEM file.
///
/// # Errors
/// The file is not readable or holds no such key.
pub fn dev_token(key: &Path, claims: &DevClaims) -> Result<String> {
    let pair = pair(key)?;
    let header = Header { kid: Some(key_id(&pair)), ..Header::new(Algorithm::EdDSA) };
    let signing = EncodingKey::from_ed_der(pair.serialized_der());
    jsonwebtoken::encode(&header, claims, &signing).with_context(|| format!("{} cannot sign", key.display()))
}

/// Writes `token.key` and `jwks.json`; a key that is there already stays.
pub(crate) fn write_dev_keys(out: &Path) -> Result<()> {
    let path = out.join(KEY_FILE);
    let pair = if path.exists() {
        pair(&path)?
    } else {
        let pair = KeyPair::generate_for(&PKCS_ED25519).context("cannot make the tokens' key")?;
        write(&path, &pair.serialize_pem(), 0o600)?;
        pair
    };
    let public = pair.der_bytes();
    if public.len() != PUBLIC_KEY_BYTES {
        bail!("{} is no Ed25519 key: remove it, and a new one is made", path.display());
    }
    let jwk = serde_json::json!({
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key_id(&pair), "x": URL_SAFE_NO_PAD.encode(public),
    });
    write(&out.join(JWKS_FILE), &format!("{:#}\n", serde_json::json!({ "keys": [jwk] })), 0o644)
}

fn pair(path: &Path) -> Result<KeyPair> {
    let pem = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    KeyPair::from_pem(&pem)
        .with_context(|| format!("{} holds no private key: `causeway-relay dev-certs` writes one", path.display()))
}

/// Follows from the key, so that token and JWKS agree on it.
fn key_id(pair: &KeyPair) -> String {
    let hash = causeway_protocol::hash16("causeway/token-key", &[pair.der_bytes()]);
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
