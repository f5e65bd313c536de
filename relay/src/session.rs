//! One client connection: drives a [`ServerSession`] between its streams, its queues, the shards and storage.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway_mailbox::{Drained, Receiver, Subscriber, queue};
use causeway_protocol::{Code, FrameDecoder, FrameError, Message, RoomId, ShardId, UserId, limits, wire};
use causeway_replica::io::{Input, SessionId};
use causeway_replica::session::{ServerSession, SessionConfig, SessionInput, SessionLimits, SessionOutput};
use causeway_replica::view::ViewError;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::core::Core;
use crate::datagrams::{self, Seat};
use crate::limits::Over;
use crate::mail::{Live, Note, live_limits, note_limits};
use crate::out_queue::OutQueue;
use crate::rates::Visitor;
use crate::shard_input::ThreadInput;
use crate::transport::widen_for_client;

/// What a closing session gives its client to take the last words.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// Bytes that one read from storage brings. Two of them fill a client's flow-control window.
const READ_BYTES: usize = 128 << 10;
/// While the client leaves this much unread, it gets no further answers, and soon asks nothing more.
const CONTROL_BYTES_MAX: usize = 256 << 10;
/// While the client leaves this much unread, live events stay in their bounded queue.
const EVENT_BYTES_MAX: usize = 64 << 10;
/// Chunks taken from the stream at once.
const READ_CHUNKS: usize = 16;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum SessionEnd {
    /// The relay closes it: the client is told the code and the reason.
    #[error("{0:?}: {1}")]
    Closed(Code, String),
    #[error("the client closed its control stream")]
    Left,
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<FrameError> for SessionEnd {
    fn from(e: FrameError) -> Self {
        SessionEnd::Closed(Code::ProtocolError, e.to_string())
    }
}

/// What a read job gives back: the session, what it put out, and whether the disk could be read.
type ReadJob = JoinHandle<(Box<ServerSession>, Vec<SessionOutput>, Result<(), ViewError>)>;
type PermitWait = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

struct Driver {
    core: Arc<Core>,
    connection: Connection,
    id: SessionId,
    /// Away while a read job has it.
    session: Option<Box<ServerSession>>,
    outputs: Vec<SessionOutput>,
    rooms: Subscriber<RoomId, Live>,
    user: Option<Subscriber<UserId, Note>>,
    live: Receiver<Live>,
    live_taken: VecDeque<Live>,
    notes: Receiver<Note>,
    notes_taken: VecDeque<Note>,
    decoder: FrameDecoder,
    /// Once the client has said who it is.
    visitor: Option<Arc<Visitor>>,
    /// The same, for who takes its datagrams.
    seat: Arc<OnceLock<Seat>>,
    control: OutQueue,
    events: OutQueue,
    /// Shards that may still have answers for this session.
    shards: BTreeSet<ShardId>,
    closing: Option<(Code, String)>,
}

/// Serves a client connection to its end. A client that has not said who it is by the deadline has to go.
pub async fn serve(core: Arc<Core>, connection: Connection, deadline: tokio::time::Instant) {
    let Ok(permit) = core.session_permits.clone().try_acquire_owned() else {
        core.metrics.sessions_refused.increment(1);
        connection.close(close_code(Code::Overloaded), b"too many sessions at this site: use another one");
        return;
    };
    let id = core.next_session();
    let (live_sender, live) = queue(live_limits(core.config.session_queue_bytes));
    let (note_sender, notes) = queue(note_limits());
    core.directory.insert(id, note_sender);
    core.metrics.sessions_opened.increment(1);
    core.metrics.sessions.increment(1.0);
    let config = SessionConfig {
        id,
        site: core.config.site,
        site_name: core.config.site_name.clone(),
        shard_count: core.config.shards,
        sites: core.site_infos.clone(),
        admission: core.admission.clone(),
        limits: SessionLimits {
            submit_bytes_max: core.config.limits.connection_in_flight_bytes_max,
            body_bytes_max: core.config.limits.encoded_body_bytes_max(),
            ..SessionLimits::default()
        },
    };
    let seat = Arc::new(OnceLock::new());
    if core.config.presence {
        tokio::spawn(datagrams::serve_client(core.clone(), connection.clone(), seat.clone()));
    }
    let mut driver = Box::new(Driver {
        session: Some(Box::new(ServerSession::new(config))),
        id,
        outputs: Vec::new(),
        rooms: core.rooms.subscriber(live_sender),
        user: None,
        live,
        live_taken: VecDeque::new(),
        notes,
        notes_taken: VecDeque::new(),
        decoder: FrameDecoder::default(),
        visitor: None,
        seat,
        control: OutQueue::default(),
        events: OutQueue::default(),
        shards: BTreeSet::new(),
        closing: None,
        connection,
        core,
    });
    driver.decoder.set_max(limits::HELLO_BYTES_MAX);
    Box::pin(driver.run(deadline)).await;
    driver.core.directory.remove(id);
    for shard in &driver.shards {
        let ended = ThreadInput::Shard(*shard, Input::SessionEnded(id));
        driver.core.inboxes.of(*shard).push_now(ended);
    }
    driver.core.metrics.sessions.decrement(1.0);
    drop(permit);
}

/// A code as QUIC's application error code.
pub fn close_code(code: Code) -> VarInt {
    VarInt::from_u32(code.number())
}

impl Driver {
    async fn run(&mut self, deadline: tokio::time::Instant) {
        let Ok(Ok((mut control, recv))) = tokio::time::timeout_at(deadline, self.connection.accept_bi()).await else {
            self.core.metrics.sessions_refused.increment(1);
            self.connection.close(close_code(Code::Unauthenticated), b"no control stream was opened in time");
            return;
        };
        // Acks do not wait behind a long catch-up.
        let _ = control.set_priority(1);
        let Err(end) = self.exchange(&mut control, recv, deadline).await;
        tracing::debug!(session = self.id.0, "session ended: {end}");
        match end {
            SessionEnd::Closed(code, reason) => {
                match code {
                    Code::ProtocolError => self.core.metrics.sessions_closed_by_error.increment(1),
                    Code::Unauthenticated | Code::TokenExpired => {
                        self.core.metrics.sessions_unauthenticated.increment(1);
                    }
                    _ => {}
                }
                // A stranger has been told nothing that it could still be reading.
                if self.visitor.is_some() {
                    let _ = tokio::time::timeout(LAST_WORDS_MAX, self.last_words(&mut control)).await;
                }
                self.connection.close(close_code(code), reason.as_bytes());
            }
            SessionEnd::Left => self.connection.close(VarInt::from_u32(0), b"bye"),
            SessionEnd::Connection(_) | SessionEnd::Read(_) | SessionEnd::Write(_) => {
                self.connection.close(close_code(Code::ProtocolError), b"a stream failed");
            }
        }
    }

    /// Waits until the client has everything that was put out for it.
    async fn last_words(&mut self, control: &mut SendStream) {
        while !self.control.is_empty() {
            if self.control.write_to(Some(&mut *control)).await.is_err() {
                return;
            }
        }
        if control.finish().is_ok() {
            let _ = control.stopped().await;
        }
    }

    /// Everything that can happen to a session, until it ends. Writes go first, so that what is ready leaves in
    /// one packet before more is made.
    async fn exchange(
        &mut self,
        control: &mut SendStream,
        mut recv: RecvStream,
        deadline: tokio::time::Instant,
    ) -> Result<std::convert::Infallible, SessionEnd> {
        let mut events: Option<SendStream> = None;
        let mut read: Option<ReadJob> = None;
        let mut permit: Option<PermitWait> = None;
        let mut chunks: [Bytes; READ_CHUNKS] = Default::default();
        // Until the hello is answered: then until the session's own time.
        let mut due = Some(Box::pin(sleep_until(deadline)));
        let mut due_ms = None;
        loop {
            if let Some((code, reason)) = self.closing.take() {
                return Err(SessionEnd::Closed(code, reason));
            }
            let is_here = self.session.is_some();
            let takes = is_here && self.control.bytes() < CONTROL_BYTES_MAX;
            let wants_read = self.session.as_ref().is_some_and(|session| session.wants_read());
            if wants_read && self.events.is_empty() && permit.is_none() {
                let reads = self.core.reads.clone();
                permit = Some(Box::pin(async move { reads.acquire_owned().await.ok() }));
            }
            tokio::select! {
                biased;
                written = self.events.write_to(events.as_mut()) => written?,
                written = self.control.write_to(Some(&mut *control)) => written?,
                opened = self.connection.open_uni(), if events.is_none() && !self.events.is_empty() => {
                    events = Some(opened?);
                }
                drained = self.notes.drain(&mut self.notes_taken), if takes => self.take_notes(drained).await?,
                drained = self.live.drain(&mut self.live_taken),
                    if is_here && self.events.bytes() < EVENT_BYTES_MAX => self.take_live(drained).await?,
                count = recv.read_chunks(&mut chunks), if takes => {
                    let count = count?.ok_or(SessionEnd::Left)?;
                    self.take_chunks(&mut chunks[..count]).await?;
                    if let Some(session) = self.session.as_ref().filter(|session| session.user().is_some())
                        && due_ms != Some(session.next_timer())
                    {
                        due_ms = Some(session.next_timer());
                        due = session.next_timer().map(|at| Box::pin(sleep_until(self.core.clock.instant_of(at).into())));
                    }
                }
                granted = waited(&mut permit), if is_here => {
                    permit = None;
                    read = granted.and_then(|granted| self.start_read(granted));
                }
                done = finished(&mut read) => {
                    read = None;
                    self.end_read(done).await;
                }
                () = waited(&mut due), if is_here => {
                    if due_ms.is_none() {
                        return Err(SessionEnd::Closed(Code::Unauthenticated, "no hello came in time".to_owned()));
                    }
                    due = None;
                    self.handle(SessionInput::Tick);
                    self.carry_out().await;
                }
            }
        }
    }

    async fn take_chunks(&mut self, chunks: &mut [Bytes]) -> Result<(), SessionEnd> {
        for chunk in chunks {
            self.decoder.push(&std::mem::take(chunk));
        }
        while self.closing.is_none()
            && let Some(frame) = self.next_frame()?
        {
            let input = match self.ask(&frame) {
                Ok(()) => SessionInput::Frame(frame),
                Err(over) => {
                    self.core.metrics.limited(over.setting);
                    SessionInput::Limited { frame, detail: over.to_string(), retry_after_ms: over.retry_after_ms }
                }
            };
            self.handle(input);
            self.carry_out().await;
        }
        Ok(())
    }

    fn next_frame(&mut self) -> Result<Option<wire::ClientFrame>, SessionEnd> {
        self.decoder.next("ClientFrame").map_err(|e| {
            let FrameError::TooLong { .. } = e else { return e.into() };
            self.core.metrics.limited("frame_bytes_max");
            let limit = match &self.visitor {
                Some(_) => "`frame_bytes_max`",
                None => "a first hello's: say hello as a standby first, and once more with the cursors",
            };
            SessionEnd::Closed(Code::ProtocolError, format!("{e} ({limit})"))
        })
    }

    /// Whether the connection and the user may ask for this much more. A stranger's hello is not counted: the site says
    /// otherwise how many may come.
    fn ask(&self, frame: &wire::ClientFrame) -> Result<(), Over> {
        let Some(visitor) = &self.visitor else { return Ok(()) };
        visitor.ask(self.core.clock.now().mono_ms, frame.encoded_len() as u64)
    }

    async fn take_notes(&mut self, drained: Drained) -> Result<(), SessionEnd> {
        self.handle_notes(drained)?;
        self.carry_out().await;
        Ok(())
    }

    fn handle_notes(&mut self, drained: Drained) -> Result<(), SessionEnd> {
        if drained != Drained::Items {
            let reason = "acks were not read for too long: connect again".to_owned();
            return Err(SessionEnd::Closed(Code::Overloaded, reason));
        }
        while let Some(Note(input)) = self.notes_taken.pop_front() {
            let is_bound = self.user.is_some();
            // Before the hello is answered nothing else may be said; the answer brings it.
            if is_bound || !matches!(input, SessionInput::GoAway(..)) {
                self.handle(input);
            }
        }
        Ok(())
    }

    async fn take_live(&mut self, drained: Drained) -> Result<(), SessionEnd> {
        // What was told before these events were queued counts before them: a shard that became ready has rows
        // that lie below its events and were never delivered.
        if let Some(drained) = self.notes.try_drain(&mut self.notes_taken) {
            self.handle_notes(drained)?;
        }
        match drained {
            Drained::Items => {
                while let Some(live) = self.live_taken.pop_front() {
                    self.handle(live.into());
                }
            }
            Drained::Overflowed => {
                self.core.metrics.overflows.increment(1);
                // First queue again, then read: what is missed in between is in storage.
                self.live.acknowledge_overflow();
                self.handle(SessionInput::Overflowed);
            }
            Drained::Closed => {}
        }
        self.carry_out().await;
        Ok(())
    }

    fn handle(&mut self, input: SessionInput) {
        let session = self.session.as_mut().expect("inputs are taken only while the session is here");
        session.handle(self.core.clock.now(), input, &mut self.outputs);
    }

    /// Takes the session to a thread that may wait for the disk.
    fn start_read(&mut self, permit: OwnedSemaphorePermit) -> Option<ReadJob> {
        let mut session = self.session.take()?;
        let core = self.core.clone();
        Some(tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            let mut outputs = Vec::new();
            let result = session.read(&core.store, &core.published, READ_BYTES, &mut outputs);
            core.metrics.reads.increment(1);
            core.metrics.read_seconds.record(start.elapsed().as_secs_f64());
            drop(permit);
            (session, outputs, result)
        }))
    }

    async fn end_read(&mut self, done: (Box<ServerSession>, Vec<SessionOutput>, Result<(), ViewError>)) {
        let (session, outputs, result) = done;
        self.session = Some(session);
        let events = outputs.iter().filter(|output| matches!(output, SessionOutput::Event(_))).count();
        self.core.metrics.events_read.increment(events as u64);
        self.outputs = outputs;
        self.carry_out().await;
        if let Err(e) = result {
            tracing::error!(session = self.id.0, "reading for a session failed: {e}");
            self.closing = Some((Code::NotReady, "storage cannot be read: use another site".to_owned()));
        }
    }

    /// Carries out, in order, what the session has put out.
    async fn carry_out(&mut self) {
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                SessionOutput::Control(frame) => self.control.push(frame),
                SessionOutput::Event(frame) => self.events.push(frame),
                SessionOutput::Datagram(datagram) => {
                    // A client that takes none, or whose connection ends, misses nothing.
                    let _ = self.connection.send_datagram(datagram);
                }
                SessionOutput::Submit(shard, submission) => {
                    self.core.metrics.submits.increment(1);
                    self.shards.insert(shard);
                    self.input(shard, Input::Submit(submission)).await;
                }
                SessionOutput::MarkRead(shard, user, room, marker) => {
                    self.input(shard, Input::MarkRead(user, room, marker)).await;
                }
                SessionOutput::Bind(user) => {
                    if let Err(over) = self.bind(user) {
                        self.core.metrics.limited(over.setting);
                        self.closing = Some((Code::Overloaded, over.to_string()));
                        // The welcome, too.
                        break;
                    }
                }
                SessionOutput::Limited(setting) => self.core.metrics.limited(setting),
                SessionOutput::Subscribe(room) => {
                    self.rooms.subscribe(room);
                }
                SessionOutput::Unsubscribe(room) => {
                    self.rooms.unsubscribe(&room);
                }
                SessionOutput::Close(code, reason) => self.closing = Some((code, reason)),
            }
        }
        self.outputs = outputs;
    }

    /// A full shard thread makes the session wait, and by flow control its client.
    async fn input(&self, shard: ShardId, input: Input) {
        self.core.inboxes.of(shard).push(ThreadInput::Shard(shard, input)).await;
    }

    /// The client has said who it is.
    fn bind(&mut self, user: UserId) -> Result<(), Over> {
        let limits = &self.core.config.limits;
        let visitor = Arc::new(self.core.visitors.connect(&user, limits, self.core.clock.now().mono_ms)?);
        self.visitor = Some(visitor.clone());
        let _ = self.seat.set(Seat { session: self.id, user: user.clone(), visitor: visitor.clone() });
        self.decoder.set_max(limits.frame_bytes_max);
        widen_for_client(&self.connection);
        let mut subscriber = self.core.users.subscriber(self.notes.sender());
        subscriber.subscribe(user.clone());
        self.user = Some(subscriber);
        tokio::spawn(crate::queries::serve(self.core.clone(), self.connection.clone(), user, visitor));
        if let Some(go_away) = self.core.go_away() {
            // Behind the welcome, which is being carried out.
            let _: causeway_mailbox::Push = self.notes.sender().push(Note(go_away));
        }
        Ok(())
    }
}

/// An optional future's result; waits for ever while there is none.
async fn waited<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// A read job's result. A job that panicked has aborted the process already.
async fn finished(job: &mut Option<ReadJob>) -> (Box<ServerSession>, Vec<SessionOutput>, Result<(), ViewError>) {
    match waited(job).await {
        Ok(done) => done,
        Err(_) => std::future::pending().await,
    }
}
