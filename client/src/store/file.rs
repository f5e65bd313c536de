//! A store in a file: an append-only log of changes, rewritten when most of it is of no use any more.
//!
//! A record is a length, a CRC-32 and a payload. A torn last record is what a crash leaves behind; it was not
//! acknowledged and is cut off. Compaction writes a new file beside the log and renames it over it, so that at every
//! moment one whole log is there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::{Held, Saved, Store, record};
use crate::machine::{Change, Covers, Position};

/// First bytes of a log: format and version.
const MAGIC: &[u8; 8] = b"cwaystr1";
/// A log below this is not compacted, bytes.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
/// A log is compacted when it is this many times as long as it was after the last time.
const COMPACT_FACTOR: u64 = 4;

/// Attempts to lock a store, and the pause between them.
const LOCK_ATTEMPTS_MAX: usize = 50;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// When a change counts as saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sync {
    /// When the operating system has it: survives a crash of the process, not a power failure.
    #[default]
    System,
    /// When the disk has it, for new requests. Commits and removals may come back after a power failure, which repeats
    /// something and loses nothing.
    Disk,
}

/// Keeps everything in one file.
pub struct FileStore {
    path: PathBuf,
    sync: Sync,
    file: File,
    /// Holds the lock: the log itself is replaced at times.
    _lock: File,
    held: Held,
    bytes: u64,
    compacted_bytes: u64,
}

impl FileStore {
    /// Opens the store at this path, or makes one. A file `PATH.lock` beside it keeps a second client out.
    ///
    /// # Errors
    /// Of the file system; `WouldBlock` if another client uses the store; `InvalidData` if the file is something else.
    ///
    /// # Example
    /// ```
    /// use causeway_client::store::{FileStore, Sync};
    ///
    /// # causeway_tests::example(async |site| {
    /// # let folder = site.folder();
    /// let store = FileStore::open(folder.join("ann.causeway"), Sync::Disk)?;
    /// // A second client of the same file is kept out.
    /// assert!(FileStore::open(folder.join("ann.causeway"), Sync::Disk).is_err());
    /// # Ok(()) });
    /// ```
    pub fn open(path: impl Into<PathBuf>, sync: Sync) -> io::Result<Self> {
        let path = path.into();
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(beside(&path, "lock"))?;
        take(&lock, &path)?;
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).append(true).open(&path)?;
        let mut log = Vec::new();
        file.read_to_end(&mut log)?;
        let mut held = Held::default();
        let sound = replay(&path, &log, &mut held)?;
        if sound < log.len() {
            fs::write(beside(&path, "damaged"), &log[sound..])?;
            tracing::warn!(path = %path.display(), bytes = log.len() - sound, "cut an unsound end off the client's log");
            file.set_len(sound as u64)?;
        }
        if sound == 0 {
            file.write_all(MAGIC)?;
            file.sync_all()?;
            sync_folder(&path)?;
        }
        let bytes = sound.max(MAGIC.len()) as u64;
        Ok(Self { path, sync, file, _lock: lock, held, bytes, compacted_bytes: 0 })
    }

    fn compact(&mut self) -> io::Result<()> {
        let mut log = BytesMut::from(&MAGIC[..]);
        for saved in self.held.outbox.values() {
            record::put(&Change::Added(saved.clone()), &mut log);
        }
        for (room, cursor) in &self.held.cursors {
            let commit = |covers| Change::Committed(Position { room: *room, covers });
            record::put(&commit(Covers::Vector(cursor.vector.clone())), &mut log);
            for id in &cursor.shown {
                record::put(&commit(Covers::Page(*id)), &mut log);
            }
        }
        let fresh = beside(&self.path, "new");
        let mut file = File::create(&fresh)?;
        file.write_all(&log)?;
        // The rename must not overtake the content.
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        sync_folder(&self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.bytes = log.len() as u64;
        self.compacted_bytes = self.bytes;
        Ok(())
    }
}

impl Store for FileStore {
    fn load(&mut self) -> io::Result<Saved> {
        Ok(self.held.saved())
    }

    fn save(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut records = BytesMut::new();
        changes.iter().for_each(|change| record::put(change, &mut records));
        if let Err(e) = self.file.write_all(&records) {
            // A half-written record would hide all later ones.
            self.file.set_len(self.bytes)?;
            return Err(e);
        }
        self.bytes += records.len() as u64;
        changes.iter().for_each(|change| self.held.apply(change));
        if self.sync == Sync::Disk && changes.iter().any(|change| matches!(change, Change::Added(_))) {
            self.file.sync_data()?;
        }
        if self.bytes > COMPACT_BYTES_MIN && self.bytes > COMPACT_FACTOR * self.compacted_bytes {
            self.compact()?;
        }
        Ok(())
    }

    fn syncs(&self) -> bool {
        self.sync == Sync::Disk
    }
}

/// Locks the store. A process that this one has just forked shares a lock that was let go until it starts its own
/// program, so one that is taken may be free in a moment.
fn take(lock: &File, path: &Path) -> io::Result<()> {
    for _ in 0..LOCK_ATTEMPTS_MAX {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(fs::TryLockError::Error(e)) => return Err(e),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{} is used by another client", path.display())))
}

/// Applies the sound records of a log; returns how many bytes they take.
fn replay(path: &Path, log: &[u8], held: &mut Held) -> io::Result<usize> {
    if log.len() < MAGIC.len() && MAGIC.starts_with(log) {
        return Ok(0);
    }
    if !log.starts_with(MAGIC) {
        let what = format!("{} is not a client's log", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut rest = Bytes::copy_from_slice(&log[MAGIC.len()..]);
    while let Some(change) = record::take(&mut rest) {
        held.apply(&change);
    }
    Ok(log.len() - rest.len())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// A new name in a folder lasts once the folder is synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
