//! What a decoder with weights per round does on average, by seeded Monte Carlo when a plan is made.

use counter_rng::{CounterRng, Purpose, rng};
use rand::RngExt;
use rayon::prelude::*;

use super::{DecodeError, Normal, PerRound, Rule};
use crate::block_code::{BlockCode, Fold, column};
use crate::plan::WorkerPlan;

/// Rounds are drawn as iterations that no run reaches, below the one of plan-time draws.
const LAST_ITERATION: u64 = u64::MAX - 1;

/// The stream of who is late; those of the diagonals are the workers.
const LATENESS: u64 = u64::MAX;

/// Means over responder sets, and over the diagonals of codes that are redrawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectation {
    /// `E||B_S R - F||_F^2` of the weights as they are used.
    pub residual: f64,
    /// Standard error of the mean in `residual`.
    pub residual_error: f64,
    /// `E[tr(F^T B_S R)] / (m n)`, the mean coefficient of a gradient block in its own estimate.
    pub alignment: f64,
    /// `E[||B(:,i)||^2 ||R(i,:)||^2]` by worker, with 0 for rounds in which it is late.
    pub noise: Vec<f64>,
}

/// What one round contributes; `noise` has only the responders.
struct Round {
    residual: f64,
    alignment: f64,
    noise: Vec<(usize, f64)>,
}

/// Draws rounds in which worker `i` is late with probability `p_i`, and averages. Deterministic.
///
/// Rounds in which nobody answers have their exact probability; only the others are drawn: as many as
/// cost about as much as `20000 most` multiplications, between 64 and `most`. Responders are taken to
/// arrive in the order of their numbers.
pub(crate) fn expectation(
    workers: &[WorkerPlan],
    partitions: usize,
    block_code: Option<&BlockCode>,
    decoder: &PerRound,
    most: u32,
    seed: u64,
) -> Result<Expectation, DecodeError> {
    let blocks = block_code.map_or(1, BlockCode::blocks);
    let p: Vec<f64> = workers
        .iter()
        .map(|worker| match worker.is_idle() {
            true => 1.0,
            false => worker.straggle_probability,
        })
        .collect();
    let responders: f64 = p.iter().map(|p| 1.0 - p).sum();
    let entries: usize = workers.iter().map(|w| w.load() * blocks).sum();
    let cost = responders.powi(3) / 6.0 + 40.0 * entries as f64 + 200.0;
    let most = f64::from(most);
    let rounds = (20_000.0 * most / cost).clamp(64.0, most.max(64.0)) as u64;
    // 1 - prod p_i, with all of its digits.
    let somebody = -p.iter().map(|p| p.ln()).sum::<f64>().exp_m1();

    let drawn = (0..rounds)
        .into_par_iter()
        .map(|round| {
            let iteration = LAST_ITERATION - round;
            let mut late = rng(seed, Purpose::Code, iteration, LATENESS);
            let responders = at_least_one(&p, somebody, &mut late);
            let columns: Vec<Vec<(usize, f64)>> = responders
                .iter()
                .map(|&i| {
                    let held = &workers[i].assignment;
                    let fold =
                        block_code.map_or(Fold::Whole, |code| code.fold(i, held.len(), iteration));
                    column(&fold, held, partitions, blocks)
                })
                .collect();
            one_round(&responders, columns, partitions, blocks, decoder)
        })
        .collect::<Result<Vec<Round>, DecodeError>>()?;

    let count = rounds as f64;
    let everything = (partitions * blocks) as f64;
    let mean = |value: fn(&Round) -> f64| drawn.iter().map(value).sum::<f64>() / count;
    let residual = mean(|round| round.residual);
    let spread: f64 = drawn
        .iter()
        .map(|round| (round.residual - residual).powi(2))
        .sum();
    let mut noise = vec![0.0; workers.len()];
    for &(worker, value) in drawn.iter().flat_map(|round| &round.noise) {
        noise[worker] += somebody * value / count;
    }
    Ok(Expectation {
        residual: somebody * residual + (1.0 - somebody) * everything,
        residual_error: somebody * (spread / (count - 1.0) / count).sqrt(),
        alignment: somebody * mean(|round| round.alignment) / everything,
        noise,
    })
}

/// Who answers, given that somebody does, which has probability `somebody`: the first of them is `i` with
/// probability `p_1 .. p_(i-1) (1 - p_i) / somebody`, and those behind are independent.
fn at_least_one(p: &[f64], somebody: f64, random: &mut CounterRng) -> Vec<usize> {
    let mut left = random.random::<f64>() * somebody;
    let (mut nobody_before, mut first) = (1.0, None);
    for (i, p) in p.iter().enumerate().filter(|(_, p)| **p < 1.0) {
        first = Some(i);
        left -= nobody_before * (1.0 - p);
        if left < 0.0 {
            break;
        }
        nobody_before *= p;
    }
    let mut responders: Vec<usize> = first.into_iter().collect();
    for (i, &p) in p.iter().enumerate().skip(first.map_or(p.len(), |i| i + 1)) {
        if random.random::<f64>() >= p {
            responders.push(i);
        }
    }
    responders
}

fn one_round(
    responders: &[usize],
    columns: Vec<Vec<(usize, f64)>>,
    partitions: usize,
    blocks: usize,
    decoder: &PerRound,
) -> Result<Round, DecodeError> {
    let everything = (partitions * blocks) as f64;
    let squares: Vec<f64> = columns
        .iter()
        .map(|column| column.iter().map(|(_, value)| value * value).sum())
        .collect();
    let (residual, alignment, row_norms) = if decoder.rule == Rule::LeastSquares {
        let penalties = responders
            .iter()
            .zip(&columns)
            .map(|(&worker, column)| decoder.penalty(worker, column))
            .collect();
        let normal = Normal::new(columns, partitions, blocks, penalties);
        let all: Vec<usize> = (0..responders.len()).collect();
        let solution = normal.solve(&all)?;
        // For the rescaled weights: ||c B R - F||^2 = c^2 ||B R||^2 - 2 c tr(F^T B R) + m n.
        let c = decoder.rescale;
        let square = solution.residual + 2.0 * solution.alignment - everything;
        let residual = c * c * square - 2.0 * c * solution.alignment + everything;
        let norms = solution.row_norms.iter().map(|norm| c * c * norm).collect();
        (residual, c * solution.alignment, norms)
    } else {
        let round = decoder.weigh(responders, &columns, partitions, blocks)?;
        let norms: Vec<f64> = round.weights.iter().map(|weight| weight * weight).collect();
        let alignment = columns
            .iter()
            .zip(&round.weights)
            .map(|(column, weight)| weight * column.iter().map(|(_, a)| a).sum::<f64>())
            .sum();
        (round.residual, alignment, norms)
    };
    let noise = responders
        .iter()
        .zip(squares.iter().zip(row_norms))
        .map(|(&worker, (square, norm))| (worker, square * norm))
        .collect();
    Ok(Round {
        residual,
        alignment,
        noise,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(p: f64, partitions: &[usize]) -> WorkerPlan {
        WorkerPlan {
            straggle_probability: p,
            bits: 4,
            assignment: partitions.iter().map(|&j| (j, 1.0)).collect(),
        }
    }

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!(
            (actual - expected).abs() < tolerance,
            "{actual} is not {expected}"
        );
    }

    /// Replicas of one partition, and a worker of its own: everything has a closed form.
    #[test]
    fn replicas_in_closed_form() {
        let workers = [
            worker(0.5, &[0]),
            worker(0.5, &[0]),
            worker(0.2, &[1]),
            worker(1.0, &[]),
        ];
        let at =
            |decoder: &PerRound| expectation(&workers, 2, None, decoder, 16384, 1).expect("solved");
        let mean = at(&PerRound::default());
        // Partition 0 is lost with probability 1/4, partition 1 with 1/5.
        close(mean.residual, 0.45, 0.02);
        // Given an answer, one partition is lost with probability 0.35/0.95, else none.
        let spread = (0.35 * 0.60f64).sqrt();
        close(mean.residual_error, spread / 128.0, 2e-4);
        close(mean.alignment, 1.0 - 0.45 / 2.0, 0.01);
        // Alone with weight 1 (1/4), together with 1/2 (1/4).
        close(mean.noise[0], 0.25 + 0.25 * 0.25, 0.02);
        close(mean.noise[2], 0.8, 0.02);
        assert_eq!(mean.noise[3], 0.0);
        let twice = at(&PerRound {
            rescale: 2.0,
            ..PerRound::default()
        });
        // Found partitions have coefficient 2, an error of 1; lost ones have 1 as well.
        close(twice.residual, 2.0, 1e-9);
        close(twice.alignment, 2.0 * mean.alignment, 1e-9);
        // However unlikely an answer is, the mean knows of it.
        let never = [worker(1.0 - 1e-9, &[0]), worker(1.0 - 1e-9, &[0, 1])];
        let mean = expectation(&never, 2, None, &PerRound::default(), 64, 1).expect("solved");
        close(mean.alignment * 1e9, 1.5, 0.3);
        close(mean.residual, 2.0, 1e-8);
        let first = at(&PerRound::rule(Rule::FirstOfGroup {
            group: vec![0, 0, 1, 1],
        }));
        close(first.residual, 0.45, 0.02);
        close(first.alignment, 0.775, 0.01);
    }
}
