//! The driver over real QUIC on loopback, against sites of a few lines.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use causeway_protocol::{
    Bytes, Dot, FrameDecoder, Origin, RequestId, SiteId, UserId, Vector, encode_frame, version, wire,
};
use prost::Message as _;
use quinn::crypto::rustls::QuicServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::sync::mpsc;

use super::*;
use crate::machine::SiteConfig;

/// Waits that a test gives up after: far beyond what anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A certificate for `localhost`, made for this run.
static CERTIFICATE: LazyLock<rcgen::CertifiedKey<rcgen::KeyPair>> =
    LazyLock::new(|| rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate"));

/// What all fake sites hold: they share it at once, so that a survivor has everything.
#[derive(Default)]
struct Log {
    ops: Vec<(Dot, Bytes, Option<Bytes>)>,
    by_id: BTreeMap<RequestId, Dot>,
    listeners: Vec<mpsc::UnboundedSender<Bytes>>,
}

struct FakeSite {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
}

impl FakeSite {
    fn start(site: u16, log: Arc<Mutex<Log>>) -> Self {
        let certificate = CERTIFICATE.cert.der().clone();
        let key = PrivateKeyDer::try_from(CERTIFICATE.signing_key.serialize_der()).expect("a key");
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        tls.alpn_protocols = vec![version::ALPN_CLIENT.to_vec()];
        let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("a config")));
        let endpoint = quinn::Endpoint::server(config, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let address = endpoint.local_addr().expect("an address");
        let accepting = endpoint.clone();
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let log = log.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(site, connection, log).await;
                    }
                });
            }
        });
        Self { endpoint, address }
    }

    fn config(&self, name: &str) -> SiteConfig {
        SiteConfig { name: name.to_owned(), addresses: vec![self.address.to_string()] }
    }

    /// Like a killed process whose host is still there: connections end.
    fn die(&self) {
        self.endpoint.close(quinn::VarInt::from_u32(1), b"died");
    }
}

async fn serve(site: u16, connection: quinn::Connection, log: Arc<Mutex<Log>>) {
    let Ok((mut send, mut receive)) = connection.accept_bi().await else { return };
    let histories = connection.clone();
    let history_log = log.clone();
    tokio::spawn(async move {
        while let Ok((mut send, mut receive)) = histories.accept_bi().await {
            let Ok(asked) = receive.read_to_end(1 << 16).await else { return };
            let mut decoder = FrameDecoder::default();
            decoder.push(&asked);
            let query: wire::Query = decoder.next("Query").expect("a frame").expect("whole");
            let Some(wire::query::Query::History(request)) = query.query else { panic!("{query:?}") };
            let ops = history_log.lock().expect("no panic").ops.clone();
            let events = ops.iter().rev().take(request.limit as usize).rev().map(event).collect();
            let page = wire::HistoryPage { events, more: false, code: 0, detail: String::new(), unread: 3 };
            let _ = send.write_all(&encode_frame(&page)).await;
            let _ = send.finish();
        }
    });
    let mut decoder = FrameDecoder::default();
    while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
        decoder.push(&chunk.bytes);
        while let Some(frame) = decoder.next::<wire::ClientFrame>("ClientFrame").expect("sound frames") {
            if let Some(answer) = answer(site, &connection, &log, frame) {
                let frame = encode_frame(&wire::ServerFrame { frame: Some(answer) });
                if send.write_all(&frame).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn answer(
    site: u16,
    connection: &quinn::Connection,
    log: &Arc<Mutex<Log>>,
    frame: wire::ClientFrame,
) -> Option<wire::server_frame::Frame> {
    use wire::client_frame::Frame;
    use wire::server_frame::Frame as Answer;
    let clock_ms = crate::quic::shared::Clock::start().now().wall_ms;
    match frame.frame? {
        Frame::Hello(hello) => {
            if !hello.standby {
                events(connection.clone(), log.clone(), &hello);
            }
            let info = |site: u32| wire::SiteInfo { site, name: String::new(), addresses: Vec::new() };
            Some(Answer::Welcome(wire::Welcome {
                version: 1,
                site: site.into(),
                site_name: format!("site-{site}"),
                clock_ms,
                shard_count: 1,
                sites: (1..=3).map(info).collect(),
                session: 1,
                outbox_window_max: 64,
            }))
        }
        Frame::Renew(_) => None,
        Frame::Ping(ping) => Some(Answer::Pong(wire::Pong { token: ping.token, clock_ms })),
        Frame::Submit(submit) => {
            let request = wire::Request::decode(submit.request.clone()).expect("a request");
            let id = RequestId::from_wire(request.id.as_ref().expect("an id"));
            let mut log = log.lock().expect("no panic");
            let known = log.by_id.get(&id).copied();
            let dot = known.unwrap_or_else(|| {
                let origin = Origin { site: SiteId(site), node: 0, incarnation: 1 };
                let seq = 1 + log.ops.iter().filter(|op| op.0.origin == origin).count() as u64;
                let dot = Dot { origin, seq };
                log.by_id.insert(id, dot);
                log.ops.push((dot, submit.request, submit.body));
                let frame = log.ops.last().map(event_frame);
                log.listeners.retain(|listener| frame.clone().is_some_and(|frame| listener.send(frame).is_ok()));
                dot
            });
            Some(Answer::Accepted(wire::Accepted {
                id: request.id,
                dot: Some(dot.to_wire()),
                shard: 0,
                replicated: true,
            }))
        }
        Frame::MarkRead(_) => None,
    }
}

fn events(connection: quinn::Connection, log: Arc<Mutex<Log>>, hello: &wire::Hello) {
    let mut cursor = Vector::new();
    for entry in &hello.cursors {
        cursor.join(&Vector::from_wire_opt(entry.vector.as_ref()).expect("a vector"));
    }
    let (listener, mut live) = mpsc::unbounded_channel();
    let missing: Vec<Bytes> = {
        let mut log = log.lock().expect("no panic");
        log.listeners.push(listener);
        log.ops.iter().filter(|(dot, ..)| !cursor.covers(dot)).map(event_frame).collect()
    };
    tokio::spawn(async move {
        let Ok(mut stream) = connection.open_uni().await else { return };
        for frame in missing {
            let _ = stream.write_all(&frame).await;
        }
        while let Some(frame) = live.recv().await {
            if stream.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
}

fn event((dot, request, body): &(Dot, Bytes, Option<Bytes>)) -> wire::Event {
    let room = wire::Request::decode(request.clone()).expect("a request").room;
    let (request, body) = (request.clone(), body.clone());
    wire::Event { room, dot: Some(dot.to_wire()), user: "ann".to_owned(), request, body, ..Default::default() }
}

fn event_frame(op: &(Dot, Bytes, Option<Bytes>)) -> Bytes {
    encode_frame(&wire::EventFrame { frame: Some(wire::event_frame::Frame::Event(event(op))) })
}

fn config(sites: &[&FakeSite]) -> Config {
    let roots = Connector::roots_of_pem(CERTIFICATE.cert.pem().as_bytes()).expect("a certificate");
    let connector = Connector::new(roots).expect("a socket").server_name("localhost");
    let sites = sites.iter().enumerate().map(|(i, site)| site.config(&format!("site-{}", i + 1))).collect();
    Config::new(UserId::new("ann").expect("a name"), sites, connector)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

async fn messages(client: &Client, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let event = within("a message", client.next_event()).await.expect("the client is open");
        if let Event::Message(message) = event {
            texts.push(String::from_utf8_lossy(&message.content).into_owned());
        }
    }
    texts
}

#[tokio::test]
async fn a_message_is_acknowledged_and_comes_back_as_an_event() {
    let log = Arc::new(Mutex::new(Log::default()));
    let (one, two) = (FakeSite::start(1, log.clone()), FakeSite::start(2, log));
    let client = Client::connect(config(&[&one, &two])).await.expect("a site answers");
    let (room, _) = client.create_room("lunch", true).expect("room in the outbox");
    let handle = client.send(room, "text/plain", "noodles?").expect("room in the outbox");
    let stored = within("ack 1", handle.stored()).await.expect("accepted");
    assert_eq!(stored.site, SiteId(1));
    within("ack 2", handle.replicated()).await.expect("replicated");
    assert_eq!(messages(&client, 1).await, ["noodles?"]);
    let page = within("history", client.history(room, None, Direction::Backward, 10)).await.expect("a page");
    assert_eq!((page.events.len(), page.unread), (2, 3));
    assert_eq!(client.status().outbox_requests, 0);
    within("the end", client.close()).await;
    assert_eq!(within("no more events", client.next_event()).await, None);
}

#[tokio::test]
async fn a_dead_site_costs_a_move_and_no_message() {
    let log = Arc::new(Mutex::new(Log::default()));
    let (one, two) = (FakeSite::start(1, log.clone()), FakeSite::start(2, log));
    let client = Client::connect(config(&[&one, &two])).await.expect("a site answers");
    let (room, _) = client.create_room("lunch", true).expect("room in the outbox");
    let mut handles = Vec::new();
    for n in 0..300 {
        if n == 100 {
            one.die();
        }
        handles.push(client.send(room, "text/plain", format!("message {n}")).expect("room in the outbox"));
        tokio::task::yield_now().await;
    }
    for handle in &handles {
        within("ack 2", handle.replicated()).await.expect("replicated");
    }
    let mut texts = messages(&client, 300).await;
    assert_eq!(client.status().site, Some(SiteId(2)));
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 300, "each message once");
    assert!(client.outbox().is_empty());
}

#[tokio::test]
async fn a_restarted_client_goes_on_where_it_stopped() {
    let log = Arc::new(Mutex::new(Log::default()));
    let one = FakeSite::start(1, log);
    let store = crate::store::MemoryStore::new();
    let client = Client::connect(config(&[&one]).store(store.clone())).await.expect("a site answers");
    let (room, _) = client.create_room("lunch", true).expect("room in the outbox");
    for n in 0..5 {
        client.send(room, "text/plain", format!("{n}")).expect("room in the outbox");
    }
    assert_eq!(messages(&client, 5).await, ["0", "1", "2", "3", "4"]);
    within("the end", client.close()).await;

    let again = Client::connect(config(&[&one]).store(store)).await.expect("a site answers");
    again.send(room, "text/plain", "5").expect("room in the outbox");
    assert_eq!(messages(&again, 1).await, ["5"]);
}

#[tokio::test]
async fn an_application_that_does_not_read_holds_a_bounded_number_of_events() {
    let log = Arc::new(Mutex::new(Log::default()));
    let one = FakeSite::start(1, log);
    let mut config = config(&[&one]);
    config.events_max = 16;
    let client = Client::connect(config).await.expect("a site answers");
    let (room, _) = client.create_room("lunch", true).expect("room in the outbox");
    let mut last = None;
    let body = "x".repeat(30_000);
    for _ in 0..400 {
        last = Some(client.send(room, "text/plain", body.clone()).expect("room in the outbox"));
    }
    within("ack 2", last.expect("some").replicated()).await.expect("replicated");
    // Acks come while the events wait: only what the event stream's window holds has been sent.
    assert_eq!(messages(&client, 400).await.len(), 400);
}

#[tokio::test]
async fn thousands_of_messages_are_taken_in_batches_over_one_socket() {
    let log = Arc::new(Mutex::new(Log::default()));
    let one = FakeSite::start(1, log);
    let writer_config = config(&[&one]);
    let connector = writer_config.connector.clone();
    let writer = Client::connect(writer_config).await.expect("a site answers");
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut config = config(&[&one]);
        config.connector = connector.clone();
        readers.push(Client::connect(config).await.expect("a site answers"));
    }
    let (room, _) = writer.create_room("lunch", true).expect("room in the outbox");
    for n in 0..500 {
        writer.send(room, "text/plain", format!("{n}")).expect("room in the outbox");
    }
    for reader in &readers {
        let (mut events, mut seen) = (Vec::new(), 0);
        while seen < 500 {
            within("events", reader.next_events(&mut events, 1_024)).await;
            seen += events.drain(..).filter(|event| matches!(event, Event::Message(_))).count();
        }
    }
}
