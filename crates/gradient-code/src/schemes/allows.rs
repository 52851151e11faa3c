//! Which compressors a scheme can be combined with.

use serde::{Deserialize, Serialize};

/// What a scheme has to know about a compressor. Describes it at the widths in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompressorTraits {
    /// Its name in a configuration.
    pub name: String,
    /// `E[Q(x)] = x` whatever `x`.
    pub unbiased: bool,
    /// `E||Q(x) - x||^2 <= delta ||x||^2` with `delta < 1`.
    pub contractive: bool,
    /// Which widths it has.
    pub widths: CompressorWidths,
    /// Whether it is wrapped in error feedback.
    pub error_feedback: bool,
}

/// The bits per coordinate that a compressor can spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompressorWidths {
    /// What a plan gives the worker.
    Adjustable,
    /// Always this many, as the plan counts them.
    Fixed(u8),
}

/// Error feedback needs weights that are known before the round: the memory holds what was left out of
/// a message in units of the message, and a weight that changes from round to round would pay back
/// another amount than was withheld.
pub(super) fn fixed_weights_under_feedback(
    compressor: &CompressorTraits,
    decoding: impl std::fmt::Display,
) -> Result<(), String> {
    if compressor.error_feedback {
        return Err(format!(
            "{decoding} decoding weighs a worker differently in every round, and error feedback would \
             pay back another amount than was withheld"
        ));
    }
    Ok(())
}

/// For designs that minimise Lemma 1 of Song & Choi 2026, which assumes `E[Q(x)] = x`. Under error
/// feedback the estimate is not unbiased round by round in any case, and nothing is asked here.
pub(super) fn unbiased_or_feedback(compressor: &CompressorTraits) -> Result<(), String> {
    if compressor.unbiased || compressor.error_feedback {
        return Ok(());
    }
    Err(format!(
        "its bits and code minimise an error bound that holds for unbiased compressors only, and {:?} is \
         biased",
        compressor.name
    ))
}
