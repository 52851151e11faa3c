//! gradient-codec's golden hashes, from the device's code: frames and sums of every mode with Philox.

use crc_fast::crc32_iscsi as crc32c;
use gradient_codec::layout::SEGMENT;
use gradient_codec::{Expected, Frame, Generator, MessageId, Quantizer, Scale};
use tch::{Device, Tensor};
use torch_codec::{Accumulator, Encoder};

const GOLDEN: &str = include_str!("../../gradient-codec/golden/frames.txt");
const ID: MessageId = MessageId {
    seed: 11,
    iteration: 5,
    worker: 3,
};

/// The input that the table's first line has the hash of.
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

fn hash(x: &[f32]) -> u32 {
    let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_le_bytes()).collect();
    crc32c(&bytes)
}

#[test]
fn the_golden_hashes_of_every_mode_with_philox() {
    let n = SEGMENT + 1300;
    let x = input(n);
    let first = format!("input n={n} {:08x}", hash(&x));
    assert!(GOLDEN.lines().any(|line| line == first), "{first}");
    let mut encoder = Encoder::new(Device::Cpu);
    let mut sums = Accumulator::new(Device::Cpu);
    let tensor = Tensor::from_slice(&x);
    for (scale, bucket) in [
        (Scale::GlobalL2, 0),
        (Scale::BucketL2, 512),
        (Scale::BucketMax, 512),
        (Scale::BucketMax, 8192),
    ] {
        for bits in 2..=16 {
            let quantizer = Quantizer::new(scale, bucket, bits, Generator::Philox).unwrap();
            let compressor = quantizer.compressor(n);
            let mut bytes = Vec::new();
            encoder
                .encode(&compressor, &ID, &tensor, &[1.0, -0.5], &mut bytes)
                .unwrap();
            let expected = Expected::new(&ID, compressor, 2);
            let frame = Frame::parse(&bytes, &expected).unwrap();
            sums.clear(1, n).unwrap();
            sums.add(None, &[(frame, vec![1.0])]).unwrap();
            sums.finish(None).unwrap();
            let line = format!(
                "{scale:?} bucket={bucket} bits={bits} Philox {:08x} {:08x}",
                crc32c(&bytes),
                hash(sums.values())
            );
            assert!(GOLDEN.lines().any(|golden| golden == line), "{line}");
        }
    }
}
