//! `DONE`: what a checkpoint consists of. It is written last, so a directory without it is none.

use serde::{Deserialize, Serialize};

/// Name of the manifest.
pub const NAME: &str = "DONE";
/// What the manifest calls this format.
pub const FORMAT: &str = "gradcode-checkpoint";
/// Version of the format. A reader refuses any other.
pub const VERSION: u32 = 1;

/// The manifest's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Iterations completed.
    pub iteration: u64,
    /// Every other file, in the order of writing.
    pub files: Vec<Entry>,
}

/// One file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// CRC-32C of its content.
    pub crc32c: u32,
}
