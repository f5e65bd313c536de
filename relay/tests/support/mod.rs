//! Relays in this process, and a client that speaks the wire by hand.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use causeway_protocol::{
    DeviceId, FrameDecoder, Message, RequestId, RoomId, SiteId, Stamp, UserId, encode_frame, hash16, version, wire,
};
use causeway_relay::certs::write_dev_certs;
use causeway_relay::settings::PeerSettings;
use causeway_relay::{Config, Relay, RelayHandle, Settings};
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Far beyond what anything here takes: a test that hangs fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const SHARDS: u16 = 8;

/// Awaits with patience.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Polls a condition of the world until it holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A cluster's folder: certificates, and a database a site.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    ports: Vec<u16>,
}

impl Cluster {
    /// With so many sites, numbered from 1.
    pub fn new(sites: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ids: Vec<SiteId> = (1..=sites).map(SiteId).collect();
        write_dev_certs(&folder.path().join("certs"), &ids).expect("certificates");
        // Peers must know each other's ports before they start. Held together, so that all differ.
        let sockets: Vec<_> =
            ids.iter().map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports = sockets.iter().map(|socket| socket.local_addr().expect("bound").port()).collect();
        Self { folder, ports }
    }

    pub fn settings(&self, site: u16) -> Settings {
        let certs = self.folder.path().join("certs");
        let peers = (1..).zip(&self.ports).filter(|(other, _)| *other != site).map(|(other, port)| PeerSettings {
            site: i64::from(other),
            name: format!("site-{other}"),
            addresses: vec![format!("127.0.0.1:{port}")],
            advertise: None,
        });
        Settings {
            site: Some(site.into()),
            cluster: Some("test".to_owned()),
            data_dir: Some(self.folder.path().join(format!("data-{site}"))),
            listen: Some(format!("127.0.0.1:{}", self.ports[usize::from(site) - 1])),
            admin_listen: Some("127.0.0.1:0".to_owned()),
            dev: Some(true),
            shards: Some(SHARDS.into()),
            threads: Some(2),
            ca: Some(certs.join("ca.pem")),
            cert: Some(certs.join(format!("site-{site}.pem"))),
            key: Some(certs.join(format!("site-{site}.key"))),
            peers: Some(peers.collect()),
            shutdown_grace_ms: Some(0),
            ..Settings::default()
        }
    }

    /// Starts a site and waits until it serves.
    pub async fn start(&self, site: u16) -> RelayHandle {
        let relay = self.start_unready(self.settings(site)).await;
        soon("ready", relay.ready()).await;
        relay
    }

    pub async fn start_unready(&self, settings: Settings) -> RelayHandle {
        let config = Config::from_settings(settings).expect("a valid configuration");
        Relay::start(config).await.expect("starts")
    }

    pub fn ca(&self) -> std::path::PathBuf {
        self.folder.path().join("certs/ca.pem")
    }
}

/// A QUIC client endpoint that trusts a cluster's authority.
pub fn endpoint(ca: &Path) -> Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("readable")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![version::ALPN_CLIENT.to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("usable for QUIC");
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    endpoint
}

/// One client connection.
pub struct Client {
    pub connection: Connection,
    pub control: SendStream,
    answers: RecvStream,
    decoder: FrameDecoder,
    events: Option<(RecvStream, FrameDecoder)>,
    pub user: UserId,
    device: DeviceId,
    last: Stamp,
    pub welcome: wire::Welcome,
}

/// Reads the next frame of a stream; `None` at its end.
pub async fn next_frame<M: Message + Default>(recv: &mut RecvStream, decoder: &mut FrameDecoder) -> Option<M> {
    loop {
        if let Some(frame) = decoder.next("test").expect("well formed") {
            return Some(frame);
        }
        let chunk = recv.read_chunk(usize::MAX, true).await.ok()??;
        decoder.push(&chunk.bytes);
    }
}

fn wall_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

impl Client {
    /// Connects and says hello.
    pub async fn connect(endpoint: &Endpoint, address: SocketAddr, user: &str, nonce: u64) -> Self {
        Self::resume(endpoint, address, user, nonce, Vec::new()).await
    }

    /// Connects and says hello with a cursor.
    pub async fn resume(
        endpoint: &Endpoint,
        address: SocketAddr,
        user: &str,
        nonce: u64,
        cursors: Vec<wire::RoomCursor>,
    ) -> Self {
        let connecting = endpoint.connect(address, "localhost").expect("a valid name");
        let connection = soon("a connection", connecting).await.expect("connects");
        let (control, answers) = connection.open_bi().await.expect("a stream");
        let user = UserId::new(user).expect("a valid user");
        let device = DeviceId::derive(&user, nonce);
        let mut client = Self {
            connection,
            control,
            answers,
            decoder: FrameDecoder::default(),
            events: None,
            user: user.clone(),
            device,
            last: Stamp(0),
            welcome: wire::Welcome::default(),
        };
        let hello = wire::Hello {
            version_min: version::VERSION_MIN,
            version_max: version::VERSION_MAX,
            user: user.to_string(),
            nonce,
            cursors,
            ..wire::Hello::default()
        };
        client.send(wire::client_frame::Frame::Hello(hello)).await;
        match client.answer().await {
            wire::server_frame::Frame::Welcome(welcome) => client.welcome = welcome,
            other => panic!("not a welcome: {other:?}"),
        }
        client
    }

    pub async fn send(&mut self, frame: wire::client_frame::Frame) {
        let frame = encode_frame(&wire::ClientFrame { frame: Some(frame) });
        self.control.write_chunk(frame).await.expect("the stream takes it");
    }

    /// The next answer.
    pub async fn answer(&mut self) -> wire::server_frame::Frame {
        let frame = next_frame::<wire::ServerFrame>(&mut self.answers, &mut self.decoder);
        soon("an answer", frame).await.expect("the stream is open").frame.expect("a known frame")
    }

    /// The next event.
    pub async fn event(&mut self) -> wire::event_frame::Frame {
        soon("an event", async {
            if self.events.is_none() {
                let recv = self.connection.accept_uni().await.expect("the event stream");
                self.events = Some((recv, FrameDecoder::default()));
            }
            let (recv, decoder) = self.events.as_mut().expect("just opened");
            next_frame::<wire::EventFrame>(recv, decoder).await
        })
        .await
        .expect("the stream is open")
        .frame
        .expect("a known frame")
    }

    /// The next event that is a message.
    pub async fn message(&mut self) -> (wire::Event, wire::Body) {
        loop {
            if let wire::event_frame::Frame::Event(event) = self.event().await
                && let Some(body) = event.body.clone()
            {
                return (event, wire::Body::decode(body).expect("a body"));
            }
        }
    }

    fn mint(&mut self) -> RequestId {
        self.last = Stamp::from_ms(wall_ms()).max(self.last.next());
        RequestId { stamp: self.last, device: self.device }
    }

    /// Sends a request, and returns its id.
    pub async fn submit(
        &mut self,
        room: Option<RoomId>,
        kind: wire::request::Kind,
        text: Option<&str>,
    ) -> (RequestId, RoomId) {
        let id = self.mint();
        let room = room.unwrap_or_else(|| RoomId::derive(&self.user, id));
        let body = text.map(|text| {
            let content = text.as_bytes().to_vec().into();
            let body = wire::Body { salt: vec![7; 16].into(), content_type: "text/plain".to_owned(), content };
            bytes::Bytes::from(body.encode_to_vec())
        });
        let body_hash = body.as_ref().map(|body| hash16("causeway/body", &[body]).to_vec()).unwrap_or_default();
        let request = wire::Request {
            id: Some(id.to_wire()),
            room: room.to_wire(),
            body_hash: body_hash.into(),
            kind: Some(kind),
        };
        let submit = wire::Submit { request: request.encode_to_vec().into(), body, nonce: 0 };
        self.send(wire::client_frame::Frame::Submit(submit)).await;
        (id, room)
    }

    /// Waits for ack 1 of a request; skips what is not about it.
    pub async fn stored(&mut self, id: RequestId) -> wire::Accepted {
        loop {
            match self.answer().await {
                wire::server_frame::Frame::Accepted(accepted) if accepted.id == Some(id.to_wire()) => return accepted,
                wire::server_frame::Frame::Refused(refused) => panic!("refused: {refused:?}"),
                _ => {}
            }
        }
    }

    pub async fn create_room(&mut self) -> RoomId {
        let create = wire::Create { name: "room".to_owned(), open: true, channel: false, ..Default::default() };
        let (id, room) = self.submit(None, wire::request::Kind::Create(create), None).await;
        self.stored(id).await;
        room
    }

    pub async fn join(&mut self, room: RoomId) {
        let (id, _) = self.submit(Some(room), wire::request::Kind::Join(wire::Join {}), None).await;
        self.stored(id).await;
    }

    pub async fn say(&mut self, room: RoomId, text: &str) -> RequestId {
        let message = wire::request::Kind::Message(wire::Message::default());
        self.submit(Some(room), message, Some(text)).await.0
    }
}
