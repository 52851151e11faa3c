//! Which parameters weight decay acts on.

use std::ops::Range;

use crate::Slot;

/// A flat vector's coordinates as consecutive spans that weight decay acts on, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecayGroups {
    spans: Vec<(Range<usize>, bool)>,
}

impl DecayGroups {
    /// Weight decay acts on all `dimension` coordinates.
    #[expect(clippy::single_range_in_vec_init)]
    pub fn all(dimension: usize) -> Self {
        Self::only(dimension, &[0..dimension])
    }

    /// It acts on tensors of at least two dimensions: on matrices, kernels and embeddings, not on
    /// biases and the scales of norms, as nanoGPT has it.
    ///
    /// ```
    /// use learner::{Slot, optimizer::DecayGroups};
    /// let slot = |name: &str, offset, shape: &[usize]| Slot {
    ///     name: name.into(),
    ///     offset,
    ///     shape: shape.to_vec(),
    /// };
    /// let slots = [slot("weight", 0, &[3, 2]), slot("bias", 6, &[3])];
    /// assert_eq!(DecayGroups::matrices(9, &slots), DecayGroups::only(9, &[0..6]));
    /// ```
    pub fn matrices(dimension: usize, slots: &[Slot]) -> Self {
        let decayed: Vec<_> = slots
            .iter()
            .filter(|slot| slot.shape.len() >= 2)
            .map(|slot| slot.offset..slot.offset + slot.len())
            .collect();
        Self::only(dimension, &decayed)
    }

    /// It acts on the `decayed` ranges alone, which ascend.
    ///
    /// # Panics
    /// When they do not, overlap, or go beyond `dimension`.
    pub fn only(dimension: usize, decayed: &[Range<usize>]) -> Self {
        let mut spans: Vec<(Range<usize>, bool)> = Vec::new();
        let mut add = |range: Range<usize>, decays: bool| {
            match spans.last_mut() {
                _ if range.is_empty() => {}
                Some((last, same)) if *same == decays => last.end = range.end,
                _ => spans.push((range, decays)),
            };
        };
        let mut done = 0;
        for range in decayed {
            assert!(
                done <= range.start && range.start <= range.end && range.end <= dimension,
                "decayed ranges ascend within the {dimension} parameters: {range:?}"
            );
            add(done..range.start, false);
            add(range.clone(), true);
            done = range.end;
        }
        add(done..dimension, false);
        Self { spans }
    }

    /// Number of coordinates.
    pub fn dimension(&self) -> usize {
        self.spans.last().map_or(0, |(range, _)| range.end)
    }

    /// The spans in order, each with whether weight decay acts on it.
    pub(super) fn spans(&self) -> impl Iterator<Item = (Range<usize>, bool)> + '_ {
        self.spans.iter().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_cover_everything_once() {
        let groups = DecayGroups::only(10, &[0..2, 2..3, 5..7, 7..7]);
        let spans: Vec<_> = groups.spans().collect();
        assert_eq!(
            spans,
            [(0..3, true), (3..5, false), (5..7, true), (7..10, false)]
        );
        assert_eq!(groups.dimension(), 10);
        assert_eq!(
            DecayGroups::all(4).spans().collect::<Vec<_>>(),
            [(0..4, true)]
        );
        assert_eq!(DecayGroups::all(0).dimension(), 0);
    }
}
