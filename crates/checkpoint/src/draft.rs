//! A checkpoint that is being written.

use crate::manifest::{Entry, FORMAT, Manifest, NAME, VERSION};
use crate::{CheckpointError, Store};
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A checkpoint that is being written, invisible to readers until [`Draft::publish`].
///
/// Dropped before that, it is removed.
#[derive(Debug)]
pub struct Draft<'a> {
    store: &'a Store,
    iteration: u64,
    /// Where it is written.
    path: PathBuf,
    files: Vec<Entry>,
    published: bool,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(store: &'a Store, iteration: u64) -> Result<Self, CheckpointError> {
        let path = store.draft_path(iteration);
        if path.exists() {
            fs::remove_dir_all(&path).map_err(CheckpointError::io("remove", &path))?;
        }
        fs::create_dir_all(&path).map_err(CheckpointError::io("create", &path))?;
        Ok(Self {
            store,
            iteration,
            path,
            files: Vec::new(),
            published: false,
        })
    }

    /// Adds a text file.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn text(&mut self, name: &str, text: &str) -> Result<(), CheckpointError> {
        self.file(name, text.as_bytes())
    }

    /// Adds a JSON file.
    ///
    /// # Errors
    /// [`CheckpointError::Io`], also for a value that JSON cannot hold.
    pub fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), CheckpointError> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| CheckpointError::io("write", self.path.join(name))(error.into()))?;
        self.text(name, &text)
    }

    /// Adds named vectors as one safetensors file.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn vectors(
        &mut self,
        name: &str,
        vectors: &[(&str, &[f32])],
    ) -> Result<(), CheckpointError> {
        let failed = |error: safetensors::SafeTensorError| {
            CheckpointError::io("write", self.path.join(name))(std::io::Error::other(error))
        };
        let mut views = Vec::new();
        for (label, values) in vectors {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, vec![values.len()], bytes).map_err(failed)?;
            views.push((*label, view));
        }
        let bytes = safetensors::serialize(views, None).map_err(failed)?;
        self.file(name, &bytes)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), CheckpointError> {
        write_durably(&self.path.join(name), bytes)?;
        self.files.push(Entry {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            crc32c: crc_fast::crc32_iscsi(bytes),
        });
        Ok(())
    }

    /// Makes it the newest checkpoint, durably, and then removes those that are old enough. Returns
    /// where it is.
    ///
    /// A checkpoint of the same iteration is replaced. Old ones that cannot be removed, as when somebody
    /// reads them over NFS, are left to the next time: the new one is complete all the same.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; all earlier checkpoints are then still there.
    pub fn publish(mut self) -> Result<PathBuf, CheckpointError> {
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            iteration: self.iteration,
            files: std::mem::take(&mut self.files),
        };
        let done = self.path.join(NAME);
        let text = serde_json::to_string_pretty(&manifest)
            .map_err(|error| CheckpointError::io("write", &done)(error.into()))?;
        write_durably(&done, text.as_bytes())?;
        sync_directory(&self.path)?;

        let path = self.store.path_of(self.iteration);
        self.store.retire(self.iteration)?;
        fs::rename(&self.path, &path).map_err(CheckpointError::io("rename", &self.path))?;
        self.published = true;
        sync_directory(self.store.root())?;
        let _ = self.store.prune();
        Ok(path)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed by the next draft or ignored for ever.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    File::create(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(CheckpointError::io("write", path))
}

fn sync_directory(path: &Path) -> Result<(), CheckpointError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(CheckpointError::io("sync", path))
}
