//! Signals that ask something of a run: flags that the master looks at between rounds.
//!
//! | signal | what the master does |
//! |---|---|
//! | USR1, TERM, INT | ends the iteration, writes a checkpoint, exits with 85 |
//! | USR2 | ends the iteration, writes a checkpoint, goes on |
//!
//! Only the master acts. Workers learn of the end with the next message, so every rank may get the
//! signal, as mpirun passes USR1 and USR2 on to all.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use cluster::Signals;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::exit::{Failure, Outcome};

/// Raised by INT, TERM or USR1.
pub type StopFlag = Arc<AtomicBool>;

/// Registers the handlers; call it after MPI has registered its own, on every rank. A second INT
/// ends this process at once. The time of the job, if it is limited, counts from here.
///
/// # Errors
/// [`crate::exit::ENVIRONMENT`] if the system refuses a handler.
pub fn signals(max_walltime: Option<Duration>) -> Outcome<Signals> {
    register(max_walltime).map_err(|error| Failure::environment("watch for signals", &error))
}

fn register(max_walltime: Option<Duration>) -> Result<Signals, std::io::Error> {
    let signals = Signals {
        until: max_walltime.and_then(|limit| Instant::now().checked_add(limit)),
        ..Signals::default()
    };
    let interrupted = StopFlag::default();
    signal_hook::flag::register_conditional_default(SIGINT, interrupted.clone())?;
    signal_hook::flag::register(SIGINT, interrupted)?;
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        signal_hook::flag::register(signal, signals.stop.clone())?;
    }
    signal_hook::flag::register(SIGUSR2, signals.checkpoint.clone())?;
    Ok(signals)
}
