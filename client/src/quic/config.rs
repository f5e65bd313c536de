//! What a client is made with, why it may not come to be, how it stands.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use causeway_protocol::{SiteId, UserId};

use super::connector::Connector;
use crate::machine::{self, SiteConfig, Standby};
use crate::store::{MemoryStore, Store};

/// When an event counts as handled, so that it is not shown again after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Commit {
    /// When the application asks for further events.
    #[default]
    Auto,
    /// When the application says so: [`crate::Client::commit`].
    Manual,
}

/// A newer token on its way.
pub type Refreshing = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// Gets a newer token, from wherever the application has its tokens; the error is for the log.
pub type TokenRefresh = Box<dyn Fn() -> Refreshing + Send>;

/// What a client is made with.
pub struct Config {
    /// Session: user, sites in order of preference, standby, bounds, time constants.
    pub session: machine::Config,
    /// Socket and roots of trust.
    pub connector: Connector,
    /// Asked when a site says that the token has ended or is no good. One call at a time, and one a refusal: a call that
    /// hangs holds back the next.
    pub refresh: Option<TokenRefresh>,
    /// Keeps outbox and cursors.
    pub store: Box<dyn Store>,
    /// When an event counts as handled.
    pub commit: Commit,
    /// Events that wait for the application. When so many wait, the site is not read from until some are taken.
    pub events_max: usize,
    /// Hand out what becomes of requests as [`crate::Event::Progress`] as well.
    pub progress_events: bool,
    /// How long [`crate::Client::connect`] waits for the first site.
    pub connect_timeout: Duration,
}

impl Config {
    /// With a warm standby, a store in memory, automatic commits.
    pub fn new(user: UserId, sites: Vec<SiteConfig>, connector: Connector) -> Self {
        Self {
            session: machine::Config::new(user, sites),
            connector,
            refresh: None,
            store: Box::new(MemoryStore::new()),
            commit: Commit::Auto,
            events_max: 4_096,
            progress_events: false,
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// With a standby connection or without.
    #[must_use]
    pub fn standby(mut self, standby: Standby) -> Self {
        self.session.standby = standby;
        self
    }

    /// With this token in the hello; [`crate::Client::set_token`] gives a newer one later.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.session.token = token.into();
        self
    }

    /// With a way to get newer tokens when a site refuses the present one. A session that ends with its token is opened
    /// again; an application that knows when its tokens end saves that by [`crate::Client::set_token`] in time.
    #[must_use]
    pub fn refresh<F>(mut self, refresh: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        self.refresh = Some(Box::new(move || Box::pin(refresh())));
        self
    }

    /// Whether others are told that the user is there, and types; they are unless this says no. What others tell is
    /// heard in either case.
    #[must_use]
    pub fn presence(mut self, presence: bool) -> Self {
        self.session.presence = presence;
        self
    }

    /// With this store.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Box::new(store);
        self
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The store could not be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] io::Error),
    /// No site is named.
    #[error("no site is configured")]
    NoSites,
    /// The operating system gives no random numbers.
    #[error("no random numbers: {0}")]
    Random(String),
    /// The sites would not have the session.
    #[error("refused with code {code}: {detail}")]
    Refused {
        /// The code's number.
        code: u32,
        /// The site's words.
        detail: String,
    },
    /// No site answered in time.
    #[error("no site answered within {0:?}")]
    Unreachable(Duration),
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The home site, once it has welcomed the session; `None` while there is none.
    pub site: Option<SiteId>,
    /// Its name.
    pub site_name: String,
    /// For how long it has been the home.
    pub since: Duration,
    /// The name of the welcomed standby site.
    pub standby: Option<String>,
    /// Smoothed round trip to the home site, by QUIC's reckoning.
    pub rtt: Duration,
    /// Requests that are not yet replicated.
    pub outbox_requests: usize,
    /// Their bytes.
    pub outbox_bytes: usize,
    /// Those among them that are stored at one site.
    pub outbox_stored: usize,
    /// Those among them that a site refused for now, and that may be stored elsewhere.
    pub outbox_parked: usize,
    /// Homes so far.
    pub homes: u64,
    /// The last refusal of the session itself: code and words.
    pub refused: Option<(u32, String)>,
    /// The store's last error; sends are refused until it takes changes again.
    pub store_error: Option<String>,
}
