//! A value of every record, with every field set: those of a `oneof` in a value each.

use crate::{Bytes, Message, wire};
use wire::{
    client_frame::Frame as Client, event_frame::Frame as Event, peer_frame::Frame as Peer, request::Kind,
    server_frame::Frame as Server, shard_frame::Frame as Shard,
};

/// A record's name in the schema, its bytes, and what decoding any bytes as it and encoding that again gives.
pub struct Sample {
    pub record: &'static str,
    pub bytes: Vec<u8>,
    pub reencode: fn(&[u8]) -> Option<Vec<u8>>,
}

fn reencode<M: Message + Default>(bytes: &[u8]) -> Option<Vec<u8>> {
    M::decode(Bytes::copy_from_slice(bytes)).ok().map(|message| message.encode_to_vec())
}

fn sample<M: Message + Default>(record: &'static str, message: M) -> Sample {
    Sample { record, bytes: message.encode_to_vec(), reencode: reencode::<M> }
}

/// Samples of one record: `samples!(out, Record: first, second)`.
macro_rules! samples {
    ($out:ident, $record:ident: $($value:expr),+ $(,)?) => {
        $({
            let message: wire::$record = $value;
            $out.push(sample(stringify!($record), message));
        })+
    };
}

const fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn origin() -> wire::Origin {
    wire::Origin { site: 1, node: 300, incarnation: 0x1122_3344_5566_7788 }
}

fn dot() -> wire::Dot {
    wire::Dot { origin: Some(origin()), seq: 300 }
}

fn id() -> wire::RequestId {
    wire::RequestId { stamp: 0x0102_0304_0506_0708, device: 0x1112_1314_1516_1718 }
}

fn flag() -> wire::UnreadFlag {
    wire::UnreadFlag { id: Some(id()), unread: true }
}

fn vector() -> wire::Vector {
    wire::Vector { entries: vec![dot(), wire::Dot { origin: Some(wire::Origin { site: 2, ..origin() }), seq: 1 }] }
}

const ROOM: Bytes = bytes("a room's 16bytes");
const HASH: Bytes = bytes("a hash's 16bytes");
const TEXT: Bytes = bytes("opaque");

/// All samples.
pub fn all() -> Vec<Sample> {
    let mut out = Vec::new();
    ids(&mut out);
    op(&mut out);
    client(&mut out);
    server(&mut out);
    event(&mut out);
    peer(&mut out);
    shard_frames(&mut out);
    datagrams(&mut out);
    record(&mut out);
    out
}

fn ids(out: &mut Vec<Sample>) {
    samples!(out, Origin: origin());
    samples!(out, Dot: dot());
    samples!(out, RequestId: id());
    samples!(out, UnreadFlag: flag());
    samples!(out, Vector: vector());
}

fn request(kind: Kind) -> wire::Request {
    wire::Request { id: Some(id()), room: ROOM, body_hash: HASH, kind: Some(kind) }
}

fn op(out: &mut Vec<Sample>) {
    let create = wire::Create { name: "방".into(), open: true, channel: true, direct: "bob".into() };
    let set_name = wire::SetName { name: "room".into() };
    let invite = wire::Invite { user: "bob".into() };
    let message = wire::Message { reply_to: Some(id()), mentions: vec!["bob".into(), "eve".into()], lifetime_ms: 300 };
    let edit = wire::Edit { target: Some(id()) };
    let redact = wire::Redact { target: Some(id()), author: "bob".into() };
    let react = wire::React { target: Some(id()), symbol: "👍".into() };
    let unreact = wire::Unreact { target: Some(id()), symbol: "+1".into() };
    let set_role = wire::SetRole { user: "bob".into(), role: 3 };
    let kick = wire::Kick { user: "bob".into(), reason: "spam".into() };
    let ban = wire::Ban { user: "bob".into(), reason: "spam".into(), until_ms: 300 };
    let lift_ban = wire::LiftBan { user: "bob".into() };
    let set_profile = wire::SetProfile {
        topic: Some("topic".into()),
        avatar: Some("img:1".into()),
        open: Some(true),
        writers: Some(3),
        retention_ms: Some(300),
        knock: Some(true),
    };
    let pin = wire::Pin { target: Some(id()) };
    let unpin = wire::Unpin { target: Some(id()) };
    let decline = wire::Decline { user: "bob".into() };
    samples!(out, Request:
        request(Kind::Create(create.clone())),
        request(Kind::SetName(set_name.clone())),
        request(Kind::Join(wire::Join {})),
        request(Kind::Leave(wire::Leave {})),
        request(Kind::Invite(invite.clone())),
        request(Kind::Message(message.clone())),
        request(Kind::Edit(edit)),
        request(Kind::Redact(redact.clone())),
        request(Kind::React(react.clone())),
        request(Kind::Unreact(unreact.clone())),
        request(Kind::SetRole(set_role.clone())),
        request(Kind::Kick(kick.clone())),
        request(Kind::Ban(ban.clone())),
        request(Kind::LiftBan(lift_ban.clone())),
        request(Kind::SetProfile(set_profile.clone())),
        request(Kind::Pin(pin)),
        request(Kind::Unpin(unpin)),
        request(Kind::Erase(wire::Erase {})),
        request(Kind::Knock(wire::Knock {})),
        request(Kind::Decline(decline.clone())),
    );
    samples!(out, Create: create);
    samples!(out, SetName: set_name);
    samples!(out, Join: wire::Join {});
    samples!(out, Leave: wire::Leave {});
    samples!(out, Invite: invite);
    samples!(out, Message: message);
    samples!(out, Edit: edit);
    samples!(out, Redact: redact);
    samples!(out, React: react);
    samples!(out, Unreact: unreact);
    samples!(out, SetRole: set_role);
    samples!(out, Kick: kick);
    samples!(out, Ban: ban);
    samples!(out, LiftBan: lift_ban);
    samples!(out, SetProfile: set_profile);
    samples!(out, Pin: pin);
    samples!(out, Unpin: unpin);
    samples!(out, Erase: wire::Erase {});
    samples!(out, Knock: wire::Knock {});
    samples!(out, Decline: decline);
    samples!(out, Body: wire::Body { salt: HASH, content_type: "text/plain".into(), content: TEXT });
    samples!(out, Header: wire::Header {
        origin: Some(origin()),
        shard: 255,
        seq: 300,
        stamp: 0x0102_0304_0506_0708,
        deps: vec![dot()],
        prev: HASH,
        user: "ann".into(),
        request: TEXT,
        saw: vec![id()],
        aware: vec![id()],
        past: Some(vector()),
        rank: 4,
        deadline_ms: 300,
    });
    samples!(out, Op: wire::Op { header: TEXT, body: Some(bytes("body")) });
}

fn client(out: &mut Vec<Sample>) {
    let cursor = wire::RoomCursor { room: ROOM, vector: Some(vector()), summary: 0x2122_2324_2526_2728 };
    let hello = wire::Hello {
        version_min: 1,
        version_max: 2,
        user: "ann".into(),
        nonce: 0x0102_0304_0506_0708,
        token: "token".into(),
        cursors: vec![cursor.clone()],
        standby: true,
        agent: "sdk/1".into(),
    };
    let submit = wire::Submit { request: TEXT, body: Some(bytes("body")), nonce: 0x0102_0304_0506_0708 };
    let ping = wire::Ping { token: 300 };
    let renew = wire::Renew { token: "header.claims.signature".into() };
    let mark = wire::MarkRead { room: ROOM, vector: Some(vector()), flag: Some(flag()) };
    let frame = |frame| wire::ClientFrame { frame: Some(frame) };
    samples!(out, ClientFrame:
        frame(Client::Hello(hello.clone())),
        frame(Client::Submit(submit.clone())),
        frame(Client::Ping(ping)),
        frame(Client::MarkRead(mark.clone())),
        frame(Client::Renew(renew.clone())),
    );
    samples!(out, Hello: hello);
    samples!(out, RoomCursor: cursor);
    samples!(out, Submit: submit);
    samples!(out, Ping: ping);
    samples!(out, MarkRead: mark);
    samples!(out, Renew: renew);
    let history = wire::HistoryRequest { room: ROOM, from: Some(id()), forward: true, limit: 500 };
    let members = wire::MembersRequest { room: ROOM, after: "ann".into(), limit: 500 };
    let readers = wire::ReadersRequest { room: ROOM, ids: vec![id()], names: true };
    let presence = wire::PresenceRequest { room: ROOM, users: vec!["ann".into(), "bob".into()] };
    let query = |query| wire::Query { query: Some(query) };
    samples!(out, Query:
        query(wire::query::Query::History(history.clone())),
        query(wire::query::Query::Members(members.clone())),
        query(wire::query::Query::Readers(readers.clone())),
        query(wire::query::Query::Presence(presence.clone())),
    );
    samples!(out, HistoryRequest: history);
    samples!(out, MembersRequest: members);
    samples!(out, ReadersRequest: readers);
    samples!(out, PresenceRequest: presence);
}

fn server(out: &mut Vec<Sample>) {
    let site = wire::SiteInfo { site: 1, name: "one".into(), addresses: vec!["127.0.0.1:1".into(), "[::1]:2".into()] };
    let welcome = wire::Welcome {
        version: 1,
        site: 1,
        site_name: "one".into(),
        clock_ms: 1_700_000_000_000,
        shard_count: 256,
        sites: vec![site.clone()],
        session: 300,
        outbox_window_max: 256,
    };
    let accepted = wire::Accepted { id: Some(id()), dot: Some(dot()), shard: 255, replicated: true };
    let refused = wire::Refused { id: Some(id()), code: 200, detail: "why".into(), retry_after_ms: 250 };
    let frontier = wire::Frontier { shard: 255, dot: Some(dot()) };
    let pong = wire::Pong { token: 300, clock_ms: 1_700_000_000_000 };
    let go_away = wire::GoAway { code: 302, detail: "why".into() };
    let frame = |frame| wire::ServerFrame { frame: Some(frame) };
    samples!(out, ServerFrame:
        frame(Server::Welcome(welcome.clone())),
        frame(Server::Accepted(accepted)),
        frame(Server::Refused(refused.clone())),
        frame(Server::Frontier(frontier)),
        frame(Server::Pong(pong)),
        frame(Server::GoAway(go_away.clone())),
    );
    samples!(out, Welcome: welcome);
    samples!(out, SiteInfo: site);
    samples!(out, Accepted: accepted);
    samples!(out, Refused: refused);
    samples!(out, Frontier: frontier);
    samples!(out, Pong: pong);
    samples!(out, GoAway: go_away);
}

fn event(out: &mut Vec<Sample>) {
    let body = Some(bytes("body"));
    let event = wire::Event {
        room: ROOM,
        dot: Some(dot()),
        user: "ann".into(),
        request: TEXT,
        body,
        past: Some(vector()),
        deadline_ms: 300,
    };
    let opened = wire::RoomOpened {
        room: ROOM,
        name: "방".into(),
        open: true,
        channel: true,
        named: Some(id()),
        direct: "bob".into(),
    };
    let closed = wire::RoomClosed { room: ROOM };
    let (from, to) = (Some(vector()), Some(vector()));
    let gap = wire::Gap { room: ROOM, from, to, lowest: Some(id()), missing: 10_000 };
    let caught_up = wire::CaughtUp { room: ROOM, vector: Some(vector()) };
    let preview = wire::Preview {
        id: Some(id()),
        user: "ann".into(),
        content_type: "text/plain".into(),
        content: TEXT,
        body_gone: true,
        edit: Some(id()),
        deadline_ms: 300,
    };
    let profile = wire::Profile {
        topic: "topic".into(),
        topic_by: Some(id()),
        avatar: "img:1".into(),
        avatar_by: Some(id()),
        open: true,
        open_by: Some(id()),
        writers: 3,
        writers_by: Some(id()),
        retention_ms: 300,
        retention_by: Some(id()),
        knock: true,
        knock_by: Some(id()),
    };
    let summary = wire::RoomSummary {
        room: ROOM,
        upto: Some(vector()),
        marker: Some(vector()),
        made: 0x0102_0304_0506_0708,
        last: Some(preview.clone()),
        unread: 100,
        mentions: 9,
        name: "방".into(),
        named: Some(id()),
        profile: Some(profile.clone()),
        pins: vec![id()],
        knocks: vec!["bob".into(), "eve".into()],
        flag: Some(flag()),
    };
    let unchanged = wire::RoomUnchanged { room: ROOM };
    let invitation =
        wire::Invitation { room: ROOM, name: "방".into(), channel: true, by: "ann".into(), id: Some(id()) };
    let invitations = wire::Invitations { invitations: vec![invitation.clone()] };
    let frame = |frame| wire::EventFrame { frame: Some(frame) };
    samples!(out, EventFrame:
        frame(Event::Event(event.clone())),
        frame(Event::RoomOpened(opened.clone())),
        frame(Event::RoomClosed(closed.clone())),
        frame(Event::Gap(gap.clone())),
        frame(Event::CaughtUp(caught_up.clone())),
        frame(Event::Summary(summary.clone())),
        frame(Event::Unchanged(unchanged.clone())),
        frame(Event::Invitations(invitations.clone())),
    );
    let page =
        wire::HistoryPage { events: vec![event.clone()], more: true, code: 201, detail: "why".into(), unread: 9 };
    samples!(out, Event: event);
    samples!(out, RoomOpened: opened);
    samples!(out, RoomClosed: closed);
    samples!(out, Gap: gap);
    samples!(out, CaughtUp: caught_up);
    samples!(out, HistoryPage: page);
    samples!(out, RoomSummary: summary);
    samples!(out, Preview: preview);
    samples!(out, Profile: profile);
    samples!(out, RoomUnchanged: unchanged);
    samples!(out, Invitations: invitations);
    samples!(out, Invitation: invitation);
    let member = wire::Member { user: "ann".into(), role: 5 };
    let detail = || "why".to_owned();
    samples!(out, MembersPage:
        wire::MembersPage { members: vec![member.clone()], next: member.user.clone(), code: 201, detail: detail() },
    );
    samples!(out, Member: member);
    let readers = wire::Readers { id: Some(id()), unread: 300, readers: vec!["bob".into()] };
    samples!(out, ReadersPage:
        wire::ReadersPage { messages: vec![readers.clone()], many: true, code: 201, detail: detail() },
    );
    samples!(out, Readers: readers);
}

fn peer(out: &mut Vec<Sample>) {
    let hello = wire::PeerHello {
        version_min: 1,
        version_max: 2,
        site: 1,
        node: 300,
        incarnation: 0x1122_3344_5566_7788,
        shard_count: 256,
        cluster: HASH,
        kinds: vec![10, 11, 300],
    };
    let (ping, pong) = (wire::PeerPing { token: 300 }, wire::PeerPong { token: 300, clock_ms: 1_700_000_000_000 });
    let frame = |frame| wire::PeerFrame { frame: Some(frame) };
    samples!(out, PeerFrame:
        frame(Peer::Hello(hello.clone())),
        frame(Peer::Ping(ping)),
        frame(Peer::Pong(pong)),
        frame(Peer::Shard(wire::ShardFrame { shard: 255, frame: None })),
    );
    samples!(out, PeerHello: hello);
    samples!(out, PeerPing: ping);
    samples!(out, PeerPong: pong);
}

fn shard_frames(out: &mut Vec<Sample>) {
    let hello = wire::ShardHello { vector: Some(vector()), again: true, floor: Some(vector()) };
    let ops = wire::Ops { ops: vec![wire::Op { header: TEXT, body: None }] };
    let ack = wire::PeerAck { vector: Some(vector()) };
    let bucket = wire::BucketDigest { bucket: 255, touch: HASH, hash: HASH };
    let digest = wire::Digest { buckets: vec![bucket.clone()] };
    let ask = wire::SnapshotAsk { transfer: 300, after: TEXT, vector: None };
    let row = wire::Row { family: 2, key: TEXT, value: bytes("value") };
    let page = wire::SnapshotPage { transfer: 300, vector: Some(vector()), rows: vec![row.clone()], done: true };
    let mark = wire::ReadMark { room: ROOM, user: "ann".into(), vector: Some(vector()), flag: Some(flag()) };
    let marks = wire::ReadMarks { marks: vec![mark.clone()] };
    let frame = |frame| wire::ShardFrame { shard: 255, frame: Some(frame) };
    samples!(out, ShardFrame:
        frame(Shard::Hello(hello.clone())),
        frame(Shard::Ops(ops.clone())),
        frame(Shard::Ack(ack.clone())),
        frame(Shard::Digest(digest.clone())),
        frame(Shard::SnapshotAsk(ask.clone())),
        frame(Shard::SnapshotPage(page.clone())),
        frame(Shard::ReadMarks(marks.clone())),
    );
    samples!(out, ShardHello: hello);
    samples!(out, Ops: ops);
    samples!(out, PeerAck: ack);
    samples!(out, Digest: digest);
    samples!(out, BucketDigest: bucket);
    samples!(out, SnapshotAsk: wire::SnapshotAsk { vector: Some(vector()), ..ask });
    samples!(out, SnapshotPage: page);
    samples!(out, Row: row);
    samples!(out, ReadMarks: marks);
    samples!(out, ReadMark: mark);
}

fn datagrams(out: &mut Vec<Sample>) {
    use wire::{
        client_datagram::Datagram as Client, peer_datagram::Datagram as Peer, server_datagram::Datagram as Server,
    };
    let (typing_in, activity) = (wire::TypingIn { room: ROOM }, wire::Activity { away: true });
    let typing = wire::Typing { room: ROOM, user: "bob".into() };
    let presences = wire::Presences { online: vec![1, 0x0102_0304_0506_0708], away: vec![300], gone: vec![u64::MAX] };
    let client = |datagram| wire::ClientDatagram { datagram: Some(datagram) };
    samples!(out, ClientDatagram: client(Client::Typing(typing_in.clone())), client(Client::Activity(activity)));
    samples!(out, TypingIn: typing_in);
    samples!(out, Activity: activity);
    samples!(out, ServerDatagram: wire::ServerDatagram { datagram: Some(Server::Typing(typing.clone())) });
    samples!(out, Typing: typing.clone());
    let peer = |datagram| wire::PeerDatagram { datagram: Some(datagram) };
    samples!(out, PeerDatagram: peer(Peer::Typing(typing)), peer(Peer::Presences(presences.clone())));
    samples!(out, Presences: presences);
    let presence = wire::Presence { user: "bob".into(), seen: 5 };
    samples!(out, PresencePage: wire::PresencePage { users: vec![presence.clone()], code: 201, detail: "not a member".into() });
    samples!(out, Presence: presence);
}

fn record(out: &mut Vec<Sample>) {
    samples!(out, RequestRow: wire::RequestRow {
        hash: HASH,
        dots: vec![dot()],
        user: "ann".into(),
        request: TEXT,
        body: Some(bytes("body")),
        hidden: true,
        also: vec![HASH],
        hidden_dots: vec![dot()],
        deadline_ms: 300,
    });
    let grant = wire::Grant { id: Some(id()), dot: Some(dot()), role: 3, rank: 5, saw: vec![id()], hidden: true };
    let lift = wire::Lift { dot: Some(dot()), hidden: true };
    let revocation = wire::Revocation {
        id: Some(id()),
        dot: Some(dot()),
        past: Some(vector()),
        floor: 1,
        ban: true,
        until_ms: 300,
        lifts: vec![lift],
        erases: true,
    };
    samples!(out, ElementRow: wire::ElementRow {
        tags: vec![id()],
        hidden: vec![id()],
        grants: vec![grant.clone()],
        revocations: vec![revocation.clone()],
    });
    samples!(out, Grant: grant);
    samples!(out, Revocation: revocation);
    samples!(out, Lift: lift);
    samples!(out, RegisterRow: wire::RegisterRow { marker: Some(id()), value: TEXT });
    samples!(out, LogRow: wire::LogRow { room: ROOM, order: 300 });
    samples!(out, OrderRow: wire::OrderRow { dot: Some(dot()), room: ROOM });
    samples!(out, HeadRow: wire::HeadRow {
        touch: Some(vector()),
        last: Some(id()),
        stamp_max: 0x0102_0304_0506_0708,
        requests: 300,
        members: 300,
        writers: 3,
        retention_ms: 300,
        erasures: 2,
    });
    samples!(out, ErasingRow: wire::ErasingRow { after: HASH });
    let merge = wire::Merge { vector: Some(vector()), complete: true, room: ROOM, requests: true };
    samples!(out, ShardRow: wire::ShardRow {
        order_next: 300,
        hlc: 0x0102_0304_0506_0708,
        floor: Some(vector()),
        order_floor: 200,
        merge: Some(merge.clone()),
    });
    samples!(out, OriginRow: wire::OriginRow { seq: 300, chain: HASH });
    samples!(out, Merge: merge);
    samples!(out, BucketRow: wire::BucketRow { touch: HASH, hash: HASH });
    samples!(out, ReadRow: wire::ReadRow { vector: Some(vector()), flag: Some(flag()) });
    samples!(out, IdentityRow: wire::IdentityRow { cluster: HASH, site: 1, node: 300, shard_count: 256, format: 1 });
}
