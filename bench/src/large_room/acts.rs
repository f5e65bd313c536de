//! What is asked of a room.

use std::time::{Duration, Instant};

use causeway_protocol::{RoomId, SiteId, UserId, Vector, wire, wire::request::Kind};
use causeway_replica::io::{Input, SessionId};
use causeway_replica::read;
use causeway_replica::session::{Admission, ServerSession, SessionConfig, SessionInput, SessionLimits};

use super::rows::Rows;
use super::site::{LargeRoom, NONCE, now, user};

/// Requests or members in a page.
const PAGE: u32 = 50;
/// Requests that somebody has missed who was away for a moment.
const MISSED: u64 = 10;
/// Ops beyond which a session sends the newest page alone: fewer than a relay has it, so that a small room is beyond it, too.
const RESUME_OPS_MAX: usize = 500;
/// Reads after which a session must have read everything.
const READS_MAX: usize = 1_000;
/// Bytes that one read of a session puts out.
const READ_BYTES: usize = 256 << 10;

/// One thing that is asked of a room, some times over.
pub struct Act<R> {
    /// In words.
    pub name: &'static str,
    /// Does it for the n-th time.
    act: fn(&mut LargeRoom<R>, usize),
}

/// What an act costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Rows read, at most.
    pub read: u64,
    /// Rows written, at most.
    pub written: u64,
    /// The median of the times.
    pub time: Duration,
}

/// How often an act is done before the first that counts: caches are warm then.
const WARM_UP: usize = 2;

/// Does an act so many times.
pub fn measure<R: Rows>(room: &mut LargeRoom<R>, act: &Act<R>, times: usize) -> Cost {
    let (mut read, mut written, mut spent) = (0, 0, Vec::with_capacity(times));
    for n in 0..WARM_UP + times {
        room.take_counts();
        let start = Instant::now();
        (act.act)(room, n);
        let time = start.elapsed();
        if n >= WARM_UP {
            let counts = room.take_counts();
            (read, written) = (counts.0.max(read), counts.1.max(written));
            spent.push(time);
        }
    }
    spent.sort_unstable();
    Cost { read, written, time: spent[spent.len() / 2] }
}

/// All of them. Whoever is done something to is in the second quarter of the names, and a message in the middle of the
/// room.
pub const fn acts<R: Rows>() -> [Act<R>; 17] {
    [
        Act { name: "open, new to the client", act: |room, _| open(room, &reader(), &Vector::new()) },
        Act {
            name: "open, after a moment",
            act: |room, _| {
                let (_, before) = room.vectors(MISSED);
                open(room, &reader(), &before);
            },
        },
        Act { name: "page back from the end", act: |room, _| history(room, None, false) },
        Act { name: "page back from the middle", act: |room, n| history(room, Some(middle(room, n)), false) },
        Act { name: "page forward from the middle", act: |room, n| history(room, Some(middle(room, n)), true) },
        Act { name: "page forward from the start", act: |room, _| history(room, None, true) },
        Act { name: "members, first page", act: |room, _| members(room, String::new()) },
        Act {
            name: "members, a later page",
            act: |room, _| members(room, user(room.size.members / 4).as_str().to_owned()),
        },
        Act {
            name: "unread, nothing read",
            act: |room, n| {
                let (durable, _) = room.vectors(0);
                let unread = room.read(|room, view| {
                    read::summary(view, &durable, &room.room, &user(1 + n), &Default::default()).expect("rows").unread
                });
                assert!(unread >= 100, "{unread}");
            },
        },
        Act {
            name: "read marker",
            act: |room, n| {
                let (durable, _) = room.vectors(0);
                room.step(Input::MarkRead(user(room.size.members / 4 + n), room.room, durable.into()));
                room.commit();
            },
        },
        Act {
            name: "post",
            act: |room, _| {
                room.message(&reader());
                room.commit();
            },
        },
        Act {
            name: "edit",
            act: |room, n| {
                let (target, author) = room.messages[room.messages.len() / 2 + n].clone();
                one(room, &author, Kind::Edit(wire::Edit { target: Some(target.to_wire()) }));
            },
        },
        Act {
            name: "react",
            act: |room, n| {
                let target = Some(middle(room, n));
                one(room, &reader(), Kind::React(wire::React { target, symbol: "+".into() }));
            },
        },
        Act {
            name: "redact",
            act: |room, n| {
                let (target, author) = room.messages[room.messages.len() / 2 + n].clone();
                let target = Some(target.to_wire());
                one(room, &author, Kind::Redact(wire::Redact { target, author: String::new() }));
            },
        },
        Act {
            name: "join",
            act: |room, n| {
                let newcomer = user(room.size.members + n);
                one(room, &newcomer, Kind::Join(wire::Join {}));
            },
        },
        Act {
            name: "leave",
            act: |room, n| {
                let newcomer = user(room.size.members + n);
                one(room, &newcomer, Kind::Leave(wire::Leave {}));
            },
        },
        Act {
            name: "ban",
            act: |room, n| {
                let banned = user(room.size.members / 4 + n);
                let ban = wire::Ban { user: banned.as_str().to_owned(), ..Default::default() };
                one(room, &user(0), Kind::Ban(ban));
            },
        },
    ]
}

/// Somebody who has been there from the beginning.
fn reader() -> UserId {
    user(1)
}

fn one<R: Rows>(room: &mut LargeRoom<R>, by: &UserId, kind: Kind) {
    room.submit(by, kind);
    room.commit();
}

fn middle<R: Rows>(room: &LargeRoom<R>, n: usize) -> wire::RequestId {
    room.messages[room.messages.len() / 2 + n].0.to_wire()
}

fn history<R: Rows>(room: &mut LargeRoom<R>, from: Option<wire::RequestId>, forward: bool) {
    let request = wire::HistoryRequest { room: room.room.to_wire(), from, forward, limit: PAGE };
    let page = room.read(|room, view| read::history(view, room, 1, &reader(), &request).expect("rows"));
    assert_eq!(page.events.len(), PAGE as usize, "{}", page.detail);
}

fn members<R: Rows>(room: &mut LargeRoom<R>, after: String) {
    let request = wire::MembersRequest { room: room.room.to_wire(), after, limit: PAGE };
    let page = room.read(|room, view| read::members(view, room, 1, &reader(), &request).expect("rows"));
    assert_eq!(page.members.len(), PAGE as usize, "{}", page.detail);
}

/// A session from its hello until all of the room's events come live.
fn open<R: Rows>(room: &mut LargeRoom<R>, user: &UserId, cursor: &Vector) {
    let mut session = ServerSession::new(SessionConfig {
        id: SessionId(1),
        site: SiteId(1),
        site_name: String::new(),
        shard_count: 1,
        sites: [].into(),
        admission: Admission::Tokenless,
        limits: SessionLimits { resume_ops_max: RESUME_OPS_MAX, ..SessionLimits::default() },
    });
    let hello = wire::Hello {
        version_min: 1,
        version_max: 1,
        user: user.as_str().to_owned(),
        nonce: NONCE,
        cursors: held(room.room, cursor),
        ..Default::default()
    };
    let frame = wire::ClientFrame { frame: Some(wire::client_frame::Frame::Hello(hello)) };
    let mut out = Vec::new();
    session.handle(now(0), SessionInput::Frame(frame), &mut out);
    for _ in 0..READS_MAX {
        if !session.wants_read() {
            break;
        }
        room.read(|room, view| session.read(view, room, READ_BYTES, &mut out).expect("rows"));
        out.clear();
    }
    assert!(session.is_live(), "reading does not end");
}

fn held(room: RoomId, cursor: &Vector) -> Vec<wire::RoomCursor> {
    if cursor.is_empty() {
        return Vec::new();
    }
    vec![wire::RoomCursor { room: room.to_wire(), vector: Some(cursor.to_wire()), summary: 0 }]
}
