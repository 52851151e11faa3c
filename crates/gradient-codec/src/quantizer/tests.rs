//! Settings, head-room and limits of steps.

use super::*;

#[test]
fn invalid_settings_are_refused() {
    let g = Generator::Philox;
    for bits in [0, 1, 17, 31, 33, 255] {
        assert_eq!(
            Quantizer::new(Scale::GlobalL2, 0, bits, g),
            Err(QuantizerError::Bits { bits })
        );
    }
    for bucket in [0, 256, 513, 16384, u32::MAX] {
        assert_eq!(
            Quantizer::new(Scale::BucketMax, bucket, 4, g),
            Err(QuantizerError::Bucket { bucket })
        );
    }
}

#[test]
fn signs_have_one_level_of_one_bit() {
    for group in [1, 511, 513, 131_072] {
        assert_eq!(Quantizer::sign(group), Err(QuantizerError::Group { group }));
    }
    let whole = Quantizer::sign(0).unwrap();
    assert_eq!(
        (whole.bits(), whole.outermost(), whole.bucket()),
        (1, 1.0, None)
    );
    assert_eq!(whole.with_generator(Generator::Philox), whole);
    assert_eq!(Quantizer::sign(65536).unwrap().bucket(), Some(65536));
    let one_bit = Quantizer::one_bit(OneBitScale::Max, Generator::Ars);
    let levels = one_bit.fixed_point(0.5);
    assert_eq!(
        (levels.factor * 0.5, levels.limit),
        ((1u32 << 30) as f32, (1u32 << 30) as f32)
    );
    assert!(one_bit.step(f64::from(f32::MAX) * 2.0).is_infinite());
    for scale in [Scale::GlobalMax, Scale::BucketMean, Scale::GlobalMean] {
        let error = Quantizer::new(scale, 512, 4, Generator::Ars);
        assert_eq!(error, Err(QuantizerError::Scale { scale }));
    }
}

/// Uniform and mid-rise quantizers of every width.
fn bucketed() -> impl Iterator<Item = Quantizer> {
    let uniform = (2..=16).map(|b| Quantizer::new(Scale::BucketMax, 512, b, Generator::Ars));
    let mid_rise = (1..=16).map(|b| Quantizer::mid_rise(512, b, Generator::Ars));
    uniform.chain(mid_rise).map(Result::unwrap)
}

#[test]
fn rotations_belong_to_bucket_maxima() {
    for quantizer in bucketed() {
        let rotated = quantizer.rotated(Sharing::Round).unwrap();
        assert_eq!(rotated.sharing(), Some(Sharing::Round));
    }
    assert_eq!(
        Quantizer::f32().rotated(Sharing::Round),
        Ok(Quantizer::f32())
    );
    let l2 = Quantizer::new(Scale::BucketL2, 512, 4, Generator::Ars).unwrap();
    let scale = Scale::BucketL2;
    assert_eq!(
        l2.rotated(Sharing::Round),
        Err(QuantizerError::Scale { scale })
    );
    for bits in [0, 17, 31] {
        let error = Err(QuantizerError::Bits { bits });
        assert_eq!(Quantizer::eden(512, bits, Sharing::Round), error);
    }
    let id = |seed, iteration, worker| MessageId {
        seed,
        iteration,
        worker,
    };
    let key = |id: MessageId| id.rotation_key(Sharing::Round);
    assert_eq!(key(id(1, 2, 3)), key(id(1, 2, 4)));
    assert_ne!(key(id(1, 2, 3)), key(id(1, 3, 3)));
    let own = |id: MessageId| id.rotation_key(Sharing::Message);
    assert_ne!(own(id(1, 2, 3)), own(id(1, 2, 4)));
    assert_ne!(own(id(1, 2, 0)), key(id(1, 2, 0)));
}

#[test]
fn headroom_keeps_the_largest_coordinate_inside() {
    // Every exponent, awkward mantissas: |x| k must round strictly below the outermost level.
    for quantizer in bucketed() {
        for exponent in 40..250u32 {
            for mantissa in [0, 1, 2, 3, 0x2a_aaab, 0x55_5555, 0x7f_fffe, 0x7f_ffff] {
                let scale = f32::from_bits(exponent << 23 | mantissa);
                let levels = quantizer.fixed_point(quantizer.step(f64::from(scale)));
                let level = scale * levels.factor;
                assert!(level < levels.limit, "{quantizer:?} {scale:e}");
                assert!(level > 0.999_99 * levels.limit);
            }
        }
    }
}

#[test]
fn steps_never_overflow_silently() {
    for quantizer in bucketed() {
        let step = |scale: f32| quantizer.step(f64::from(scale));
        assert_eq!(step(f32::MAX), f32::INFINITY);
        assert!(step(f32::MAX / 4.0).is_finite());
        assert_eq!(step(1e-28), 0.0);
        let small = step(SMALLEST_SCALE);
        assert!(small > 0.0 && quantizer.fixed_point(small).factor.is_finite());
    }
    let global = Quantizer::new(Scale::GlobalL2, 0, 4, Generator::Ars).unwrap();
    assert_eq!(global.step(f64::MAX), f32::INFINITY);
}
