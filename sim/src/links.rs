//! Peer links and the host's periodic duties: dial, ping, notice silence, compare clocks.
//!
//! A link is a pair of reliable streams, or, in half of the runs, lossy datagrams: a replica must live with both.

use std::collections::BTreeMap;

use causeway_protocol::{Code, SiteId, limits};
use causeway_replica::io::{Input, SessionId};
use causeway_replica::session::SessionInput;

use crate::network::Place;
use crate::pipes::PipeId;
use crate::queue::{MS, Micros, SECOND};
use crate::sites::HOST_TIMER;
use crate::world::{Cargo, Epoch, Event, LinkId, PeerCargo, Step, World};

/// A link that brought nothing for so long is down.
const LINK_SILENCE_MAX: Micros = 2 * SECOND;
/// A dial is given up after this, and tried again.
const DIAL_EVERY: Micros = 600 * MS;
/// A measured clock difference counts for so long.
const CLOCK_SAMPLE_MAX_AGE: Micros = 10 * SECOND;
/// A clock sample over a slower round trip says too little.
const CLOCK_ROUND_TRIP_MAX: Micros = 400 * MS;

/// One end of a link, or a dial under way.
pub struct LinkEnd {
    link: LinkId,
    up: bool,
    /// Where links are streams.
    to_peer: Option<PipeId>,
    last_heard: Micros,
    dialled: Micros,
    /// The peer's wall clock minus ours, ms; when measured.
    clock_ahead: Option<(i64, Micros)>,
}

impl World {
    /// What a process does every so often.
    pub fn host_timer(&mut self, id: SiteId, epoch: Epoch) -> Step {
        if self.site(id).process.as_ref().is_none_or(|process| process.epoch != epoch) {
            return Ok(());
        }
        self.look_after_links(id)?;
        self.look_after_clock(id)?;
        self.look_after_erasures(id)?;
        self.look_after_connections(id)?;
        self.checks.sends.none_waits_too_long(id, self.queue.now(), self.sites[usize::from(id.0) - 1].sync_time)?;
        self.pump_sessions(id)?;
        self.queue.after(HOST_TIMER, Event::HostTimer(id, epoch));
        Ok(())
    }

    fn look_after_links(&mut self, id: SiteId) -> Step {
        let now = self.now();
        for peer in (1..=self.plan.sites as u16).map(SiteId).filter(|peer| *peer != id) {
            let Some(process) = self.site(id).process.as_mut() else { return Ok(()) };
            match process.links.get(&peer) {
                Some(end) if end.up && now - end.last_heard > LINK_SILENCE_MAX => self.link_down(id, peer),
                Some(end) if end.up => self.to_peer(id, peer, PeerCargo::Ping(now)),
                Some(end) if now - end.dialled < DIAL_EVERY => {}
                _ if id < peer => self.dial_peer(id, peer),
                _ => {}
            }
        }
        Ok(())
    }

    fn dial_peer(&mut self, id: SiteId, peer: SiteId) {
        let now = self.now();
        let link = LinkId(self.fresh());
        let end = LinkEnd { link, up: false, to_peer: None, last_heard: now, dialled: now, clock_ahead: None };
        if let Some(process) = self.site(id).process.as_mut() {
            process.links.insert(peer, end);
        }
        // A handshake's packets are sent again until an answer comes: only a cut stops it.
        if self.net.open(Place::Site(id), Place::Site(peer)) && self.net.open(Place::Site(peer), Place::Site(id)) {
            let delay = self.net.stream_delay(Place::Site(id), Place::Site(peer));
            self.queue.after(delay, Event::LinkDialled { link, from: id, to: peer });
        }
    }

    /// The end that was dialled takes a new link in the place of an old one.
    pub fn link_dialled(&mut self, link: LinkId, from: SiteId, to: SiteId) -> Step {
        let now = self.now();
        let Some(process) = self.site(to).process.as_ref() else { return Ok(()) };
        if process.links.get(&from).is_some_and(|end| end.up) {
            self.link_down(to, from);
        }
        self.link_stands(link, to, from, now);
        self.to_peer(to, from, PeerCargo::Accepted);
        self.tell_shards(to, &Input::PeerUp(from));
        Ok(())
    }

    fn link_stands(&mut self, link: LinkId, id: SiteId, peer: SiteId, now: Micros) {
        let streams = !self.plan.datagram_links;
        let to_peer = streams.then(|| self.pipes.open(Place::Site(id), Place::Site(peer), now));
        let end = LinkEnd { link, up: true, to_peer, last_heard: now, dialled: now, clock_ahead: None };
        if let Some(process) = self.site(id).process.as_mut() {
            process.links.insert(peer, end);
        }
        self.trace.note(now, "link", &[id.0.into(), peer.0.into(), link.0], || format!("{id} - {peer} up at {id}"));
    }

    fn link_down(&mut self, id: SiteId, peer: SiteId) {
        let now = self.now();
        let Some(end) = self.site(id).process.as_mut().and_then(|process| process.links.remove(&peer)) else { return };
        end.to_peer.iter().for_each(|pipe| self.pipes.close(*pipe));
        self.trace.note(now, "link", &[id.0.into(), peer.0.into(), 0], || format!("{id} - {peer} down at {id}"));
        self.coverage.hit("link down");
        self.tell_shards(id, &Input::PeerDown(peer));
    }

    /// Sends to a peer, if there is a link.
    pub fn to_peer(&mut self, id: SiteId, peer: SiteId, cargo: PeerCargo) {
        let Some(end) = self.site(id).process.as_ref().and_then(|process| process.links.get(&peer)) else { return };
        if !end.up {
            return;
        }
        let (link, pipe) = (end.link, end.to_peer);
        match pipe {
            Some(pipe) => self.send(pipe, Cargo::Peer(link, peer, cargo), 100),
            None => {
                // The link's acceptance is the handshake's, which is not lossy.
                if matches!(cargo, PeerCargo::Accepted) {
                    let delay = self.net.stream_delay(Place::Site(id), Place::Site(peer));
                    self.queue.after(delay, Event::Datagram(link, peer, cargo));
                } else {
                    self.send_datagram(link, id, peer, cargo);
                }
            }
        }
    }

    /// Something arrives on a link.
    pub fn peer_cargo(&mut self, link: LinkId, id: SiteId, cargo: PeerCargo) -> Step {
        let now = self.now();
        let wall_ms = self.site(id).clock.read(now).wall_ms;
        let Some(process) = self.site(id).process.as_mut() else { return Ok(()) };
        let Some((peer, end)) = process.links.iter_mut().find(|(_, end)| end.link == link) else { return Ok(()) };
        let peer = *peer;
        end.last_heard = now;
        match cargo {
            PeerCargo::Accepted if !end.up => {
                self.link_stands(link, id, peer, now);
                self.tell_shards(id, &Input::PeerUp(peer));
            }
            PeerCargo::Ping(sent) => self.to_peer(id, peer, PeerCargo::Pong(sent, wall_ms)),
            PeerCargo::Pong(sent, clock_ms) if end.up => {
                let round_trip = now - sent;
                if round_trip <= CLOCK_ROUND_TRIP_MAX {
                    let then = clock_ms as i64 + (round_trip / 2 / MS) as i64;
                    end.clock_ahead = Some((then - wall_ms as i64, now));
                }
            }
            PeerCargo::Shard(frame) if end.up => {
                let shard = causeway_protocol::ShardId(frame.shard as u16);
                self.tell_shard(id, shard, Input::Peer(peer, frame));
            }
            _ => {}
        }
        Ok(())
    }

    /// D1a: a site whose clock is off the median of two or more peers' accepts nothing and sends clients away.
    fn look_after_clock(&mut self, id: SiteId) -> Step {
        let now = self.now();
        let Some(process) = self.site(id).process.as_mut() else { return Ok(()) };
        let fresh = |at: Micros| now - at <= CLOCK_SAMPLE_MAX_AGE;
        let samples = process.links.values().filter_map(|end| end.clock_ahead).filter(|(_, at)| fresh(*at));
        let mut ahead: Vec<i64> = samples.map(|(ahead, _)| ahead).collect();
        ahead.sort_unstable();
        let accepting = match ahead.len() {
            0 | 1 => true,
            n => ((ahead[(n - 1) / 2] + ahead[n / 2]) / 2).unsigned_abs() <= limits::CLOCK_SKEW_MAX_MS,
        };
        if process.accepting == accepting {
            return Ok(());
        }
        process.accepting = accepting;
        process.accepting_since = now;
        let sessions: Vec<SessionId> = process.sessions.keys().copied().collect();
        self.trace.note(now, "clock", &[id.0.into(), accepting.into()], || format!("site {id} accepts: {accepting}"));
        self.tell_shards(id, &Input::Accepting(accepting));
        if !accepting {
            self.coverage.hit("clock off: refuses writes");
            for session in sessions {
                let words = "the site's clock is off".to_owned();
                self.tell_session(id, session, SessionInput::GoAway(Code::ClockOff, words))?;
            }
        }
        Ok(())
    }

    /// Links of a process that died are gone with it; the other ends find out by silence.
    pub fn links_of_dead_process(&mut self, links: BTreeMap<SiteId, LinkEnd>) {
        for end in links.into_values() {
            end.to_peer.iter().for_each(|pipe| self.pipes.close(*pipe));
        }
    }
}
