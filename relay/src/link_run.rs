//! One link while it is up: hello, then shard frames, pings and pongs on one stream, until something ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causeway_protocol::wire::peer_frame::Frame;
use causeway_protocol::{FrameDecoder, FrameError, ShardId, SiteId, encode_frame, encode_frame_into, version, wire};
use causeway_replica::io::Input;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, WriteError};

use crate::core::Core;
use crate::datagrams;
use crate::link::Link;
use crate::link_queue::LinkOverflow;
use crate::shard_input::{LinkEpoch, ThreadInput};

/// The hello of each side.
const HELLO_MAX: Duration = Duration::from_secs(3);
/// Between two pings. They measure the round trip and the clocks, and show that this side lives.
const PING_EVERY: Duration = Duration::from_millis(500);
/// A peer that is silent this long is taken for dead: six pings. Its return costs one handshake.
const SILENCE_MAX_MS: u64 = 3_000;
/// Encoded at once before it is given to the stream.
const WRITE_BYTES_MAX: usize = 256 << 10;
/// Chunks taken from the stream at once.
const READ_CHUNKS: usize = 32;

/// Why a link ended or did not come up.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer could not be reached.
    #[error("cannot dial: {0}")]
    Dial(String),
    /// The certificate names another site than the configured one.
    #[error("the certificate names another site")]
    Identity,
    /// The hello does not fit. Names the field and both values.
    #[error("the peer's {field} is {theirs}, here it is {ours}: configure both sites alike")]
    Hello {
        /// Which field.
        field: &'static str,
        /// The peer's value.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// No hello came in time, or something else came first.
    #[error("no hello: {0}")]
    NoHello(&'static str),
    /// The peer sends what no peer may send.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A frame for a shard that does not exist.
    #[error("a frame for shard {0}, which does not exist")]
    Shard(u32),
    /// Nothing came for too long.
    #[error("silent for {SILENCE_MAX_MS} ms")]
    Silent,
    /// The peer closed its stream.
    #[error("the peer ended the stream")]
    Ended,
    /// The peer reads too slowly.
    #[error(transparent)]
    Overflow(#[from] LinkOverflow),
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The stream failed, and not with its connection.
    #[error("the stream failed: {0}")]
    Stream(String),
}

// A lost connection has the peer's reason in it, which the stream's error does not tell.
impl From<ReadError> for LinkError {
    fn from(e: ReadError) -> Self {
        match e {
            ReadError::ConnectionLost(e) => e.into(),
            e => LinkError::Stream(e.to_string()),
        }
    }
}

impl From<WriteError> for LinkError {
    fn from(e: WriteError) -> Self {
        match e {
            WriteError::ConnectionLost(e) => e.into(),
            e => LinkError::Stream(e.to_string()),
        }
    }
}

/// What the three parts of a link share.
struct Running<'a> {
    core: &'a Core,
    link: &'a Link,
    /// When the peer was last heard, `mono_ms`.
    heard_ms: AtomicU64,
    /// The reader waits for a shard thread: the silence is ours.
    is_reader_busy: AtomicBool,
}

/// Runs a link to its end. Marks it as up in its status once the hellos fit.
pub async fn run_link(
    core: &Arc<Core>,
    link: &Arc<Link>,
    connection: &Connection,
    epoch: LinkEpoch,
) -> Result<(), LinkError> {
    let mut decoder = FrameDecoder::default();
    let hello = tokio::time::timeout(HELLO_MAX, handshake(core, link.peer.site, connection, &mut decoder));
    let (send, recv) = hello.await.map_err(|_| LinkError::NoHello("it took too long"))??;
    link.queue.open(epoch);
    core.inboxes.push_all_now(&ThreadInput::PeerUp(link.peer.site, epoch));
    let now_ms = core.clock.now().mono_ms;
    link.set_status(|status| (status.up, status.since_ms, status.rtt_ms) = (true, now_ms, None));
    core.metrics.links_up.increment(1.0);
    tracing::info!(peer = %link.peer.site, name = link.peer.name, "link up");
    let running = Running { core, link, heard_ms: AtomicU64::new(now_ms), is_reader_busy: AtomicBool::new(false) };
    tokio::select! {
        ended = running.read(recv, decoder) => ended,
        ended = running.write(send) => ended,
        ended = running.ping() => ended,
        ended = datagrams::serve_peer(core, link.peer.site, connection) => ended.map_err(LinkError::Connection),
    }
}

async fn handshake(
    core: &Core,
    peer: SiteId,
    connection: &Connection,
    decoder: &mut FrameDecoder,
) -> Result<(SendStream, RecvStream), LinkError> {
    let is_dialler = core.config.site < peer;
    let (mut send, mut recv) = if is_dialler { connection.open_bi().await? } else { connection.accept_bi().await? };
    let hello = wire::PeerHello {
        version_min: version::VERSION_MIN,
        version_max: version::VERSION_MAX,
        site: core.config.site.0.into(),
        node: core.config.node.into(),
        incarnation: core.origin.incarnation,
        shard_count: core.config.shards.into(),
        cluster: Bytes::copy_from_slice(&core.config.cluster),
        kinds: causeway_replica::request::KINDS.to_vec(),
    };
    let frame = encode_frame(&wire::PeerFrame { frame: Some(Frame::Hello(hello)) });
    send.write_chunk(frame).await?;
    loop {
        if let Some(frame) = decoder.next::<wire::PeerFrame>("PeerFrame")? {
            let Some(Frame::Hello(hello)) = frame.frame else {
                return Err(LinkError::NoHello("something else came first"));
            };
            check_hello(core, peer, &hello)?;
            return Ok((send, recv));
        }
        let chunk = recv.read_chunk(usize::MAX, true).await?.ok_or(LinkError::Ended)?;
        decoder.push(&chunk.bytes);
    }
}

fn check_hello(core: &Core, peer: SiteId, hello: &wire::PeerHello) -> Result<(), LinkError> {
    let differs = |field, theirs: String, ours: String| Err(LinkError::Hello { field, theirs, ours });
    if version::negotiate(hello.version_min, hello.version_max).is_none() {
        let theirs = format!("{}..{}", hello.version_min, hello.version_max);
        return differs("version", theirs, format!("{}..{}", version::VERSION_MIN, version::VERSION_MAX));
    }
    if hello.site != u32::from(peer.0) {
        return differs("site", hello.site.to_string(), format!("{peer} by its certificate"));
    }
    if hello.shard_count != u32::from(core.config.shards) {
        return differs("shards", hello.shard_count.to_string(), core.config.shards.to_string());
    }
    if hello.cluster[..] != core.config.cluster {
        return differs("cluster", "another".to_owned(), "this one".to_owned());
    }
    Ok(())
}

impl Running<'_> {
    async fn read(&self, mut recv: RecvStream, mut decoder: FrameDecoder) -> Result<(), LinkError> {
        let mut chunks: [Bytes; READ_CHUNKS] = Default::default();
        loop {
            while let Some(frame) = decoder.next::<wire::PeerFrame>("PeerFrame")? {
                self.take(frame).await?;
            }
            let count = recv.read_chunks(&mut chunks).await?.ok_or(LinkError::Ended)?;
            self.heard_ms.store(self.core.clock.now().mono_ms, Ordering::Release);
            for chunk in &mut chunks[..count] {
                decoder.push(&std::mem::take(chunk));
            }
        }
    }

    async fn take(&self, frame: wire::PeerFrame) -> Result<(), LinkError> {
        match frame.frame {
            Some(Frame::Shard(frame)) => {
                let shard = u16::try_from(frame.shard).ok().filter(|shard| *shard < self.core.config.shards);
                let shard = ShardId(shard.ok_or(LinkError::Shard(frame.shard))?);
                self.core.metrics.peer_frames_in.increment(1);
                self.is_reader_busy.store(true, Ordering::Release);
                let input = ThreadInput::Shard(shard, Input::Peer(self.link.peer.site, frame));
                self.core.inboxes.of(shard).push(input).await;
                self.heard_ms.store(self.core.clock.now().mono_ms, Ordering::Release);
                self.is_reader_busy.store(false, Ordering::Release);
            }
            Some(Frame::Ping(ping)) => {
                let clock_ms = self.core.clock.now().wall_ms;
                self.link.queue.push_control(Frame::Pong(wire::PeerPong { token: ping.token, clock_ms }));
            }
            Some(Frame::Pong(pong)) => self.pong(&pong),
            // A second hello says nothing new; an unknown frame is a newer version's.
            Some(Frame::Hello(_)) | None => {}
        }
        Ok(())
    }

    /// A ping's token is the moment at which it was sent, `mono_ms`.
    fn pong(&self, pong: &wire::PeerPong) {
        let now = self.core.clock.now();
        let Some(rtt_ms) = now.mono_ms.checked_sub(pong.token).filter(|rtt| *rtt <= SILENCE_MAX_MS) else { return };
        self.link.set_status(|status| status.rtt_ms = Some(rtt_ms));
        self.core.with_clock_guard(|guard| guard.observe(self.link.peer.site, rtt_ms, pong.clock_ms, now.wall_ms));
    }

    async fn write(&self, mut send: SendStream) -> Result<(), LinkError> {
        let mut out = BytesMut::new();
        loop {
            let mut batch = self.link.queue.take().await?;
            for frame in batch.control.drain(..) {
                encode_frame_into(&wire::PeerFrame { frame: Some(frame) }, &mut out);
            }
            self.core.metrics.peer_frames_out.increment(batch.frames.len() as u64);
            for frame in batch.frames.drain(..) {
                encode_frame_into(&wire::PeerFrame { frame: Some(Frame::Shard(frame)) }, &mut out);
                if out.len() >= WRITE_BYTES_MAX {
                    self.flush(&mut send, &mut out).await?;
                }
            }
            self.flush(&mut send, &mut out).await?;
        }
    }

    async fn flush(&self, send: &mut SendStream, out: &mut BytesMut) -> Result<(), LinkError> {
        let bytes = out.split().freeze();
        self.core.metrics.peer_bytes_out.increment(bytes.len() as u64);
        Ok(send.write_chunk(bytes).await?)
    }

    async fn ping(&self) -> Result<(), LinkError> {
        let mut ticks = tokio::time::interval(PING_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now_ms = self.core.clock.now().mono_ms;
            let silent_ms = now_ms.saturating_sub(self.heard_ms.load(Ordering::Acquire));
            if silent_ms > SILENCE_MAX_MS && !self.is_reader_busy.load(Ordering::Acquire) {
                return Err(LinkError::Silent);
            }
            self.link.queue.push_control(Frame::Ping(wire::PeerPing { token: now_ms }));
        }
    }
}
