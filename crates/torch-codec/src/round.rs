//! Codes: rules 8 and 9 of the format.

use gradient_codec::{Coding, Quantizer};
use tch::{Kind, TchError, Tensor};

/// What the codes of `x` are made from, int64 of x's shape, a place's random bits apart: levels in fixed
/// point (half a level less where there is no zero level), or with signs whether the coordinate is negative. `steps` broadcasts against `x`.
pub(crate) fn levels(
    quantizer: &Quantizer,
    x: &Tensor,
    steps: &Tensor,
) -> Result<Tensor, TchError> {
    if quantizer.coding() == Coding::Sign {
        // What has step 0 is sent as codes 0.
        return x
            .f_lt(0.0)?
            .f_logical_and_(&steps.f_ne(0.0)?)?
            .f_to_kind(Kind::Int64);
    }
    // Division of tensors, as for the steps.
    let unit = f64::from(quantizer.fixed_point(1.0).factor);
    let factors = Tensor::f_full([1], unit, (Kind::Float, x.device()))?
        .f_div(steps)?
        .f_masked_fill_(&steps.f_eq(0.0)?, 0.0)?;
    let limit = f64::from(quantizer.fixed_point(1.0).limit);
    let levels = x
        .f_mul(&factors)?
        .f_clamp_(-limit, limit)?
        .f_round_()?
        .f_to_kind(Kind::Int64)?;
    if quantizer.coding() != Coding::MidRise {
        return Ok(levels);
    }
    // Half a level down; but what has step 0 is sent as codes 0, whatever the random bits.
    let half = 1i64 << (31 - quantizer.bits());
    let down = steps
        .f_ne(0.0)?
        .f_to_kind(Kind::Int64)?
        .f_mul_scalar_(-half)?;
    levels.f_add(&down)
}

/// Codes, int64 in `0..2^bits`, from levels and random bits of the same shape. Random bits are not needed
/// where none are drawn.
pub(crate) fn codes(
    quantizer: &Quantizer,
    levels: &Tensor,
    random: Option<Tensor>,
) -> Result<Tensor, TchError> {
    let bits = i64::from(quantizer.bits());
    let Some(mut random) = random else {
        return levels.f_contiguous();
    };
    let mut sum = random
        .f_bitwise_right_shift_tensor_scalar_(bits)?
        .f_add_(levels)?;
    match quantizer.coding() {
        Coding::StochasticSign => sum.f_lt(1i64 << 30)?.f_to_kind(Kind::Int64),
        _ => sum
            .f_bitwise_right_shift_tensor_scalar_(32 - bits)?
            .f_bitwise_and_((1i64 << bits) - 1),
    }
}
