//! Gradients against differences, additivity, files, and that it learns.

use super::*;
use crate::optimizer::{OptimizerConfig, Second};
use std::path::Path;

const LOSSES: [MlpLoss; 2] = [MlpLoss::CrossEntropy, MlpLoss::SquaredError];

fn config(loss: MlpLoss) -> MlpConfig {
    MlpConfig {
        hidden: 6,
        loss,
        digits: DigitSource::Synthetic {
            samples: 60,
            noise: 0.3,
        },
        partitions: 4,
        ..MlpConfig::default()
    }
}

fn coded(problem: &mut Mlp, x: &[f32], t: u64, assignment: &[(usize, f64)]) -> Vec<f32> {
    let mut gradient = vec![f32::NAN; x.len()];
    problem
        .coded_gradient(x, t, assignment, &mut gradient)
        .unwrap();
    gradient
}

/// Mean loss over all samples by the partitions' losses, in f64.
fn mean_loss(problem: &mut Mlp, x: &[f32]) -> f64 {
    let all: Vec<_> = (0..problem.partitions()).map(|j| (j, 0.0)).collect();
    let mut gradient = vec![0.0; x.len()];
    let losses = problem.coded_gradient(x, 0, &all, &mut gradient).unwrap();
    losses.iter().map(|l| l.loss).sum::<f64>() / losses.len() as f64
}

#[test]
fn the_paper_has_101_770_parameters() {
    assert_eq!(parameter_count(128), 101_770);
    let problem = Mlp::new(&MlpConfig::default()).unwrap();
    let description = problem.describe();
    let last = description.slots.last().unwrap();
    assert_eq!(last.offset + last.len(), 101_770);
    assert_eq!(
        (description.training_samples, description.validation_samples),
        (1000, 200)
    );
}

/// Central differences in every kind of parameter. With seed 3 no sample is within a step of the kink
/// of a ReLU; one in seed 1 is, where the difference quotient is off by half that sample's slope.
#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    for loss in LOSSES {
        let mut problem = Mlp::new(&MlpConfig {
            seed: 3,
            ..config(loss)
        })
        .unwrap();
        let mut x = problem.initial_parameters();
        // away from the zero biases
        x.iter_mut()
            .enumerate()
            .for_each(|(i, x)| *x += 0.05 * (i as f32 * 0.9).sin());
        let everything: Vec<_> = (0..4).map(|j| (j, 0.25)).collect();
        let gradient = coded(&mut problem, &x, 0, &everything);
        let slots = problem.describe().slots;
        for slot in &slots {
            // the most telling entry and two others
            let range = slot.offset..slot.offset + slot.len();
            let top = range
                .clone()
                .max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs()))
                .unwrap();
            for i in [top, range.start, range.end - 1] {
                let step = 2e-4f32;
                let mut at = |shift: f32| {
                    let mut moved = x.clone();
                    moved[i] += shift;
                    mean_loss(&mut problem, &moved)
                };
                let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
                let error = (difference - f64::from(gradient[i])).abs();
                assert!(
                    error < 1e-4,
                    "{loss}, {}[{}]: {difference} against {}",
                    slot.name,
                    i - slot.offset,
                    gradient[i]
                );
            }
        }
    }
}

#[test]
fn coded_gradients_are_the_sum_of_partition_gradients() {
    for batch in [0, 5] {
        let mut problem = Mlp::new(&MlpConfig {
            batch,
            ..config(MlpLoss::CrossEntropy)
        })
        .unwrap();
        let x = problem.initial_parameters();
        let assignment = [(0, 0.3), (2, -1.5), (3, 1.0)];
        let together = coded(&mut problem, &x, 3, &assignment);
        let mut sum = vec![0.0f64; x.len()];
        for (j, a) in assignment {
            let alone = coded(&mut problem, &x, 3, &[(j, 1.0)]);
            sum.iter_mut()
                .zip(&alone)
                .for_each(|(s, g)| *s += a * f64::from(*g));
        }
        let scale = sum.iter().fold(0.0f64, |m, s| m.max(s.abs()));
        for (found, expected) in together.iter().zip(&sum) {
            assert!((f64::from(*found) - expected).abs() < 1e-5 * scale);
        }
    }
}

#[test]
fn a_partition_gradient_depends_on_nothing_else() {
    let fresh = || {
        Mlp::new(&MlpConfig {
            batch: 5,
            ..config(MlpLoss::CrossEntropy)
        })
        .unwrap()
    };
    let mut walked = fresh();
    let x = walked.initial_parameters();
    for t in 0..7 {
        coded(&mut walked, &x, t, &[(1, 1.0), (2, 0.5)]);
    }
    assert_eq!(
        coded(&mut walked, &x, 2, &[(1, 1.0)]),
        coded(&mut fresh(), &x, 2, &[(1, 1.0)])
    );
    assert_ne!(
        coded(&mut walked, &x, 2, &[(1, 1.0)]),
        coded(&mut walked, &x, 3, &[(1, 1.0)])
    );
    let other = Mlp::new(&MlpConfig {
        seed: 2,
        ..config(MlpLoss::CrossEntropy)
    });
    assert_ne!(other.unwrap().initial_parameters(), x);
}

#[test]
fn it_learns_held_out_digits() {
    for (loss, rate) in [(MlpLoss::CrossEntropy, 0.1), (MlpLoss::SquaredError, 1.0)] {
        let mut problem = Mlp::new(&MlpConfig {
            hidden: 32,
            loss,
            digits: DigitSource::Synthetic {
                samples: 500,
                noise: 0.3,
            },
            ..MlpConfig::default()
        })
        .unwrap();
        let mut x = problem.initial_parameters();
        let before = problem.evaluate(&x).unwrap();
        assert!(before[1].value < 0.4, "{:?}", before[1]);
        let everything: Vec<_> = (0..10).map(|j| (j, 0.1)).collect();
        let mut sgd = OptimizerConfig::default().build(x.len()).unwrap();
        for t in 0..80 {
            let gradient = coded(&mut problem, &x, t, &everything);
            sgd.step(&mut x, &gradient, Second::Same, rate);
        }
        let after = problem.evaluate(&x).unwrap();
        assert!(after[0].value < 0.5 * before[0].value, "{loss}: {after:?}");
        assert!(after[1].value > 0.9, "{loss}: {after:?}");
    }
}

fn idx(path: &Path, sizes: &[u32], data: &[u8]) {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn idx_files_are_read_and_damaged_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let paths = IdxPaths {
        images: dir.path().join("images"),
        labels: dir.path().join("labels"),
    };
    let make = || {
        Mlp::new(&MlpConfig {
            digits: DigitSource::Idx {
                training: paths.clone(),
                held_out: None,
            },
            partitions: 2,
            ..config(MlpLoss::CrossEntropy)
        })
    };
    let refused = || make().unwrap_err().to_string();
    assert!(refused().contains("images"), "{}", refused());
    let mut pixels = vec![0u8; 2 * PIXELS];
    pixels[PIXELS + 3] = 255;
    idx(&paths.images, &[2, 28, 28], &pixels);
    idx(&paths.labels, &[2], &[7, 3]);
    let mut problem = make().unwrap();
    let (images, labels) = problem.training.gather(&[1, 0]);
    assert_eq!(
        (images[(0, 3)], images.sum(), labels),
        (1.0, 1.0, vec![3, 7])
    );
    let start = problem.initial_parameters();
    assert!(problem.evaluate(&start).unwrap()[0].value > 0.0);

    idx(&paths.labels, &[3], &[7, 3, 1]);
    assert!(refused().contains("3 labels for 2 images"), "{}", refused());
    idx(&paths.labels, &[2], &[7, 13]);
    assert!(refused().contains("label 13"), "{}", refused());
    idx(&paths.images, &[2, 14, 56], &pixels);
    assert!(refused().contains("28 x 28"), "{}", refused());
    idx(&paths.images, &[3, 28, 28], &pixels);
    assert!(
        refused().contains("header says [3, 28, 28]"),
        "{}",
        refused()
    );
    std::fs::write(&paths.images, [0x1f, 0x8b, 8]).unwrap();
    assert!(refused().contains("gunzip"), "{}", refused());
}

#[test]
fn bad_settings_are_refused() {
    let base = config(MlpLoss::CrossEntropy);
    let refused = |config: MlpConfig| Mlp::new(&config).unwrap_err().to_string();
    assert!(
        refused(MlpConfig {
            hidden: 0,
            ..base.clone()
        })
        .starts_with("hidden = 0")
    );
    assert!(
        refused(MlpConfig {
            partitions: 61,
            ..base.clone()
        })
        .starts_with("partitions = 61")
    );
    for (samples, noise, what) in [(9, 0.1, "samples = 9"), (20, -1.0, "noise = -1")] {
        let digits = DigitSource::Synthetic { samples, noise };
        assert!(
            refused(MlpConfig {
                digits,
                ..base.clone()
            })
            .starts_with(what)
        );
    }
}
