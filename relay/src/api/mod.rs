//! The HTTP API for back ends: rooms, members, messages, history, without the SDK. docs/API.md tells how to use it.
//!
//! A call that changes something becomes one request, as an SDK's, and is answered when the shard has acknowledged it:
//! see [`submit`]. Its id follows from the call's `Idempotency-Key`, so that the same call at another site is the same
//! request: see [`ids`].

mod auth;
mod extract;
mod history;
mod ids;
mod members;
mod messages;
mod openapi;
mod problem;
mod rooms;
mod server;
mod submit;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use causeway_protocol::{Hlc, Stamp, limits};

use crate::config::ApiConfig;
use crate::core::Core;
use crate::tokens::TokenKeys;
use problem::Problem;

pub use server::accept;

/// A call's body, bytes: the largest content with every byte escaped, as in `\u0000`, and what is around it.
const BODY_BYTES_MAX: usize = 6 * limits::CONTENT_BYTES_MAX + (4 << 10);

/// What the calls share.
pub struct Api {
    core: Arc<Core>,
    config: ApiConfig,
    /// `None`: callers need no token (`dev`).
    tokens: Option<Arc<TokenKeys>>,
    /// The last stamp of a key that this site made.
    made: Mutex<Hlc>,
}

impl Api {
    /// Of a relay's parts.
    pub fn new(core: Arc<Core>, config: ApiConfig, tokens: Option<Arc<TokenKeys>>) -> Arc<Self> {
        Arc::new(Self { core, config, tokens, made: Mutex::default() })
    }

    /// A stamp later than every one given before.
    fn mint(&self) -> Stamp {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).mint(self.core.clock.now().wall_ms)
    }
}

/// One method of one path.
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path, its parameters in braces.
    pub path: &'static str,
    handler: fn() -> MethodRouter<Arc<Api>>,
}

const fn route(method: &'static str, path: &'static str, handler: fn() -> MethodRouter<Arc<Api>>) -> Route {
    Route { method, path, handler }
}

/// All of them. The router, the metrics and the check of the OpenAPI document go by this table.
pub const ROUTES: [Route; 22] = [
    route("GET", "/v1/openapi.json", || get(openapi::document)),
    route("POST", "/v1/rooms", || post(rooms::create)),
    route("PUT", "/v1/direct/{user}", || put(rooms::create_direct)),
    route("PATCH", "/v1/rooms/{room}", || patch(rooms::set_profile)),
    route("PUT", "/v1/rooms/{room}/name", || put(rooms::set_name)),
    route("POST", "/v1/rooms/{room}/join", || post(rooms::join)),
    route("POST", "/v1/rooms/{room}/leave", || post(rooms::leave)),
    route("POST", "/v1/rooms/{room}/knock", || post(rooms::knock)),
    route("POST", "/v1/rooms/{room}/erase", || post(rooms::erase)),
    route("POST", "/v1/erase", || post(rooms::erase_everywhere)),
    route("DELETE", "/v1/rooms/{room}/knocks/{user}", || delete(members::decline)),
    route("PUT", "/v1/rooms/{room}/invitations/{user}", || put(members::invite)),
    route("PUT", "/v1/rooms/{room}/members/{user}/role", || put(members::set_role)),
    route("DELETE", "/v1/rooms/{room}/members/{user}", || delete(members::kick)),
    route("PUT", "/v1/rooms/{room}/bans/{user}", || put(members::ban)),
    route("DELETE", "/v1/rooms/{room}/bans/{user}", || delete(members::lift_ban)),
    route("GET", "/v1/rooms/{room}/messages", || get(history::page)),
    route("POST", "/v1/rooms/{room}/messages", || post(messages::send)),
    route("PATCH", "/v1/rooms/{room}/messages/{id}", || patch(messages::edit)),
    route("DELETE", "/v1/rooms/{room}/messages/{id}", || delete(messages::redact)),
    route("PUT", "/v1/rooms/{room}/pins/{id}", || put(messages::pin)),
    route("DELETE", "/v1/rooms/{room}/pins/{id}", || delete(messages::unpin)),
];

fn router(api: &Arc<Api>) -> Router {
    let routes = ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, (route.handler)()));
    routes
        .fallback(|| async { Problem::own(StatusCode::NOT_FOUND, "NoSuchPath", "no such path: see /v1/openapi.json") })
        .method_not_allowed_fallback(|| async {
            let detail = "the path does not take this method: see /v1/openapi.json";
            Problem::own(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", detail)
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(api.clone(), in_time_and_counted))
        .with_state(api.clone())
}

async fn in_time_and_counted(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().cloned();
    let answered = tokio::time::timeout(api.config.timeout, next.run(request)).await;
    let response = answered.unwrap_or_else(|_| {
        let detail = format!(
            "the call took longer than `api_timeout_ms`, {}: it may be carried out or not; make it again with the same \
             Idempotency-Key",
            api.config.timeout.as_millis()
        );
        Problem::own(StatusCode::SERVICE_UNAVAILABLE, "Timeout", detail).retry_after(1).into_response()
    });
    let path = path.as_ref().map(MatchedPath::as_str);
    api.core.metrics.api_requests.count(method.as_str(), path, response.status());
    response
}
