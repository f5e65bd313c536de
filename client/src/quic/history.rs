//! History by pages: a stream a request, to whatever site is home.

use std::time::Duration;

use causeway_protocol::{FrameDecoder, RequestId, RoomId, encode_frame, limits, wire};
use tokio::sync::watch;

use super::event::{self, Event};

/// Times that a page is asked for: a home that fails meanwhile has a successor.
const ATTEMPTS_MAX: usize = 5;
/// How long one attempt, or waiting for a home, may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Which way a page goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards older ones.
    Backward,
    /// Towards newer ones.
    Forward,
}

/// A page of a room's history.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// Messages and changes in the order of their places, oldest first.
    pub events: Vec<Event>,
    /// Whether further ones lie in the direction asked for.
    pub more: bool,
    /// Messages beyond the user's read marker, capped at 100.
    pub unread: u64,
}

/// Why there is no page.
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
pub(super) async fn fetch(
    mut home: watch::Receiver<Option<quinn::Connection>>,
    room: RoomId,
    from: Option<RequestId>,
    direction: Direction,
    limit: u32,
) -> Result<HistoryPage, HistoryError> {
    let request = wire::HistoryRequest {
        room: room.to_wire(),
        from: from.map(RequestId::to_wire),
        forward: direction == Direction::Forward,
        limit: limit.clamp(1, limits::HISTORY_PAGE_MAX),
    };
    let mut last = "there is no home site".to_owned();
    for _ in 0..ATTEMPTS_MAX {
        let connection = match tokio::time::timeout(ATTEMPT_TIMEOUT, home.wait_for(Option::is_some)).await {
            Ok(Ok(connection)) => connection.clone(),
            Ok(Err(_)) => return Err(HistoryError::Unreachable("the client is closed".to_owned())),
            Err(_) => None,
        };
        let Some(connection) = connection else { continue };
        match tokio::time::timeout(ATTEMPT_TIMEOUT, ask(&connection, &request)).await {
            Ok(Ok(page)) => return of_wire(page),
            Ok(Err(e)) => last = e,
            Err(_) => last = "no answer in time".to_owned(),
        }
        // A failed home is about to be replaced; without this its connection would be asked again at once.
        let _ = tokio::time::timeout(ATTEMPT_TIMEOUT / 4, home.changed()).await;
    }
    Err(HistoryError::Unreachable(last))
}

async fn ask(connection: &quinn::Connection, request: &wire::HistoryRequest) -> Result<wire::HistoryPage, String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| e.to_string())?;
    send.write_all(&encode_frame(request)).await.map_err(|e| e.to_string())?;
    send.finish().map_err(|e| e.to_string())?;
    let mut decoder = FrameDecoder::default();
    loop {
        if let Some(page) = decoder.next("HistoryPage").map_err(|e| e.to_string())? {
            return Ok(page);
        }
        match receive.read_chunk(usize::MAX, true).await.map_err(|e| e.to_string())? {
            Some(chunk) => decoder.push(&chunk.bytes),
            None => return Err("the site ended the stream".to_owned()),
        }
    }
}

fn of_wire(page: wire::HistoryPage) -> Result<HistoryPage, HistoryError> {
    if page.code != 0 {
        return Err(HistoryError::Refused { code: page.code, detail: page.detail });
    }
    let events = page.events.into_iter().filter_map(event::of_history).collect();
    Ok(HistoryPage { events, more: page.more, unread: page.unread })
}
