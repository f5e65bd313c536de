//! A cluster of real processes, and people who talk in it.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use causeway_loadtest::sdk::{Happening, Pending, Session, SessionOptions, Shared, Target, TargetSite, happening};
use causeway_loadtest::site::{self, Cluster, ClusterConfig};
use causeway_protocol::{RequestId, RoomId};

/// No condition takes longer on a slow machine, unless it never comes.
const HANG_GUARD: Duration = Duration::from_secs(90);
/// Between two looks at a condition that nobody tells us of.
pub const POLL: Duration = Duration::from_millis(20);

/// The relay under test, built beside the tests.
pub fn relay_bin() -> std::path::PathBuf {
    let test = std::env::current_exe().expect("our own path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/release/deps");
    let named = std::env::var_os("CAUSEWAY_RELAY_BIN").map(Into::into);
    let path = named.unwrap_or_else(|| folder.join("causeway-relay"));
    site::relay_bin(Some(path)).expect("build the workspace first: cargo build --release --workspace")
}

/// Waits for something that must come.
pub async fn in_time<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(HANG_GUARD, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: did not happen in {HANG_GUARD:?}"),
    }
}

pub struct System {
    pub cluster: Cluster,
    pub shared: Shared,
    dir: tempfile::TempDir,
}

impl System {
    /// Sites that are ready.
    pub async fn start(sites: usize, proxied: bool) -> Self {
        Self::start_with(sites, proxied, &[]).await
    }

    /// The same, with further lines in every relay's configuration.
    pub async fn start_with(sites: usize, proxied: bool, extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = ClusterConfig {
            relay_bin: relay_bin(),
            dir: dir.path().to_owned(),
            sites,
            proxied,
            extra: ["shards = 16"].iter().chain(extra).map(|line| (*line).to_owned()).collect(),
            seed: 1,
        };
        let cluster = in_time("the sites are ready", Cluster::start(config)).await.expect("sites start");
        let sites = cluster.sites.iter();
        let target = Target {
            sites: sites.map(|s| TargetSite { name: s.name.clone(), address: s.advertised.to_string() }).collect(),
            ca: std::fs::read(&cluster.ca).expect("the CA's certificate"),
        };
        Self { cluster, shared: Shared::new(target).expect("an endpoint"), dir }
    }

    /// A folder of the run.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Signs somebody in, at home in the n-th site.
    pub async fn person(&self, name: &str, home: usize) -> Person {
        let options = SessionOptions { user: name.to_owned(), home, turn: home, standby: true, roams: true };
        let session = in_time("a site welcomes the session", Session::connect(&self.shared, options)).await;
        Person { session: session.expect("a session"), seen: BTreeMap::new() }
    }

    /// Waits until every site holds the same, by its own word.
    pub async fn converged(&self) {
        let all = async {
            loop {
                let mut statuses = Vec::new();
                for site in &self.cluster.sites {
                    statuses.push(site.status().await.ok());
                }
                if site::converged(&statuses) {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        in_time("all sites hold the same", all).await;
    }

    /// Kills a site with SIGKILL.
    pub async fn kill(&mut self, site: usize) {
        self.cluster.kill(site).await.expect("the relay is killed");
    }

    /// Starts a site that was killed or stopped, and waits until it is ready.
    pub async fn start_again(&mut self, site: usize) {
        self.cluster.start_again(site).expect("the relay starts");
        in_time("the site is ready again", self.cluster.wait_ready(site)).await.expect("the relay is ready");
    }

    /// Every site's history of a room, read by a member signed in there, is exactly this, in the order of the places.
    pub async fn assert_history(&self, member: &str, room: RoomId, sent: &[(RequestId, String)]) {
        let mut wanted = sent.to_vec();
        wanted.sort();
        for site in 0..self.cluster.sites.len() {
            let options = SessionOptions { user: member.to_owned(), home: site, turn: 0, standby: false, roams: false };
            let reader =
                in_time("a reader is welcomed", Session::connect(&self.shared, options)).await.expect("a reader");
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page = in_time("a page of history", reader.history(room, after)).await.expect("a page");
                let text = |m: causeway_loadtest::sdk::HistoryMessage| {
                    (m.id, String::from_utf8(m.content.expect("a body").to_vec()).expect("text"))
                };
                after = page.last.or(after);
                found.extend(page.messages.into_iter().map(text));
                if !page.more {
                    break;
                }
            }
            assert_eq!(found, wanted, "history at site {}", site + 1);
            reader.close().await;
        }
    }
}

/// Somebody signed in, with what they were shown.
pub struct Person {
    pub session: Session,
    pub seen: BTreeMap<RequestId, usize>,
}

impl Person {
    pub async fn create_room(&self) -> RoomId {
        let (room, pending) = self.session.create_room("room").expect("room in the outbox");
        in_time("the room is stored", pending.stored()).await.expect("accepted");
        room
    }

    pub async fn join(&self, room: RoomId) {
        let pending = self.session.join(room).expect("room in the outbox");
        in_time("the join is stored", pending.stored()).await.expect("accepted");
    }

    /// Puts a message into the outbox.
    pub fn say(&self, room: RoomId, text: &str) -> (RequestId, Pending) {
        let pending = self.session.send(room, "text/plain", Bytes::copy_from_slice(text.as_bytes())).expect("room");
        (pending.id(), pending)
    }

    /// Sends messages one after the other, waiting for each to be stored.
    pub async fn say_all(&self, room: RoomId, texts: impl Iterator<Item = String>) -> Vec<(RequestId, String)> {
        let mut sent = Vec::new();
        for text in texts {
            let (id, pending) = self.say(room, &text);
            in_time("a message is stored", pending.stored()).await.expect("accepted");
            sent.push((id, text));
        }
        sent
    }

    /// Sees things happen until this many different messages were shown.
    pub async fn until_seen(&mut self, messages: usize) {
        let mut events = Vec::new();
        while self.seen.len() < messages {
            assert!(in_time("the next event", self.session.next(&mut events)).await, "the session lives");
            for event in events.drain(..) {
                match happening(event) {
                    Happening::Message { id, .. } => *self.seen.entry(id).or_insert(0) += 1,
                    Happening::Gap { .. } => panic!("a gap in a short room"),
                    _ => {}
                }
            }
        }
        assert!(self.seen.values().all(|times| *times == 1), "shown once: {:?}", self.seen);
    }

    /// Waits until nothing of theirs is at risk any more.
    pub async fn outbox_empty(&self) {
        let empty = async {
            while self.session.outbox_len() > 0 {
                tokio::time::sleep(POLL).await;
            }
        };
        in_time("the outbox is empty", empty).await;
    }
}

/// Numbered texts.
pub fn texts(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("말 {n}"))
}
