//! The API's listener: connections, TLS, and the limits of both.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::problem::Problem;
use super::{Api, router};
use crate::certificates::Certificates;
use crate::tls::{Identity, TlsError};
use causeway_protocol::Code;

/// One TLS handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// For the headers of a call to arrive, from the end of the one before. So a connection that nobody uses closes.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// The headers of a call, bytes: a token and what goes with it.
const HEADERS_BYTES_MAX: usize = 32 << 10;
/// How old a connection gets. Then its call is the last one.
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// What the last answer may take to be read, beside the call's own time.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(30);
/// Connections over the limit that are told so at a time; further ones are just closed.
const REFUSALS_MAX: usize = 32;
/// Before another try, where the system gives no more sockets: it tells nobody when it does again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// TLS with the certificate that clients know the site by.
pub fn tls_acceptor(identity: &Identity) -> Result<TlsAcceptor, TlsError> {
    Ok(TlsAcceptor::from(Arc::new(identity.https()?)))
}

/// Takes connections until the relay stops; when it is dropped, they end. Without certificates it is plain HTTP.
pub async fn accept(api: Arc<Api>, listener: TcpListener, tls: Option<Arc<Certificates>>) {
    let admitted = Arc::new(Semaphore::new(api.config.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let (served, refused) = (router(&api), refusing(api.config.connections_max));
    let mut stopping = api.core.stopping.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::warn!("the API cannot take a connection: {e}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (permit, router) = match admitted.clone().try_acquire_owned() {
            Ok(permit) => (permit, served.clone()),
            Err(_) => {
                api.core.metrics.api_connections_refused.increment(1);
                let Ok(permit) = refusals.clone().try_acquire_owned() else { continue };
                (permit, refused.clone())
            }
        };
        let (api, tls) = (api.clone(), tls.as_ref().map(|tls| tls.api()));
        connections.spawn(async move {
            api.core.metrics.api_connections.increment(1.0);
            serve(&api, stream, tls, router).await;
            api.core.metrics.api_connections.decrement(1.0);
            drop(permit);
        });
    }
    while connections.join_next().await.is_some() {}
}

/// What answers connections over the limit.
fn refusing(connections_max: usize) -> Router {
    let detail =
        format!("the API has `api_connections_max`, {connections_max}, connections: use them again, or another site");
    let problem = Problem::of(Code::Overloaded, detail);
    let close = [(axum::http::header::CONNECTION, "close")];
    Router::new().fallback(move || std::future::ready((close, problem.clone())))
}

async fn serve(api: &Api, stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    // Answers are small and written at once: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    match tls {
        None => converse(api, stream, router).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(api, stream, router).await,
            Ok(Err(e)) => tracing::debug!("a handshake with the API failed: {e}"),
            Err(_) => tracing::debug!("a handshake with the API took longer than {HANDSHAKE_MAX:?}"),
        },
    }
}

async fn converse(api: &Api, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let mut stopping = api.core.stopping.subscribe();
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
    if let Ok(ended) = tokio::time::timeout(api.config.timeout + LAST_ANSWER_MAX, connection).await {
        told(ended);
    }
}

fn told(ended: hyper::Result<()>) {
    if let Err(e) = ended {
        tracing::debug!("a connection to the API ended: {e}");
    }
}
