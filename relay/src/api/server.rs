//! The API's listener: its connections, and how many there may be.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::problem::Problem;
use super::{Api, router};
use crate::certificates::Certificates;
use crate::http;
use causeway_protocol::Code;

/// In the logs.
const SERVER: &str = "the API";
/// What the last answer may take to be read, beside the call's own time.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(30);
/// Connections over the limit that are told so at a time; further ones are just closed.
const REFUSALS_MAX: usize = 32;

/// Takes connections until the relay stops; when it is dropped, they end. Without certificates it is plain HTTP.
pub async fn accept(api: Arc<Api>, listener: TcpListener, tls: Option<Arc<Certificates>>) {
    let admitted = Arc::new(Semaphore::new(api.config.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let (served, refused) = (router(&api), refusing(api.config.connections_max));
    let mut stopping = api.core.stopping.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = http::next(&listener, SERVER) => stream,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let Some(stream) = stream else { continue };
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
    let last_call_max = api.config.timeout + LAST_ANSWER_MAX;
    match tls {
        None => http::converse(&api.core, stream, router, last_call_max).await,
        Some(tls) => {
            if let Some(stream) = http::handshake(tls, stream, SERVER).await {
                http::converse(&api.core, stream, router, last_call_max).await;
            }
        }
    }
}
