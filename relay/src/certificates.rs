//! The certificates in use. They are read again when their files change, so that they can be renewed under running
//! connections: those go on, new handshakes use what was read last.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use causeway_protocol::SiteId;
use quinn::Endpoint;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::core::Core;
use crate::tls::{Identity, TlsError};
use crate::tokens::{Version, version};
use crate::transport;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What handshakes need, made of one state of the files.
struct Made {
    server: quinn::ServerConfig,
    peer_client: quinn::ClientConfig,
    api: TlsAcceptor,
    /// `None`: the admin server speaks plain HTTP.
    admin: Option<TlsAcceptor>,
    expires_s: i64,
}

/// The files that a certificate is made of.
#[derive(Clone)]
struct Files {
    site: SiteId,
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    /// The authority of operators.
    admin_ca: Option<PathBuf>,
    /// Whether endpoints take datagrams.
    presence: bool,
}

/// The authority, the site's certificate and its key, and what is made of them.
pub struct Certificates {
    files: Files,
    made: ArcSwap<Made>,
    /// Of the files that were loaded.
    loaded: [Option<Version>; 4],
}

impl Files {
    fn versions(&self) -> [Option<Version>; 4] {
        [Some(&self.ca), Some(&self.cert), Some(&self.key), self.admin_ca.as_ref()].map(|path| version(path?))
    }

    fn read(&self) -> Result<Made, TlsError> {
        let identity = Identity::load(self.site, &self.ca, &self.cert, &self.key)?;
        Ok(Made {
            server: transport::server_config(&identity, self.presence)?,
            peer_client: transport::peer_client_config(&identity, self.presence)?,
            api: TlsAcceptor::from(Arc::new(identity.https()?)),
            admin: self
                .admin_ca
                .as_deref()
                .map(|ca| identity.admin(ca))
                .transpose()?
                .map(|tls| TlsAcceptor::from(Arc::new(tls))),
            expires_s: identity.expires_s(),
        })
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn load(config: &Config) -> Result<Self, TlsError> {
        let (ca, cert, key) = (config.ca.clone(), config.cert.clone(), config.key.clone());
        let admin_ca = config.admin_ca.clone();
        let files = Files { site: config.site, ca, cert, key, admin_ca, presence: config.presence };
        // Before they are read: what changes meanwhile is read once more.
        let loaded = files.versions();
        let made = files.read()?;
        Ok(Self { files, made: ArcSwap::from_pointee(made), loaded })
    }

    /// For an endpoint that takes connections.
    pub fn server(&self) -> quinn::ServerConfig {
        self.made.load().server.clone()
    }

    /// For dialling another site.
    pub fn peer_client(&self) -> quinn::ClientConfig {
        self.made.load().peer_client.clone()
    }

    /// For the API's next connection.
    pub fn api(&self) -> TlsAcceptor {
        self.made.load().api.clone()
    }

    /// For the admin server's next connection; `None`: it speaks plain HTTP.
    pub fn admin(&self) -> Option<TlsAcceptor> {
        self.made.load().admin.clone()
    }

    /// Reads the files again whenever one of them has changed, for ever. What cannot be used changes nothing, and is
    /// said; that is so for a moment, too, where one file of two has been replaced.
    pub async fn follow(self: Arc<Self>, core: Arc<Core>, endpoint: Endpoint) {
        let mut seen = self.loaded;
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            let left_s = self.made.load().expires_s as f64 - core.clock.now().wall_ms as f64 / 1e3;
            core.metrics.certificate_expires_seconds.set(left_s);
            ticks.tick().await;
            let files = self.files.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let now = files.versions();
                (now != seen).then(|| (now, files.read()))
            });
            let Some((now, read)) = looked.await.expect("a panic aborts the process") else { continue };
            seen = now;
            match read {
                Ok(made) => {
                    self.take(made, &endpoint);
                    core.metrics.certificates_unusable.set(0.0);
                    tracing::info!("certificate, key and authority read again");
                }
                Err(e) => {
                    core.metrics.certificates_unusable.set(1.0);
                    tracing::warn!("the certificates stay as they were: {e}");
                }
            }
        }
    }

    fn take(&self, made: Made, endpoint: &Endpoint) {
        // All but the certificates stays: the key of Retry tokens, too, which clients are just bringing back.
        let mut server = self.server();
        server.crypto = made.server.crypto.clone();
        endpoint.set_server_config(Some(server.clone()));
        self.made.store(Arc::new(Made { server, ..made }));
    }
}
