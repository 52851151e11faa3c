//! The interface of the hand-written loops. Encoding: codes of one run of blocks, and beside them the
//! statistic from which the next bucket's scale is taken. Decoding: runs of blocks with their steps.

use super::generic::{self, PARTIALS};
use crate::layout::BLOCK;
use crate::random::Keys;

/// What a run of blocks is quantized with; random bits are ARS.
pub(crate) struct Run<'a> {
    pub keys: &'a Keys,
    /// The first block, counted through the frame.
    pub block: u64,
    /// `2^(32-bits) / step`.
    pub factor: f32,
    /// The outermost level in fixed point.
    pub limit: f32,
    /// Added to every level in fixed point.
    pub offset: i32,
}

/// What is gathered from the coordinates that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Statistic {
    /// Nothing; levels are clamped, because the scale is not one that bounds them.
    None = 0,
    /// The largest magnitude.
    Largest = 1,
    /// The sum of squares.
    Squares = 2,
}

/// Partial statistics of a bucket.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Ahead {
    /// Bits of the largest magnitudes, by coordinate modulo 16.
    pub largest: [u32; 16],
    /// Partial sums, by coordinate modulo 32.
    pub squares: [f64; PARTIALS],
}

impl Ahead {
    pub const ZERO: Self = Self {
        largest: [0; 16],
        squares: [0.0; PARTIALS],
    };

    /// Adds coordinates that begin at a multiple of 32 from the bucket's start.
    pub fn add(&mut self, statistic: Statistic, x: &[f32]) {
        match statistic {
            Statistic::None => {}
            Statistic::Largest => {
                let largest = generic::max_abs_bits(x);
                self.largest[0] = self.largest[0].max(largest);
            }
            Statistic::Squares => generic::add_squares(x, &mut self.squares),
        }
    }

    /// Bits of the largest magnitude.
    pub fn max_abs_bits(&self) -> u32 {
        self.largest.iter().fold(0, |max, v| max.max(*v))
    }

    /// The sum of squares, in the order of [`generic::sum_squares`].
    pub fn sum_squares(&self) -> f64 {
        generic::total(self.squares)
    }

    /// The largest magnitude or the l2 norm; not finite exactly if some coordinate is not.
    pub fn scale(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::None => 0.0,
            Statistic::Largest => f64::from(f32::from_bits(self.max_abs_bits())),
            Statistic::Squares => self.sum_squares().sqrt(),
        }
    }
}

/// Codes of `x` (whole blocks) to `out` (64 bytes times the width for each), the same bytes as the
/// separate loops, and the statistic of `ahead`, which is as long as `x`.
type Encode = unsafe fn(&Run<'_>, &[f32], &[f32], &mut Ahead, &mut [u8]);

/// The statistic of whole blocks alone.
type Gather = unsafe fn(&[f32], &mut Ahead);

/// Full blocks of one segment and the steps of their buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes<'a> {
    pub blocks: &'a [u8],
    /// The steps of the segment's buckets, little-endian.
    pub steps: &'a [[u8; 4]],
    /// The first of the blocks, counted through the segment.
    pub first: usize,
    /// log2 of the blocks that share a step.
    pub shift: u32,
    pub levels: Levels,
    /// Those of [`Levels::Table`], by `code + 2^(bits-1)`.
    pub values: &'a [f32],
}

/// What a code stands for, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Levels {
    /// Itself; of one bit, 0 is plus and 1 is minus one.
    Whole = 0,
    /// Itself and a half.
    Half = 1,
    /// A value from a table.
    Table = 2,
}

impl Codes<'_> {
    /// The step of block `i` of `blocks`.
    #[inline(always)]
    pub fn step(&self, i: usize) -> f32 {
        f32::from_le_bytes(self.steps[(self.first + i) >> self.shift])
    }
}

/// `acc += weight * step * level` over full blocks, as [`generic::accumulate`] bucket by bucket.
type Accumulate = unsafe fn(&Codes<'_>, f32, &mut [f32]);

/// The hand-written loops of one instruction set; encoders by [`Statistic`] and width - 1.
pub(crate) struct Fused {
    encode: [[Encode; 16]; 3],
    // Also by whether it walks through memory.
    gather: [[Gather; 2]; 3],
    stream: unsafe fn(&[u8], &mut [u8]),
    // Levels, whether the accumulator is prefetched, width - 1.
    accumulate: [[[Accumulate; 16]; 2]; 3],
    has_unused: [unsafe fn(&[u8]) -> bool; 16],
}

/// The loops of a module, whose encoder is named.
#[cfg(target_arch = "x86_64")]
macro_rules! loops {
    ($set:ident :: $encode:ident) => {{
        use super::$set::{decode, encode};
        Self {
            encode: [
                widths!(encode::$encode, Statistic::None as u8),
                widths!(encode::$encode, Statistic::Largest as u8),
                widths!(encode::$encode, Statistic::Squares as u8),
            ],
            gather: [
                [
                    encode::gather::<{ Statistic::None as u8 }, false>,
                    encode::gather::<{ Statistic::None as u8 }, true>,
                ],
                [
                    encode::gather::<{ Statistic::Largest as u8 }, false>,
                    encode::gather::<{ Statistic::Largest as u8 }, true>,
                ],
                [
                    encode::gather::<{ Statistic::Squares as u8 }, false>,
                    encode::gather::<{ Statistic::Squares as u8 }, true>,
                ],
            ],
            stream: super::x86::stream,
            accumulate: [
                [
                    widths!(decode::accumulate, Levels::Whole as u8, false),
                    widths!(decode::accumulate, Levels::Whole as u8, true),
                ],
                [
                    widths!(decode::accumulate, Levels::Half as u8, false),
                    widths!(decode::accumulate, Levels::Half as u8, true),
                ],
                [
                    widths!(decode::accumulate, Levels::Table as u8, false),
                    widths!(decode::accumulate, Levels::Table as u8, true),
                ],
            ],
            has_unused: widths!(decode::has_unused),
        }
    }};
}

#[cfg(target_arch = "x86_64")]
impl Fused {
    /// Needs AVX-512 with VBMI2 and VAES.
    pub const AVX512: Self = loops!(avx512::encode);
    /// Needs AVX2, FMA, BMI2 and AES.
    pub const AVX2: Self = loops!(avx2::encode_aes);
    /// Needs VAES as well.
    pub const AVX2_VAES: Self = loops!(avx2::encode_vaes);
}

impl Fused {
    /// See [`Encode`]; `bits` in 1..=16.
    pub fn encode(
        &self,
        bits: u8,
        statistic: Statistic,
        run: &Run<'_>,
        x: &[f32],
        ahead: (&[f32], &mut Ahead),
        out: &mut [u8],
    ) {
        let encode = self.encode[statistic as usize][usize::from(bits) - 1];
        // SAFETY: this CPU has the instruction set, because a `Fused` is only handed out by
        // `Kernels`.
        unsafe { encode(run, x, ahead.0, ahead.1, out) }
    }

    /// Adds coordinates that begin at a multiple of 32 from the bucket's start; `walks`: asks for what follows in
    /// memory.
    pub fn gather(&self, statistic: Statistic, walks: bool, x: &[f32], to: &mut Ahead) {
        let (full, rest) = x.split_at(x.len() - x.len() % BLOCK);
        // SAFETY: as in `encode`.
        unsafe { (self.gather[statistic as usize][usize::from(walks)])(full, to) };
        to.add(statistic, rest);
    }

    /// Copies bytes around the cache: for what nobody will read soon.
    pub fn stream(&self, from: &[u8], to: &mut [u8]) {
        // SAFETY: as in `encode`.
        unsafe { (self.stream)(from, to) }
    }

    /// Adds blocks to `acc`, which is as many times 512 long; `ahead`: asks for what follows in `acc`,
    /// too. `bits` in 1..=16.
    pub fn accumulate(
        &self,
        bits: u8,
        codes: &Codes<'_>,
        weight: f32,
        ahead: bool,
        acc: &mut [f32],
    ) {
        let accumulate = &self.accumulate[codes.levels as usize][usize::from(ahead)];
        // SAFETY: as in `encode`.
        unsafe { (accumulate[usize::from(bits) - 1])(codes, weight, acc) }
    }

    /// Whether full blocks hold the code `-2^(bits-1)`; `bits` in 2..=16.
    pub fn has_unused(&self, bits: u8, blocks: &[u8]) -> bool {
        // SAFETY: as in `encode`.
        unsafe { (self.has_unused[usize::from(bits) - 1])(blocks) }
    }
}
