//! What can go wrong inside a learner.

use std::path::PathBuf;

/// Why a learner could not be built, or could not compute.
///
/// Messages are lower case and read after "failed to ...: ".
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// A loss, gradient or parameter is NaN or infinite.
    #[error("{what} is not finite")]
    NotFinite {
        /// Which number, e.g. `loss of partition 3`.
        what: String,
    },
    /// A file of the data set is missing or damaged.
    #[error("{}: {what}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The numerical library refused.
    #[error("the numerical backend says: {0}")]
    Backend(String),
    /// A flat vector of the wrong length.
    #[error("{what} has {found} elements where {expected} are needed")]
    Length {
        /// Which vector.
        what: &'static str,
        /// Elements needed.
        expected: usize,
        /// Elements given.
        found: usize,
    },
    /// An assignment names a partition that does not exist.
    #[error("partition {partition} does not exist: there are {partitions}, counted from 0")]
    UnknownPartition {
        /// The index given.
        partition: usize,
        /// How many partitions there are.
        partitions: usize,
    },
    /// A setting is outside what the learner supports.
    #[error("{key} = {value} is not usable: {valid}")]
    Setting {
        /// The setting's name.
        key: &'static str,
        /// Its value as given.
        value: String,
        /// What would be valid.
        valid: String,
    },
}

impl LearnerError {
    /// A [`LearnerError::Setting`] with the value printed.
    pub fn setting(
        key: &'static str,
        value: impl std::fmt::Display,
        valid: impl Into<String>,
    ) -> Self {
        Self::Setting {
            key,
            value: value.to_string(),
            valid: valid.into(),
        }
    }
}
