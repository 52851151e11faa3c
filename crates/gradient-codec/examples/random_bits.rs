//! The bits that stochastic rounding draws, as an endless stream of little-endian 32-bit words on
//! standard output, for batteries of statistical tests.
//!
//! ```text
//! cargo run --release -p gradient-codec --example random_bits -- ars workers | dieharder -a -g 200
//! ```
//!
//! The first argument names the generator, `ars` or `philox`; the second what follows each other:
//!
//! * `coordinates`: the coordinates of a message of 16 Mi, then the next iteration's;
//! * `workers`: one coordinate of 64 workers, then the next coordinate;
//! * `iterations`: one coordinate in 64 iterations, then the next coordinate.
//!
//! tools/randomness/run.sh runs the battery on all of them.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use gradient_codec::layout::{BLOCK, LANES};
use gradient_codec::{Generator, MessageId, random};

/// Coordinates of a message.
const COORDINATES: u64 = 1 << 24;
/// Messages whose words take turns.
const INTERLEAVED: u64 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (generator, order) = match arguments[..] {
        ["ars", order] => (Generator::Ars, order),
        ["philox", order] => (Generator::Philox, order),
        _ => return usage(),
    };
    let message: fn(u64, u64) -> MessageId = match order {
        "coordinates" => |round, _| id(round, 0),
        "workers" => |round, turn| id(round, turn as u32),
        "iterations" => |round, turn| id(INTERLEAVED * round + turn, 0),
        _ => return usage(),
    };
    let turns = if order == "coordinates" {
        1
    } else {
        INTERLEAVED
    };
    match stream(generator, turns, message) {
        // The reader has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to standard output: {error}");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: random_bits ars|philox coordinates|workers|iterations");
    ExitCode::from(2)
}

fn id(iteration: u64, worker: u32) -> MessageId {
    MessageId {
        seed: 1,
        iteration,
        worker,
    }
}

/// Writes coordinate by coordinate the words of `turns` messages, and then those of the next round's.
fn stream(
    generator: Generator,
    turns: u64,
    message: impl Fn(u64, u64) -> MessageId,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    for round in 0..u64::MAX {
        let keys: Vec<_> = (0..turns)
            .map(|turn| message(round, turn).rounding_key())
            .collect();
        for coordinate in 0..COORDINATES {
            let block = coordinate / BLOCK as u64;
            let place = coordinate as usize % BLOCK;
            for key in &keys {
                let word = random::bits(generator, *key, block, place / LANES, place % LANES);
                out.write_all(&word.to_le_bytes())?;
            }
        }
    }
    Ok(())
}
