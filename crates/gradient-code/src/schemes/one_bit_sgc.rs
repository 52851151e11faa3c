//! 1-bit gradient coding (Li & Skoglund 2024): the code of SGC, one stochastic bit per coordinate.
//!
//! The encoding is that of [`super::sgc`], and the messages are `+-s` per coordinate with
//! `P(+s) = (1 + x_m / s) / 2`, so the estimate is unbiased. The scale `s` is the codec's choice.

use super::{CompressorTraits, Scheme, SchemeConfig, sgc};
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct OneBitSgc;

impl Scheme for OneBitSgc {
    fn name(&self) -> &'static str {
        "one-bit-sgc"
    }

    fn summary(&self) -> &'static str {
        "the code of sgc with one stochastic bit per coordinate"
    }

    fn options(&self) -> &'static [&'static str] {
        &["load", "assignment"]
    }

    fn compressor(&self) -> Option<&'static str> {
        Some("one-bit")
    }

    fn allows(&self, _config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        if !compressor.unbiased {
            return Err(format!(
                "it is defined by an unbiased quantizer, and {:?} is biased; coco and coco-ef are the same \
                 code with biased ones",
                compressor.name
            ));
        }
        if compressor.error_feedback {
            return Err(
                "it has no memory; coco-ef is the same code with error feedback".to_owned(),
            );
        }
        Ok(())
    }

    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        sgc::design(self.name(), config, setting, budget)
    }
}
