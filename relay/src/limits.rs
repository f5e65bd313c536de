//! What clients may take of a site, as it is configured; and how a limit is told.

use causeway_protocol::limits;

use crate::config::{ConfigError, ranged};
use crate::settings::Settings;

/// The limits of a site. Each is described at [`Settings`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each field is described where it can be set")]
pub struct Limits {
    pub handshakes_per_s: u64,
    pub source_handshakes_per_s: u64,
    pub handshakes_retry_above: usize,
    pub user_connections_max: usize,
    pub connection_requests_per_s: u64,
    pub connection_bytes_per_s: u64,
    pub user_requests_per_s: u64,
    pub user_bytes_per_s: u64,
    pub connection_in_flight_bytes_max: usize,
    pub user_rooms_max: usize,
    pub room_members_max: u64,
    pub body_bytes_max: usize,
    pub frame_bytes_max: usize,
    pub history_page_max: u32,
}

const HANDSHAKES_DEFAULT: i64 = 2_000;
const SOURCE_HANDSHAKES_DEFAULT: i64 = 400;
const RETRY_ABOVE_DEFAULT: i64 = 256;
const MEMBERS_DEFAULT: i64 = 1_000_000;
const MEMBERS_MAX: i64 = 100_000_000;
const USER_CONNECTIONS_DEFAULT: i64 = 100;
const REQUESTS_DEFAULT: i64 = 50_000;
const BYTES_DEFAULT: i64 = 64 << 20;
const IN_FLIGHT_BYTES_DEFAULT: i64 = 8 << 20;
const RATE_MAX: i64 = 1_000_000;
const BYTES_MAX: i64 = 1 << 40;
/// A frame of the largest body, and of the largest hello that is not a connection's first.
const FRAME_BYTES_MIN: i64 = 128 << 10;

impl Limits {
    /// Checks the settings and fills in the defaults.
    pub fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let rate = |field, value, default| ranged(field, value, default, 1, RATE_MAX).map(|n| n as u64);
        // Below a frame's length the largest ones would never pass.
        let bytes = |field, value, default| {
            ranged(field, value, default, limits::FRAME_BYTES_MAX as i64, BYTES_MAX).map(|n| n as u64)
        };
        let size = |field, value, default: i64, min, max| ranged(field, value, default, min, max).map(|n| n as usize);
        let (rooms, contents) = (limits::ROOMS_PER_USER_MAX as i64, limits::CONTENT_BYTES_MAX as i64);
        let (frames, page) = (limits::FRAME_BYTES_MAX as i64, i64::from(limits::HISTORY_PAGE_MAX));
        Ok(Self {
            handshakes_per_s: rate("handshakes_per_s", s.handshakes_per_s, HANDSHAKES_DEFAULT)?,
            source_handshakes_per_s: rate(
                "source_handshakes_per_s",
                s.source_handshakes_per_s,
                SOURCE_HANDSHAKES_DEFAULT,
            )?,
            handshakes_retry_above: size(
                "handshakes_retry_above",
                s.handshakes_retry_above,
                RETRY_ABOVE_DEFAULT,
                0,
                1_000,
            )?,
            user_connections_max: size(
                "user_connections_max",
                s.user_connections_max,
                USER_CONNECTIONS_DEFAULT,
                1,
                RATE_MAX,
            )?,
            connection_requests_per_s: rate(
                "connection_requests_per_s",
                s.connection_requests_per_s,
                REQUESTS_DEFAULT,
            )?,
            connection_bytes_per_s: bytes("connection_bytes_per_s", s.connection_bytes_per_s, BYTES_DEFAULT)?,
            user_requests_per_s: rate("user_requests_per_s", s.user_requests_per_s, REQUESTS_DEFAULT)?,
            user_bytes_per_s: bytes("user_bytes_per_s", s.user_bytes_per_s, BYTES_DEFAULT)?,
            connection_in_flight_bytes_max: size(
                "connection_in_flight_bytes_max",
                s.connection_in_flight_bytes_max,
                IN_FLIGHT_BYTES_DEFAULT,
                1 << 10,
                1 << 30,
            )?,
            user_rooms_max: size("user_rooms_max", s.user_rooms_max, rooms, 1, rooms)?,
            room_members_max: size("room_members_max", s.room_members_max, MEMBERS_DEFAULT, 2, MEMBERS_MAX)? as u64,
            body_bytes_max: size("body_bytes_max", s.body_bytes_max, contents, 1 << 10, contents)?,
            frame_bytes_max: size("frame_bytes_max", s.frame_bytes_max, frames, FRAME_BYTES_MIN, frames)?,
            history_page_max: size("history_page_max", s.history_page_max, page, 1, page)? as u32,
        })
    }

    /// Of an encoded body: its content's limit, and its envelope.
    pub fn encoded_body_bytes_max(&self) -> usize {
        self.body_bytes_max + (limits::BODY_BYTES_MAX - limits::CONTENT_BYTES_MAX)
    }
}

/// A limit that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    /// The setting that says it.
    pub setting: &'static str,
    /// What it says.
    pub max: u64,
    /// Of what, such as `requests a second of this connection`.
    pub of: &'static str,
    /// When to try again, ms.
    pub retry_after_ms: u64,
}

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { setting, max, of, retry_after_ms } = self;
        write!(f, "the limit of {max} {of} (`{setting}`) is reached: try again in {retry_after_ms} ms")
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
