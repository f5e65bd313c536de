//! A relay in this process for the examples of the SDK's documentation.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use causeway_client::{Client, Config, Connector, Event, RoomId, SiteConfig, UserId};
use causeway_protocol::SiteId;
use causeway_relay::dev_tokens::{DEV_AUDIENCE, DEV_ISSUER, DevClaims, dev_token};
use causeway_relay::{Relay, RelayHandle, Settings, certs};

/// No example takes longer, unless it hangs.
const HANG_GUARD: Duration = Duration::from_secs(60);
/// Seconds that a token is good for.
const TOKEN_S: u64 = 600;

/// Runs an example against a site of its own on loopback, which wants tokens.
///
/// # Panics
/// The example fails, or hangs.
pub fn example(of: impl AsyncFnOnce(&Site) -> Result<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let run = async {
        let site = Site::start().await?;
        of(&site).await?;
        site.relay.shutdown().await.context("the site stops")
    };
    let ended = runtime.expect("a runtime").block_on(async { tokio::time::timeout(HANG_GUARD, run).await });
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(e)) => panic!("{e:?}"),
        Err(_) => panic!("the example hangs"),
    }
}

/// One relay with a shard, in a folder that goes with it.
pub struct Site {
    relay: RelayHandle,
    dir: tempfile::TempDir,
}

impl Site {
    async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let certs = dir.path().join("certs");
        certs::write_dev_certs(&certs, &[SiteId(1)])?;
        let (data, certs) = (dir.path().join("data"), certs.display());
        let settings = Settings::from_toml(&format!(
            "site = 1\nsite_name = \"seoul\"\ncluster = \"examples\"\nshards = 1\nthreads = 1\nio_threads = 1\n\
             shutdown_grace_ms = 1\ndata_dir = {data:?}\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
             ca = \"{certs}/ca.pem\"\ncert = \"{certs}/site-1.pem\"\nkey = \"{certs}/site-1.key\"\n\
             token_keys = \"{certs}/jwks.json\"\ntoken_issuer = \"{DEV_ISSUER}\"\ntoken_audience = \"{DEV_AUDIENCE}\"\n"
        ))?;
        let relay = Relay::start(causeway_relay::Config::from_settings(settings)?).await?;
        relay.ready().await;
        Ok(Self { relay, dir })
    }

    /// Where it is.
    pub fn sites(&self) -> Vec<SiteConfig> {
        vec![SiteConfig { name: "seoul".to_owned(), addresses: vec![self.relay.listen_address().to_string()] }]
    }

    /// The PEM file of the authority that signed its certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.path().join("certs/ca.pem")
    }

    /// A folder of the example's own.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// A way to reach it.
    ///
    /// # Errors
    /// No socket.
    pub fn connector(&self) -> Result<Connector> {
        Ok(Connector::new(Connector::roots_of_pem(&std::fs::read(self.ca())?)?)?)
    }

    /// A token of a user.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn token(&self, user: &str) -> Result<String> {
        let claims = DevClaims::from_now(user.to_owned(), DEV_ISSUER.to_owned(), DEV_AUDIENCE.to_owned(), TOKEN_S)?;
        dev_token(&self.dir.path().join("certs/token.key"), &claims)
    }

    /// A configuration with which a user gets in.
    ///
    /// # Errors
    /// As [`Site::connector`] and [`Site::token`].
    pub fn config(&self, user: &str) -> Result<Config> {
        Ok(Config::new(UserId::new(user)?, self.sites(), self.connector()?).token(self.token(user)?))
    }

    /// A user, connected.
    ///
    /// # Errors
    /// As [`Site::config`].
    pub async fn connect(&self, user: &str) -> Result<Client> {
        Ok(Client::connect(self.config(user)?).await?)
    }

    /// Ann in an open room, which she has made.
    ///
    /// # Errors
    /// The site refuses.
    pub async fn ann_in_a_room(&self) -> Result<(Client, RoomId)> {
        let ann = self.connect("ann").await?;
        let (room, made) = ann.create_room("lunch", true)?;
        made.stored().await?;
        until(&ann, || !ann.rooms().is_empty()).await?;
        Ok((ann, room))
    }

    /// Ann in an open room, and Bob, who has joined it.
    ///
    /// # Errors
    /// The site refuses.
    pub async fn ann_and_bob(&self) -> Result<(Client, Client, RoomId)> {
        let (ann, room) = self.ann_in_a_room().await?;
        let bob = self.connect("bob").await?;
        bob.join(room)?.stored().await?;
        until(&bob, || !bob.rooms().is_empty()).await?;
        Ok((ann, bob, room))
    }
}

/// Waits until a client has handed out a message with this text, and takes all events up to it.
///
/// # Errors
/// The client is closed.
pub async fn until_message(client: &Client, text: &str) -> Result<causeway_client::Message> {
    loop {
        match client.next_event().await.context("the client is closed")? {
            Event::Message(message) if message.content == text => return Ok(message),
            _ => {}
        }
    }
}

/// Takes events until a condition holds.
///
/// # Errors
/// The client is closed.
pub async fn until(client: &Client, holds: impl Fn() -> bool) -> Result<()> {
    while !holds() {
        client.next_event().await.context("the client is closed")?;
    }
    Ok(())
}
