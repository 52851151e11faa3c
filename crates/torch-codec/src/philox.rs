//! The random bits of stochastic rounding: rule 10 of the format, Philox4x32-7 in int64 tensors.

use tch::{Device, Kind, TchError, Tensor};

/// The low 32 bits of an int64.
pub(crate) const LOW: i64 = 0xffff_ffff;

const ROUNDS: usize = 7;
const MULTIPLIERS: [i64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The 32 random bits of every place of `blocks` blocks from block `first` of the frame on: int64 in
/// `0..2^32`, shape `[blocks, 32, lanes]`.
pub(crate) fn random_bits(
    key: [u32; 4],
    first: u64,
    blocks: i64,
    lanes: i64,
    device: Device,
) -> Result<Tensor, TchError> {
    let range =
        |count: i64, unit: i64| Tensor::f_arange(count, (Kind::Int64, device))?.f_mul_scalar(unit);
    // C = 128 block + 16 (row / 4) + lane
    let counter = range(blocks, 128)?
        .f_add_scalar((first as i64).wrapping_mul(128))?
        .f_view([-1, 1, 1])?
        .f_add(&range(8, 16)?.f_view([1, -1, 1])?)?
        .f_add(&range(lanes, 1)?.f_view([1, 1, -1])?)?;
    let words = philox(counter, key)?;
    // The row's word of its group's four: rows are 4 (row / 4) + word.
    Tensor::f_stack(&words, 2)?
        .f_bitwise_and_(LOW)?
        .f_view([blocks, 32, lanes])
}

/// Seven rounds on `counter` (64 bits) and the key's words 2 and 3, under its words 0 and 1. Only the
/// low 32 bits of what comes back count.
///
/// A word is an int64 whose upper half may hold anything; it is cleared before the multiplication,
/// whose 64-bit result is exact (int64 wraps as the unsigned product does).
fn philox(counter: Tensor, key: [u32; 4]) -> Result<[Tensor; 4], TchError> {
    let options = (Kind::Int64, counter.device());
    let constant = |word: u32| Tensor::f_full([1], i64::from(word), options);
    let mut c1 = counter.f_bitwise_right_shift_tensor_scalar(32)?;
    let mut c0 = counter;
    let mut c2 = constant(key[2])?;
    let mut c3 = constant(key[3])?;
    let [mut k0, mut k1] = [key[0], key[1]];
    for _ in 0..ROUNDS {
        let p0 = c0.f_bitwise_and(LOW)?.f_mul_scalar_(MULTIPLIERS[0])?;
        let p1 = c2.f_bitwise_and(LOW)?.f_mul_scalar_(MULTIPLIERS[1])?;
        let high = |product: &Tensor| product.f_bitwise_right_shift_tensor_scalar(32);
        c0 = high(&p1)?
            .f_bitwise_xor_tensor(&c1)?
            .f_bitwise_xor_(i64::from(k0))?;
        c2 = high(&p0)?
            .f_bitwise_xor_tensor(&c3)?
            .f_bitwise_xor_(i64::from(k1))?;
        (c1, c3) = (p1, p0);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    Ok([c0, c1, c2, c3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradient_codec::{Generator, random};

    /// Known answers of the Random123 distribution, as for the CPU's loops.
    #[test]
    fn known_answers() {
        let words = |counter: i64, key| -> Vec<u32> {
            let words = philox(Tensor::from_slice(&[counter]), key).unwrap();
            words
                .iter()
                .map(|word| word.int64_value(&[0]) as u32)
                .collect()
        };
        assert_eq!(
            words(0, [0; 4]),
            [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]
        );
        assert_eq!(
            words(-1, [u32::MAX; 4]),
            [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662]
        );
        let counter = 0x85a3_08d3_243f_6a88u64 as i64;
        assert_eq!(
            words(
                counter,
                [0xa409_3822, 0x299f_31d0, 0x1319_8a2e, 0x0370_7344]
            ),
            [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a]
        );
    }

    #[test]
    fn places_are_the_contract_s() {
        let key = [0xdead_beef, 2, 0x8000_0000, 0xffff_ffff];
        for (first, blocks, lanes) in [
            (0, 3, 16),
            (7, 1, 5),
            ((1 << 25) - 1, 2, 16),
            (1 << 40, 1, 1),
        ] {
            let found = random_bits(key, first, blocks, lanes, Device::Cpu).unwrap();
            for block in 0..blocks {
                for row in 0..32 {
                    for lane in 0..lanes {
                        let wanted = random::bits(
                            Generator::Philox,
                            key,
                            first + block as u64,
                            row as usize,
                            lane as usize,
                        );
                        let found = found.int64_value(&[block, row, lane]);
                        assert_eq!(found, i64::from(wanted), "{first} {block} {row} {lane}");
                    }
                }
            }
        }
    }
}
