//! The inner loops, once, as plain Rust that the compiler vectorises for whatever instruction set
//! the caller enables. Every function is inlined into wrappers that fix that set
//! ([`super`]); all sets give the same bits: no operation here may be reassociated or fused.

pub mod nearest;
pub mod rotation;

use crate::layout::{BLOCK, LANES};
use crate::quantizer::FixedPoint;
use crate::random::{Keys, ars, philox};

/// Bits of the largest magnitude: at least `0x7f80_0000` exactly if some coordinate is not finite.
#[inline(always)]
pub fn max_abs_bits(x: &[f32]) -> u32 {
    x.iter()
        .fold(0, |max, v| max.max(v.to_bits() & 0x7fff_ffff))
}

/// Partial sums of [`sum`].
pub const PARTIALS: usize = 32;

/// Sum of `f(x)` in f64, in a fixed order: coordinate i joins partial sum i mod 32, and the
/// partial sums are added pairwise (p and p + 16, then p and p + 8, ...).
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f64) -> f64 {
    let mut partial = [0f64; PARTIALS];
    let (rows, rest) = x.as_chunks::<PARTIALS>();
    for row in rows {
        for p in 0..PARTIALS {
            partial[p] += f(row[p]);
        }
    }
    for (sum, v) in partial.iter_mut().zip(rest) {
        *sum += f(*v);
    }
    total(partial)
}

/// The partial sums of [`sum`] added up.
#[inline(always)]
pub fn total(mut partial: [f64; PARTIALS]) -> f64 {
    let mut width = PARTIALS / 2;
    while width > 0 {
        for p in 0..width {
            partial[p] += partial[p + width];
        }
        width /= 2;
    }
    partial[0]
}

/// Sum of squares, in the order of [`sum`].
#[inline(always)]
pub fn sum_squares(x: &[f32]) -> f64 {
    sum(
        x,
        #[inline(always)]
        |v| f64::from(v) * f64::from(v),
    )
}

/// Adds the squares of `x` to the partial sums of [`sum`].
pub fn add_squares(x: &[f32], partial: &mut [f64; PARTIALS]) {
    for row in x.chunks(PARTIALS) {
        for (sum, v) in partial.iter_mut().zip(row) {
            *sum += f64::from(*v) * f64::from(*v);
        }
    }
}

/// Sum of magnitudes, in the order of [`sum`].
#[inline(always)]
pub fn sum_abs(x: &[f32]) -> f64 {
    sum(
        x,
        #[inline(always)]
        |v| f64::from(v.abs()),
    )
}

/// The random bits of a full block, in coordinate order ([`crate::random`], Philox).
#[inline(always)]
pub fn fill_philox(keys: &Keys, block: u64, out: &mut [u32; BLOCK]) {
    let first = block.wrapping_mul(128);
    for i in 0..BLOCK / 4 {
        let (group, lane) = (i / LANES, i % LANES);
        let words = philox(first.wrapping_add(i as u64), keys.message);
        for (word, bits) in words.into_iter().enumerate() {
            out[LANES * (4 * group + word) + lane] = bits;
        }
    }
}

/// The random bits of a full block, in coordinate order ([`crate::random`], ARS with AES tables).
#[inline(always)]
pub fn fill_ars(keys: &Keys, block: u64, out: &mut [u32; BLOCK]) {
    let first = block.wrapping_mul(128);
    for (i, words) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *words = ars(first.wrapping_add(i as u64), &keys.ars);
    }
}

/// Stochastic rounding of a full block in fixed point: on entry `y` holds 32 random bits per
/// coordinate, on return the top `bits` bits of `y[i]` are the code of `x[i]`.
///
/// `ROUNDS`: the instruction set rounds to even in one instruction.
#[inline(always)]
pub fn quantize<const ROUNDS: bool>(x: &[f32; BLOCK], levels: &FixedPoint, y: &mut [u32; BLOCK]) {
    for (y, &x) in y.iter_mut().zip(x) {
        let level = fixed_point::<ROUNDS>(x, levels.factor, levels.limit) as u32;
        *y = level
            .wrapping_add(levels.offset)
            .wrapping_add(*y >> levels.bits);
    }
}

/// The level of a coordinate in fixed point: `x * factor` within `-limit..=limit`, rounded to even.
/// `limit` is at most 2^31 - 2^15.
#[inline(always)]
fn fixed_point<const ROUNDS: bool>(x: f32, factor: f32, limit: f32) -> i32 {
    let level = x * factor;
    // Written so that a NaN becomes the limit: the conversion below is sound for any input.
    let level = if level < limit { level } else { limit };
    let level = if level > -limit { level } else { -limit };
    // SAFETY: |level| <= limit <= 2^31 - 2^15, so it is finite and fits i32 when rounded.
    unsafe { round_ties_even::<ROUNDS>(level).to_int_unchecked::<i32>() }
}

/// `sum E(q - x)^2` of equidistant levels that share a step, in the order of [`sum`]: with f the
/// fraction of a level `2^(32-bits)` to a step, `step^2 f (1-f)` and the square of what fixed point
/// rounds away.
#[inline(always)]
pub fn squared_error<const ROUNDS: bool>(x: &[f32], levels: &FixedPoint, step: f32) -> f64 {
    let unit = 1u32 << (32 - levels.bits);
    let (scale, step) = (1.0 / f64::from(unit), f64::from(step));
    sum(
        x,
        #[inline(always)]
        |x| {
            let level = fixed_point::<ROUNDS>(x, levels.factor, levels.limit);
            let above = (level as u32).wrapping_add(levels.offset) & (unit - 1);
            let fraction = f64::from(above) * scale;
            let bias = f64::from(level) * scale * step - f64::from(x);
            step * step * (fraction * (1.0 - fraction)) + bias * bias
        },
    )
}

/// `f32::round_ties_even` for |v| < 2^31; the standard one is a library call per element on
/// x86-64 without SSE4.1.
#[inline(always)]
fn round_ties_even<const ROUNDS: bool>(v: f32) -> f32 {
    if ROUNDS {
        v.round_ties_even()
    } else {
        // Adding 2^23 with v's sign pushes the fraction out of the significand, rounding to even.
        let shift = 8_388_608f32.copysign(v);
        let rounded = (v + shift) - shift;
        if v.abs() < 8_388_608.0 { rounded } else { v }
    }
}

/// The signs of a full block: the top bit of `y[i]` is 1 exactly if `x[i] < 0`.
#[inline(always)]
pub fn signs(x: &[f32; BLOCK], y: &mut [u32; BLOCK]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = u32::from(x < 0.0) << 31;
    }
}

/// Packs the top `B` bits of each `y`: lane l's 32 codes become an MSB-first stream of `B` words,
/// word k of lane l at index 16 k + l. `out` is exactly 64 `B` bytes.
#[inline(always)]
#[allow(unused_assignments)] // the row after the last never comes
pub fn pack<const B: usize>(y: &[u32; BLOCK], out: &mut [u8]) {
    let out = out.as_chunks_mut::<4>().0;
    assert!(out.len() == LANES * B);
    for lane in 0..LANES {
        let mut word = 0u32;
        for_each_row!(ROW => {
            let y = y[LANES * ROW + lane];
            let used = ROW * B % 32;
            let k = ROW * B / 32;
            if used + B < 32 {
                word = (word << B) | (y >> (32 - B));
            } else {
                // The word fills up; what is left of the code begins the next. Bits above it are
                // shifted out before that word is complete.
                let head = 32 - used;
                let full = (word << (head % 32)) | (y >> used);
                out[LANES * k + lane] = full.to_le_bytes();
                word = y >> (32 - B);
            }
        });
    }
}

/// The code at `ROW` of a lane, sign-extended.
macro_rules! code {
    ($words:ident, $lane:ident, $row:ident, $bits:ident) => {{
        let used = $row * $bits % 32;
        let k = $row * $bits / 32;
        let top = u32::from_le_bytes($words[LANES * k + $lane]) << used;
        let top = if used + $bits > 32 {
            top | u32::from_le_bytes($words[LANES * (k + 1) + $lane]) >> (32 - used)
        } else {
            top
        };
        (top as i32) >> (32 - $bits)
    }};
}

/// `acc += factor * value(code)` over full blocks: `bytes` is 64 `B` bytes for every 512 of `acc`.
#[inline(always)]
fn accumulate_values<const B: usize>(
    bytes: &[u8],
    factor: f32,
    acc: &mut [f32],
    value: impl Fn(i32) -> f32,
) {
    for (words, acc) in bytes
        .chunks_exact(4 * LANES * B)
        .zip(acc.as_chunks_mut::<BLOCK>().0)
    {
        let words = words.as_chunks::<4>().0;
        assert!(words.len() == LANES * B);
        for lane in 0..LANES {
            for_each_row!(ROW => {
                let code = code!(words, lane, ROW, B);
                acc[LANES * ROW + lane] += factor * value(code);
            });
        }
    }
}

/// `acc += factor * code` over full blocks, as [`accumulate_values`].
#[inline(always)]
pub fn accumulate<const B: usize>(bytes: &[u8], factor: f32, acc: &mut [f32]) {
    accumulate_values::<B>(
        bytes,
        factor,
        acc,
        #[inline(always)]
        |code| code as f32,
    );
}

/// `acc += factor * (code + 1/2)` over full blocks, as [`accumulate_values`].
#[inline(always)]
pub fn accumulate_mid_rise<const B: usize>(bytes: &[u8], factor: f32, acc: &mut [f32]) {
    accumulate_values::<B>(
        bytes,
        factor,
        acc,
        #[inline(always)]
        |code| code as f32 + 0.5,
    );
}

/// `acc += factor * values[code + 2^(B-1)]` over full blocks, as [`accumulate_values`]; `values` has
/// 2^B elements.
#[inline(always)]
pub fn accumulate_table<const B: usize>(
    bytes: &[u8],
    factor: f32,
    values: &[f32],
    acc: &mut [f32],
) {
    let values = &values[..1 << B];
    accumulate_values::<B>(
        bytes,
        factor,
        acc,
        #[inline(always)]
        |code| values[((code + (1 << (B - 1))) & ((1 << B) - 1)) as usize],
    );
}

/// `acc += factor` where a code of one bit is 0, `acc -= factor` where it is 1, over full blocks:
/// `bytes` is 64 bytes for every 512 of `acc`.
#[inline(always)]
pub fn accumulate_signs(bytes: &[u8], factor: f32, acc: &mut [f32]) {
    let factor = factor.to_bits();
    for (words, acc) in bytes
        .chunks_exact(4 * LANES)
        .zip(acc.as_chunks_mut::<BLOCK>().0)
    {
        let words = words.as_chunks::<4>().0;
        assert!(words.len() == LANES);
        for lane in 0..LANES {
            let word = u32::from_le_bytes(words[lane]);
            for_each_row!(ROW => {
                acc[LANES * ROW + lane] += f32::from_bits(factor ^ (word << ROW & 1 << 31));
            });
        }
    }
}

/// [`lowest`] of codes of one bit, both of which stand for something: none is reserved.
pub fn lowest_sign(_: &[u8]) -> i32 {
    0
}

/// The lowest code in full blocks; `bytes` is a multiple of 64 `B`.
#[inline(always)]
pub fn lowest<const B: usize>(bytes: &[u8]) -> i32 {
    let mut lowest = [0i32; LANES];
    for words in bytes.chunks_exact(4 * LANES * B) {
        let words = words.as_chunks::<4>().0;
        assert!(words.len() == LANES * B);
        for lane in 0..LANES {
            let mut least = lowest[lane];
            for_each_row!(ROW => {
                least = least.min(code!(words, lane, ROW, B));
            });
            lowest[lane] = least;
        }
    }
    lowest.into_iter().fold(0, i32::min)
}

/// `acc += weight * x` for x stored as little-endian f32.
#[inline(always)]
pub fn accumulate_f32(bytes: &[u8], weight: f32, acc: &mut [f32]) {
    for (x, acc) in bytes.as_chunks::<4>().0.iter().zip(acc) {
        *acc += weight * f32::from_le_bytes(*x);
    }
}

/// [`max_abs_bits`] of little-endian f32.
#[inline(always)]
pub fn max_abs_bits_le(bytes: &[u8]) -> u32 {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .fold(0, |max, x| max.max(u32::from_le_bytes(*x) & 0x7fff_ffff))
}
