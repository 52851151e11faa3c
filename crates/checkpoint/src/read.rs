//! A checkpoint that is read.

use crate::CheckpointError;
use crate::manifest::{Entry, FORMAT, Manifest, NAME, VERSION};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A checkpoint whose files are all there. Their contents are checked as they are read.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    manifest: Manifest,
}

impl Checkpoint {
    /// Opens the checkpoint at `path`.
    ///
    /// # Errors
    /// [`CheckpointError::Foreign`] when it is none, or one of another version;
    /// [`CheckpointError::Damaged`] when a file is missing or has another length.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CheckpointError> {
        let path = path.into();
        let foreign = |what: String| CheckpointError::Foreign {
            path: path.clone(),
            what,
        };
        let done = path.join(NAME);
        let text = match fs::read(&done) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(foreign(if path.is_dir() {
                    format!("it has no file {NAME}, which is written last")
                } else {
                    "it is not a directory".to_owned()
                }));
            }
            Err(error) => return Err(CheckpointError::io("read", done)(error)),
        };
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| foreign(format!("its {NAME} is not a list of files ({error})")))?;
        if manifest.format != FORMAT || manifest.version != VERSION {
            return Err(foreign(format!(
                "it is {} version {}, this program reads {FORMAT} version {VERSION}",
                manifest.format, manifest.version
            )));
        }
        let checkpoint = Self { path, manifest };
        for entry in &checkpoint.manifest.files {
            let found = fs::metadata(checkpoint.path.join(&entry.name)).map(|data| data.len());
            match found {
                Ok(bytes) if bytes == entry.bytes => {}
                Ok(bytes) => {
                    let expected = entry.bytes;
                    let what = format!("{} has {bytes} bytes, not {expected}", entry.name);
                    return Err(checkpoint.damaged(what));
                }
                Err(error) => {
                    return Err(checkpoint.damaged(format!("{}: {error}", entry.name)));
                }
            }
        }
        Ok(checkpoint)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Iterations completed when it was written.
    pub fn iteration(&self) -> u64 {
        self.manifest.iteration
    }

    /// Names of its files, in the order in which they were written.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.manifest.files.iter().map(|entry| entry.name.as_str())
    }

    /// Reads every file and compares its checksum.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] for the first that differs, [`CheckpointError::Io`].
    pub fn verify(&self) -> Result<(), CheckpointError> {
        self.verify_all_but(&[])
    }

    /// [`Checkpoint::verify`] without the files of these names, which are checked when they are read.
    ///
    /// # Errors
    /// As [`Checkpoint::verify`].
    pub fn verify_all_but(&self, names: &[&str]) -> Result<(), CheckpointError> {
        for entry in &self.manifest.files {
            if !names.contains(&entry.name.as_str()) {
                self.content(entry)?;
            }
        }
        Ok(())
    }

    /// A text file.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`], [`CheckpointError::Io`].
    pub fn text(&self, name: &str) -> Result<String, CheckpointError> {
        String::from_utf8(self.bytes(name)?)
            .map_err(|_| self.damaged(format!("{name} is not a text")))
    }

    /// A JSON file.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`], also for a content of another shape; [`CheckpointError::Io`].
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, CheckpointError> {
        serde_json::from_slice(&self.bytes(name)?)
            .map_err(|error| self.damaged(format!("{name} has another shape: {error}")))
    }

    /// The named vectors of a safetensors file.
    ///
    /// # Errors
    /// As [`Checkpoint::json`].
    pub fn vectors(&self, name: &str) -> Result<BTreeMap<String, Vec<f32>>, CheckpointError> {
        let bytes = self.bytes(name)?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| self.damaged(format!("{name} is not safetensors: {error}")))?;
        tensors
            .iter()
            .map(|(label, view)| {
                if view.dtype() != Dtype::F32 {
                    let what = format!("{label} in {name} is {:?}, not F32", view.dtype());
                    return Err(self.damaged(what));
                }
                let values = view.data().chunks_exact(4);
                let values =
                    values.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
                Ok((label.to_owned(), values.collect()))
            })
            .collect()
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let entry = self
            .manifest
            .files
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| self.damaged(format!("it has no file {name}")))?;
        self.content(entry)
    }

    fn content(&self, entry: &Entry) -> Result<Vec<u8>, CheckpointError> {
        let path = self.path.join(&entry.name);
        let bytes = fs::read(&path).map_err(CheckpointError::io("read", &path))?;
        if bytes.len() as u64 != entry.bytes || crc_fast::crc32_iscsi(&bytes) != entry.crc32c {
            return Err(self.damaged(format!("{} has changed since it was written", entry.name)));
        }
        Ok(bytes)
    }

    fn damaged(&self, what: String) -> CheckpointError {
        CheckpointError::Damaged {
            path: self.path.clone(),
            what,
        }
    }
}
