//! The transport over MPI: rank 0 is the master, every other rank hosts one or more workers.
//!
//! A rank's main thread makes all MPI calls and never blocks in one; models and optimizers compute
//! on threads beside it. Between polls a waiting rank sleeps, because a rank that spins in MPI
//! halves the speed of its neighbours on an oversubscribed node, and yields only while bulk data
//! is known to be moving.

mod bulk;
mod compute;
mod inbox;
mod incoming;
mod master;
mod orders;
mod outgoing;
mod peer;
mod recall;
mod requests;
mod session;
mod worker;

pub use master::{MpiOptions, MpiTransport};
pub use orders::Answer;
pub use session::{PANIC_CODE, Session, abort};
pub use worker::WorkerRank;

use std::time::Duration;

/// Pause of a rank that waits for a control message.
const IDLE_PAUSE: Duration = Duration::from_micros(200);

/// Length of a chunk of bulk data, bytes: long enough for full speed, short enough that no single
/// poll copies for long. Both sides must agree, so it is a constant.
const CHUNK_BYTES: usize = 2 << 20;

/// Chunks of one transfer that are posted at a time.
const CHUNKS_IN_FLIGHT: usize = 2;

/// Message tags; the round is never in the tag but in the message.
mod tag {
    /// Orders, master to worker ranks.
    pub const ORDER: i32 = 1;
    /// Parameters, master to worker ranks.
    pub const PARAMETERS: i32 = 2;
    /// Texts (briefing, plan), master to worker ranks.
    pub const TEXT: i32 = 3;
    /// Reports, worker ranks to master.
    pub const REPORT: i32 = 4;
    /// Frames, worker ranks to master.
    pub const FRAME: i32 = 5;
    /// Texts (answers to the briefing), worker ranks to master.
    pub const ANSWER: i32 = 6;
    /// Texts (why a task failed), worker ranks to master.
    pub const REASON: i32 = 7;
    /// Memories of error feedback, both ways.
    pub const MEMORY: i32 = 8;
}

/// The rank that hosts `worker` when there are `ranks` ranks: round robin over ranks 1...
///
/// # Panics
/// If there is no worker rank; [`MpiTransport::new`] refuses that.
pub fn host_of(worker: usize, ranks: usize) -> usize {
    1 + worker % (ranks - 1)
}

/// Waits a little: not at all while bulk data moves, else [`IDLE_PAUSE`].
fn pause(bulk: bool) {
    if bulk {
        std::thread::yield_now();
    } else {
        std::thread::sleep(IDLE_PAUSE);
    }
}

/// A transfer cut into chunks, of which a few are in flight.
#[derive(Debug)]
struct Chunks {
    bytes: usize,
    chunk: usize,
    posted: usize,
    in_flight: usize,
}

impl Chunks {
    fn new(bytes: usize) -> Self {
        Self::of(bytes, CHUNK_BYTES)
    }

    fn of(bytes: usize, chunk: usize) -> Self {
        Self {
            bytes,
            chunk,
            posted: 0,
            in_flight: 0,
        }
    }

    /// The next range to post, if there is one and a place for it; counts it as posted.
    fn next(&mut self) -> Option<std::ops::Range<usize>> {
        if self.posted == self.bytes || self.in_flight == CHUNKS_IN_FLIGHT {
            return None;
        }
        let start = self.posted;
        self.posted = (start + self.chunk).min(self.bytes);
        self.in_flight += 1;
        Some(start..self.posted)
    }

    /// Counts one chunk as complete; true when it was the last.
    fn complete_one(&mut self) -> bool {
        self.in_flight -= 1;
        self.is_complete()
    }

    /// Whether the first of several chunks has gone and no other; of a single chunk, whether it is
    /// still to go.
    fn is_half_way(&self) -> bool {
        let first = if self.bytes > self.chunk {
            self.chunk
        } else {
            0
        };
        self.in_flight == 0 && self.posted == first
    }

    fn is_complete(&self) -> bool {
        self.in_flight == 0 && self.posted == self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_transfer_once_and_bound_what_is_in_flight() {
        for (bytes, chunk) in [(10, 3), (9, 3), (1, 5), (5, 1)] {
            let mut chunks = Chunks::of(bytes, chunk);
            let (mut covered, mut open) = (0, std::collections::VecDeque::new());
            while !chunks.is_complete() {
                while let Some(range) = chunks.next() {
                    assert_eq!(range.start, covered);
                    assert_eq!(range.len(), chunk.min(bytes - range.start));
                    covered = range.end;
                    open.push_back(range);
                }
                assert!(open.len() <= CHUNKS_IN_FLIGHT);
                open.pop_front().expect("progress");
                chunks.complete_one();
            }
            assert_eq!(covered, bytes);
        }
        assert!(Chunks::of(0, 4).is_complete());
    }

    #[test]
    fn workers_are_spread_over_all_worker_ranks() {
        for ranks in 2..6 {
            let hosts: Vec<usize> = (0..10).map(|worker| host_of(worker, ranks)).collect();
            assert!(hosts.iter().all(|&rank| rank >= 1 && rank < ranks));
            assert!((1..ranks).all(|rank| hosts.contains(&rank)));
        }
    }
}
