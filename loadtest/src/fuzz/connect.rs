//! Connections to the relay under attack: as any client, and as the site whose certificate we have.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use causeway_protocol::version;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::site::Cluster;

/// What one step on a connection may take: a relay that is pressed may answer late, and need not answer at all.
pub const STEP_MAX: Duration = Duration::from_secs(2);

/// Where the relay is, and who we can be.
pub struct Dialler {
    endpoint: Endpoint,
    client: quinn::ClientConfig,
    peer: quinn::ClientConfig,
    /// Where the relay listens.
    pub address: SocketAddr,
    /// The name in its certificate.
    server_name: String,
}

fn config(mut tls: rustls::ClientConfig, alpn: &[u8]) -> Result<quinn::ClientConfig> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    Ok(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

impl Dialler {
    /// To one site of a cluster, with another's certificate at hand.
    pub fn new(cluster: &Cluster, relay: usize, played: usize) -> Result<Self> {
        let certs = cluster.ca.parent().unwrap_or(Path::new("."));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&cluster.ca).map_err(|e| anyhow!("ca.pem: {e}"))?)?;
        let builder = || {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = rustls::ClientConfig::builder_with_provider(provider);
            let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
            Ok::<_, rustls::Error>(builder.with_root_certificates(roots.clone()))
        };
        let own = format!("site-{}", cluster.sites[played].number);
        let at = |suffix: &str| certs.join(format!("{own}.{suffix}"));
        let chain = vec![CertificateDer::from_pem_file(at("pem")).map_err(|e| anyhow!("{own}.pem: {e}"))?];
        let key = PrivateKeyDer::from_pem_file(at("key")).map_err(|e| anyhow!("{own}.key: {e}"))?;
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Ok(Self {
            endpoint: Endpoint::client(any).context("no socket")?,
            client: config(builder()?.with_no_client_auth(), version::ALPN_CLIENT)?,
            peer: config(builder()?.with_client_auth_cert(chain, key)?, version::ALPN_PEER)?,
            address: cluster.sites[relay].listen,
            server_name: format!("site-{}.causeway.internal", cluster.sites[relay].number),
        })
    }

    async fn connect(&self, config: &quinn::ClientConfig) -> Option<Connection> {
        let connecting = self.endpoint.connect_with(config.clone(), self.address, &self.server_name).ok()?;
        tokio::time::timeout(STEP_MAX, connecting).await.ok()?.ok()
    }

    /// As a client.
    pub async fn client(&self) -> Option<Connection> {
        self.connect(&self.client).await
    }

    /// As the other site.
    pub async fn peer(&self) -> Option<Connection> {
        self.connect(&self.peer).await
    }
}

/// Ends a connection; whether the relay had ended it with a code of its own.
pub fn leave(connection: &Connection) -> bool {
    let refused = matches!(connection.close_reason(), Some(ConnectionError::ApplicationClosed(_)));
    connection.close(0_u32.into(), b"");
    refused
}
