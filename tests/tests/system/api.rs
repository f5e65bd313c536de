//! The HTTP API over real sockets and processes.

use std::collections::BTreeMap;

use causeway_protocol::RoomId;
use serde_json::{Value, json};

use crate::api_client::{Answer, Caller};
use crate::reader::Reader;
use crate::system::{System, in_time};

/// Somebody who calls the n-th site.
fn at(system: &System, site: usize, user: &str) -> Caller {
    Caller::plain(system.cluster.sites[site].api, user)
}

/// A UUIDv7 of so many ms from now, and this number.
fn key(from_now_ms: i64, number: u32) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis() as i64;
    let time = format!("{:012x}", now + from_now_ms);
    format!("{}-{}-7abc-8def-{number:012x}", &time[..8], &time[8..])
}

async fn room(caller: &Caller, body: Value) -> String {
    let made = caller.post("/v1/rooms", body).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.text("room")
}

fn done(answer: &Answer) -> String {
    assert!(answer.status == 201 || answer.status == 200, "{answer:?}");
    answer.text("id")
}

/// The events of a kind that a member is shown, the oldest first.
async fn events(caller: &Caller, room: &str, kind: &str) -> Vec<Value> {
    let page = caller.get(&format!("/v1/rooms/{room}/messages?limit=500")).await.json();
    let all = page["events"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
    all.into_iter().filter(|event| event["kind"] == kind).collect()
}

fn texts(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_made_again_at_another_site_is_one_message() {
    let mut system = System::start(3, false).await;
    let ann = at(&system, 0, "ann");
    let room = room(&ann.with("Idempotency-Key", &key(0, 1)), json!({ "name": "lunch", "open": true })).await;
    system.converged().await;

    let key = key(0, 2);
    let path = format!("/v1/rooms/{room}/messages");
    let say = |site: usize| at(&system, site, "ann").with("Idempotency-Key", &key);
    let (at_a, at_b) = (say(0), say(1));
    let first = at_a.post(&path, json!({ "text": "once" })).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.header("idempotency-key"), Some(key.as_str()));
    let id = done(&first);
    system.kill(0).await;
    let again = at_b.post(&path, json!({ "text": "once" })).await;
    assert_eq!((done(&again), again.text("room")), (id.clone(), room.clone()));
    at_b.post(&path, json!({ "text": "twice" })).await.problem(409, "IdConflict");
    system.start_again(0).await;
    system.converged().await;
    for site in 0..3 {
        let found = events(&at(&system, site, "ann"), &room, "message").await;
        assert_eq!(found.len(), 1, "site {}: {found:?}", site + 1);
        assert_eq!((&found[0]["id"], &found[0]["text"]), (&json!(id), &json!("once")), "site {}", site + 1);
        let replay =
            at(&system, site, "ann").with("Idempotency-Key", &key).post(&path, json!({ "text": "once" })).await;
        assert_eq!((replay.status, done(&replay)), (200, id.clone()), "site {}", site + 1);
        assert_eq!(replay.text("durability"), "replicated");
    }
    // It is a message as any other: the SDK's people see it.
    let mut eve = Reader::sign_in(&system, "eve", 2).await;
    in_time("stored", eve.client.join(RoomId::parse(&room).unwrap()).unwrap().stored()).await.unwrap();
    eve.until_it_reads(causeway_protocol::RequestId::parse(&id).unwrap(), "once").await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_how_durable_it_is_and_keys_are_checked() {
    let system = System::start(2, true).await;
    let ann = at(&system, 0, "ann");
    let room = room(&ann, json!({ "name": "lunch" })).await;
    let path = format!("/v1/rooms/{room}/messages");

    let replicated = ann.post(&format!("{path}?wait=replicated"), json!({ "text": "far" })).await;
    assert_eq!((replicated.status, replicated.text("durability")), (201, "replicated".into()));
    assert_eq!(replicated.json()["dot"]["site"], 1);
    system.cluster.proxies().expect("a proxied cluster").cut_between(0, 1);
    let stored = ann.post(&format!("{path}?wait=replicated"), json!({ "text": "near" })).await;
    assert_eq!((stored.status, stored.text("durability")), (201, "stored".into()));

    // The site makes a key where there is none, and with it the call is the same.
    let made = stored.header("idempotency-key").expect("a key").to_owned();
    let replay = ann.with("Idempotency-Key", &made).post(&path, json!({ "text": "near" })).await;
    assert_eq!((replay.status, done(&replay)), (200, done(&stored)));

    let with = |key: &str| ann.with("Idempotency-Key", key);
    let day_ms = 24 * 3_600_000;
    let old = with(&key(-day_ms - 60_000, 1)).post(&path, json!({ "text": "x" })).await.problem(422, "KeyTooOld");
    assert_eq!(old["field"], "Idempotency-Key");
    let ahead = with(&key(60_000, 1)).post(&path, json!({ "text": "x" })).await.problem(422, "StampAhead");
    assert_eq!((&ahead["field"], &ahead["code"]), (&json!("Idempotency-Key"), &json!(202)));
    done(&with(&key(-day_ms + 60_000, 1)).post(&path, json!({ "text": "yesterday" })).await);
    let no_key = with("lunch").post(&path, json!({ "text": "x" })).await.problem(400, "Malformed");
    assert_eq!(no_key["field"], "Idempotency-Key");
    let twice = with(&key(0, 1)).with("Idempotency-Key", &key(0, 2)).post(&path, json!({ "text": "x" })).await;
    twice.problem(400, "Malformed");
    assert_eq!(texts(&events(&ann, &room, "message").await), ["yesterday", "far", "near"]);
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_keeps_a_room() {
    let system = System::start(1, false).await;
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|user| at(&system, 0, user));
    let room = room(&ann, json!({ "name": "staff" })).await;
    let of = |rest: &str| format!("/v1/rooms/{room}{rest}");
    done(&ann.call("PUT", &of("/name"), Some(json!({ "name": "all staff" }))).await);

    // Closed: by invitation only.
    let refused = bob.post(&of("/join"), json!({})).await.problem(404, "UnknownRoom");
    assert_eq!(refused["code"], 200);
    bob.post(&of("/messages"), json!({ "text": "hello?" })).await.problem(404, "UnknownRoom");
    bob.get(&of("/messages")).await.problem(404, "UnknownRoom");
    for user in ["bob", "eve", "%EB%B0%95"] {
        done(&ann.call("PUT", &of(&format!("/invitations/{user}")), None).await);
    }
    for caller in [&bob, &eve, &at(&system, 0, "박")] {
        done(&caller.call("POST", &of("/join"), None).await);
    }
    done(&at(&system, 0, "박").call("POST", &of("/leave"), None).await);

    let sent = done(&bob.post(&of("/messages"), json!({ "text": "hello" })).await);
    let reply = json!({ "content_type": "image/png", "content_base64": "iVBORw0K", "reply_to": sent });
    done(&eve.post(&of("/messages"), reply).await);
    done(&bob.call("PATCH", &of(&format!("/messages/{sent}")), Some(json!({ "text": "Hello" }))).await);
    eve.call("DELETE", &of(&format!("/messages/{sent}")), None).await.problem(403, "NotPermitted");

    eve.call("DELETE", &of("/members/bob"), None).await.problem(403, "NotPermitted");
    done(&ann.call("PUT", &of("/members/bob/role"), Some(json!({ "role": "moderator" }))).await);
    done(&bob.call("DELETE", &of("/members/eve?reason=noise"), None).await);
    let until = json!({ "reason": "again", "until": 4_000_000_000_000_u64 });
    done(&bob.call("PUT", &of("/bans/eve"), Some(until)).await);
    done(&bob.call("DELETE", &of("/bans/eve"), None).await);
    done(&bob.call("PUT", &of("/bans/mallory"), None).await);

    // Who may not join asks, where the room lets people.
    let zoe = at(&system, 0, "zoe");
    zoe.post(&of("/knock"), json!({})).await.problem(404, "UnknownRoom");
    done(&ann.call("PATCH", &of(""), Some(json!({ "knock": true }))).await);
    zoe.post(&of("/join"), json!({})).await.problem(403, "NotPermitted");
    done(&zoe.call("POST", &of("/knock"), None).await);
    done(&bob.call("DELETE", &of("/knocks/zoe"), None).await);
    assert_eq!(events(&bob, &room, "decline").await[0]["member"], json!("zoe"));
    done(&zoe.call("POST", &of("/knock"), None).await);
    done(&bob.call("PUT", &of("/invitations/zoe"), None).await);
    done(&zoe.call("POST", &of("/join"), None).await);

    // Who goes may take all along.
    let said = done(&zoe.post(&of("/messages"), json!({ "text": "never mind" })).await);
    done(&zoe.call("POST", &of("/erase"), None).await);
    let gone = events(&ann, &room, "message").await.into_iter().find(|event| event["id"] == json!(said));
    assert_eq!(gone.expect("the message")["content"], json!(null));
    at(&system, 0, "nobody").post(&of("/erase"), json!({})).await.problem(403, "NotPermitted");
    done(&at(&system, 0, "박").call("POST", "/v1/erase", None).await);

    let profile = json!({ "topic": "who is on duty", "open": true, "writers": "moderator" });
    bob.call("PATCH", &of(""), Some(profile.clone())).await.problem(403, "NotPermitted");
    done(&ann.call("PATCH", &of(""), Some(profile)).await);
    ann.call("PATCH", &of(""), Some(json!({ "writers": "everybody" }))).await.problem(400, "Malformed");
    ann.call("PATCH", &of(""), Some(json!({}))).await.problem(400, "Malformed");
    ann.call("PATCH", &of(""), Some(json!({ "retention_ms": 999 }))).await.problem(400, "Malformed");
    bob.post(&of("/messages"), json!({ "text": "brief", "lifetime_ms": 999 })).await.problem(400, "Malformed");
    done(&ann.call("PATCH", &of(""), Some(json!({ "retention_ms": 7_200_000 }))).await);
    done(&bob.post(&of("/messages"), json!({ "text": "brief", "lifetime_ms": 3_600_000 })).await);
    let brief = events(&ann, &room, "message").await.pop().expect("the message");
    let kept_ms = brief["expires"].as_u64().expect("a time") - brief["at"].as_u64().expect("a time");
    assert!((3_600_000..3_700_000).contains(&kept_ms), "{brief}");
    let sets = events(&bob, &room, "set_profile").await;
    let set = sets.iter().find(|set| !set["topic"].is_null()).expect("the topic");
    assert_eq!(
        (&set["topic"], &set["open"], &set["writers"]),
        (&json!("who is on duty"), &json!(true), &json!("moderator"))
    );
    done(&bob.call("PUT", &of(&format!("/pins/{sent}")), None).await);
    done(&bob.call("DELETE", &of(&format!("/pins/{sent}")), None).await);
    assert_eq!(events(&ann, &room, "unpin").await[0]["target"], json!(sent));

    let messages = events(&bob, &room, "message").await;
    assert_eq!((&messages[0]["text"], &messages[0]["content_type"]), (&json!("hello"), &json!("text/plain")));
    assert_eq!((&messages[1]["content_base64"], &messages[1]["reply_to"]), (&json!("iVBORw0K"), &json!(sent)));
    let edits = events(&bob, &room, "edit").await;
    assert_eq!((&edits[0]["text"], &edits[0]["target"]), (&json!("Hello"), &json!(sent)));
    let kicks = events(&ann, &room, "kick").await;
    assert_eq!((&kicks[0]["member"], &kicks[0]["reason"]), (&json!("eve"), &json!("noise")));
    assert_eq!(events(&ann, &room, "ban").await[0]["until"], 4_000_000_000_000_u64);
    assert_eq!(events(&ann, &room, "set_role").await[0]["role"], "moderator");
    assert_eq!(events(&ann, &room, "leave").await[0]["user"], "박");

    done(&bob.call("DELETE", &of(&format!("/messages/{sent}")), None).await);
    let gone = async {
        while events(&bob, &room, "message").await[0].get("text").is_some() {
            tokio::task::yield_now().await;
        }
    };
    in_time("the content goes", gone).await;
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_comes_in_pages_both_ways() {
    let system = System::start(1, false).await;
    let ann = at(&system, 0, "ann");
    let room = room(&ann, json!({ "name": "lunch" })).await;
    let path = format!("/v1/rooms/{room}/messages");
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(done(&ann.post(&path, json!({ "text": format!("말 {n}") })).await));
    }
    for direction in ["forward", "backward"] {
        let (mut found, mut from, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = ann.get(&format!("{path}?direction={direction}&limit=3{from}")).await.json();
            let ids = page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap().to_owned());
            let at = if direction == "forward" { found.len() } else { 0 };
            found.splice(at..at, ids);
            pages += 1;
            match page["next"].as_str() {
                Some(next) if page["more"] == true => from = format!("&from={next}"),
                _ => break,
            }
        }
        // The room's making and its creator's joining are one event.
        assert_eq!((&found[1..], pages), (&sent[..], 3), "{direction}");
    }
    for bad in ["limit=0", "limit=501", "limit=x", "direction=up", "from=1"] {
        ann.get(&format!("{path}?{bad}")).await.problem(400, "Malformed");
    }
    system.cluster.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_a_problem_that_names_it() {
    let system = System::start_with(1, false, &["api_connections_max = 2", "api_timeout_ms = 2000"]).await;
    let ann = at(&system, 0, "ann");
    let room = room(&ann, json!({ "name": "lunch" })).await;
    let path = format!("/v1/rooms/{room}/messages");
    let bad: [(Value, &str); 8] = [
        (json!({}), "content_base64"),
        (json!({ "text": "a", "content_base64": "YQ==" }), "content_base64"),
        (json!({ "content_base64": "?" }), "content_base64"),
        (json!({ "text": 1 }), "string"),
        (json!({ "txet": "a" }), "txet"),
        (json!({ "text": "a", "reply_to": "b" }), "32 hexadecimal"),
        (json!({ "text": "a", "content_type": "" }), "content_type"),
        (json!("text"), "struct"),
    ];
    for (body, words) in bad {
        let problem = ann.post(&path, body.clone()).await.problem(400, "Malformed");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{body}: {problem}");
    }
    ann.send("POST", &path, b"{").await.problem(400, "Malformed");
    ann.call("POST", &path, None).await.problem(415, "NoJson");
    ann.post("/v1/rooms/x/join", json!({})).await.problem(400, "Malformed");
    ann.call("PUT", &format!("/v1/rooms/{room}/members/bob/role"), Some(json!({ "role": "king" })))
        .await
        .problem(400, "Malformed");
    ann.call("PUT", &format!("/v1/rooms/{room}/invitations/a%0Ab"), None).await.problem(400, "Malformed");
    ann.post(&format!("{path}?wait=for-ever"), json!({ "text": "a" })).await.problem(400, "Malformed");
    let nowhere = RoomId([7; 16]);
    ann.get(&format!("/v1/rooms/{nowhere}/messages")).await.problem(404, "UnknownRoom");
    ann.post(&format!("/v1/rooms/{nowhere}/join"), json!({})).await.problem(404, "UnknownRoom");
    ann.get("/v1/lunch").await.problem(404, "NoSuchPath");
    let wrong = ann.call("POST", "/v1/openapi.json", None).await;
    wrong.problem(405, "MethodNotAllowed");
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("GET")), "{wrong:?}");

    // Over the content's limit, and over the body's.
    let large = ann.post(&path, json!({ "text": "a".repeat((64 << 10) + 1) })).await.problem(413, "TooLarge");
    assert_eq!(large["code"], 104);
    let over = ann.post(&path, json!({ "text": "a".repeat(1 << 20) })).await.problem(413, "TooLarge");
    assert_eq!(over["field"], "body");
    // Every byte of the largest content may be escaped.
    let escaped = ann.post(&path, json!({ "text": "\u{1}".repeat(64 << 10) })).await;
    assert_eq!(escaped.status, 201, "{escaped:?}");

    slow_bodies_and_too_many_connections(&system, &ann).await;

    let document = ann.get("/v1/openapi.json").await;
    assert_eq!((document.status, document.json()["openapi"].clone()), (200, json!("3.1.0")));
    let metrics = causeway_loadtest::http::get(system.cluster.sites[0].admin, "/metrics").await.unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    for wanted in [
        "causeway_api_requests_total{route=\"POST /v1/rooms\",class=\"2xx\"} 1",
        "causeway_api_requests_total{route=\"GET /v1/rooms/{room}/messages\",class=\"4xx\"} 1",
        "causeway_api_requests_total{route=\"other\",class=\"4xx\"} 2",
    ] {
        assert!(metrics.contains(wanted), "{wanted} is not in {metrics}");
    }
    system.cluster.stop_all().await.unwrap();
}

async fn slow_bodies_and_too_many_connections(system: &System, ann: &Caller) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = system.cluster.sites[0].api;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "POST /v1/rooms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCauseway-User: ann\r\n\
                    Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let refused = async {
        loop {
            let answer = ann.get("/v1/openapi.json").await;
            if answer.status != 200 {
                return answer;
            }
        }
    };
    let refused = in_time("both connections are taken", refused).await;
    let problem = refused.problem(503, "Overloaded");
    assert!(problem["detail"].as_str().unwrap().contains("`api_connections_max`, 2"), "{problem}");
    assert!(refused.header("retry-after").is_some());
    for mut stream in slow {
        let mut answer = String::new();
        in_time("the body is waited for no longer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("problems/BodyTimeout"), "{answer}");
    }
    let free = async { while ann.get("/v1/openapi.json").await.status != 200 {} };
    in_time("the connections are free again", free).await;
}

/// What a call says of who made it, by user.
fn logged(log: &str) -> BTreeMap<String, String> {
    let field = |line: &str, name: &str| {
        line.split_once(name).and_then(|(_, rest)| rest.split('"').nth(1)).unwrap_or_default().to_owned()
    };
    let calls = log.lines().filter(|line| line.contains(" api sub="));
    calls.map(|line| (field(line, "user="), field(line, "outcome="))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_logged_without_its_words() {
    let system = System::start(1, false).await;
    let ann = at(&system, 0, "ann");
    let room = room(&ann, json!({ "name": "quiet-name" })).await;
    done(&ann.post(&format!("/v1/rooms/{room}/messages"), json!({ "text": "quiet-words" })).await);
    at(&system, 0, "bob").post(&format!("/v1/rooms/{room}/messages"), json!({ "text": "quiet-words" })).await;
    let log = std::fs::read_to_string(&system.cluster.sites[0].log).unwrap();
    let calls = logged(&log);
    assert_eq!(calls.get("ann").map(String::as_str), Some("stored"), "{log}");
    assert_eq!(calls.get("bob").map(String::as_str), Some("UnknownRoom"), "{log}");
    assert!(log.contains(&room) && log.contains("POST /v1/rooms/{room}/messages") && !log.contains("quiet-"), "{log}");
    system.cluster.stop_all().await.unwrap();
}
