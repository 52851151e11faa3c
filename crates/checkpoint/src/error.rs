//! What can go wrong with a checkpoint.

use std::path::PathBuf;

/// Why a checkpoint cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried: `write`, `read`, `create`, ...
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not complete, or has changed since it was written.
    #[error("use the damaged checkpoint {}: {what}", path.display())]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
        /// Which file, and what is wrong with it.
        what: String,
    },
    /// It is something else, or of another version of the format.
    #[error("use {} as a checkpoint: {what}", path.display())]
    Foreign {
        /// What was taken for a checkpoint.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
}

impl CheckpointError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
