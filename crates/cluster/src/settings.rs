//! How a run is conducted: everything the master's loop needs beside the plan, as plain values.

use crate::distortion::Distortion;
use crate::downlink::Downlink;
use crate::memory::{ErrorFeedback, OnStraggling};
use crate::norms::Limits;
use crate::offences::Tolerance;
use crate::straggling::Straggling;
use gradient_codec::{Generator, Preset};
use learner::Schedule;

/// The rules of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Seed of every draw.
    pub seed: u64,
    /// Iterations T.
    pub iterations: u64,
    /// The compressor of every worker; widths come from the plan.
    pub preset: Preset,
    /// Where the random bits of the messages' rounding come from. The engines need the same:
    /// [`crate::Engine::with_generator`].
    pub generator: Generator,
    /// Whether messages are divided by `1 + w`, w the compressor's exact normalised error on them: a
    /// contraction, as error feedback needs it. The engines need the same:
    /// [`crate::Engine::with_shrink`].
    pub shrink: bool,
    /// Whether workers remember what was not delivered. The engines need the same:
    /// [`crate::Engine::with_error_feedback`].
    pub error_feedback: Option<ErrorFeedback>,
    /// In what form the model is sent. Worker ranks need the same: [`crate::Receiver`].
    pub downlink: Downlink,
    /// Where stragglers come from.
    pub straggling: Straggling,
    /// Learning rate by iteration.
    pub learning_rate: Schedule,
    /// Clip the decoded gradient to this norm; 0 does not clip.
    pub clip_norm: f64,
    /// When to evaluate on held-out data.
    pub evaluate_every: Every,
    /// Whether to evaluate after the last iteration.
    pub evaluate_at_end: bool,
    /// Compare the decoded gradient with the exact one every so many iterations; 0 never does.
    pub relative_error_every: u64,
    /// When workers measure the quantization error of their messages, and whether plans follow it.
    pub distortion: Distortion,
    /// What a round that nobody answered does.
    pub empty_round: EmptyRound,
    /// Give up after so many empty rounds in a row.
    pub max_empty_rounds: u64,
    /// How arrivals are held against the plan, which is made anew when it no longer holds; `None` keeps
    /// it for as long as nobody is lost.
    pub replan: Option<straggler::Rules>,
    /// Give up when fewer workers are alive.
    pub min_workers: usize,
    /// A worker is lost after so many rounds of silence...
    pub give_up_after: u64,
    /// ...that lasted at least so many seconds.
    pub give_up_seconds: f64,
    /// How much of what a worker sends may have to be refused before it is given up.
    pub tolerance: Tolerance,
    /// What is done about messages that are larger than others.
    pub limits: Limits,
    /// Bound of every wait for a worker that must answer, seconds.
    pub silence_timeout: f64,
    /// Frames in transfer at a time: bounds the master's memory.
    pub grants: usize,
}

impl Settings {
    /// Training and nothing beside it: a constant learning `rate`, messages of `preset` without memories, the
    /// model as f32, no evaluation, the first plan for as long as nobody is lost, seed 0, and the patience
    /// that a configuration has by default.
    pub fn plain(preset: Preset, straggling: Straggling, iterations: u64, rate: f64) -> Self {
        Self {
            seed: 0,
            iterations,
            preset,
            generator: Generator::default(),
            shrink: false,
            error_feedback: None,
            downlink: Downlink::F32,
            straggling,
            learning_rate: Schedule::constant(rate),
            clip_norm: 0.0,
            evaluate_every: Every::Never,
            evaluate_at_end: false,
            relative_error_every: 0,
            distortion: Distortion::default(),
            empty_round: EmptyRound::Step,
            max_empty_rounds: 50,
            replan: None,
            min_workers: 1,
            give_up_after: 50,
            give_up_seconds: 30.0,
            tolerance: Tolerance::default(),
            limits: Limits::default(),
            silence_timeout: 600.0,
            grants: 3,
        }
    }

    /// Whether workers have to compute although they are late, to remember the result.
    pub(crate) fn remembers_the_late(&self) -> bool {
        self.error_feedback
            .is_some_and(|feedback| feedback.on_straggling == OnStraggling::Lost)
    }
}

/// What a round that nobody answered does. Unbiasedness needs [`EmptyRound::Step`]: the decoded
/// gradient of such a round is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyRound {
    /// The optimizer steps with a zero gradient (momentum moves on).
    #[default]
    Step,
    /// Nothing happens.
    Skip,
}

/// A recurring moment of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Every {
    /// Never.
    Never,
    /// After every so many iterations.
    Steps(u64),
    /// At the first iteration that ends so many seconds after the last time.
    Seconds(f64),
}

impl Every {
    /// Whether it is time, after `done` iterations at `now` seconds, when it was last at `last`.
    pub(crate) fn is_due(self, done: u64, now: f64, last: f64) -> bool {
        match self {
            Self::Never => false,
            Self::Steps(steps) => steps > 0 && done.is_multiple_of(steps),
            Self::Seconds(seconds) => now - last >= seconds,
        }
    }
}
