//! One file per command.

pub mod allocate;
pub mod calibrate;
pub mod codec;
pub mod config;
pub mod data;
pub mod detect;
pub mod doctor;
pub mod eval;
pub mod plan;
pub mod simulate;
pub mod tokenize;
pub mod train;

use crate::config::{Resolved, Sources};
use crate::exit::Outcome;

/// Loads a configuration and warns on standard error of keys that have no effect.
///
/// # Errors
/// A [`crate::config::ConfigError`] with exit code 2.
pub fn load(sources: &Sources) -> Outcome<Resolved> {
    let resolved = sources.load()?;
    for warning in &resolved.warnings {
        eprintln!("gradcode: warning: {warning}");
    }
    Ok(resolved)
}
