//! Token files as nanoGPT writes them, and tokenizers that make them.
//!
//! A token file is headerless: 16-bit little-endian tokens, one after another. Beside `x.bin` may
//! lie `x.json`, which says what the numbers mean ([`Sidecar`]). From the bottom up:
//!
//! 1. [`TokenFile`]: a memory-mapped file; a window of it is read, and checked, when it is wanted.
//! 2. [`Tokenizer`]: bytes as they are, or GPT-2's byte-pair encoding (the feature `bpe`).
//! 3. [`prepare`]: text files to a training and a validation file.
//!
//! # One complete program
//! ```
//! use tokens::{PrepareConfig, TokenFile, Tokenizer, prepare};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scratch = tempfile::tempdir()?;
//! # let (text, out) = (scratch.path().join("a.txt"), scratch.path().join("bytes"));
//! std::fs::write(&text, "To be, or not to be.\nThat is the question.\n")?;
//! let config = PrepareConfig { out, validation_share: 0.5, overwrite: false };
//! let summary = prepare(&[text], &Tokenizer::Bytes, &config)?;
//!
//! let file = TokenFile::open(&summary.train)?;
//! assert_eq!(file.vocabulary(), Some(256));
//! assert_eq!(file.window(0, 5, 256)?, *b"To be".map(u16::from).as_slice());
//! # Ok(())
//! # }
//! ```

mod error;
mod file;
mod prepare;
mod text;
mod tokenizer;

pub use error::TokenError;
pub use file::{Sidecar, TokenFile};
pub use prepare::{PrepareConfig, Summary, prepare};
pub use tokenizer::Tokenizer;

/// The largest vocabulary that 16-bit tokens are used for; 65535 itself is left unused.
pub const LARGEST_VOCABULARY: u32 = 65_535;
