//! gradcode's side of `benches/peers/run.sh`: measures presets on the f32 vector of a file (raw,
//! little-endian), as asked on standard input, on one thread.
//!
//! ```text
//! time PRESET BITS             -> ok MEMCPY ENCODE DECODE FRAME_BITS     seconds of CPU time
//! error PRESET BITS MESSAGES   -> ok NMSE BIAS                           see `errors`
//!                              -> no REASON
//! ```
//! Decoding is checking the frame and adding it to an accumulator: what a master does.

use gradient_codec::{Compressor, Expected, Frame, MessageId, Preset};
use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os()
        .nth(1)
        .ok_or("name the file of the vector")?;
    // The thread that asks is the one that works, so its clock counts everything.
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build_global()?;
    let bytes = std::fs::read(path)?;
    let x: Vec<f32> = bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    drop(bytes);
    let mut bench = Bench {
        copy: vec![0.0; x.len()],
        sum: vec![0.0; x.len()],
        frame: Vec::new(),
        x,
    };
    for line in std::io::stdin().lock().lines() {
        let answer = match bench.answer(&line?) {
            Ok(numbers) => format!("ok {}", numbers.map(|v| v.to_string()).join(" ")),
            Err(error) => format!("no {error}"),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

struct Bench {
    x: Vec<f32>,
    copy: Vec<f32>,
    sum: Vec<f32>,
    frame: Vec<u8>,
}

impl Bench {
    fn answer(&mut self, line: &str) -> Result<[f64; 4], Box<dyn Error>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let compressor = |preset: &str, bits: &str| -> Result<Compressor, Box<dyn Error>> {
            let preset: Preset = preset.parse()?;
            Ok(preset.compressor(bits.parse()?, self.x.len())?)
        };
        match words[..] {
            ["time", preset, bits] => {
                let compressor = compressor(preset, bits)?;
                self.time(compressor)
            }
            ["error", preset, bits, messages] => {
                let compressor = compressor(preset, bits)?;
                self.errors(compressor, messages.parse()?)
            }
            _ => Err(format!("this is neither `time` nor `error`: {line}").into()),
        }
    }

    fn time(&mut self, compressor: Compressor) -> Result<[f64; 4], Box<dyn Error>> {
        let id = id(0);
        let start = cpu_seconds();
        self.copy.copy_from_slice(black_box(&self.x));
        black_box(&mut self.copy);
        let copied = cpu_seconds();
        compressor.encode(&id, &self.x, &[], &mut self.frame)?;
        let encoded = cpu_seconds();
        Frame::parse(&self.frame, &expected(compressor, id))?.accumulate(1.0, &mut self.sum);
        black_box(&mut self.sum);
        let decoded = cpu_seconds();
        let bits = 8.0 * self.frame.len() as f64;
        Ok([copied - start, encoded - copied, decoded - encoded, bits])
    }

    /// The mean of `||Q(x) - x||^2` over messages, and an unbiased estimate of `||E Q(x) - x||^2`, both over
    /// `||x||^2`; the latter may come out below 0.
    fn errors(
        &mut self,
        compressor: Compressor,
        messages: u64,
    ) -> Result<[f64; 4], Box<dyn Error>> {
        let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>();
        let size = squares(&mut self.x.iter().map(|v| f64::from(*v)));
        let mut total = vec![0f64; self.x.len()];
        let mut single = 0.0;
        for message in 0..messages {
            let id = id(message);
            compressor.encode(&id, &self.x, &[], &mut self.frame)?;
            Frame::parse(&self.frame, &expected(compressor, id))?.decode(&mut self.copy);
            for ((total, q), x) in total.iter_mut().zip(&self.copy).zip(&self.x) {
                let error = f64::from(*q) - f64::from(*x);
                *total += error;
                single += error * error;
            }
        }
        let m = messages as f64;
        let of_mean = squares(&mut total.iter().map(|e| e / m));
        let mean = single / m;
        let bias = (m * of_mean - mean) / (m - 1.0);
        Ok([mean / size, bias / size, 0.0, 0.0])
    }
}

fn id(iteration: u64) -> MessageId {
    MessageId {
        seed: 1,
        iteration,
        worker: 0,
    }
}

fn expected(compressor: Compressor, id: MessageId) -> Expected {
    Expected::new(&id, compressor, 0)
}

/// CPU time of this process, whose only thread works here.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable; the clock exists wherever POSIX threads do, and leaves zeros if not.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
