//! Peers that break the protocol lose their connection, with a reason, and nobody else notices.

use causeway_protocol::{Code, encode_frame, version, wire};
use quinn::ConnectionError;

use crate::raw;
use crate::system::{System, in_time, texts};

async fn connect(system: &System, alpn: &[u8]) -> Result<quinn::Connection, ConnectionError> {
    raw::connect(system.cluster.sites[0].listen, &system.cluster.ca, alpn).await
}

/// Sends bytes on the control stream; returns the code and the reason with which the relay closes.
async fn closed_after(system: &System, bytes: &[u8]) -> (u64, String) {
    let connection = connect(system, version::ALPN_CLIENT).await.expect("a client connection");
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    match in_time("the relay closes", connection.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
        }
        other => panic!("closed without a reason: {other}"),
    }
}

fn client_frame(frame: wire::client_frame::Frame) -> Vec<u8> {
    encode_frame(&wire::ClientFrame { frame: Some(frame) }).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_close_their_connection_and_no_other() {
    let system = System::start(1, false).await;
    let ann = system.person("ann", 0).await;
    let room = ann.create_room().await;
    let protocol_error = u64::from(Code::ProtocolError.number());

    let (code, reason) = closed_after(&system, &[0xff; 64]).await;
    assert_eq!(code, protocol_error);
    assert!(reason.contains("longer than the limit"), "{reason}");

    let (code, reason) = closed_after(&system, &[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]).await;
    assert_eq!(code, protocol_error);
    assert!(reason.contains("ClientFrame"), "{reason}");

    let early = client_frame(wire::client_frame::Frame::Submit(wire::Submit::default()));
    assert_eq!(closed_after(&system, &early).await.0, protocol_error);

    let hello = |min, max, user: &str| {
        let hello = wire::Hello { version_min: min, version_max: max, user: user.into(), ..wire::Hello::default() };
        client_frame(wire::client_frame::Frame::Hello(hello))
    };
    assert_eq!(closed_after(&system, &hello(900, 901, "eve")).await.0, u64::from(Code::Version.number()));
    let nobody = closed_after(&system, &hello(1, 1, "")).await;
    assert!(nobody.1.contains("user"), "{nobody:?}");

    // Without a site's certificate nobody is a peer.
    let peer = connect(&system, version::ALPN_PEER).await;
    if let Ok(connection) = peer {
        in_time("the relay closes a peer without a certificate", connection.closed()).await;
    }

    let sent = ann.say_all(room, texts(0..3)).await;
    system.assert_history("ann", room, &sent).await;
}
