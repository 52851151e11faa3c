//! Every instruction set gives the reference's bytes and sums, for every width, scale and size.

use super::{ID, compressors, expected, vector};
use crate::encode::encode_with;
use crate::frame::accumulate_many_with;
use crate::kernels::Kernels;
use crate::layout::SEGMENT;
use crate::{
    Compressor, Frame, Generator, MessageId, OneBitScale, Operator, Preset, Quantizer, Scale,
    Sharing, accumulate_many, accumulate_rotated, reference,
};

/// Encodes, parses and accumulates with every instruction set; compares with the reference.
fn check(compressor: &Compressor, x: &[f32], tail: &[f32]) {
    let wanted = reference::encode(compressor, &ID, x, tail).unwrap();
    let mut wanted_sum: Vec<f32> = x.iter().map(|v| 1.0 - v).collect();
    let start = wanted_sum.clone();
    reference::accumulate(compressor, &wanted, 0.37, &mut wanted_sum);
    for kernels in Kernels::all() {
        let what = format!("{compressor:?} {}", kernels.name());
        let mut bytes = Vec::new();
        encode_with(kernels, compressor, &ID, x, tail, &mut bytes).unwrap();
        assert!(bytes == wanted, "bytes of {what}");
        let plan = expected(*compressor, tail.len());
        let frame =
            Frame::parse_with(kernels, &bytes, &plan).unwrap_or_else(|e| panic!("{e} {what}"));
        assert!(frame.tail().eq(tail.iter().copied()));
        // What a shrunk message is scaled by is the same everywhere, too.
        let rotation = frame.rotation();
        let shrinkage = |kernels| compressor.shrinkage(kernels, x, rotation).to_bits();
        assert_eq!(shrinkage(kernels), shrinkage(Kernels::best()));
        let mut sum = start.clone();
        accumulate_many_with(kernels, &[(frame, 0.37)], &mut sum);
        let same = sum
            .iter()
            .zip(&wanted_sum)
            .all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "sums of {what}");
        let again = Frame::reopen(&bytes, &plan).unwrap();
        let mut values = vec![f32::NAN; x.len()];
        again.decode(&mut values);
        assert_eq!(values, reference::decode(compressor, &bytes), "{what}");
    }
}

#[test]
fn every_kind_and_width() {
    for generator in [Generator::Philox, Generator::Ars] {
        for n in [
            0,
            1,
            31,
            32,
            33,
            511,
            512,
            513,
            1023,
            4096 + 100,
            8192 + 512 + 17,
        ] {
            for compressor in compressors(generator, n) {
                check(&compressor, &vector(n, 1), &[1.5, -2.0]);
            }
        }
    }
}

#[test]
fn every_size_up_to_1100() {
    let x = vector(1100, 2);
    let uniform = |bits, scale| Quantizer::new(scale, 512, bits, Generator::default()).unwrap();
    for quantizer in [
        uniform(3, Scale::BucketMax),
        uniform(5, Scale::GlobalL2),
        uniform(16, Scale::BucketL2),
        Quantizer::sign(512).unwrap(),
        Quantizer::one_bit(OneBitScale::Max, Generator::default()),
    ] {
        for n in 0..=1100 {
            check(&quantizer.compressor(n), &x[..n], &x[..n % 5]);
        }
    }
    for n in 0..=1100 {
        let entries = (n / 3 + 1).min(n) as u64;
        let top = Compressor::top_k(entries, n).unwrap();
        check(&top, &x[..n], &[]);
        let rand = Compressor::rand_k(entries, n).unwrap();
        check(&rand, &x[..n], &[]);
    }
}

#[test]
fn several_segments() {
    let x = vector(2 * SEGMENT + 1000, 3);
    for n in [SEGMENT - 1, SEGMENT, SEGMENT + 1, x.len()] {
        for compressor in compressors(Generator::default(), n) {
            let tested = match compressor.operator() {
                Operator::Quantizer(q) => [1, 2, 4, 7, 13, 32].contains(&q.bits()),
                _ => true,
            };
            if tested {
                check(&compressor, &x[..n], &[]);
            }
        }
    }
}

#[test]
fn zeros_and_tiny_and_huge_values() {
    for compressor in compressors(Generator::Philox, 1500) {
        for value in [0.0, -0.0, 1e-45, 1e-30, 1e-9, 1e-20, 1e20, 1e37] {
            let mut x = vec![0.0; 1500];
            x[700] = value;
            x[1499] = -value;
            let amplified = f64::from(value) * compressor.gain();
            if amplified <= f64::from(f32::MAX) {
                check(&compressor, &x, &[]);
            }
        }
        // Zeros are sent as zeros, whatever the operator.
        let mut bytes = Vec::new();
        for zero in [0.0, -0.0] {
            compressor
                .encode(&ID, &[zero; 1500], &[], &mut bytes)
                .unwrap();
            let values = reference::decode(&compressor, &bytes);
            assert!(values.iter().all(|v| *v == 0.0), "{compressor:?}");
            assert_eq!(compressor.distortion(&[zero; 1500]), 0.0);
        }
    }
    // A one-hot vector is exact: level s and nothing else (up to the head-room).
    for scale in [Scale::BucketMax, Scale::BucketL2, Scale::GlobalL2] {
        let mut x = vec![0.0; 600];
        x[77] = -3.0;
        let quantizer = Quantizer::new(scale, 512, 4, Generator::Philox).unwrap();
        let compressor = quantizer.compressor(600);
        let bytes = reference::encode(&compressor, &ID, &x, &[]).unwrap();
        let q = reference::decode(&compressor, &bytes);
        assert!((q[77] / -3.0 - 1.0).abs() < 1e-6 || (q[77] / -18.0 * 7.0 - 1.0).abs() < 1e-6);
        assert!(q.iter().enumerate().all(|(i, v)| i == 77 || *v == 0.0));
    }
}

#[test]
fn any_number_of_threads() {
    let x = vector(70 * SEGMENT + 1234, 4);
    let n = x.len();
    let uniform = |scale| Quantizer::new(scale, 1024, 4, Generator::default()).unwrap();
    let one_bit = |scale| Quantizer::one_bit(scale, Generator::default());
    let compressors = [
        uniform(Scale::GlobalL2).compressor(n),
        uniform(Scale::BucketL2).compressor(n),
        uniform(Scale::BucketMax).compressor(n).with_shrink(true),
        Quantizer::sign(0).unwrap().compressor(n),
        Quantizer::sign(65536).unwrap().compressor(n),
        one_bit(OneBitScale::Max).compressor(n),
        one_bit(OneBitScale::L2).compressor(n).with_shrink(true),
        Preset::ROTATED.compressor(4, n).unwrap(),
        Preset::EDEN.compressor(3, n).unwrap().with_shrink(true),
        Compressor::top_k(99_999, n).unwrap(),
        Compressor::rand_k(99_999, n).unwrap(),
    ];
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut sum = vec![0.0; n];
            let frames = compressors.map(|compressor| {
                let mut bytes = Vec::new();
                compressor.encode(&ID, &x, &[1.0], &mut bytes).unwrap();
                let frame = Frame::parse(&bytes, &expected(compressor, 1)).unwrap();
                frame.accumulate(1.5, &mut sum);
                bytes
            });
            let bits: Vec<u32> = sum.iter().map(|v| v.to_bits()).collect();
            let distortion = compressors.map(|c| c.distortion(&x).to_bits());
            (frames, bits, distortion)
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

/// Dense and sparse frames together, and sparse ones alone.
#[test]
fn many_frames_equal_one_after_the_other() {
    let n = SEGMENT + 3 * 4096 + 700;
    let x = vector(n, 5);
    let uniform = |bits, scale| Quantizer::new(scale, 8192, bits, Generator::default()).unwrap();
    let dense = [
        uniform(2, Scale::BucketMax).compressor(n),
        uniform(5, Scale::GlobalL2).compressor(n),
        Quantizer::f32().compressor(n),
        uniform(16, Scale::BucketL2).compressor(n),
        Quantizer::sign(512).unwrap().compressor(n),
        Preset::ROTATED.compressor(3, n).unwrap(),
        Preset::EDEN.compressor(2, n).unwrap(),
    ];
    let sparse = [
        Compressor::top_k(1000, n).unwrap(),
        Compressor::rand_k(20_000, n).unwrap(),
        Compressor::top_k(1, n).unwrap(),
    ];
    let mixed = [
        dense[0], sparse[0], dense[3], dense[6], sparse[1], dense[4], dense[5],
    ];
    for compressors in [&dense[..], &sparse, &mixed] {
        let frames: Vec<_> = compressors
            .iter()
            .enumerate()
            .map(|(worker, compressor)| {
                let worker = worker as u32;
                let mut bytes = Vec::new();
                let id = MessageId { worker, ..ID };
                compressor.encode(&id, &x, &[], &mut bytes).unwrap();
                let plan = crate::Expected::new(&id, *compressor, 0);
                (bytes, plan, 0.1 + worker as f32)
            })
            .collect();
        let parsed: Vec<_> = frames
            .iter()
            .map(|(bytes, plan, weight)| (Frame::parse(bytes, plan).unwrap(), *weight))
            .collect();
        let mut folded = vector(n, 6);
        let mut tiled = folded.clone();
        for (frame, weight) in &parsed {
            frame.accumulate(*weight, &mut folded);
        }
        accumulate_many(&parsed, &mut tiled);
        assert!(
            folded
                .iter()
                .zip(&tiled)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        );
        let mut untouched = tiled.clone();
        accumulate_many(&[], &mut untouched);
        assert_eq!(untouched, tiled);
    }
}

/// Workers that share a rotation: added up before it is undone, once.
#[test]
fn a_shared_rotation_is_undone_once_for_the_sum() {
    let n = SEGMENT + 5000;
    let x = vector(n, 5);
    let presets: [Preset; 2] = ["rotated:512:round", "eden:8192:round"].map(|t| t.parse().unwrap());
    for preset in presets {
        let messages: Vec<_> = [(0, 3), (1, 1), (2, 7)]
            .into_iter()
            .map(|(worker, bits)| {
                let compressor = preset.compressor(bits, n).unwrap();
                let id = MessageId { worker, ..ID };
                let mut bytes = Vec::new();
                compressor.encode(&id, &x, &[], &mut bytes).unwrap();
                (bytes, crate::Expected::new(&id, compressor, 0))
            })
            .collect();
        let frames: Vec<_> = messages
            .iter()
            .zip([0.5, -1.25, 2.0])
            .map(|((bytes, plan), weight)| (Frame::parse(bytes, plan).unwrap(), weight))
            .collect();
        let shared = messages[0].1.compressor.shared_rotation(&ID).unwrap();
        let mut sum = vec![0.0; n];
        accumulate_rotated(&shared, &frames, &mut sum);
        // Frame by frame or together: the same bits.
        let mut one_by_one = vec![0.0; n];
        for frame in &frames {
            accumulate_rotated(&shared, std::slice::from_ref(frame), &mut one_by_one);
        }
        assert_eq!(sum, one_by_one);
        let rotated = reference::rotate_back(&shared, &sum);
        shared.invert(&mut sum);
        assert_eq!(sum, rotated);
        let mut separately = vec![0.0; n];
        accumulate_many(&frames, &mut separately);
        let largest = separately.iter().fold(0f32, |max, v| max.max(v.abs()));
        for (a, b) in sum.iter().zip(&separately) {
            assert!((a - b).abs() < 1e-5 * largest, "{a} {b}");
        }
    }
}

#[test]
fn rotations_are_those_of_the_slow_loops() {
    for sharing in [Sharing::Round, Sharing::Message] {
        let quantizer = Quantizer::eden(1024, 4, sharing).unwrap();
        let rotation = quantizer.rotation(ID.rotation_key(sharing)).unwrap();
        for n in [0, 1, 2, 3, 30, 512, 1024, 1500, SEGMENT + 3000] {
            let x = vector(n, 8);
            let mut z = x.clone();
            rotation.apply(&mut z);
            assert_eq!(z, reference::rotate(&rotation, &x));
            rotation.invert(&mut z);
            let forth = reference::rotate(&rotation, &x);
            assert_eq!(z, reference::rotate_back(&rotation, &forth));
        }
    }
}

#[test]
fn a_buffer_is_reused_without_reallocation() {
    for compressor in compressors(Generator::default(), 5000) {
        let mut bytes = vec![0xff; compressor.frame_len(1)];
        let (pointer, x) = (bytes.as_ptr(), vector(5000, 7));
        compressor.encode(&ID, &x, &[1.0], &mut bytes).unwrap();
        assert_eq!(bytes.as_ptr(), pointer);
        assert_eq!(
            bytes,
            reference::encode(&compressor, &ID, &x, &[1.0]).unwrap()
        );
        let mut longer = vec![0xff; 2 * bytes.len()];
        compressor.encode(&ID, &x, &[1.0], &mut longer).unwrap();
        assert_eq!(longer, bytes);
    }
}
