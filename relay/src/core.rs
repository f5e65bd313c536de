//! What every part of one relay shares.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use causeway_mailbox::{Registry, Wakes};
use causeway_protocol::{Code, Origin, RoomId, UserId, wire};
use causeway_replica::io::{Input, SessionId};
use causeway_replica::session::{Admission, SessionInput};
use causeway_store::Store;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock::Clock;
use crate::clock_guard::ClockGuard;
use crate::config::Config;
use crate::datagrams::{self, Typing};
use crate::erasures;
use crate::link::Links;
use crate::mail::{Directory, Live, Note};
use crate::metric_definitions::Metrics;
use crate::presence::Presence;
use crate::published::Published;
use crate::rates::Users;
use crate::shard_input::{ShardInboxes, ThreadInput};

/// One relay's shared state. Everything in it is safe to use from any thread; no lock is held across an await.
pub struct Core {
    /// The configuration.
    pub config: Config,
    /// Both clocks.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Metrics,
    /// This start of this node.
    pub origin: Origin,
    /// How clients prove who they are.
    pub admission: Admission,
    /// Every site, as clients are told.
    pub site_infos: Arc<[wire::SiteInfo]>,
    /// The database.
    pub store: Store,
    /// Durable vectors, for readers.
    pub published: Published,
    /// The shard threads' inboxes.
    pub inboxes: ShardInboxes,
    /// Session -> its notes.
    pub directory: Directory,
    /// Room -> the sessions that want its live events.
    pub rooms: Registry<RoomId, Live>,
    /// User -> the sessions that are the user's.
    pub users: Registry<UserId, Note>,
    /// What each connected user may ask for.
    pub visitors: Arc<Users>,
    /// The links to the other sites.
    pub links: Links,
    /// Who types, on the way to others.
    pub typing: mpsc::Sender<Typing>,
    /// Who was erased, on the way to who asks for it in the rooms.
    pub erased: mpsc::Sender<UserId>,
    /// Who is there.
    pub presence: Presence,
    /// One permit a read that may touch the disk.
    pub reads: Arc<Semaphore>,
    /// One permit a client connection.
    pub session_permits: Arc<Semaphore>,
    /// Set when the relay begins to stop.
    pub stopping: watch::Sender<bool>,
    /// Whether every shard serves.
    pub ready: watch::Sender<bool>,
    /// Whether the store is marked as this node's newest copy.
    is_intact: AtomicBool,
    clock_guard: Mutex<ClockGuard>,
    accepting: AtomicBool,
    next_session: AtomicU64,
}

impl Core {
    /// Of its parts; nothing runs yet. And who types, for [`datagrams::spread_typing`], and who was erased, for
    /// [`erasures::ask_for_erasures`].
    pub fn new(
        config: Config,
        origin: Origin,
        admission: Admission,
        site_infos: Arc<[wire::SiteInfo]>,
        store: Store,
        inboxes: ShardInboxes,
        is_intact: bool,
    ) -> (Self, mpsc::Receiver<Typing>, mpsc::Receiver<UserId>) {
        let (typing, typed) = datagrams::typing_queue();
        let (erased, told) = erasures::erased_queue();
        let core = Self {
            clock: Clock::start(),
            metrics: Metrics::new(),
            origin,
            admission,
            site_infos,
            store,
            published: Published::new(config.shards),
            inboxes,
            directory: Directory::default(),
            rooms: Registry::new(),
            users: Registry::new(),
            visitors: Arc::default(),
            links: Links::new(&config),
            typing,
            erased,
            presence: Presence::default(),
            reads: Arc::new(Semaphore::new(config.reads_max)),
            session_permits: Arc::new(Semaphore::new(config.sessions_max)),
            stopping: watch::Sender::new(false),
            ready: watch::Sender::new(false),
            is_intact: AtomicBool::new(is_intact),
            clock_guard: Mutex::default(),
            accepting: AtomicBool::new(true),
            next_session: AtomicU64::new(1),
            config,
        };
        (core, typed, told)
    }

    /// A number for a session that no other has had in this process.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the relay has begun to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// A shard began or ceased to serve. Once all do, the store is this node's newest copy.
    pub fn note_ready(&self) {
        let ready = self.published.all_ready();
        self.metrics.shards_ready.set(self.published.ready_count() as f64);
        if self.ready.send_replace(ready) == ready || !ready {
            return;
        }
        if !self.is_intact.swap(true, Ordering::AcqRel)
            && let Err(e) = self.store.set_intact()
        {
            tracing::error!("the next start will catch up once more: {e}");
        }
        tracing::info!("ready");
    }

    /// Why new sessions should go elsewhere at once, if they should.
    pub fn go_away(&self) -> Option<SessionInput> {
        if self.is_stopping() {
            Some(SessionInput::GoAway(Code::ShuttingDown, "the site is shutting down".to_owned()))
        } else if !self.is_accepting() {
            Some(clock_off())
        } else {
            None
        }
    }

    /// Whether the site's clock is trusted, so that it accepts requests.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    /// Reads or changes what is known of the peers' clocks, and acts where it tells something new.
    pub fn with_clock_guard(&self, change: impl FnOnce(&mut ClockGuard)) {
        let mut guard = self.clock_guard.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut guard);
        let (median_ms, trusted) = (guard.median_ms(), guard.is_trusted());
        let before = self.accepting.swap(trusted, Ordering::AcqRel);
        drop(guard);
        self.metrics.clock_offset_seconds.set(median_ms.unwrap_or(0) as f64 / 1e3);
        if before == trusted {
            return;
        }
        self.metrics.accepting.set(f64::from(u8::from(trusted)));
        self.inboxes.push_all_now(&ThreadInput::All(Input::Accepting(trusted)));
        if trusted {
            tracing::info!(median_ms, "the clock agrees with the peers again: accepting requests");
        } else {
            tracing::error!(median_ms, "the clock is off its peers' median: accepting nothing, clients are to move");
            self.directory.tell_all(&clock_off(), &mut Wakes::default());
        }
    }

    /// How far a peer's clock is ahead, ms.
    pub fn clock_offset_ms(&self, peer: causeway_protocol::SiteId) -> Option<i64> {
        self.clock_guard.lock().unwrap_or_else(PoisonError::into_inner).offset_ms(peer)
    }
}

fn clock_off() -> SessionInput {
    SessionInput::GoAway(Code::ClockOff, "the site's clock is off: use another site until it is right".to_owned())
}
