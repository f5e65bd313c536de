//! The UDP socket and quinn's settings, for clients and for peers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use causeway_protocol::limits;
use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::{Identity, TlsError};

/// Kernel buffers of the one socket, bytes. A burst to a thousand clients must not be dropped on the way in or
/// out; the kernel caps them at `net.core.{r,w}mem_max`, so they are asked for, not required.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// A client that is silent this long is gone. Clients suspect a silent site far sooner, by their heartbeats.
const CLIENT_IDLE_MAX: Duration = Duration::from_secs(30);
/// Longer than the link's own limit (pings decide), so that its reason is the one logged.
const PEER_IDLE_MAX: Duration = Duration::from_secs(10);
/// What a client may have on the way to the relay, over all its streams: some of the largest submits.
const CLIENT_RECEIVE_WINDOW_BYTES: u32 = 512 << 10;
/// The same before it is known who it is. With a first hello that is not whole yet, and what one read brings of it, a
/// connection holds at most 64 KiB.
const STRANGER_RECEIVE_WINDOW_BYTES: u32 = 16 << 10;
/// Datagrams that nobody has taken yet, of a client or of a peer that dialled; beyond it the oldest is dropped. They are
/// taken at once, also a stranger's.
const DATAGRAMS_RECEIVED_BYTES: usize = 8 << 10;
/// The same of a peer that was dialled.
const PEER_DATAGRAMS_RECEIVED_BYTES: usize = 256 << 10;
/// Datagrams that wait to be sent; beyond it the oldest is dropped.
const DATAGRAMS_SENT_BYTES: usize = 32 << 10;
const _: () = assert!(
    2 * STRANGER_RECEIVE_WINDOW_BYTES as usize + limits::HELLO_BYTES_MAX + DATAGRAMS_RECEIVED_BYTES <= 64 << 10
);
/// What quinn keeps of a connection that is not taken yet, bytes.
const INCOMING_BYTES_MAX: u64 = 32 << 10;
/// What may be in flight or unacknowledged to a client. With the session's queue it bounds what a slow reader
/// holds here.
const CLIENT_SEND_WINDOW_BYTES: u64 = 256 << 10;
/// A link between sites 200 ms apart fills 40 MB/s with it.
const PEER_WINDOW_BYTES: u32 = 8 << 20;
/// The first guess of a round trip. The RFC's 333 ms makes a lost first packet cost a second.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// History requests of one client at a time; further ones wait at the client.
pub const HISTORY_STREAMS_MAX: u32 = 4;
/// The control stream and the history streams.
const CLIENT_BIDI_STREAMS_MAX: u32 = 1 + HISTORY_STREAMS_MAX;
/// Packets that a client may leave unacknowledged, so that its acks are not half of the traffic.
const CLIENT_ACK_ELICITING_MAX: u32 = 16;
/// How long it may wait with an ack.
const CLIENT_ACK_DELAY_MAX: Duration = Duration::from_millis(25);
/// Connections that wait to be taken.
const INCOMING_MAX: usize = 4_096;

/// A UDP socket with large buffers.
pub fn bind(listen: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    // Smaller buffers still work, with more loss at bursts.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// Defaults suit clients; the peer side of a link raises the windows when it knows what it is.
pub fn endpoint_config() -> EndpointConfig {
    EndpointConfig::default()
}

fn idle(timeout: Duration) -> Option<IdleTimeout> {
    Some(timeout.try_into().expect("a constant below 2^62 ms"))
}

/// For connections that are accepted: sized for clients. `datagrams`: whether they may bring any.
pub fn server_config(identity: &Identity, datagrams: bool) -> Result<quinn::ServerConfig, TlsError> {
    let mut transport = TransportConfig::default();
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(CLIENT_ACK_ELICITING_MAX.into()).max_ack_delay(Some(CLIENT_ACK_DELAY_MAX));
    transport
        .max_idle_timeout(idle(CLIENT_IDLE_MAX))
        .max_concurrent_bidi_streams(CLIENT_BIDI_STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        // A stream's window cannot be raised later, when a connection turns out to be a peer's, and the
        // connection's can: so that one is the limit.
        .stream_receive_window(PEER_WINDOW_BYTES.into())
        .receive_window(STRANGER_RECEIVE_WINDOW_BYTES.into())
        .send_window(CLIENT_SEND_WINDOW_BYTES)
        // Acks go first and events after them by priority; within one a fair share costs a wake-up a stream.
        .send_fairness(false)
        .datagram_receive_buffer_size(datagrams.then_some(DATAGRAMS_RECEIVED_BYTES))
        .datagram_send_buffer_size(DATAGRAMS_SENT_BYTES)
        .ack_frequency_config(Some(acks))
        .initial_rtt(INITIAL_RTT);
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(identity.server()?));
    config.transport_config(Arc::new(transport)).max_incoming(INCOMING_MAX).migration(true);
    config.incoming_buffer_size(INCOMING_BYTES_MAX);
    Ok(config)
}

/// For links that this site dials. `datagrams`: whether they may bring any.
pub fn peer_client_config(identity: &Identity, datagrams: bool) -> Result<quinn::ClientConfig, TlsError> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(idle(PEER_IDLE_MAX))
        .max_concurrent_bidi_streams(0_u32.into())
        .max_concurrent_uni_streams(0_u32.into())
        .stream_receive_window(PEER_WINDOW_BYTES.into())
        .receive_window(PEER_WINDOW_BYTES.into())
        .send_window(PEER_WINDOW_BYTES.into())
        .datagram_receive_buffer_size(datagrams.then_some(PEER_DATAGRAMS_RECEIVED_BYTES))
        .datagram_send_buffer_size(DATAGRAMS_SENT_BYTES)
        .initial_rtt(INITIAL_RTT);
    let mut config = quinn::ClientConfig::new(Arc::new(identity.peer_client()?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Raises the window of a connection whose client has said who it is.
pub fn widen_for_client(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(CLIENT_RECEIVE_WINDOW_BYTES));
}

/// Raises the windows of an accepted connection that turned out to be a peer's.
pub fn widen_for_peer(connection: &quinn::Connection) {
    connection.set_receive_window(VarInt::from_u32(PEER_WINDOW_BYTES));
    connection.set_send_window(PEER_WINDOW_BYTES.into());
}
