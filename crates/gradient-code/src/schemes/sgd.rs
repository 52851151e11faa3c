//! Centralised SGD: the true gradient, as a reference for all others.
//!
//! Contiguous blocks of partitions, unquantized messages, `w = 1`, and nobody is ever late
//! ([`crate::Plan::no_straggling`]): the decoded gradient is the sum over all partitions up to
//! rounding of f32. The budget does not apply to it, nor do the straggle probabilities, except that a
//! dead worker (`p_i = 1`) leaves its block to the others.

use super::is_sgd::blocks;
use super::{Scheme, SchemeConfig, plain};
use crate::plan::PASSTHROUGH_BITS;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct Sgd;

impl Scheme for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn summary(&self) -> &'static str {
        "the true gradient: unquantized, and the round waits for everybody"
    }

    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    fn design(
        &self,
        _config: &SchemeConfig,
        setting: &Setting,
        _budget: &Budget,
    ) -> Result<Design, PlanError> {
        let k = setting.straggle_probabilities.len();
        let code = blocks(setting)?;
        Ok(Design {
            code,
            bits: vec![PASSTHROUGH_BITS; k],
            block_code: None,
            decoder: plain(k),
            weights: vec![0.0; k],
            eta: 1.0,
            no_straggling: true,
            incomplete: false,
        })
    }
}
