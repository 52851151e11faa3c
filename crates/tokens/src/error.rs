//! What can go wrong in this crate, as data.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of token files and tokenizers. Messages read after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system refused a file.
    #[error("{doing} {path}: {source}")]
    Io {
        /// "read", "write", ...
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("use {path}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting that cannot be.
    #[error("tokenize with {key} = {value}: {valid}")]
    Setting {
        /// Its name on the command line.
        key: &'static str,
        /// What was given.
        value: String,
        /// What would be valid.
        valid: String,
    },
    /// An output that is there already.
    #[error("write {path}: it exists")]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

impl TokenError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn malformed(path: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
