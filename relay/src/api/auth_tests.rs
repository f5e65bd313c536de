use axum::http::HeaderValue;

use super::*;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn headers(all: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

#[test]
fn only_a_service_acts_as_somebody_else() {
    let (ann, bob) = (user("ann"), user("bob"));
    assert_eq!(acting(ann.clone(), false, None).unwrap(), Caller { sub: ann.clone(), user: ann.clone() });
    assert_eq!(acting(ann.clone(), true, None).unwrap(), Caller { sub: ann.clone(), user: ann.clone() });
    assert_eq!(acting(ann.clone(), true, Some(bob.clone())).unwrap(), Caller { sub: ann.clone(), user: bob.clone() });
    assert_eq!(acting(ann.clone(), false, Some(bob)).unwrap_err().name(), "NotPermitted");
    assert_eq!(acting(ann.clone(), false, Some(ann)).unwrap_err().name(), "NotPermitted");
}

#[test]
fn the_token_is_what_comes_after_bearer() {
    for value in ["Bearer abc", "bearer abc", "BEARER  abc "] {
        assert_eq!(bearer_token(&headers(&[("authorization", value.as_bytes())])).unwrap(), "abc", "{value}");
    }
    let long = format!("Bearer {}", "x".repeat(limits::TOKEN_BYTES_MAX + 1));
    for value in ["abc", "Basic abc", "Bearer", &long] {
        let refused = bearer_token(&headers(&[("authorization", value.as_bytes())])).unwrap_err();
        assert_eq!(refused.name(), "Unauthenticated", "{value}");
        assert!(!format!("{refused:?}").contains("abc"), "a token is not quoted");
    }
    assert_eq!(bearer_token(&headers(&[])).unwrap_err().name(), "Unauthenticated");
    let twice = headers(&[("authorization", b"Bearer a"), ("authorization", b"Bearer b")]);
    assert_eq!(bearer_token(&twice).unwrap_err().name(), "Malformed");
}

#[test]
fn a_user_is_named_in_utf_8() {
    assert_eq!(named_user(&headers(&[])).unwrap(), None);
    let name = "박".as_bytes();
    assert_eq!(named_user(&headers(&[("causeway-user", name)])).unwrap(), Some(user("박")));
    let long = [b'x'; limits::USER_BYTES_MAX + 1];
    for bad in [&b"\xff"[..], b"", b"a\tb", &long] {
        assert_eq!(named_user(&headers(&[("causeway-user", bad)])).unwrap_err().name(), "Malformed", "{bad:?}");
    }
    let twice = headers(&[("causeway-user", b"ann"), ("causeway-user", b"bob")]);
    assert_eq!(named_user(&twice).unwrap_err().name(), "Malformed");
}
