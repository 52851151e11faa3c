//! The device's sums against the CPU's, on libtorch's CPU device: bits, not tolerances.

use gradient_codec::{
    Compressor, Expected, Frame, Generator, MessageId, OneBitScale, Preset, Quantizer, Scale,
    Sharing, accumulate_many, accumulate_rotated,
};
use tch::Device;
use torch_codec::{Accumulator, DeviceCodecError};

fn id(worker: usize) -> MessageId {
    MessageId {
        seed: 0x5eed,
        iteration: 3,
        worker: worker as u32,
    }
}

/// A message of each worker, and how each was compressed.
struct Round {
    compressors: Vec<Compressor>,
    frames: Vec<Vec<u8>>,
}

impl Round {
    fn new(compressors: Vec<Compressor>) -> Self {
        let encode = |(worker, compressor): (usize, &Compressor)| {
            let x: Vec<f32> = (0..compressor.coordinates())
                .map(|i| match i % 11 {
                    0 => 0.0,
                    k => ((i * 37 + 1 + worker) as f32 * 0.37).sin() * 10f32.powi(k as i32 - 6),
                })
                .collect();
            let mut frame = Vec::new();
            let encoded = compressor.encode(&id(worker), &x, &[0.5], &mut frame);
            encoded.expect("a frame");
            frame
        };
        let frames = compressors.iter().enumerate().map(encode).collect();
        Self {
            compressors,
            frames,
        }
    }

    fn parsed(&self, worker: usize) -> Frame<'_> {
        let expected = Expected::new(&id(worker), self.compressors[worker], 1);
        Frame::parse(&self.frames[worker], &expected).expect("its own frame")
    }

    /// The frames in that order, each with its weights.
    fn weighted<'a>(&'a self, order: &[usize], weights: &[Vec<f32>]) -> Vec<(Frame<'a>, Vec<f32>)> {
        let weighted = |&worker: &usize| (self.parsed(worker), weights[worker].clone());
        order.iter().map(weighted).collect()
    }
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|v| v.to_bits()).collect()
}

/// Sums what comes in several folds, here and on the CPU.
#[track_caller]
fn check(sums: &mut Accumulator, round: &Round, folds: &[&[usize]], weights: &[Vec<f32>]) {
    let (count, n) = (weights[0].len(), round.compressors[0].coordinates());
    let shared = round.compressors[0].shared_rotation(&id(0));
    let mut wanted = vec![vec![0.0; n]; count];
    sums.clear(count, n).unwrap();
    for order in folds {
        let frames = round.weighted(order, weights);
        sums.add(shared.as_ref(), &frames).unwrap();
        for (r, sum) in wanted.iter_mut().enumerate() {
            let weighted: Vec<_> = frames.iter().map(|(frame, w)| (*frame, w[r])).collect();
            match &shared {
                Some(rotation) => accumulate_rotated(rotation, &weighted, sum),
                None => accumulate_many(&weighted, sum),
            }
        }
    }
    assert!(sums.values().is_empty(), "not before they are finished");
    sums.finish(shared.as_ref()).unwrap();
    for sum in &mut wanted {
        if let Some(rotation) = &shared {
            rotation.invert(sum);
        }
    }
    assert!(
        bits(sums.values()) == bits(&wanted.concat()),
        "{:?}, {n} coordinates, {count} sums",
        round.compressors[0]
    );
}

/// Every dense preset, at a width where it has several.
fn presets() -> Vec<(&'static str, Vec<u8>)> {
    let widths = || (1..=16).collect::<Vec<u8>>();
    let from_two = || (2..=16).collect::<Vec<u8>>();
    vec![
        ("qsgd", from_two()),
        ("qsgd-bucketed:max:512", from_two()),
        ("qsgd-bucketed:l2:4096", from_two()),
        ("rotated", widths()),
        ("eden", widths()),
        ("one-bit:max", vec![1]),
        ("one-bit:l2", vec![1]),
        ("sign", vec![1]),
        ("f32", vec![32]),
    ]
}

fn compressor(preset: &str, bits: u8, n: usize) -> Compressor {
    let preset: Preset = preset.parse().expect("a preset");
    preset.compressor(bits, n).expect("a width")
}

/// One track and two, positive weights, negative ones and zero.
fn weights(workers: usize, count: usize) -> Vec<Vec<f32>> {
    let values = [0.25, -1.5, 0.0, 3.0e-3, -0.0, 7.0];
    (0..workers)
        .map(|i| (0..count).map(|r| values[(i + 2 * r) % 6]).collect())
        .collect()
}

/// All widths of every preset, together in one round: three workers of different widths.
#[test]
fn every_dense_preset_at_every_width() {
    let mut sums = Accumulator::new(Device::Cpu);
    for (preset, widths) in presets() {
        for (i, &bits) in widths.iter().enumerate() {
            let n = 5000 + 33 * i;
            let other = widths[(i + 5) % widths.len()];
            let round = Round::new([bits, other, bits].map(|b| compressor(preset, b, n)).into());
            check(&mut sums, &round, &[&[0, 1, 2]], &weights(3, 1));
            check(&mut sums, &round, &[&[2], &[1, 0]], &weights(3, 2));
        }
    }
}

/// Ends in the middle of a block, of a lane, of a bucket and of a segment; several tiles.
#[test]
fn every_length() {
    let mut sums = Accumulator::new(Device::Cpu);
    for n in [
        0, 1, 31, 32, 33, 511, 512, 513, 545, 8193, 65535, 65537, 200_737,
    ] {
        for (preset, widths) in presets() {
            let bits = widths[widths.len().min(4) - 1];
            let round = Round::new(vec![compressor(preset, bits, n); 2]);
            check(&mut sums, &round, &[&[0, 1]], &weights(2, 1));
        }
    }
}

/// A rotation for each message, or one for all, under every quantizer that can be rotated.
#[test]
fn rotations_of_the_message_and_of_the_round() {
    let mut sums = Accumulator::new(Device::Cpu);
    for sharing in [Sharing::Message, Sharing::Round] {
        let rotated = |quantizer: Quantizer| quantizer.rotated(sharing).unwrap();
        for quantizer in [
            rotated(Quantizer::mid_rise(512, 3, Generator::Philox).unwrap()),
            rotated(Quantizer::mid_rise(8192, 5, Generator::Ars).unwrap()),
            rotated(Quantizer::new(Scale::BucketMax, 4096, 4, Generator::Philox).unwrap()),
            Quantizer::eden(4096, 2, sharing).unwrap(),
            Quantizer::eden(512, 7, sharing).unwrap(),
        ] {
            for n in [700, 8192, 140_001] {
                let round = Round::new(vec![quantizer.compressor(n); 4]);
                check(&mut sums, &round, &[&[0, 2], &[3], &[1]], &weights(4, 2));
            }
        }
    }
}

/// m blocks of a gradient are m sums, with weights of their own and of nobody.
#[test]
fn blocks_of_a_gradient() {
    let mut sums = Accumulator::new(Device::Cpu);
    for preset in ["qsgd-bucketed", "rotated", "f32"] {
        let bits = if preset == "f32" { 32 } else { 6 };
        let round = Round::new(vec![compressor(preset, bits, 3001); 5]);
        check(&mut sums, &round, &[&[4, 0, 3, 1, 2]], &weights(5, 4));
        check(&mut sums, &round, &[], &weights(5, 3));
        check(&mut sums, &round, &[&[], &[2]], &weights(5, 1));
    }
}

/// More frames than are sent to the device together, of compressors that differ.
#[test]
fn many_frames_of_many_kinds() {
    let n = 70_100;
    let mut kinds = vec![
        Quantizer::f32().compressor(n),
        Quantizer::sign(512).unwrap().compressor(n),
        Quantizer::sign(65536).unwrap().compressor(n),
        Quantizer::one_bit(OneBitScale::Max, Generator::Ars).compressor(n),
    ];
    for bits in 2..=16 {
        kinds.push(compressor("qsgd-bucketed", bits, n));
    }
    kinds.push(
        Quantizer::eden(4096, 3, Sharing::Message)
            .unwrap()
            .compressor(n),
    );
    let workers = kinds.len();
    let order: Vec<usize> = (0..workers).rev().collect();
    let round = Round::new(kinds);
    let mut sums = Accumulator::new(Device::Cpu);
    check(&mut sums, &round, &[&order], &weights(workers, 2));
}

/// Bytes that begin at any address.
#[test]
fn bodies_need_not_be_aligned() {
    let compressor = compressor("qsgd-bucketed", 5, 2000);
    let round = Round::new(vec![compressor]);
    let mut wanted = vec![0.0; 2000];
    round.parsed(0).accumulate(0.5, &mut wanted);
    let mut sums = Accumulator::new(Device::Cpu);
    for offset in 0..4 {
        let mut bytes = vec![0; offset];
        bytes.extend_from_slice(&round.frames[0]);
        let expected = Expected::new(&id(0), compressor, 1);
        let frame = Frame::parse(&bytes[offset..], &expected).unwrap();
        sums.clear(1, 2000).unwrap();
        sums.add(None, &[(frame, vec![0.5])]).unwrap();
        sums.finish(None).unwrap();
        assert!(bits(sums.values()) == bits(&wanted));
    }
}

/// What fails leaves nothing behind that could be taken for a sum.
#[test]
fn what_does_not_belong_is_refused() {
    let n = 1000;
    let mut sums = Accumulator::new(Device::Cpu);
    let dense = Round::new(vec![compressor("qsgd", 4, n)]);
    let frame = |weights: &[f32]| [(dense.parsed(0), weights.to_vec())];
    assert!(matches!(
        sums.add(None, &frame(&[1.0])),
        Err(DeviceCodecError::NotCleared)
    ));
    let sparse: Preset = "top-k:9".parse().unwrap();
    let sparse = Round::new(vec![sparse.compressor(1, n).unwrap()]);
    let eden = Quantizer::eden(512, 3, Sharing::Round).unwrap();
    let rotation = eden.compressor(n).shared_rotation(&id(0)).unwrap();

    sums.clear(1, n).unwrap();
    let error = sums.add(None, &[(sparse.parsed(0), vec![1.0])]);
    assert!(matches!(error, Err(DeviceCodecError::Unsupported { .. })));
    for (count, length, shared) in [(2, n, None), (1, n + 1, None), (1, n, Some(&rotation))] {
        sums.clear(count, length).unwrap();
        sums.add(None, &[]).unwrap();
        let error = sums.add(shared, &frame(&[1.0])).unwrap_err();
        assert!(matches!(error, DeviceCodecError::Frame { .. }), "{error}");
        assert!(matches!(
            sums.finish(None),
            Err(DeviceCodecError::NotCleared)
        ));
        assert!(sums.values().is_empty());
    }
    sums.clear(1, n).unwrap();
    sums.add(None, &frame(&[1.0])).unwrap();
    sums.finish(None).unwrap();
    assert_eq!(sums.values().len(), n);
    assert!(sums.add(None, &frame(&[1.0])).is_err(), "they are finished");
}

#[test]
fn devices_can_be_tried() {
    let mut sums = Accumulator::new(Device::Cpu);
    for (preset, widths) in presets() {
        for bits in widths.into_iter().step_by(3) {
            match compressor(preset, bits, 10).operator() {
                gradient_codec::Operator::Quantizer(quantizer) => {
                    assert!(
                        sums.agrees_with_the_cpu(&quantizer).unwrap(),
                        "{preset} {bits}"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
