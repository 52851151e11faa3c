//! How fast this machine compresses gradients, in units of its own memory speed.
//!
//! Absolute times on a shared machine say more about the neighbours than about the code. So every
//! measurement here is a pair in quick succession, memcpy of the f32 vector and the operation, and
//! what is reported is the median ratio over many such rounds. With one thread the clock is the CPU
//! time of that thread, which other processes cannot stop; with several it is wall time.
//!
//! ```
//! use codec_speed::{Bench, Operation};
//! use gradient_codec::Preset;
//!
//! let compressor = Preset::default().compressor(4, 100_000)?;
//! let mut bench = Bench::new(100_000, 1)?;
//! let results = bench.measure(&[Operation::Encode, Operation::Add { messages: 4 }], Some(compressor), 3)?;
//! for result in results {
//!     println!("{}: {:.1} GB/s, {:.2} x memcpy", result.operation, result.gigabytes_per_second, result.times_memcpy);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clock;
mod floors;

use clock::Clock;
pub use floors::gradient;
use gradient_codec::{
    Compressor, EncodeError, Expected, Frame, FrameError, MessageId, accumulate_many,
    accumulate_rotated,
};
use std::fmt;
use std::hint::black_box;

/// What is measured. Speeds and ratios are per message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Copying the f32 vector: the unit.
    Copy,
    /// Reading it.
    Read,
    /// Reading and writing it in place, the traffic of an accumulator.
    Update,
    /// A vector to a frame, with its checksums.
    Encode,
    /// Checking a frame: checksum, steps, codes.
    Parse,
    /// Adding checked frames to an accumulator, all in one pass, and rotating the sum back once if they
    /// share a rotation.
    Add {
        /// Frames, at least 1.
        messages: usize,
    },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy => f.write_str("memcpy"),
            Self::Read => f.write_str("read"),
            Self::Update => f.write_str("read and write"),
            Self::Encode => f.write_str("encode"),
            Self::Parse => f.write_str("check"),
            Self::Add { messages: 1 } => f.write_str("add"),
            Self::Add { messages } => write!(f, "add {messages} at once"),
        }
    }
}

/// Medians over the rounds.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// What was measured.
    pub operation: Operation,
    /// memcpy's time over the operation's (per message) in the same round: above 1 is faster than
    /// copying the vector.
    pub times_memcpy: f64,
    /// f32 of the vector per second and message, in 10^9 bytes.
    pub gigabytes_per_second: f64,
    /// Seconds per message.
    pub seconds: f64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// The test vector cannot be encoded.
    #[error("failed to {0}")]
    Encode(#[from] EncodeError),
    /// The frame just encoded is refused.
    #[error("failed to {0}")]
    Frame(#[from] FrameError),
    /// No threads.
    #[error("failed to start {threads} threads: {source}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
    /// There is nothing to encode with.
    #[error("measure {0} without a compressor")]
    NoCompressor(Operation),
}

/// The vectors and threads of a measurement: 12 bytes a coordinate, and what the frames need.
pub struct Bench {
    pool: rayon::ThreadPool,
    clock: Clock,
    gradient: Vec<f32>,
    copy: Vec<f32>,
    sum: Vec<f32>,
}

impl Bench {
    /// Vectors of `n` coordinates and `threads` threads of their own.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn new(n: usize, threads: usize) -> Result<Self, SpeedError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|source| SpeedError::Threads { threads, source })?;
        Ok(Self {
            pool,
            clock: if threads == 1 {
                Clock::Thread
            } else {
                Clock::Wall
            },
            gradient: floors::gradient(n),
            copy: vec![1.0; n],
            sum: vec![1.0; n],
        })
    }

    /// Coordinates.
    pub fn coordinates(&self) -> usize {
        self.gradient.len()
    }

    /// Measures each operation `rounds` times, each time beside memcpy, all operations taking turns
    /// within a round. `compressor` is for the vectors' number of coordinates; the floors need none.
    ///
    /// # Errors
    /// If the compressor is missing or does not fit.
    pub fn measure(
        &mut self,
        operations: &[Operation],
        compressor: Option<Compressor>,
        rounds: usize,
    ) -> Result<Vec<Speed>, SpeedError> {
        let messages = operations.iter().map(|operation| operation.messages());
        let mut frames = vec![Vec::new(); messages.max().unwrap_or(0)];
        if !frames.is_empty() && compressor.is_none() {
            let needs = operations.iter().find(|o| o.messages() > 0);
            return Err(SpeedError::NoCompressor(
                *needs.unwrap_or(&Operation::Encode),
            ));
        }
        let Self {
            pool,
            clock,
            gradient,
            copy,
            sum,
        } = self;
        let id = |worker: usize| MessageId {
            seed: 1,
            iteration: 2,
            worker: worker as u32,
        };
        let mut out = Vec::new();
        if let Some(compressor) = compressor {
            for (worker, bytes) in frames.iter_mut().enumerate() {
                pool.install(|| compressor.encode(&id(worker), gradient, &[], bytes))?;
            }
            out = frames.first().cloned().unwrap_or_default();
        }
        let parsed = frames.iter().enumerate().map(|(worker, bytes)| {
            let expected = |compressor| Expected::new(&id(worker), compressor, 0);
            let frame = |compressor| Frame::parse(bytes, &expected(compressor));
            compressor.map(frame).transpose()
        });
        let parsed: Vec<_> = parsed.collect::<Result<_, _>>()?;
        let weighted: Vec<_> = parsed.into_iter().flatten().map(|f| (f, 0.25)).collect();

        let shared = compressor.and_then(|compressor| compressor.shared_rotation(&id(0)));

        // Inside the pool, so that the thread that is timed is the one that works.
        let times = pool.install(|| {
            let mut times = vec![Vec::new(); operations.len()];
            for round in 0..=rounds {
                for (operation, times) in operations.iter().zip(&mut times) {
                    let unit = clock.time(|| floors::copy(gradient, copy));
                    let time = match operation {
                        Operation::Copy => clock.time(|| floors::copy(gradient, copy)),
                        Operation::Read => clock.time(|| {
                            black_box(floors::read(gradient));
                        }),
                        Operation::Update => clock.time(|| floors::update(sum)),
                        Operation::Encode => {
                            let Some(compressor) = compressor else {
                                continue;
                            };
                            let mut encode = || compressor.encode(&id(0), gradient, &[], &mut out);
                            clock.time(|| {
                                black_box(encode().is_ok());
                            })
                        }
                        Operation::Parse => {
                            let Some(compressor) = compressor else {
                                continue;
                            };
                            let expected = Expected::new(&id(0), compressor, 0);
                            clock.time(|| {
                                black_box(Frame::parse(&frames[0], &expected).is_ok());
                            })
                        }
                        Operation::Add { messages } => {
                            let frames = &weighted[..*messages];
                            let add = || match shared {
                                None => accumulate_many(frames, sum),
                                Some(rotation) => {
                                    accumulate_rotated(&rotation, frames, sum);
                                    rotation.invert(sum);
                                }
                            };
                            clock.time(add) / *messages as f64
                        }
                    };
                    if round > 0 {
                        times.push((unit, time)); // the first round warms up
                    }
                }
            }
            times
        });
        let bytes = 4.0 * gradient.len() as f64;
        let speed = |(operation, times): (&Operation, Vec<(f64, f64)>)| {
            let seconds = median(times.iter().map(|(_, time)| *time));
            Speed {
                operation: *operation,
                times_memcpy: median(times.iter().map(|(unit, time)| unit / time)),
                gigabytes_per_second: bytes / seconds / 1e9,
                seconds,
            }
        };
        Ok(operations.iter().zip(times).map(speed).collect())
    }
}

impl Operation {
    /// Frames that it needs.
    fn messages(self) -> usize {
        match self {
            Self::Copy | Self::Read | Self::Update => 0,
            Self::Encode | Self::Parse => 1,
            Self::Add { messages } => messages.max(1),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => (values[(n - 1) / 2] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradient_codec::Preset;

    #[test]
    fn every_operation_is_measured() {
        let operations = [
            Operation::Copy,
            Operation::Read,
            Operation::Update,
            Operation::Encode,
            Operation::Parse,
            Operation::Add { messages: 1 },
            Operation::Add { messages: 3 },
        ];
        let compressor = Preset::default().compressor(3, 70_000).unwrap();
        for threads in [1, 2] {
            let mut bench = Bench::new(70_000, threads).unwrap();
            let results = bench.measure(&operations, Some(compressor), 2).unwrap();
            assert_eq!(results.len(), operations.len());
            for (result, operation) in results.iter().zip(operations) {
                assert_eq!(result.operation, operation);
                assert!(
                    result.times_memcpy > 0.0 && result.seconds > 0.0,
                    "{result:?}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut bench = Bench::new(1000, 1).unwrap();
        let error = bench.measure(&[Operation::Parse], None, 1);
        assert!(matches!(
            error,
            Err(SpeedError::NoCompressor(Operation::Parse))
        ));
        let other = Preset::default().compressor(3, 999).unwrap();
        let error = bench.measure(&[Operation::Encode], Some(other), 1);
        assert!(matches!(error, Err(SpeedError::Encode(_))));
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }
}
