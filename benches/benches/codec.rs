//! The codec beside memcpy in the same run: encode, check, and fused decode-accumulate of one, four
//! and eight messages in one pass, on one core and on all. Where the machine is not quiet, times vary more than
//! the codec: `cargo run --release -p codec-speed --example table` measures ratios to memcpy instead, in the
//! same rounds.
//!
//! ```text
//! cargo bench -p benches --bench codec                    # everything
//! cargo bench -p benches --bench codec -- '25600000/.*b4'  # one width at one size
//! cargo bench -p benches --bench codec -- 'sign|one-bit|top-k|rand-k|shrunk|memcpy'
//! ```
//! Throughput is bytes of f32 per second: input of encode and memcpy, accumulator of decode (for
//! k messages: k times the accumulator).

use codec_speed::gradient;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gradient_codec::{
    Compressor, Expected, Frame, Generator, MessageId, Preset, Quantizer, Scale, accumulate_many,
    instruction_set,
};
use std::hint::black_box;
use std::time::Duration;

/// SSDLite-MobileNetV3, ResNet-50 and GPT-2; the largest needs 4 GB.
const SIZES: [usize; 3] = [3_400_000, 25_600_000, 124_000_000];
const WIDTHS: [u8; 9] = [2, 3, 4, 5, 6, 7, 8, 12, 16];
/// Frames added in one pass.
const MESSAGES: [usize; 3] = [1, 4, 8];
const MOST: usize = 8;

/// One-bit kinds, sparsifiers that keep 1 % and what two bits per coordinate pay for, and what
/// shrinking adds to encoding.
fn others(n: usize) -> Vec<(String, Compressor)> {
    let one_percent = |kind: &str| (format!("{kind}:{}", n / 100), format!("{kind}-1%"));
    let mut list = Vec::new();
    for (text, name, bits, shrink) in [
        ("sign".into(), "sign".into(), 1, false),
        ("sign:512".into(), "sign-512".into(), 1, false),
        ("one-bit:max".into(), "one-bit-max".into(), 1, false),
        ("one-bit:l2".into(), "one-bit-l2".into(), 1, false),
        (one_percent("top-k").0, one_percent("top-k").1, 1, false),
        ("top-k".into(), "top-k-b2".into(), 2, false),
        (one_percent("rand-k").0, one_percent("rand-k").1, 1, false),
        ("rand-k".into(), "rand-k-b2".into(), 2, false),
        (
            "qsgd-bucketed".into(),
            "max512-ars-b4-shrunk".into(),
            4,
            true,
        ),
        ("one-bit:max".into(), "one-bit-max-shrunk".into(), 1, true),
    ] {
        let preset = str::parse::<Preset>(&text);
        if let Ok(Ok(compressor)) = preset.map(|preset| preset.compressor(bits, n)) {
            list.push((name, compressor.with_shrink(shrink)));
        }
    }
    list
}

fn quantizers(bits: u8) -> Vec<(String, Quantizer)> {
    let mut list = Vec::new();
    for (name, scale, generator) in [
        ("max512-ars", Scale::BucketMax, Generator::Ars),
        ("max512-philox", Scale::BucketMax, Generator::Philox),
        ("l2-512-ars", Scale::BucketL2, Generator::Ars),
        ("global-l2-ars", Scale::GlobalL2, Generator::Ars),
    ] {
        if let Ok(quantizer) = Quantizer::new(scale, 512, bits, generator) {
            // Every width for the default, 4 and 8 bits for the others.
            if name == "max512-ars" || bits == 4 || bits == 8 {
                list.push((format!("{name}-b{bits}"), quantizer));
            }
        }
    }
    list
}

fn codec(c: &mut Criterion) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    eprintln!("instruction set: {}", instruction_set());
    for threads in [1, cores] {
        let Ok(pool) = rayon::ThreadPoolBuilder::new().num_threads(threads).build() else {
            continue;
        };
        for n in SIZES {
            let x = gradient(n);
            let mut group = c.benchmark_group(format!("codec/{threads}-thread/{n}"));
            group.throughput(Throughput::Bytes(4 * n as u64));
            let mut copy = vec![0f32; n];
            group.bench_function("read", |b| {
                b.iter(|| black_box(&x).iter().fold(0, |bits, v| bits ^ v.to_bits()));
            });
            group.bench_function("read-and-write", |b| {
                b.iter(|| black_box(&mut copy).iter_mut().for_each(|v| *v = -*v));
            });
            let widths = WIDTHS.iter().flat_map(|bits| quantizers(*bits));
            let compressors = widths
                .map(|(name, quantizer)| (name, quantizer.compressor(n)))
                .chain(others(n));
            for (name, compressor) in compressors {
                let mut messages = vec![Vec::new(); MOST];
                for (worker, bytes) in messages.iter_mut().enumerate() {
                    let id = MessageId {
                        seed: 1,
                        iteration: 2,
                        worker: worker as u32,
                    };
                    if let Err(error) = compressor.encode(&id, &x, &[], bytes) {
                        eprintln!("{name}: {error}");
                        return;
                    }
                }
                let plan = |worker| {
                    let id = MessageId {
                        seed: 1,
                        iteration: 2,
                        worker,
                    };
                    Expected::new(&id, compressor, 0)
                };
                let parse = |worker: usize| Frame::parse(&messages[worker], &plan(worker as u32));
                let id = MessageId {
                    seed: 1,
                    iteration: 2,
                    worker: 0,
                };
                let mut out = messages[0].clone();
                group.bench_function(BenchmarkId::new("memcpy", &name), |b| {
                    b.iter(|| copy.copy_from_slice(black_box(&x)));
                });
                group.bench_function(BenchmarkId::new("encode", &name), |b| {
                    b.iter(|| {
                        pool.install(|| compressor.encode(&id, black_box(&x), &[], &mut out))
                    });
                });
                if ["philox", "l2", "shrunk"]
                    .iter()
                    .any(|kind| name.contains(kind))
                {
                    continue; // decoding does not depend on them
                }
                group.bench_function(BenchmarkId::new("parse", &name), |b| {
                    b.iter(|| pool.install(|| parse(0).is_ok()));
                });
                let Ok(frames) = (0..MOST)
                    .map(|worker| Ok((parse(worker)?, 0.5)))
                    .collect::<Result<Vec<_>, gradient_codec::FrameError>>()
                else {
                    return;
                };
                for messages in MESSAGES {
                    group.throughput(Throughput::Bytes(messages as u64 * 4 * n as u64));
                    let frames = &frames[..messages];
                    let series = BenchmarkId::new(format!("accumulate-{messages}"), &name);
                    group.bench_function(series, |b| {
                        b.iter(|| pool.install(|| accumulate_many(frames, black_box(&mut copy))));
                    });
                }
                group.throughput(Throughput::Bytes(4 * n as u64));
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = codec
}
criterion_main!(benches);
