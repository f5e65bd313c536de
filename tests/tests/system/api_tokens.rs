//! Who may call the API: tokens over TLS.

use serde_json::json;

use crate::api_client::Caller;
use crate::token_site::Site;

/// A path of the API with something in each place.
const PATHS: [(&str, &str); 21] = [
    ("POST", "/v1/rooms"),
    ("PUT", "/v1/direct/bob"),
    ("PATCH", "/v1/rooms/{room}"),
    ("PUT", "/v1/rooms/{room}/pins/{room}"),
    ("DELETE", "/v1/rooms/{room}/pins/{room}"),
    ("PUT", "/v1/rooms/{room}/name"),
    ("POST", "/v1/rooms/{room}/join"),
    ("POST", "/v1/rooms/{room}/leave"),
    ("POST", "/v1/rooms/{room}/erase"),
    ("POST", "/v1/erase"),
    ("POST", "/v1/rooms/{room}/knock"),
    ("DELETE", "/v1/rooms/{room}/knocks/bob"),
    ("PUT", "/v1/rooms/{room}/invitations/bob"),
    ("PUT", "/v1/rooms/{room}/members/bob/role"),
    ("DELETE", "/v1/rooms/{room}/members/bob"),
    ("PUT", "/v1/rooms/{room}/bans/bob"),
    ("DELETE", "/v1/rooms/{room}/bans/bob"),
    ("GET", "/v1/rooms/{room}/messages"),
    ("POST", "/v1/rooms/{room}/messages"),
    ("PATCH", "/v1/rooms/{room}/messages/{room}"),
    ("DELETE", "/v1/rooms/{room}/messages/{room}"),
];

fn bearing(caller: &Caller, token: &str) -> Caller {
    caller.with("Authorization", &format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_good_token_nothing_is_done_or_shown() {
    let site = Site::start().await;
    let nobody = site.api();
    assert_eq!(nobody.get("/v1/openapi.json").await.status, 200, "the document is for everybody");
    for (method, path) in PATHS {
        let path = path.replace("{room}", &"0".repeat(32));
        let answer = nobody.with("Causeway-User", "ann").call(method, &path, Some(json!({}))).await;
        let problem = answer.problem(401, "Unauthenticated");
        assert_eq!((answer.header("www-authenticate"), &problem["code"]), (Some("Bearer"), &json!(301)));
    }
    bearing(&nobody, "nonsense").post("/v1/rooms", json!({})).await.problem(401, "Unauthenticated");
    let other = site.mint("ann", &["--audience", "mail"]);
    bearing(&nobody, &other).post("/v1/rooms", json!({})).await.problem(401, "Unauthenticated");
    let short = site.mint("ann", &["--seconds", "1"]);
    site.has_ended("ann", &short).await;
    bearing(&nobody, &short).post("/v1/rooms", json!({})).await.problem(401, "TokenExpired");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_acts_as_whom_it_names_and_nobody_else_does() {
    let site = Site::start().await;
    let service = bearing(&site.api(), &site.mint("shop", &["--service"]));
    let ann = bearing(&site.api(), &site.mint("ann", &[]));

    let made = ann.post("/v1/rooms", json!({ "name": "lunch", "open": true })).await;
    let room = made.text("room");
    let join = format!("/v1/rooms/{room}/join");
    let messages = format!("/v1/rooms/{room}/messages");
    ann.with("Causeway-User", "bob").call("POST", &join, None).await.problem(403, "NotPermitted");
    ann.with("Causeway-User", "bob").get(&messages).await.problem(403, "NotPermitted");

    service.get(&messages).await.problem(403, "NotPermitted");
    let as_bob = service.with("Causeway-User", "bob");
    let joined = as_bob.call("POST", &join, None).await;
    assert_eq!(joined.status, 201, "{joined:?}");
    assert_eq!(as_bob.post(&messages, json!({ "text": "from bob" })).await.status, 201);
    let page = ann.get(&messages).await.json();
    let told: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|e| (e["kind"].clone(), e["user"].clone())).collect();
    assert_eq!(told, [("create", "ann"), ("join", "bob"), ("message", "bob")].map(|(k, u)| (json!(k), json!(u))));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stops_answers_what_it_has_taken_and_lets_go_of_the_rest() {
    let site = Site::start().await;
    let ann = bearing(&site.api(), &site.mint("ann", &[]));
    // A single site: no second one will ever have it, and the wait ends with the relay.
    let call = tokio::spawn(async move { ann.post("/v1/rooms?wait=replicated", json!({ "name": "lunch" })).await });
    site.until_metric("causeway_accepted_total 1").await;
    site.stop().await;
    let answer = call.await.unwrap();
    assert_eq!((answer.status, answer.text("durability")), (201, "stored".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_user_are_limited_as_the_sessions_are_and_those_of_a_back_end_are_not() {
    let site = Site::start_with("user_requests_per_s = 1").await;
    let ann = bearing(&site.api(), &site.mint("ann", &[]));
    let room = format!("/v1/rooms/{}/messages", "0".repeat(32));
    // A second's worth at once, and one more each second: one of many is too many, however slow the machine.
    let over = async {
        loop {
            let answer = ann.get(&room).await;
            if answer.status != 404 {
                return answer;
            }
        }
    };
    let over = crate::system::in_time("a call too many", over).await;
    let words = over.problem(429, "Busy")["detail"].to_string();
    assert!(words.contains("`user_requests_per_s`"), "{words}");
    assert_eq!(over.header("retry-after"), Some("1"));
    let service = bearing(&site.api(), &site.mint("shop", &["--service"])).with("Causeway-User", "ann");
    for _ in 0..20 {
        service.get(&room).await.problem(404, "UnknownRoom");
    }
    site.stop().await;
}
