//! Frames from a broken or malicious sender: refused with the right error, never a panic, never an
//! allocation for a length that somebody claims.

use super::{ID, expected, quantizers, vector};
use crate::layout::{HEADER_BYTES, SEGMENT};
use crate::{EncodeError, Expected, Frame, FrameError, Generator, Quantizer, Scale, reference};
use proptest::prelude::*;

const N: usize = 1300;

fn quantizer() -> Quantizer {
    Quantizer::new(Scale::BucketMax, 512, 5, Generator::default()).unwrap()
}

fn frame(quantizer: &Quantizer, n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    quantizer
        .encode(&ID, &vector(n, 1), &[1.0, 2.0], &mut bytes)
        .unwrap();
    bytes
}

/// Makes both checksums hold again after tampering.
fn reseal(bytes: &mut [u8]) {
    let payload = crc32c::crc32c(&bytes[HEADER_BYTES..]);
    bytes[56..60].copy_from_slice(&payload.to_le_bytes());
    let header = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&header.to_le_bytes());
}

/// What parsing says after `tamper` and resealing.
fn verdict(quantizer: &Quantizer, tamper: impl FnOnce(&mut Vec<u8>)) -> FrameError {
    let mut bytes = frame(quantizer, N);
    tamper(&mut bytes);
    reseal(&mut bytes);
    Frame::parse(&bytes, &expected(*quantizer, N, 2)).unwrap_err()
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for quantizer in [quantizer(), Quantizer::f32()] {
        let mut bytes = frame(&quantizer, N);
        let plan = expected(quantizer, N, 2);
        for len in 0..bytes.len() {
            let error = Frame::parse(&bytes[..len], &plan).unwrap_err();
            match error {
                FrameError::Truncated { found } => assert!(found == len && len < 64),
                FrameError::Length { found, .. } => assert!(found == len && len >= 64),
                other => panic!("{other}"),
            }
        }
        assert!(Frame::parse(&bytes, &plan).is_ok());
        bytes.push(0);
        assert!(matches!(
            Frame::parse(&bytes, &plan),
            Err(FrameError::Length { .. })
        ));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = frame(&quantizer(), 40);
    let plan = expected(quantizer(), 40, 2);
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = Frame::parse(&flipped, &plan).unwrap_err();
        match bit / 8 {
            0..4 => assert!(matches!(error, FrameError::Magic { .. })),
            4..6 => assert!(matches!(error, FrameError::Version { .. })),
            6..64 => assert_eq!(error, FrameError::HeaderChecksum),
            _ => assert_eq!(error, FrameError::PayloadChecksum),
        }
    }
}

/// Every header bit flipped by a sender who knows how to compute checksums.
#[test]
fn every_flipped_header_bit_is_refused_even_when_resealed() {
    for quantizer in quantizers(Generator::Philox) {
        for bit in 0..8 * 56 {
            // A global step may take almost any value; bad ones are tested below.
            if (48..52).contains(&(bit / 8)) && quantizer.scale() == Scale::GlobalL2 {
                continue;
            }
            let error = verdict(&quantizer, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            use FrameError as E;
            let right = match bit / 8 {
                0..4 => matches!(error, E::Magic { .. }),
                4..6 => matches!(error, E::Version { .. }),
                6 => matches!(error, E::Bits { .. }),
                7 => matches!(error, E::Scale { .. }),
                8 => matches!(error, E::Levels { .. }),
                9 => matches!(error, E::Generator { .. }),
                10 => matches!(error, E::Bucket { .. }),
                11 => matches!(error, E::Segment { .. }),
                12..16 => matches!(error, E::Flags { .. }),
                16..24 => matches!(error, E::Coordinates { .. }),
                24..32 => matches!(error, E::Iteration { .. }),
                32..36 => matches!(error, E::Worker { .. }),
                36..40 => matches!(error, E::Tail { .. }),
                40..48 => matches!(error, E::RotationSeed { .. }),
                48..52 => matches!(error, E::HeaderStep { .. }),
                _ => matches!(error, E::Reserved { .. }),
            };
            assert!(right, "bit {bit} of {quantizer:?}: {error}");
        }
    }
}

#[test]
fn bad_contents_are_refused_each_by_its_own_error() {
    let bad_steps = [f32::NAN, f32::INFINITY, -1.0, -0.0, f32::MAX];
    for bad in bad_steps {
        let error = verdict(&quantizer(), |b| {
            b[68..72].copy_from_slice(&bad.to_le_bytes())
        });
        assert!(
            matches!(error, FrameError::Step { index: 512, .. }),
            "{error}"
        );
        let global = Quantizer::new(Scale::GlobalL2, 0, 5, Generator::default()).unwrap();
        let error = verdict(&global, |b| b[48..52].copy_from_slice(&bad.to_le_bytes()));
        assert!(matches!(error, FrameError::HeaderStep { .. }), "{error}");
    }
    // Three steps, then padding up to 64 bytes.
    for at in 64 + 12..128 {
        let error = verdict(&quantizer(), |b| b[at] = 1);
        assert_eq!(error, FrameError::StepPadding { index: 0 });
    }
    // Code -16 at row 0 of lane 0, in both full blocks and in the partial one.
    for (block, at) in [(0, 128), (1, 128 + 320), (2, 128 + 640)] {
        let error = verdict(&quantizer(), |b| b[at + 3] = 0x80 | b[at + 3] & 0x07);
        assert_eq!(error, FrameError::UnusedCode { index: 512 * block });
    }
    // 276 coordinates in 9 lanes: lanes 6..9 of row 30 and all of row 31 are padding.
    let error = verdict(&quantizer(), |b| {
        let end = b.len() - 8;
        b[end - 4] ^= 1; // lowest bit of the last lane's last word: row 31
    });
    assert_eq!(error, FrameError::CodePadding);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = verdict(&Quantizer::f32(), |b| {
            b[64 + 4 * 600..][..4].copy_from_slice(&bad.to_le_bytes());
        });
        assert_eq!(error, FrameError::NotFinite { index: 512 });
        let error = verdict(&quantizer(), |b| {
            let end = b.len();
            b[end - 4..].copy_from_slice(&bad.to_le_bytes());
        });
        assert_eq!(error, FrameError::TailNotFinite { index: 1 });
    }
}

#[test]
fn a_frame_of_another_plan_is_refused() {
    let bytes = frame(&quantizer(), N);
    let plan = expected(quantizer(), N, 2);
    let other =
        |scale, bucket, bits| Quantizer::new(scale, bucket, bits, Generator::default()).unwrap();
    let swap = |quantizer| Expected { quantizer, ..plan };
    for (plan, wanted) in [
        (
            Expected {
                iteration: 6,
                ..plan
            },
            FrameError::Iteration {
                found: 5,
                expected: 6,
            },
        ),
        (
            Expected { worker: 0, ..plan },
            FrameError::Worker {
                found: 3,
                expected: 0,
            },
        ),
        (
            Expected { n: 1301, ..plan },
            FrameError::Coordinates {
                found: 1300,
                expected: 1301,
            },
        ),
        (
            Expected { tail: 3, ..plan },
            FrameError::Tail {
                found: 2,
                expected: 3,
            },
        ),
        (
            swap(other(Scale::BucketMax, 512, 6)),
            FrameError::Bits {
                found: 5,
                expected: 6,
            },
        ),
        (
            swap(other(Scale::BucketL2, 512, 5)),
            FrameError::Scale {
                found: 1,
                expected: 2,
            },
        ),
        (
            swap(other(Scale::BucketMax, 1024, 5)),
            FrameError::Bucket {
                found: 9,
                expected: 10,
            },
        ),
        (
            swap(quantizer().with_generator(Generator::Philox)),
            FrameError::Generator {
                found: 2,
                expected: 1,
            },
        ),
        (
            swap(Quantizer::f32()),
            FrameError::Bits {
                found: 5,
                expected: 32,
            },
        ),
    ] {
        assert_eq!(Frame::parse(&bytes, &plan).unwrap_err(), wanted);
    }
}

/// Plans and claims near the end of the address space: an error, no overflow, no allocation.
#[test]
fn lengths_near_overflow() {
    for quantizer in quantizers(Generator::Philox) {
        for n in [
            usize::MAX,
            usize::MAX - 1,
            usize::MAX / 2,
            usize::MAX / 4,
            1 << 62,
            1 << 40,
        ] {
            for tail in [0, 1, u32::MAX as usize] {
                let mut bytes = frame(&quantizer, 3);
                bytes[16..24].copy_from_slice(&(n as u64).to_le_bytes());
                bytes[36..40].copy_from_slice(&(tail as u32).to_le_bytes());
                reseal(&mut bytes);
                let error = Frame::parse(&bytes, &expected(quantizer, n, tail)).unwrap_err();
                assert!(matches!(error, FrameError::Length { .. }), "{error}");
            }
        }
    }
}

#[test]
fn what_cannot_be_encoded_is_refused_with_its_place() {
    for quantizer in quantizers(Generator::Philox) {
        let mut out = vec![1, 2, 3];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, 511, 512, 1299] {
                let mut x = vector(N, 9);
                x[index] = bad;
                x[1299] = bad;
                let error = Err(EncodeError::NotFinite { index });
                assert_eq!(quantizer.encode(&ID, &x, &[], &mut out), error);
                assert!(out.is_empty());
                assert_eq!(
                    reference::encode(&quantizer, &ID, &x, &[]).map(|_| ()),
                    error
                );
                assert!(quantizer.is_f32() || quantizer.distortion(&x).is_nan());
            }
            let error = Err(EncodeError::TailNotFinite { index: 1 });
            assert_eq!(quantizer.encode(&ID, &[1.0], &[0.0, bad], &mut out), error);
        }
        if !quantizer.is_f32() {
            let mut x = vec![1.0; 9000];
            x[8999] = f32::MAX;
            x[8998] = f32::MAX;
            let bucket = quantizer.bucket().map_or(9000, |b| b as usize);
            let error = Err(EncodeError::Overflow {
                index: 8999 / bucket * bucket,
            });
            let result = quantizer.encode(&ID, &x, &[], &mut out);
            assert_eq!(result, error, "{quantizer:?}");
        }
    }
    // The first error wins, whichever thread meets one first.
    let mut x = vector(70 * SEGMENT, 1);
    for index in [SEGMENT * 69, SEGMENT * 33 + 7, SEGMENT * 2 + 5] {
        x[index] = f32::NAN;
        let error = quantizer()
            .encode(&ID, &x, &[], &mut Vec::new())
            .unwrap_err();
        assert_eq!(error, EncodeError::NotFinite { index });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_parse(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Frame::parse(&bytes, &expected(quantizer(), 60, 0)).is_err());
    }

    /// Random damage under good checksums: either an error, or a frame that decodes like the
    /// reference to finite values.
    #[test]
    fn damage_under_good_checksums_is_harmless(
        choice in 0usize..76,
        n in 0usize..1500,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        anywhere in any::<bool>(),
    ) {
        let quantizer = quantizers(Generator::Philox)[choice];
        let mut bytes = frame(&quantizer, n);
        for (index, value) in damage {
            let from = if anywhere { 0 } else { HEADER_BYTES };
            let at = from + index.index(bytes.len() - from);
            bytes[at] = value;
        }
        reseal(&mut bytes);
        if let Ok(frame) = Frame::parse(&bytes, &expected(quantizer, n, 2)) {
            let mut values = vec![0.0; n];
            frame.decode(&mut values);
            prop_assert!(values.iter().all(|v| v.is_finite()));
            prop_assert_eq!(values, reference::decode(&quantizer, n, &bytes));
        }
    }

    /// Any finite vector: both implementations agree, and nothing is further than a step away.
    #[test]
    fn any_vector_agrees_with_the_reference(
        choice in 0usize..76,
        bits in proptest::collection::vec(any::<u32>(), 0..700),
        mask in prop_oneof![Just(0xbfff_ffffu32), Just(u32::MAX), Just(0xff7f_ffff)],
    ) {
        let quantizer = quantizers(Generator::Ars)[choice];
        let x: Vec<f32> = bits.into_iter().map(|b| f32::from_bits(b & mask)).collect();
        let mut bytes = Vec::new();
        let result = quantizer.encode(&ID, &x, &[], &mut bytes);
        match reference::encode(&quantizer, &ID, &x, &[]) {
            Err(error) => prop_assert_eq!(result, Err(error)),
            Ok(wanted) => {
                prop_assert_eq!(result, Ok(()));
                prop_assert_eq!(&bytes, &wanted);
                let frame = Frame::parse(&bytes, &expected(quantizer, x.len(), 0));
                prop_assert!(frame.is_ok(), "{:?}", frame.err());
            }
        }
    }
}
