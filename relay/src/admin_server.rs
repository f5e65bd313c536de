//! The admin server's listener: who comes, and that nobody else does.

use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use crate::certificates::Certificates;
use crate::core::Core;
use crate::http;
use crate::tls::name_of_certificate;

/// In the logs.
const SERVER: &str = "the admin server";
/// Connections at a time: probes, Prometheus, operators. Further ones are closed.
const CONNECTIONS_MAX: usize = 64;
/// For the last call to be answered and read.
const LAST_CALL_MAX: Duration = Duration::from_secs(10);

/// Who calls: for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who(pub String);

/// Takes connections until the task is aborted. Without `admin_ca`, which [`Certificates`] have an acceptor of, it is plain
/// HTTP for whoever is on the machine.
pub async fn accept(core: Arc<Core>, listener: TcpListener, router: Router, tls: Arc<Certificates>) {
    let admitted = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = http::next(&listener, SERVER) => stream,
            Some(_) = connections.join_next() => continue,
        };
        let Some(stream) = stream else { continue };
        let Ok(permit) = admitted.clone().try_acquire_owned() else { continue };
        let (core, router, tls) = (core.clone(), router.clone(), tls.admin());
        connections.spawn(async move {
            let _permit = permit;
            let Some(tls) = tls else {
                let from = stream.peer_addr().map_or_else(|e| e.to_string(), |address| address.to_string());
                let router = router.layer(Extension(Who(format!("somebody on this machine, {from}"))));
                return http::converse(&core, stream, router, LAST_CALL_MAX).await;
            };
            let Some(stream) = http::handshake(tls, stream, SERVER).await else { return };
            let router = router.layer(Extension(who(&stream)));
            http::converse(&core, stream, router, LAST_CALL_MAX).await;
        });
    }
}

/// As the client's certificate says, which the handshake has checked.
fn who<S>(stream: &TlsStream<S>) -> Who {
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    Who(leaf.map_or_else(|| "nobody".to_owned(), |leaf| name_of_certificate(leaf)))
}
