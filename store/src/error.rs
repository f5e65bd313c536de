//! What can go wrong with a store.

use std::path::Path;

/// A failure of the store. Every one that a write or a sync returns is final: see [`crate::Store::write`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used as a store.
    #[error("cannot open the store in {path}: {reason}")]
    Open {
        /// The folder.
        path: String,
        /// The store's words.
        reason: String,
    },
    /// The folder belongs to another node, or the configuration has been changed.
    #[error(
        "the store in {path} has {field} {stored}, the configuration says {configured}: \
         use the node's own folder, or the configuration that the store was made with"
    )]
    Identity {
        /// The folder.
        path: String,
        /// Which part of the identity differs.
        field: &'static str,
        /// What the store says.
        stored: String,
        /// What the configuration says.
        configured: String,
    },
    /// No space is left where the store writes. Reads go on.
    #[error("the store's disk is full ({what}): {reason}")]
    DiskFull {
        /// What was tried.
        what: &'static str,
        /// The store's words.
        reason: String,
    },
    /// The disk or the data on it failed. Reads go on as far as they can.
    #[error("the store failed ({what}): {reason}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The store's words.
        reason: String,
    },
    /// An earlier failure, which this process does not get over.
    #[error("the store takes no more writes since it failed: {0}")]
    Stopped(Box<StoreError>),
}

impl StoreError {
    pub(crate) fn open(path: &Path, reason: impl ToString) -> Self {
        Self::Open { path: path.display().to_string(), reason: reason.to_string() }
    }

    pub(crate) fn io(what: &'static str, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        // The bindings give no sub-code; these are strerror's words for ENOSPC and EDQUOT.
        if reason.contains("No space left on device") || reason.contains("Disk quota exceeded") {
            Self::DiskFull { what, reason }
        } else {
            Self::Io { what, reason }
        }
    }
}
