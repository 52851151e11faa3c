//! Scales and steps: rules 6 and 7 of the format.

use gradient_codec::{BUCKET_HEADROOM, Coding, Quantizer, SMALLEST_BUCKET_SCALE, Scale};
use tch::{Kind, TchError, Tensor};

/// The steps of a run's buckets.
pub(crate) struct Steps {
    /// f32, one per bucket.
    pub steps: Tensor,
    /// Whether all of them can be encoded: one bool. If not, a coordinate is not finite or a scale
    /// beyond f32.
    pub sound: Tensor,
}

/// The largest magnitude, the sum of squares or the sum of magnitudes of every row of `x`, f32 of shape
/// `[rows, m]` with m a multiple of 32: f64, shape `[rows]`. Not finite where a coordinate is not.
pub(crate) fn row_scales(scale: Scale, x: &Tensor) -> Result<Tensor, TchError> {
    match scale {
        Scale::BucketMax | Scale::GlobalMax => x
            .f_abs()?
            .f_amax([1i64].as_slice(), false)?
            .f_to_kind(Kind::Double),
        Scale::BucketMean | Scale::GlobalMean => row_sums(x.f_to_kind(Kind::Double)?.f_abs_()?),
        // Squares of f32 are exact in f64.
        _ => row_sums(x.f_to_kind(Kind::Double)?.f_square_()?),
    }
}

/// The sums of rows of f64, `[rows, m]`, in the contract's order: element i joins partial sum i mod 32 in
/// order, then partial sums are added pairwise.
pub(crate) fn row_sums(x: Tensor) -> Result<Tensor, TchError> {
    let (rows, m) = x.size2()?;
    let x = x.f_view([rows * (m / 32), 32])?;
    // libtorch's own sums have orders of their own; a segment of rows is added one after the other.
    let lengths = Tensor::f_full([rows], m / 32, (Kind::Int64, x.device()))?;
    let mut sums = Tensor::f_segment_reduce(
        &x,
        "sum",
        Some(&lengths),
        None::<&Tensor>,
        None::<&Tensor>,
        0,
        true,
        0.0,
    )?;
    for width in [16, 8, 4, 2, 1] {
        sums = sums
            .f_narrow(1, 0, width)?
            .f_add(&sums.f_narrow(1, width, width)?)?;
    }
    sums.f_view([rows])
}

/// The steps of buckets, the rows of `x`, of which the last has `last` coordinates and then zeros.
pub(crate) fn bucket_steps(
    quantizer: &Quantizer,
    x: &Tensor,
    last: i64,
) -> Result<Steps, TchError> {
    let (buckets, size) = x.size2()?;
    let mut scales = row_scales(quantizer.scale(), x)?;
    match quantizer.scale() {
        Scale::BucketL2 => scales = scales.f_sqrt_()?,
        Scale::BucketMean => {
            let counts = Tensor::f_full([buckets], size as f64, (Kind::Double, x.device()))?;
            let _ = counts.f_narrow(0, buckets - 1, 1)?.f_fill_(last)?;
            scales = scales.f_div(&counts)?;
        }
        _ => {}
    }
    let scales = scales.f_to_kind(Kind::Float)?;
    let levels = f64::from(quantizer.outermost());
    let steps = if quantizer.coding() == Coding::Sign {
        scales
    } else {
        // The divisor is a tensor: CUDA multiplies by a number's reciprocal instead of dividing.
        let divisor = Tensor::f_full([1], levels, (Kind::Float, x.device()))?;
        scales
            .f_div(&divisor)?
            .f_mul_scalar_(f64::from(BUCKET_HEADROOM))?
            .f_masked_fill_(&scales.f_lt(f64::from(SMALLEST_BUCKET_SCALE))?, 0.0)?
    };
    let sound = steps.f_mul_scalar(levels)?.f_isfinite()?.f_all()?;
    Ok(Steps { steps, sound })
}
