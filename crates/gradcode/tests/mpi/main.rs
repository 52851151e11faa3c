//! The real program under the real mpirun: what no test inside one process can show.
//!
//! One job runs at a time, each with a time limit of its own, and nothing is left running behind a
//! test, however it ends. The launcher is `$MPIEXEC`, or `mpirun`.

mod bad_input;
mod calibrate;
mod campaign;
mod endings;
mod every_scheme;
mod faults;
mod harness;
mod log;
mod lost_ranks;
mod real_time;
mod resume;
mod same_results;
