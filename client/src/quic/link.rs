//! One connection to a site: dialling, frames in, frames out.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use causeway_protocol::{FrameDecoder, FrameError, encode_datagram, encode_frame_into, wire};
use tokio::io::AsyncWrite;

use super::connector::Connector;
use crate::machine::{ClosedBySite, SiteIndex};

/// Bytes that one read takes at most.
const READ_BYTES_MAX: usize = 64 << 10;
/// QUIC's code when an application closes without a reason of its own.
pub(super) const CLOSE_CODE: u32 = 0;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection whose control stream stands.
pub(super) struct Opened {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
}

enum Stage {
    Dialing(Boxed<Result<Opened, String>>),
    Open(Box<Open>),
}

struct Open {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    control: FrameDecoder,
    out: BytesMut,
    events: Events,
    /// The next datagram. Made anew with each that comes: dropped, it would wake nobody.
    datagram: Boxed<Result<Bytes, quinn::ConnectionError>>,
    /// The site has ended a stream: it is about to close the connection, and to say why.
    closing: Option<Boxed<quinn::ConnectionError>>,
}

impl Open {
    /// Waits for the site's reason, once it has ended a stream.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let connection = &self.connection;
        let closing = self.closing.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.closed().await })
        });
        closing.as_mut().poll(cx).map(|e| Err(Lost::of_connection(&e)))
    }
}

enum Events {
    /// The site has not opened the stream.
    Awaited(Boxed<Result<quinn::RecvStream, quinn::ConnectionError>>),
    Open(quinn::RecvStream, FrameDecoder),
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) struct Lost {
    /// The site's words, if it was the site.
    pub(super) by_site: Option<ClosedBySite>,
    /// For logs.
    pub(super) words: String,
}

pub(super) struct Link {
    pub(super) site: SiteIndex,
    stage: Stage,
}

impl Link {
    pub(super) fn dial(connector: Connector, site: SiteIndex, addresses: Vec<String>, timeout: Duration) -> Self {
        Self { site, stage: Stage::Dialing(Box::pin(dial(connector, addresses, timeout))) }
    }

    pub(super) fn connection(&self) -> Option<&quinn::Connection> {
        match &self.stage {
            Stage::Dialing(_) => None,
            Stage::Open(open) => Some(&open.connection),
        }
    }

    pub(super) fn close(self, reason: &str) {
        if let Stage::Open(open) = self.stage {
            open.connection.close(quinn::VarInt::from_u32(CLOSE_CODE), reason.as_bytes());
        }
    }

    /// Puts a frame into the buffer that goes out with the next flush.
    pub(super) fn put(&mut self, frame: &wire::ClientFrame) {
        if let Stage::Open(open) = &mut self.stage {
            encode_frame_into(frame, &mut open.out);
        }
    }

    /// While dialling: whether the connection stands now.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let Stage::Dialing(dialing) = &mut self.stage else { return Poll::Pending };
        let opened = std::task::ready!(dialing.as_mut().poll(cx));
        let Opened { connection, send, receive } = opened.map_err(|words| Lost { by_site: None, words })?;
        let awaited = connection.clone();
        let events = Events::Awaited(Box::pin(async move { awaited.accept_uni().await }));
        let (control, out) = (FrameDecoder::default(), BytesMut::new());
        let (datagram, closing) = (next_datagram(&connection), None);
        let open = Open { connection, send, receive, control, out, events, datagram, closing };
        self.stage = Stage::Open(Box::new(open));
        Poll::Ready(Ok(()))
    }

    /// Reads what has come on the control stream; ready when something has.
    pub(super) fn poll_control(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(wire::ServerFrame),
    ) -> Poll<Result<(), Lost>> {
        let Stage::Open(open) = &mut self.stage else { return Poll::Pending };
        if open.closing.is_some() || !std::task::ready!(poll_read(&mut open.receive, &mut open.control, cx))? {
            return open.poll_closing(cx);
        }
        while let Some(frame) = open.control.next("ServerFrame")? {
            take(frame);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what has come on the stream of events; ready when something has.
    pub(super) fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(wire::EventFrame),
    ) -> Poll<Result<(), Lost>> {
        let Stage::Open(open) = &mut self.stage else { return Poll::Pending };
        if let Events::Awaited(awaited) = &mut open.events {
            let stream = std::task::ready!(awaited.as_mut().poll(cx)).map_err(|e| Lost::of_connection(&e))?;
            open.events = Events::Open(stream, FrameDecoder::default());
        }
        let Events::Open(stream, decoder) = &mut open.events else { return Poll::Pending };
        if open.closing.is_some() || !std::task::ready!(poll_read(stream, decoder, cx))? {
            return open.poll_closing(cx);
        }
        while let Some(frame) = decoder.next("EventFrame")? {
            take(frame);
        }
        Poll::Ready(Ok(()))
    }

    /// A datagram, when one has come.
    pub(super) fn poll_datagram(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let Stage::Open(open) = &mut self.stage else { return Poll::Pending };
        match std::task::ready!(open.datagram.as_mut().poll(cx)) {
            Ok(datagram) => {
                open.datagram = next_datagram(&open.connection);
                Poll::Ready(datagram)
            }
            // The connection is lost: reading the streams tells why.
            Err(_) => {
                open.datagram = Box::pin(std::future::pending());
                Poll::Pending
            }
        }
    }

    /// Sends a datagram, if the site takes any.
    pub(super) fn send_datagram(&self, datagram: &wire::ClientDatagram) {
        if let Stage::Open(open) = &self.stage {
            // A site without presence takes none; what is lost is said again.
            let _ = open.connection.send_datagram(encode_datagram(datagram));
        }
    }

    /// Writes what is buffered, as far as the site takes it.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        let Stage::Open(open) = &mut self.stage else { return };
        while !open.out.is_empty() {
            match Pin::new(&mut open.send as &mut (dyn AsyncWrite + Unpin + Send)).poll_write(cx, &open.out) {
                Poll::Ready(Ok(written)) => open.out.advance(written),
                // The connection is lost: reading tells why.
                Poll::Ready(Err(_)) => open.out.clear(),
                Poll::Pending => return,
            }
        }
    }
}

fn next_datagram(connection: &quinn::Connection) -> Boxed<Result<Bytes, quinn::ConnectionError>> {
    let connection = connection.clone();
    Box::pin(async move { connection.read_datagram().await })
}

/// False where the site has ended the stream.
fn poll_read(
    stream: &mut quinn::RecvStream,
    decoder: &mut FrameDecoder,
    cx: &mut Context<'_>,
) -> Poll<Result<bool, Lost>> {
    // The future holds nothing but the stream, so it may be dropped and made anew.
    let chunk = pin!(stream.read_chunk(READ_BYTES_MAX, true)).poll(cx);
    match std::task::ready!(chunk) {
        Ok(Some(chunk)) => {
            decoder.push(&chunk.bytes);
            Poll::Ready(Ok(true))
        }
        Ok(None) => Poll::Ready(Ok(false)),
        Err(quinn::ReadError::ConnectionLost(e)) => Poll::Ready(Err(Lost::of_connection(&e))),
        Err(e) => Poll::Ready(Err(Lost { by_site: None, words: e.to_string() })),
    }
}

impl Lost {
    fn of_connection(e: &quinn::ConnectionError) -> Self {
        let by_site = match e {
            quinn::ConnectionError::ApplicationClosed(close) => Some(ClosedBySite {
                code: u32::try_from(close.error_code.into_inner()).unwrap_or(0),
                detail: String::from_utf8_lossy(&close.reason).into_owned(),
            }),
            _ => None,
        };
        Self { by_site, words: e.to_string() }
    }
}

impl From<FrameError> for Lost {
    fn from(e: FrameError) -> Self {
        Self { by_site: None, words: e.to_string() }
    }
}

/// Tries the addresses in their order until one answers. Each gets its share of the time.
async fn dial(connector: Connector, addresses: Vec<String>, timeout: Duration) -> Result<Opened, String> {
    let mut last = "the site has no address".to_owned();
    let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    for address in addresses {
        match tokio::time::timeout(share, dial_one(&connector, &address)).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(e)) => last = format!("{address}: {e}"),
            Err(_) => last = format!("{address}: no answer"),
        }
    }
    Err(last)
}

async fn dial_one(connector: &Connector, address: &str) -> Result<Opened, String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name: Arc<str> = connector.server_name.clone().unwrap_or_else(|| host.into());
    let resolved = tokio::net::lookup_host(address).await.map_err(|e| e.to_string())?;
    let mut last = "the name has no address".to_owned();
    for to in resolved {
        match connect(connector, to, &name).await {
            Ok(opened) => return Ok(opened),
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn connect(connector: &Connector, to: std::net::SocketAddr, name: &str) -> Result<Opened, String> {
    let connecting = connector.endpoint.connect_with(connector.config.clone(), to, name).map_err(|e| e.to_string())?;
    let connection = connecting.await.map_err(|e| e.to_string())?;
    let (send, receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
    Ok(Opened { connection, send, receive })
}
