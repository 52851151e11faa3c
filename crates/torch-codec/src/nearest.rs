//! Nearest levels of a normal law, and the step that makes them unbiased: EDEN's part of rule 7.

use crate::scale::{Steps, row_scales, row_sums};
use gradient_codec::{Quantizer, SMALLEST_BUCKET_SCALE, Scale};
use tch::{Kind, TchError, Tensor};

/// Codes, int64 in `0..2^bits` of x's shape, and steps of buckets, the rows of `x`, of which the last has
/// `last` coordinates and then zeros.
pub(crate) fn nearest(
    quantizer: &Quantizer,
    x: &Tensor,
    last: i64,
) -> Result<(Tensor, Steps), TchError> {
    let (buckets, size) = x.size2()?;
    let device = x.device();
    let (values, thresholds) = tables(quantizer, x)?;
    // Each bucket is brought to variance 1; one that is too small for that is sent as zeros.
    let norms = row_scales(Scale::BucketL2, x)?;
    let counts = Tensor::f_full([buckets], size as f64, (Kind::Double, device))?;
    let _ = counts.f_narrow(0, buckets - 1, 1)?.f_fill_(last)?;
    let deviations = norms.f_div(&counts)?.f_sqrt_()?;
    let zero = deviations
        .f_to_kind(Kind::Float)?
        .f_lt(f64::from(SMALLEST_BUCKET_SCALE))?;
    let factors = Tensor::f_full([1], 1.0, (Kind::Double, device))?
        .f_div(&deviations)?
        .f_to_kind(Kind::Float)?
        .f_masked_fill_(&zero, 0.0)?;

    // The magnitude's level is the number of thresholds at or below it; the code of a negative one is
    // the complement.
    let levels = x.f_mul(&factors.f_view([-1, 1])?)?;
    let minus = levels.f_lt(0.0)?.f_to_kind(Kind::Int64)?.f_neg()?;
    let codes = levels
        .f_abs()?
        .f_bucketize(&thresholds, false, true)?
        .f_bitwise_xor_tensor_(&minus)?;
    let sent = lookup(quantizer, &values, &codes)?;

    let dots = row_sums(
        sent.f_to_kind(Kind::Double)?
            .f_mul_(&x.f_to_kind(Kind::Double)?)?,
    )?;
    let steps = norms
        .f_div(&dots)?
        .f_to_kind(Kind::Float)?
        .f_masked_fill_(&zero, 0.0)?;
    let small = steps.f_lt(f64::from(SMALLEST_BUCKET_SCALE))?;
    let steps = steps.f_masked_fill(&small, 0.0)?;
    let sound = steps
        .f_mul_scalar(f64::from(quantizer.outermost()))?
        .f_isfinite()?
        .f_all()?;
    let mask = (1i64 << quantizer.bits()) - 1;
    Ok((codes.f_bitwise_and(mask)?, Steps { steps, sound }))
}

/// What codes, int64 in two's complement, stand for without the step.
pub(crate) fn lookup(
    quantizer: &Quantizer,
    values: &Tensor,
    codes: &Tensor,
) -> Result<Tensor, TchError> {
    let middle = 1i64 << (quantizer.bits() - 1);
    values
        .f_index_select(0, &codes.f_add_scalar(middle)?.f_view([-1])?)?
        .f_view(codes.size().as_slice())
}

/// Values by code and thresholds between magnitudes, f32 on the device of `like`.
pub(crate) fn tables(quantizer: &Quantizer, like: &Tensor) -> Result<(Tensor, Tensor), TchError> {
    let (values, thresholds) = quantizer.normal_levels().unwrap_or_default();
    let there = |table: &[f32]| Tensor::f_from_slice(table)?.f_to_device(like.device());
    Ok((there(values)?, there(thresholds)?))
}
