//! What a relay reads of files, and the tokens that it checks with them: whatever the bytes, an error or something that can
//! be used.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_protocol::{SiteId, UserId};
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SerialNumber};
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::config::{Config, SITES_MAX, TokenConfig};
use crate::settings::Settings;
use crate::tls::{Identity, site_of_certificate};
use crate::tokens::TokenKeys;

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "causeway";
/// Keys of a JWKS file, at most.
const KEYS_MAX: usize = 32;
/// The site's clock, ms since the Unix epoch.
const NOW_MS: u64 = 1_700_000_000_000;
/// Before the Ed25519 key in PKCS#8.
const PKCS8: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// A key that is no secret: the same in each run, so that what is found is found again.
fn key(seed: u8) -> KeyPair {
    let der = [&PKCS8[..], &[seed; 32]].concat();
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der)).expect("an Ed25519 key")
}

/// The site's certificate, which is its own authority, and its key, as PEM.
pub(crate) fn site_pair() -> (String, String) {
    (site_certificate().pem(), key(1).serialize_pem())
}

/// The certificate as DER.
pub(crate) fn site_der() -> Vec<u8> {
    site_certificate().der().to_vec()
}

fn site_certificate() -> rcgen::Certificate {
    let mut params = CertificateParams::new(vec!["site-1.causeway.internal".to_owned()]).expect("a name");
    params.serial_number = Some(SerialNumber::from(1));
    params.self_signed(&key(1)).expect("a certificate")
}

/// A JWKS file of the key that signs tokens here.
pub(crate) fn own_jwks() -> String {
    let public = URL_SAFE_NO_PAD.encode(key(2).der_bytes());
    format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"a","x":"{public}"}}]}}"#)
}

/// Signs header and claims, whatever they are.
pub(crate) fn signed(header: &[u8], claims: &[u8]) -> String {
    static SIGNING: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_ed_der(key(2).serialized_der()));
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &SIGNING, Algorithm::EdDSA).expect("a signature");
    format!("{message}.{signature}")
}

/// The header that goes with the key.
pub(crate) const HEADER: &[u8] = br#"{"typ":"JWT","alg":"EdDSA","kid":"a"}"#;

/// A folder for the files of this process.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = FOLDER.path().join(name);
    std::fs::write(&path, content).expect("a temporary file");
    path
}

fn token_config(keys: PathBuf) -> TokenConfig {
    let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
    TokenConfig { keys, issuer, audience, leeway: Duration::from_secs(30) }
}

/// A relay's configuration file.
pub fn config_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let settings = match Settings::from_toml(text) {
        Ok(settings) => settings,
        Err(e) => return assert!(!e.to_string().is_empty()),
    };
    assert_eq!(settings.clone().over(Settings::default()), settings);
    assert_eq!(Settings::default().over(settings.clone()), settings);
    let config = match Config::from_settings(settings) {
        Ok(config) => config,
        Err(e) => return assert!(!e.to_string().is_empty()),
    };
    let sites = config.sites();
    assert!(sites.len() <= SITES_MAX && sites.windows(2).all(|pair| pair[0] < pair[1]), "{sites:?}");
    assert!(config.site.0 > 0 && config.shards > 0 && config.threads > 0 && config.io_threads > 0);
    assert!(config.admin_listen.ip().is_loopback());
    assert!(config.tokens.is_some() || config.listen.ip().is_loopback(), "nobody needs a token, from anywhere");
}

/// A file of the keys that sign tokens.
pub fn jwks(data: &[u8]) {
    static SIGNED: LazyLock<String> = LazyLock::new(|| signed(HEADER, b"{}"));
    match TokenKeys::load(token_config(file("jwks.json", data))) {
        Ok(keys) => {
            assert!((1..=KEYS_MAX).contains(&keys.count()));
            assert!(keys.bearer(NOW_MS, &SIGNED).is_err(), "claims of nothing");
            // Signed by nobody: each kind of key has a look.
            for alg in ["EdDSA", "ES256", "RS256"] {
                let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#));
                let token = format!("{header}.e30.{}", URL_SAFE_NO_PAD.encode([1; 64]));
                assert!(keys.bearer(NOW_MS, &token).is_err(), "{alg}");
            }
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}

/// A token: a byte that says whether the rest is all of it, its claims, or header and claims with a zero byte between. The
/// last two are signed.
pub fn token(data: &[u8]) {
    static KEYS: LazyLock<TokenKeys> = LazyLock::new(|| {
        TokenKeys::load(token_config(file("own-jwks.json", own_jwks().as_bytes()))).expect("our own keys")
    });
    let Some((how, rest)) = data.split_first() else { return };
    let (token, claims) = match how % 3 {
        0 => (String::from_utf8_lossy(rest).into_owned(), None),
        1 => (signed(HEADER, rest), Some(rest)),
        _ => {
            let at = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let (header, claims) = (&rest[..at], rest.get(at + 1..).unwrap_or_default());
            (signed(header, claims), Some(claims))
        }
    };
    match KEYS.bearer(NOW_MS, &token) {
        Ok(bearer) => {
            assert!(bearer.grant.until_ms > NOW_MS, "it has ended");
            let Some(claims) = claims else { return };
            let claims: serde_json::Value = serde_json::from_slice(claims).expect("claims are JSON");
            let is = |name: &str, wanted: &str| match &claims[name] {
                serde_json::Value::Array(names) => names.iter().any(|name| name == wanted),
                name => name == wanted,
            };
            assert!(is("iss", ISSUER) && is("aud", AUDIENCE), "{claims}");
            assert!(claims["sub"].as_str().and_then(|sub| UserId::new(sub).ok()) == Some(bearer.grant.user));
            assert_eq!(bearer.is_service, claims["causeway_service"] == true);
        }
        // Logs show the words: what was sent must not stand in them.
        Err((_, words)) => assert!(token.len() < 64 || !words.contains(&token)),
    }
}

/// A PEM file: a byte that says whether it is the authority's, the certificate or the key; or the certificate as DER.
pub fn pem(data: &[u8]) {
    static PAIR: LazyLock<(String, String)> = LazyLock::new(site_pair);
    let Some((which, content)) = data.split_first() else { return };
    if which % 4 == 3 {
        assert!(site_of_certificate(content).is_none_or(|site| site.0 > 0));
        return;
    }
    let (cert, key) = (PAIR.0.as_bytes(), PAIR.1.as_bytes());
    let at = |turn: u8, good| if which % 4 == turn { content } else { good };
    let (ca, cert, key) = (file("ca.pem", at(0, cert)), file("cert.pem", at(1, cert)), file("site.key", at(2, key)));
    match Identity::load(SiteId(1), &ca, &cert, &key) {
        // What was loaded makes an endpoint, or says why not.
        Ok(identity) => {
            let _ = (identity.expires_s(), identity.server().is_ok(), identity.peer_client().is_ok());
        }
        Err(e) => assert!(!e.to_string().is_empty()),
    }
}
