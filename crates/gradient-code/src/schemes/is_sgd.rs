//! IS-SGD: every partition at one worker, stragglers ignored.
//!
//! Contiguous blocks of `n/k` partitions (the identity when `n = k`; sizes differ by one where `k` does
//! not divide `n`, and some workers stay idle where `n < k`), `a = 1`, `w = 1`, equal bits. **Biased**:
//! partition `j` enters the expected gradient with `1 - p_i` of its worker, and nothing corrects it, so
//! data at slow workers counts for less.

use super::equal_bits::equal_bits;
use super::{Scheme, SchemeConfig};
use crate::code::CodeMatrix;
use crate::decoder::Decoder;
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
        let (code, holders) = blocks(setting)?;
        let p: Vec<f64> = holders
            .iter()
            .map(|&worker| setting.straggle_probabilities[worker])
            .collect();
        let total_bits = budget.usable(holders.len(), holders.len())?;
        let equal = equal_bits(&p, total_bits);

        let mut bits = vec![0; k];
        let mut weights = vec![f64::INFINITY; k];
        for ((&worker, &p), &z) in holders.iter().zip(&p).zip(&equal) {
            bits[worker] = z;
            weights[worker] = (p + setting.variance(z)) / (1.0 - p);
        }
        Ok(Design {
            code,
            bits,
            decoder: Decoder::Fixed {
                weights: vec![1.0; k],
                second: None,
            },
            weights,
            eta: 1.0,
            no_straggling: false,
        })
    }
}

/// Contiguous blocks over the workers that live, with coefficient 1; and who got one.
pub(super) fn blocks(setting: &Setting) -> Result<(CodeMatrix, Vec<usize>), PlanError> {
    let n = setting.partitions;
    let alive = setting.alive();
    let k = alive.len();
    let mut rows = vec![Vec::new(); setting.straggle_probabilities.len()];
    for (m, &worker) in alive.iter().enumerate() {
        rows[worker] = (m * n / k..(m + 1) * n / k).map(|j| (j, 1.0)).collect();
    }
    let holders = alive.into_iter().filter(|&w| !rows[w].is_empty()).collect();
    Ok((CodeMatrix::new(n, rows)?, holders))
}
