//! The device's frames against the CPU's, on libtorch's CPU device: bytes, not tolerances.

use gradient_codec::{
    Compressor, EncodeError, Expected, Frame, Generator, MessageId, OneBitScale, Operator, Preset,
    Quantizer, Scale, Sharing, random,
};
use tch::{Device, Kind, Tensor};
use torch_codec::{Accumulator, DeviceCodecError, Encoder};

const ID: MessageId = MessageId {
    seed: 0x5eed,
    iteration: 3,
    worker: 11,
};

/// Uniform 32 bits of place `i`.
fn draw(i: usize) -> u32 {
    random::bits(Generator::Philox, [5, 6, 7, 8], i as u64, 0, 0)
}

/// Like a gradient: sizes that change from layer to layer, some zeros.
fn gradient(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let uniform = f64::from(draw(i)) / f64::from(u32::MAX) - 0.5;
            let size = 10f64.powf((i / 3000) as f64 % 7.0 - 5.0);
            if draw(i + n).is_multiple_of(8) {
                0.0
            } else {
                (uniform.powi(3) * size) as f32
            }
        })
        .collect()
}

/// Subnormal, largest finite over 2^20, both zeros, exact halves, in stretches.
fn hostile(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| {
            let sign = if draw(i) & 1 == 0 { 1.0 } else { -1.0 };
            sign * match (i / 700 % 6, draw(i) % 5) {
                (0, _) => f32::from_bits(draw(i) >> 9),
                (1, 0) => f32::MAX / (1 << 20) as f32,
                (1, _) => 1e-30,
                (2, _) => 0.0,
                (3, k) => k as f32 * 0.5,
                (4, 0) => f32::MIN_POSITIVE,
                (4, _) => 8.077_936e-28, // 2^-90
                (_, k) => (1 << (4 * k)) as f32,
            }
        })
        .collect()
}

fn on_cpu(compressor: &Compressor, x: &[f32], tail: &[f32]) -> Result<Vec<u8>, EncodeError> {
    let mut frame = Vec::new();
    compressor.encode(&ID, x, tail, &mut frame).map(|()| frame)
}

/// Encodes both ways and compares; decodes both ways and compares.
fn check(encoder: &mut Encoder, quantizer: Quantizer, x: &[f32]) {
    let compressor = quantizer
        .with_generator(Generator::Philox)
        .compressor(x.len());
    let tail = [0.25, -3.0];
    let wanted = on_cpu(&compressor, x, &tail).unwrap();
    let mut found = vec![1; 5];
    encoder
        .encode(&compressor, &ID, &Tensor::from_slice(x), &tail, &mut found)
        .unwrap();
    // Not assert_eq, which would print megabytes.
    assert!(found == wanted, "{quantizer:?} n = {}", x.len());

    let expected = Expected::new(&ID, compressor, 2);
    let frame = Frame::parse(&found, &expected).unwrap();
    let mut wanted = vec![0.0; x.len()];
    frame.accumulate(-0.3, &mut wanted);
    let mut sums = Accumulator::new(Device::Cpu);
    sums.clear(1, x.len()).unwrap();
    sums.add(None, &[(frame, vec![-0.3])]).unwrap();
    sums.finish(None).unwrap();
    let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert!(
        bits(sums.values()) == bits(&wanted),
        "{quantizer:?} {}",
        x.len()
    );
}

fn uniform(scale: Scale, bucket: u32, bits: u8) -> Quantizer {
    Quantizer::new(scale, bucket, bits, Generator::Philox).unwrap()
}

fn mid_rise(bucket: u32, bits: u8) -> Quantizer {
    Quantizer::mid_rise(bucket, bits, Generator::Philox).unwrap()
}

/// Every kind of quantizer that devices have, at one width.
fn kinds(bits: u8) -> Vec<Quantizer> {
    vec![
        uniform(Scale::GlobalL2, 0, bits),
        uniform(Scale::BucketMax, 512, bits),
        uniform(Scale::BucketMax, 4096, bits),
        uniform(Scale::BucketL2, 512, bits),
        uniform(Scale::BucketL2, 8192, bits),
        Quantizer::sign(0).unwrap(),
        Quantizer::sign(512).unwrap(),
        Quantizer::sign(65536).unwrap(),
        Quantizer::one_bit(OneBitScale::Max, Generator::Philox),
        Quantizer::one_bit(OneBitScale::L2, Generator::Philox),
        mid_rise(512, bits),
        mid_rise(4096, bits).rotated(Sharing::Round).unwrap(),
        uniform(Scale::BucketMax, 8192, bits)
            .rotated(Sharing::Message)
            .unwrap(),
        Quantizer::eden(4096, bits, Sharing::Message).unwrap(),
        Quantizer::eden(512, bits, Sharing::Round).unwrap(),
    ]
}

const SIZES: [usize; 18] = [
    0, 1, 2, 31, 32, 33, 63, 511, 512, 513, 543, 545, 1024, 5000, 8191, 8193, 65535, 65536,
];

#[test]
fn every_kind_and_size() {
    let mut encoder = Encoder::new(Device::Cpu);
    for n in SIZES {
        for quantizer in kinds(5) {
            check(&mut encoder, quantizer, &gradient(n));
            check(&mut encoder, quantizer, &hostile(n));
        }
    }
}

/// More segments than are worked on together, and a partial one with a partial block.
#[test]
fn several_segments() {
    let mut encoder = Encoder::new(Device::Cpu);
    for n in [65537, 2 * 65536, 3 * 65536 + 4097 + 33] {
        for quantizer in kinds(3) {
            check(&mut encoder, quantizer, &gradient(n));
        }
        check(&mut encoder, kinds(7)[1], &hostile(n));
        check(&mut encoder, kinds(7)[4], &hostile(n));
    }
}

#[test]
fn every_width() {
    let mut encoder = Encoder::new(Device::Cpu);
    for bits in 2..=16 {
        for quantizer in kinds(bits) {
            if quantizer.bits() > 1 {
                check(&mut encoder, quantizer, &gradient(9001));
                check(&mut encoder, quantizer, &hostile(9001));
            }
        }
    }
    check(&mut encoder, mid_rise(1024, 1), &gradient(9001));
    let eden = Quantizer::eden(1024, 1, Sharing::Message).unwrap();
    check(&mut encoder, eden, &gradient(9001));
    check(&mut encoder, eden, &hostile(9001));
    let preset: Preset = "rotated".parse().unwrap();
    for bits in 1..=4 {
        match preset.compressor(bits, 9001).unwrap().operator() {
            Operator::Quantizer(quantizer) => check(&mut encoder, quantizer, &hostile(9001)),
            other => panic!("{other:?}"),
        }
    }
}

/// An encoder that served other lengths and widths before has the same bytes.
#[test]
fn what_came_before_does_not_matter() {
    let mut encoder = Encoder::new(Device::Cpu);
    let bucketed = uniform(Scale::BucketMax, 512, 4);
    for n in [70_000, 700, 70_000, 0, 701] {
        check(&mut encoder, bucketed, &gradient(n));
        check(&mut encoder, uniform(Scale::GlobalL2, 0, 4), &vec![0.0; n]);
        check(&mut encoder, Quantizer::sign(0).unwrap(), &vec![0.0; n]);
        check(&mut encoder, Quantizer::sign(512).unwrap(), &hostile(n));
    }
}

#[test]
fn what_cannot_be_encoded_is_refused_as_on_the_cpu() {
    let mut encoder = Encoder::new(Device::Cpu);
    for quantizer in kinds(4) {
        let n = 70_000;
        let compressor = quantizer.compressor(n);
        for (places, value) in [
            (vec![69_999], f32::NAN),
            (vec![66_000, 513], f32::INFINITY),
            (vec![0], f32::NEG_INFINITY),
            (vec![1000, 66_000], f32::MAX),
        ] {
            let mut x = gradient(n);
            for place in places {
                x[place] = value;
            }
            let wanted = on_cpu(&compressor, &x, &[]);
            let mut frame = vec![1];
            let found = encoder.encode(&compressor, &ID, &Tensor::from_slice(&x), &[], &mut frame);
            match (wanted, found) {
                (Ok(wanted), Ok(())) => assert!(frame == wanted, "{quantizer:?}"),
                (Err(wanted), Err(DeviceCodecError::Encode(found))) => {
                    assert_eq!(found, wanted, "{quantizer:?}");
                    assert!(frame.is_empty());
                }
                (wanted, found) => panic!("{quantizer:?}: {wanted:?} {found:?}"),
            }
        }
        let x = Tensor::from_slice(&gradient(n));
        let mut frame = vec![1];
        let tail = encoder.encode(&compressor, &ID, &x, &[0.0, f32::NAN], &mut frame);
        assert!(
            matches!(
                tail,
                Err(DeviceCodecError::Encode(EncodeError::TailNotFinite {
                    index: 1
                }))
            ),
            "{tail:?}"
        );
        let short = encoder.encode(&compressor, &ID, &x.narrow(0, 0, 5), &[], &mut frame);
        let expected = EncodeError::Coordinates {
            found: 5,
            expected: n,
        };
        assert!(matches!(short, Err(DeviceCodecError::Encode(e)) if e == expected));
        assert!(frame.is_empty());
    }
}

#[test]
fn what_only_the_cpu_does_is_said() {
    let n = 1000;
    let preset = |text: &str| text.parse::<Preset>().unwrap();
    let ars = preset("qsgd").compressor(4, n).unwrap();
    let philox = ars.with_generator(Generator::Philox);
    assert!(
        Encoder::supports(&philox) && Encoder::supports(&Quantizer::sign(0).unwrap().compressor(n))
    );
    let mut encoder = Encoder::new(Device::Cpu);
    let x = Tensor::zeros([n as i64], (Kind::Float, Device::Cpu));
    for compressor in [
        ars,
        philox.with_shrink(true),
        preset("top-k").compressor(4, n).unwrap(),
        preset("rand-k").compressor(4, n).unwrap(),
        Quantizer::f32().compressor(n),
    ] {
        assert!(!Encoder::supports(&compressor));
        let error = encoder.encode(&compressor, &ID, &x, &[], &mut Vec::new());
        assert!(matches!(error, Err(DeviceCodecError::Unsupported { .. })));
    }
    for wrong in [
        x.to_kind(Kind::Double),
        x.view([10, 100]),
        Tensor::zeros([2 * n as i64], (Kind::Float, Device::Cpu)).slice(0, 0, None, 2),
    ] {
        let error = encoder.encode(&philox, &ID, &wrong, &[], &mut Vec::new());
        assert!(
            matches!(error, Err(DeviceCodecError::Tensor { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn devices_can_be_tried() {
    let mut encoder = Encoder::new(Device::Cpu);
    for quantizer in kinds(6) {
        assert!(
            encoder.agrees_with_the_cpu(&quantizer).unwrap(),
            "{quantizer:?}"
        );
    }
}
