//! History requests: one bidirectional stream each, one frame there, one frame back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_protocol::{Code, FrameDecoder, Message, UserId, encode_frame, limits, wire};
use causeway_replica::read;
use quinn::{Connection, RecvStream, SendStream, VarInt};

use crate::core::Core;
use crate::rates::Visitor;

/// A request is a room, a place and two numbers.
const REQUEST_BYTES_MAX: usize = 1 << 10;
/// For the request to arrive, and again for the answer to be taken.
const STREAM_MAX: Duration = Duration::from_secs(10);

/// Answers a client's history requests until its connection ends. How many run at a time is bounded by the
/// streams that the connection allows.
pub async fn serve(core: Arc<Core>, connection: Connection, user: UserId, visitor: Arc<Visitor>) {
    // Bounded by the connection's life, as the visitor is.
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(answer(core.clone(), user.clone(), visitor.clone(), send, recv));
    }
}

async fn answer(core: Arc<Core>, user: UserId, visitor: Arc<Visitor>, mut send: SendStream, mut recv: RecvStream) {
    let page = match tokio::time::timeout(STREAM_MAX, request(&mut recv)).await {
        Ok(Ok(request)) => match check(&core, &visitor, &request) {
            Ok(()) => page(&core, user, request).await,
            Err(refusal) => refusal,
        },
        Ok(Err(detail)) => refusal(Code::Malformed, detail),
        Err(_) => refusal(Code::Malformed, "the request did not arrive in time".to_owned()),
    };
    let written = async {
        send.write_chunk(encode_frame(&page)).await.ok()?;
        send.finish().ok()?;
        send.stopped().await.ok()
    };
    if tokio::time::timeout(STREAM_MAX, written).await.is_err() {
        let _ = send.reset(VarInt::from_u32(0));
    }
}

async fn request(recv: &mut RecvStream) -> Result<wire::HistoryRequest, String> {
    let mut decoder = FrameDecoder::default();
    let mut bytes = 0;
    loop {
        if let Some(request) = decoder.next("HistoryRequest").map_err(|e| e.to_string())? {
            return Ok(request);
        }
        let chunk = recv.read_chunk(REQUEST_BYTES_MAX, true).await.map_err(|e| e.to_string())?;
        let chunk = chunk.ok_or("the stream ended before a whole frame")?;
        bytes += chunk.bytes.len();
        if bytes > REQUEST_BYTES_MAX {
            return Err(format!("a history request has at most {REQUEST_BYTES_MAX} bytes"));
        }
        decoder.push(&chunk.bytes);
    }
}

/// Whether the site's limits allow a request.
fn check(core: &Core, visitor: &Visitor, request: &wire::HistoryRequest) -> Result<(), wire::HistoryPage> {
    let bytes = request.encoded_len() as u64;
    visitor.ask(core.clock.now().mono_ms, bytes).map_err(|over| {
        core.metrics.limited(over.setting);
        refusal(Code::Busy, over.to_string())
    })?;
    let max = core.config.limits.history_page_max;
    // What is beyond the protocol's own limit is told so later.
    if (max + 1..=limits::HISTORY_PAGE_MAX).contains(&request.limit) {
        core.metrics.limited("history_page_max");
        let detail = format!("limit is {}, a page has at most {max} (`history_page_max`): ask for less", request.limit);
        return Err(refusal(Code::TooLarge, detail));
    }
    Ok(())
}

async fn page(core: &Arc<Core>, user: UserId, request: wire::HistoryRequest) -> wire::HistoryPage {
    let Ok(permit) = core.reads.clone().acquire_owned().await else {
        return refusal(Code::ShuttingDown, "the site is shutting down".to_owned());
    };
    let job = tokio::task::spawn_blocking({
        let core = core.clone();
        move || {
            let start = Instant::now();
            let page = read::history(&core.store, &core.published, core.config.shards, &user, &request);
            core.metrics.reads.increment(1);
            core.metrics.read_seconds.record(start.elapsed().as_secs_f64());
            drop(permit);
            page
        }
    });
    match job.await {
        Ok(Ok(page)) => page,
        Ok(Err(e)) => {
            tracing::error!("reading history failed: {e}");
            refusal(Code::NotReady, "storage cannot be read: use another site".to_owned())
        }
        Err(_) => refusal(Code::ShuttingDown, "the site is shutting down".to_owned()),
    }
}

fn refusal(code: Code, detail: String) -> wire::HistoryPage {
    wire::HistoryPage { code: code.number(), detail, ..wire::HistoryPage::default() }
}
