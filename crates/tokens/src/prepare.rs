//! Text files to token files.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::file::{Sidecar, sidecar_path};
use crate::text::{Document, documents};
use crate::{TokenError, Tokenizer};

/// Where tokens go.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareConfig {
    /// Directory of `train.bin` and `val.bin` with their sidecars; made where there is none.
    pub out: PathBuf,
    /// Share of the text's bytes that is held out, at least 0 and below 1; 0 writes no `val.bin`.
    pub validation_share: f64,
    /// Whether files that are there already are replaced.
    pub overwrite: bool,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The training file.
    pub train: PathBuf,
    /// The held-out file, if any.
    pub validation: Option<PathBuf>,
    /// Training tokens.
    pub train_tokens: u64,
    /// Held-out tokens.
    pub validation_tokens: u64,
    /// Text files for training; a file that was split counts on both sides.
    pub train_documents: usize,
    /// Held-out text files.
    pub validation_documents: usize,
    /// Tokens are below this number.
    pub vocabulary: u32,
}

/// A piece of a document: its bytes from `start` on, up to `end`.
struct Piece<'a> {
    document: &'a Document,
    start: u64,
    end: u64,
}

impl<'a> Piece<'a> {
    fn whole(document: &'a Document) -> Self {
        Self {
            document,
            start: 0,
            end: document.bytes,
        }
    }
}

/// Tokenizes the files that `texts` name (directories with all below them) into `train.bin` and
/// `val.bin`. Every file is a document; what is held out are the last documents, whose bytes come
/// closest to the share that is wanted. A single document is divided at the end of a line.
///
/// One document at a time is in memory.
///
/// # Errors
/// [`TokenError::Setting`] for a share out of range or texts that cannot be divided,
/// [`TokenError::Exists`], and [`TokenError::Io`] or [`TokenError::Malformed`] naming the file.
pub fn prepare(
    texts: &[PathBuf],
    tokenizer: &Tokenizer,
    config: &PrepareConfig,
) -> Result<Summary, TokenError> {
    let share = config.validation_share;
    if !(0.0..1.0).contains(&share) {
        return Err(TokenError::Setting {
            key: "--validation-share",
            value: share.to_string(),
            valid: "expected at least 0 and below 1".into(),
        });
    }
    let documents = documents(texts)?;
    let (train, validation) = divide(&documents, share)?;
    let path = |name: &str| config.out.join(name);
    let wanted = [(path("train.bin"), &train), (path("val.bin"), &validation)];
    for (path, _) in &wanted {
        if !config.overwrite && path.exists() {
            return Err(TokenError::Exists { path: path.clone() });
        }
    }
    fs::create_dir_all(&config.out).map_err(TokenError::io("make", &config.out))?;
    let [(train_path, _), (validation_path, _)] = &wanted;
    let train_tokens = write(train_path, &train, tokenizer)?;
    let validation_tokens = if validation.is_empty() {
        // An earlier split's file would be taken for this one's.
        for stale in [validation_path.clone(), sidecar_path(validation_path)] {
            if stale.exists() {
                fs::remove_file(&stale).map_err(TokenError::io("remove", &stale))?;
            }
        }
        0
    } else {
        write(validation_path, &validation, tokenizer)?
    };
    Ok(Summary {
        train: train_path.clone(),
        validation: (!validation.is_empty()).then(|| validation_path.clone()),
        train_tokens,
        validation_tokens,
        train_documents: train.len(),
        validation_documents: validation.len(),
        vocabulary: tokenizer.vocabulary(),
    })
}

/// Training and held-out pieces.
fn divide(
    documents: &[Document],
    share: f64,
) -> Result<(Vec<Piece<'_>>, Vec<Piece<'_>>), TokenError> {
    let total: u64 = documents.iter().map(|document| document.bytes).sum();
    match documents {
        [] => Err(TokenError::Setting {
            key: "TEXT",
            value: "no text".into(),
            valid: "expected at least one file that is not empty".into(),
        }),
        all if share == 0.0 => Ok((all.iter().map(Piece::whole).collect(), Vec::new())),
        [single] => {
            let at = line_end(single, share)?;
            let piece = |start, end| {
                vec![Piece {
                    document: single,
                    start,
                    end,
                }]
            };
            Ok((piece(0, at), piece(at, single.bytes)))
        }
        all => {
            // Both sides get a document; the boundary closest to the share wins.
            let wanted = (1.0 - share) * total as f64;
            let mut before = 0;
            let distances = all.iter().map(|document| {
                before += document.bytes;
                (before as f64 - wanted).abs()
            });
            let boundary = distances
                .take(all.len() - 1)
                .enumerate()
                .min_by(|(_, a), (_, b)| a.total_cmp(b))
                .map_or(1, |(last, _)| last + 1);
            let (train, validation) = all.split_at(boundary);
            Ok((
                train.iter().map(Piece::whole).collect(),
                validation.iter().map(Piece::whole).collect(),
            ))
        }
    }
}

/// The end of the line in which the training share of a document ends.
fn line_end(document: &Document, share: f64) -> Result<u64, TokenError> {
    let text = read(&document.path)?;
    let wanted = ((1.0 - share) * text.len() as f64) as usize;
    let is_end = |&at: &usize| text[at] == b'\n' && at + 1 < text.len();
    let end = (wanted..text.len())
        .find(is_end)
        .or_else(|| (0..wanted.min(text.len())).rev().find(is_end));
    end.map(|at| at as u64 + 1)
        .ok_or_else(|| TokenError::Setting {
            key: "--validation-share",
            value: share.to_string(),
            valid: format!(
                "{} is a single line, which is not divided: expected 0, or more texts",
                document.path.display()
            ),
        })
}

fn read(path: &Path) -> Result<Vec<u8>, TokenError> {
    fs::read(path).map_err(TokenError::io("read", path))
}

/// Writes a token file and its sidecar; returns the number of tokens.
fn write(path: &Path, pieces: &[Piece<'_>], tokenizer: &Tokenizer) -> Result<u64, TokenError> {
    let failed = || TokenError::io("write", path);
    let mut out = BufWriter::new(File::create(path).map_err(failed())?);
    let (mut tokens, mut bytes) = (0, 0);
    for piece in pieces {
        let text = read(&piece.document.path)?;
        // The file may have shrunk since it was listed.
        let end = text.len().min(piece.end as usize);
        let text = &text[(piece.start as usize).min(end)..end];
        bytes += text.len() as u64;
        let mut encoded = tokenizer.encode(text, &piece.document.path)?;
        encoded.extend(tokenizer.end_of_document());
        tokens += encoded.len() as u64;
        let encoded: Vec<u8> = encoded.iter().flat_map(|t| t.to_le_bytes()).collect();
        out.write_all(&encoded).map_err(failed())?;
    }
    out.flush().map_err(failed())?;
    let sidecar = Sidecar {
        vocabulary: tokenizer.vocabulary(),
        tokens,
        bytes: Some(bytes),
        tokenizer: tokenizer.name().to_owned(),
        tokenizer_sha256: tokenizer.sha256(),
        end_of_document: tokenizer.end_of_document(),
    };
    let path = sidecar_path(path);
    let text = serde_json::to_string_pretty(&sidecar)
        .map_err(|error| TokenError::malformed(&path, error.to_string()))?;
    fs::write(&path, text + "\n").map_err(TokenError::io("write", &path))?;
    Ok(tokens)
}
