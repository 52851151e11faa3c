//! Golden values: the paper's example by hand, and hashes of input, random bits and frame for every
//! mode, so that a mismatch says which of the three moved. A change here is a change of the format
//! or of the reproducibility contract.

use super::ID;
use crate::checksum::crc32c;
use crate::layout::{BLOCK, SEGMENT};
use crate::{Compressor, Generator, OneBitScale, Preset, Quantizer, Scale, random, reference};
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

fn body(compressor: Compressor, x: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    compressor.encode(&ID, x, &[], &mut bytes).unwrap();
    bytes.split_off(64)
}

/// Signs, top-K and rand-K of small vectors, worked out by hand.
#[test]
fn bodies_by_hand() {
    // One lane: the signs of (3, -4, 0, -0, -12) from the top bit down; mean magnitude 3.8.
    let x = [3.0, -4.0, 0.0, -0.0, -12.0];
    let sign = Quantizer::sign(0).unwrap().compressor(5);
    let bytes = reference::encode(&sign, &ID, &x, &[]).unwrap();
    assert_eq!(bytes[48..52], 3.8f32.to_le_bytes());
    assert_eq!(bytes[64..], 0b01001u32.wrapping_shl(27).to_le_bytes());
    assert_eq!(
        reference::decode(&sign, &bytes),
        [3.8, -3.8, 3.8, 3.8, -3.8]
    );
    assert_eq!(body(sign, &x), bytes[64..]);
    // In a group of 512: the step before the code, padded to 64 bytes.
    let grouped = body(Quantizer::sign(512).unwrap().compressor(5), &x);
    assert_eq!(grouped[..4], 3.8f32.to_le_bytes());
    assert!(grouped[4..64].iter().all(|b| *b == 0));
    assert_eq!(grouped[64..], bytes[64..]);

    // s = 12, u = 1/2 for all: minus where the level x/s is below 0, and 0 is not.
    let one_bit = Quantizer::one_bit(OneBitScale::Max, Generator::Ars).compressor(5);
    let half = |_: u64, _: usize, _: usize| 1u32 << 31;
    let bytes = reference::encode_with(&one_bit, &ID, &x, &[], half).unwrap();
    assert_eq!(bytes[48..52], 12f32.to_le_bytes());
    assert_eq!(
        reference::decode(&one_bit, &bytes),
        [12.0, -12.0, 12.0, 12.0, -12.0]
    );
    assert!((one_bit.distortion(&x) * 169.0 - (5.0 * 144.0 - 169.0)).abs() < 1e-4);

    // The three largest of five, the tie to the lower index: 1, 2 and 4 in 3 bits each,
    // 100 010 001 from the last to the first.
    let x = [1.0, -4.0, 2.0, -2.0, 12.0];
    let top = Compressor::top_k(3, 5).unwrap();
    let bytes = body(top, &x);
    assert_eq!(bytes[..4], (-4f32).to_le_bytes());
    assert_eq!(bytes[4..8], 2f32.to_le_bytes());
    assert_eq!(bytes[8..12], 12f32.to_le_bytes());
    assert_eq!(bytes[12..], 0b100_010_001u16.to_le_bytes());
    assert_eq!(top.distortion(&x), 5.0 / 169.0);

    // All five of five, not amplified; two of five, times 2.5.
    assert_eq!(
        body(Compressor::rand_k(5, 5).unwrap(), &x),
        body(Quantizer::f32().compressor(5), &x)
    );
    let rand = Compressor::rand_k(2, 5).unwrap();
    let bytes = reference::encode(&rand, &ID, &x, &[]).unwrap();
    assert_eq!(bytes[40..48], ID.coordinates_key().to_le_bytes());
    let values = reference::decode(&rand, &bytes);
    let kept = |(v, x): (&f32, &f32)| *v == 2.5 * x || *v == 0.0;
    assert!(values.iter().zip(&x).all(kept));
    assert_eq!(values.iter().filter(|v| **v != 0.0).count(), 2);
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
    let mut table = String::from("# CRC32C of input, random bits, frame and decoded values\n");
    writeln!(table, "input n={n} {:08x}", hash_f32(&x)).unwrap();
    let key = ID.rounding_key();
    for generator in [Generator::Philox, Generator::Ars] {
        let bits: Vec<u8> = (0..4 * BLOCK)
            .map(|i| random::bits(generator, key, (i / BLOCK) as u64, i % BLOCK / 16, i % 16))
            .flat_map(u32::to_le_bytes)
            .collect();
        writeln!(table, "random {generator:?} {:08x}", crc32c(&bits)).unwrap();
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
    let hashes = |compressor: Compressor| {
        let mut bytes = Vec::new();
        compressor
            .encode(&ID, &x, &[1.0, -0.5], &mut bytes)
            .unwrap();
        let values = reference::decode(&compressor, &bytes);
        // A whole frame's CRC does not see its header, which ends with its own.
        let header = crc32c(&bytes[..60]);
        (header, crc32c(&bytes), hash_f32(&values))
    };
    for mode in modes {
        let (_, frame, values) = hashes(mode.compressor(n));
        writeln!(
            table,
            "{:?} bucket={} bits={} {:?} {frame:08x} {values:08x}",
            mode.scale(),
            mode.bucket().unwrap_or(0),
            mode.bits(),
            mode.generator(),
        )
        .unwrap();
    }
    for text in [
        "sign",
        "sign:512",
        "sign:65536",
        "one-bit:max",
        "one-bit:l2",
        "top-k:1",
        "top-k:9999",
        "rand-k:1",
        "rand-k:9999",
        "rotated:512:round",
        "rotated:4096:message",
        "eden:4096:message",
        "eden:512:round",
    ] {
        let preset: Preset = text.parse().unwrap();
        let (header, frame, values) = hashes(preset.compressor(1, n).unwrap());
        writeln!(table, "{text} {header:08x} {frame:08x} {values:08x}").unwrap();
    }
    for text in ["rotated:512:round", "eden:4096:message"] {
        let preset: Preset = text.parse().unwrap();
        for bits in 2..=16 {
            let (header, frame, values) = hashes(preset.compressor(bits, n).unwrap());
            writeln!(table, "{text} {bits} {header:08x} {frame:08x} {values:08x}").unwrap();
        }
    }
    let key = 0x0123_4567_89ab_cdef;
    for rounds in [1, 2] {
        let mut z = x.clone();
        crate::Rotation::new(key, 4096, rounds).apply(&mut z);
        writeln!(table, "rotation {rounds} {:08x}", hash_f32(&z)).unwrap();
    }
    for (text, bits) in [
        ("qsgd", 4),
        ("qsgd-bucketed:max:512", 2),
        ("one-bit:max", 1),
        ("rand-k", 4),
    ] {
        let preset: Preset = text.parse().unwrap();
        let compressor = preset.compressor(bits, n).unwrap().with_shrink(true);
        let (header, frame, values) = hashes(compressor);
        writeln!(
            table,
            "{text} {bits} shrunk {header:08x} {frame:08x} {values:08x}"
        )
        .unwrap();
    }
    let golden = include_str!("../../golden/frames.txt");
    assert!(table == golden, "golden hashes moved; now:\n{table}");
}
