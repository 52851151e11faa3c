//! Conducting a run, the part that `train` and `simulate` share: the run directory, the learner,
//! the journal, and the master's loop from the first plan to the last line on the terminal.
//!
//! The loop itself is [`cluster::Master::run`].

mod conduct;
mod directory;
mod journal;
mod learner;
mod progress;
pub mod resume;
mod rules;
mod signals;
mod trained;

pub use conduct::{Conduct, Ended, conduct};
pub use directory::RunDirectory;
pub use learner::{
    build_engine, build_learner, build_timed_learner, device_sums, held_out, threads,
};
pub use rules::{downlink, rules, virtual_rules};
pub use signals::{StopFlag, signals};
pub use trained::{Trained, Weights};

/// This machine's name; empty if it has none.
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |name| name.trim().to_owned())
}
