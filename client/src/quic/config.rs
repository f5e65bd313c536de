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
    ///
    /// # Example
    /// ```
    /// use causeway_client::{Config, SiteConfig, UserId};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let connector = site.connector()?;
    /// let site = |name: &str, address: &str| SiteConfig { name: name.into(), addresses: vec![address.into()] };
    /// let sites = vec![site("seoul", "seoul.example:4433"), site("busan", "busan.example:4433")];
    /// let config = Config::new(UserId::new("ann")?, sites, connector);
    /// assert_eq!(config.session.sites.len(), 2);
    /// # Ok(()) });
    /// ```
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
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Client, Standby};
    /// # causeway_tests::example(async |site| {
    /// # let config = site.config("ann")?;
    /// // On a phone a second connection would keep the radio awake.
    /// let ann = Client::connect(config.standby(Standby::Cold)).await?;
    /// # assert_eq!(ann.status().standby, None);
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn standby(mut self, standby: Standby) -> Self {
        self.session.standby = standby;
        self
    }

    /// With this token in the hello; [`crate::Client::set_token`] gives a newer one later.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Client;
    /// # causeway_tests::example(async |site| {
    /// # let (config, token) = (site.config("ann")?, site.token("ann")?);
    /// let ann = Client::connect(config.token(token)).await?;
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.session.token = token.into();
        self
    }

    /// With a way to get newer tokens when a site refuses the present one. A session that ends with its token is opened
    /// again; an application that knows when its tokens end saves that by [`crate::Client::set_token`] in time.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Client;
    /// # causeway_tests::example(async |site| {
    /// # let config = site.config("ann")?.token("one that has ended");
    /// # let newer = site.token("ann")?;
    /// # async fn ask_for_a_token(newer: String) -> String { newer }
    /// let config = config.refresh(move || {
    ///     let newer = newer.clone();
    ///     async move { Ok(ask_for_a_token(newer).await) }
    /// });
    /// let ann = Client::connect(config).await?;
    /// # Ok(()) });
    /// ```
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
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Client;
    /// # causeway_tests::example(async |site| {
    /// # let config = site.config("ann")?;
    /// let ann = Client::connect(config.presence(false)).await?;
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn presence(mut self, presence: bool) -> Self {
        self.session.presence = presence;
        self
    }

    /// With this store.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Client;
    /// use causeway_client::store::{FileStore, Sync};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let (config, folder) = (site.config("ann")?, site.folder());
    /// let store = FileStore::open(folder.join("ann.causeway"), Sync::System)?;
    /// let ann = Client::connect(config.store(store)).await?;
    /// # Ok(()) });
    /// ```
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
