//! The round protocol: one master loop, one worker engine, and a transport over MPI or in process.
//!
//! Read in this order: [`master`](Master) is eq (2) of the paper, one iteration after another;
//! `gather` is one round of the protocol and `reception` what reaches the master in it; [`Engine`]
//! is what a worker does with a task; [`Transport`] is what they need in between, with
//! [`mpi::MpiTransport`] and [`InProcess`] as its implementations.
//!
//! Nothing here waits without a bound, and whoever is waited for is named.

mod arrivals;
mod assembly;
mod blocks;
mod buffer;
mod calibration;
mod deadline;
mod distortion;
mod downlink;
mod error;
mod estimate;
mod exact;
mod expected;
mod faults;
mod gather;
mod guard;
mod in_process;
mod master;
mod memory;
mod message;
pub mod mpi;
mod norms;
mod offences;
mod probe;
mod reception;
mod resident;
mod roster;
mod saving;
mod settings;
mod signals;
mod silence;
mod snapshot;
mod straggling;
mod sums;
mod transport;
mod worker;

pub use assembly::Parts;
pub use buffer::{Buffer, Parameters};
pub use calibration::{Calibration, Observation, calibrate};
pub use deadline::DeadlinePolicy;
pub use distortion::{Distortion, LEAST_MESSAGES, MeasuredPhi, PhiMonitor, RefreshRules};
pub use downlink::{Downlink, Model, PublishError, Receiver};
pub use error::{RunError, TransportError};
pub use faults::{Fault, FaultKind, Faults, Phase};
pub use guard::caught;
pub use in_process::InProcess;
pub use master::{Belief, Journal, Master, Outcome, Replanner};
pub use memory::{ErrorFeedback, Memory, OnStraggling, SharedMemories};
pub use message::{CONTROL_BYTES, Ending, Header, Status, Task};
pub use norms::{Limits, Norms};
pub use offences::{Offences, Tolerance};
pub use probe::{Probe, ProbeParts, probe};
pub use roster::LostWorker;
pub use saving::Checkpoints;
pub use settings::{EmptyRound, Every, Settings};
pub use signals::Signals;
pub use snapshot::{MasterState, Resume};
pub use straggling::{Straggling, Unit};
pub use transport::{Event, Traffic, Transport, beside};
pub use worker::{Engine, Rebuild, TaskError, Timing};
