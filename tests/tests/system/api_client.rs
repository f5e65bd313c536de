//! The least HTTP that tests of the API need: one call, one answer, connection closed.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::system::in_time;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A field that is text.
    pub fn text(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.json())).to_owned()
    }

    /// Checks that it is this problem; returns its document.
    pub fn problem(&self, status: u16, name: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, &problem["status"]), (status, &Value::from(status)), "{problem}");
        assert_eq!(problem["type"], format!("https://causeway.chat/problems/{name}"), "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        problem
    }
}

/// A certificate chain and its key.
pub type CallerIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Who calls, and where.
#[derive(Clone)]
pub struct Caller {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    headers: Vec<(String, String)>,
}

impl Caller {
    /// Plain HTTP, under `--dev`.
    pub fn plain(address: SocketAddr, user: &str) -> Self {
        Self { address, tls: None, headers: Vec::new() }.with("Causeway-User", user)
    }

    /// HTTPS; the certificate is checked by this authority's.
    pub fn tls(address: SocketAddr, authority: Vec<CertificateDer<'static>>) -> Self {
        Self::tls_as(address, authority, None)
    }

    /// The same, with a certificate of the caller's.
    pub fn tls_as(
        address: SocketAddr,
        authority: Vec<CertificateDer<'static>>,
        identity: Option<CallerIdentity>,
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        authority.into_iter().for_each(|root| roots.add(root).expect("a root"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("a certificate with its key"),
        };
        Self { address, tls: Some(TlsConnector::from(Arc::new(config))), headers: Vec::new() }
    }

    /// With a further header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.push((name.to_owned(), value.to_owned()));
        caller
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, path, body.as_bytes()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    /// Any bytes as body.
    pub async fn send(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += "Content-Type: application/json\r\n";
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let raw = [head.as_bytes(), body].concat();
        in_time(&format!("an answer to {method} {path}"), self.exchange(&raw)).await
    }

    /// Whether a call gets an answer at all. TLS 1.3 tells a client that its certificate is refused with its first read.
    pub async fn is_answered(&self, path: &str) -> bool {
        let raw = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let tls = self.tls.clone().expect("over TLS");
        let asked = async {
            let stream = TcpStream::connect(self.address).await.ok()?;
            let mut stream = tls.connect(ServerName::try_from("localhost").ok()?, stream).await.ok()?;
            stream.write_all(raw.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            (!answer.is_empty()).then_some(())
        };
        in_time("an answer or none", asked).await.is_some()
    }

    async fn exchange(&self, raw: &[u8]) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("the API listens");
        match &self.tls {
            None => exchange(stream, raw).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost").expect("a name");
                exchange(tls.connect(name, stream).await.expect("a handshake"), raw).await
            }
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, raw: &[u8]) -> Answer {
    // A server that has refused a body may have closed before all of it was sent.
    let _ = stream.write_all(raw).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("the end of a header");
    let head = String::from_utf8(answer[..end].to_vec()).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head, body: answer[end + 4..].to_vec() }
}
