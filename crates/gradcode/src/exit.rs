//! How the program ends: the exit codes, and the one error type that carries a code.
//!
//! Under MPI every rank ends with the same code, but what mpirun makes of it differs between
//! launchers; scripts should read `status.json` in the run directory, which states the code too.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;

/// All went well.
pub const DONE: u8 = 0;
/// The command line or the configuration cannot be used. Also what clap exits with.
pub const USAGE: u8 = 2;
/// Too many workers missing: fewer than `round.min_workers` alive, or `round.max_empty_rounds`
/// rounds in a row without an answer.
pub const WORKERS_MISSING: u8 = 20;
/// The model or the loss at the master is no longer finite.
pub const DIVERGED: u8 = 21;
/// The environment lets us down: a file cannot be read, a library or device is missing, MPI fails.
pub const ENVIRONMENT: u8 = 30;
/// The run reached its end, but its log could not be written (disk full, quota).
pub const LOG_LOST: u8 = 31;
/// A bug in gradcode.
pub const BUG: u8 = 70;
/// Stopped early, by a signal or the time limit, with a checkpoint: run the same command again with
/// `--resume auto`.
pub const STOPPED: u8 = 85;
/// Stopped early without a checkpoint; log and model are complete up to there.
pub const STOPPED_FOR_GOOD: u8 = 86;

/// Every code with what it means, for `--help`.
pub const CODES: &[(u8, &str)] = &[
    (DONE, "done"),
    (
        USAGE,
        "the command line or the configuration cannot be used",
    ),
    (WORKERS_MISSING, "too many workers missing"),
    (
        DIVERGED,
        "diverged: the loss or the model is no longer finite",
    ),
    (
        ENVIRONMENT,
        "environment: a file, a library, a device or MPI",
    ),
    (LOG_LOST, "the run ended, but its log could not be written"),
    (BUG, "a bug in gradcode"),
    (
        STOPPED,
        "stopped early, checkpoint written: run it again with --resume auto",
    ),
    (
        STOPPED_FOR_GOOD,
        "stopped early without a checkpoint; log and model are kept",
    ),
];

/// Why a command failed, with the exit code and what the user might do.
#[derive(Debug)]
pub struct Failure {
    /// One of the constants of this module.
    pub code: u8,
    /// One clear message; causes are part of it.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

/// What every command returns.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with any code.
    pub fn new(code: u8, message: impl fmt::Display) -> Self {
        Failure {
            code,
            message: message.to_string(),
            hint: None,
        }
    }

    /// The user can mend it: command line or configuration.
    pub fn usage(message: impl fmt::Display) -> Self {
        Failure::new(USAGE, message)
    }

    /// The machine is at fault: `doing` says what was tried, the error with its causes why it failed.
    pub fn environment(doing: impl fmt::Display, error: &(dyn Error + 'static)) -> Self {
        Failure::new(ENVIRONMENT, format!("failed to {doing}: {}", Causes(error)))
    }

    /// With something to try.
    #[must_use]
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Failure {
            hint: Some(hint.to_string()),
            ..self
        }
    }

    /// Tells the user on standard error and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("gradcode: error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Failure::usage(format!("failed to {}", Causes(&error)));
        match error {
            ConfigError::Read { .. } => failure.hint("paths are relative to the working directory"),
            ConfigError::IsStudy { .. } => failure.hint(
                "`gradcode simulate` runs all of it; --scheme LABEL picks one of its schemes, with the first value of every swept key",
            ),
            ConfigError::Parse { .. } | ConfigError::Set { .. } => {
                failure.hint("`gradcode config default` prints every key with its meaning")
            }
            _ => failure,
        }
    }
}

/// An error and what caused it, joined by colons, without saying the same twice.
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_listed() {
        let mut codes: Vec<u8> = CODES.iter().map(|(code, _)| *code).collect();
        codes.dedup();
        assert_eq!(codes, [0, 2, 20, 21, 30, 31, 70, 85, 86]);
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("read x: {source}")]
        struct Outer {
            source: std::io::Error,
        }
        let error = Outer {
            source: std::io::Error::other("no such file"),
        };
        assert_eq!(Causes(&error).to_string(), "read x: no such file");
    }
}
