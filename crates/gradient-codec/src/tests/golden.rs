//! Golden values: the paper's example by hand, and hashes of input, random bits and frame for every
//! mode, so that a mismatch says which of the three moved. A change here is a change of the format
//! or of the reproducibility contract.

use super::ID;
use crate::layout::{BLOCK, SEGMENT};
use crate::{Generator, Quantizer, Scale, random, reference};
use crc32c::crc32c;
use std::fmt::Write;

/// ||x|| = 13, s = 7, every uniform 1/2: levels (2, -2, 0, 6), Q = 13/7 levels, and the exact
/// variance of eq 4.
#[test]
fn the_example_of_the_paper_s_quantizer() {
    let x = [3.0, -4.0, 0.0, 12.0];
    let half = |_: u64, _: usize, _: usize| 1u32 << 31;
    let quantizer = Quantizer::new(Scale::GlobalL2, 0, 4, Generator::Philox).unwrap();
    let qsgd = quantizer.compressor(4);
    let bytes = reference::encode_with(&qsgd, &ID, &x, &[], half).unwrap();
    let levels: Vec<i32> = (0..4)
        .map(|i| reference::code_and_step(&quantizer, 4, &bytes, i).0)
        .collect();
    assert_eq!(levels, [2, -2, 0, 6]);
    let q = reference::decode(&qsgd, &bytes);
    for (q, wanted) in q.iter().zip([3.714_286, -3.714_286, 0.0, 11.142_857]) {
        assert!((q - wanted).abs() < 1e-6, "{q} {wanted}");
    }
    assert!((qsgd.distortion(&x) * 169.0 - 2.122_448_979_6).abs() < 1e-6);
    // Header, then one lane of four words whose first 16 bits are the codes 2, -2, 0, 6.
    assert_eq!(bytes.len(), 64 + 16);
    assert_eq!(bytes[64..68], 0x2e06_0000u32.to_le_bytes());
    assert_eq!(bytes[48..52], (13.0f32 / 7.0).to_le_bytes());
}

/// A vector that depends on nothing but integer arithmetic and exact f32 scaling.
fn input(n: usize) -> Vec<f32> {
    let mut state = 0u64;
    (0..n)
        .map(|i| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let v = ((z >> 40) as i32 - (1 << 23)) as f32;
            v * [1.0, 0.5, 0.125, 16.0, 0.0][i % 5] * 2f32.powi(-23)
        })
        .collect()
}

fn hash_f32(x: &[f32]) -> u32 {
    let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    crc32c(&bytes)
}

#[test]
fn golden_hashes() {
    let n = SEGMENT + 1300;
    let x = input(n);
    let mut text = String::from("# CRC32C of input, random bits, frame and decoded values\n");
    writeln!(text, "input n={n} {:08x}", hash_f32(&x)).unwrap();
    let key = ID.rounding_key();
    for generator in [Generator::Philox, Generator::Ars] {
        let bits: Vec<u8> = (0..4 * BLOCK)
            .map(|i| random::bits(generator, key, (i / BLOCK) as u64, i % BLOCK / 16, i % 16))
            .flat_map(u32::to_le_bytes)
            .collect();
        writeln!(text, "random {generator:?} {:08x}", crc32c(&bits)).unwrap();
    }
    let mut modes = vec![Quantizer::f32()];
    for generator in [Generator::Philox, Generator::Ars] {
        for (scale, bucket) in [
            (Scale::GlobalL2, 0),
            (Scale::BucketL2, 512),
            (Scale::BucketMax, 512),
            (Scale::BucketMax, 8192),
        ] {
            for bits in 2..=16 {
                modes.push(Quantizer::new(scale, bucket, bits, generator).unwrap());
            }
        }
    }
    for mode in modes {
        let mut bytes = Vec::new();
        let compressor = mode.compressor(n);
        compressor
            .encode(&ID, &x, &[1.0, -0.5], &mut bytes)
            .unwrap();
        let values = reference::decode(&compressor, &bytes);
        writeln!(
            text,
            "{:?} bucket={} bits={} {:?} {:08x} {:08x}",
            mode.scale(),
            mode.bucket().unwrap_or(0),
            mode.bits(),
            mode.generator(),
            crc32c(&bytes),
            hash_f32(&values)
        )
        .unwrap();
    }
    let golden = include_str!("../../golden/frames.txt");
    assert!(text == golden, "golden hashes moved; now:\n{text}");
}
