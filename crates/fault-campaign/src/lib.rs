//! Runs in which something goes wrong on purpose, and a judge of what became of them.
//!
//! 1. [`Case`]: one run: which fault, where in the task, under which deadline, of whom and when.
//! 2. [`launch`]: one job under mpirun with a time limit, and nothing left behind.
//! 3. [`judge`]: whether the run ended as `docs/faults.md` promises.
//! 4. [`soak`]: very many rounds with random delays, in which every message says which round it
//!    belongs to.
//!
//! 5. [`master_kills`]: masters killed at random moments, and runs that end as if nothing had
//!    happened.
//!
//! It is a development tool: the binary runs hundreds of cases, the tests of `gradcode` a few.

mod case;
mod judge;
pub mod launch;
pub mod master_kills;
pub mod soak;

pub use case::{Case, Deadline, Expectation, FAULTS, PHASES, combinations};
pub use judge::{Verdict, judge};

use launch::{Launcher, Limits};
use std::path::Path;

/// Runs `case` with the program in a directory of its own, and judges it.
///
/// # Errors
/// If the job cannot be started at all.
pub fn run(
    launcher: &Launcher,
    program: &Path,
    case: &Case,
    directory: &Path,
) -> std::io::Result<Verdict> {
    let experiment = directory.join("experiment.toml");
    std::fs::write(&experiment, case.experiment())?;
    let out = directory.join("run");
    let arguments = [
        "train".to_owned(),
        experiment.display().to_string(),
        "--out".to_owned(),
        out.display().to_string(),
    ];
    let ended = launcher.run(
        case.ranks(),
        program,
        &arguments,
        directory,
        Limits::default(),
    )?;
    Ok(judge(case, launcher.tells(), &ended, &out))
}
