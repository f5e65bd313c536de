//! Is a site still there? Pings, smoothed round trips, suspicion.
//!
//! A site is suspected when it has not said anything since a ping went out, for a few round trips. A request without
//! an answer is no ground: a slow disk delays answers, and the session that answers pings does not wait for disks.
//! Silence alone does not tell a dead site from a process of ours that did not run, or from a machine or a network that
//! is slow for everybody: so there is a moment of doubt, and the standby site is asked for its opinion.

use super::config::Timing;

/// Grants of more time in a row to a site when it was this process that did not run.
const GRACES_MAX: u32 = 2;

struct Ping {
    token: u64,
    sent_ms: u64,
    /// From when silence counts: the sending, or the end of our own stall.
    since_ms: u64,
    graces: u32,
    /// The time was up once; until then what has arrived may still be read.
    doubt_until_ms: Option<u64>,
}

/// A connection's signs of life.
pub(super) struct Heartbeat {
    heard_ms: u64,
    ping: Option<Ping>,
    next_token: u64,
    pong_ms: u64,
    /// Smoothed round trip and its variation, in 1/8 ms; `None` before the first sample (RFC 6298).
    srtt_8: Option<(u64, u64)>,
}

impl Heartbeat {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { heard_ms: now_ms, ping: None, next_token: 1, pong_ms: now_ms, srtt_8: None }
    }

    /// Anything came.
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        if let Some(ping) = &mut self.ping {
            ping.doubt_until_ms = None;
        }
    }

    /// A round trip took this long.
    pub(super) fn sample(&mut self, rtt_ms: u64) {
        let r = rtt_ms * 8;
        self.srtt_8 = Some(match self.srtt_8 {
            None => (r, r / 2),
            Some((srtt, var)) => ((7 * srtt + r) / 8, (3 * var + srtt.abs_diff(r)) / 4),
        });
    }

    /// Smoothed round trip, ms; 0 before the first sample.
    pub(super) fn srtt_ms(&self) -> u64 {
        self.srtt_8.map_or(0, |(srtt, _)| srtt / 8)
    }

    /// Silence after a ping that makes a suspect.
    pub(super) fn suspect_after_ms(&self, timing: &Timing) -> u64 {
        let rounds = self.srtt_8.map_or(0, |(srtt, var)| (2 * srtt + 4 * var) / 8);
        (rounds + timing.suspect_slack_ms).clamp(timing.suspect_min_ms, timing.suspect_max_ms)
    }

    /// When the next ping is due, where `interval_ms` of silence calls for one; `None` while one is out.
    pub(super) fn ping_due_ms(&self, interval_ms: u64, refresh_ms: u64) -> Option<u64> {
        match self.ping {
            Some(_) => None,
            None => Some((self.heard_ms + interval_ms).min(self.pong_ms + refresh_ms)),
        }
    }

    /// A ping goes out: its token.
    pub(super) fn send_ping(&mut self, now_ms: u64) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.ping = Some(Ping { token, sent_ms: now_ms, since_ms: now_ms, graces: 0, doubt_until_ms: None });
        token
    }

    /// Its answer came: the round trip, ms. `None` for an answer to nothing.
    pub(super) fn pong(&mut self, now_ms: u64, token: u64) -> Option<u64> {
        let ping = self.ping.take_if(|ping| ping.token == token)?;
        let rtt_ms = now_ms.saturating_sub(ping.sent_ms);
        self.sample(rtt_ms);
        self.pong_ms = now_ms;
        Some(rtt_ms)
    }

    /// While a ping is out: since when the site has been silent.
    pub(super) fn silent_since_ms(&self) -> Option<u64> {
        self.ping.as_ref().map(|ping| ping.since_ms.max(self.heard_ms))
    }

    /// When anything came last.
    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// Whether a ping is out.
    pub(super) fn is_pinging(&self) -> bool {
        self.ping.is_some()
    }

    /// When the site becomes a suspect if it stays silent, with this many times the usual patience.
    pub(super) fn suspect_ms(&self, timing: &Timing, patience: u64) -> Option<u64> {
        let ping = self.ping.as_ref()?;
        let silent = ping.since_ms.max(self.heard_ms) + patience * self.suspect_after_ms(timing);
        Some(silent.max(ping.doubt_until_ms.unwrap_or(0)))
    }

    /// The time is up: there is doubt until then.
    pub(super) fn doubt(&mut self, until_ms: u64) {
        if let Some(ping) = &mut self.ping {
            ping.doubt_until_ms = Some(until_ms);
        }
    }

    /// Whether there was doubt already.
    pub(super) fn is_doubted(&self) -> bool {
        self.ping.as_ref().is_some_and(|ping| ping.doubt_until_ms.is_some())
    }

    /// This process did not run for a while: what the site sent meanwhile may not have been read.
    pub(super) fn forgive_stall(&mut self, now_ms: u64) -> bool {
        match &mut self.ping {
            Some(ping) if ping.graces < GRACES_MAX => {
                ping.graces += 1;
                ping.since_ms = now_ms;
                true
            }
            _ => false,
        }
    }
}
