//! The tables of docs/codec-speed.md: every operation as a multiple of memcpy in the same round.
//!
//! ```text
//! cargo run --release -p codec-speed --example table                  # everything
//! cargo run --release -p codec-speed --example table -- 25600000 1      # one size, one thread
//! cargo run --release -p codec-speed --example table -- 25600000 1 2,8  # and two widths
//! cargo run --release -p codec-speed --example table -- 25600000 1 2,8 avx2  # a slower instruction set
//! cargo run --release -p codec-speed --example table -- 25600000 1 2,8 avx2 eden  # and one compressor
//! ```

use codec_speed::{Bench, Operation, Speed};
use gradient_codec::{Compressor, Generator, Preset, Quantizer, Scale, instruction_set};
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
    let only = arguments.get(4).map_or("", String::as_str);
    println!("Instruction set `{}`.", instruction_set());
    for n in sizes {
        for &threads in &threads {
            table(n, threads, &widths, only)?;
        }
    }
    Ok(())
}

/// One size and number of threads, of the compressors whose names begin with `only`.
fn table(n: usize, threads: usize, widths: &[u8], only: &str) -> Result<(), Box<dyn Error>> {
    let rounds = (200_000_000 / n).clamp(5, 25);
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
    let listed = compressors(n, widths)?;
    for (name, compressor) in listed
        .into_iter()
        .filter(|(name, _)| name.starts_with(only))
    {
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

/// Every width of the default preset and of the rotated ones, 4 and 8 bits of the others.
fn compressors(n: usize, widths: &[u8]) -> Result<Vec<(String, Compressor)>, Box<dyn Error>> {
    let mut list = Vec::new();
    let mut add = |preset: &str, bits: u8| -> Result<(), Box<dyn Error>> {
        let compressor = preset.parse::<Preset>()?.compressor(bits, n)?;
        list.push((format!("{preset} b={bits}"), compressor));
        Ok(())
    };
    let wide = || widths.iter().copied().filter(|bits| *bits > 1);
    let some = || widths.iter().copied().filter(|bits| [4, 8].contains(bits));
    if widths.contains(&1) {
        add("sign:512", 1)?;
        add("one-bit:max", 1)?;
    }
    wide().try_for_each(|bits| add("qsgd-bucketed:max:512", bits))?;
    for preset in [
        "qsgd-bucketed:max:4096",
        "qsgd-bucketed:l2:512",
        "qsgd-bucketed:l2:4096",
        "qsgd",
    ] {
        some().try_for_each(|bits| add(preset, bits))?;
    }
    for preset in ["rotated", "eden"] {
        widths.iter().try_for_each(|bits| add(preset, *bits))?;
    }
    for bits in some() {
        let philox = Quantizer::new(Scale::BucketMax, 512, bits, Generator::Philox)?;
        let name = format!("qsgd-bucketed:max:512, Philox b={bits}");
        list.push((name, philox.compressor(n)));
    }
    Ok(list)
}

fn gigabytes(speed: &Speed) -> String {
    format!("{} {:.1} GB/s", speed.operation, speed.gigabytes_per_second)
}
