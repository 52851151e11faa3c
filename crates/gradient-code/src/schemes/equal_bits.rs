//! Equal bits, as all baselines of the paper use them: `Z_tot div k` each, one more for the
//! `Z_tot mod k` most reliable.

/// Bits for workers with these straggle probabilities; ties go to the lower index. `total_bits` must
/// not exceed what fits the widest code of each.
pub(crate) fn equal_bits(probabilities: &[f64], total_bits: u64) -> Vec<u8> {
    let workers = probabilities.len() as u64;
    let Some(base) = total_bits.checked_div(workers) else {
        return Vec::new();
    };
    let mut bits = vec![base as u8; probabilities.len()];
    for worker in most_reliable_first(probabilities)
        .into_iter()
        .take((total_bits % workers) as usize)
    {
        bits[worker] += 1;
    }
    bits
}

/// Indices in ascending order of straggle probability; ties keep their order.
pub(super) fn most_reliable_first(probabilities: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_goes_to_the_most_reliable() {
        // 2 + (Z_res div k) with Z_res = 14 - 2*4 = 6: 3 each and 2 left over.
        assert_eq!(equal_bits(&[0.9, 0.5, 0.7, 0.5], 14), [3, 4, 3, 4]);
        assert_eq!(equal_bits(&[0.5, 0.5, 0.5], 7), [3, 2, 2]);
        assert!(equal_bits(&[], 7).is_empty());
    }
}
