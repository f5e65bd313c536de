//! Who types and who is there: datagrams from clients and peers, and on to others. Nothing of it is stored, and losing any
//! of it harms nobody, so every queue here drops what does not fit.
//!
//! Typing goes through one task, which looks up in batches whether users may type where they say, off the async threads.
//! A site judges for itself what its own sessions and its peers' say, and passes on to peers only what its own said.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use causeway_mailbox::Wakes;
use causeway_protocol::{DecodeError, RoomId, SiteId, UserId, decode_datagram, encode_datagram, wire};
use causeway_replica::io::SessionId;
use causeway_replica::read;
use causeway_replica::view::ViewError;
use quinn::{Connection, ConnectionError};
use tokio::sync::mpsc;

use crate::core::Core;
use crate::mail::{Live, News};
use crate::presence::{self, Activity, TICK_MS};
use crate::rates::Visitor;
use crate::token_bucket::TokenBucket;

/// Typing that waits to be looked up.
const TYPING_QUEUE_MAX: usize = 1_024;
/// Typing that is looked up at once.
const TYPING_BATCH_MAX: usize = 256;
/// Typing a second that is passed on in one room: more names nobody reads, and each goes to every member.
const ROOM_TYPING_PER_S: u64 = 5;
/// Typing that may come at once in one room.
const ROOM_TYPING_BURST: u64 = 10;
/// Rooms that are kept apart; further ones share one bucket.
const ROOMS_MAX: usize = 4_096;
/// Between two looks for rooms that can be forgotten, ms.
const SWEEP_MS: u64 = 1_000;
/// Datagrams a second of one peer: typing, and the presence of half a million users.
const PEER_DATAGRAMS_PER_S: u64 = 5_000;

/// Who sits at the other end of a client connection.
pub struct Seat {
    /// The session.
    pub session: SessionId,
    /// Who it was authenticated as.
    pub user: UserId,
    /// What it may ask for.
    pub visitor: Arc<Visitor>,
}

/// Somebody who types.
#[derive(Debug)]
pub struct Typing {
    room: RoomId,
    user: UserId,
    /// The peer that passed it on; `None` where it was one of this site's sessions.
    by: Option<SiteId>,
}

/// What goes between those who take datagrams and [`spread_typing`].
pub fn typing_queue() -> (mpsc::Sender<Typing>, mpsc::Receiver<Typing>) {
    mpsc::channel(TYPING_QUEUE_MAX)
}

/// Takes a client's datagrams until its connection ends, a stranger's too, whose are dropped.
pub async fn serve_client(core: Arc<Core>, connection: Connection, seat: Arc<OnceLock<Seat>>) {
    let mut present = None;
    while let Ok(datagram) = connection.read_datagram().await {
        tokio::task::coop::consume_budget().await;
        let now_ms = core.clock.now().mono_ms;
        let Some(seat) = seat.get().filter(|seat| seat.visitor.may_send_datagram(now_ms)) else {
            core.metrics.limited_datagrams.increment(1);
            continue;
        };
        match said_by_client(seat, &datagram) {
            Ok(Some(FromClient::Typing(typing))) => core.pass_on(typing),
            Ok(Some(FromClient::Activity(activity))) => {
                let key = presence::key(&seat.user);
                if core.presence.tell(now_ms, key, seat.session, activity) {
                    present = Some((key, seat.session));
                } else {
                    core.metrics.presence_refused.increment(1);
                }
            }
            // A kind of a later version.
            Ok(None) => {}
            Err(_) => {
                core.metrics.datagrams_malformed.increment(1);
                continue;
            }
        }
        core.metrics.datagrams.increment(1);
    }
    if let Some((key, session)) = present {
        core.presence.leave(core.clock.now().mono_ms, key, session);
    }
}

#[derive(Debug)]
enum FromClient {
    Typing(Typing),
    Activity(Activity),
}

fn said_by_client(seat: &Seat, datagram: &Bytes) -> Result<Option<FromClient>, DecodeError> {
    use wire::client_datagram::Datagram;
    let said: wire::ClientDatagram = decode_datagram("ClientDatagram", datagram)?;
    Ok(match said.datagram {
        Some(Datagram::Typing(typing)) => {
            let room = RoomId::from_wire(&typing.room)?;
            Some(FromClient::Typing(Typing { room, user: seat.user.clone(), by: None }))
        }
        Some(Datagram::Activity(wire::Activity { away: true })) => Some(FromClient::Activity(Activity::Away)),
        Some(Datagram::Activity(wire::Activity { away: false })) => Some(FromClient::Activity(Activity::Online)),
        None => None,
    })
}

/// Takes a peer's datagrams until its connection ends.
///
/// # Errors
/// Why the connection ended: it returns for nothing else.
pub async fn serve_peer(core: &Core, peer: SiteId, connection: &Connection) -> Result<(), ConnectionError> {
    let mut rate = TokenBucket::new(PEER_DATAGRAMS_PER_S, PEER_DATAGRAMS_PER_S, core.clock.now().mono_ms);
    loop {
        let datagram = connection.read_datagram().await?;
        tokio::task::coop::consume_budget().await;
        let now_ms = core.clock.now().mono_ms;
        if rate.take(now_ms, 1).is_err() {
            core.metrics.limited_datagrams.increment(1);
            continue;
        }
        match said_by_peer(peer, &datagram) {
            Ok(Some(FromPeer::Typing(typing))) => core.pass_on(typing),
            Ok(Some(FromPeer::Presences(said))) => {
                core.metrics.presence_refused.increment(core.presence.hear(now_ms, peer, &said));
            }
            // A kind of a later version.
            Ok(None) => {}
            Err(_) => {
                core.metrics.datagrams_malformed.increment(1);
                continue;
            }
        }
        core.metrics.datagrams.increment(1);
    }
}

#[derive(Debug)]
enum FromPeer {
    Typing(Typing),
    Presences(wire::Presences),
}

fn said_by_peer(peer: SiteId, datagram: &Bytes) -> Result<Option<FromPeer>, DecodeError> {
    use wire::peer_datagram::Datagram;
    let said: wire::PeerDatagram = decode_datagram("PeerDatagram", datagram)?;
    Ok(match said.datagram {
        Some(Datagram::Typing(typing)) => {
            let (room, user) = (RoomId::from_wire(&typing.room)?, UserId::new(&typing.user)?);
            Some(FromPeer::Typing(Typing { room, user, by: Some(peer) }))
        }
        Some(Datagram::Presences(presences)) => Some(FromPeer::Presences(presences)),
        None => None,
    })
}

impl Core {
    fn pass_on(&self, typing: Typing) {
        // A peer's word is for the sessions here only.
        if typing.by.is_some() && self.rooms.subscribers(&typing.room) == 0 {
            return;
        }
        if self.typing.try_send(typing).is_err() {
            self.metrics.typing_dropped.increment(1);
        }
    }

    fn may_type(&self, typing: &Typing) -> Result<bool, ViewError> {
        let wall_ms = self.clock.now().wall_ms;
        read::may_type(&self.store, &self.published, self.config.shards, wall_ms, &typing.room, &typing.user)
    }

    /// To the sessions here that have the room open, and, where a session here said it, to the peers.
    fn spread(&self, typing: Typing, wakes: &mut Wakes) {
        let Typing { room, user, by } = typing;
        let said = wire::Typing { room: room.to_wire(), user: user.as_str().to_owned() };
        if by.is_none() {
            let datagram = Some(wire::peer_datagram::Datagram::Typing(said.clone()));
            self.links.send_datagram(&encode_datagram(&wire::PeerDatagram { datagram }));
        }
        let datagram = Some(wire::server_datagram::Datagram::Typing(said));
        let datagram = encode_datagram(&wire::ServerDatagram { datagram });
        let queued = self.rooms.deliver_expendable(&room, &Live { room, news: News::Typing { user, datagram } }, wakes);
        self.metrics.typing_delivered.increment(queued as u64);
    }
}

/// Hands on who types, until the relay stops.
pub async fn spread_typing(core: Arc<Core>, mut said: mpsc::Receiver<Typing>) {
    let mut rooms = RoomRates::new(core.clock.now().mono_ms);
    let mut batch = Vec::new();
    while said.recv_many(&mut batch, TYPING_BATCH_MAX).await > 0 {
        let Ok(permit) = core.reads.clone().acquire_owned().await else { return };
        let taken = std::mem::take(&mut batch);
        let looked_up = tokio::task::spawn_blocking({
            let core = core.clone();
            move || {
                let kept = who_may(&core, taken);
                drop(permit);
                kept
            }
        });
        // A job that panics has aborted the process already.
        let Ok(kept) = looked_up.await else { return };
        let now_ms = core.clock.now().mono_ms;
        let mut wakes = Wakes::default();
        for typing in kept {
            if rooms.take(now_ms, typing.room) {
                core.spread(typing, &mut wakes);
            } else {
                core.metrics.typing_dropped.increment(1);
            }
        }
    }
}

fn who_may(core: &Core, mut said: Vec<Typing>) -> Vec<Typing> {
    said.retain(|typing| match core.may_type(typing) {
        Ok(may) => {
            core.metrics.typing_refused.increment(u64::from(!may));
            may
        }
        Err(e) => {
            tracing::error!("typing cannot be looked up: {e}");
            false
        }
    });
    said
}

/// How much typing is passed on in each room.
struct RoomRates {
    rooms: HashMap<RoomId, TokenBucket>,
    others: TokenBucket,
    swept_ms: u64,
}

impl RoomRates {
    fn new(now_ms: u64) -> Self {
        Self { rooms: HashMap::new(), others: Self::bucket(now_ms), swept_ms: now_ms }
    }

    fn bucket(now_ms: u64) -> TokenBucket {
        TokenBucket::new(ROOM_TYPING_PER_S, ROOM_TYPING_BURST, now_ms)
    }

    fn take(&mut self, now_ms: u64, room: RoomId) -> bool {
        if self.rooms.len() >= ROOMS_MAX && now_ms >= self.swept_ms + SWEEP_MS {
            self.swept_ms = now_ms;
            self.rooms.retain(|_, bucket| !bucket.is_full(now_ms));
        }
        let is_known = self.rooms.len() < ROOMS_MAX || self.rooms.contains_key(&room);
        let bucket = match is_known {
            true => self.rooms.entry(room).or_insert_with(|| Self::bucket(now_ms)),
            false => &mut self.others,
        };
        bucket.take(now_ms, 1).is_ok()
    }
}

/// Tells the peers who is here, until the relay stops.
pub async fn spread_presence(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for presences in core.presence.tick(core.clock.now().mono_ms) {
            let datagram = Some(wire::peer_datagram::Datagram::Presences(presences));
            core.links.send_datagram(&encode_datagram(&wire::PeerDatagram { datagram }));
        }
        core.metrics.presence_users.set(core.presence.users() as f64);
    }
}

#[cfg(test)]
#[path = "datagrams_tests.rs"]
mod tests;
