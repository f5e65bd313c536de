//! Queries (history, members, readers): one bidirectional stream each, one frame there, one frame back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway_protocol::{Code, FrameDecoder, UserId, encode_frame, wire, wire::query::Query};
use causeway_replica::read;
use quinn::{Connection, RecvStream, SendStream, VarInt};

use crate::core::Core;

/// A query is a room and some numbers, a name, or the ids of a hundred messages.
const QUERY_BYTES_MAX: usize = 4 << 10;
/// For the request to arrive, and again for the answer to be taken.
const STREAM_MAX: Duration = Duration::from_secs(10);

/// Answers a client's queries until its connection ends. How many run at a time is bounded by the
/// streams that the connection allows.
pub async fn serve(core: Arc<Core>, connection: Connection, user: UserId) {
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(answer(core.clone(), user.clone(), send, recv));
    }
}

async fn answer(core: Arc<Core>, user: UserId, mut send: SendStream, mut recv: RecvStream) {
    let frame = match tokio::time::timeout(STREAM_MAX, query(&mut recv)).await {
        Ok(Ok(query)) => read(&core, user, query).await,
        Ok(Err(detail)) => refusal(None, Code::Malformed, detail),
        Err(_) => refusal(None, Code::Malformed, "the query did not arrive in time".to_owned()),
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
    let kind = query.clone();
    let Ok(permit) = core.reads.clone().acquire_owned().await else {
        return refusal(Some(&kind), Code::ShuttingDown, "the site is shutting down".to_owned());
    };
    let job = tokio::task::spawn_blocking({
        let core = core.clone();
        move || {
            let start = Instant::now();
            let (store, published, shards) = (&core.store, &core.published, core.config.shards);
            let frame = match &query {
                Query::History(ask) => read::history(store, published, shards, &user, ask).map(|a| encode_frame(&a)),
                Query::Members(ask) => read::members(store, published, shards, &user, ask).map(|a| encode_frame(&a)),
                Query::Readers(ask) => read::readers(store, published, shards, &user, ask).map(|a| encode_frame(&a)),
            };
            core.metrics.reads.increment(1);
            core.metrics.read_seconds.record(start.elapsed().as_secs_f64());
            drop(permit);
            frame
        }
    });
    match job.await {
        Ok(Ok(frame)) => frame,
        Ok(Err(e)) => {
            tracing::error!("answering a query failed: {e}");
            refusal(Some(&kind), Code::NotReady, "storage cannot be read: use another site".to_owned())
        }
        Err(_) => refusal(Some(&kind), Code::ShuttingDown, "the site is shutting down".to_owned()),
    }
}

/// A refusal of the kind that the query's answer has.
fn refusal(query: Option<&Query>, code: Code, detail: String) -> Bytes {
    let code = code.number();
    match query {
        None | Some(Query::History(_)) => encode_frame(&wire::HistoryPage { code, detail, ..Default::default() }),
        Some(Query::Members(_)) => encode_frame(&wire::MembersPage { code, detail, ..Default::default() }),
        Some(Query::Readers(_)) => encode_frame(&wire::ReadersPage { code, detail, ..Default::default() }),
    }
}
