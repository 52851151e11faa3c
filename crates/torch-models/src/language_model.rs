//! Next-token prediction as a learning task: what follows?
//!
//! The loss is the cross-entropy in nats, summed over the tokens of a sample and divided by their
//! number, which is the same in every sample.

use std::f64::consts::LN_2;
use std::sync::Arc;

use learner::{Learner, LearnerError, Metric};
use tch::{Device, Tensor};
use tokens::TokenFile;

use crate::config::TorchConfig;
use crate::data::TrainingData;
use crate::engine::{Task, TorchLearner};
use crate::error::TorchError;
use crate::losses::{to_host, weigh};
use crate::models::gpt2::{Gpt2, Gpt2Config};
use crate::precision::Precision;
use crate::store::Store;
use crate::token_windows::{TokenBatch, TokenWindows, Windowing};

/// Everything a language model is made from, besides the data.
#[derive(Clone, Debug)]
pub struct LanguageConfig {
    /// The network.
    pub model: Gpt2Config,
    /// Tokens of a sample, at most the network's context.
    pub length: u32,
    /// Whether training samples begin anywhere ([`TokenWindows`]).
    pub phases: bool,
    /// What all learners have.
    pub torch: TorchConfig,
}

/// A language model and how it reads.
pub struct LanguageModel {
    model: Gpt2,
    windowing: Windowing,
    precision: Precision,
}

/// What held-out samples cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surprise {
    /// Sum of the losses, in nats.
    nats: f64,
    /// Over so many tokens.
    tokens: u64,
}

impl LanguageModel {
    /// Sum of the losses of every sample, `[N]`.
    fn losses(&self, batch: &TokenBatch) -> Result<Tensor, TorchError> {
        let (device, tokens, targets) = (self.windowing.device, &batch.tokens, &batch.targets);
        self.precision
            .run(device, || Ok(self.model.losses(tokens, targets)?))
    }
}

impl Task for LanguageModel {
    type Source = TokenWindows;
    type Batch = TokenBatch;
    type Evaluation = Surprise;

    fn assemble(
        &self,
        samples: &[(u32, Arc<Vec<u16>>)],
        iteration: Option<u64>,
    ) -> Result<TokenBatch, TorchError> {
        self.windowing.batch(samples, iteration)
    }

    fn weighted_loss(
        &self,
        batch: &TokenBatch,
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError> {
        let losses = self.losses(batch)?;
        weigh(&losses, weights)
    }

    fn terms_per_sample(&self) -> f64 {
        f64::from(self.windowing.length)
    }

    fn samples_per_pass(&self) -> usize {
        samples_per_pass(
            self.model.config(),
            self.windowing.length,
            self.windowing.device,
        )
    }

    fn observe(
        &self,
        evaluation: &mut Surprise,
        batch: &TokenBatch,
        _: &[u32],
    ) -> Result<Vec<f64>, TorchError> {
        let losses = to_host(&self.losses(batch)?)?;
        evaluation.nats += losses.iter().sum::<f64>();
        evaluation.tokens += losses.len() as u64 * u64::from(self.windowing.length);
        Ok(losses)
    }

    /// The perplexity, and bits per byte where the file says how many bytes its tokens stand for.
    fn metrics(
        &self,
        evaluation: Surprise,
        source: &TokenWindows,
    ) -> Result<Vec<Metric>, LearnerError> {
        let loss = evaluation.nats / evaluation.tokens as f64;
        let mut metrics = vec![Metric::new("perplexity", loss.exp())];
        let bytes = source.file().sidecar().and_then(|sidecar| sidecar.bytes);
        if let Some(bytes) = bytes.filter(|&bytes| bytes > 0) {
            let tokens_per_byte = source.file().len() as f64 / bytes as f64;
            metrics.push(Metric::new("bits_per_byte", loss / LN_2 * tokens_per_byte));
        }
        Ok(metrics)
    }
}

/// Samples that go through the network together: more would only take memory. A token costs its
/// logits three times over, and some 24 vectors of the network's width in every block.
fn samples_per_pass(model: Gpt2Config, length: u32, device: Device) -> usize {
    let budget = if device.is_cuda() { 16 << 30 } else { 1 << 30 };
    let [layers, width, vocabulary] =
        [model.layers, model.width, model.vocabulary].map(|size| size as usize);
    let token = size_of::<f32>() * (3 * vocabulary + 24 * layers * width);
    (budget / (length as usize * token).max(1)).max(1)
}

/// Builds a learner that trains a language model on `train` and is evaluated on `validation` (on the
/// training tokens where there is none).
///
/// # Errors
/// As [`crate::build`], with [`LearnerError::Data`] for a token outside the vocabulary.
pub fn build(
    config: &LanguageConfig,
    train: TokenFile,
    validation: Option<TokenFile>,
) -> Result<Box<dyn Learner>, LearnerError> {
    let (model, torch) = (config.model, &config.torch);
    if !(1..=model.context).contains(&config.length) {
        return Err(LearnerError::setting(
            "data.length",
            config.length,
            format!("1 to the context, {}", model.context),
        ));
    }
    let hash = |file: &TokenFile| file.sidecar().map(|s| s.tokenizer_sha256.clone());
    if let Some((held_out, (theirs, ours))) = validation
        .as_ref()
        .and_then(|file| Some((file, hash(file).zip(hash(&train))?)))
        .filter(|(_, (theirs, ours))| theirs != ours)
    {
        return Err(LearnerError::setting(
            "data.validation_tokens",
            held_out.path().display(),
            format!(
                "tokens of the tokenizer that made {} (SHA-256 {ours}, not {theirs})",
                train.path().display()
            ),
        ));
    }
    let windows =
        |file, key| TokenWindows::new(file, config.length, model.vocabulary, key).map(Arc::new);
    let validation = validation
        .map(|file| windows(file, "data.validation_tokens"))
        .transpose()?;
    tch::set_num_threads(torch.threads.max(1) as i32);
    let data = TrainingData::new(
        windows(train, "data.train_tokens")?,
        torch.partitions,
        torch.batch,
        torch.seed,
        torch.loader_threads,
    )?;
    let store = Store::new(torch.device);
    let task = LanguageModel {
        model: Gpt2::new(&store.root(), model)?,
        precision: torch.precision,
        windowing: Windowing {
            length: config.length,
            seed: torch.seed,
            phases: config.phases,
            device: torch.device,
        },
    };
    let name = format!(
        "gpt2 {} layers, {} heads, width {}, context {}, {} tokens",
        model.layers, model.heads, model.width, model.context, model.vocabulary
    );
    let learner = TorchLearner::new(task, name, store, torch, data, validation)?;
    Ok(Box::new(learner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_never_empty_and_fits() {
        let nano = Gpt2Config {
            layers: 2,
            heads: 4,
            width: 64,
            context: 64,
            vocabulary: 256,
        };
        assert!(samples_per_pass(nano, 64, Device::Cpu) > 500);
        assert_eq!(samples_per_pass(Gpt2Config::SMALL, 1024, Device::Cpu), 1);
        assert!(samples_per_pass(Gpt2Config::SMALL, 1024, Device::Cuda(0)) >= 8);
    }
}
