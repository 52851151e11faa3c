//! Sums of gradient frames that are made by a device.

use crate::LearnerError;
use gradient_codec::{Compressor, Frame, Rotation};

/// The weighted sums that a master decodes a round's frames into: `sum_r = sum_i w_ir Q_i(f_i)`.
///
/// There are r of them with `length` coordinates each (the gradient and perhaps the track of its second
/// moment, or the m blocks of one gradient), and a frame joins every one with a weight of its own. They may lie in
/// the memory of a GPU: frames then go there packed, and the sums come back once per round, however many frames
/// were added.
///
/// It is an optimization and nothing else: sums have the very bits of [`gradient_codec::accumulate_many`] and
/// [`gradient_codec::accumulate_rotated`], frame after frame in the order given, and of [`Rotation::invert`].
pub trait Sums: Send {
    /// Where the sums are made, as configurations write it: `cpu`, `cuda:0`.
    fn device(&self) -> String;

    /// Whether frames of this compressor are added here with the CPU's bits.
    ///
    /// # Errors
    /// Why not, to be read after "because".
    fn adds(&mut self, compressor: &Compressor) -> Result<(), String>;

    /// Begins a round with `count` sums of `length` zeros. Memory is allocated here when these are not
    /// the numbers of the round before.
    ///
    /// # Errors
    /// When there is no memory for them.
    fn clear(&mut self, count: usize, length: usize) -> Result<(), LearnerError>;

    /// Adds checked frames, each times its `count` weights. Those of a round that shares a rotation are
    /// added in its coordinates, others as what they stand for.
    ///
    /// # Errors
    /// When the device fails. The sums are then of no use before they are cleared.
    fn add(
        &mut self,
        shared: Option<&Rotation>,
        frames: &[(Frame<'_>, Vec<f32>)],
    ) -> Result<(), LearnerError>;

    /// Ends a round: undoes the shared rotation and brings the sums to [`Sums::values`].
    ///
    /// # Errors
    /// As [`Sums::add`].
    fn finish(&mut self, shared: Option<&Rotation>) -> Result<(), LearnerError>;

    /// The sums one after the other, `count x length` coordinates, from [`Sums::finish`] on until the next
    /// [`Sums::clear`]. At other times their values mean nothing, and there may be none.
    fn values(&self) -> &[f32];
}
