//! Relays in one process, clients over real sockets.

mod support;

use causeway_protocol::{Code, encode_frame, wire};
use support::{Client, Cluster, endpoint, soon, until};

type Frame = wire::server_frame::Frame;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_stored_and_delivered() {
    let cluster = Cluster::new(1);
    let relay = cluster.start(1).await;
    let endpoint = endpoint(&cluster.ca());
    let mut anna = Client::connect(&endpoint, relay.listen_address(), "anna", 1).await;
    let mut ben = Client::connect(&endpoint, relay.listen_address(), "ben", 2).await;
    assert_eq!((anna.welcome.site, anna.welcome.shard_count), (1, u32::from(support::SHARDS)));
    let room = anna.create_room().await;
    ben.join(room).await;
    let id = anna.say(room, "hello").await;
    anna.stored(id).await;
    for client in [&mut anna, &mut ben] {
        let (event, body) = client.message().await;
        assert_eq!(event.room[..], room.0);
        assert_eq!(event.user, "anna");
        assert_eq!(&body.content[..], b"hello");
    }
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_is_there_after_a_restart() {
    let cluster = Cluster::new(1);
    let relay = cluster.start(1).await;
    let endpoint = endpoint(&cluster.ca());
    let mut anna = Client::connect(&endpoint, relay.listen_address(), "anna", 1).await;
    let room = anna.create_room().await;
    let id = anna.say(room, "before").await;
    let dot = anna.stored(id).await.dot;
    let first = relay.origin();
    relay.shutdown().await.expect("synced");

    let relay = cluster.start(1).await;
    assert_ne!(relay.origin().incarnation, first.incarnation, "a new incarnation at every start");
    let mut anna = Client::connect(&endpoint, relay.listen_address(), "anna", 3).await;
    let (event, body) = anna.message().await;
    assert_eq!(event.dot, dot);
    assert_eq!(&body.content[..], b"before");
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_sites_replicate_and_tell_it() {
    let cluster = Cluster::new(3);
    let (one, two, three) = tokio::join!(cluster.start(1), cluster.start(2), cluster.start(3));
    let endpoint = endpoint(&cluster.ca());
    let mut anna = Client::connect(&endpoint, one.listen_address(), "anna", 1).await;
    let room = anna.create_room().await;
    let id = anna.say(room, "to all sites").await;
    let accepted = anna.stored(id).await;
    if !accepted.replicated {
        let dot = accepted.dot.expect("a dot");
        let covers = |frontier: &wire::Frontier| {
            let at = frontier.dot.as_ref().expect("a dot");
            frontier.shard == accepted.shard && at.origin == dot.origin && at.seq >= dot.seq
        };
        while !matches!(anna.answer().await, Frame::Frontier(frontier) if covers(&frontier)) {}
    }
    for (relay, nonce) in [(&two, 2), (&three, 3)] {
        let mut anna = Client::connect(&endpoint, relay.listen_address(), "anna", nonce).await;
        let (event, body) = anna.message().await;
        assert_eq!(event.room[..], room.0);
        assert_eq!(&body.content[..], b"to all sites");
    }
    for relay in [one, two, three] {
        relay.shutdown().await.expect("synced");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_frame_closes_the_connection_with_a_reason_and_nobody_else_notices() {
    let cluster = Cluster::new(1);
    let relay = cluster.start(1).await;
    let endpoint = endpoint(&cluster.ca());
    let mut good = Client::connect(&endpoint, relay.listen_address(), "good", 1).await;
    let too_long = (u32::MAX).to_be_bytes().to_vec();
    let no_message = [&4_u32.to_be_bytes()[..], &[0xff; 4]].concat();
    let unknown = encode_frame(&wire::ClientFrame { frame: None }).to_vec();
    for (bytes, words) in [(too_long, "longer than the limit"), (no_message, "does not decode"), (unknown, "no kind")] {
        let mut bad = Client::connect(&endpoint, relay.listen_address(), "bad", 2).await;
        bad.control.write_all(&bytes).await.expect("written");
        let closed = soon("the connection closes", bad.connection.closed()).await;
        let quinn::ConnectionError::ApplicationClosed(close) = closed else {
            panic!("not closed by the relay: {closed}")
        };
        assert_eq!(close.error_code.into_inner(), u64::from(Code::ProtocolError.number()));
        let reason = String::from_utf8_lossy(&close.reason).into_owned();
        assert!(reason.contains(words), "{reason}");
    }
    good.create_room().await;
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_before_its_hello_is_turned_away() {
    let cluster = Cluster::new(1);
    let relay = cluster.start(1).await;
    let endpoint = endpoint(&cluster.ca());
    let connecting = endpoint.connect(relay.listen_address(), "localhost").expect("a valid name");
    let connection = soon("a connection", connecting).await.expect("connects");
    let (mut control, _answers) = connection.open_bi().await.expect("a stream");
    let ping = wire::ClientFrame { frame: Some(wire::client_frame::Frame::Ping(wire::Ping { token: 1 })) };
    control.write_all(&encode_frame(&ping)).await.expect("written");
    let closed = soon("the connection closes", connection.closed()).await.to_string();
    assert!(closed.contains("hello"), "{closed}");
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_tells_clients_to_move() {
    let cluster = Cluster::new(1);
    let mut settings = cluster.settings(1);
    settings.shutdown_grace_ms = Some(60_000);
    let relay = cluster.start_unready(settings).await;
    soon("ready", relay.ready()).await;
    let endpoint = endpoint(&cluster.ca());
    let mut anna = Client::connect(&endpoint, relay.listen_address(), "anna", 1).await;
    let stopped = tokio::spawn(relay.shutdown());
    let Frame::GoAway(go_away) = anna.answer().await else { panic!("not told to go") };
    assert_eq!(go_away.code, Code::ShuttingDown.number());
    // The grace ends when the last client has left.
    anna.connection.close(0_u32.into(), b"gone");
    soon("stopped", stopped).await.expect("no panic").expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_another_sites_certificate_is_refused() {
    let cluster = Cluster::new(3);
    // Site 2 believes that site 3's address is site 1's: the certificate there says otherwise.
    let one = cluster.start_unready(cluster.settings(1)).await;
    let mut settings = cluster.settings(2);
    let peers = settings.peers.as_mut().expect("peers");
    peers[1].addresses = peers[0].addresses.clone();
    let two = cluster.start_unready(settings).await;
    until("site 2 sees the wrong certificate", || {
        two.link_errors().iter().any(|error| error.contains("site 3") && error.contains("certificate"))
    })
    .await;
    assert!(!two.links_up().contains(&3));
    for relay in [one, two] {
        relay.shutdown().await.expect("synced");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sites_that_are_configured_differently_do_not_link_and_name_the_setting() {
    let cluster = Cluster::new(2);
    let one = cluster.start_unready(cluster.settings(1)).await;
    let mut settings = cluster.settings(2);
    settings.shards = Some(i64::from(support::SHARDS) * 2);
    let two = cluster.start_unready(settings).await;
    // Whoever reads the other's hello first closes the link, with the reason in it.
    until("both sites name the setting", || {
        [&one, &two].iter().all(|relay| relay.link_errors().iter().any(|error| error.contains("shards is")))
    })
    .await;
    assert!(one.links_up().is_empty() && two.links_up().is_empty());
    for relay in [one, two] {
        relay.shutdown().await.expect("synced");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_relay_turns_further_clients_away_with_a_reason() {
    let cluster = Cluster::new(1);
    let mut settings = cluster.settings(1);
    settings.sessions_max = Some(1);
    let relay = cluster.start_unready(settings).await;
    soon("ready", relay.ready()).await;
    let endpoint = endpoint(&cluster.ca());
    let mut first = Client::connect(&endpoint, relay.listen_address(), "first", 1).await;
    let connecting = endpoint.connect(relay.listen_address(), "localhost").expect("a valid name");
    let second = soon("a connection", connecting).await.expect("TLS is fine");
    let closed = soon("the connection closes", second.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(close) = closed else { panic!("not closed by the relay: {closed}") };
    assert_eq!(close.error_code.into_inner(), u64::from(Code::Overloaded.number()));
    first.create_room().await;
    relay.shutdown().await.expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_falls_back_to_storage_and_misses_nothing() {
    const MESSAGES: usize = 400;
    let cluster = Cluster::new(1);
    let mut settings = cluster.settings(1);
    settings.session_queue_bytes = Some(2 * causeway_protocol::limits::BODY_BYTES_MAX as i64);
    let relay = cluster.start_unready(settings).await;
    soon("ready", relay.ready()).await;
    let endpoint = endpoint(&cluster.ca());
    let mut anna = Client::connect(&endpoint, relay.listen_address(), "anna", 1).await;
    let mut slow = Client::connect(&endpoint, relay.listen_address(), "slow", 2).await;
    let room = anna.create_room().await;
    slow.join(room).await;
    // The slow one's flow-control window and queue hold far less than this.
    let text = "x".repeat(16 << 10);
    let mut ids = Vec::new();
    for _ in 0..MESSAGES {
        let id = anna.say(room, &text).await;
        anna.stored(id).await;
        ids.push(id);
    }
    for id in ids {
        let (event, _) = slow.message().await;
        let request: wire::Request = causeway_protocol::Message::decode(event.request).expect("a request");
        assert_eq!(request.id, Some(id.to_wire()), "in order, each once");
    }
    assert!(
        relay
            .metrics()
            .lines()
            .any(|line| { line.strip_prefix("causeway_session_overflows_total ").is_some_and(|count| count != "0") })
    );
    relay.shutdown().await.expect("synced");
}
