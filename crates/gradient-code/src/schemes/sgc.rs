//! SGC: stochastic gradient coding (Bitar, Wootters and El Rouayheb 2020, arXiv 1905.05383).
//!
//! Partition `j` is at `d_j` workers with `a_ij = 1 / (d_j (1 - p_i))`, and every message counts as it is,
//! `w = 1`: **unbiased**. The original has one probability for all workers; dividing by each worker's own
//! `1 - p_i` is how Song & Choi 2026 run it with different ones.
//!
//! Which workers: pairwise balanced where such an assignment is known, drawn uniformly otherwise
//! ([`crate::assignment`] says how rarely the former), or cyclic. Where workers have died and the rest
//! cannot be balanced any more, the assignment is drawn. `d_j` is the load rounded up or
//! down such that the mean is exact, and the number of living workers if there are fewer. (The
//! authors' runs draw `d_j` from 0 to 4; a partition with `d_j = 0` would be lost.) Equal bits.

use super::{Assignment, Scheme, SchemeConfig, checked_load, plain};
use crate::assignment::{balanced_parameters, cyclic, pairwise_balanced, random, sizes};
use crate::code::CodeMatrix;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct Sgc;

impl Scheme for Sgc {
    fn name(&self) -> &'static str {
        "sgc"
    }

    fn summary(&self) -> &'static str {
        "each partition at d workers, weighed by 1/(d (1 - p_i)), equal bits"
    }

    fn options(&self) -> &'static [&'static str] {
        &["load", "assignment"]
    }

    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        design(self.name(), config, setting, budget)
    }
}

/// The code of stochastic gradient coding, for every scheme that shares it.
pub(super) fn design(
    scheme: &'static str,
    config: &SchemeConfig,
    setting: &Setting,
    budget: &Budget,
) -> Result<Design, PlanError> {
    let p = setting.straggle_probabilities;
    let holders = holders(scheme, config, setting)?;
    let code = CodeMatrix::from_holders(p.len(), &holders, |worker, partition| {
        (holders[partition].len() as f64 * (1.0 - p[worker])).recip()
    })?;
    Design::with_equal_bits(code, plain(p.len()), setting, budget)
}

/// Which workers hold each partition.
fn holders(
    scheme: &'static str,
    config: &SchemeConfig,
    setting: &Setting,
) -> Result<Vec<Vec<usize>>, PlanError> {
    let n = setting.partitions;
    let load = checked_load(scheme, config.load, 1.0, setting)?;
    let alive = setting.alive();
    let sizes = sizes(n, load);
    let among = |load: f64, workers: &[usize]| {
        let whole = load.fract() == 0.0;
        whole.then(|| pairwise_balanced(n, load as usize, workers))?
    };
    let balanced = || among(load, &alive);
    let everybody: Vec<usize> = (0..setting.straggle_probabilities.len()).collect();
    Ok(match config.assignment {
        Assignment::Cyclic => cyclic(&sizes, &alive),
        Assignment::Random => drawn(&sizes, &alive, setting),
        Assignment::Auto => balanced().unwrap_or_else(|| drawn(&sizes, &alive, setting)),
        // A run goes on without some of them.
        Assignment::PairwiseBalanced
            if alive.len() < everybody.len() && among(config.load, &everybody).is_some() =>
        {
            balanced().unwrap_or_else(|| drawn(&sizes, &alive, setting))
        }
        Assignment::PairwiseBalanced => balanced().ok_or_else(|| PlanError::Parameters {
            scheme: scheme.to_owned(),
            load,
            workers: alive.len(),
            partitions: n,
            requirement:
                "a pairwise-balanced assignment needs d^2/k to be whole, fewer partitions than \
                          workers unless d = k, and a known construction"
                    .to_owned(),
            nearest: balanced_parameters(alive.len())
                .iter()
                .map(|known| match known.partitions {
                    Some(most) => format!("load {} with up to {most} partitions", known.load),
                    None => format!("load {} with any number", known.load),
                })
                .collect::<Vec<_>>()
                .join(", "),
        })?,
    })
}

fn drawn(sizes: &[usize], alive: &[usize], setting: &Setting) -> Vec<Vec<usize>> {
    let workers = setting.straggle_probabilities.len();
    random(sizes, alive, workers, setting.seed)
}
