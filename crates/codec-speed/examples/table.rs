//! The tables of docs/codec-speed.md: every operation as a multiple of memcpy in the same round.
//!
//! ```text
//! cargo run --release -p codec-speed --example table                  # everything
//! cargo run --release -p codec-speed --example table -- 25600000 1      # one size, one thread
//! cargo run --release -p codec-speed --example table -- 25600000 1 2,8  # and two widths
//! cargo run --release -p codec-speed --example table -- 25600000 1 2,8 avx2  # a slower instruction set
//! ```

use codec_speed::{Bench, Operation, Speed};
use gradient_codec::{Generator, Quantizer, Scale, instruction_set};
use std::error::Error;

/// SSDLite-MobileNetV3, ResNet-50, GPT-2.
const SIZES: [usize; 3] = [3_400_000, 25_600_000, 124_000_000];
const WIDTHS: [u8; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16];
const MESSAGES: [usize; 3] = [1, 4, 8];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let sizes = match arguments.first() {
        Some(n) => vec![n.parse()?],
        None => SIZES.to_vec(),
    };
    let threads = match arguments.get(1) {
        Some(threads) => vec![threads.parse()?],
        None => vec![1, cores],
    };
    let widths = match arguments.get(2) {
        Some(list) => list.split(',').map(str::parse).collect::<Result<_, _>>()?,
        None => WIDTHS.to_vec(),
    };
    if let Some(name) = arguments.get(3)
        && !gradient_codec::choose_instruction_set(name)
    {
        return Err(format!("use instruction set {name}: this CPU does not have it").into());
    }
    println!("Instruction set `{}`.", instruction_set());
    for n in sizes {
        for &threads in &threads {
            table(n, threads, &widths)?;
        }
    }
    Ok(())
}

/// One size and number of threads.
fn table(n: usize, threads: usize, widths: &[u8]) -> Result<(), Box<dyn Error>> {
    let rounds = (400_000_000 / n).clamp(7, 41);
    let mut bench = Bench::new(n, threads)?;
    let clock = if threads == 1 {
        "CPU time"
    } else {
        "wall time"
    };
    println!(
        "\n**{:.1} M coordinates, {threads} thread(s)**, {clock}, {rounds} rounds\n",
        n as f64 / 1e6
    );
    let floors = [Operation::Copy, Operation::Read, Operation::Update];
    let floors = bench.measure(&floors, None, rounds)?;
    let listed: Vec<String> = floors.iter().map(gigabytes).collect();
    println!("{}\n", listed.join(", "));
    let mut operations = vec![Operation::Encode, Operation::Parse];
    operations.extend(MESSAGES.map(|messages| Operation::Add { messages }));
    println!("| compressor | encode GB/s | x memcpy | check | add 1 | add 4, each | add 8, each |");
    println!("|---|---|---|---|---|---|---|");
    for (name, quantizer) in quantizers(widths)? {
        let compressor = quantizer.compressor(n);
        let line = |results: Vec<Speed>| {
            let ratios: Vec<String> = results
                .iter()
                .map(|r| format!("{:.2}", r.times_memcpy))
                .collect();
            println!(
                "| {name} | {:.1} | {} |",
                results[0].gigabytes_per_second,
                ratios.join(" | ")
            );
        };
        line(bench.measure(&operations, Some(compressor), rounds)?);
    }
    Ok(())
}

/// Every width of the default preset, 4 and 8 bits of the others.
fn quantizers(widths: &[u8]) -> Result<Vec<(String, Quantizer)>, Box<dyn Error>> {
    let mut list = Vec::new();
    for &bits in widths {
        if bits == 1 {
            list.push(("sign:512".into(), Quantizer::sign(512)?));
            let scale = gradient_codec::OneBitScale::Max;
            list.push((
                "one-bit:max".into(),
                Quantizer::one_bit(scale, Generator::Ars),
            ));
            continue;
        }
        let default = Quantizer::new(Scale::BucketMax, 512, bits, Generator::Ars)?;
        list.push((format!("max:512 b={bits}"), default));
    }
    for (name, scale, bucket, generator) in [
        ("max:4096", Scale::BucketMax, 4096, Generator::Ars),
        ("l2:512", Scale::BucketL2, 512, Generator::Ars),
        ("l2:4096", Scale::BucketL2, 4096, Generator::Ars),
        ("global l2 (qsgd)", Scale::GlobalL2, 0, Generator::Ars),
        ("max:512, Philox", Scale::BucketMax, 512, Generator::Philox),
    ] {
        for bits in [4, 8] {
            if widths.contains(&bits) {
                let quantizer = Quantizer::new(scale, bucket, bits, generator)?;
                list.push((format!("{name} b={bits}"), quantizer));
            }
        }
    }
    Ok(list)
}

fn gigabytes(speed: &Speed) -> String {
    format!("{} {:.1} GB/s", speed.operation, speed.gigabytes_per_second)
}
