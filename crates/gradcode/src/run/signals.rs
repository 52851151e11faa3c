//! Signals that ask a run to stop: a flag that the master looks at once per iteration.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

/// Raised by INT, TERM or USR1.
pub type StopFlag = Arc<AtomicBool>;

/// Registers the handlers; call it after MPI has registered its own. Only the master acts on the
/// flag: workers learn of the end with the next message. A second INT ends this process at once.
///
/// # Errors
/// If the system refuses a handler.
pub fn stop_flag() -> Result<StopFlag, std::io::Error> {
    let flag = StopFlag::default();
    let interrupted = StopFlag::default();
    signal_hook::flag::register_conditional_default(SIGINT, interrupted.clone())?;
    signal_hook::flag::register(SIGINT, interrupted)?;
    for signal in [SIGINT, SIGTERM, SIGUSR1] {
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}
