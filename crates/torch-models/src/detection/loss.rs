//! The single-shot detection loss (Liu et al. 2016, eqs. 1-3) as a weighted sum over images.
//!
//! Per image: smooth L1 over the codes of the positive anchors, plus cross-entropy over the
//! positive anchors and the hardest negatives, three to a positive. torchvision divides by the
//! number of positives in the batch, which would couple the samples; here image i contributes
//! `weights[i]` times its sum, so that coefficients of a gradient code fold in and gradients add
//! up over images. Dividing the unweighted sums by the number of positives gives torchvision's
//! numbers (except that a positive anchor is never counted as a negative too, which happens there
//! when fewer than 3 negatives per positive exist).

use tch::{Kind, Reduction, TchError, Tensor};

use super::{Corners, box_coder, matcher};
use crate::models::HeadOutputs;

/// Hard negatives per positive anchor.
const NEGATIVES_PER_POSITIVE: usize = 3;

/// What the anchors of a batch should say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// Class of every anchor, image after image; 0 is the background.
    classes: Vec<i64>,
    /// Positions of the positive anchors in `classes`, ascending.
    positives: Vec<i64>,
    /// Box codes of the positive anchors, four numbers each.
    codes: Vec<f32>,
    /// Positive anchors per image.
    positives_per_image: Vec<usize>,
}

impl Targets {
    /// Adds an image with its boxes and their classes (counted from 1).
    pub fn push(&mut self, anchors: &[Corners], boxes: &[Corners], labels: &[i64]) {
        let before = self.positives.len();
        for (anchor, matched) in anchors.iter().zip(matcher::match_anchors(boxes, anchors)) {
            let truth = matched
                .map(|index| index as usize)
                .and_then(|index| Some((boxes.get(index)?, *labels.get(index)?)));
            match truth {
                Some((target, label)) => {
                    self.positives.push(self.classes.len() as i64);
                    self.codes.extend(box_coder::encode(target, anchor));
                    self.classes.push(label);
                }
                None => self.classes.push(0),
            }
        }
        self.positives_per_image.push(self.positives.len() - before);
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.positives_per_image.len()
    }

    /// Positive anchors per image.
    pub fn positives_per_image(&self) -> &[usize] {
        &self.positives_per_image
    }

    fn anchors_per_image(&self) -> usize {
        self.classes.len() / self.images().max(1)
    }
}

/// An image's loss before weighting, summed over its anchors.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ImageLoss {
    /// Smooth L1 over the positive anchors' codes.
    pub localization: f64,
    /// Cross-entropy over the positive anchors and the hard negatives.
    pub classification: f64,
}

impl ImageLoss {
    /// Both parts.
    pub fn total(&self) -> f64 {
        self.localization + self.classification
    }
}

/// The scalar `sum_i weights[i] * loss_i`, ready for a backward pass, and every `loss_i`.
///
/// `weights` has one entry per image of `targets`.
///
/// # Errors
/// When libtorch fails, in particular when `outputs` does not have the shape of `targets`.
pub fn weighted_sum(
    outputs: &HeadOutputs,
    targets: &Targets,
    weights: &[f64],
) -> Result<(Tensor, Vec<ImageLoss>), TchError> {
    let device = outputs.logits.device();
    let classes = outputs.logits.size3()?.2;
    let cross_entropy = outputs
        .logits
        .f_view([-1, classes])?
        .f_cross_entropy_loss::<Tensor>(
            &Tensor::f_from_slice(&targets.classes)?.f_to_device(device)?,
            None,
            Reduction::None,
            -100,
            0.0,
        )?;
    let entropies = Vec::<f32>::try_from(&cross_entropy.f_detach()?)?;
    let (anchor_weights, mut losses) = select(targets, &entropies, weights);
    let anchor_weights = Tensor::f_from_slice(&anchor_weights)?.f_to_device(device)?;
    let mut total = cross_entropy.f_dot(&anchor_weights)?;

    if !targets.positives.is_empty() {
        let positives = Tensor::f_from_slice(&targets.positives)?.f_to_device(device)?;
        let codes = Tensor::f_from_slice(&targets.codes)?
            .f_view([-1, 4])?
            .f_to_device(device)?;
        let distances = outputs
            .codes
            .f_view([-1, 4])?
            .f_index_select(0, &positives)?
            .f_smooth_l1_loss(&codes, Reduction::None, 1.0)?
            .f_sum_dim_intlist(1i64, false, Kind::Float)?;
        let mut image_weights = Vec::with_capacity(targets.positives.len());
        let host = Vec::<f32>::try_from(&distances.f_detach()?)?;
        let mut rest = host.as_slice();
        for ((loss, &count), &weight) in losses
            .iter_mut()
            .zip(&targets.positives_per_image)
            .zip(weights)
        {
            let (mine, others) = rest.split_at(count);
            rest = others;
            loss.localization = mine.iter().map(|&d| f64::from(d)).sum();
            image_weights.extend(std::iter::repeat_n(weight as f32, count));
        }
        let image_weights = Tensor::f_from_slice(&image_weights)?.f_to_device(device)?;
        total = total.f_add(&distances.f_dot(&image_weights)?)?;
    }
    Ok((total, losses))
}

/// Chooses the anchors whose cross-entropy counts: returns every anchor's weight and each image's
/// classification loss. Of negatives with equal loss the first are taken.
fn select(targets: &Targets, entropies: &[f32], weights: &[f64]) -> (Vec<f32>, Vec<ImageLoss>) {
    let per_image = targets.anchors_per_image().max(1);
    let mut anchor_weights = vec![0f32; targets.classes.len()];
    let mut losses = Vec::with_capacity(targets.images());
    let mut negatives = Vec::with_capacity(per_image);
    for (image, (&positives, &weight)) in
        targets.positives_per_image.iter().zip(weights).enumerate()
    {
        let range = image * per_image..(image + 1) * per_image;
        let (entropies, classes) = (&entropies[range.clone()], &targets.classes[range.clone()]);
        let anchor_weights = &mut anchor_weights[range];
        negatives.clear();
        let mut classification = 0.0;
        for (anchor, (&class, &entropy)) in classes.iter().zip(entropies).enumerate() {
            if class > 0 {
                anchor_weights[anchor] = weight as f32;
                classification += f64::from(entropy);
            } else {
                negatives.push(anchor);
            }
        }
        let wanted = NEGATIVES_PER_POSITIVE * positives;
        if wanted < negatives.len() {
            negatives.select_nth_unstable_by(wanted, |&a, &b| {
                entropies[b].total_cmp(&entropies[a]).then(a.cmp(&b))
            });
            negatives.truncate(wanted);
            negatives.sort_unstable();
        }
        for &anchor in &negatives {
            anchor_weights[anchor] = weight as f32;
            classification += f64::from(entropies[anchor]);
        }
        losses.push(ImageLoss {
            localization: 0.0,
            classification,
        });
    }
    (anchor_weights, losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    const ANCHORS: [Corners; 6] = [
        [0.0, 0.0, 10.0, 10.0],
        [20.0, 0.0, 30.0, 10.0],
        [40.0, 0.0, 50.0, 10.0],
        [60.0, 0.0, 70.0, 10.0],
        [80.0, 0.0, 90.0, 10.0],
        [0.0, 20.0, 10.0, 30.0],
    ];

    #[test]
    fn three_hardest_negatives_count_per_positive() {
        let mut targets = Targets::default();
        targets.push(&ANCHORS, &[[20.0, 0.0, 30.0, 11.0]], &[2]);
        targets.push(&ANCHORS, &[], &[]);
        assert_eq!(targets.positives_per_image(), [1, 0]);
        let entropies = [
            0.5, 9.0, 0.1, 0.5, 0.7, 0.5, //
            1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
        ];
        let (weights, losses) = select(&targets, &entropies, &[2.0, 1.0]);
        assert_eq!(
            weights[..6],
            [2.0, 2.0, 0.0, 2.0, 2.0, 0.0],
            "ties: the first"
        );
        assert_eq!(weights[6..], [0.0; 6], "no box, no negatives");
        assert!((losses[0].classification - (9.0 + 0.5 + 0.5 + 0.7)).abs() < 1e-6);
        assert_eq!(losses[1], ImageLoss::default());
    }

    #[test]
    fn few_negatives_are_all_taken_once() {
        let mut targets = Targets::default();
        targets.push(&ANCHORS[..2], &[ANCHORS[0]], &[1]);
        let (weights, losses) = select(&targets, &[1.0, 2.0], &[1.0]);
        assert_eq!(weights, [1.0, 1.0]);
        assert_eq!(losses[0].classification, 3.0);
    }

    #[test]
    fn a_batch_without_boxes_has_zero_loss_and_gradient() {
        let mut targets = Targets::default();
        targets.push(&ANCHORS, &[], &[]);
        let leaf = |columns| {
            Tensor::ones([1, 6, columns], (Kind::Float, Device::Cpu)).set_requires_grad(true)
        };
        let outputs = HeadOutputs {
            logits: leaf(3),
            codes: leaf(4),
        };
        let (total, _) = weighted_sum(&outputs, &targets, &[1.0]).unwrap();
        total.backward();
        assert_eq!(total.double_value(&[]), 0.0);
        assert_eq!(outputs.logits.grad().abs().max().double_value(&[]), 0.0);
    }
}
