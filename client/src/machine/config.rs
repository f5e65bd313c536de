//! What a session machine is made with: who, where, and every bound and time constant.

use causeway_protocol::UserId;

/// Whether a spare connection is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Standby {
    /// A second site is connected and welcomed all the time: a failover costs no handshake.
    #[default]
    Warm,
    /// No spare connection (mobile: it would keep the radio awake). A failover dials.
    Cold,
}

/// A site as the application knows it. What a welcome says about it later replaces the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteConfig {
    /// The site's name, as in the cluster's configuration; empty where it is not known.
    pub name: String,
    /// `host:port`, in the order to try.
    pub addresses: Vec<String>,
}

/// What a machine is made with. Without `Debug`, for it holds the token.
#[derive(Clone)]
pub struct Config {
    /// Who signs in.
    pub user: UserId,
    /// The token of the hello; empty where the cluster runs without.
    pub token: String,
    /// Name and version of the SDK, for the site's logs.
    pub agent: String,
    /// In order of preference: the first is the preferred home. Further ones are learnt from welcomes.
    pub sites: Vec<SiteConfig>,
    /// Take further sites and addresses from welcomes.
    pub learn_sites: bool,
    /// Whether a spare connection is held.
    pub standby: Standby,
    /// Whether others are told that the user is there, and types. What others tell is heard in either case.
    pub presence: bool,
    /// Bounds of queues.
    pub limits: Limits,
    /// Time constants.
    pub timing: Timing,
}

impl Config {
    /// With the default bounds and times, and a warm standby.
    pub fn new(user: UserId, sites: Vec<SiteConfig>) -> Self {
        Self {
            user,
            token: String::new(),
            agent: concat!("causeway-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            sites,
            learn_sites: true,
            standby: Standby::Warm,
            presence: true,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }
}

/// Bounds of the machine's queues.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests in the outbox. One more is refused.
    pub outbox_requests_max: usize,
    /// Bytes of requests and bodies in the outbox. What would go beyond is refused.
    pub outbox_bytes_max: usize,
    /// Requests sent on a connection and not yet answered; the site's own limit applies as well.
    pub window_max: u32,
    /// Requests sent to the standby site and not yet answered: a second copy of everything must not be what brings an
    /// overloaded cluster down.
    pub second_window_max: u32,
    /// Ids of delivered requests that are remembered for one room, to drop second deliveries.
    pub shown_per_room_max: usize,
    /// The same for all rooms together; beyond it each room keeps [`Limits::shown_per_room_min`].
    pub shown_total_max: usize,
    /// What a room keeps when the total is reached.
    pub shown_per_room_min: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A few seconds of a busy bot, and hours of a person.
            outbox_requests_max: 4_096,
            outbox_bytes_max: 16 << 20,
            window_max: 1_024,
            second_window_max: 16,
            // A repetition comes when an author's outbox reaches a second site: after a second, or after minutes where
            // everything is overloaded. 16 bytes an id: at most 1 MiB a room and 4 MiB a client, if that much came.
            shown_per_room_max: 65_536,
            shown_total_max: 262_144,
            shown_per_room_min: 4_096,
        }
    }
}

/// Every time constant, milliseconds.
#[derive(Clone, Debug)]
pub struct Timing {
    /// A ping goes out when the home site has been silent for this long.
    pub heartbeat_ms: u64,
    /// The same while a request waits for its answer there.
    pub heartbeat_busy_ms: u64,
    /// The same for the standby connection.
    pub heartbeat_standby_ms: u64,
    /// The home site is pinged at least this often, for its clock.
    pub clock_refresh_ms: u64,
    /// A site that does not answer a ping is suspected no sooner than this ...
    pub suspect_min_ms: u64,
    /// ... and no later; between them `2 * srtt + 4 * rttvar + suspect_slack_ms` decides.
    pub suspect_max_ms: u64,
    /// What a site may need to answer beyond the network's time.
    pub suspect_slack_ms: u64,
    /// When the time is up, the host gets this long to read what may have arrived unread.
    pub suspect_confirm_ms: u64,
    /// Patience doubles with each failover for silence, until a home has been well for this long: sites that are slow
    /// because they are overloaded must not be loaded with clients that come and go.
    pub calm_after_ms: u64,
    /// A tick that comes this late means that this process did not run: a site is not blamed for it.
    pub stall_ms: u64,
    /// A connection that is not welcomed in this time is given up.
    pub dial_timeout_ms: u64,
    /// With a standby at hand the first connection is not waited for longer than this.
    pub dial_patience_ms: u64,
    /// Pause between two attempts to connect, at first ...
    pub dial_backoff_min_ms: u64,
    /// ... doubling to this while there is no home (with jitter) ...
    pub dial_backoff_max_ms: u64,
    /// ... and to this for the standby.
    pub dial_backoff_standby_max_ms: u64,
    /// A site that failed is avoided for this long, at first ...
    pub penalty_min_ms: u64,
    /// ... doubling with each failure to this.
    pub penalty_max_ms: u64,
    /// A home that has been well for this long is forgiven its failures.
    pub forgive_after_ms: u64,
    /// The preferred site must have been well on the standby connection for this long before the session
    /// goes back to it ...
    pub return_after_ms: u64,
    /// ... plus a random time up to this, so that a site's clients do not come back all at once.
    pub return_jitter_ms: u64,
    /// When going back, answers that are still due are waited for at most this long.
    pub return_drain_ms: u64,
    /// A request that is not `Replicated` after this is submitted to the standby site as well.
    pub second_site_after_ms: u64,
    /// A home that answers pings and no request for this long is left, if the standby answers requests meanwhile.
    pub ack_stall_ms: u64,
    /// A request refused situationally is tried again after this, at first ...
    pub retry_min_ms: u64,
    /// ... doubling to this.
    pub retry_max_ms: u64,
    /// A request refused because the site does not know the room or the membership (yet) is tried again for
    /// this long before the refusal is reported: replication may be under way.
    pub refusal_patience_ms: u64,
    /// Read markers set in this time before a failover are sent again.
    pub mark_resend_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 250,
            heartbeat_busy_ms: 100,
            heartbeat_standby_ms: 2_000,
            clock_refresh_ms: 10_000,
            suspect_min_ms: 400,
            suspect_max_ms: 800,
            suspect_slack_ms: 150,
            suspect_confirm_ms: 50,
            calm_after_ms: 20_000,
            stall_ms: 150,
            dial_timeout_ms: 2_000,
            dial_patience_ms: 700,
            dial_backoff_min_ms: 50,
            dial_backoff_max_ms: 1_000,
            dial_backoff_standby_max_ms: 10_000,
            penalty_min_ms: 2_000,
            penalty_max_ms: 120_000,
            forgive_after_ms: 300_000,
            return_after_ms: 5_000,
            return_jitter_ms: 10_000,
            return_drain_ms: 2_000,
            second_site_after_ms: 1_000,
            ack_stall_ms: 3_000,
            retry_min_ms: 100,
            retry_max_ms: 5_000,
            refusal_patience_ms: 2_000,
            mark_resend_ms: 10_000,
        }
    }
}
