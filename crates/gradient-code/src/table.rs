//! A plan as a table for people.

use std::fmt;

use crate::decoder::{Decoder, SecondTrack};
use crate::plan::{PASSTHROUGH_BITS, Plan, WorkerPlan};

/// Longer lists of workers are cut in the middle.
const MOST_ROWS: usize = 64;
const HEAD: usize = 48;
const TAIL: usize = 8;

impl fmt::Display for Plan {
    /// The predictions; for biased schemes how much the partitions count, and how many are lost; then one
    /// row per worker: how often it is late, bits per coordinate, decoding
    /// weight (and that of the second track, if it is not proportional), number of partitions, the sum
    /// of their coefficients, and which they are. Of more than 64 workers the middle is left out.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let prediction = &self.prediction;
        writeln!(
            f,
            "scheme {}: {} workers, {} partitions, computation load {:.3}",
            self.scheme,
            self.k(),
            self.partitions,
            prediction.computation_load
        )?;
        let (bound, in_design) = (prediction.error_bound_unscaled, prediction.error_bound);
        write!(
            f,
            "S = {:.6}, error bound {bound:.6} C",
            prediction.scaling_s
        )?;
        // Where eta is not 1 the design weighs noise otherwise than the bound does.
        if (in_design - bound).abs() > 1e-9 * bound.abs() {
            write!(f, " (in the design's weights {in_design:.6} C)")?;
        }
        writeln!(
            f,
            ", {}",
            match (&self.decoder, prediction.unbiased) {
                (Decoder::PerRound(_), true) => "unbiased, weights chosen per round",
                (Decoder::PerRound(_), false) => "weights chosen per round",
                (_, true) => "unbiased",
                (_, false) => "biased",
            }
        )?;
        write!(
            f,
            "bits per coordinate: {} offered, {:.3} expected",
            prediction.bits_per_coordinate_offered, prediction.bits_per_coordinate_expected
        )?;
        if self.blocks() > 1 {
            write!(f, "; messages of 1/{} of the model", self.blocks())?;
        }
        if let Decoder::Fixed {
            second: Some(SecondTrack::Scaled(kappa)),
            ..
        } = &self.decoder
        {
            write!(f, "; second track {kappa:.7} x the first")?;
        }
        writeln!(f)?;
        if let (Some(coefficients), false) = (self.expected_coefficients(), prediction.unbiased) {
            let least = coefficients.iter().copied().fold(f64::INFINITY, f64::min);
            let most = coefficients
                .iter()
                .copied()
                .fold(f64::NEG_INFINITY, f64::max);
            if (least - 1.0).abs().max((most - 1.0).abs()) < 1e-9 {
                writeln!(
                    f,
                    "in the mean a partition counts 1: only messages are biased"
                )?;
            } else {
                writeln!(f, "in the mean a partition counts {least:.4} to {most:.4}")?;
            }
        }
        let unassigned = self.unassigned().len();
        if unassigned > 0 {
            writeln!(f, "nobody holds {unassigned} of the partitions")?;
        }
        self.rows(f)
    }
}

impl Plan {
    fn rows(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (weights, second) = match &self.decoder {
            Decoder::Fixed { weights, second } => (
                Some(weights),
                match second {
                    Some(SecondTrack::Weights(weights)) => Some(weights),
                    _ => None,
                },
            ),
            Decoder::PerRound(_) => (None, None),
        };
        write!(f, "{:>6} {:>9} {:>5}", "worker", "late", "bits")?;
        if weights.is_some() {
            write!(f, " {:>11}", "weight")?;
        }
        if second.is_some() {
            write!(f, " {:>11}", "second")?;
        }
        writeln!(f, " {:>5} {:>10}  partitions", "load", "share")?;
        let k = self.k();
        for (i, worker) in self.workers.iter().enumerate() {
            if k > MOST_ROWS && (HEAD..k - TAIL).contains(&i) {
                if i == HEAD {
                    writeln!(f, "{:>6} {} more workers", "..", k - HEAD - TAIL)?;
                }
                continue;
            }
            write!(f, "{i:>6} {:>9.6}", worker.straggle_probability)?;
            match worker.bits {
                0 => write!(f, " {:>5}", "-")?,
                PASSTHROUGH_BITS => write!(f, " {:>5}", "f32")?,
                bits => write!(f, " {bits:>5}")?,
            }
            for weights in [weights, second].into_iter().flatten() {
                write!(f, " {:>11.6}", weights[i])?;
            }
            writeln!(
                f,
                " {:>5} {:>10.6}  {}",
                worker.load(),
                worker.row_sum(),
                partitions(worker)
            )?;
        }
        Ok(())
    }
}

/// `3-5,9` for what a worker holds; `idle` for nothing.
fn partitions(worker: &WorkerPlan) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &(partition, _) in &worker.assignment {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == partition => *last = partition,
            _ => runs.push((partition, partition)),
        }
    }
    if runs.is_empty() {
        return "idle".to_owned();
    }
    let name = |&(first, last): &(usize, usize)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    runs.iter().map(name).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_listed_as_runs() {
        let holding = |partitions: &[usize]| {
            super::partitions(&WorkerPlan {
                straggle_probability: 0.5,
                bits: 4,
                assignment: partitions.iter().map(|&j| (j, 1.0)).collect(),
            })
        };
        assert_eq!(holding(&[]), "idle");
        assert_eq!(holding(&[0, 3, 4, 5, 9]), "0,3-5,9");
    }
}
