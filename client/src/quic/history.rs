//! History by pages.

use causeway_protocol::{RequestId, RoomId, limits, wire};

use super::event::{self, Event};
use super::query::{self, HistoryError, Home};

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
    /// Messages by others beyond the user's read marker, capped at 100.
    pub unread: u64,
}

pub(super) async fn fetch(
    home: Home,
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
    let query = wire::query::Query::History(request);
    let page: wire::HistoryPage = query::fetch(home, query, "HistoryPage").await?;
    query::check(page.code, page.detail)?;
    let events = page.events.into_iter().filter_map(event::of_history).collect();
    Ok(HistoryPage { events, more: page.more, unread: page.unread })
}
