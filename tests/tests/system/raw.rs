//! A client without the SDK: it says what a test wants it to say.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use causeway_protocol::{
    DeviceId, FrameDecoder, Message, RequestId, RoomId, Stamp, UserId, encode_frame, hash16, version, wire,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use wire::{client_frame::Frame, query::Query, request::Kind, server_frame::Frame as Answer};

use crate::system::in_time;

/// A connection by a protocol of ours, of a socket of its own.
pub async fn connect(site: SocketAddr, ca: &Path, alpn: &[u8]) -> Result<Connection, ConnectionError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut tls = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut endpoint = quinn::Endpoint::client(any).unwrap();
    endpoint.set_default_client_config(config);
    in_time("an answer to the handshake", endpoint.connect(site, "localhost").unwrap()).await
}

/// A connection as a client.
pub async fn client(site: SocketAddr, ca: &Path) -> Result<Connection, ConnectionError> {
    connect(site, ca, version::ALPN_CLIENT).await
}

/// The code and the reason with which the site closes.
pub async fn closed(connection: &Connection) -> (u32, String) {
    match in_time("the site closes", connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            (close.error_code.into_inner() as u32, String::from_utf8_lossy(&close.reason).into_owned())
        }
        other => panic!("closed without a reason: {other}"),
    }
}

pub fn frame(frame: Frame) -> Bytes {
    encode_frame(&wire::ClientFrame { frame: Some(frame) })
}

pub fn hello(user: &str, nonce: u64, token: &str) -> wire::Hello {
    let (user, token) = (user.to_owned(), token.to_owned());
    wire::Hello { version_min: 1, version_max: 1, user, nonce, token, standby: true, ..Default::default() }
}

/// A text as a message's body.
pub fn text(text: &str) -> Bytes {
    let body =
        wire::Body { salt: vec![7; 16].into(), content_type: "text/plain".into(), content: text.to_owned().into() };
    body.encode_to_vec().into()
}

/// Mints requests of a device.
pub struct Device {
    pub user: UserId,
    pub id: DeviceId,
    stamp: Stamp,
}

impl Device {
    pub fn new(user: &str, nonce: u64) -> Self {
        let user = UserId::new(user).unwrap();
        let id = DeviceId::derive(&user, nonce);
        Self { id, user, stamp: Stamp(0) }
    }

    pub fn mint(&mut self) -> RequestId {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.stamp = self.stamp.next().max(Stamp::from_ms(now.as_millis() as u64));
        RequestId { stamp: self.stamp, device: self.id }
    }

    /// A request about a room; messages and edits say `words`.
    pub fn submit(&mut self, room: RoomId, kind: Kind, words: &str) -> (RequestId, wire::Submit) {
        let id = self.mint();
        (id, self.submit_as(id, room, kind, words))
    }

    fn submit_as(&self, id: RequestId, room: RoomId, kind: Kind, words: &str) -> wire::Submit {
        let body = matches!(kind, Kind::Message(_) | Kind::Edit(_)).then(|| text(words));
        let hash = body.as_ref().map(|body| Bytes::copy_from_slice(&hash16("causeway/body", &[body])));
        let body_hash = hash.unwrap_or_default();
        let request = wire::Request { id: Some(id.to_wire()), room: room.to_wire(), body_hash, kind: Some(kind) };
        wire::Submit { request: request.encode_to_vec().into(), body, nonce: 0 }
    }

    /// A request for a new room.
    pub fn create(&mut self, open: bool, channel: bool) -> (RoomId, wire::Submit) {
        let id = self.mint();
        let room = RoomId::derive(&self.user, id);
        let create = wire::Create { name: "room".into(), open, channel, ..Default::default() };
        (room, self.submit_as(id, room, Kind::Create(create), ""))
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: u32,
    pub detail: String,
    pub retry_after_ms: u64,
}

/// A session that was welcomed.
pub struct Raw {
    pub connection: Connection,
    pub device: Device,
    send: SendStream,
    recv: RecvStream,
    decoder: FrameDecoder,
}

impl Raw {
    /// Says hello on a connection, and is welcomed.
    pub async fn welcomed(connection: Connection, hello: wire::Hello) -> Self {
        let (send, recv) = connection.open_bi().await.unwrap();
        let device = Device::new(&hello.user, hello.nonce);
        let mut raw = Self { connection, device, send, recv, decoder: FrameDecoder::default() };
        raw.say(Frame::Hello(hello)).await;
        assert!(matches!(raw.answer().await, Answer::Welcome(_)));
        raw
    }

    pub async fn say(&mut self, said: Frame) {
        self.put(&frame(said)).await;
    }

    pub async fn put(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    /// The next frame from the site, but for frontiers.
    pub async fn answer(&mut self) -> Answer {
        loop {
            if let Some(frame) = self.decoder.next::<wire::ServerFrame>("ServerFrame").unwrap() {
                match frame.frame.expect("a frame of a kind that we know") {
                    Answer::Frontier(_) => continue,
                    answer => return answer,
                }
            }
            let chunk =
                in_time("an answer", self.recv.read_chunk(1 << 16, true)).await.unwrap().expect("the session lives");
            self.decoder.push(&chunk.bytes);
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, submit: wire::Submit) -> Result<(), Refused> {
        self.say(Frame::Submit(submit)).await;
        match self.answer().await {
            Answer::Accepted(_) => Ok(()),
            Answer::Refused(wire::Refused { code, detail, retry_after_ms, .. }) => {
                Err(Refused { code, detail, retry_after_ms })
            }
            other => panic!("{other:?}"),
        }
    }

    /// Asks with a request of this session's device.
    pub async fn does(&mut self, room: RoomId, kind: Kind) -> Result<(), Refused> {
        let submit = self.device.submit(room, kind, "words").1;
        self.ask(submit).await
    }

    /// Waits until everything said so far has been taken.
    pub async fn ping(&mut self) {
        self.say(Frame::Ping(wire::Ping { token: 5 })).await;
        assert!(matches!(self.answer().await, Answer::Pong(_)));
    }

    pub async fn create(&mut self, open: bool, channel: bool) -> RoomId {
        let (room, submit) = self.device.create(open, channel);
        self.ask(submit).await.expect("a new room");
        room
    }

    pub async fn history(&self, room: RoomId, limit: u32) -> wire::HistoryPage {
        self.query(history(room, limit)).await
    }

    /// What is refused with of each kind of query about a room: code and words.
    pub async fn queries(&self, room: RoomId, id: RequestId) -> Vec<(u32, String)> {
        let members = wire::MembersRequest { room: room.to_wire(), after: String::new(), limit: 9 };
        let readers = wire::ReadersRequest { room: room.to_wire(), ids: vec![id.to_wire()], names: true };
        let page = self.history(room, 9).await;
        let list: wire::MembersPage = self.query(Query::Members(members)).await;
        let read: wire::ReadersPage = self.query(Query::Readers(readers)).await;
        let nothing = (page.events.len(), list.members.len(), read.messages.len());
        assert!(nothing == (0, 0, 0) || page.code == 0, "a refusal tells nothing: {nothing:?}");
        vec![(page.code, page.detail), (list.code, list.detail), (read.code, read.detail)]
    }

    async fn query<A: Message + Default>(&self, query: Query) -> A {
        let (mut send, mut recv) = self.connection.open_bi().await.unwrap();
        send.write_all(&encode_frame(&wire::Query { query: Some(query) })).await.unwrap();
        send.finish().unwrap();
        let bytes = in_time("a page", recv.read_to_end(2 << 20)).await.unwrap();
        let mut decoder = FrameDecoder::default();
        decoder.push(&bytes);
        decoder.next("a page").unwrap().expect("a whole page")
    }
}

/// A query for a room's first page.
pub fn history(room: RoomId, limit: u32) -> Query {
    Query::History(wire::HistoryRequest { room: room.to_wire(), from: None, forward: true, limit })
}
