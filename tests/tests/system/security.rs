//! Every request by those who may not: no token, an ended one, one for another audience; strangers to a room, banned
//! members, readers of a channel, and somebody with another user's device id. The codes are written down here by
//! docs/RIGHTS.md and docs/WIRE.md; after it the database is opened and holds nothing of all that.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;

use causeway_protocol::{Code, DeviceId, RequestId, RoomId, encode_frame, hash16, wire};
use causeway_replica::view::{Cf, View};
use causeway_store::{Identity, Store, StoreConfig};
use wire::{client_frame::Frame, request::Kind};

use crate::raw::{self, Device, Raw};
use crate::token_site::Site;

/// Every kind of request about a room that exists, and what it names: a user, a message.
fn kinds(user: &str, target: RequestId) -> Vec<(&'static str, Kind)> {
    let (user, target) = (user.to_owned(), Some(target.to_wire()));
    let (reason, symbol) = (String::new(), "+".to_owned());
    vec![
        (
            "Create",
            Kind::Create(wire::Create { name: "mine".into(), open: true, channel: false, ..Default::default() }),
        ),
        ("SetName", Kind::SetName(wire::SetName { name: "other".into() })),
        ("SetProfile", Kind::SetProfile(wire::SetProfile { topic: Some("other".into()), ..Default::default() })),
        ("open it", Kind::SetProfile(wire::SetProfile { open: Some(true), ..Default::default() })),
        ("Pin", Kind::Pin(wire::Pin { target })),
        ("Erase", Kind::Erase(wire::Erase {})),
        ("Knock", Kind::Knock(wire::Knock {})),
        ("Decline", Kind::Decline(wire::Decline { user: user.clone() })),
        ("Unpin", Kind::Unpin(wire::Unpin { target })),
        ("Join", Kind::Join(wire::Join {})),
        ("Leave", Kind::Leave(wire::Leave {})),
        ("Invite", Kind::Invite(wire::Invite { user: "guest".into() })),
        ("Message", Kind::Message(wire::Message::default())),
        ("Edit", Kind::Edit(wire::Edit { target })),
        ("Redact", Kind::Redact(wire::Redact { target, ..Default::default() })),
        ("Redact for somebody", Kind::Redact(wire::Redact { target, author: user.clone() })),
        ("React", Kind::React(wire::React { target, symbol: symbol.clone() })),
        ("Unreact", Kind::Unreact(wire::Unreact { target, symbol })),
        ("SetRole", Kind::SetRole(wire::SetRole { user: user.clone(), role: 5 })),
        ("Kick", Kind::Kick(wire::Kick { user: user.clone(), reason: reason.clone() })),
        ("Ban", Kind::Ban(wire::Ban { user: user.clone(), reason, until_ms: 0 })),
        ("LiftBan", Kind::LiftBan(wire::LiftBan { user })),
    ]
}

struct Stage {
    site: Site,
    address: SocketAddr,
    ca: PathBuf,
    ann: Raw,
    /// Closed: ann's, with bob; mal was a member and is banned.
    room: RoomId,
    /// A message of ann's there.
    message: RequestId,
    /// Open: ann's, and rea reads.
    channel: RoomId,
    news: RequestId,
    /// Whoever tries what is not allowed does it with one of these.
    devices: Vec<DeviceId>,
}

impl Stage {
    async fn session(site: &Site, user: &str, nonce: u64) -> Raw {
        let ca = site.dir.path().join("certs/ca.pem");
        let connection = raw::client(site.relay.listen_address(), &ca).await.unwrap();
        Raw::welcomed(connection, raw::hello(user, nonce, &site.mint(user, &[]))).await
    }

    async fn set() -> Self {
        let site = Site::start().await;
        let mut ann = Self::session(&site, "ann", 1).await;
        let room = ann.create(false, false).await;
        for guest in ["bob", "mal"] {
            ann.does(room, Kind::Invite(wire::Invite { user: guest.into() })).await.unwrap();
            Self::session(&site, guest, 1).await.does(room, Kind::Join(wire::Join {})).await.unwrap();
        }
        let (message, submit) = ann.device.submit(room, Kind::Message(wire::Message::default()), "lunch?");
        ann.ask(submit).await.unwrap();
        let ban = wire::Ban { user: "mal".into(), reason: String::new(), until_ms: 0 };
        ann.does(room, Kind::Ban(ban)).await.unwrap();
        let channel = ann.create(true, true).await;
        let (news, submit) = ann.device.submit(channel, Kind::Message(wire::Message::default()), "news");
        ann.ask(submit).await.unwrap();
        Self::session(&site, "rea", 1).await.does(channel, Kind::Join(wire::Join {})).await.unwrap();
        let (address, ca) = (site.relay.listen_address(), site.dir.path().join("certs/ca.pem"));
        Self { site, address, ca, ann, room, message, channel, news, devices: Vec::new() }
    }

    /// Somebody who is welcomed and will try what is not allowed.
    async fn villain(&mut self, user: &str, nonce: u64) -> Raw {
        let raw = Self::session(&self.site, user, nonce).await;
        self.devices.push(raw.device.id);
        raw
    }

    /// Each kind with this hello, all in one go: the connection ends with this code, and brings no answer.
    async fn refused_at_the_door(&mut self, what: &str, hello: Option<wire::Hello>, code: Code) {
        let mut device = Device::new("ann", 66);
        self.devices.push(device.id);
        let mark = wire::MarkRead { room: self.room.to_wire(), vector: None, flag: None };
        let mut said: Vec<(&str, Frame)> = kinds("bob", self.message)
            .into_iter()
            .map(|(name, kind)| (name, Frame::Submit(device.submit(self.room, kind, "words").1)))
            .collect();
        said.push(("MarkRead", Frame::MarkRead(mark)));
        for (name, frame) in said {
            let connection = raw::client(self.address, &self.ca).await.unwrap();
            let (mut send, mut recv) = connection.open_bi().await.unwrap();
            let hello = hello.clone().map(|hello| raw::frame(Frame::Hello(hello))).unwrap_or_default();
            send.write_all(&[hello, raw::frame(frame)].concat()).await.unwrap();
            assert_eq!(raw::closed(&connection).await.0, code.number(), "{what}: {name}");
            assert!(recv.read_to_end(1).await.is_err(), "{what}: {name} was answered");
        }
        // History, on a stream of its own.
        let connection = raw::client(self.address, &self.ca).await.unwrap();
        let (mut control, _) = connection.open_bi().await.unwrap();
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        let query = wire::Query { query: Some(raw::history(self.room, 9)) };
        send.write_all(&encode_frame(&query)).await.unwrap();
        let first = hello.map_or(Frame::Ping(wire::Ping { token: 1 }), Frame::Hello);
        control.write_all(&raw::frame(first)).await.unwrap();
        assert_eq!(raw::closed(&connection).await.0, code.number(), "{what}: history");
        assert!(recv.read_to_end(1).await.is_err(), "{what}: history was answered");
    }

    /// Stops the relay, and looks for anything of the villains' in the database.
    async fn leaves_no_trace(self) {
        let Self { site, devices, ann, .. } = self;
        let shown = ann.device.id;
        ann.connection.close(0_u32.into(), b"");
        site.relay.shutdown().await.unwrap();
        let cluster = hash16("causeway/cluster", &[b"tokens"]);
        let identity = Identity { cluster, site: 1, node: 0, shard_count: 4 };
        let store = Store::open(&site.dir.path().join("data"), &StoreConfig::new(identity)).unwrap();
        let rows = |what: &dyn Fn(&[u8]) -> bool| {
            let mut found = Vec::new();
            for cf in Cf::ALL {
                store
                    .scan(cf, &[], &[0xff; 64], &mut |key, value| {
                        if what(key) || what(value) {
                            found.push((cf, key.to_vec()));
                        }
                        ControlFlow::Continue(())
                    })
                    .unwrap();
            }
            found
        };
        let of = |device: DeviceId| {
            move |bytes: &[u8]| {
                let ways = [device.0.to_be_bytes(), device.0.to_le_bytes()];
                bytes.windows(8).any(|window| ways.iter().any(|way| window == way))
            }
        };
        for cf in [Cf::Op, Cf::Request, Cf::Element] {
            assert!(rows(&of(shown)).iter().any(|(at, _)| *at == cf), "ann's are found in {cf:?}");
        }
        for device in devices {
            assert_eq!(rows(&of(device)), [], "{device:?}");
        }
        assert_eq!(
            rows(&|bytes| bytes.windows(7).any(|window| window == b"villain")),
            [],
            "a user who never was let in"
        );
        assert!(!rows(&|_| true).iter().any(|(cf, _)| *cf == Cf::Read), "read markers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_by_those_who_may_not_is_refused_and_leaves_no_trace() {
    let mut stage = Stage::set().await;
    let (room, message) = (stage.room, stage.message);

    // Nobody gets in without a good token. What is sent without a hello breaks the protocol.
    let short = stage.site.mint("ann", &["--seconds", "1"]);
    let other = stage.site.mint("ann", &["--audience", "mail"]);
    let no_token = raw::hello("ann", 66, "");
    stage.refused_at_the_door("no hello", None, Code::ProtocolError).await;
    stage.refused_at_the_door("no token", Some(no_token), Code::Unauthenticated).await;
    stage.refused_at_the_door("audience", Some(raw::hello("ann", 66, &other)), Code::Unauthenticated).await;
    stage.site.has_ended("ann", &short).await;
    stage.refused_at_the_door("expired", Some(raw::hello("ann", 66, &short)), Code::TokenExpired).await;

    // A stranger to a closed room: everything as if there were none. A create names a room that is not its own.
    let mut villain = stage.villain("villain", 2).await;
    let nowhere = RoomId([9; 16]);
    for (name, kind) in kinds("bob", message) {
        let there = villain.does(room, kind.clone()).await.expect_err(name);
        let wanted = if name == "Create" { Code::RoomMismatch } else { Code::UnknownRoom };
        assert_eq!(there.code, wanted.number(), "stranger: {name}: {there:?}");
        assert_eq!(Err(there), villain.does(nowhere, kind).await, "stranger: {name}: no such room");
    }
    let (there, not) = (villain.queries(room, message).await, villain.queries(nowhere, message).await);
    assert!(there.iter().all(|(code, _)| *code == Code::UnknownRoom.number()), "{there:?}");
    assert_eq!(there, not, "queries");

    // What a user has apart from any room is nobody else's, and no room to talk in.
    for (of, kind) in [("ann", Kind::Erase(wire::Erase {})), ("villain", Kind::Message(wire::Message::default()))] {
        let refused =
            villain.does(RoomId::of_user(&causeway_client::UserId::new(of).unwrap()), kind).await.expect_err(of);
        assert_eq!(refused.code, Code::UnknownRoom.number(), "own room of {of}: {refused:?}");
    }

    // Somebody banned knows the room, and is told of the ban.
    let mut banned = stage.villain("mal", 2).await;
    // To be erased is everybody's right, who was ever there.
    for (name, kind) in kinds("bob", message).into_iter().filter(|(name, _)| *name != "Erase") {
        let refused = banned.does(room, kind).await.expect_err(name);
        match name {
            "Create" => assert_eq!(refused.code, Code::RoomMismatch.number()),
            _ => {
                assert_eq!(refused.code, Code::NotPermitted.number(), "banned: {name}: {refused:?}");
                assert!(refused.detail.contains("banned"), "{name}: {}", refused.detail);
            }
        }
    }
    for (code, detail) in banned.queries(room, message).await {
        assert_eq!(code, Code::NotPermitted.number(), "{detail}");
        assert!(detail.contains("banned"), "{detail}");
    }

    // A reader of a channel may join once more, leave, read, mark, and take back what is the reader's own.
    let mut reader = stage.villain("rea", 2).await;
    for (name, kind) in kinds("ann", stage.news) {
        let wanted = match name {
            "Join" | "Leave" | "Unreact" | "Erase" => continue,
            "Create" => Code::RoomMismatch,
            _ => Code::NotPermitted,
        };
        let refused = reader.does(stage.channel, kind).await.expect_err(name);
        assert_eq!(refused.code, wanted.number(), "reader: {name}: {refused:?}");
    }
    assert_eq!(reader.history(stage.channel, 9).await.code, 0, "readers read");

    // A member with a device of another user's, with and without that user's nonce.
    let mut bob = stage.villain("bob", 2).await;
    let mut anns = Device::new("ann", 77);
    stage.devices.push(anns.id);
    for (name, kind) in kinds("mal", message) {
        for nonce in [0, 77] {
            let submit = wire::Submit { nonce, ..anns.submit(room, kind.clone(), "words").1 };
            let refused = bob.ask(submit).await.expect_err(name);
            assert_eq!(refused.code, Code::DeviceMismatch.number(), "device: {name}: {refused:?}");
        }
    }

    // Markers are not answered. Those of strangers and of banned users are for nothing.
    for by in [&mut villain, &mut banned] {
        let flag = Some(wire::UnreadFlag { id: Some(by.device.mint().to_wire()), unread: true });
        by.say(Frame::MarkRead(wire::MarkRead { room: room.to_wire(), vector: None, flag })).await;
        by.ping().await;
    }
    let all = stage.ann.history(room, 100).await;
    assert_eq!(all.events.len(), 7, "made, two invited, two joined, one message, one ban");
    stage.leaves_no_trace().await;
}
