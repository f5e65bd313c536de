//! The client's log of its outbox and cursors: whatever the file holds, it opens or is refused, and what it held is
//! there the next time too.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use causeway_client::machine::{Change, Config, Covers, Machine, Now, Output, Position, SiteConfig, Start};
use causeway_client::store::{FileStore, Saved, Store, Sync};
use causeway_protocol::UserId;

/// First bytes of a log.
const MAGIC: &[u8] = b"cwaystr1";

/// A folder of this process, in memory where there is such a place: a run opens files several times.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = base.join(format!("causeway-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    })
}

/// The log that an input means: as it is; or as payloads, each with its length in front, with right checksums.
fn log(data: &[u8]) -> Vec<u8> {
    let Some((how, data)) = data.split_first() else { return Vec::new() };
    if how % 4 == 0 {
        return data.to_vec();
    }
    let mut log = MAGIC.to_vec();
    let mut rest = data;
    while let Some((len, after)) = rest.split_first() {
        let (payload, after) = after.split_at(usize::from(*len).min(after.len()));
        let wrong = u32::from(*len == 255);
        log.extend((payload.len() as u32).to_be_bytes());
        log.extend((crc32fast::hash(payload) ^ wrong).to_be_bytes());
        log.extend(payload);
        rest = after;
    }
    log
}

fn open(path: &Path) -> Option<(FileStore, Saved)> {
    let mut store = FileStore::open(path, Sync::System).ok()?;
    let saved = store.load().expect("what opened loads");
    Some((store, saved))
}

/// A log file's content; see `log`.
pub fn client_store(data: &[u8]) {
    let path = folder().join("log");
    std::fs::write(&path, log(data)).expect("written");
    let Some((store, saved)) = open(&path) else { return };
    drop(store);
    let (mut store, again) = open(&path).expect("what opened once opens again");
    assert_eq!(again, saved);
    // Written as a compaction would, it is the same.
    let changes: Vec<Change> = saved.outbox.iter().cloned().map(Change::Added).collect();
    store.save(&changes).expect("saved");
    let cursors: Vec<Change> = saved
        .cursors
        .iter()
        .map(|(room, cursor)| {
            Change::Committed(Position { room: *room, covers: Covers::Vector(cursor.vector.clone()) })
        })
        .collect();
    store.save(&cursors).expect("saved");
    drop(store);
    let (_, again) = open(&path).expect("what was saved opens");
    assert_eq!(again, saved);
    resume(saved);
}

/// A machine starts from it.
fn resume(saved: Saved) {
    let user = UserId::new("ann").expect("a user");
    let site = SiteConfig { name: "one".into(), addresses: vec!["127.0.0.1:1".into()] };
    let now = Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 };
    let start = Start { nonce: 1, seed: 1, outbox: saved.outbox, cursors: saved.cursors };
    let mut machine = Machine::new(now, Config::new(user, vec![site]), start);
    let mut link = None;
    while let Some(output) = machine.poll_output() {
        if let Output::Dial { link: dialled, .. } = output {
            link = Some(dialled);
        }
    }
    if let Some(link) = link {
        machine.handle_opened(now, link);
        let welcome = causeway_protocol::wire::Welcome {
            version: 1,
            site: 1,
            shard_count: 2,
            outbox_window_max: 256,
            clock_ms: now.wall_ms,
            ..Default::default()
        };
        let frame = causeway_protocol::wire::server_frame::Frame::Welcome(welcome);
        machine.handle_control(now, link, causeway_protocol::wire::ServerFrame { frame: Some(frame) });
        while machine.poll_output().is_some() {}
    }
    let _ = machine.create_room(now, "room", true);
}
