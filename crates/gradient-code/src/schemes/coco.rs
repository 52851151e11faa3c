//! COCO-EF and COCO (Li, Skoglund & Xiao 2026, arXiv 2603.16353): the code of SGC with biased messages.
//!
//! Both encode as [`super::sgc`] does (eq 3; the paper has one `p` for all, here each worker has its own)
//! and decode with `w = 1` (eqs 9-10). COCO-EF sends `C(gamma g_i + e_i)` and remembers the rest,
//! `e_i <- gamma g_i + e_i - C(.)` (eqs 4 and 7), a late worker keeping its memory and discarding its
//! gradient; COCO does not remember. The memory is the run's business; what a plan predicts is one round
//! without it: the bound holds for COCO, and for COCO-EF before anything has been remembered.

use super::{CompressorTraits, Scheme, SchemeConfig, sgc};
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

const OPTIONS: &[&str] = &["load", "assignment"];

/// Without error feedback.
pub(super) struct Coco;

impl Scheme for Coco {
    fn name(&self) -> &'static str {
        "coco"
    }

    fn summary(&self) -> &'static str {
        "the code of sgc with a biased compressor and no memory"
    }

    fn options(&self) -> &'static [&'static str] {
        OPTIONS
    }

    fn compressor(&self) -> Option<&'static str> {
        Some("sign")
    }

    fn allows(&self, _config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        if compressor.error_feedback {
            return Err("coco is coco-ef without error feedback; use coco-ef".to_owned());
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

/// With error feedback.
pub(super) struct CocoEf;

impl Scheme for CocoEf {
    fn name(&self) -> &'static str {
        "coco-ef"
    }

    fn summary(&self) -> &'static str {
        "the code of sgc with a biased compressor and error feedback"
    }

    fn options(&self) -> &'static [&'static str] {
        OPTIONS
    }

    fn compressor(&self) -> Option<&'static str> {
        Some("sign")
    }

    fn error_feedback(&self) -> bool {
        true
    }

    fn allows(&self, _config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        if !compressor.error_feedback {
            return Err("coco-ef without error feedback is coco; use coco".to_owned());
        }
        if !compressor.contractive {
            return Err(format!(
                "{:?} may leave out more than it is given (E||C(x) - x||^2 >= ||x||^2), and a memory of \
                 that grows without bound; use a contractive compressor (sign, top-k) or shrink its messages",
                compressor.name
            ));
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
