//! Which ground-truth box each anchor is responsible for (Liu et al. 2016, section 2.2).

use super::{Corners, area, iou};

/// Anchors overlapping a box at least this much are responsible for it.
pub const THRESHOLD: f32 = 0.5;

/// For each anchor the index of its box in `truth`, or `None` for background.
///
/// An anchor takes the box it overlaps most if their IoU is at least [`THRESHOLD`] (the first of
/// equals); then every box takes the anchor it overlaps most, whatever their IoU, so that no box
/// is left out (of boxes competing for one anchor the last wins). Boxes must have positive area.
pub fn match_anchors(truth: &[Corners], anchors: &[Corners]) -> Vec<Option<u32>> {
    let mut best = vec![(f32::NEG_INFINITY, 0u32); anchors.len()];
    let mut forced = Vec::with_capacity(truth.len());
    for (index, target) in (0u32..).zip(truth) {
        let target_area = area(target);
        let mut closest = (f32::NEG_INFINITY, 0);
        for (position, (anchor, best)) in anchors.iter().zip(&mut best).enumerate() {
            let overlap = iou(target, target_area, anchor, area(anchor));
            if overlap > best.0 {
                *best = (overlap, index);
            }
            if overlap > closest.0 {
                closest = (overlap, position);
            }
        }
        forced.push((closest.1, index));
    }
    let mut matches: Vec<_> = best
        .into_iter()
        .map(|(overlap, index)| (overlap >= THRESHOLD).then_some(index))
        .collect();
    for (position, index) in forced {
        if let Some(anchor) = matches.get_mut(position) {
            *anchor = Some(index);
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_box_gets_its_closest_anchor_and_good_anchors_their_best_box() {
        let anchors = [
            [0.0, 0.0, 10.0, 10.0],
            [1.0, 0.0, 11.0, 10.0],
            [50.0, 50.0, 60.0, 60.0],
            [80.0, 0.0, 90.0, 10.0],
        ];
        let truth = [[0.0, 0.0, 10.0, 9.0], [54.0, 54.0, 58.0, 58.0]];
        assert_eq!(
            match_anchors(&truth, &anchors),
            [Some(0), Some(0), Some(1), None]
        );
        assert_eq!(match_anchors(&[], &anchors), [None; 4]);
    }

    #[test]
    fn the_last_of_two_boxes_wins_a_shared_closest_anchor() {
        let anchors = [[0.0, 0.0, 10.0, 10.0], [90.0, 90.0, 99.0, 99.0]];
        let truth = [[0.0, 0.0, 3.0, 3.0], [5.0, 5.0, 8.0, 8.0]];
        assert_eq!(match_anchors(&truth, &anchors), [Some(1), None]);
    }

    proptest! {
        #[test]
        fn matches_are_valid_and_some_anchor_is_positive(
            truth in prop::collection::vec((0f32..90.0, 0f32..90.0, 1f32..60.0, 1f32..60.0), 1..6),
        ) {
            let truth: Vec<Corners> = truth.iter().map(|&(x, y, w, h)| [x, y, x + w, y + h]).collect();
            let anchors = super::super::anchors::DefaultBoxes::new(&[0.2, 0.4], &[2.0]).boxes(&[8], 128);
            let matches = match_anchors(&truth, &anchors);
            prop_assert!(matches.iter().any(Option::is_some));
            prop_assert!(matches.iter().flatten().all(|&i| (i as usize) < truth.len()));
            // the last box never loses its anchor
            prop_assert!(matches.contains(&Some(truth.len() as u32 - 1)));
        }
    }
}
