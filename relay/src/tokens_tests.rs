use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};
use serde_json::{Value, json};

use super::*;

/// The site's clock in these tests, ms since the Unix epoch.
const NOW_MS: u64 = 1_700_000_000_000;
const NOW_S: u64 = NOW_MS / 1_000;

/// A key pair of an issuer: what it signs with, and its public JWK.
struct Issuer {
    algorithm: Algorithm,
    signing: EncodingKey,
    jwk: Value,
}

fn b64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn ed25519(kid: &str) -> Issuer {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(pair.der_bytes()) });
    Issuer { algorithm: Algorithm::EdDSA, signing: EncodingKey::from_ed_der(&pair.serialize_der()), jwk }
}

fn p256(kid: &str) -> Issuer {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    // An uncompressed point: 4, x, y.
    let (x, y) = pair.der_bytes()[1..].split_at(32);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": b64(x), "y": b64(y) });
    Issuer { algorithm: Algorithm::ES256, signing: EncodingKey::from_ec_der(&pair.serialize_der()), jwk }
}

/// A key that was made for these tests: making one takes long.
fn rsa(kid: &str) -> Issuer {
    let der = STANDARD.decode(include_str!("../testdata/rsa2048.pkcs1.b64").trim()).unwrap();
    let signing = EncodingKey::from_rsa_der(&der);
    let jwk = Jwk::from_encoding_key(&signing, Algorithm::RS256).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(kid);
    Issuer { algorithm: Algorithm::RS256, signing, jwk }
}

impl Issuer {
    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.signing).unwrap()
    }
}

fn good_claims() -> Value {
    json!({ "sub": "ann", "iss": "login", "aud": "causeway", "exp": NOW_S + 60 })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = good_claims();
    change(&mut claims);
    claims
}

fn file_of(jwks: &[&Value]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "keys": jwks }).to_string()).unwrap();
    file
}

/// In one step, as an operator should do it.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, path).unwrap();
}

fn config(path: &Path) -> TokenConfig {
    let (issuer, audience) = ("login".to_owned(), "causeway".to_owned());
    TokenConfig { keys: path.to_owned(), issuer, audience, leeway: Duration::from_secs(30) }
}

fn keys_of(jwks: &[&Value]) -> TokenKeys {
    TokenKeys::load(config(file_of(jwks).path())).unwrap()
}

fn code_of(keys: &TokenKeys, token: &str) -> (Code, String) {
    keys.check(NOW_MS, token).expect_err("must be refused")
}

#[test]
fn every_algorithm_is_accepted_with_and_without_a_key_id() {
    let issuers = [ed25519("a"), p256("b"), rsa("c")];
    let keys = keys_of(&issuers.each_ref().map(|issuer| &issuer.jwk));
    for (issuer, kid) in issuers.iter().zip(["a", "b", "c"]) {
        for kid in [Some(kid), None] {
            let grant = keys.check(NOW_MS, &issuer.sign(kid, &good_claims())).unwrap();
            assert_eq!(grant.user.as_str(), "ann");
            assert_eq!(grant.until_ms, (NOW_S + 60 + 30) * 1_000, "exp and the leeway");
        }
    }
}

#[test]
fn who_may_sign_what() {
    let (known, stranger) = (ed25519("a"), ed25519("a"));
    let keys = keys_of(&[&known.jwk]);
    let (code, words) = code_of(&keys, &stranger.sign(Some("a"), &good_claims()));
    assert!(code == Code::Unauthenticated && words.contains("no key"), "{words}");
    let (_, words) = code_of(&keys, &known.sign(Some("z"), &good_claims()));
    assert!(words.contains("no key"), "a key id that is not here: {words}");
    // A changed claim breaks the signature.
    let token = known.sign(Some("a"), &good_claims());
    let [head, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
    let forged = format!("{head}.{}.{signature}", b64(with(|c| c["sub"] = json!("root")).to_string().as_bytes()));
    assert!(code_of(&keys, &forged).1.contains("no key"));
}

#[test]
fn the_key_says_the_algorithm_and_not_the_token() {
    let rsa = rsa("a");
    let keys = keys_of(&[&rsa.jwk]);
    // A public key as a shared secret, and no signature at all.
    let secret = EncodingKey::from_secret(rsa.jwk["n"].as_str().unwrap().as_bytes());
    let symmetric = encode(&Header::new(Algorithm::HS256), &good_claims(), &secret).unwrap();
    assert_eq!(code_of(&keys, &symmetric).0, Code::Unauthenticated);
    let claims = b64(good_claims().to_string().as_bytes());
    let none = format!("{}.{claims}.", b64(br#"{"alg":"none","typ":"JWT"}"#));
    assert_eq!(code_of(&keys, &none).0, Code::Unauthenticated);
}

#[test]
fn claims_are_checked_and_named() {
    let issuer = ed25519("a");
    let keys = keys_of(&[&issuer.jwk]);
    let cases = [
        (with(|c| c["aud"] = json!("another")), Code::Unauthenticated, "`aud`"),
        (with(|c| c["iss"] = json!("another")), Code::Unauthenticated, "`iss`"),
        (with(|c| drop(c.as_object_mut().unwrap().remove("aud"))), Code::Unauthenticated, "`aud`"),
        (with(|c| drop(c.as_object_mut().unwrap().remove("iss"))), Code::Unauthenticated, "`iss`"),
        (with(|c| drop(c.as_object_mut().unwrap().remove("exp"))), Code::Unauthenticated, "`exp`"),
        (with(|c| drop(c.as_object_mut().unwrap().remove("sub"))), Code::Unauthenticated, "`sub`"),
        (with(|c| c["sub"] = json!("")), Code::Unauthenticated, "`sub`"),
        (with(|c| c["exp"] = json!("soon")), Code::Unauthenticated, "`exp`"),
        (with(|c| c["nbf"] = json!(NOW_S + 31)), Code::Unauthenticated, "`nbf`"),
        (with(|c| c["exp"] = json!(NOW_S - 30)), Code::TokenExpired, "expired"),
    ];
    for (claims, code, words) in cases {
        let token = issuer.sign(Some("a"), &claims);
        let (got, said) = code_of(&keys, &token);
        assert!(got == code && said.contains(words), "{claims}: {got:?} {said}");
        assert!(!said.contains(&token));
    }
    let fine = [
        with(|c| c["nbf"] = json!(NOW_S + 30)),
        with(|c| c["exp"] = json!(NOW_S - 29)),
        with(|c| c["exp"] = json!(NOW_S as f64 + 0.5)),
        with(|c| c["aud"] = json!(["other", "causeway"])),
    ];
    for claims in fine {
        keys.check(NOW_MS, &issuer.sign(Some("a"), &claims)).unwrap_or_else(|e| panic!("{claims}: {e:?}"));
    }
}

#[test]
fn a_service_is_what_says_so_and_nothing_else() {
    let issuer = ed25519("a");
    let keys = keys_of(&[&issuer.jwk]);
    let is_service = |claims: &Value| keys.bearer(NOW_MS, &issuer.sign(None, claims)).expect("good").is_service;
    assert!(!is_service(&good_claims()));
    assert!(is_service(&with(|c| c["causeway_service"] = json!(true))));
    for other in [json!(false), json!("true"), json!(1), json!(null), json!([true])] {
        assert!(!is_service(&with(|c| c["causeway_service"] = other.clone())), "{other}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let keys = keys_of(&[&ed25519("a").jwk]);
    for token in ["x", "..", "a.b.c", "\u{0}\u{0}", &"=".repeat(5_000)] {
        assert_eq!(code_of(&keys, token).0, Code::Unauthenticated, "{token:.10}");
    }
}

#[test]
fn a_file_that_cannot_be_used_names_the_key_and_the_fix() {
    let good = ed25519("a").jwk;
    let private = json!({ "kty": "OKP", "crv": "Ed25519", "x": good["x"], "d": "AAAA" });
    let secret = json!({ "kty": "oct", "k": "AAAA" });
    let other_alg = json!({ "kty": "OKP", "crv": "Ed25519", "x": good["x"], "alg": "ES256" });
    let p384 = json!({ "kty": "EC", "crv": "P-384", "x": b64(&[1; 48]), "y": b64(&[1; 48]) });
    let of_bytes = |bytes: usize| json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(&vec![7; bytes]) });
    let (short, long) = (of_bytes(20), of_bytes(33));
    let cases = [
        (json!({ "keys": [] }).to_string(), "0 keys"),
        (json!({ "keys": [good, private] }).to_string(), "public"),
        (json!({ "keys": [secret] }).to_string(), "public"),
        (json!({ "keys": [good, other_alg] }).to_string(), "keys[1]: its `alg` must be EdDSA"),
        (json!({ "keys": [short] }).to_string(), "keys[0]: its `x` must be 32 bytes"),
        (json!({ "keys": [long] }).to_string(), "keys[0]: its `x` must be 32 bytes"),
        (json!({ "keys": [p384] }).to_string(), "keys[0]: its type"),
        (json!({ "keys": vec![good.clone(); KEYS_MAX + 1] }).to_string(), "33 keys"),
        ("nonsense".to_owned(), "no JSON"),
        ("{}".to_owned(), "no JWKS"),
    ];
    for (text, words) in cases {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let error = TokenKeys::load(config(file.path())).expect_err(words).to_string();
        assert!(error.contains("`token_keys`") && error.contains(words), "{error}");
    }
    let error = TokenKeys::load(config(Path::new("/nonexistent/jwks.json"))).expect_err("no file").to_string();
    assert!(error.contains("/nonexistent/jwks.json"), "{error}");
}

#[tokio::test]
async fn a_new_file_brings_its_keys_and_a_bad_one_changes_nothing() {
    let (old, new) = (ed25519("a"), p256("b"));
    let file = file_of(&[&old.jwk]);
    let keys = Arc::new(TokenKeys::load(config(file.path())).unwrap());
    let (told, mut tries) = tokio::sync::mpsc::unbounded_channel();
    let following =
        tokio::spawn(keys.clone().follow(move |result| told.send(result.map_err(|e| e.to_string())).unwrap()));
    let (from_old, from_new) = (old.sign(None, &good_claims()), new.sign(None, &good_claims()));
    assert!(keys.check(NOW_MS, &from_old).is_ok() && keys.check(NOW_MS, &from_new).is_err());

    replace(file.path(), &json!({ "keys": [old.jwk, new.jwk] }).to_string());
    assert_eq!(tries.recv().await, Some(Ok(2)));
    assert!(keys.check(NOW_MS, &from_old).is_ok() && keys.check(NOW_MS, &from_new).is_ok(), "both while they overlap");

    replace(file.path(), "{");
    assert!(tries.recv().await.unwrap().is_err());
    assert_eq!(keys.count(), 2);

    replace(file.path(), &json!({ "keys": [new.jwk] }).to_string());
    assert_eq!(tries.recv().await, Some(Ok(1)));
    assert!(keys.check(NOW_MS, &from_old).is_err() && keys.check(NOW_MS, &from_new).is_ok());
    following.abort();
}
