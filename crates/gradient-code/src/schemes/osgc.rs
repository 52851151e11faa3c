//! OSGC (arXiv 2510.22539): the optimal code when quantization is ignored, with equal bits.
//!
//! Theorem 1 with `phi = 0`, `c_i = p_i / (1 - p_i)`. The paper's Schemes I and II and the overlap
//! construction have equal row sums and loads; only the last keeps the bound (see
//! [`crate::osgc_construction`]). Bits are equal, the remainder going to the most reliable.

use super::equal_bits::{equal_bits, most_reliable_first};
use super::{Construction, Scheme, SchemeConfig};
use crate::decoder::Decoder;
use crate::osgc_construction::{default_holdings, scheme_one, scheme_two};
use crate::overlap;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct Osgc;

impl Scheme for Osgc {
    fn name(&self) -> &'static str {
        "osgc"
    }

    fn summary(&self) -> &'static str {
        "code designed for the workers' reliability alone, equal bits"
    }

    fn options(&self) -> &'static [&'static str] {
        &["construction"]
    }

    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        let k = setting.straggle_probabilities.len();
        let n = setting.partitions;
        let alive = setting.alive();
        let p = super::probabilities_of(&alive, setting, self.name())?;
        let total_bits = budget.usable(alive.len(), alive.len())?;
        let bits = equal_bits(
            &setting.reference_probabilities(&alive, total_bits),
            total_bits,
        );

        let utilities: Vec<f64> = p.iter().map(|p| (1.0 - p) / p).collect();
        let row_sums = overlap::optimal_row_sums(&utilities, n)?;
        let code = match config.construction {
            Construction::Overlap => overlap::overlap(&row_sums, n)?.scatter(&alive, k),
            Construction::SchemeOne | Construction::SchemeTwo => {
                // These are stated for workers in order of reliability.
                let order = most_reliable_first(&p);
                let sorted: Vec<f64> = order.iter().map(|&m| row_sums[m]).collect();
                let of: Vec<usize> = order.iter().map(|&m| alive[m]).collect();
                let code = if config.construction == Construction::SchemeOne {
                    scheme_one(&sorted, n, &default_holdings("I", alive.len(), n)?)?
                } else {
                    scheme_two(&sorted, n, &default_holdings("II", alive.len(), n)?)?
                };
                code.scatter(&of, k)
            }
        };

        let mut design = Design {
            code,
            bits: vec![0; k],
            block_code: None,
            decoder: Decoder::Fixed {
                weights: super::inverse_arrival(setting),
                second: None,
            },
            weights: vec![f64::INFINITY; k],
            eta: 0.0,
            no_straggling: false,
            incomplete: false,
        };
        for ((&worker, &bits), &utility) in alive.iter().zip(&bits).zip(&utilities) {
            design.bits[worker] = bits;
            design.weights[worker] = utility.recip();
        }
        Ok(design)
    }
}
