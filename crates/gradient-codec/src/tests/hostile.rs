//! Frames from a broken or malicious sender: refused with the right error, never a panic, never an
//! allocation for a length that somebody claims.

use super::{COMPRESSORS, ID, compressors, expected, vector};
use crate::checksum;
use crate::header::Header;
use crate::layout::{HEADER_BYTES, SEGMENT};
use crate::{
    Compressor, EncodeError, Expected, Frame, FrameError, Generator, Operator, Quantizer, Scale,
    Sharing, reference,
};
use proptest::prelude::*;

const N: usize = 1300;

fn quantizer() -> Quantizer {
    Quantizer::new(Scale::BucketMax, 512, 5, Generator::default()).unwrap()
}

fn compressor() -> Compressor {
    quantizer().compressor(N)
}

fn frame(compressor: &Compressor) -> Vec<u8> {
    let mut bytes = Vec::new();
    compressor
        .encode(
            &ID,
            &vector(compressor.coordinates(), 1),
            &[1.0, 2.0],
            &mut bytes,
        )
        .unwrap();
    bytes
}

/// Makes both checksums hold again after tampering.
fn reseal(bytes: &mut [u8]) {
    let payload = checksum::crc32c(&bytes[HEADER_BYTES..]);
    bytes[56..60].copy_from_slice(&payload.to_le_bytes());
    let header = checksum::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&header.to_le_bytes());
}

/// What parsing says after `tamper` and resealing.
fn verdict(compressor: &Compressor, tamper: impl FnOnce(&mut Vec<u8>)) -> FrameError {
    let mut bytes = frame(compressor);
    tamper(&mut bytes);
    reseal(&mut bytes);
    Frame::parse(&bytes, &expected(*compressor, 2)).unwrap_err()
}

#[test]
fn every_truncation_and_extension_is_refused() {
    for compressor in compressors(Generator::Philox, 100) {
        let mut bytes = frame(&compressor);
        let plan = expected(compressor, 2);
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
    for compressor in [
        quantizer().compressor(40),
        Quantizer::sign(512).unwrap().compressor(40),
        Compressor::top_k(7, 40).unwrap(),
        Compressor::rand_k(7, 40).unwrap(),
    ] {
        let bytes = frame(&compressor);
        let plan = expected(compressor, 2);
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
}

/// Every header bit flipped by a sender who knows how to compute checksums.
#[test]
fn every_flipped_header_bit_is_refused_even_when_resealed() {
    for compressor in compressors(Generator::Philox, N) {
        let (global, sharing) = match compressor.operator() {
            Operator::Quantizer(quantizer) => (quantizer.scale().is_global(), quantizer.sharing()),
            Operator::RandK { .. } => (false, Some(Sharing::Message)),
            Operator::TopK { .. } => (false, None),
        };
        let random = sharing == Some(Sharing::Message);
        for bit in 0..8 * 56 {
            // A global step may take almost any value (bad ones are tested below), a key any.
            if (48..52).contains(&(bit / 8)) && global || (40..48).contains(&(bit / 8)) && random {
                continue;
            }
            let error = verdict(&compressor, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
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
                40..48 if sharing.is_some() => matches!(error, E::Rotation { .. }),
                40..48 => matches!(error, E::Key { .. }),
                48..52 => matches!(error, E::HeaderStep { .. }),
                _ => matches!(error, E::Entries { .. }),
            };
            assert!(right, "bit {bit} of {compressor:?}: {error}");
        }
    }
}

#[test]
fn bad_contents_are_refused_each_by_its_own_error() {
    let bad_steps = [f32::NAN, f32::INFINITY, -1.0, -0.0, f32::MAX];
    for bad in bad_steps {
        let error = verdict(&compressor(), |b| {
            b[68..72].copy_from_slice(&bad.to_le_bytes())
        });
        assert!(
            matches!(error, FrameError::Step { index: 512, .. }),
            "{error}"
        );
        let global = Quantizer::new(Scale::GlobalL2, 0, 5, Generator::default()).unwrap();
        let error = verdict(&global.compressor(N), |b| {
            b[48..52].copy_from_slice(&bad.to_le_bytes())
        });
        assert!(matches!(error, FrameError::HeaderStep { .. }), "{error}");
    }
    // Three steps, then padding up to 64 bytes.
    for at in 64 + 12..128 {
        let error = verdict(&compressor(), |b| b[at] = 1);
        assert_eq!(error, FrameError::StepPadding { index: 0 });
    }
    // Code -16 at row 0 of lane 0, in both full blocks and in the partial one.
    for (block, at) in [(0, 128), (1, 128 + 320), (2, 128 + 640)] {
        let error = verdict(&compressor(), |b| b[at + 3] = 0x80 | b[at + 3] & 0x07);
        assert_eq!(error, FrameError::UnusedCode { index: 512 * block });
    }
    // 276 coordinates in 9 lanes: lanes 6..9 of row 30 and all of row 31 are padding.
    let error = verdict(&compressor(), |b| {
        let end = b.len() - 8;
        b[end - 4] ^= 1; // lowest bit of the last lane's last word: row 31
    });
    assert_eq!(error, FrameError::CodePadding);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = verdict(&Quantizer::f32().compressor(N), |b| {
            b[64 + 4 * 600..][..4].copy_from_slice(&bad.to_le_bytes());
        });
        assert_eq!(error, FrameError::NotFinite { index: 512 });
        let error = verdict(&compressor(), |b| {
            let end = b.len();
            b[end - 4..].copy_from_slice(&bad.to_le_bytes());
        });
        assert_eq!(error, FrameError::TailNotFinite { index: 1 });
    }
}

#[test]
fn a_frame_of_another_plan_is_refused() {
    let bytes = frame(&compressor());
    let plan = expected(compressor(), 2);
    let other =
        |scale, bucket, bits| Quantizer::new(scale, bucket, bits, Generator::default()).unwrap();
    let swap = |quantizer: Quantizer| Expected {
        compressor: quantizer.compressor(N),
        ..plan
    };
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
            Expected {
                compressor: quantizer().compressor(1301),
                ..plan
            },
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
        (
            swap(Quantizer::sign(0).unwrap()),
            FrameError::Bits {
                found: 5,
                expected: 1,
            },
        ),
        (
            Expected {
                compressor: compressor().with_shrink(true),
                ..plan
            },
            FrameError::Flags {
                found: 0,
                expected: 2,
            },
        ),
        (
            Expected {
                compressor: Compressor::top_k(5, N).unwrap(),
                ..plan
            },
            FrameError::Bits {
                found: 5,
                expected: 32,
            },
        ),
    ] {
        assert_eq!(Frame::parse(&bytes, &plan).unwrap_err(), wanted);
    }
}

#[test]
fn sparse_frames_of_another_plan_are_refused() {
    let top = Compressor::top_k(5, N).unwrap();
    let bytes = frame(&top);
    let verdict = |compressor| Frame::parse(&bytes, &expected(compressor, 2)).unwrap_err();
    assert_eq!(
        verdict(Compressor::top_k(6, N).unwrap()),
        FrameError::Entries {
            found: 5,
            expected: 6
        }
    );
    assert_eq!(
        verdict(Compressor::rand_k(5, N).unwrap()),
        FrameError::Levels {
            found: 6,
            expected: 7
        }
    );
    assert_eq!(
        verdict(Quantizer::f32().compressor(N)),
        FrameError::Levels {
            found: 6,
            expected: 0
        }
    );
}

#[test]
fn bad_sparse_contents_are_refused_each_by_its_own_error() {
    let top = Compressor::top_k(5, N).unwrap(); // 5 values, then indices of 11 bits
    let rand = Compressor::rand_k(5, N).unwrap();
    for compressor in [top, rand] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = verdict(&compressor, |b| {
                b[64 + 12..64 + 16].copy_from_slice(&bad.to_le_bytes());
                b[64 + 16..64 + 20].copy_from_slice(&bad.to_le_bytes());
            });
            assert_eq!(error, FrameError::EntryNotFinite { entry: 3 });
        }
    }
    let with_indices = |indices: [usize; 5]| {
        verdict(&top, |b| {
            crate::sparse::write_indices(&indices, 11, &mut b[84..91]);
        })
    };
    for (indices, entry, found) in [
        ([0, 1, 2, 3, N], 4, N as u64),
        ([2047, 1, 2, 3, 4], 0, 2047),
        ([0, 7, 7, 8, 9], 2, 7),
        ([0, 7, 6, 8, 9], 2, 6),
        ([0, 0, 0, 0, 0], 1, 0),
    ] {
        assert_eq!(
            with_indices(indices),
            FrameError::EntryIndex { entry, found }
        );
    }
    // 55 bits of indices in 7 bytes.
    let error = verdict(&top, |b| b[90] |= 0x80);
    assert_eq!(error, FrameError::IndexPadding);
}

/// A key chooses among the coordinates and can do nothing else.
#[test]
fn any_key_of_random_coordinates_is_harmless() {
    let compressor = Compressor::rand_k(40, N).unwrap();
    for key in [0, 1, u64::MAX, 1 << 63] {
        let mut bytes = frame(&compressor);
        bytes[40..48].copy_from_slice(&u64::to_le_bytes(key));
        reseal(&mut bytes);
        let frame = Frame::parse(&bytes, &expected(compressor, 2)).unwrap();
        let mut values = vec![0.0; N];
        frame.decode(&mut values);
        assert_eq!(values, reference::decode(&compressor, &bytes));
        assert!(values.iter().filter(|v| **v != 0.0).count() <= 40);
    }
}

#[test]
fn signs_behind_the_last_coordinate_must_be_plus() {
    for quantizer in [
        Quantizer::sign(0).unwrap(),
        Quantizer::sign(512).unwrap(),
        Quantizer::one_bit(Default::default(), Generator::Ars),
    ] {
        // 276 coordinates in 9 lanes: lanes 6..9 of row 30 and all of row 31 are padding.
        let error = verdict(&quantizer.compressor(N), |b| {
            let end = b.len() - 8;
            b[end - 4] ^= 1;
        });
        assert_eq!(error, FrameError::CodePadding, "{quantizer:?}");
    }
}

/// Plans and claims near the end of the address space: an error, no overflow, no allocation.
#[test]
fn lengths_near_overflow() {
    let numbers = [
        usize::MAX,
        usize::MAX - 1,
        usize::MAX / 2,
        usize::MAX / 4,
        1 << 62,
        1 << 40,
    ];
    for n in numbers {
        let quantizers = super::quantizers(Generator::Philox);
        let mut all: Vec<_> = quantizers.into_iter().map(|q| q.compressor(n)).collect();
        for entries in [5, u64::from(u32::MAX)] {
            all.push(Compressor::top_k(entries, n).unwrap());
            all.push(Compressor::rand_k(entries, n).unwrap());
        }
        for compressor in all {
            for tail in [0, 1, u32::MAX as usize] {
                let plan = expected(compressor, tail);
                let header = Header::new(&compressor, &ID, tail as u32);
                let mut bytes = header.to_bytes().to_vec();
                bytes.extend([0; 16]);
                reseal(&mut bytes);
                let error = Frame::parse(&bytes, &plan).unwrap_err();
                assert!(matches!(error, FrameError::Length { .. }), "{error}");
            }
        }
    }
}

/// Five entries of 2^62 coordinates are a small frame: it is checked, nothing of n is allocated.
#[test]
fn few_entries_of_very_many_coordinates() {
    let n = 1 << 62;
    let compressor = Compressor::top_k(5, n).unwrap();
    let mut bytes = Header::new(&compressor, &ID, 0).to_bytes().to_vec();
    bytes.resize(compressor.frame_len(0), 0);
    let indices = [3, 1 << 20, 1 << 61, (1 << 61) + 1, n - 1];
    crate::sparse::write_indices(&indices, 62, &mut bytes[64 + 20..]);
    reseal(&mut bytes);
    let frame = Frame::parse(&bytes, &expected(compressor, 0)).unwrap();
    assert_eq!(frame.coordinates(), n);
}

#[test]
fn what_cannot_be_encoded_is_refused_with_its_place() {
    for compressor in compressors(Generator::Philox, N) {
        let is_f32 = compressor.operator() == Operator::Quantizer(Quantizer::f32());
        let mut out = vec![1, 2, 3];
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in [0, 511, 512, 1299] {
                let mut x = vector(N, 9);
                x[index] = bad;
                x[1299] = bad;
                let error = Err(EncodeError::NotFinite { index });
                assert_eq!(compressor.encode(&ID, &x, &[], &mut out), error);
                assert!(out.is_empty());
                assert_eq!(
                    reference::encode(&compressor, &ID, &x, &[]).map(|_| ()),
                    error
                );
                assert!(is_f32 || compressor.distortion(&x).is_nan());
            }
            let error = Err(EncodeError::TailNotFinite { index: 1 });
            let x = vector(N, 9);
            assert_eq!(compressor.encode(&ID, &x, &[0.0, bad], &mut out), error);
        }
        let error = Err(EncodeError::Coordinates {
            found: 7,
            expected: N,
        });
        assert_eq!(compressor.encode(&ID, &[0.0; 7], &[], &mut out), error);
        assert!(compressor.distortion(&[0.0; 7]).is_nan());
    }
    for compressor in compressors(Generator::Philox, 9000) {
        let mut x = vec![1.0; 9000];
        x[8999] = f32::MAX;
        x[8998] = f32::MAX;
        let result = compressor.encode(&ID, &x, &[], &mut Vec::new());
        assert_eq!(
            reference::encode(&compressor, &ID, &x, &[]).map(|_| ()),
            result
        );
        let Operator::Quantizer(quantizer) = compressor.operator() else {
            continue;
        };
        let index = 8999 / quantizer.bucket().map_or(9000, |b| b as usize);
        let index = index * quantizer.bucket().unwrap_or(0) as usize;
        let wanted = match quantizer.scale() {
            // A mean or a single magnitude is no larger than f32.
            Scale::None | Scale::GlobalMax | Scale::BucketMean | Scale::GlobalMean => Ok(()),
            _ => Err(EncodeError::Overflow { index }),
        };
        assert_eq!(result, wanted, "{quantizer:?}");
    }
    let everything_is_too_large = vec![f32::MAX; 100];
    let rand = Compressor::rand_k(10, 100).unwrap();
    let error = rand.encode(&ID, &everything_is_too_large, &[], &mut Vec::new());
    assert!(matches!(error, Err(EncodeError::Overflow { .. })));
    // The first error wins, whichever thread meets one first.
    let mut x = vector(70 * SEGMENT, 1);
    for index in [SEGMENT * 69, SEGMENT * 33 + 7, SEGMENT * 2 + 5] {
        x[index] = f32::NAN;
        let error = quantizer()
            .compressor(x.len())
            .encode(&ID, &x, &[], &mut Vec::new())
            .unwrap_err();
        assert_eq!(error, EncodeError::NotFinite { index });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_parse(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Frame::parse(&bytes, &expected(quantizer().compressor(60), 0)).is_err());
    }

    /// Random damage under good checksums: either an error, or a frame that decodes like the
    /// reference to finite values.
    #[test]
    fn damage_under_good_checksums_is_harmless(
        choice in 0..COMPRESSORS,
        n in 0usize..1500,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        anywhere in any::<bool>(),
    ) {
        let compressor = compressors(Generator::Philox, n)[choice];
        let mut bytes = frame(&compressor);
        for (index, value) in damage {
            let from = if anywhere { 0 } else { HEADER_BYTES };
            let at = from + index.index(bytes.len() - from);
            bytes[at] = value;
        }
        reseal(&mut bytes);
        if let Ok(frame) = Frame::parse(&bytes, &expected(compressor, 2)) {
            let mut values = vec![0.0; n];
            frame.decode(&mut values);
            prop_assert!(values.iter().all(|v| v.is_finite()));
            prop_assert_eq!(values, reference::decode(&compressor, &bytes));
        }
    }

    /// Any finite vector: both implementations agree, and nothing is further than a step away.
    #[test]
    fn any_vector_agrees_with_the_reference(
        choice in 0..COMPRESSORS,
        bits in proptest::collection::vec(any::<u32>(), 0..700),
        mask in prop_oneof![Just(0xbfff_ffffu32), Just(u32::MAX), Just(0xff7f_ffff)],
    ) {
        let x: Vec<f32> = bits.into_iter().map(|b| f32::from_bits(b & mask)).collect();
        let compressor = compressors(Generator::Ars, x.len())[choice];
        let mut bytes = Vec::new();
        let result = compressor.encode(&ID, &x, &[], &mut bytes);
        match reference::encode(&compressor, &ID, &x, &[]) {
            Err(error) => prop_assert_eq!(result, Err(error)),
            Ok(wanted) => {
                prop_assert_eq!(result, Ok(()));
                prop_assert_eq!(&bytes, &wanted);
                let frame = Frame::parse(&bytes, &expected(compressor, 0));
                prop_assert!(frame.is_ok(), "{:?}", frame.err());
            }
        }
    }
}
