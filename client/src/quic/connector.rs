//! How clients of one process reach sites: a UDP socket and the roots of trust, shared by all of them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use causeway_protocol::version;
use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Connections idle out after this. Suspicion is the session machine's and much sooner; this only cleans up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Round trip assumed before the first measurement: a lost first packet is sent again after about three of these.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Bytes of events that a site may have on the way to a client that does not read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Why there is no connector.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// No socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] io::Error),
    /// A root certificate is of no use.
    #[error("the root certificates cannot be used: {0}")]
    Roots(String),
}

/// A UDP socket and the roots of trust. Clones share the socket: one serves thousands of clients.
#[derive(Clone)]
pub struct Connector {
    pub(super) endpoint: quinn::Endpoint,
    pub(super) config: quinn::ClientConfig,
    pub(super) server_name: Option<Arc<str>>,
}

impl Connector {
    /// With a socket of its own, on any address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No socket, or unusable roots.
    ///
    /// # Example
    /// ```
    /// use causeway_client::Connector;
    ///
    /// # causeway_tests::example(async |site| {
    /// # let ca = site.ca();
    /// let roots = Connector::roots_of_pem(&std::fs::read(ca)?)?;
    /// let connector = Connector::new(roots)?;
    /// # Ok(()) });
    /// ```
    pub fn new(roots: Vec<CertificateDer<'static>>) -> Result<Self, ConnectorError> {
        // A dual-stack socket reaches both kinds of addresses; hosts without IPv6 have the other one.
        let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
            .or_else(|_| quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))?;
        Self::with_endpoint(endpoint, roots)
    }

    /// With this endpoint.
    ///
    /// # Errors
    /// Unusable roots.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Connector;
    /// # causeway_tests::example(async |site| {
    /// # let ca = site.ca();
    /// let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
    /// let connector = Connector::with_endpoint(endpoint, Connector::roots_of_pem(&std::fs::read(ca)?)?)?;
    /// # Ok(()) });
    /// ```
    pub fn with_endpoint(
        endpoint: quinn::Endpoint,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, ConnectorError> {
        let mut store = rustls::RootCertStore::empty();
        for root in roots {
            store.add(root).map_err(|e| ConnectorError::Roots(e.to_string()))?;
        }
        if store.is_empty() {
            return Err(ConnectorError::Roots("there is none".to_owned()));
        }
        let bad = |e: &dyn std::fmt::Display| ConnectorError::Roots(e.to_string());
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| bad(&e))?
            .with_root_certificates(store)
            .with_no_client_auth();
        tls.alpn_protocols = vec![version::ALPN_CLIENT.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(|e| bad(&e))?));
        config.transport_config(Arc::new(transport()));
        Ok(Self { endpoint, config, server_name: None })
    }

    /// Expects this name in the certificates of all sites, whatever address they are dialled at. Without it, the host
    /// of the address.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::{Client, Config, UserId};
    /// # causeway_tests::example(async |site| {
    /// # let (connector, token) = (site.connector()?, site.token("ann")?);
    /// let connector = connector.server_name("localhost");
    /// let ann = Client::connect(Config::new(UserId::new("ann")?, site.sites(), connector).token(token)).await?;
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The certificates of a PEM text.
    ///
    /// # Errors
    /// There is none, or one does not parse.
    ///
    /// # Example
    /// ```
    /// use causeway_client::Connector;
    ///
    /// let error = Connector::roots_of_pem(b"no certificate").unwrap_err();
    /// assert_eq!(error.to_string(), "the root certificates cannot be used: the file holds none");
    /// ```
    pub fn roots_of_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConnectorError> {
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let roots = roots.map_err(|e| ConnectorError::Roots(e.to_string()))?;
        if roots.is_empty() { Err(ConnectorError::Roots("the file holds none".to_owned())) } else { Ok(roots) }
    }

    /// Waits until every closed connection has told its site.
    ///
    /// # Example
    /// ```
    /// # use causeway_client::Client;
    /// # causeway_tests::example(async |site| {
    /// # let mut config = site.config("ann")?;
    /// # let connector = config.connector.clone();
    /// # let ann = Client::connect(config).await?;
    /// ann.close().await;
    /// connector.wait_idle().await;
    /// # Ok(()) });
    /// ```
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// Datagrams that have come and were not taken yet, bytes; beyond it the oldest is dropped.
const DATAGRAMS_RECEIVED_BYTES: usize = 64 << 10;
/// Datagrams that wait to be sent, bytes; beyond it the oldest is dropped.
const DATAGRAMS_SENT_BYTES: usize = 8 << 10;

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(Some(quinn::IdleTimeout::from(quinn::VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32))))
        .initial_rtt(INITIAL_RTT)
        .datagram_receive_buffer_size(Some(DATAGRAMS_RECEIVED_BYTES))
        .datagram_send_buffer_size(DATAGRAMS_SENT_BYTES)
        .stream_receive_window(quinn::VarInt::from_u32(STREAM_WINDOW_BYTES))
        .max_concurrent_bidi_streams(quinn::VarInt::from_u32(0))
        .max_concurrent_uni_streams(quinn::VarInt::from_u32(4));
    transport
}
