//! What the master needs of a transport: the same few verbs over MPI and in process.

use crate::buffer::Buffer;
use crate::downlink::Model;
use crate::error::TransportError;
use crate::memory::Memory;
use crate::message::{Ending, Header, Task};
use gradient_code::Plan;

/// Something that reached the master.
#[derive(Debug)]
pub enum Event {
    /// A worker reports on its task.
    Header(Header),
    /// A worker reports that it failed.
    Failure {
        /// The report, without a frame.
        header: Header,
        /// Why, for people.
        reason: String,
    },
    /// A frame that was asked for has arrived whole.
    Frame {
        /// Logical worker i.
        worker: usize,
        /// Number of the round it belongs to.
        sequence: u64,
        /// The frame, not yet checked. Hand it back through [`Transport::recycle`].
        frame: Buffer,
    },
    /// What a worker has still to deliver, as asked for by [`Transport::recall`].
    Memory {
        /// Logical worker i.
        worker: usize,
        /// Its memory, if it has one.
        memory: Option<Memory>,
    },
    /// The worker's rank failed and will not answer again.
    Lost {
        /// Logical worker i.
        worker: usize,
        /// Why, for people.
        reason: String,
    },
}

/// Bytes that crossed the transport since the start of the run, headers and orders included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From workers to the master.
    pub up: u64,
    /// From the master to workers.
    pub down: u64,
}

/// Moves tasks to workers and their results to the master.
///
/// The master keeps the state of every worker (idle, computing, reported) and calls [`start`] only
/// for idle ones, so an implementation never queues work. No method waits for a worker.
///
/// [`start`]: Transport::start
pub trait Transport {
    /// Seconds since the start of the run: real over MPI, virtual in process.
    fn now(&self) -> f64;

    /// Sends a task, with what of the model the worker's rank does not have already.
    ///
    /// The model's buffers stay in use until the last send has completed.
    fn start(&mut self, task: Task, model: &Model) -> Result<(), TransportError>;

    /// Answers a header: send the frame, or drop it.
    fn verdict(&mut self, header: &Header, send: bool) -> Result<(), TransportError>;

    /// Waits for events until `until` (on the clock of [`Transport::now`]), and returns as soon as
    /// there is one. Whatever arrived before `until` is among the events, also when the call comes
    /// late.
    fn poll(&mut self, until: f64, events: &mut Vec<Event>) -> Result<(), TransportError>;

    /// Moves messages on without waiting; events stay queued for the next [`Transport::poll`].
    fn progress(&mut self) -> Result<(), TransportError>;

    /// Whether the clock is real: then messages need [`Transport::progress`] while the master
    /// computes.
    fn real_time(&self) -> bool;

    /// Announces a new plan; it holds for every task started later.
    fn publish(&mut self, plan: &Plan) -> Result<(), TransportError>;

    /// Asks for what a worker has still to deliver; [`Event::Memory`] answers, also while the worker
    /// computes. One at a time.
    fn recall(&mut self, worker: usize) -> Result<(), TransportError>;

    /// Gives a worker the memory it had when a checkpoint was written, before its first task.
    fn restore(&mut self, memory: Memory) -> Result<(), TransportError>;

    /// Learns that the master has given up a worker that owes it a report. Its rank need not confirm
    /// the end of the run unless the worker reports after all.
    fn give_up(&mut self, worker: usize) {
        let _ = worker;
    }

    /// Takes back a frame's buffer.
    fn recycle(&mut self, frame: Buffer);

    /// Bytes moved so far.
    fn traffic(&self) -> Traffic;

    /// Tells all workers that the run is over with exit code `code`, waits a bounded time for them
    /// to confirm, and says how the process must end.
    fn finish(&mut self, code: u8) -> Ending;
}

/// [`beside`] for work on `coordinates` coordinates, which is done at once where a thread would take
/// longer than the work.
pub(crate) fn beside_if_large<R: Send>(
    coordinates: usize,
    transport: &mut dyn Transport,
    work: impl FnOnce() -> R + Send,
) -> (R, Result<(), TransportError>) {
    if coordinates < LARGE {
        return (work(), Ok(()));
    }
    beside(transport, work)
}

/// A pass over so many coordinates takes about as long as to start a thread and to notice its end.
const LARGE: usize = 1 << 17;

/// Runs `work` on a thread of its own while the transport's messages progress, and returns its
/// result together with the first transport error met meanwhile.
///
/// A panic in `work` is passed on.
pub fn beside<R: Send>(
    transport: &mut dyn Transport,
    work: impl FnOnce() -> R + Send,
) -> (R, Result<(), TransportError>) {
    if !transport.real_time() {
        return (work(), Ok(()));
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        let mut result = Ok(());
        while !thread.is_finished() {
            if result.is_ok() {
                result = transport.progress();
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        match thread.join() {
            Ok(value) => (value, result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
