//! Where the session lives: dialling, welcomes, suspicion, failover, the way back.
//!
//! At most three connections stand at a time: the home, the spare (the standby), and a candidate for spare, when the
//! preferred site is tried while another one is the spare.

use causeway_protocol::{Code, limits, version, wire};
use prost::Message;

use super::Machine;
use super::config::Standby;
use super::io::{ClosedBySite, LinkId, MoveReason, Now, Output, SiteIndex};
use super::links::{Leaving, Link, Phase};

/// Decisions in a row that one input can cause. More means that they contradict each other.
const DECISIONS_MAX: usize = 16;

impl Machine {
    // ---- what connections report

    pub(super) fn opened(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.phase == Phase::Dialing) else { return };
        link.enter(Phase::Greeting, now.mono_ms);
        link.heartbeat.heard(now.mono_ms);
        self.put_hello(id);
    }

    fn put_hello(&mut self, id: LinkId) {
        let standby = self.home != Some(id);
        let hello = wire::Hello {
            version_min: version::VERSION_MIN,
            version_max: version::VERSION_MAX,
            user: self.config.user.as_str().to_owned(),
            nonce: self.nonce,
            token: self.config.token.clone(),
            cursors: if standby { Vec::new() } else { self.rooms.cursors() },
            standby,
            agent: self.config.agent.clone(),
        };
        if hello.encoded_len() > limits::HELLO_BYTES_MAX {
            // A site takes little from somebody it does not know yet: the name first, the cursors when it is known.
            let first = wire::Hello { cursors: Vec::new(), standby: true, ..hello.clone() };
            self.put(id, wire::client_frame::Frame::Hello(first));
        }
        self.put(id, wire::client_frame::Frame::Hello(hello));
    }

    pub(super) fn welcome(&mut self, now: Now, id: LinkId, welcome: &wire::Welcome) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.phase != Phase::Dialing) else { return };
        let site = link.site;
        if !(version::VERSION_MIN..=version::VERSION_MAX).contains(&welcome.version) {
            let detail = format!("the site speaks version {}", welcome.version);
            self.session_refused(site, Code::Version.number(), detail);
            return self.drop_link(now, id, "no common version", MoveReason::Closed);
        }
        let first = link.phase == Phase::Greeting;
        link.welcomed(now.mono_ms, welcome, self.config.limits.window_max);
        if !first {
            return;
        }
        let site_id = link.site_id;
        self.sites.learn(site, welcome);
        self.refused = None;
        let same = |other: &&Link| other.id != id && other.site_id.is_some() && other.site_id == site_id;
        let twin = self.links.values().find(same).map(|other| other.id);
        if let Some(twin) = twin {
            // Two entries of the list are one site: it cannot stand by for itself.
            let spared = if self.home == Some(id) { twin } else { id };
            self.close_alias(now, spared);
            if spared == id {
                return;
            }
        }
        if self.home == Some(id) {
            self.become_home(now, id);
        } else {
            if self.candidate == Some(id) {
                self.candidate = None;
                if let Some(former) = self.spare.replace(id) {
                    self.links.remove(&former);
                    self.outputs.push_back(Output::Close { link: former, reason: "another standby" });
                }
                self.requests.second_lost();
            }
            self.spare_attempts = 0;
            let jitter = self.jitter.up_to(self.config.timing.return_jitter_ms);
            if let Some(link) = self.links.get_mut(&id) {
                link.return_ms = Some(now.mono_ms + self.config.timing.return_after_ms + jitter);
            }
        }
        self.steer(now);
        self.pump_second(now);
    }

    fn close_alias(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.links.get(&id) {
            self.sites.mark_alias(link.site);
        }
        self.outputs.push_back(Output::Close { link: id, reason: "the same site twice" });
        self.forget(id);
        self.steer(now);
    }

    /// Everything goes to the site of this connection from now on. It is welcomed.
    fn become_home(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let to = link.site;
        link.return_ms = None;
        self.clock = link.clock().or(self.clock);
        self.home_attempts = 0;
        self.home_since_ms = now.mono_ms;
        self.homes += 1;
        let from = self.last_home.replace(to);
        let reason = if from.is_none() { MoveReason::First } else { self.move_reason };
        self.outputs.push_back(Output::Moved { from, to, reason });
        self.greet_live(now);
        self.requests.requeue_all(id, now.mono_ms + self.config.timing.second_site_after_ms);
        for (_, room) in self.rooms.iter_mut() {
            room.in_page = false;
        }
        self.pump(now);
        let since = now.mono_ms.saturating_sub(self.config.timing.mark_resend_ms);
        let due = |mark: &super::rooms::Mark| !mark.sent || mark.at_ms >= since;
        let marked: Vec<_> =
            self.rooms.iter_mut().filter(|(_, room)| room.mark.as_ref().is_some_and(due)).map(|(id, _)| id).collect();
        marked.into_iter().for_each(|room| self.send_mark(room));
        // Its first answer tells whether it is really there.
        self.ping(now, id);
    }

    pub(super) fn go_away(&mut self, now: Now, id: LinkId, go_away: &wire::GoAway) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.leaving = Leaving::Asked;
        if matches!(Code::from_number(go_away.code), Some(Code::Version | Code::Unauthenticated)) {
            let site = link.site;
            self.session_refused(site, go_away.code, go_away.detail.clone());
        }
        self.steer(now);
    }

    /// Passes the token on. Where a refused one kept the session out, the next attempt brings it: not an earlier one, for
    /// tokens that are no good may come as fast as refusals.
    pub(super) fn take_token(&mut self, token: String) {
        let open: Vec<LinkId> =
            self.links.values().filter(|link| link.phase != Phase::Dialing).map(|link| link.id).collect();
        for id in open {
            self.put(id, wire::client_frame::Frame::Renew(wire::Renew { token: token.clone() }));
        }
        self.config.token = token;
        self.refused = None;
    }

    pub(super) fn session_refused(&mut self, site: SiteIndex, code: u32, detail: String) {
        self.refused = Some((code, detail.clone()));
        self.outputs.push_back(Output::SessionRefused { site, code, detail });
    }

    pub(super) fn closed_by_host(&mut self, now: Now, id: LinkId, by_site: Option<ClosedBySite>) {
        let Some(site) = self.links.get(&id).map(|link| link.site) else { return };
        let refusal = by_site.filter(|closed| {
            use Code::{ProtocolError, TokenExpired, Unauthenticated, Version};
            matches!(Code::from_number(closed.code), Some(Version | Unauthenticated | ProtocolError | TokenExpired))
        });
        if let Some(ClosedBySite { code, detail }) = refusal {
            self.session_refused(site, code, detail);
        }
        self.lost(now, id, MoveReason::Closed);
        self.steer(now);
    }

    // ---- losing connections

    /// Closes a connection whose site failed.
    pub(super) fn drop_link(&mut self, now: Now, id: LinkId, reason: &'static str, move_reason: MoveReason) {
        self.outputs.push_back(Output::Close { link: id, reason });
        self.lost(now, id, move_reason);
        self.steer(now);
    }

    /// The connection is gone, and its site is to blame.
    fn lost(&mut self, now: Now, id: LinkId, reason: MoveReason) {
        let Some(link) = self.links.get(&id) else { return };
        let timing = &self.config.timing;
        self.sites.fail(now.mono_ms, link.site, timing, &mut self.jitter);
        if self.home == Some(id) {
            let (min, max) = (timing.dial_backoff_min_ms, timing.dial_backoff_max_ms);
            // The first attempt after a home was lost goes out at once.
            let pause = if link.is_live() { 0 } else { self.jitter.backoff(min, max, self.home_attempts) };
            self.home_attempts = self.home_attempts.saturating_add(1);
            self.home_dial_ms = now.mono_ms + pause;
            self.move_reason = reason;
        } else {
            let (min, max) = (timing.dial_backoff_min_ms, timing.dial_backoff_standby_max_ms);
            self.spare_dial_ms = now.mono_ms + self.jitter.backoff(min, max, self.spare_attempts);
            self.spare_attempts = self.spare_attempts.saturating_add(1);
        }
        self.forget(id);
    }

    fn forget(&mut self, id: LinkId) {
        self.links.remove(&id);
        if self.home == Some(id) {
            self.home = None;
        }
        if self.candidate == Some(id) {
            self.candidate = None;
        }
        if self.spare == Some(id) {
            self.spare = None;
            self.requests.second_lost();
        }
    }

    // ---- decisions

    /// Takes every decision that is due.
    pub(super) fn steer(&mut self, now: Now) {
        for _ in 0..DECISIONS_MAX {
            if self.closed || !self.decide(now) {
                return;
            }
        }
    }

    /// Takes the first decision that is due; `false` if none is.
    fn decide(&mut self, now: Now) -> bool {
        let Some(home) = self.home else { return self.find_home(now) };
        let timing = &self.config.timing;
        let Some(link) = self.links.get(&home) else { return false };
        let (live, leaving, site, dialed_ms) = (link.is_live(), link.leaving, link.site, link.dialed_ms);
        let drained = link.in_flight() == 0;
        let spare = self.spare.and_then(|id| self.links.get(&id));
        let spare_ready = spare.is_some_and(|spare| spare.is_live() && spare.leaving == Leaving::No);

        if spare_ready && !live && now.mono_ms >= dialed_ms + timing.dial_patience_ms {
            self.promote(now, "too slow to answer", MoveReason::Silent, true);
            return true;
        }
        if spare_ready && leaving != Leaving::No {
            self.promote(now, "as asked", MoveReason::Asked, true);
            return true;
        }
        let preferred = self.sites.preferred();
        if let Some(spare) = spare {
            let back = spare.site == preferred && live && self.sites.avoid_until_ms(preferred) <= now.mono_ms;
            let due = spare.return_ms.filter(|due| spare_ready && back && *due <= now.mono_ms);
            if due.is_some_and(|due| drained || now.mono_ms >= due + timing.return_drain_ms) {
                self.promote(now, "back to the preferred site", MoveReason::Return, false);
                return true;
            }
            if spare.leaving != Leaving::No {
                let id = spare.id;
                self.outputs.push_back(Output::Close { link: id, reason: "not fit to stand by" });
                self.lost(now, id, MoveReason::Asked);
                return true;
            }
            if !self.wants_spare(now) && spare.site != preferred {
                let id = spare.id;
                self.outputs.push_back(Output::Close { link: id, reason: "no standby needed" });
                self.forget(id);
                return true;
            }
        } else if self.candidate.is_none() && self.wants_spare(now) {
            let pick = match leaving {
                _ if now.mono_ms < self.spare_dial_ms => None,
                Leaving::No => self.sites.pick_well(now.mono_ms, &[site]),
                Leaving::Refusing | Leaving::Asked => self.sites.pick_any(now.mono_ms, &[site]),
            };
            if let Some(pick) = pick {
                self.spare = Some(self.dial(now, pick));
                return true;
            }
        }
        let linked = self.links.values().any(|link| link.site == preferred);
        let way_back = live && !linked && self.candidate.is_none();
        if way_back && self.sites.avoid_until_ms(preferred) <= now.mono_ms && now.mono_ms >= self.spare_dial_ms {
            self.candidate = Some(self.dial(now, preferred));
            return true;
        }
        false
    }

    /// There is no home.
    fn find_home(&mut self, now: Now) -> bool {
        let live = |id: &LinkId| self.links.get(id).is_some_and(Link::is_live);
        let better = self.candidate.filter(|id| live(id) || self.spare.is_none());
        if let Some(candidate) = better {
            self.candidate = None;
            if let Some(former) = self.spare.replace(candidate) {
                self.outputs.push_back(Output::Close { link: former, reason: "another standby" });
                self.links.remove(&former);
            }
            self.requests.second_lost();
        }
        if self.spare.is_some() {
            let reason = self.move_reason;
            self.promote(now, "", reason, false);
            return true;
        }
        if now.mono_ms < self.home_dial_ms {
            return false;
        }
        let Some(site) = self.sites.pick_any(now.mono_ms, &[]) else { return false };
        self.home = Some(self.dial(now, site));
        true
    }

    /// The spare becomes the home. The former home's connection, if there is one, is closed.
    fn promote(&mut self, now: Now, words: &'static str, reason: MoveReason, blame: bool) {
        let Some(spare) = self.spare.take() else { return };
        if let Some(former) = self.home.take() {
            self.outputs.push_back(Output::Close { link: former, reason: words });
            if let Some(link) = self.links.remove(&former).filter(|_| blame) {
                self.sites.fail(now.mono_ms, link.site, &self.config.timing, &mut self.jitter);
            }
        }
        self.move_reason = reason;
        self.home = Some(spare);
        // Clients of a dead site do not look for their next spare all in the same moment.
        self.spare_attempts = 0;
        self.spare_dial_ms = now.mono_ms + self.jitter.around(self.config.timing.dial_backoff_min_ms);
        let phase = self.links.get(&spare).map(|link| link.phase);
        if phase != Some(Phase::Dialing) {
            self.put_hello(spare);
        }
        if phase == Some(Phase::Live) {
            self.become_home(now, spare);
        } else if let Some(link) = self.links.get_mut(&spare) {
            link.dialed_ms = now.mono_ms;
        }
    }

    fn dial(&mut self, now: Now, site: SiteIndex) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(id, Link::new(id, site, now.mono_ms));
        self.outputs.push_back(Output::Dial { link: id, site });
        id
    }

    fn wants_spare(&self, now: Now) -> bool {
        match self.config.standby {
            Standby::Warm => true,
            // Something waits for a second site, or the home must be left: then even a cold client connects twice.
            Standby::Cold => {
                let home = self.home.and_then(|home| self.links.get(&home));
                let leave = home.is_some_and(|home| home.leaving != Leaving::No);
                let sent = self.spare.is_some() && self.requests.len() > 0;
                leave || sent || self.requests.next_second_ms().is_some_and(|due| due <= now.mono_ms)
            }
        }
    }
}
