//! IS-SGD: every partition at one worker, stragglers ignored.
//!
//! Contiguous blocks of `n/k` partitions (the identity when `n = k`; sizes differ by one where `k` does
//! not divide `n`, and some workers stay idle where `n < k`), `a = 1`, `w = 1`, equal bits. **Biased**:
//! partition `j` enters the expected gradient with `1 - p_i` of its worker, and nothing corrects it, so
//! data at slow workers counts for less.

use super::{Scheme, SchemeConfig, plain};
use crate::code::CodeMatrix;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct IsSgd;

impl Scheme for IsSgd {
    fn name(&self) -> &'static str {
        "is-sgd"
    }

    fn summary(&self) -> &'static str {
        "each partition at one worker, stragglers ignored (biased), equal bits"
    }

    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    fn design(
        &self,
        _config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        let k = setting.straggle_probabilities.len();
        Design::with_equal_bits(blocks(setting)?, plain(k), setting, budget)
    }
}

/// Contiguous blocks over the workers that live, with coefficient 1.
pub(super) fn blocks(setting: &Setting) -> Result<CodeMatrix, PlanError> {
    let n = setting.partitions;
    let alive = setting.alive();
    let k = alive.len();
    let mut rows = vec![Vec::new(); setting.straggle_probabilities.len()];
    for (m, &worker) in alive.iter().enumerate() {
        rows[worker] = (m * n / k..(m + 1) * n / k).map(|j| (j, 1.0)).collect();
    }
    Ok(CodeMatrix::new(n, rows)?)
}
