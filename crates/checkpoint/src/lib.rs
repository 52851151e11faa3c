//! Checkpoints on disk: each is complete or not there, and checked when it is read.
//!
//! A checkpoint is a directory of small texts (JSON, TOML) and of named `f32` vectors (safetensors),
//! with a file `DONE` that lists all of them with length and checksum and is written last:
//!
//! ```text
//! checkpoints/
//!   iteration-000000000120/   state.json parameters.safetensors optimizer.safetensors ... DONE
//!   iteration-000000000240/
//!   .iteration-000000000360.tmp/                   being written, or left by a crash: ignored
//! ```
//!
//! What is in them is the caller's business; this crate knows of iterations and files only. The
//! modules: [`Store`] is the directory of checkpoints, [`Draft`] one being written, [`Checkpoint`]
//! one to be read, `manifest` the `DONE` file.
//!
//! # What survives what
//! A draft becomes a checkpoint by one rename, after every file and its directory have been synced,
//! so a `kill -9` or a power failure at any moment leaves all earlier checkpoints whole and the
//! newest either whole or absent. An earlier one is removed only after a later one is durable, and
//! [`Store::new`]'s `keep` newest always stay. A file that changed afterwards is found by its
//! checksum (CRC-32C) and the checkpoint is refused by name.
//!
//! ```
//! use checkpoint::Store;
//!
//! let scratch = tempfile::tempdir()?;
//! let store = Store::new(scratch.path().join("checkpoints"), 2);
//! let mut draft = store.draft(120)?;
//! draft.json("state.json", &vec![1, 2, 3])?;
//! draft.vectors("parameters.safetensors", &[("beta", &[0.5, -1.0])])?;
//! draft.publish()?;
//!
//! let newest = store.newest()?.expect("just written");
//! assert_eq!(newest.iteration(), 120);
//! assert_eq!(newest.json::<Vec<u32>>("state.json")?, [1, 2, 3]);
//! assert_eq!(newest.vectors("parameters.safetensors")?["beta"], [0.5, -1.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod draft;
mod error;
mod manifest;
mod read;
mod store;

pub use draft::Draft;
pub use error::CheckpointError;
pub use read::Checkpoint;
pub use store::Store;
