//! TLS: one server for clients and peers on one port, told apart by ALPN. A peer proves its site by its
//! certificate, and only by it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use causeway_protocol::{SiteId, version};
use quinn::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, version::TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is not readable or holds no such thing.
    #[error("`{field}` = {path}: {reason}")]
    File {
        /// The setting that names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key is another certificate's.
    #[error("`key` = {key} does not belong to `cert` = {cert}: replace both by one pair")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls refuses them.
    #[error("certificates cannot be used: {0}")]
    Rustls(String),
    /// This site's own certificate names another site.
    #[error("`cert` = {path} is {whose}, and `site` is {want}: use that site's certificate",
        whose = got.map_or("no one site's certificate".to_owned(), |site| format!("site {site}'s certificate")))]
    OwnSite {
        /// The certificate's file.
        path: PathBuf,
        /// What the certificate names.
        got: Option<SiteId>,
        /// What is configured.
        want: SiteId,
    },
}

/// Which protocol a connection speaks, by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client.
    Client,
    /// Another site.
    Peer,
}

/// A site's certificate, key and authority, loaded.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    expires_s: i64,
}

/// The DNS name in a site's certificate that carries its number.
pub fn site_dns_name(site: SiteId) -> String {
    format!("site-{site}.causeway.internal")
}

fn site_of_dns_name(name: &str) -> Option<SiteId> {
    let number = name.strip_prefix("site-")?.strip_suffix(".causeway.internal")?;
    let site = number.parse().ok().map(SiteId)?;
    // The one spelling: no leading zeros or signs, and 0 is no site.
    (site.0 > 0 && site_dns_name(site) == name).then_some(site)
}

/// Who a certificate says that its holder is, for logs: the common name, and the serial number.
pub fn name_of_certificate(der: &[u8]) -> String {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return "nobody".to_owned() };
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    format!("{} (certificate {})", name.unwrap_or("without a name"), certificate.raw_serial_as_string())
}

/// The one site that a certificate names; `None` where it names none or several.
pub fn site_of_certificate(der: &[u8]) -> Option<SiteId> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let mut sites = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => site_of_dns_name(name),
        _ => None,
    });
    let site = sites.next()?;
    sites.all(|other| other == site).then_some(site)
}

impl Identity {
    /// Reads the PEM files; checks that the certificate is the site's, that the authority has signed it and it holds now, and
    /// that the key is the certificate's.
    pub fn load(site: SiteId, ca: &Path, cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let roots = Arc::new(roots("ca", ca)?);
        let chain = certificates("cert", cert)?;
        let leaf = chain.first().map_or(&[][..], |der| der);
        let got = site_of_certificate(leaf);
        if got != Some(site) {
            return Err(TlsError::OwnSite { path: cert.to_owned(), got, want: site });
        }
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|e| file_error("cert", cert, e))?;
        let expires_s = parsed.validity().not_after.timestamp();
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| file_error("key", key, e))?;
        check_signed(&chain, &roots, site, UnixTime::now()).map_err(|e| file_error("cert", cert, e))?;
        match CertifiedKey::from_der(chain.clone(), secret.clone_key(), &provider()) {
            Ok(_) => Ok(Self { chain, key: secret, roots, expires_s }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() })
            }
            Err(e) => Err(file_error("key", key, e)),
        }
    }

    /// When the site's certificate ends, seconds since the Unix epoch.
    pub fn expires_s(&self) -> i64 {
        self.expires_s
    }

    /// For the endpoint's server side. Clients show no certificate; a peer without one is refused by
    /// [`peer_site`].
    pub fn server(&self) -> Result<QuicServerConfig, TlsError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .allow_unauthenticated()
            .build()
            .map_err(rustls_error)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(rustls_error)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(rustls_error)?;
        config.alpn_protocols = vec![version::ALPN_CLIENT.to_vec(), version::ALPN_PEER.to_vec()];
        config.try_into().map_err(rustls_error)
    }

    /// For the HTTP API. Its clients show tokens, no certificates.
    pub fn https(&self) -> Result<rustls::ServerConfig, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(rustls_error)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(rustls_error)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// For the admin server: who comes shows a certificate of this authority's.
    pub fn admin(&self, admin_ca: &Path) -> Result<rustls::ServerConfig, TlsError> {
        let operators = Arc::new(roots("admin_ca", admin_ca)?);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(operators, provider()).build().map_err(rustls_error)?;
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(rustls_error)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(rustls_error)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// For dialing another site.
    pub fn peer_client(&self) -> Result<QuicClientConfig, TlsError> {
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(rustls_error)?
            .with_root_certificates(self.roots.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(rustls_error)?;
        config.alpn_protocols = vec![version::ALPN_PEER.to_vec()];
        config.try_into().map_err(rustls_error)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn rustls_error(e: impl std::fmt::Display) -> TlsError {
    TlsError::Rustls(e.to_string())
}

fn file_error(field: &'static str, path: &Path, e: impl std::fmt::Display) -> TlsError {
    TlsError::File { field, path: path.to_owned(), reason: e.to_string() }
}

/// As another site looks at it. The error says what is to be done.
fn check_signed(
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    site: SiteId,
    now: UnixTime,
) -> Result<(), String> {
    let Some((leaf, intermediates)) = chain.split_first() else { return Err("it holds no certificate".to_owned()) };
    let name = ServerName::try_from(site_dns_name(site)).map_err(|e| e.to_string())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider()).build();
    let verified = verifier.map_err(|e| e.to_string())?.verify_server_cert(leaf, intermediates, &name, &[], now);
    use rustls::CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer,
    };
    match verified {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature)) => {
            Err("`ca` has not signed it: have it signed by that authority, or name the one that did".to_owned())
        }
        Err(rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. })) => {
            Err("it has expired: renew it".to_owned())
        }
        Err(rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. })) => {
            Err("it is not valid yet: set the clock, or wait".to_owned())
        }
        Err(e) => Err(e.to_string()),
    }
}

fn roots(field: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(field, path)? {
        roots.add(root).map_err(|e| file_error(field, path, e))?;
    }
    Ok(roots)
}

fn certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|e| file_error(field, path, e))?.collect();
    let list = list.map_err(|e| file_error(field, path, e))?;
    if list.is_empty() {
        return Err(file_error(field, path, "it holds no certificate"));
    }
    Ok(list)
}

/// What an established connection speaks; `None` where it is nothing of ours.
pub fn side_of(connection: &quinn::Connection) -> Option<Side> {
    let data = connection.handshake_data()?.downcast::<HandshakeData>().ok()?;
    match data.protocol.as_deref() {
        Some(version::ALPN_CLIENT) => Some(Side::Client),
        Some(version::ALPN_PEER) => Some(Side::Peer),
        _ => None,
    }
}

/// The site that the other end of a peer connection has proved to be. TLS has checked the chain already.
pub fn peer_site(connection: &quinn::Connection) -> Option<SiteId> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    site_of_certificate(chain.first()?)
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
