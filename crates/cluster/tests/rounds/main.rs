//! The round protocol without MPI: the master over the in-process transport, and the real codec in the
//! decoded gradient.

#[macro_use]
mod forward;

mod calibration;
mod common;
mod decoders;
mod error_feedback;
mod faults;
mod in_process;
mod monte_carlo;
mod phi_and_memories;
mod probe;
mod replanning;
mod resume;
mod schemes;
mod sums;
