//! Rotations, nearest levels and their sums of every instruction set, against the slow loops and each
//! other.

use super::{ID, expected, normal, vector};
use crate::encode::encode_with;
use crate::frame::accumulate_many_with;
use crate::kernels::{Kernels, Nearest, PARTIALS};
use crate::layout::BLOCK;
use crate::lloyd_max::codebook;
use crate::rotation::Rotor;
use crate::{Frame, MessageId, Quantizer, Rotation, Sharing, reference};
use proptest::prelude::*;

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// A vector with zeros of both signs, subnormal numbers and numbers whose sums come close to the largest one.
fn extreme(n: usize, seed: u64) -> Vec<f32> {
    let mut x = normal(n, seed);
    for (i, v) in x.iter_mut().enumerate() {
        *v *= match i % 7 {
            0 => 1e-44,
            1 => 0.0,
            2 => -0.0,
            3 => 1e33,
            4 => 1e-30,
            _ => 1.0,
        };
    }
    x
}

/// The block sizes of rotations.
fn blocks() -> impl Iterator<Item = usize> {
    (9..=13).map(|log2| 1 << log2)
}

#[test]
fn rotations_of_every_size() {
    for block in blocks() {
        for rounds in [1, 2] {
            let rotation = Rotation::new(0x0123_4567_89ab_cdef, block as u32, rounds);
            // Whole blocks in different places of a stripe of signs, and partial ones of all kinds.
            for n in [
                3 * block,
                16_384 + 2 * block,
                2 * block - 1,
                block + 512,
                block + 77,
            ] {
                for x in [vector(n, 1), extreme(n, 2), vec![0.0; n], vec![-0.0; n]] {
                    let wanted = reference::rotate(&rotation, &x);
                    let back = reference::rotate_back(&rotation, &wanted);
                    let added: Vec<f32> = back.iter().zip(&x).map(|(b, x)| x + b).collect();
                    for kernels in Kernels::all() {
                        let what = format!("{} {block} {rounds} {n}", kernels.name());
                        let mut rotor = Rotor::new(kernels, rotation);
                        let (mut z, mut there) = (vec![f32::NAN; n], x.clone());
                        for start in (0..n).step_by(block) {
                            let part = start..n.min(start + block);
                            rotor.apply_to(start, &x[part.clone()], &mut z[part.clone()]);
                            rotor.apply(start, &mut there[part]);
                        }
                        assert!(bits(&z) == bits(&wanted), "{what}");
                        assert!(bits(&there) == bits(&wanted), "{what}");
                        let (mut sum, mut scratch) = (x.clone(), z.clone());
                        for start in (0..n).step_by(2 * block) {
                            let part = start..n.min(start + 2 * block);
                            let z = &mut scratch[part.clone()];
                            rotor.add_inverse(start, z, &mut sum[part], start == 0);
                        }
                        assert!(bits(&sum) == bits(&added), "{what}");
                        for (i, z) in z.chunks_mut(block).enumerate() {
                            rotor.invert(i * block, z);
                        }
                        assert!(bits(&z) == bits(&back), "{what}");
                    }
                }
            }
        }
    }
}

/// Codes, levels and sums of one block: at, just below and just above every threshold, and elsewhere.
#[test]
fn nearest_levels_of_every_width() {
    for width in 1..=16u8 {
        let book = codebook(width);
        let quantizer = Quantizer::eden(512, width, Sharing::Message).unwrap();
        let near = |t: &f32| {
            let neighbours = [-1i32, 0, 1].map(|d| t.to_bits().wrapping_add_signed(d));
            neighbours.map(f32::from_bits)
        };
        let finite = &book.thresholds()[..book.thresholds().len() - 1];
        let mut z: Vec<f32> = finite.iter().flat_map(near).flat_map(|t| [t, -t]).collect();
        z.extend(normal(2 * BLOCK, 3));
        z.extend(normal(BLOCK, 4).iter().map(|v| 30.0 * v));
        z.extend([0.0, -0.0, 1e-45, -1e-45, 1e-30, 90.5, -90.5, 3e38, -3e38]);
        z.resize(z.len().next_multiple_of(BLOCK), 0.0);
        for z in z.as_chunks::<BLOCK>().0 {
            for factor in [1.0, 0.37] {
                let run = |kernels: &Kernels| {
                    let mut words = vec![0xaa; 64 * usize::from(width)];
                    let mut found = Nearest {
                        levels: [f32::NAN; BLOCK],
                        dot: [0.25; PARTIALS],
                    };
                    kernels.nearest(z, factor, book, &mut words, &mut found, z.as_ptr());
                    (words, bits(&found.levels), found.dot.map(f64::to_bits))
                };
                let sets: Vec<_> = Kernels::all()
                    .map(|kernels| (kernels, run(kernels)))
                    .collect();
                let (_, portable) = &sets[sets.len() - 1];
                for (kernels, found) in &sets {
                    assert!(found == portable, "{} {width}", kernels.name());
                }
                for (z, q) in z.iter().zip(&portable.1) {
                    let code = reference::nearest_code(&quantizer, factor, *z);
                    let value = book.values()[(code + (1 << (width - 1))) as usize];
                    assert_eq!(value.to_bits(), *q, "{width} {z}");
                }
            }
        }
    }
}

/// Frames and sums of rotated vectors, for every width and size of buckets with whole and partial ones.
#[test]
fn rotated_frames_of_every_bucket_and_width() {
    for block in blocks() {
        for width in 1..=16u8 {
            let n = 2 * block + [512, 700, 1, 1024 + 33][usize::from(width) % 4];
            let x = vector(n, u64::from(width));
            for quantizer in [
                Quantizer::eden(block as u32, width, Sharing::Message),
                Quantizer::mid_rise(block as u32, width, Default::default())
                    .and_then(|mid_rise| mid_rise.rotated(Sharing::Message)),
            ] {
                same_everywhere(quantizer.unwrap(), &x);
            }
        }
    }
}

/// All instruction sets give the same frame, or error, and the same sum; two frames at once that of one after
/// the other.
fn same_everywhere(quantizer: Quantizer, x: &[f32]) {
    let compressor = quantizer.compressor(x.len());
    let mut sets = Kernels::all().map(|kernels| {
        let mut bytes = Vec::new();
        encode_with(kernels, &compressor, &ID, x, &[], &mut bytes)?;
        let plan = expected(compressor, 0);
        let frame = Frame::parse_with(kernels, &bytes, &plan).unwrap();
        let (mut sum, mut folded) = (x.to_vec(), x.to_vec());
        accumulate_many_with(kernels, &[(frame, 0.37), (frame, -2.0)], &mut sum);
        accumulate_many_with(kernels, &[(frame, 0.37)], &mut folded);
        accumulate_many_with(kernels, &[(frame, -2.0)], &mut folded);
        assert_eq!(bits(&sum), bits(&folded));
        Ok::<_, crate::EncodeError>((bytes, bits(&sum)))
    });
    let first = sets.next().unwrap();
    for other in sets {
        assert!(other == first, "{quantizer:?}");
    }
}

/// What is not finite is named in the vector as it was, wherever in its bucket it is.
#[test]
fn rotated_vectors_that_are_not_finite_are_refused() {
    let n = 3 * 4096 + 700;
    for preset in ["eden:4096:message", "rotated:512:round", "eden:8192:round"] {
        let preset: crate::Preset = preset.parse().unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, 1, 511, 4095, 4096, 9000, 12_288, n - 1] {
                let mut x = vector(n, 9);
                x[index] = bad;
                x[n - 1] = bad;
                let compressor = preset.compressor(4, n).unwrap();
                for kernels in Kernels::all() {
                    let error = encode_with(kernels, &compressor, &ID, &x, &[], &mut Vec::new());
                    assert_eq!(error, Err(crate::EncodeError::NotFinite { index }));
                }
            }
        }
    }
}

/// Numbers of every exponent, zeros, and few that are not finite.
fn any_coordinate() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => any::<u32>().prop_map(|v| f32::from_bits(v & 0xbfff_ffff)),
        20 => -1.0f32..1.0,
        5 => prop_oneof![Just(0.0f32), Just(-0.0), Just(f32::MIN_POSITIVE), Just(1e-45), Just(3e38)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn instruction_sets_agree(
        part in proptest::collection::vec(any_coordinate(), 1..300),
        n in 1usize..20_000,
        width in 1u8..=16,
        log2 in 9u32..=13,
        which in 0..3,
        seed in any::<u64>(),
        bad in proptest::option::weighted(0.1, any::<usize>()),
    ) {
        let mut x: Vec<f32> = (0..n).map(|i| part[i % part.len()]).collect();
        if let Some(at) = bad {
            x[at % n] = f32::NAN;
        }
        let message = MessageId { seed, ..ID };
        let bucket = 1 << log2;
        let quantizer = match which {
            0 => Quantizer::eden(bucket, width, Sharing::Message),
            1 => Quantizer::eden(bucket, width, Sharing::Round),
            _ => Quantizer::mid_rise(bucket, width, Default::default())
                .and_then(|mid_rise| mid_rise.rotated(Sharing::Message)),
        };
        let compressor = quantizer.unwrap().compressor(n);
        let wanted = reference::encode(&compressor, &message, &x, &[]);
        for kernels in Kernels::all() {
            let mut bytes = Vec::new();
            let result = encode_with(kernels, &compressor, &message, &x, &[], &mut bytes);
            match &wanted {
                Ok(wanted) => prop_assert!(result == Ok(()) && bytes == *wanted, "{}", kernels.name()),
                Err(error) => prop_assert_eq!(result, Err(*error)),
            }
        }
        if let Ok(bytes) = wanted {
            let plan = crate::Expected::new(&message, compressor, 0);
            let mut sum = vec![1.0; n];
            reference::accumulate(&compressor, &bytes, 0.5, &mut sum);
            for kernels in Kernels::all() {
                let frame = Frame::parse_with(kernels, &bytes, &plan).unwrap();
                let mut found = vec![1.0; n];
                accumulate_many_with(kernels, &[(frame, 0.5)], &mut found);
                prop_assert!(bits(&found) == bits(&sum), "{}", kernels.name());
            }
        }
    }
}
