//! The program as a user or a script meets it: output, errors, exit codes. Nothing here needs MPI.

mod allocate;
mod config;
mod data;
mod detectors;
mod harness;
mod plan;
mod program;
mod simulate;
