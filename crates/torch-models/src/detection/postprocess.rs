//! From a network's outputs to detections: softmax scores, a threshold, the best candidates per
//! class, non-maximum suppression per class, the best of all.

use super::{Corners, area, box_coder, iou};

/// One detected object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// The box in pixels of the network's input, clipped to it.
    pub corners: Corners,
    /// Class, from 1.
    pub label: i64,
    /// Softmax probability of the class.
    pub score: f32,
}

/// Limits of the selection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PostProcess {
    /// Candidates need a score above this.
    pub score_threshold: f32,
    /// At most this many candidates per class go into suppression.
    pub candidates_per_class: usize,
    /// A box is suppressed by a better one of its class when their IoU exceeds this.
    pub nms_threshold: f32,
    /// At most this many detections per image.
    pub detections_per_image: usize,
}

impl Default for PostProcess {
    /// torchvision's values for SSDLite.
    fn default() -> Self {
        Self {
            score_threshold: 0.001,
            candidates_per_class: 300,
            nms_threshold: 0.55,
            detections_per_image: 300,
        }
    }
}

impl PostProcess {
    /// The detections of one image, best first (equal scores: by class, then by anchor).
    ///
    /// `scores` holds softmax probabilities `[anchors, classes]`, class 0 being the background,
    /// `codes` box codes `[anchors, 4]`; `side` is the side of the network's input in pixels.
    pub fn detections(
        &self,
        scores: &[f32],
        codes: &[f32],
        anchors: &[Corners],
        side: u32,
    ) -> Vec<Detection> {
        let classes = scores.len() / anchors.len().max(1);
        let side = side as f32;
        let boxes: Vec<Corners> = codes
            .as_chunks::<4>()
            .0
            .iter()
            .zip(anchors)
            .map(|(code, anchor)| box_coder::decode(code, anchor).map(|c| c.clamp(0.0, side)))
            .collect();
        let mut detections = Vec::new();
        let mut candidates: Vec<(f32, u32)> = Vec::new();
        for label in 1..classes {
            candidates.clear();
            candidates.extend(
                (0u32..)
                    .zip(scores.iter().skip(label).step_by(classes))
                    .filter(|&(_, &score)| score > self.score_threshold)
                    .map(|(anchor, &score)| (score, anchor)),
            );
            candidates.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            candidates.truncate(self.candidates_per_class);
            let first = detections.len();
            for &(score, anchor) in &candidates {
                let corners = boxes[anchor as usize];
                let own = area(&corners);
                let suppressed = detections[first..].iter().any(|kept: &Detection| {
                    iou(&kept.corners, area(&kept.corners), &corners, own) > self.nms_threshold
                });
                if !suppressed {
                    detections.push(Detection {
                        corners,
                        label: label as i64,
                        score,
                    });
                }
            }
        }
        detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        detections.truncate(self.detections_per_image);
        detections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suppression_is_per_class_and_keeps_the_best() {
        let anchors = [
            [0.0, 0.0, 10.0, 10.0],
            [1.0, 0.0, 11.0, 10.0],
            [50.0, 50.0, 70.0, 70.0],
        ];
        // columns: background, class 1, class 2
        let scores = [
            0.1, 0.8, 0.1, //
            0.2, 0.7, 0.1, //
            0.999, 0.0005, 0.0005,
        ];
        let codes = [0.0; 12];
        let found = PostProcess::default().detections(&scores, &codes, &anchors, 60);
        let summary: Vec<_> = found
            .iter()
            .map(|d| (d.label, d.score, d.corners))
            .collect();
        assert_eq!(
            summary,
            [(1, 0.8, anchors[0]), (2, 0.1, anchors[0])],
            "the second anchor is suppressed in both classes, the third is below the threshold"
        );
    }

    #[test]
    fn boxes_are_clipped_and_counts_limited() {
        let anchors = [[40.0, 40.0, 80.0, 80.0], [0.0, 0.0, 10.0, 10.0]];
        let limits = PostProcess {
            detections_per_image: 1,
            ..PostProcess::default()
        };
        let found = limits.detections(&[0.1, 0.9, 0.5, 0.5], &[0.0; 8], &anchors, 60);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].corners, [40.0, 40.0, 60.0, 60.0]);
    }
}
