use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

fn id(n: u64) -> wire::RequestId {
    wire::RequestId { stamp: n << 16, device: 7 }
}

fn hex(n: u64) -> String {
    format!("{:016x}{:016x}", n << 16, 7)
}

fn body(content_type: &str, content: &[u8]) -> wire::Body {
    wire::Body { salt: Bytes::new(), content_type: content_type.into(), content: Bytes::copy_from_slice(content) }
}

fn written(kind: Option<Kind>, body: Option<wire::Body>) -> Value {
    let request = wire::Request { id: Some(id(5)), kind, ..wire::Request::default() };
    let body = body.map(|body| Bytes::from(body.encode_to_vec()));
    let event = wire::Event {
        deadline_ms: if matches!(&request.kind, Some(Kind::Message(_))) { 12_345 } else { 0 },
        user: "ann".into(),
        request: request.encode_to_vec().into(),
        body,
        ..wire::Event::default()
    };
    serde_json::to_value(super::event(event)).unwrap()
}

fn message() -> Option<Kind> {
    Some(Kind::Message(wire::Message { reply_to: Some(id(3)), mentions: vec!["bob".into()], lifetime_ms: 9_000 }))
}

#[test]
fn a_message_is_text_where_it_is_one() {
    let with = |more: Value| {
        let mut all = json!({
            "id": hex(5), "at": 5, "user": "ann", "kind": "message", "expires": 12_345,
            "reply_to": hex(3), "mentions": ["bob"]
        });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let cases = [
        (Some(body("text/plain", "말".as_bytes())), json!({ "content_type": "text/plain", "text": "말" })),
        (Some(body("Text/html", b"")), json!({ "content_type": "Text/html", "text": "" })),
        (Some(body("text/plain", b"\xff")), json!({ "content_type": "text/plain", "content_base64": "/w==" })),
        (Some(body("image/png", b"abc")), json!({ "content_type": "image/png", "content_base64": "YWJj" })),
        (Some(body("말", b"abc")), json!({ "content_type": "말", "content_base64": "YWJj" })),
        (None, json!({})),
    ];
    for (body, wanted) in cases {
        assert_eq!(written(message(), body), with(wanted));
    }
}

#[test]
fn every_kind_is_told_by_its_name_and_fields() {
    let user = || "bob".to_owned();
    let target = || Some(id(2));
    let cases = [
        (
            Kind::Create(wire::Create { name: "n".into(), open: true, channel: false, ..Default::default() }),
            json!({ "kind": "create", "name": "n", "open": true, "channel": false }),
        ),
        (
            Kind::Create(wire::Create { direct: user(), ..Default::default() }),
            json!({ "kind": "create", "member": "bob" }),
        ),
        (Kind::SetName(wire::SetName { name: "n".into() }), json!({ "kind": "set_name", "name": "n" })),
        (
            Kind::SetProfile(wire::SetProfile {
                topic: Some("t".into()),
                open: Some(false),
                writers: Some(3),
                retention_ms: Some(7_000),
                knock: Some(true),
                ..Default::default()
            }),
            json!({ "kind": "set_profile", "topic": "t", "open": false, "writers": "moderator", "retention_ms": 7_000, "knock": true }),
        ),
        (Kind::Pin(wire::Pin { target: target() }), json!({ "kind": "pin", "target": hex(2) })),
        (Kind::Erase(wire::Erase {}), json!({ "kind": "erase" })),
        (Kind::Knock(wire::Knock {}), json!({ "kind": "knock" })),
        (Kind::Decline(wire::Decline { user: user() }), json!({ "kind": "decline", "member": "bob" })),
        (Kind::Unpin(wire::Unpin { target: target() }), json!({ "kind": "unpin", "target": hex(2) })),
        (Kind::Join(wire::Join {}), json!({ "kind": "join" })),
        (Kind::Leave(wire::Leave {}), json!({ "kind": "leave" })),
        (Kind::Invite(wire::Invite { user: user() }), json!({ "kind": "invite", "member": "bob" })),
        (Kind::Edit(wire::Edit { target: target() }), json!({ "kind": "edit", "target": hex(2) })),
        (
            Kind::Redact(wire::Redact { target: target(), ..Default::default() }),
            json!({ "kind": "redact", "target": hex(2) }),
        ),
        (
            Kind::React(wire::React { target: target(), symbol: "+".into() }),
            json!({ "kind": "react", "target": hex(2), "symbol": "+" }),
        ),
        (
            Kind::Unreact(wire::Unreact { target: target(), symbol: "+".into() }),
            json!({ "kind": "unreact", "target": hex(2), "symbol": "+" }),
        ),
        (
            Kind::SetRole(wire::SetRole { user: user(), role: 3 }),
            json!({ "kind": "set_role", "member": "bob", "role": "moderator" }),
        ),
        (
            Kind::Kick(wire::Kick { user: user(), reason: "r".into() }),
            json!({ "kind": "kick", "member": "bob", "reason": "r" }),
        ),
        (
            Kind::Ban(wire::Ban { user: user(), reason: String::new(), until_ms: 9 }),
            json!({ "kind": "ban", "member": "bob", "reason": "", "until": 9 }),
        ),
        (
            Kind::Ban(wire::Ban { user: user(), reason: String::new(), until_ms: 0 }),
            json!({ "kind": "ban", "member": "bob", "reason": "" }),
        ),
        (Kind::LiftBan(wire::LiftBan { user: user() }), json!({ "kind": "lift_ban", "member": "bob" })),
    ];
    for (kind, mut wanted) in cases {
        wanted
            .as_object_mut()
            .unwrap()
            .extend(json!({ "id": hex(5), "at": 5, "user": "ann" }).as_object().unwrap().clone());
        assert_eq!(written(Some(kind), None), wanted);
    }
    assert_eq!(written(None, None)["kind"], "unknown");
}
