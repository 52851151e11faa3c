//! Windows of token files as samples of a language model.

use std::sync::Arc;

use counter_rng::{Purpose, rng};
use learner::LearnerError;
use rand::RngExt;
use tch::{Device, Tensor};
use tokens::{TokenError, TokenFile};

use crate::error::TorchError;
use crate::source::Source;

/// A token file cut into samples of `length` tokens and the one that follows them.
///
/// Sample `i` begins at token `i * length`, and in training up to `length - 1` tokens later (its
/// *phase*, drawn anew in every iteration), so that the model sees every position of a text at every
/// place of a sample. What is read for a sample are therefore up to `2 * length` tokens.
#[derive(Debug)]
pub struct TokenWindows {
    file: TokenFile,
    length: usize,
    vocabulary: u32,
    samples: u32,
}

impl TokenWindows {
    /// Samples of `length` tokens below `vocabulary`. Tokens are checked as samples are read.
    ///
    /// # Errors
    /// [`LearnerError::Setting`] when the file says that it has other tokens, is shorter than one
    /// sample, or has more samples than there are 32-bit numbers; `key` names its place in the
    /// configuration.
    pub fn new(
        file: TokenFile,
        length: u32,
        vocabulary: u32,
        key: &'static str,
    ) -> Result<Self, LearnerError> {
        let path = file.path().display();
        if let Some(needed) = file.vocabulary().filter(|&needed| needed > vocabulary) {
            return Err(LearnerError::setting(
                "model.vocab",
                vocabulary,
                format!("at least {needed}, the tokens of {path}"),
            ));
        }
        let samples = file.len().saturating_sub(1) / (length as usize).max(1);
        match u32::try_from(samples) {
            Ok(samples) if samples > 0 && length > 0 => Ok(Self {
                file,
                length: length as usize,
                vocabulary,
                samples,
            }),
            _ => Err(LearnerError::setting(
                key,
                path,
                format!(
                    "a file with {} to {} x 2^32 tokens for samples of {length}; it has {}",
                    u64::from(length) + 1,
                    length,
                    file.len()
                ),
            )),
        }
    }

    /// The file.
    pub fn file(&self) -> &TokenFile {
        &self.file
    }
}

impl Source for TokenWindows {
    type Item = Vec<u16>;

    fn len(&self) -> usize {
        self.samples as usize
    }

    /// The tokens that windows of sample `index` lie in: `length + 1` to `2 * length`.
    fn get(&self, index: u32) -> Result<Arc<Vec<u16>>, LearnerError> {
        let start = index as usize * self.length;
        let longest = (2 * self.length).max(self.length + 1);
        let len = longest.min(self.file.len().saturating_sub(start));
        let tokens = self.file.window(start, len, self.vocabulary);
        tokens.map(Arc::new).map_err(|error| LearnerError::Data {
            path: self.file.path().to_owned(),
            what: match error {
                TokenError::Malformed { reason, .. } => reason,
                other => other.to_string(),
            },
        })
    }
}

/// Windows of the same length as tensors.
pub struct TokenBatch {
    /// i64 `[N, length]`, on the computing device.
    pub tokens: Tensor,
    /// The same, one token later.
    pub targets: Tensor,
}

/// How samples become windows.
#[derive(Clone, Copy, Debug)]
pub struct Windowing {
    /// Tokens of a sample.
    pub length: u32,
    /// Seeds the phases.
    pub seed: u64,
    /// Whether training samples have one; else they begin where they begin.
    pub phases: bool,
    /// Where the network computes.
    pub device: Device,
}

impl Windowing {
    /// One window of every sample, with the phase that `iteration` draws; without one where there is no
    /// iteration.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn batch(
        &self,
        samples: &[(u32, Arc<Vec<u16>>)],
        iteration: Option<u64>,
    ) -> Result<TokenBatch, TorchError> {
        let whole = self.length as usize + 1;
        let mut flat: Vec<i64> = Vec::with_capacity(samples.len() * whole);
        for (place, tokens) in samples {
            let slack = tokens.len().saturating_sub(whole);
            let phase = match iteration {
                Some(iteration) if self.phases && slack > 0 => {
                    let stream = u64::from(*place);
                    let u: f64 = rng(self.seed, Purpose::Augmentation, iteration, stream).random();
                    // u < 1, so that the product rounds to at most slack.
                    (u * (slack + 1) as f64) as usize
                }
                _ => 0,
            };
            let window = tokens.iter().skip(phase.min(slack)).take(whole);
            flat.extend(window.map(|&token| i64::from(token)));
        }
        let window = Tensor::f_from_slice(&flat)?
            .f_view([samples.len() as i64, whole as i64])?
            .f_to_device(self.device)?;
        let length = i64::from(self.length);
        Ok(TokenBatch {
            tokens: window.f_narrow(1, 0, length)?,
            targets: window.f_narrow(1, 1, length)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Token i is i.
    fn windows(
        tokens: u16,
        length: u32,
    ) -> (tempfile::TempDir, Result<TokenWindows, LearnerError>) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("t.bin");
        let bytes: Vec<u8> = (0..tokens).flat_map(u16::to_le_bytes).collect();
        std::fs::write(&path, bytes).unwrap();
        let file = TokenFile::open(&path).unwrap();
        (
            scratch,
            TokenWindows::new(file, length, 1000, "data.train_tokens"),
        )
    }

    const WINDOWING: Windowing = Windowing {
        length: 4,
        seed: 7,
        phases: true,
        device: Device::Cpu,
    };

    fn starts(windowing: Windowing, source: &TokenWindows, iteration: Option<u64>) -> Vec<i64> {
        let samples: Vec<_> = (0..source.len() as u32)
            .map(|place| (place, source.get(place).unwrap()))
            .collect();
        let batch = windowing.batch(&samples, iteration).unwrap();
        let count = samples.len() as i64;
        assert_eq!(batch.tokens.size(), [count, 4]);
        assert_eq!(batch.targets, &batch.tokens + 1);
        Vec::try_from(batch.tokens.select(1, 0)).unwrap()
    }

    #[test]
    fn samples_cover_the_file_and_begin_within_their_part_of_it() {
        let (_keep, source) = windows(14, 4);
        let source = source.unwrap();
        assert_eq!(starts(WINDOWING, &source, None), [0, 4, 8]);
        let mut seen = std::collections::HashSet::new();
        for iteration in 0..200 {
            let starts = starts(WINDOWING, &source, Some(iteration));
            assert!((0..4).contains(&starts[0]) && (4..8).contains(&starts[1]));
            assert!((8..10).contains(&starts[2]), "the last ends with the file");
            seen.insert(starts);
        }
        assert_eq!(seen.len(), 4 * 4 * 2, "every phase occurs");
        let still = Windowing {
            phases: false,
            ..WINDOWING
        };
        assert_eq!(starts(still, &source, Some(3)), [0, 4, 8]);
    }

    #[test]
    fn a_phase_depends_on_seed_iteration_and_sample_alone() {
        let (_keep, source) = windows(200, 4);
        let source = source.unwrap();
        let first = starts(WINDOWING, &source, Some(5));
        assert_eq!(first, starts(WINDOWING, &source, Some(5)));
        assert_ne!(first, starts(WINDOWING, &source, Some(6)));
        let other = Windowing {
            seed: 8,
            ..WINDOWING
        };
        assert_ne!(first, starts(other, &source, Some(5)));
        let alone = [(9, source.get(9).unwrap())];
        let alone = WINDOWING.batch(&alone, Some(5)).unwrap();
        assert_eq!(alone.tokens.int64_value(&[0, 0]), first[9]);
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        let message = windows(4, 4).1.unwrap_err().to_string();
        assert!(
            message.contains("data.train_tokens") && message.contains("it has 4"),
            "{message}"
        );
        let (_keep, source) = windows(1200, 64);
        let error = source.unwrap().get(15).unwrap_err().to_string();
        assert!(error.contains("token 1000 at position 1000"), "{error}");
    }
}
