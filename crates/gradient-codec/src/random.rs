//! The random bits of stochastic rounding, as scalar definitions.
//!
//! A coordinate's 32 bits are a function of the message's 128-bit key (from
//! [`counter_rng::rounding_key`]) and of its place `(block, row, lane)`, where blocks are counted
//! through the whole frame. No state is carried, so threads, chunking and resuming change nothing.
//!
//! * [`Generator::Philox`]: Philox4x32 with 7 rounds. Counter words 0 and 1 are the low and high
//!   half of `128 block + 16 (row / 4) + lane`, counter words 2 and 3 the key's words 2 and 3, the
//!   Philox key its words 0 and 1; the coordinate takes output word `row % 4`. Seven rounds are the
//!   fewest that pass BigCrush with a margin of one (Salmon et al., "Parallel random numbers: as
//!   easy as 1, 2, 3", SC'11, table 2); the customary 10 buy margin that rounding a gradient does
//!   not need at 1.4 times the cost of the step that dominates encoding.
//! * [`Generator::Ars`]: counter `128 block + (16 row + lane) / 4` in the low 64 bits of a 128-bit
//!   state, xor the key, then five full AES rounds whose keys are the message key plus 1..=5 times
//!   the Weyl constants of Random123's ARS; the coordinate takes 32-bit word `lane % 4`. Unlike
//!   Random123's ARS the last round keeps its MixColumns. A prototype of it passed 32 GB of
//!   PractRand, which has not been repeated with this code.
//!
//! `tools/randomness/run.sh` runs dieharder 3.31.1 on these bits. So far on one of its six streams, and on
//! that up to the 21st of 33 lagged sums: ARS, the words of one coordinate from 64 workers in turn. Of 94
//! p-values none failed and three were weak, where one is expected. The lowest, 0.0006 for Diehard's squeeze test
//! with 100 samples, became 0.011 with 2000 of the same stream (`dieharder -g 200 -d 13 -p 2000`); 400 of
//! each of the two other ARS streams gave 0.36 and 0.90, and 800 of Philox over workers 0.03.

use crate::layout::LANES;
use crate::quantizer::Generator;

/// The 32 random bits of the coordinate at `(block, row, lane)` of the message with this key.
pub fn bits(generator: Generator, key: [u32; 4], block: u64, row: usize, lane: usize) -> u32 {
    match generator {
        Generator::Philox => {
            let counter = block
                .wrapping_mul(128)
                .wrapping_add((LANES * (row / 4) + lane) as u64);
            philox(counter, key)[row % 4]
        }
        Generator::Ars => {
            let counter = block
                .wrapping_mul(128)
                .wrapping_add(((LANES * row + lane) / 4) as u64);
            ars(counter, &ars_round_keys(key))[lane % 4]
        }
    }
}

/// A message's key, and what the generators derive from it once.
pub(crate) struct Keys {
    /// The message's key.
    pub message: [u32; 4],
    /// The whitening key and the round keys of ARS.
    pub ars: [[u32; 4]; ARS_ROUNDS + 1],
}

impl Keys {
    pub fn new(message: [u32; 4]) -> Self {
        Self {
            message,
            ars: ars_round_keys(message),
        }
    }
}

/// Rounds of Philox4x32.
pub(crate) const PHILOX_ROUNDS: usize = 7;
/// Multipliers of Philox4x32.
pub(crate) const PHILOX_MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Key increments of Philox4x32.
pub(crate) const PHILOX_WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A number below `bound`, uniform up to 2^-64 of it: the high half of a product with 64 bits of
/// Philox under `key` ([`crate::MessageId::coordinates_key`]). Draw `i` chooses rand-K's coordinates.
pub fn below(i: u64, key: u64, bound: u64) -> u64 {
    let words = philox(i, [key as u32, (key >> 32) as u32, 0, 0]);
    let random = u64::from(words[1]) << 32 | u64::from(words[0]);
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

/// Four words of random bits: seven rounds of Philox4x32 on `counter`.
pub(crate) fn philox(counter: u64, key: [u32; 4]) -> [u32; 4] {
    let block = [counter as u32, (counter >> 32) as u32, key[2], key[3]];
    philox4x32::<PHILOX_ROUNDS>(block, [key[0], key[1]])
}

/// Philox4x32 of Salmon et al.: `ROUNDS` rounds of `counter` under `key`.
fn philox4x32<const ROUNDS: usize>(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        let p0 = u64::from(PHILOX_MULTIPLIERS[0]) * u64::from(c0);
        let p1 = u64::from(PHILOX_MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) = (
            (p1 >> 32) as u32 ^ c1 ^ k0,
            p1 as u32,
            (p0 >> 32) as u32 ^ c3 ^ k1,
            p0 as u32,
        );
        k0 = k0.wrapping_add(PHILOX_WEYL[0]);
        k1 = k1.wrapping_add(PHILOX_WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// AES rounds of the ARS generator.
const ARS_ROUNDS: usize = 5;
/// Increments of the two 64-bit halves of the ARS round keys (Random123).
const ARS_WEYL: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];

/// The whitening key and the keys of the five rounds.
fn ars_round_keys(key: [u32; 4]) -> [[u32; 4]; ARS_ROUNDS + 1] {
    let low = u64::from(key[1]) << 32 | u64::from(key[0]);
    let high = u64::from(key[3]) << 32 | u64::from(key[2]);
    std::array::from_fn(|round| {
        let low = low.wrapping_add(ARS_WEYL[0].wrapping_mul(round as u64));
        let high = high.wrapping_add(ARS_WEYL[1].wrapping_mul(round as u64));
        [
            low as u32,
            (low >> 32) as u32,
            high as u32,
            (high >> 32) as u32,
        ]
    })
}

/// Four words of random bits: five AES rounds of `counter`.
pub(crate) fn ars(counter: u64, keys: &[[u32; 4]; ARS_ROUNDS + 1]) -> [u32; 4] {
    let [whitening, rounds @ ..] = keys;
    let state = [
        counter as u32 ^ whitening[0],
        (counter >> 32) as u32 ^ whitening[1],
        whitening[2],
        whitening[3],
    ];
    rounds.iter().fold(state, aes_round)
}

/// One AES encryption round (FIPS 197: SubBytes, ShiftRows, MixColumns, AddRoundKey); words are
/// columns, row 0 in the low byte.
fn aes_round(state: [u32; 4], key: &[u32; 4]) -> [u32; 4] {
    let byte = |column: usize, row: usize| (state[column % 4] >> (8 * row)) as usize & 0xff;
    std::array::from_fn(|c| {
        AES_TABLE[byte(c, 0)]
            ^ AES_TABLE[byte(c + 1, 1)].rotate_left(8)
            ^ AES_TABLE[byte(c + 2, 2)].rotate_left(16)
            ^ AES_TABLE[byte(c + 3, 3)].rotate_left(24)
            ^ key[c]
    })
}

/// MixColumns of a column whose row 0 is SubBytes(index) and whose other rows are zero.
static AES_TABLE: [u32; 256] = aes_table();

const fn aes_table() -> [u32; 256] {
    let mut table = [0u32; 256];
    // Walk the multiplicative group of GF(2^8): p runs through powers of 3, q through their inverses.
    let (mut p, mut q) = (1u8, 1u8);
    loop {
        p ^= p << 1 ^ if p & 0x80 != 0 { 0x1b } else { 0 };
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if q & 0x80 != 0 {
            q ^= 0x09;
        }
        let s = q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4);
        table[p as usize] = mix(s ^ 0x63);
        if p == 1 {
            break;
        }
    }
    table[0] = mix(0x63);
    table
}

const fn mix(s: u8) -> u32 {
    let double = s << 1 ^ if s & 0x80 != 0 { 0x1b } else { 0 };
    u32::from_le_bytes([double, s, s, double ^ s])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution (philox4x32, 7 and 10 rounds).
    #[test]
    fn philox_known_answers() {
        assert_eq!(
            philox4x32::<7>([0; 4], [0; 2]),
            [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]
        );
        assert_eq!(
            philox4x32::<7>([u32::MAX; 4], [u32::MAX; 2]),
            [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662]
        );
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            philox4x32::<7>(pi, [0xa409_3822, 0x299f_31d0]),
            [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a]
        );
        assert_eq!(
            philox4x32::<10>([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
    }

    /// FIPS 197, appendix B: the first round of the example.
    #[test]
    fn aes_round_of_the_standard() {
        let words = |bytes: u128| -> [u32; 4] {
            let bytes = bytes.to_be_bytes();
            std::array::from_fn(|c| {
                u32::from_le_bytes([
                    bytes[4 * c],
                    bytes[4 * c + 1],
                    bytes[4 * c + 2],
                    bytes[4 * c + 3],
                ])
            })
        };
        assert_eq!(
            aes_round(
                words(0x193d_e3be_a0f4_e22b_9ac6_8d2a_e9f8_4808),
                &words(0xa0fa_fe17_8854_2cb1_23a3_3939_2a6c_7605)
            ),
            words(0xa49c_7ff2_689f_352b_6b5b_ea43_026a_5049)
        );
    }

    #[test]
    fn every_place_and_key_word_matters() {
        for generator in [Generator::Philox, Generator::Ars] {
            let mut seen = std::collections::HashSet::new();
            for block in [0, 1, 1 << 20, 1 << 25, 1 << 33] {
                for row in 0..32 {
                    for lane in 0..16 {
                        seen.insert((block, bits(generator, [1, 2, 3, 4], block, row, lane)));
                    }
                }
            }
            // 2560 draws of 32 bits: a collision inside a block has probability 1.5e-4.
            assert_eq!(seen.len(), 5 * 512, "{generator:?}");
            for word in 0..4 {
                let mut key = [1, 2, 3, 4];
                key[word] ^= 1;
                assert_ne!(
                    bits(generator, key, 0, 0, 0),
                    bits(generator, [1, 2, 3, 4], 0, 0, 0)
                );
            }
        }
    }
}
