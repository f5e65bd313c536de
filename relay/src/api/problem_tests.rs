use serde_json::{Value, json};

use super::*;

async fn written(problem: Problem) -> (Response<()>, Value) {
    let (head, body) = problem.into_response().into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 16).await.unwrap();
    (Response::from_parts(head, ()), serde_json::from_slice(&bytes).unwrap())
}

type Response<T> = axum::http::Response<T>;

#[tokio::test]
async fn a_problem_is_written_as_rfc_9457_wants_it() {
    let key = HeaderValue::from_static("k");
    let (head, body) = written(Problem::of(Code::Busy, "wait").field("body").key(key)).await;
    assert_eq!(head.status(), 429);
    assert_eq!(head.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(head.headers()[header::RETRY_AFTER], "1");
    assert_eq!(head.headers()["idempotency-key"], "k");
    let wanted = json!({
        "type": "https://causeway.chat/problems/Busy", "title": "A limit of this site is reached", "status": 429,
        "detail": "wait", "code": 203, "field": "body",
    });
    assert_eq!(body, wanted);
}

#[tokio::test]
async fn one_of_the_api_alone_has_no_code() {
    let (head, body) = written(Problem::own(StatusCode::NOT_FOUND, "NoSuchPath", "none")).await;
    assert_eq!(head.status(), 404);
    assert!(head.headers().get(header::RETRY_AFTER).is_none());
    assert_eq!(body["type"], "https://causeway.chat/problems/NoSuchPath");
    assert!(body.get("code").is_none() && body.get("field").is_none(), "{body}");
}

#[tokio::test]
async fn every_code_has_its_status() {
    let status = |code| match code {
        Code::Malformed | Code::DeviceMismatch | Code::RoomMismatch | Code::UnknownKind => 400,
        Code::Version | Code::ProtocolError => 400,
        Code::Unauthenticated | Code::TokenExpired => 401,
        Code::NotPermitted => 403,
        Code::UnknownRoom => 404,
        Code::IdConflict => 409,
        Code::TooLarge => 413,
        Code::StampAhead => 422,
        Code::Busy => 429,
        Code::NotReady | Code::ClockOff | Code::ShuttingDown | Code::Overloaded => 503,
    };
    for code in Code::ALL {
        let (head, body) = written(Problem::of(code, "")).await;
        assert_eq!(head.status(), status(code), "{code:?}");
        assert_eq!(body["code"], code.number());
        assert_eq!(body["type"], format!("https://causeway.chat/problems/{code:?}"));
        assert_eq!(head.headers().contains_key(header::RETRY_AFTER), status(code) == 429 || status(code) == 503);
        assert_eq!(head.headers().contains_key(header::WWW_AUTHENTICATE), status(code) == 401);
    }
}
