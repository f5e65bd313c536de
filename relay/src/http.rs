//! HTTP/1.1 over one connection, for the admin server and the API: the limits of both.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::core::Core;

/// One TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// For the headers of a call to arrive, from the end of the one before. So a connection that nobody uses closes.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// The headers of a call, bytes: a token and what goes with it.
const HEADERS_BYTES_MAX: usize = 32 << 10;
/// How old a connection gets. Then its call is the last one.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// Before another try, where the system gives no more sockets: it tells nobody when it does again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The next connection; `None` where there is none to be had for now, after a pause.
pub async fn next(listener: &TcpListener, server: &'static str) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are small and written at once: nothing is gained by waiting for more.
            let _ = stream.set_nodelay(true);
            Some(stream)
        }
        Err(e) => {
            tracing::warn!("{server} cannot take a connection: {e}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// `None` where the other end has no part in it.
pub async fn handshake(tls: TlsAcceptor, stream: TcpStream, server: &'static str) -> Option<TlsStream<TcpStream>> {
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(e)) => tracing::debug!("a handshake with {server} failed: {e}"),
        Err(_) => tracing::debug!("a handshake with {server} took longer than {HANDSHAKE_MAX:?}"),
    }
    None
}

/// Answers calls until the connection ends, or is old, or the relay stops; the call that is under way has so long.
pub async fn converse(
    core: &Core,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    last_call_max: Duration,
) {
    let mut stopping = core.stopping.subscribe();
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return told(ended),
        () = tokio::time::sleep(CONNECTION_MAX) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = tokio::time::timeout(last_call_max, connection).await {
        told(ended);
    }
}

fn told(ended: hyper::Result<()>) {
    if let Err(e) = ended {
        tracing::debug!("an HTTP connection ended: {e}");
    }
}
