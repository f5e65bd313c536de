//! The OpenAPI document of this API, as it is served.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Written by hand; the tests hold it against the routes.
const DOCUMENT: &str = include_str!("openapi.json");

/// Serves it, to everybody: it holds nothing of anybody's.
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
