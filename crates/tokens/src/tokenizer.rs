//! Text to tokens.

use std::path::Path;

use sha2::{Digest, Sha256};

#[cfg(feature = "bpe")]
use crate::LARGEST_VOCABULARY;
use crate::TokenError;

/// What turns text into tokens.
pub enum Tokenizer {
    /// Every byte is a token: 256 of them. Any file will do. Byte 0, which no text has, ends a
    /// document.
    Bytes,
    /// Byte-pair encoding by Hugging Face's `tokenizers`.
    #[cfg(feature = "bpe")]
    Bpe(Box<Bpe>),
}

/// The byte that ends a document.
const END_OF_TEXT_BYTE: u16 = 0;
/// How GPT-2 names the token that ends a document.
#[cfg(feature = "bpe")]
const END_OF_TEXT: &str = "<|endoftext|>";

/// A byte-pair encoding and what identifies it.
#[cfg(feature = "bpe")]
pub struct Bpe {
    tokenizer: tokenizers::Tokenizer,
    vocabulary: u32,
    sha256: String,
}

impl Tokenizer {
    /// The tokenizer of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenError::Io`] and [`TokenError::Malformed`] for the file, the latter also for more than
    /// [`LARGEST_VOCABULARY`](crate::LARGEST_VOCABULARY) tokens.
    #[cfg(feature = "bpe")]
    pub fn from_json(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read(path).map_err(TokenError::io("read", path))?;
        let tokenizer = tokenizers::Tokenizer::from_bytes(&text)
            .map_err(|error| TokenError::malformed(path, error.to_string()))?;
        Ok(Self::Bpe(Box::new(Bpe::new(tokenizer, path, &[&text])?)))
    }

    /// GPT-2's tokenizer from `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// As [`Tokenizer::from_json`].
    #[cfg(feature = "bpe")]
    pub fn from_vocabulary(vocabulary: &Path, merges: &Path) -> Result<Self, TokenError> {
        use tokenizers::models::bpe::BPE;
        use tokenizers::pre_tokenizers::byte_level::ByteLevel;

        let read = |path: &Path| std::fs::read(path).map_err(TokenError::io("read", path));
        let (vocabulary_text, merges_text) = (read(vocabulary)?, read(merges)?);
        let model = vocabulary
            .to_str()
            .zip(merges.to_str())
            .ok_or_else(|| TokenError::malformed(vocabulary, "its name is no UTF-8"))
            .and_then(|(vocabulary_name, merges_name)| {
                BPE::from_file(vocabulary_name, merges_name)
                    .build()
                    .map_err(|error| TokenError::malformed(merges, error.to_string()))
            })?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        // As GPT-2: no space before the first word.
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        let files = [vocabulary_text.as_slice(), &merges_text];
        Ok(Self::Bpe(Box::new(Bpe::new(
            tokenizer, vocabulary, &files,
        )?)))
    }

    /// `bytes` or `bpe`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            #[cfg(feature = "bpe")]
            Self::Bpe(_) => "bpe",
        }
    }

    /// Tokens are below this number.
    pub fn vocabulary(&self) -> u32 {
        match self {
            Self::Bytes => 256,
            #[cfg(feature = "bpe")]
            Self::Bpe(bpe) => bpe.vocabulary,
        }
    }

    /// SHA-256 of the files that make the tokenizer, one after another; of its name for
    /// [`Tokenizer::Bytes`].
    pub fn sha256(&self) -> String {
        match self {
            Self::Bytes => hexadecimal(&[b"bytes"]),
            #[cfg(feature = "bpe")]
            Self::Bpe(bpe) => bpe.sha256.clone(),
        }
    }

    /// The token that is written after every document; `None` where the vocabulary has none.
    pub fn end_of_document(&self) -> Option<u16> {
        match self {
            Self::Bytes => Some(END_OF_TEXT_BYTE),
            #[cfg(feature = "bpe")]
            Self::Bpe(bpe) => {
                let token = bpe.tokenizer.token_to_id(END_OF_TEXT)?;
                u16::try_from(token).ok()
            }
        }
    }

    /// The tokens of a document, which came from `path`.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] where byte-pair encoding finds no UTF-8.
    #[cfg_attr(not(feature = "bpe"), expect(unused_variables))]
    pub fn encode(&self, text: &[u8], path: &Path) -> Result<Vec<u16>, TokenError> {
        match self {
            Self::Bytes => Ok(text.iter().map(|&byte| u16::from(byte)).collect()),
            #[cfg(feature = "bpe")]
            Self::Bpe(bpe) => bpe.encode(text, path),
        }
    }
}

#[cfg(feature = "bpe")]
impl Bpe {
    fn new(
        tokenizer: tokenizers::Tokenizer,
        path: &Path,
        files: &[&[u8]],
    ) -> Result<Self, TokenError> {
        // Tokens may have holes between them: what counts is the largest.
        let largest = tokenizer.get_vocab(true).into_values().max();
        let vocabulary = largest.map_or(0, |id| id.saturating_add(1));
        if !(1..=LARGEST_VOCABULARY).contains(&vocabulary) {
            return Err(TokenError::malformed(
                path,
                format!("it has {vocabulary} tokens, expected 1 to {LARGEST_VOCABULARY}"),
            ));
        }
        Ok(Self {
            tokenizer,
            vocabulary,
            sha256: hexadecimal(files),
        })
    }

    fn encode(&self, text: &[u8], path: &Path) -> Result<Vec<u16>, TokenError> {
        let text = std::str::from_utf8(text)
            .map_err(|error| TokenError::malformed(path, format!("it is no UTF-8: {error}")))?;
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| TokenError::malformed(path, error.to_string()))?;
        // The vocabulary was checked: every token fits.
        Ok(encoding.get_ids().iter().map(|&id| id as u16).collect())
    }
}

fn hexadecimal(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
