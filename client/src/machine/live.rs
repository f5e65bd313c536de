//! Typing and presence: said in datagrams that may be lost, heard, and let lapse. Nothing of it is kept.

use std::collections::BTreeMap;

use causeway_protocol::{Bytes, DecodeError, RoomId, UserId, decode_datagram, limits, wire};
use wire::client_datagram::Datagram;

use super::Machine;
use super::io::{LinkId, Now, Output};
use super::links::Link;

/// Rooms of which it is known when the user typed there last. Beyond it one may be told of more often than need be.
const TYPED_MAX: usize = 64;
/// Others who type, in all rooms. Further ones are not shown.
const TYPING_MAX: usize = 256;

/// What is known of typing and presence at the moment.
#[derive(Default)]
pub(super) struct Live {
    /// Where the user types: when the site was told last, ms.
    typed: BTreeMap<RoomId, u64>,
    /// Who else types: until when, ms.
    typing: BTreeMap<(RoomId, String), u64>,
    away: bool,
    /// When the site is to be told again that the user is there, ms; `None` while there is no home.
    activity_ms: Option<u64>,
}

impl Machine {
    fn live_home(&self) -> Option<LinkId> {
        self.home.and_then(|id| self.links.get(&id)).filter(|link| link.is_live()).map(|link| link.id)
    }

    fn put_datagram(&mut self, link: LinkId, datagram: Datagram) {
        let datagram = wire::ClientDatagram { datagram: Some(datagram) };
        self.outputs.push_back(Output::Datagram { link, datagram });
    }

    // ---- said

    pub(super) fn say_typing(&mut self, now: Now, room: RoomId) {
        let Some(home) = self.live_home().filter(|_| self.config.presence) else { return };
        let typed = &mut self.live.typed;
        typed.retain(|_, at_ms| now.mono_ms < *at_ms + limits::TYPING_EVERY_MS);
        if typed.contains_key(&room) {
            return;
        }
        if typed.len() >= TYPED_MAX {
            typed.pop_first();
        }
        typed.insert(room, now.mono_ms);
        self.put_datagram(home, Datagram::Typing(wire::TypingIn { room: room.to_wire() }));
    }

    /// A message was sent: what is typed from now on is another one.
    pub(super) fn typed_to_the_end(&mut self, room: RoomId) {
        self.live.typed.remove(&room);
    }

    pub(super) fn take_away(&mut self, now: Now, away: bool) {
        if std::mem::replace(&mut self.live.away, away) != away {
            self.say_activity(now);
        }
    }

    /// Tells the home, if there is one, that the user is there.
    fn say_activity(&mut self, now: Now) {
        self.live.activity_ms = None;
        let Some(home) = self.live_home().filter(|_| self.config.presence) else { return };
        self.live.activity_ms = Some(now.mono_ms + limits::PRESENCE_EVERY_MS);
        self.put_datagram(home, Datagram::Activity(wire::Activity { away: self.live.away }));
    }

    /// Another site is the home: it has heard nothing yet.
    pub(super) fn greet_live(&mut self, now: Now) {
        self.live.typed.clear();
        self.say_activity(now);
    }

    // ---- heard

    pub(super) fn datagram(&mut self, now: Now, link: LinkId, datagram: &Bytes) {
        if let Some(link) = self.links.get_mut(&link) {
            link.heartbeat.heard(now.mono_ms);
        }
        if self.home != Some(link) {
            return;
        }
        let heard = self.hear(now, datagram);
        self.counters.malformed += u64::from(heard.is_err());
    }

    fn hear(&mut self, now: Now, datagram: &Bytes) -> Result<(), DecodeError> {
        let heard: wire::ServerDatagram = decode_datagram("ServerDatagram", datagram)?;
        match heard.datagram {
            Some(wire::server_datagram::Datagram::Typing(typing)) => self.typing(now, &typing),
            // A kind of a later version.
            None => Ok(()),
        }
    }

    fn typing(&mut self, now: Now, typing: &wire::Typing) -> Result<(), DecodeError> {
        let (room, user) = (RoomId::from_wire(&typing.room)?, UserId::new(&typing.user)?);
        if user == self.config.user {
            return Ok(());
        }
        let until_ms = now.mono_ms + limits::TYPING_LAPSE_MS;
        let known = &mut self.live.typing;
        let key = (room, user.as_str().to_owned());
        if let Some(known) = known.get_mut(&key) {
            *known = until_ms;
        } else if known.len() < TYPING_MAX {
            known.insert(key.clone(), until_ms);
            self.outputs.push_back(Output::Typing { room, user: key.1, typing: true });
        }
        Ok(())
    }

    /// Ends the typing of those for whom it holds no longer.
    fn end_typing(&mut self, ends: impl Fn(&RoomId, &str, u64) -> bool) {
        let outputs = &mut self.outputs;
        self.live.typing.retain(|(room, user), until_ms| {
            let ended = ends(room, user, *until_ms);
            if ended {
                outputs.push_back(Output::Typing { room: *room, user: user.clone(), typing: false });
            }
            !ended
        });
    }

    /// What the user was typing has come.
    pub(super) fn heard_from(&mut self, room: RoomId, user: &str) {
        self.end_typing(|of, by, _| *of == room && by == user);
    }

    /// Nothing more is heard of the room.
    pub(super) fn hears_no_more_of(&mut self, room: RoomId) {
        self.end_typing(|of, _, _| *of == room);
    }

    // ---- time

    pub(super) fn tick_live(&mut self, now: Now) {
        self.end_typing(|_, _, until_ms| until_ms <= now.mono_ms);
        if self.live.activity_ms.is_some_and(|at_ms| at_ms <= now.mono_ms) {
            self.say_activity(now);
        }
    }

    pub(super) fn next_live_ms(&self) -> Option<u64> {
        let is_home = self.home.and_then(|id| self.links.get(&id)).is_some_and(Link::is_live);
        let activity = self.live.activity_ms.filter(|_| is_home);
        self.live.typing.values().copied().chain(activity).min()
    }
}
