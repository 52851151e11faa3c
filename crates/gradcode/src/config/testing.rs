//! Configurations for the tests of this module.

use std::path::Path;

use super::{Config, from_text};

/// The configuration of a file `x.toml` with this text, which has to be valid.
pub fn config(text: &str) -> Config {
    from_text(text, Path::new("x.toml"))
        .unwrap_or_else(|error| panic!("{error}"))
        .config
}

/// Three workers and four bits per coordinate, completed by `rest`.
pub fn three_workers(rest: &str) -> Config {
    config(&format!("workers = 3\nbudget.mean_bits = 4\n{rest}"))
}
