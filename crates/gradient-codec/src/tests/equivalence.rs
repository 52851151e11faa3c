//! Every instruction set gives the reference's bytes and sums, for every width, scale and size.

use super::{ID, expected, quantizers, vector};
use crate::encode::encode_with;
use crate::frame::accumulate_many_with;
use crate::kernels::Kernels;
use crate::layout::SEGMENT;
use crate::{Frame, Generator, MessageId, Quantizer, Scale, accumulate_many, reference};

/// Encodes, parses and accumulates with every instruction set; compares with the reference.
fn check(quantizer: &Quantizer, x: &[f32], tail: &[f32]) {
    let wanted = reference::encode(quantizer, &ID, x, tail).unwrap();
    let mut wanted_sum: Vec<f32> = x.iter().map(|v| 1.0 - v).collect();
    let start = wanted_sum.clone();
    reference::accumulate(quantizer, &wanted, 0.37, &mut wanted_sum);
    for kernels in Kernels::all() {
        let what = format!("{quantizer:?} n={} {}", x.len(), kernels.name());
        let mut bytes = Vec::new();
        encode_with(kernels, quantizer, &ID, x, tail, &mut bytes).unwrap();
        assert!(bytes == wanted, "bytes of {what}");
        let plan = expected(*quantizer, x.len(), tail.len());
        let frame =
            Frame::parse_with(kernels, &bytes, &plan).unwrap_or_else(|e| panic!("{e} {what}"));
        assert!(frame.tail().eq(tail.iter().copied()));
        let mut sum = start.clone();
        accumulate_many_with(kernels, &[(frame, 0.37)], &mut sum);
        let same = sum
            .iter()
            .zip(&wanted_sum)
            .all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "sums of {what}");
        let mut values = vec![f32::NAN; x.len()];
        frame.decode(&mut values);
        assert_eq!(
            values,
            reference::decode(quantizer, x.len(), &bytes),
            "{what}"
        );
    }
}

#[test]
fn every_width_and_scale() {
    for generator in [Generator::Philox, Generator::Ars] {
        for quantizer in quantizers(generator) {
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
                check(&quantizer, &vector(n, 1), &[1.5, -2.0]);
            }
        }
    }
}

#[test]
fn every_size_up_to_1100() {
    let x = vector(1100, 2);
    for (bits, scale) in [
        (3, Scale::BucketMax),
        (5, Scale::GlobalL2),
        (16, Scale::BucketL2),
    ] {
        let quantizer = Quantizer::new(scale, 512, bits, Generator::default()).unwrap();
        for n in 0..=1100 {
            check(&quantizer, &x[..n], &x[..n % 5]);
        }
    }
}

#[test]
fn several_segments() {
    let x = vector(2 * SEGMENT + 1000, 3);
    for quantizer in quantizers(Generator::default()) {
        if [2, 4, 7, 13, 32].contains(&quantizer.bits()) {
            for n in [SEGMENT - 1, SEGMENT, SEGMENT + 1, x.len()] {
                check(&quantizer, &x[..n], &[]);
            }
        }
    }
}

#[test]
fn zeros_and_tiny_and_huge_values() {
    let quantizer = |scale| Quantizer::new(scale, 512, 4, Generator::Philox).unwrap();
    for scale in [Scale::BucketMax, Scale::BucketL2, Scale::GlobalL2] {
        for value in [0.0, -0.0, 1e-45, 1e-30, 1e-9, 1e-20, 1e20, 1e37] {
            let mut x = vec![0.0; 1500];
            x[700] = value;
            x[1499] = -value;
            check(&quantizer(scale), &x, &[]);
        }
        // A one-hot vector is exact: level s and nothing else (up to the head-room).
        let mut x = vec![0.0; 600];
        x[77] = -3.0;
        let bytes = reference::encode(&quantizer(scale), &ID, &x, &[]).unwrap();
        let q = reference::decode(&quantizer(scale), 600, &bytes);
        assert!((q[77] / -3.0 - 1.0).abs() < 1e-6 || (q[77] / -18.0 * 7.0 - 1.0).abs() < 1e-6);
        assert!(q.iter().enumerate().all(|(i, v)| i == 77 || *v == 0.0));
    }
}

#[test]
fn any_number_of_threads() {
    let x = vector(70 * SEGMENT + 1234, 4);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut frames = Vec::new();
            for scale in [Scale::GlobalL2, Scale::BucketL2, Scale::BucketMax] {
                let quantizer = Quantizer::new(scale, 1024, 4, Generator::default()).unwrap();
                let mut bytes = Vec::new();
                quantizer.encode(&ID, &x, &[1.0], &mut bytes).unwrap();
                frames.push((quantizer, bytes));
            }
            let mut sum = vec![0.0; x.len()];
            for (quantizer, bytes) in &frames {
                let frame = Frame::parse(bytes, &expected(*quantizer, x.len(), 1)).unwrap();
                frame.accumulate(1.5, &mut sum);
            }
            let bits: Vec<u32> = sum.iter().map(|v| v.to_bits()).collect();
            let distortion = frames[0].0.distortion(&x).to_bits();
            (frames, bits, distortion)
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn many_frames_equal_one_after_the_other() {
    let n = SEGMENT + 3 * 4096 + 700;
    let x = vector(n, 5);
    let plan = [
        (2, Scale::BucketMax),
        (5, Scale::GlobalL2),
        (32, Scale::None),
        (16, Scale::BucketL2),
    ];
    let frames: Vec<_> = plan
        .iter()
        .enumerate()
        .map(|(worker, (bits, scale))| {
            let quantizer = Quantizer::new(*scale, 8192, *bits, Generator::default()).unwrap();
            let id = MessageId {
                worker: worker as u32,
                ..ID
            };
            let mut bytes = Vec::new();
            quantizer.encode(&id, &x, &[], &mut bytes).unwrap();
            let plan = crate::Expected {
                worker: worker as u32,
                ..expected(quantizer, n, 0)
            };
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

#[test]
fn a_buffer_is_reused_without_reallocation() {
    let quantizer = Quantizer::new(Scale::BucketMax, 512, 4, Generator::default()).unwrap();
    let mut bytes = vec![0xff; quantizer.frame_len(5000, 1)];
    let (pointer, x) = (bytes.as_ptr(), vector(5000, 7));
    quantizer.encode(&ID, &x, &[1.0], &mut bytes).unwrap();
    assert_eq!(bytes.as_ptr(), pointer);
    assert_eq!(
        bytes,
        reference::encode(&quantizer, &ID, &x, &[1.0]).unwrap()
    );
    let mut longer = vec![0xff; 2 * bytes.len()];
    quantizer.encode(&ID, &x, &[1.0], &mut longer).unwrap();
    assert_eq!(longer, bytes);
}
