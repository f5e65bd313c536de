//! The admin server: HTTP for operators, probes and Prometheus. Plain on loopback; with `admin_ca` for who has a certificate
//! of that authority's.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use causeway_replica::io::Input;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::admin_server::{self, Who};
use crate::certificates::Certificates;
use crate::core::Core;
use crate::shard_input::ThreadInput;
use crate::shard_thread::Report;
use crate::status::{Status, export};

/// How long shard threads may take to answer. One that takes longer hangs.
const REPORT_MAX: Duration = Duration::from_secs(5);

/// Serves until the task is aborted.
pub async fn serve(core: Arc<Core>, listener: TcpListener, certificates: Arc<Certificates>) {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/force-ready", post(force_ready))
        .with_state(core.clone());
    admin_server::accept(core, listener, router, certificates).await;
}

/// Every shard thread's state; `None` where one does not answer in time.
pub async fn reports(core: &Core) -> Option<Vec<Report>> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    core.inboxes.push_all_now(&ThreadInput::Report(sender));
    let count = core.inboxes.all().len();
    let collect = async {
        let mut reports = Vec::with_capacity(count);
        while let Some(report) = receiver.recv().await {
            reports.push(report);
        }
        (reports.len() == count).then_some(reports)
    };
    tokio::time::timeout(REPORT_MAX, collect).await.ok().flatten()
}

fn hangs() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "a shard thread does not answer\n").into_response()
}

/// 200 while every shard thread answers.
async fn livez(State(core): State<Arc<Core>>) -> Response {
    if reports(&core).await.is_some() { "live\n".into_response() } else { hangs() }
}

/// 200 while clients should come here.
async fn readyz(State(core): State<Arc<Core>>) -> Response {
    let ready = core.published.ready_count();
    let reason = if core.is_stopping() {
        "shutting down\n".to_owned()
    } else if !core.is_accepting() {
        "the clock is off its peers' median\n".to_owned()
    } else if ready < usize::from(core.config.shards) {
        format!("{ready} of {} shards serve\n", core.config.shards)
    } else {
        return "ready\n".into_response();
    };
    (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
}

async fn metrics(State(core): State<Arc<Core>>) -> Response {
    let Some(reports) = reports(&core).await else { return hangs() };
    export(&core, &reports);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], core.metrics.render()).into_response()
}

async fn status(State(core): State<Arc<Core>>) -> Response {
    match reports(&core).await {
        Some(reports) => Json(Status::of(&core, &reports)).into_response(),
        None => hangs(),
    }
}

/// An operator says that this site's copy is the newest there is.
async fn force_ready(State(core): State<Arc<Core>>, Extension(Who(who)): Extension<Who>) -> Response {
    core.metrics.admin_acts.increment(1);
    tracing::warn!(who, what = "force-ready", "an administrative act: every shard is told to serve as it is");
    core.inboxes.push_all_now(&ThreadInput::All(Input::ForceReady));
    (StatusCode::ACCEPTED, "every shard is told to serve\n").into_response()
}
