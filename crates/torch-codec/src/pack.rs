//! Codes to words and back: rule 3 of the format. A lane is a stream of 32 codes, most significant
//! bit first, in `bits` words.

use crate::philox::LOW;
use tch::{Device, Kind, TchError, Tensor};

/// Packs codes, int64 in `0..2^bits`, shape `[blocks, 32, lanes]`, to words, int64 in `0..2^32`, shape
/// `[blocks, bits, lanes]`; `bits` in 1..=16.
pub(crate) fn pack(codes: &Tensor, bits: i64) -> Result<Tensor, TchError> {
    // Row r has bits r b .. (r+1) b of the stream: at most two words. In the 64 bits from word
    // r b / 32 on it ends 64 - b - r b % 32 bits before the end.
    let up = within_word(bits, codes.device())?
        .f_neg()?
        .f_add_scalar(64 - bits)?;
    let window = codes.f_bitwise_left_shift(&up)?;
    let begun = window
        .f_bitwise_right_shift_tensor_scalar(32)?
        .f_bitwise_and_(LOW)?;
    let mut words = Vec::new();
    for word in 0..bits {
        // The rows that begin in this word, and the end of one that began in the word before.
        let (first, end) = (first_row(word, bits), first_row(word + 1, bits));
        let mut sum = begun.f_narrow(1, first, end - first)?.f_sum_dim_intlist(
            [1i64].as_slice(),
            false,
            Kind::Int64,
        )?;
        if first * bits > 32 * word {
            sum = sum.f_add_(&window.f_select(1, first - 1)?.f_bitwise_and(LOW)?)?;
        }
        words.push(sum);
    }
    Tensor::f_stack(&words, 1)
}

/// Unpacks words, int32, shape `[blocks, bits, lanes]`, to codes in two's complement, int32, shape
/// `[blocks, 32, lanes]`.
pub(crate) fn unpack(words: &Tensor, bits: i64) -> Result<Tensor, TchError> {
    let (device, (blocks, _, lanes)) = (words.device(), words.size3()?);
    if 32 % bits == 0 {
        // No row crosses from a word into the next.
        let rows = 32 / bits;
        let up = Tensor::f_arange(rows, (Kind::Int, device))?
            .f_mul_scalar_(bits)?
            .f_view([1, 1, rows, 1])?;
        return words
            .f_view([blocks, bits, 1, lanes])?
            .f_bitwise_left_shift(&up)?
            .f_bitwise_right_shift_tensor_scalar_(32 - bits)?
            .f_reshape([blocks, 32, lanes]);
    }
    let first = Tensor::f_arange(32, (Kind::Int64, device))?
        .f_mul_scalar_(bits)?
        .f_bitwise_right_shift_tensor_scalar_(5)?;
    // Rows of the last word have no second one and need none.
    let second = first.f_add_scalar(1)?.f_clamp_max(bits - 1)?;
    let up = within_word(bits, device)?.f_to_kind(Kind::Int)?;
    // The first `up` bits of the second word. Shifts of 32 leave nothing that is kept.
    let kept = up
        .f_zeros_like()?
        .f_bitwise_not_()?
        .f_bitwise_left_shift_(&up)?
        .f_bitwise_not_()?;
    let down = up.f_neg()?.f_add_scalar_(32)?;
    let low = words
        .f_index_select(1, &second)?
        .f_bitwise_right_shift_(&down)?
        .f_bitwise_and_tensor_(&kept)?;
    words
        .f_index_select(1, &first)?
        .f_bitwise_left_shift_(&up)?
        .f_bitwise_or_tensor_(&low)?
        .f_bitwise_right_shift_tensor_scalar_(32 - bits)
}

/// The first row that begins in `word` or later.
fn first_row(word: i64, bits: i64) -> i64 {
    (32 * word + bits - 1) / bits
}

/// Where in its word each row begins, `r b % 32`, shape `[1, 32, 1]`.
fn within_word(bits: i64, device: Device) -> Result<Tensor, TchError> {
    Tensor::f_arange(32, (Kind::Int64, device))?
        .f_mul_scalar(bits)?
        .f_bitwise_and(31)?
        .f_view([1, 32, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stream bit by bit, as the format has it.
    fn slow(codes: &[i64], bits: usize) -> Vec<i64> {
        let stream: Vec<i64> = codes
            .iter()
            .flat_map(|code| (0..bits).rev().map(move |bit| code >> bit & 1))
            .collect();
        let word = |bits: &[i64]| bits.iter().fold(0, |word, bit| 2 * word + bit);
        stream.chunks(32).map(word).collect()
    }

    #[test]
    fn streams_of_every_width() {
        for bits in 1..=16i64 {
            let codes: Vec<i64> = (0..64)
                .map(|i| ((i * 0x9E37_79B9_7F4A_7C15i128) >> 11) as i64 & ((1 << bits) - 1))
                .collect();
            // Two lanes of one block.
            let lanes: Vec<&[i64]> = codes.chunks(32).collect();
            let tensor = Tensor::from_slice(&codes).view([1, 2, 32]).transpose(1, 2);
            let packed = pack(&tensor.contiguous(), bits).unwrap();
            assert_eq!(packed.size(), [1, bits, 2]);
            for (lane, codes) in lanes.iter().enumerate() {
                let words = slow(codes, bits as usize);
                for (k, word) in words.iter().enumerate() {
                    let found = packed.int64_value(&[0, k as i64, lane as i64]);
                    assert_eq!(found, *word, "bits {bits} word {k}");
                }
            }
            let unpacked = unpack(&packed.to_kind(Kind::Int), bits).unwrap();
            for (lane, codes) in lanes.iter().enumerate() {
                for (row, code) in codes.iter().enumerate() {
                    let signed = code << (64 - bits) >> (64 - bits);
                    let found = unpacked.int64_value(&[0, row as i64, lane as i64]);
                    assert_eq!(found, signed, "bits {bits} row {row}");
                }
            }
        }
    }
}
