//! Randomised Hadamard rotations of the buckets of a run, as [`gradient_codec::Rotation`] has them.

use crate::philox::random_bits;
use gradient_codec::Rotation;
use gradient_codec::layout::{BLOCK, LANES, ROWS};
use tch::{Kind, TchError, Tensor};

/// Coordinates whose signs are drawn together.
const STRIPE: usize = ROWS * BLOCK;

/// `x <- R x` of a run of coordinates, f32 of one dimension, that begins at coordinate `start` of the
/// vector, a multiple of the stripe; its last bucket may be shorter.
pub(crate) fn apply(rotation: &Rotation, start: usize, x: &Tensor) -> Result<Tensor, TchError> {
    transform(rotation, start, x, false)
}

/// The inverse of [`apply`].
pub(crate) fn invert(rotation: &Rotation, start: usize, z: &Tensor) -> Result<Tensor, TchError> {
    transform(rotation, start, z, true)
}

fn transform(
    rotation: &Rotation,
    start: usize,
    x: &Tensor,
    inverse: bool,
) -> Result<Tensor, TchError> {
    let n = x.numel();
    let (full, rest) = (n - n % rotation.block(), n % rotation.block());
    let mut parts = Vec::new();
    for (from, length, bucket) in [(0, full, rotation.block()), (full, rest, rest)] {
        if length == 0 {
            continue;
        }
        // Copied, since windows are written in place.
        let part = x
            .f_narrow(0, from as i64, length as i64)?
            .f_reshape([-1, bucket as i64])?
            .f_contiguous()?
            .copy();
        let mut windows: Vec<_> = rotation.windows(bucket).enumerate().collect();
        if inverse {
            windows.reverse();
        }
        for (number, (begin, end)) in windows {
            let signs = signs(rotation, number as u32, start, n, x)?
                .f_narrow(0, from as i64, length as i64)?
                .f_view([-1, bucket as i64])?;
            let slice = |of: &Tensor| of.f_narrow(1, begin as i64, (end - begin) as i64);
            let (mut window, signs) = (slice(&part)?, slice(&signs)?);
            let turned = if inverse {
                hadamard(&window)?.f_mul(&signs)?
            } else {
                hadamard(&window.f_mul(&signs)?)?
            };
            window.f_copy_(&turned)?;
        }
        parts.push(part.f_view([-1])?);
    }
    Tensor::f_cat(&parts, 0)
}

/// 1 or -1 for each of `n` coordinates from `start` on, in a rotation's window.
fn signs(
    rotation: &Rotation,
    window: u32,
    start: usize,
    n: usize,
    like: &Tensor,
) -> Result<Tensor, TchError> {
    let device = like.device();
    let (first, stripes) = ((start / STRIPE) as u64, n.div_ceil(STRIPE) as i64);
    let key = rotation.sign_key(window);
    let words = random_bits(key, first, stripes, LANES as i64, device)?;
    // Row i of a block has bit 31 - i of its lanes' words.
    let down = Tensor::f_arange(ROWS as i64, (Kind::Int64, device))?
        .f_neg()?
        .f_add_scalar(31)?
        .f_view([1, -1, 1])?;
    words
        .f_view([-1, 1, LANES as i64])?
        .f_bitwise_right_shift(&down)?
        .f_bitwise_and_(1)?
        .f_mul_scalar_(-2)?
        .f_add_scalar_(1)?
        .f_to_kind(Kind::Float)?
        .f_view([-1])?
        .f_narrow(0, 0, n as i64)
}

/// The Hadamard transform of every row, a power of two long, times `fl(1/sqrt(P))`: stages 1, 2, 4, ...,
/// each one addition and one subtraction per pair.
fn hadamard(x: &Tensor) -> Result<Tensor, TchError> {
    let (rows, size) = x.size2()?;
    let mut x = x.f_contiguous()?;
    let mut half = 1;
    while half < size {
        let pairs = x.f_view([-1, 2, half])?;
        let (a, b) = (pairs.f_select(1, 0)?, pairs.f_select(1, 1)?);
        let turned = pairs.f_empty_like()?;
        let _ = a.f_add_out(&turned.f_select(1, 0)?, &b)?;
        let _ = a.f_sub_out(&turned.f_select(1, 1)?, &b)?;
        x = turned;
        half *= 2;
    }
    let scale = (1.0 / (size as f64).sqrt()) as f32;
    x.f_mul_scalar(f64::from(scale))?.f_view([rows, size])
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradient_codec::{Generator, MessageId, Quantizer, Sharing};

    #[test]
    fn the_bits_are_the_cpu_s() {
        let id = MessageId {
            seed: 3,
            iteration: 1,
            worker: 9,
        };
        for n in [1, 2, 3, 31, 511, 512, 513, 1000, 4096, 5000, 16384, 70_001] {
            let own = Quantizer::eden(4096, 3, Sharing::Message).unwrap();
            let shared = Quantizer::mid_rise(512, 3, Generator::Philox).unwrap();
            let shared = shared.rotated(Sharing::Round).unwrap();
            for quantizer in [own, shared] {
                let rotation = quantizer.compressor(n).rotation(&id).unwrap();
                let x: Vec<f32> = (0..n)
                    .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.01)
                    .collect();
                let (mut there, mut back) = (x.clone(), x.clone());
                rotation.apply(&mut there);
                rotation.invert(&mut back);
                let x = Tensor::from_slice(&x);
                let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let values = |x: Tensor| bits(&Vec::<f32>::try_from(&x).unwrap());
                assert!(
                    values(apply(&rotation, 0, &x).unwrap()) == bits(&there),
                    "{n}"
                );
                assert!(
                    values(invert(&rotation, 0, &x).unwrap()) == bits(&back),
                    "{n}"
                );
            }
        }
    }
}
