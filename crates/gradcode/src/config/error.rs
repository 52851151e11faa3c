//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

use super::deciding::Deciding;
use super::origin::Origin;

/// A configuration that cannot be used. Each variant says where and what would be valid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("parse {}: {message}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// With line, column and caret.
        message: String,
    },
    /// A `--set` is not `key=value`, names no key, or its value has the wrong type.
    #[error("parse --set {argument}: {message}")]
    Set {
        /// The argument as given.
        argument: String,
        /// What is wrong with it.
        message: String,
    },
    /// A key has a value that it cannot have.
    #[error("use `{key} = {value}` ({origin}): {valid}")]
    Invalid {
        /// The dotted key.
        key: String,
        /// The value as written.
        value: String,
        /// Which layer set it.
        origin: Origin,
        /// What would be valid.
        valid: String,
    },
    /// A key that is needed here was set by no layer.
    #[error("find `{key}`: {valid}")]
    Missing {
        /// The dotted key, or several.
        key: String,
        /// Why it is needed and what would be valid.
        valid: String,
    },
    /// Two keys that exclude each other, or that do not fit.
    #[error("combine {}: {valid}", Pair(keys))]
    Conflict {
        /// Both, with the layers that set them.
        keys: Box<[(String, Origin); 2]>,
        /// What would be valid.
        valid: String,
    },
    /// A straggle probability of 0 or 1, for which no code can be designed.
    #[error(
        "design a code for worker {worker}: its straggle probability {how} is {probability}; it must lie strictly between 0 \
         and 1; decided by {keys}"
    )]
    Probability {
        /// Which worker.
        worker: usize,
        /// The probability.
        probability: f64,
        /// At which deadline.
        how: String,
        /// What decides it.
        keys: Box<Deciding>,
    },
    /// A study where a single experiment is wanted.
    #[error("use {} as one experiment: it is a study{}", path.display(),
        if labels.is_empty() { String::new() } else { format!(" of {}", quoted(labels)) })]
    IsStudy {
        /// The file.
        path: PathBuf,
        /// Its schemes.
        labels: Vec<String>,
    },
    /// A study that does not fit together.
    #[error("use {} as a study: {message}", path.display())]
    Study {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// One point of a study is wrong.
    #[error("{source} (in the study's point {point})")]
    Point {
        /// Label and swept values.
        point: String,
        /// What is wrong with it.
        source: Box<ConfigError>,
    },
    /// A scheme and a compressor that do not go together.
    #[error("combine scheme {scheme} with codec {codec}: {reason}; decided by {keys}")]
    Pair {
        /// The scheme.
        scheme: String,
        /// The compressor, and whether it remembers.
        codec: String,
        /// Why.
        reason: String,
        /// What decides it.
        keys: Deciding,
    },
    /// A phi that does not fit.
    #[error("use `codec.phi = {value}` ({origin}): {reason}")]
    Phi {
        /// As written.
        value: String,
        /// Which layer set it.
        origin: Origin,
        /// What it lacks.
        reason: String,
    },
    /// No plan can be made of a valid configuration.
    #[error("plan scheme {scheme}: {message}; decided by {keys}")]
    Plan {
        /// Which scheme.
        scheme: String,
        /// Why, and what would be valid.
        message: String,
        /// What decides it.
        keys: Deciding,
    },
    /// More MPI ranks than the workers can fill, or too few.
    #[error("start {ranks} MPI ranks: {valid}")]
    Ranks {
        /// Ranks that were started.
        ranks: usize,
        /// What would be valid.
        valid: String,
    },
}

/// `a`, `b`, `c`: labels may have commas in them.
pub fn quoted<T: fmt::Display>(labels: &[T]) -> String {
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    labels.join(", ")
}

struct Pair<'a>(&'a [(String, Origin); 2]);

impl fmt::Display for Pair<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.0;
        write!(
            f,
            "`{}` ({}) and `{}` ({})",
            first.0, first.1, second.0, second.1
        )
    }
}
