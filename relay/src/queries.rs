//! Queries (history, members, readers, presence): one bidirectional stream each, one frame there, one frame back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway_protocol::{Code, FrameDecoder, Message, UserId, encode_frame, limits, wire, wire::query::Query};
use causeway_replica::read;
use causeway_replica::view::ViewError;
use quinn::{Connection, RecvStream, SendStream, VarInt};

use crate::core::Core;
use crate::presence;
use crate::rates::Visitor;

/// A query is a room and some numbers, a name, the ids of a hundred messages, or the names of a hundred users.
const QUERY_BYTES_MAX: usize = 16 << 10;
/// For the request to arrive, and again for the answer to be taken.
const STREAM_MAX: Duration = Duration::from_secs(10);

/// Answers a client's queries until its connection ends. How many run at a time is bounded by the
/// streams that the connection allows.
pub async fn serve(core: Arc<Core>, connection: Connection, user: UserId, visitor: Arc<Visitor>) {
    // Bounded by the connection's life, as the visitor is.
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(answer(core.clone(), user.clone(), visitor.clone(), send, recv));
    }
}

async fn answer(core: Arc<Core>, user: UserId, visitor: Arc<Visitor>, mut send: SendStream, mut recv: RecvStream) {
    let frame = match tokio::time::timeout(STREAM_MAX, query(&mut recv)).await {
        Ok(Ok(query)) => match check(&core, &visitor, &query) {
            Ok(()) => read(&core, user, query).await,
            Err((code, detail)) => refusal(code, detail),
        },
        Ok(Err(detail)) => refusal(Code::Malformed, detail),
        Err(_) => refusal(Code::Malformed, "the query did not arrive in time".to_owned()),
    };
    let written = async {
        send.write_chunk(frame).await.ok()?;
        send.finish().ok()?;
        send.stopped().await.ok()
    };
    if tokio::time::timeout(STREAM_MAX, written).await.is_err() {
        let _ = send.reset(VarInt::from_u32(0));
    }
}

/// Every kind of answer has its code and words where a page of history has them.
fn refusal(code: Code, detail: String) -> Bytes {
    encode_frame(&history_refusal(code, detail))
}

/// Whether the site's limits allow a query.
fn check(core: &Core, visitor: &Visitor, query: &Query) -> Result<(), (Code, String)> {
    let (bytes, limit) = match query {
        Query::History(ask) => (ask.encoded_len(), ask.limit),
        Query::Members(ask) => (ask.encoded_len(), ask.limit),
        Query::Readers(ask) => (ask.encoded_len(), 1),
        Query::Presence(ask) => (ask.encoded_len(), 1),
    };
    visitor.ask(core.clock.now().mono_ms, bytes as u64).map_err(|over| {
        core.metrics.limited(over.setting);
        (Code::Busy, over.to_string())
    })?;
    let max = core.config.limits.history_page_max;
    // What is beyond the protocol's own limit is told so later.
    if (max + 1..=limits::HISTORY_PAGE_MAX).contains(&limit) {
        core.metrics.limited("history_page_max");
        let detail = format!("limit is {limit}, a page has at most {max} (`history_page_max`): ask for less");
        return Err((Code::TooLarge, detail));
    }
    Ok(())
}

async fn query(recv: &mut RecvStream) -> Result<Query, String> {
    let mut decoder = FrameDecoder::default();
    let mut bytes = 0;
    loop {
        if let Some(wire::Query { query }) = decoder.next("Query").map_err(|e| e.to_string())? {
            return query.ok_or_else(|| "a query of no kind that this version knows".to_owned());
        }
        let chunk = recv.read_chunk(QUERY_BYTES_MAX, true).await.map_err(|e| e.to_string())?;
        let chunk = chunk.ok_or("the stream ended before a whole frame")?;
        bytes += chunk.bytes.len();
        if bytes > QUERY_BYTES_MAX {
            return Err(format!("a query has at most {QUERY_BYTES_MAX} bytes"));
        }
        decoder.push(&chunk.bytes);
    }
}

/// The answer, as a frame.
async fn read(core: &Arc<Core>, user: UserId, query: Query) -> Bytes {
    match query {
        Query::History(ask) => encode_frame(&history(core, user, ask).await),
        Query::Members(ask) => {
            let page = off_thread(core, move |site| site.members(&user, &ask)).await;
            page.map_or_else(|(code, detail)| refusal(code, detail), |page| encode_frame(&page))
        }
        Query::Readers(ask) => {
            let page = off_thread(core, move |site| site.readers(&user, &ask)).await;
            page.map_or_else(|(code, detail)| refusal(code, detail), |page| encode_frame(&page))
        }
        Query::Presence(_) if !core.config.presence => {
            refusal(Code::NotPermitted, "this site tells nobody who is there (`presence`)".to_owned())
        }
        Query::Presence(ask) => {
            let page = off_thread(core, move |site| site.presence(&user, &ask)).await;
            page.map_or_else(|(code, detail)| refusal(code, detail), |page| encode_frame(&page))
        }
    }
}

/// A page of history. A refusal is a page with a code.
pub async fn history(core: &Arc<Core>, user: UserId, ask: wire::HistoryRequest) -> wire::HistoryPage {
    let page = off_thread(core, move |site| site.history(&user, &ask)).await;
    page.unwrap_or_else(|(code, detail)| history_refusal(code, detail))
}

fn history_refusal(code: Code, detail: String) -> wire::HistoryPage {
    wire::HistoryPage { code: code.number(), detail, ..Default::default() }
}

/// Reads where waiting for the disk harms nobody.
async fn off_thread<T: Send + 'static>(
    core: &Arc<Core>,
    job: impl FnOnce(&Core) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, (Code, String)> {
    let shutting_down = || (Code::ShuttingDown, "the site is shutting down".to_owned());
    let permit = core.reads.clone().acquire_owned().await.map_err(|_| shutting_down())?;
    let job = tokio::task::spawn_blocking({
        let core = core.clone();
        move || {
            let start = Instant::now();
            let answer = job(&core);
            core.metrics.reads.increment(1);
            core.metrics.read_seconds.record(start.elapsed().as_secs_f64());
            drop(permit);
            answer
        }
    });
    match job.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(e)) => {
            tracing::error!("answering a query failed: {e}");
            Err((Code::NotReady, "storage cannot be read: use another site".to_owned()))
        }
        Err(_) => Err(shutting_down()),
    }
}

impl Core {
    fn history(&self, user: &UserId, ask: &wire::HistoryRequest) -> Result<wire::HistoryPage, ViewError> {
        read::history(&self.store, &self.published, self.config.shards, user, ask)
    }

    fn members(&self, user: &UserId, ask: &wire::MembersRequest) -> Result<wire::MembersPage, ViewError> {
        read::members(&self.store, &self.published, self.config.shards, user, ask)
    }

    fn presence(&self, user: &UserId, ask: &wire::PresenceRequest) -> Result<wire::PresencePage, ViewError> {
        let now_ms = self.clock.now().mono_ms;
        let seen = |user: &UserId| self.presence.seen(now_ms, presence::key(user));
        read::presence(&self.store, &self.published, self.config.shards, user, ask, &seen)
    }

    fn readers(&self, user: &UserId, ask: &wire::ReadersRequest) -> Result<wire::ReadersPage, ViewError> {
        read::readers(&self.store, &self.published, self.config.shards, user, ask)
    }
}
