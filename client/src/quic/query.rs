//! Queries: a stream each, to whatever site is home.

use std::time::Duration;

use causeway_protocol::{FrameDecoder, Message, encode_frame, wire};
use tokio::sync::watch;

/// Times that something is asked for: a home that fails meanwhile has a successor.
const ATTEMPTS_MAX: usize = 5;
/// How long one attempt, or waiting for a home, may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the home site's connection is found.
pub(super) type Home = watch::Receiver<Option<quinn::Connection>>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The site refuses.
    #[error("refused with code {code}: {detail}")]
    Refused {
        /// The code's number.
        code: u32,
        /// The site's words.
        detail: String,
    },
    /// No site answered.
    #[error("no site answered: {0}")]
    Unreachable(String),
}

/// Asks the home site, and its successors where it fails.
pub(super) async fn fetch<A: Message + Default>(
    mut home: Home,
    query: wire::query::Query,
    name: &'static str,
) -> Result<A, HistoryError> {
    let query = wire::Query { query: Some(query) };
    let mut last = "there is no home site".to_owned();
    for _ in 0..ATTEMPTS_MAX {
        let connection = match tokio::time::timeout(ATTEMPT_TIMEOUT, home.wait_for(Option::is_some)).await {
            Ok(Ok(connection)) => connection.clone(),
            Ok(Err(_)) => return Err(HistoryError::Unreachable("the client is closed".to_owned())),
            Err(_) => None,
        };
        let Some(connection) = connection else { continue };
        match tokio::time::timeout(ATTEMPT_TIMEOUT, ask(&connection, &query, name)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(e)) => last = e,
            Err(_) => last = "no answer in time".to_owned(),
        }
        // A failed home is about to be replaced; without this its connection would be asked again at once.
        let _ = tokio::time::timeout(ATTEMPT_TIMEOUT / 4, home.changed()).await;
    }
    Err(HistoryError::Unreachable(last))
}

async fn ask<A: Message + Default>(
    connection: &quinn::Connection,
    query: &wire::Query,
    name: &'static str,
) -> Result<A, String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
    send.write_all(&encode_frame(query)).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|e| e.to_string())?;
    let mut decoder = FrameDecoder::default();
    loop {
        if let Some(answer) = decoder.next(name).map_err(|e| e.to_string())? {
            return Ok(answer);
        }
        match receive.read_chunk(usize::MAX, true).await.map_err(|e| e.to_string())? {
            Some(chunk) => decoder.push(&chunk.bytes),
            None => return Err("the site ended the stream".to_owned()),
        }
    }
}

/// Whether the site refuses.
pub(super) fn check(code: u32, detail: String) -> Result<(), HistoryError> {
    if code == 0 { Ok(()) } else { Err(HistoryError::Refused { code, detail }) }
}
