//! From every sample's loss to the scalar that a backward pass starts from.

use tch::{Kind, Tensor};

use crate::error::TorchError;

/// The losses `[N]` as numbers.
///
/// # Errors
/// When libtorch fails.
pub(crate) fn to_host(losses: &Tensor) -> Result<Vec<f64>, TorchError> {
    Ok(Vec::try_from(losses.f_detach()?.f_to_kind(Kind::Double)?)?)
}

/// `sum_i weights[i] losses[i]` of the losses `[N]`, f32, and the losses as numbers.
///
/// # Errors
/// When libtorch fails.
pub(crate) fn weigh(losses: &Tensor, weights: &[f64]) -> Result<(Tensor, Vec<f64>), TorchError> {
    let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
    let weights = Tensor::f_from_slice(&weights)?.f_to_device(losses.device())?;
    Ok((losses.f_dot(&weights)?, to_host(losses)?))
}
