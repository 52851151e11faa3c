//! The control messages between the master and the workers' ranks.
//!
//! All are [`CONTROL_BYTES`] long on the wire, so a receive can be posted before anything is sent
//! and no message is ever unexpected or truncated. Bulk data (parameters, plans, frames) follows
//! on tags of its own, announced by a control message.

use serde::{Deserialize, Serialize};

/// Length of every control message on the wire, in bytes.
pub const CONTROL_BYTES: usize = 96;

/// One worker's work in one round.
///
/// `sequence` counts rounds as the master opens them, calibration included, and never repeats; a
/// header or frame is matched by it, so a message of one round cannot be taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Number of the round, unique in the run.
    pub sequence: u64,
    /// Training iteration t: selects the minibatches and the rounding.
    pub iteration: u64,
    /// Logical worker i.
    pub worker: u32,
    /// Seconds after the start of the task before which the worker must not report
    /// (an injected delay); 0 injects nothing.
    pub injected_delay: f64,
    /// The round's deadline, seconds after its start. A worker whose injected delay passes it
    /// reports so at once instead of computing in vain.
    pub deadline: f64,
    /// Only times are learnt: the frame will be dropped, and nothing of the task is remembered.
    pub calibration: bool,
    /// The worker is to say how far its message is from what it encoded ([`Header::quantization_error`]).
    pub measured: bool,
}

/// What the master tells a worker's rank.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Compute a coded gradient.
    Compute {
        /// What to compute.
        task: Task,
        /// At which parameters.
        at: At,
    },
    /// The answer to a header: send the frame, or drop it.
    Verdict {
        /// Logical worker i.
        worker: u32,
        /// The round of the header.
        sequence: u64,
        /// Whether the frame is wanted.
        send: bool,
    },
    /// The briefing follows: what the rank must know to set itself up, before any task.
    Briefing {
        /// Length of the text.
        bytes: u64,
    },
    /// A new plan follows; it holds for every later task.
    Plan {
        /// Length of the plan's JSON.
        bytes: u64,
    },
    /// Send what the worker has still to deliver (error feedback), for a checkpoint.
    Recall {
        /// Logical worker i.
        worker: u32,
    },
    /// What the worker had still to deliver follows, from a checkpoint.
    Memory(MemoryHead),
    /// The master is busy but alive.
    KeepAlive,
    /// There will be no more tasks: finish the one at hand, say [`Report::Goodbye`], and wait for
    /// [`Order::Stop`].
    Finish,
    /// The run is over; the last order.
    Stop(Ending),
}

/// The parameters that a task is computed at, and what of them follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// Those sent last.
    Last,
    /// These, as f32.
    Whole {
        /// Their length.
        bytes: u64,
    },
    /// These, as bfloat16.
    Halves {
        /// Their length.
        bytes: u64,
    },
    /// Those sent last and the updates that follow.
    Updated {
        /// The iteration that the first update is of; each later one is of the next.
        first: u64,
        /// How many.
        count: u32,
        /// Length of each.
        bytes: u64,
    },
}

/// A [`crate::Memory`] without its residual, which follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryHead {
    /// Logical worker i.
    pub worker: u32,
    /// Learning rate at which the residual was left.
    pub rate: f64,
    /// Decoding weight that it is to be delivered with.
    pub weight: f64,
    /// Length of the residual; 0 when there is none.
    pub bytes: u64,
}

/// How a run ends for the workers' ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Everyone is accounted for: finalize MPI and exit with this code.
    Clean(u8),
    /// Somebody is lost, so MPI cannot be finalized: exit at once.
    Lost(u8),
}

/// What became of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// The frame waits for the master's verdict.
    Ready,
    /// The injected delay passes the deadline; there is no frame.
    Late,
    /// The coded gradient is not finite; there is no frame.
    NotFinite,
    /// The worker could not compute; there is no frame.
    Failed,
    /// The worker's data are missing or damaged, which no later try will mend; there is no frame.
    NoData,
}

/// A worker's report that its task is done. The deadline is about this message.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Number of the round.
    pub sequence: u64,
    /// Logical worker i.
    pub worker: u32,
    /// What became of the task.
    pub status: Status,
    /// Length of the frame in bytes; 0 when there is none.
    pub frame_bytes: u64,
    /// Seconds of forward and backward passes.
    pub compute_seconds: f64,
    /// Seconds of quantizing and packing.
    pub encode_seconds: f64,
    /// `||Q(x) - x||^2 / ||x||^2` of the frame, where the task asks for it and x is not zero.
    pub quantization_error: Option<f64>,
}

impl Header {
    /// Whether its numbers can be: finite and not negative.
    pub(crate) fn is_plausible(&self) -> bool {
        [self.compute_seconds, self.encode_seconds]
            .into_iter()
            .chain(self.quantization_error)
            .all(|number| number.is_finite() && number >= 0.0)
    }
}

/// What a worker's rank tells the master.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// A task is done.
    Header(Header),
    /// A task failed: the reason follows, a text of so many bytes.
    Failure {
        /// The report without a frame.
        header: Header,
        /// Length of the reason.
        bytes: u64,
    },
    /// The rank's answer to its briefing follows: a JSON text of so many bytes.
    Ready {
        /// Length of the text.
        bytes: u64,
    },
    /// The answer to [`Order::Recall`]: the worker's memory follows, if it has one.
    Memory(MemoryHead),
    /// The rank has nothing left to do, and sends nothing more.
    Goodbye,
}

/// Writes a control message into its fixed-size form.
///
/// # Panics
/// If the message does not fit, which the test of the largest message rules out.
pub fn encode<M: Serialize>(message: &M) -> [u8; CONTROL_BYTES] {
    let mut bytes = [0; CONTROL_BYTES];
    postcard::to_slice(message, &mut bytes).expect("every control message fits CONTROL_BYTES");
    bytes
}

/// Reads a control message; `None` when the bytes are not one.
pub fn decode<'a, M: Deserialize<'a>>(bytes: &'a [u8]) -> Option<M> {
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_messages_fit_and_survive() {
        let task = Task {
            sequence: u64::MAX,
            iteration: u64::MAX,
            worker: u32::MAX,
            injected_delay: -1.5e300,
            deadline: f64::MAX,
            calibration: true,
            measured: true,
        };
        let order = Order::Compute {
            task,
            at: At::Updated {
                first: u64::MAX,
                count: u32::MAX,
                bytes: u64::MAX,
            },
        };
        assert_eq!(decode::<Order>(&encode(&order)), Some(order));
        let header = Header {
            sequence: u64::MAX,
            worker: u32::MAX,
            status: Status::Failed,
            frame_bytes: u64::MAX,
            compute_seconds: f64::MIN_POSITIVE,
            encode_seconds: -0.0,
            quantization_error: Some(f64::MAX),
        };
        let failure = Report::Failure {
            header,
            bytes: u64::MAX,
        };
        for report in [Report::Header(header), failure] {
            assert_eq!(decode::<Report>(&encode(&report)), Some(report));
        }
    }

    #[test]
    fn foreign_bytes_are_not_a_message() {
        assert_eq!(decode::<Order>(&[0xff; CONTROL_BYTES]), None);
        assert_eq!(decode::<Report>(&[]), None);
    }
}
