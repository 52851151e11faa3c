//! CE-AGC: short messages that mix blocks of the gradients (Munim & Ramamoorthy 2026, arXiv 2603.22514).
//!
//! A regular assignment ([`crate::designs`]), a code over `m` blocks ([`crate::ce_agc`]) and least squares
//! in every round. Messages have `ceil(l / m)` coordinates, so at equal bits on the wire each coordinate
//! has `m` times as many: the widths add up to `m Z_tot`, equally, up to `max_bits` each (then the plan
//! offers fewer bits than the budget, which its prediction shows). Weights are solved for in f64 and
//! applied to messages in f32, so that where `||R||` is large rounding is amplified by it.
//!
//! *Normalised* (random diagonals, unless it is turned off) by `alpha`, which is estimated when the plan
//! is made, by Monte Carlo over diagonals and stragglers with their own probabilities. Unbiased then, up
//! to the error of that estimate, if all straggle probabilities are equal, the assignment is transitive
//! and all penalties are equal ([`crate::ce_agc`]); with other probabilities only the mean coefficient
//! is 1. Hadamard codes, for which nothing of the kind is proved, and the stacked baseline are used as
//! they are.
//!
//! The design is one for all workers. When some die their columns are gone, and a partition that has
//! lost all of its holders goes to the living worker that holds least, with the coefficients of the
//! first of them.

use super::allows::fixed_weights_under_feedback;
use super::{BlockDesign, CodeKind, CompressorTraits, Decoding, Ridge, Scheme, SchemeConfig};
use crate::block_code::BlockCode;
use crate::ce_agc;
use crate::code::CodeMatrix;
use crate::decoder::{Decoder, PerRound, expectation};
use crate::designs::RegularAssignment;
use crate::plan::WorkerPlan;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

/// Rounds that `alpha` is estimated from, at most.
const MOST_ROUNDS: u32 = 4096;

pub(super) struct CeAgc;

impl Scheme for CeAgc {
    fn name(&self) -> &'static str {
        "ce-agc"
    }

    fn summary(&self) -> &'static str {
        "short messages that mix blocks of the gradients, decoded by least squares in every round"
    }

    fn options(&self) -> &'static [&'static str] {
        &[
            "design",
            "degree",
            "blocks",
            "epsilon",
            "code",
            "ridge",
            "normalise",
        ]
    }

    fn allows(&self, _config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        fixed_weights_under_feedback(compressor, Decoding::Optimal)
    }

    fn unbiased_rounds(&self, config: &SchemeConfig, setting: &Setting, design: &Design) -> bool {
        let p = setting.straggle_probabilities;
        let equal = |bits: &[u8]| bits.windows(2).all(|pair| pair[0] == pair[1]);
        config.normalise
            && config.code == CodeKind::RandomDiagonal
            && config.design != BlockDesign::BiRegular
            && p.windows(2).all(|pair| pair[0] == pair[1])
            && (config.ridge != Ridge::Noise || equal(&design.bits))
    }

    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        let workers = setting.straggle_probabilities.len();
        let code = ce_agc::CeAgc::from_config(config, workers, setting.partitions, setting.seed)?;
        let mut block_code = code.block_code(setting.seed)?;
        let matrix = survivors(code.assignment(), &mut block_code, setting)?;

        let wider = Budget {
            total_bits: budget.total_bits.saturating_mul(config.blocks as u64),
            ..*budget
        };
        let decoder = Decoder::PerRound(PerRound::default());
        let mut design = Design::with_equal_bits(matrix, decoder, setting, &wider)?;
        let mut decoder = self.decoder(config, setting, &design.bits);
        if config.normalise && config.code == CodeKind::RandomDiagonal {
            let alpha = self.mean_coefficient(setting, &design, &block_code, &decoder)?;
            decoder.rescale = alpha.recip();
        }
        design.decoder = Decoder::PerRound(decoder);
        design.block_code = Some(block_code);
        Ok(design)
    }
}

impl CeAgc {
    fn decoder(&self, config: &SchemeConfig, setting: &Setting, bits: &[u8]) -> PerRound {
        match config.ridge {
            Ridge::Value(ridge) => PerRound::least_squares(ridge),
            Ridge::Noise => {
                let variance = |&bits: &u8| match bits {
                    0 => 0.0,
                    bits => setting.variance(bits),
                };
                PerRound {
                    noise: Some(bits.iter().map(variance).collect()),
                    ..PerRound::default()
                }
            }
        }
    }

    /// `alpha` for this decoder.
    fn mean_coefficient(
        &self,
        setting: &Setting,
        design: &Design,
        block_code: &BlockCode,
        decoder: &PerRound,
    ) -> Result<f64, PlanError> {
        let workers: Vec<WorkerPlan> = design
            .code
            .rows()
            .iter()
            .zip(&design.bits)
            .zip(setting.straggle_probabilities)
            .map(|((row, &bits), &straggle_probability)| WorkerPlan {
                straggle_probability,
                bits,
                assignment: row.clone(),
            })
            .collect();
        decoder.validate(&workers, block_code.blocks())?;
        let mean = expectation(
            &workers,
            design.code.partitions(),
            Some(block_code),
            decoder,
            MOST_ROUNDS,
            setting.seed,
        )?;
        Ok(mean.alignment)
    }
}

/// The assignment without the dead, whose orphaned partitions are adopted.
fn survivors(
    assignment: &RegularAssignment,
    block_code: &mut BlockCode,
    setting: &Setting,
) -> Result<CodeMatrix, PlanError> {
    let blocks = block_code.blocks();
    let alive = setting.alive();
    // Per worker, the partitions with their block coefficients, if these are fixed.
    let mut rows: Vec<Vec<(usize, Vec<f64>)>> = vec![Vec::new(); assignment.workers()];
    let coefficients = |worker: usize, held: usize| match &*block_code {
        BlockCode::Fixed { coefficients, .. } => {
            coefficients[worker][held * blocks..][..blocks].to_vec()
        }
        BlockCode::RandomDiagonal { .. } => Vec::new(),
    };
    for &worker in &alive {
        for (h, &partition) in assignment.held()[worker].iter().enumerate() {
            rows[worker].push((partition, coefficients(worker, h)));
        }
    }
    for (partition, holders) in assignment.holders().iter().enumerate() {
        let orphaned = holders.iter().all(|worker| !alive.contains(worker));
        let adopter = alive.iter().min_by_key(|&&worker| rows[worker].len());
        if let (true, Some(&adopter), Some(&dead)) = (orphaned, adopter, holders.first()) {
            let h = assignment.held()[dead].iter().position(|&j| j == partition);
            rows[adopter].push((partition, coefficients(dead, h.unwrap_or(0))));
            rows[adopter].sort_by_key(|&(partition, _)| partition);
        }
    }
    if let BlockCode::Fixed { coefficients, .. } = block_code {
        *coefficients = rows
            .iter()
            .map(|row| row.iter().flat_map(|(_, values)| values.clone()).collect())
            .collect();
    }
    let rows = rows
        .into_iter()
        .map(|row| {
            row.into_iter()
                .map(|(partition, _)| (partition, 1.0))
                .collect()
        })
        .collect();
    Ok(CodeMatrix::new(assignment.partitions(), rows)?)
}
