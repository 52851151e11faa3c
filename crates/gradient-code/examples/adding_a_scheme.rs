//! A scheme from outside the crate, as `docs/adding-a-scheme.md` walks through it.
//!
//! `cargo run -p gradient-code --example adding_a_scheme`

use gradient_code::schemes::Scheme;
use gradient_code::{
    Budget, CodeMatrix, CompressorTraits, Decoder, Design, PlanError, Scaling, SchemeConfig,
    Setting, SettingError, plan_with,
};

/// Every worker computes everything: the optimal code for given bits without regard to load (OSGC,
/// arXiv 2510.22539, eq 41).
struct Dense;

impl Scheme for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn summary(&self) -> &'static str {
        "every partition at every worker, weighed by reliability, equal bits"
    }

    fn options(&self) -> &'static [&'static str] {
        &[]
    }

    fn allows(&self, _config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        if compressor.unbiased {
            Ok(())
        } else {
            Err(format!(
                "its coefficients minimise an error that assumes unbiased messages, and {:?} is biased",
                compressor.name
            ))
        }
    }

    fn design(
        &self,
        _config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        // Who holds what: everybody alive, everything.
        let workers = setting.straggle_probabilities.len();
        let holders = vec![setting.alive(); setting.partitions];
        let code = CodeMatrix::from_holders(workers, &holders, |_, _| 1.0)?;

        // How messages are weighed: w_i = 1 / (1 - p_i), so that a_ij is what counts in the mean.
        let p = setting.straggle_probabilities;
        let decoder = Decoder::Fixed {
            weights: p.iter().map(|p| 1.0 / (1.0 - p)).collect(),
            second: None,
        };

        // Equal bits, and with them c_i = (p_i + phi(z_i)) / (1 - p_i), infinite for the dead.
        let mut design = Design::with_equal_bits(code, decoder, setting, budget)?;
        if let Some(worker) = design.weights.iter().position(|&c| c == 0.0) {
            return Err(PlanError::Setting(SettingError::NeverLate {
                worker,
                scheme: self.name().to_owned(),
            }));
        }

        // alpha_i^j = c_i^{-1} / S for all j: columns add up to 1, so the estimate is unbiased.
        let share: Vec<f64> = design.weights.iter().map(|c| 1.0 / c).collect();
        let s: f64 = share.iter().sum();
        design.code = CodeMatrix::from_holders(workers, &holders, |i, _| share[i] / s)?;
        Ok(design)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setting = Setting {
        partitions: 6,
        straggle_probabilities: &[0.1, 0.3, 0.5, 0.9],
        phi: &|bits| 4f64.powi(-i32::from(bits)),
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    let budget = Budget::mean(4.0, 4, 2, 16);
    let plan = plan_with(&Dense, &SchemeConfig::new("dense"), &setting, &budget, None)?;
    print!("{plan}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(p: &[f64]) -> Setting<'_> {
        Setting {
            partitions: 6,
            straggle_probabilities: p,
            phi: &|bits| 4f64.powi(-i32::from(bits)),
            scaling: Scaling::Factor(1.0),
            by_width: None,
            compressor_unbiased: true,
            seed: 0,
        }
    }

    #[test]
    fn it_is_unbiased_and_optimal() {
        let budget = Budget::mean(4.0, 4, 2, 16);
        for p in [[0.1, 0.3, 0.5, 0.9], [0.1, 1.0, 0.5, 0.9]] {
            let config = SchemeConfig::new("dense");
            let plan = plan_with(&Dense, &config, &setting(&p), &budget, None).expect("a plan");
            assert!(plan.prediction.unbiased);
            // Theorem 1: no unbiased code with these bits has a smaller bound than n^2 / S.
            let bound = 36.0 / plan.prediction.scaling_s;
            assert!((plan.prediction.error_bound / bound - 1.0).abs() < 1e-12);
            let alive = p.iter().filter(|&&p| p < 1.0).count();
            assert_eq!(plan.prediction.computation_load, alive as f64);
        }
    }

    #[test]
    fn what_it_cannot_do_is_an_error() {
        let budget = Budget {
            total_bits: 64,
            min_bits: 32,
            max_bits: 32,
        };
        let refused = plan_with(
            &Dense,
            &SchemeConfig::new("dense"),
            &setting(&[0.0, 0.5]),
            &budget,
            None,
        );
        assert!(matches!(
            refused,
            Err(PlanError::Setting(SettingError::NeverLate {
                worker: 0,
                ..
            }))
        ));
    }

    /// The page shows what is compiled here.
    #[test]
    fn the_page_quotes_this_file() {
        let page = include_str!("../../../docs/adding-a-scheme.md");
        let here = include_str!("adding_a_scheme.rs");
        let mut quoted = 0;
        for block in page.split("```rust\n").skip(1) {
            let block = block
                .split("```")
                .next()
                .expect("split gives one part at least");
            assert!(here.contains(block), "this is not in the example:\n{block}");
            quoted += 1;
        }
        assert!(quoted >= 5, "{quoted}");
    }
}
