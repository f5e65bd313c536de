//! Connections: what the machine knows of each.

use causeway_protocol::{SiteId, wire};

use super::heartbeat::Heartbeat;
use super::io::{LinkId, SiteIndex};

/// How much longer a home that answers no request is kept where the standby has not answered any either.
const UNCONFIRMED_FACTOR: u64 = 4;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The host connects.
    Dialing,
    /// The hello is out.
    Greeting,
    /// Welcomed.
    Live,
}

/// Whether a site is to be left although its connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// No.
    No,
    /// It refuses requests because of its own state; one that it accepts ends this.
    Refusing,
    /// It asked for it.
    Asked,
}

pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) site: SiteIndex,
    pub(super) phase: Phase,
    /// When the phase began, ms.
    pub(super) since_ms: u64,
    /// When it was dialled, ms.
    pub(super) dialed_ms: u64,
    pub(super) heartbeat: Heartbeat,
    /// The site's number, once welcomed.
    pub(super) site_id: Option<SiteId>,
    /// The cluster has no other site.
    pub(super) single_site: bool,
    /// Whether the session is to leave this site.
    pub(super) leaving: Leaving,
    /// Submits that may be in flight.
    window: u32,
    in_flight: u32,
    /// While submits are in flight: since when none was answered.
    unanswered_ms: Option<u64>,
    /// When a submit was answered last.
    answered_ms: u64,
    /// The site's wall clock minus our monotonic one, ms.
    clock: Option<i64>,
    /// As the standby connection to the preferred site: when to return there.
    pub(super) return_ms: Option<u64>,
}

impl Link {
    pub(super) fn new(id: LinkId, site: SiteIndex, now_ms: u64) -> Self {
        Self {
            id,
            site,
            phase: Phase::Dialing,
            since_ms: now_ms,
            dialed_ms: now_ms,
            heartbeat: Heartbeat::new(now_ms),
            site_id: None,
            single_site: false,
            leaving: Leaving::No,
            window: 0,
            in_flight: 0,
            unanswered_ms: None,
            answered_ms: 0,
            clock: None,
            return_ms: None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    pub(super) fn enter(&mut self, phase: Phase, now_ms: u64) {
        self.phase = phase;
        self.since_ms = now_ms;
    }

    pub(super) fn welcomed(&mut self, now_ms: u64, welcome: &wire::Welcome, window_max: u32) {
        self.site_id = u16::try_from(welcome.site).ok().filter(|id| *id != 0).map(SiteId);
        self.single_site = welcome.sites.len() <= 1;
        // A site that names no window still takes one request at a time.
        self.window = welcome.outbox_window_max.clamp(1, window_max.max(1));
        if self.phase == Phase::Greeting {
            let rtt_ms = now_ms.saturating_sub(self.since_ms);
            self.heartbeat.sample(rtt_ms);
            self.set_clock(now_ms, welcome.clock_ms, rtt_ms);
            self.enter(Phase::Live, now_ms);
        }
    }

    /// The site's clock as an answer gave it: half a round trip old.
    pub(super) fn set_clock(&mut self, now_ms: u64, clock_ms: u64, rtt_ms: u64) {
        if clock_ms > 0 {
            self.clock = Some((clock_ms + rtt_ms / 2) as i64 - now_ms as i64);
        }
    }

    pub(super) fn clock(&self) -> Option<i64> {
        self.clock
    }

    // ---- submits in flight

    pub(super) fn has_room(&self) -> bool {
        self.is_live() && self.in_flight < self.window
    }

    /// Whether it takes another request as the standby.
    pub(super) fn has_room_for_second(&self, window_max: u32) -> bool {
        self.has_room() && self.in_flight < window_max
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn submitted(&mut self, now_ms: u64) {
        self.in_flight += 1;
        self.unanswered_ms.get_or_insert(now_ms);
    }

    pub(super) fn answered(&mut self, now_ms: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answered_ms = now_ms;
        self.unanswered_ms = (self.in_flight > 0).then_some(now_ms);
    }

    /// When the site has let submits wait for `patience_ms`; for several times as long, where `spare` has not answered
    /// any meanwhile either.
    pub(super) fn stalled_ms(&self, patience_ms: u64, spare: &Link) -> Option<u64> {
        let since = self.unanswered_ms?;
        let factor = if spare.answered_ms > since { 1 } else { UNCONFIRMED_FACTOR };
        Some(since + factor * patience_ms)
    }
}
