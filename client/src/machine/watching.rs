//! Time: pings, silence and what is made of it, and when the next thing is due.

use causeway_protocol::wire;

use super::Machine;
use super::config::Standby;
use super::io::{LinkId, MoveReason, Now};
use super::links::{Leaving, Link};

/// A client that knows one site only has nowhere to go: it suspects that site this many times later, and while it waits
/// for nothing asks it so many times less often.
const ALONE_PATIENCE_FACTOR: u64 = 4;
/// Doublings of patience after failovers for silence.
const PATIENCE_DOUBLINGS_MAX: u32 = 3;
/// Another site's opinion on a silent one is waited for until the silence has lasted this many times
/// `Timing::suspect_max_ms`.
const OPINION_FACTOR: u64 = 2;

impl Machine {
    pub(super) fn ping(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let token = link.heartbeat.send_ping(now.mono_ms);
        self.put(id, wire::client_frame::Frame::Ping(wire::Ping { token }));
    }

    pub(super) fn pong(&mut self, now: Now, id: LinkId, pong: &wire::Pong) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(rtt_ms) = link.heartbeat.pong(now.mono_ms, pong.token) else { return };
        link.set_clock(now.mono_ms, pong.clock_ms, rtt_ms);
        if self.home == Some(id) {
            self.clock = link.clock().or(self.clock);
        }
    }

    /// Looks at every connection's clock: who is too slow, who is silent, who is to be pinged.
    pub(super) fn watch(&mut self, now: Now) {
        if self.home_is_calm(now) {
            self.silent_moves = 0;
        }
        self.ask_the_spare(now);
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get(&id) else { continue };
            let home = self.home == Some(id);
            if self.gone_ms(link).is_some_and(|at| at <= now.mono_ms) {
                self.gone(now, id);
            } else if home && self.stalled_ms(link).is_some_and(|at| at <= now.mono_ms) {
                self.silent_moves += 1;
                self.drop_link(now, id, "requests are not answered", MoveReason::Stalled);
            } else if self.ping_due_ms(link).is_some_and(|at| at <= now.mono_ms) {
                if now.mono_ms >= link.since_ms + self.config.timing.forgive_after_ms {
                    self.sites.forgive(link.site);
                }
                self.ping(now, id);
            }
        }
    }

    /// A connection's time is up.
    fn gone(&mut self, now: Now, id: LinkId) {
        let confirm_ms = self.config.timing.suspect_confirm_ms;
        let overdue = self.is_overdue(now, id);
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.is_live() {
            return self.drop_link(now, id, "not welcomed in time", MoveReason::Silent);
        }
        // First doubt, so that what has arrived can be read; then the spare's opinion. If the home answers before the
        // spare does, it was not the home that was slow.
        if !link.heartbeat.is_doubted() || !overdue {
            return link.heartbeat.doubt(now.mono_ms + confirm_ms);
        }
        if self.home == Some(id) {
            self.counters.suspicions += 1;
            self.silent_moves += 1;
        }
        self.drop_link(now, id, "silent", MoveReason::Silent);
    }

    /// Whether another site's answers confirm that this one is silent, or have been waited for long enough. The spare
    /// speaks for the home's silence, the home for everybody else's.
    fn is_overdue(&self, now: Now, id: LinkId) -> bool {
        let Some(silent_ms) = self.links.get(&id).and_then(|link| link.heartbeat.silent_since_ms()) else {
            return true;
        };
        let other = if self.home == Some(id) { self.spare } else { self.home };
        let Some(other) = other.and_then(|id| self.links.get(&id)).filter(|other| other.is_live()) else { return true };
        let waited = now.mono_ms.saturating_sub(silent_ms);
        other.heartbeat.heard_ms() > silent_ms || waited >= OPINION_FACTOR * self.config.timing.suspect_max_ms
    }

    /// While the home is silent, the spare is pinged in time to have answered when the home's time is up.
    fn ask_the_spare(&mut self, now: Now) {
        if let Some((at, spare)) = self.opinion_due()
            && at <= now.mono_ms
        {
            self.ping(now, spare);
        }
    }

    fn opinion_due(&self) -> Option<(u64, LinkId)> {
        let home = self.links.get(&self.home?)?;
        let spare = self.links.get(&self.spare?).filter(|spare| spare.is_live() && !spare.heartbeat.is_pinging())?;
        let silent_ms = home.heartbeat.silent_since_ms()?;
        let at = silent_ms + home.heartbeat.suspect_after_ms(&self.config.timing) / 2;
        (spare.heartbeat.heard_ms() <= silent_ms).then_some((at, spare.id))
    }

    fn home_is_calm(&self, now: Now) -> bool {
        self.silent_moves > 0
            && self.home.is_some()
            && now.mono_ms >= self.home_since_ms + self.config.timing.calm_after_ms
    }

    /// This process did not run for a while: what arrived meanwhile may be unread.
    pub(super) fn forgive_stall(&mut self, now: Now) {
        let forgiven =
            self.links.values_mut().filter_map(|link| link.heartbeat.forgive_stall(now.mono_ms).then_some(()));
        self.counters.stalls += u64::from(forgiven.count() > 0);
    }

    /// When the connection is given up.
    fn gone_ms(&self, link: &Link) -> Option<u64> {
        let timing = &self.config.timing;
        if !link.is_live() {
            return Some(link.dialed_ms + timing.dial_timeout_ms);
        }
        let alone = if self.home == Some(link.id) && self.sites.is_alone() { ALONE_PATIENCE_FACTOR } else { 1 };
        link.heartbeat.suspect_ms(timing, alone << self.silent_moves.min(PATIENCE_DOUBLINGS_MAX))
    }

    /// When a home that answers no request is left: only for a standby that is well.
    fn stalled_ms(&self, link: &Link) -> Option<u64> {
        let spare = self.links.get(&self.spare?).filter(|spare| spare.is_live())?;
        let patience_ms = self.config.timing.ack_stall_ms << self.silent_moves.min(PATIENCE_DOUBLINGS_MAX);
        link.stalled_ms(patience_ms, spare)
    }

    fn ping_due_ms(&self, link: &Link) -> Option<u64> {
        let timing = &self.config.timing;
        let interval = match (self.home == Some(link.id), link.in_flight() > 0) {
            _ if !link.is_live() => return None,
            (true, true) => timing.heartbeat_busy_ms,
            (true, false) if self.sites.is_alone() => ALONE_PATIENCE_FACTOR * timing.heartbeat_ms,
            (true, false) | (false, true) => timing.heartbeat_ms,
            (false, false) => timing.heartbeat_standby_ms,
        };
        link.heartbeat.ping_due_ms(interval, timing.clock_refresh_ms)
    }

    /// The next moment at which something here is due.
    pub(super) fn next_steering_ms(&self) -> Option<u64> {
        let of_links = self.links.values().flat_map(|link| {
            let stalled = if self.home == Some(link.id) { self.stalled_ms(link) } else { None };
            [self.gone_ms(link), self.ping_due_ms(link), stalled]
        });
        let of_links = of_links.flatten().min();
        let opinion = self.opinion_due().map(|(at, _)| at);
        of_links.into_iter().chain(opinion).chain(self.next_decision_ms()).min()
    }

    fn next_decision_ms(&self) -> Option<u64> {
        let timing = &self.config.timing;
        let Some(home) = self.home.and_then(|id| self.links.get(&id)) else { return Some(self.home_dial_ms) };
        let preferred = self.sites.preferred();
        let spare = self.spare.and_then(|id| self.links.get(&id));
        let mut due = Vec::with_capacity(3);
        if let Some(spare) = spare.filter(|spare| spare.is_live()) {
            if !home.is_live() {
                due.push(home.dialed_ms + timing.dial_patience_ms);
            }
            if spare.site == preferred
                && let Some(back) = spare.return_ms
            {
                let back = back.max(self.sites.avoid_until_ms(preferred));
                due.push(if home.in_flight() == 0 { back } else { back + timing.return_drain_ms });
            }
        }
        if spare.is_none() && self.candidate.is_none() {
            let well = match home.leaving {
                Leaving::No => self.sites.next_well_ms(&[home.site]),
                Leaving::Refusing | Leaving::Asked => self.sites.pick_any(0, &[home.site]).map(|_| self.spare_dial_ms),
            };
            let wanted = match self.config.standby {
                Standby::Warm => Some(0),
                Standby::Cold if home.leaving != Leaving::No => Some(0),
                Standby::Cold => self.requests.next_second_ms(),
            };
            due.extend(well.zip(wanted).map(|(well, wanted)| well.max(wanted).max(self.spare_dial_ms)));
        }
        if home.is_live() && self.candidate.is_none() && !self.links.values().any(|link| link.site == preferred) {
            due.push(self.sites.avoid_until_ms(preferred).max(self.spare_dial_ms));
        }
        due.into_iter().min()
    }
}
