//! A client's list of rooms, against what its home site's rows say.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_client::machine::{Invitation, RoomView};
use causeway_protocol::wire::request::Kind;
use causeway_protocol::{Dot, Message, RequestId, RoomId, SiteId, UserId, Vector, limits, preview, wire};
use causeway_replica::key::{Key, Register};
use causeway_replica::view::{Cf, View};

use super::Violation;
use super::marks::flag_of;
use super::reads::Reader;
use super::rights::{Model, acts_of};

/// A message, or an edit of one, as it shows.
struct Shown {
    user: String,
    mentions: Vec<String>,
    /// Its acceptances that show.
    dots: Vec<Dot>,
    body: Option<Bytes>,
    /// The body goes at a time.
    expires: bool,
}

/// Everything of a room that a list of rooms depends on, by brute force.
struct Room {
    name: String,
    /// The messages that show.
    messages: BTreeMap<RequestId, Shown>,
    /// Message and edit: the edits that show.
    edits: BTreeMap<(RequestId, RequestId), Shown>,
    /// Where each of its requests was accepted, those that do not show too.
    known: BTreeMap<RequestId, BTreeSet<SiteId>>,
    topic: String,
    pins: Vec<RequestId>,
    knocking: Vec<String>,
    /// All that it was ever called, and all its topics.
    names: BTreeSet<String>,
}

/// What a client's list has wrong; `None` where it is as its home site's rows are. `rooms`: those that the user is in.
pub fn wrong(views: &[RoomView], rooms: &[RoomId], reader: &Reader<'_>) -> Result<Option<String>, Violation> {
    let served: Vec<&RoomView> = views.iter().filter(|view| view.served).collect();
    if let Some(lacks) = rooms.iter().find(|room| !served.iter().any(|view| view.room == **room)) {
        return Ok(Some(format!("{lacks:?} is not in the list")));
    }
    if let Some(much) = served.iter().find(|view| !rooms.contains(&view.room)) {
        return Ok(Some(format!("{:?} is in the list, and the user not in the room", much.room)));
    }
    if !views.is_sorted_by_key(|view| std::cmp::Reverse(view.place())) {
        return Ok(Some("the list is not in order".to_owned()));
    }
    for view in served {
        if let Some(wrong) = wrong_room(view, &Room::of(reader, view.room)?, reader)? {
            return Ok(Some(format!("{:?}: {wrong}", view.room)));
        }
    }
    Ok(None)
}

/// A room that a client shows as marked unread, or not, other than its home site's row.
pub fn wrong_flag(views: &[RoomView], reader: &Reader<'_>) -> Option<String> {
    let served = views.iter().filter(|view| view.served);
    let flag = |view: &RoomView| flag_of(reader.view, reader.user, &view.room).unread;
    let wrong = served.into_iter().find(|view| view.marked_unread != flag(view))?;
    Some(format!("{:?} is shown with marked unread {}, unlike its row", wrong.room, wrong.marked_unread))
}

/// What a client's list of invitations has wrong, by its home site's rows.
pub fn wrong_invitations<'a>(
    told: &[Invitation],
    rooms: impl IntoIterator<Item = &'a RoomId>,
    reader: &Reader<'_>,
) -> Result<Option<String>, Violation> {
    let element = |key: Key| -> wire::ElementRow {
        let row = reader.view.get(Cf::Element, &key.encode()).ok().flatten();
        row.and_then(|row| wire::ElementRow::decode(row).ok()).unwrap_or_default()
    };
    let mut standing: BTreeMap<RoomId, RequestId> = BTreeMap::new();
    for room in rooms {
        let member = element(Key::Member(*room, reader.user.clone()));
        // A lifting that is hidden lifts nothing.
        let is_lifted = |by: &wire::Revocation| by.lifts.iter().any(|lift| !lift.hidden);
        let is_banned = member.revocations.iter().any(|by| by.ban && by.until_ms == 0 && !is_lifted(by));
        let invited = element(Key::Invited(*room, reader.user.clone()));
        let last = invited.tags.iter().map(RequestId::from_wire).max();
        if let Some(id) = last.filter(|_| member.tags.is_empty() && !is_banned) {
            standing.insert(*room, id);
        }
    }
    let told: BTreeMap<RoomId, RequestId> = told.iter().map(|invitation| (invitation.room, invitation.id)).collect();
    Ok((told != standing).then(|| format!("it was told of the invitations {told:?}, not of {standing:?}")))
}

fn wrong_room(view: &RoomView, room: &Room, reader: &Reader<'_>) -> Result<Option<String>, Violation> {
    // What was stored at one site only, and was lost with it, was shown, and stays.
    if view.name != room.name && room.names.contains(&view.name) {
        return Ok(Some(format!("its name is {:?}, not {:?}", room.name, view.name)));
    }
    if view.topic != room.topic && (view.topic.is_empty() || room.names.contains(&view.topic)) {
        return Ok(Some(format!("its topic is {:?}, not {:?}", room.topic, view.topic)));
    }
    if view.pins != room.pins {
        return Ok(Some(format!("{:?} are pinned, not {:?}", room.pins, view.pins)));
    }
    if view.knocks != room.knocking {
        return Ok(Some(format!("{:?} ask to be let in, not {:?}", room.knocking, view.knocks)));
    }
    let (last, told) = (room.messages.last_key_value(), view.last.as_ref());
    let knows = |id: &RequestId| {
        let by = reader.sends.acked_by(view.room, *id);
        room.known.get(id).is_some_and(|sites| by.iter().all(|site| sites.contains(site)))
    };
    let is_lost = told.is_some_and(|told| !knows(&told.id) && last.is_none_or(|(id, _)| *id < told.id));
    let (last, told) = if is_lost { (None, None) } else { (last, told) };
    if last.map(|(id, _)| *id) != told.map(|told| told.id) {
        return Ok(Some(format!("its newest message is {:?}, not {told:?}", last.map(|(id, _)| id))));
    }
    if let (Some((id, message)), Some(told)) = (last, told) {
        let edits = room.edits.range((*id, RequestId::MIN)..=(*id, RequestId::MAX));
        let edit = edits.rev().find(|(_, edit)| edit.user == message.user).filter(|_| message.body.is_some());
        let body = edit.map_or(&message.body, |(_, edit)| &edit.body);
        let body = body.as_ref().map(|body| wire::Body::decode(body.clone()).unwrap_or_default());
        let content = preview(&body.as_ref().map(|body| body.content.clone()).unwrap_or_default());
        // So do an edit and a redaction that were lost so.
        let is_redacted_still = || {
            let user = UserId::new(&told.user).ok();
            user.and_then(|user| reader.sends.redactions_of(view.room, *id, &user))
                .is_some_and(|by| by.iter().all(knows))
        };
        let is_as_lost = match told.edit {
            _ if told.body_gone => body.is_some() && !is_redacted_still(),
            Some(shown) => edit.is_none_or(|((_, edit), _)| *edit < shown) && !knows(&shown),
            None => false,
        };
        let may_go = told.expires_ms.is_some() || message.expires;
        let is_as_lost = is_as_lost || (may_go && told.body_gone != body.is_none());
        let is_same = (told.body_gone, &told.content) == (body.is_none(), &content) || is_as_lost;
        if !is_same || told.user != message.user {
            return Ok(Some(format!("its newest message is {:?} {content:?}, not {told:?}", message.user)));
        }
    }
    // A marker of another device may be under way.
    let marker = reader.view.get(Cf::Read, &Key::Read(view.room, reader.user.clone()).encode()).ok().flatten();
    let marker = marker.and_then(|row| wire::ReadRow::decode(row).ok()).unwrap_or_default();
    let marker = Vector::from_wire_opt(marker.vector.as_ref()).unwrap_or_default();
    if view.read != marker {
        return Ok(None);
    }
    let me = reader.user.as_str();
    let unread = |message: &&Shown| message.user != me && !message.dots.iter().any(|dot| marker.covers(dot));
    let unread: Vec<&Shown> = room.messages.values().filter(unread).collect();
    let mentions = unread.iter().filter(|message| message.mentions.iter().any(|name| name == me)).count() as u64;
    let count = (unread.len() as u64).min(limits::UNREAD_MAX);
    Ok(((view.unread, view.mentions) != (count, mentions))
        .then(|| format!("unread {count}, mentions {mentions}, not {} and {}", view.unread, view.mentions)))
}

impl Room {
    fn of(reader: &Reader<'_>, room: RoomId) -> Result<Self, Violation> {
        let acts = acts_of(reader.view, &room)?;
        let rights = Model::of(&acts);
        let name = reader.view.get(Cf::Element, &Key::Register(room, Register::Name).encode()).ok().flatten();
        let name = name.and_then(|row| wire::RegisterRow::decode(row).ok()).unwrap_or_default();
        let mut found = Self {
            name: String::from_utf8_lossy(&name.value).into_owned(),
            messages: BTreeMap::new(),
            edits: BTreeMap::new(),
            known: BTreeMap::new(),
            names: BTreeSet::new(),
            topic: rights.topic(),
            pins: rights.pinned(),
            knocking: rights.knocking().into_iter().map(str::to_owned).collect(),
        };
        for (key, value) in reader.view.family(Cf::Request) {
            let Some(Key::Request(of, id)) = Key::decode(Cf::Request, key) else { continue };
            if of != room {
                continue;
            }
            let row = wire::RequestRow::decode(value.clone()).unwrap_or_default();
            let request = wire::Request::decode(row.request).unwrap_or_default();
            let sites = row.dots.iter().filter_map(|dot| Dot::from_wire(dot).ok()).map(|dot| dot.origin.site);
            found.known.insert(id, sites.collect());
            match &request.kind {
                Some(Kind::Create(create)) => _ = found.names.insert(create.name.clone()),
                Some(Kind::SetName(set)) => _ = found.names.insert(set.name.clone()),
                Some(Kind::SetProfile(set)) => found.names.extend(set.topic.clone()),
                _ => {}
            }
            if !rights.shows(&id) {
                continue;
            }
            let dots = row.dots.iter().filter_map(|dot| Dot::from_wire(dot).ok());
            let dots = dots.filter(|dot| !rights.is_hidden(dot)).collect();
            let (user, body, expires) = (row.user, row.body, row.deadline_ms != 0);
            match request.kind {
                Some(Kind::Message(wire::Message { mentions, .. })) => {
                    found.messages.insert(id, Shown { user, mentions, dots, body, expires });
                }
                Some(Kind::Edit(wire::Edit { target: Some(target) })) => {
                    let shown = Shown { user, mentions: Vec::new(), dots, body, expires };
                    found.edits.insert((RequestId::from_wire(&target), id), shown);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}
