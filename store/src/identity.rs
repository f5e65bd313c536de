//! Whose store it is, and whether it can be trusted to be that node's newest copy.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use causeway_protocol::{Message, wire};

use crate::StoreError;

/// Version of the keys and rows on disk.
pub const FORMAT: u32 = 1;

/// Its presence means that the store is not (yet again) its node's newest copy. A file rather than a row, so
/// that it survives what happens to rows, and so that an operator can see and set it.
const MARK_FILE: &str = "MUST_CATCH_UP";

/// What of a store never changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The cluster, drawn when it is created.
    pub cluster: [u8; 16],
    /// The site, 1 to 65535.
    pub site: u16,
    /// The node in the site.
    pub node: u16,
    /// Shards of the cluster.
    pub shard_count: u16,
}

/// Where the data came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provenance {
    /// The store was empty and has not caught up with a peer since.
    New,
    /// It was restored from a backup, or its identity was taken away, and it has not caught up since.
    Restored,
    /// It is what this node itself left.
    Intact,
}

impl Identity {
    pub(crate) fn encode(&self) -> Vec<u8> {
        wire::IdentityRow {
            cluster: self.cluster.to_vec().into(),
            site: self.site.into(),
            node: self.node.into(),
            shard_count: self.shard_count.into(),
            format: FORMAT,
        }
        .encode_to_vec()
    }

    /// Compares with an identity row, and names the first field that differs.
    pub(crate) fn check(&self, path: &Path, row: &[u8]) -> Result<(), StoreError> {
        let row = wire::IdentityRow::decode(row)
            .map_err(|e| StoreError::open(path, format!("its identity row does not decode: {e}")))?;
        let fields = [
            ("format", row.format.to_string(), FORMAT.to_string()),
            ("cluster", hex(&row.cluster), hex(&self.cluster)),
            ("shard count", row.shard_count.to_string(), self.shard_count.to_string()),
            ("site", row.site.to_string(), self.site.to_string()),
            ("node", row.node.to_string(), self.node.to_string()),
        ];
        compare(path, fields)
    }
}

fn compare<const N: usize>(path: &Path, fields: [(&'static str, String, String); N]) -> Result<(), StoreError> {
    match fields.into_iter().find(|(_, stored, configured)| stored != configured) {
        Some((field, stored, configured)) => {
            Err(StoreError::Identity { path: path.display().to_string(), field, stored, configured })
        }
        None => Ok(()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the mark says: why it is there, and, since a backup has no identity row, what its data belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    pub provenance: Provenance,
    format: String,
    cluster: String,
    shard_count: String,
}

impl Mark {
    pub fn new(provenance: Provenance, identity: &Identity) -> Self {
        Self {
            provenance,
            format: FORMAT.to_string(),
            cluster: hex(&identity.cluster),
            shard_count: identity.shard_count.to_string(),
        }
    }

    /// Reads the mark of a store; `None` if there is none.
    pub fn read(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = file(folder);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::open(folder, format!("reading {}: {e}", path.display()))),
        };
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.map(str::to_string).ok_or_else(|| StoreError::open(folder, format!("{MARK_FILE} has no {name}")))
        };
        let provenance = match field("provenance")?.as_str() {
            "new" => Provenance::New,
            // Whatever it says, the store is not intact.
            _ => Provenance::Restored,
        };
        Ok(Some(Self {
            provenance,
            format: field("format")?,
            cluster: field("cluster")?,
            shard_count: field("shard_count")?,
        }))
    }

    /// Writes the mark, durably.
    pub fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let provenance = if self.provenance == Provenance::New { "new" } else { "restored" };
        let text = format!(
            "provenance={provenance}\nformat={}\ncluster={}\nshard_count={}\n",
            self.format, self.cluster, self.shard_count
        );
        // Under its final name only when it is whole.
        let partial = folder.join(format!("{MARK_FILE}.partial"));
        let written = File::create(&partial)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&partial, file(folder)))
            .and_then(|()| sync_folder(folder));
        written.map_err(|e| StoreError::io("writing the catch-up mark", e))
    }

    /// Removes the mark, durably.
    pub fn remove(folder: &Path) -> Result<(), StoreError> {
        match fs::remove_file(file(folder)).and_then(|()| sync_folder(folder)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("removing the catch-up mark", e)),
            _ => Ok(()),
        }
    }

    /// Compares what the data belongs to with a configuration.
    pub fn check(&self, path: &Path, identity: &Identity) -> Result<(), StoreError> {
        let want = Self::new(self.provenance, identity);
        let fields = [
            ("format", self.format.clone(), want.format),
            ("cluster", self.cluster.clone(), want.cluster),
            ("shard count", self.shard_count.clone(), want.shard_count),
        ];
        compare(path, fields)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(MARK_FILE)
}

/// Makes a folder's entries durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
