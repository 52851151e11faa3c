//! Memory-mapped token files.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::{LARGEST_VOCABULARY, TokenError};

/// What a token file's numbers mean: the JSON beside it, under the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// Tokens are below this number.
    pub vocabulary: u32,
    /// Tokens in the file.
    pub tokens: u64,
    /// Bytes of the text that they stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `bytes` or `bpe`.
    pub tokenizer: String,
    /// SHA-256 of what makes the tokenizer, in hexadecimal: equal for files whose tokens mean the same.
    pub tokenizer_sha256: String,
    /// The token between two documents, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_document: Option<u16>,
}

/// A token file, mapped into memory and not read: opening one of any size takes no time.
///
/// Tokens are checked against the vocabulary when a window is read, which costs nothing beside
/// copying it; checking them all at the start would read the whole file, in every rank.
#[derive(Debug)]
pub struct TokenFile {
    path: PathBuf,
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
    sidecar: Option<Sidecar>,
}

impl TokenFile {
    /// Maps `path`, and reads the JSON beside it where there is one. The file must not be changed
    /// while it is open.
    ///
    /// # Errors
    /// [`TokenError::Io`] when it cannot be opened; [`TokenError::Malformed`] for a size that is no
    /// whole number of tokens, and for a sidecar that is none or counts other tokens.
    pub fn open(path: &Path) -> Result<Self, TokenError> {
        let file = File::open(path).map_err(TokenError::io("open", path))?;
        let bytes = file.metadata().map_err(TokenError::io("open", path))?.len();
        if bytes % 2 != 0 {
            return Err(TokenError::malformed(
                path,
                format!("{bytes} bytes are no whole number of 16-bit tokens"),
            ));
        }
        let map = if bytes == 0 {
            None
        } else {
            // SAFETY: the mapping is read-only and private to this value. That the file stays as it
            // is while it is mapped is the caller's promise; as with any mapping, truncation by
            // another process would end this one with a bus error.
            Some(unsafe { Mmap::map(&file) }.map_err(TokenError::io("map", path))?)
        };
        let sidecar = Self::read_sidecar(path)?;
        if let Some(sidecar) = sidecar.as_ref().filter(|s| s.tokens != bytes / 2) {
            return Err(TokenError::malformed(
                path,
                format!(
                    "it has {} tokens, but {} says {}",
                    bytes / 2,
                    sidecar_path(path).display(),
                    sidecar.tokens
                ),
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            map,
            sidecar,
        })
    }

    /// The sidecar of the token file `path`, without opening the file itself; `None` where there is
    /// none.
    ///
    /// # Errors
    /// As [`TokenFile::open`], for the sidecar.
    pub fn read_sidecar(path: &Path) -> Result<Option<Sidecar>, TokenError> {
        let path = sidecar_path(path);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(TokenError::io("read", &path))?,
        };
        let sidecar: Sidecar = serde_json::from_slice(&text)
            .map_err(|error| TokenError::malformed(&path, error.to_string()))?;
        if !(1..=LARGEST_VOCABULARY).contains(&sidecar.vocabulary) {
            return Err(TokenError::malformed(
                &path,
                format!(
                    "vocabulary = {}, expected 1 to {LARGEST_VOCABULARY}",
                    sidecar.vocabulary
                ),
            ));
        }
        Ok(Some(sidecar))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What lies beside it.
    pub fn sidecar(&self) -> Option<&Sidecar> {
        self.sidecar.as_ref()
    }

    /// The vocabulary that the sidecar states.
    pub fn vocabulary(&self) -> Option<u32> {
        self.sidecar.as_ref().map(|sidecar| sidecar.vocabulary)
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.map.as_ref().map_or(0, |map| map.len() / 2)
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `len` tokens from `start`, all of them below `vocabulary`.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] naming file and place, for a token outside the vocabulary or a
    /// window that does not end inside the file.
    pub fn window(
        &self,
        start: usize,
        len: usize,
        vocabulary: u32,
    ) -> Result<Vec<u16>, TokenError> {
        let bytes = self.map.as_deref().unwrap_or_default();
        let window = start
            .checked_add(len)
            .and_then(|end| bytes.get(start.checked_mul(2)?..end.checked_mul(2)?));
        let Some(window) = window else {
            return Err(TokenError::malformed(
                &self.path,
                format!("{len} tokens from {start} of {}", self.len()),
            ));
        };
        let (pairs, _) = window.as_chunks::<2>();
        let tokens: Vec<u16> = pairs.iter().map(|&pair| u16::from_le_bytes(pair)).collect();
        let outside = tokens.iter().position(|&t| u32::from(t) >= vocabulary);
        match outside {
            None => Ok(tokens),
            Some(place) => Err(TokenError::malformed(
                &self.path,
                format!(
                    "token {} at position {}, but the vocabulary has {vocabulary}",
                    tokens[place],
                    start + place
                ),
            )),
        }
    }
}

/// `x.json` for `x.bin`.
pub(crate) fn sidecar_path(path: &Path) -> PathBuf {
    path.with_extension("json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8], sidecar: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        if let Some(text) = sidecar {
            std::fs::write(sidecar_path(&path), text).unwrap();
        }
        (scratch, path)
    }

    #[test]
    fn a_file_without_a_sidecar_is_little_endian_tokens() {
        let (_keep, path) = file("a.bin", &[1, 0, 0, 1, 255, 255], None);
        let file = TokenFile::open(&path).unwrap();
        assert_eq!((file.len(), file.vocabulary()), (3, None));
        assert_eq!(file.window(0, 2, 257).unwrap(), [1, 256]);
        assert_eq!(file.window(3, 0, 257).unwrap(), [0u16; 0]);
    }

    #[test]
    fn what_is_outside_is_named() {
        let (_keep, path) = file("a.bin", &[1, 0, 0, 1, 255, 255], None);
        let file = TokenFile::open(&path).unwrap();
        let message = file.window(1, 2, 256).unwrap_err().to_string();
        assert!(
            message.contains("a.bin: token 256 at position 1, but the vocabulary has 256"),
            "{message}"
        );
        let message = file.window(2, 2, 256).unwrap_err().to_string();
        assert!(message.contains("2 tokens from 2 of 3"), "{message}");
        assert!(file.window(usize::MAX, 2, 256).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let side = |tokens: u64, vocabulary: u32| {
            format!(
                r#"{{"vocabulary":{vocabulary},"tokens":{tokens},"tokenizer":"bytes","tokenizer_sha256":"0"}}"#
            )
        };
        for (bytes, sidecar, expected) in [
            (&[1u8, 0, 0][..], None, "3 bytes are no whole number"),
            (&[1, 0], Some(side(2, 256)), "it has 1 tokens, but"),
            (
                &[1, 0],
                Some(side(1, 70_000)),
                "vocabulary = 70000, expected 1 to 65535",
            ),
            (&[1, 0], Some("{}".into()), "missing field"),
        ] {
            let (_keep, path) = file("a.bin", bytes, sidecar.as_deref());
            let message = TokenFile::open(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let (_keep, path) = file("a.bin", &[], None);
        assert!(TokenFile::open(&path).unwrap().is_empty());
        let missing = TokenFile::open(Path::new("/nowhere.bin")).unwrap_err();
        assert!(missing.to_string().starts_with("open /nowhere.bin: "));
    }
}
