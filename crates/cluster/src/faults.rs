//! Faults on purpose: what goes wrong with which task, as a pure function of the run's seed.
//!
//! The faults happen where real ones do, in the worker and on its way to the master, so that what
//! the master does about them is what it does about real ones. [`Faults`] only says what is due;
//! the [engine](crate::Engine) spoils what it computes, the transports do the rest. Rounds that
//! measure times are spared.

use crate::message::{Header, Task};
use counter_rng::{Purpose, rng};
use rand::{Rng, RngExt};
use std::sync::Arc;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The worker does nothing for so many seconds, then goes on.
    Delay,
    /// The worker forgets its task and never reports on it.
    Drop,
    /// The worker's process dies as of `kill -9`; every worker on its rank dies with it.
    Kill,
    /// The worker's process stops for so many seconds, as of `kill -STOP`, and with it every worker
    /// on its rank.
    Freeze,
    /// What the worker computes, says or sends is damaged, though finite.
    Corrupt,
    /// What the worker computes, says or sends is not a number.
    Nan,
    /// The worker's code panics.
    Panic,
    /// The worker finds no memory for its task.
    Memory,
    /// The worker takes so many times as long. In real time only; where delays are drawn,
    /// [`straggler::DelayModel::with_slowdowns`] slows the draws down.
    Slow,
}

/// Where in a task it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before or in the computation.
    Compute,
    /// When all is computed and encoded, before the master is told.
    Header,
    /// While the frame is sent: after its first chunk, if it has several, else before it.
    Payload,
}

/// One entry of the list of faults.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where in the task.
    pub phase: Phase,
    /// Whose tasks; `None` for everybody's.
    pub workers: Option<Vec<u32>>,
    /// First iteration whose tasks are struck.
    pub from: u64,
    /// Last iteration whose tasks are struck.
    pub to: u64,
    /// Each such task is struck with this probability, drawn with the run's seed.
    pub probability: f64,
    /// How long [`FaultKind::Delay`] and [`FaultKind::Freeze`] last, in seconds.
    pub seconds: f64,
    /// How many times as long a task takes with [`FaultKind::Slow`].
    pub factor: f64,
}

/// All faults of a run.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    seed: u64,
    list: Arc<[Fault]>,
}

impl Faults {
    /// The faults of `list` in a run with this seed.
    pub fn new(seed: u64, list: Vec<Fault>) -> Self {
        Self {
            seed,
            list: list.into(),
        }
    }

    /// What is to go wrong with `task`.
    pub(crate) fn of(&self, task: &Task) -> Injected {
        let mut due = Vec::new();
        if self.list.is_empty() || task.calibration {
            return Injected { due };
        }
        let mut draws = rng(
            self.seed,
            Purpose::Fault,
            task.iteration,
            u64::from(task.worker),
        );
        for fault in self.list.iter() {
            let draw: f64 = draws.random(); // one for every entry, whether it applies or not
            let named = fault
                .workers
                .as_ref()
                .is_none_or(|workers| workers.contains(&task.worker));
            let now = (fault.from..=fault.to).contains(&task.iteration);
            if named && now && draw < fault.probability {
                let extent = match fault.kind {
                    FaultKind::Slow => fault.factor,
                    _ => fault.seconds,
                };
                due.push((fault.kind, fault.phase, extent));
            }
        }
        Injected { due }
    }

    /// Spoils a message before it is encoded, if that is due: one coordinate, drawn with the seed,
    /// is not a number or far beyond all others.
    pub(crate) fn spoil_message(&self, task: &Task, injected: &Injected, message: &mut [f32]) {
        let value = if injected.has(FaultKind::Nan, Phase::Compute) {
            f32::NAN
        } else if injected.has(FaultKind::Corrupt, Phase::Compute) {
            1e30
        } else {
            return;
        };
        if message.is_empty() {
            return;
        }
        let worker = u64::from(task.worker);
        let draw = rng(self.seed, Purpose::FaultPlace, task.iteration, worker).next_u64();
        let place = (draw % message.len() as u64) as usize;
        message[place] = value;
    }
}

/// What is to go wrong with one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Injected {
    /// What, where, and its seconds or its factor.
    due: Vec<(FaultKind, Phase, f64)>,
}

impl Injected {
    pub fn has(&self, kind: FaultKind, phase: Phase) -> bool {
        self.due.iter().any(|&(k, p, _)| (k, p) == (kind, phase))
    }

    /// Whether the message is spoilt before it is encoded ([`Faults::spoil_message`]).
    pub fn spoils_message(&self) -> bool {
        self.has(FaultKind::Nan, Phase::Compute) || self.has(FaultKind::Corrupt, Phase::Compute)
    }

    /// How many times as long the task takes.
    pub fn slowness(&self) -> f64 {
        let slow = self.due.iter().filter(|(k, ..)| *k == FaultKind::Slow);
        slow.map(|&(_, _, factor)| factor).product()
    }

    /// How long `kind` lasts in `phase`, seconds; 0 if it does not happen.
    pub fn seconds(&self, kind: FaultKind, phase: Phase) -> f64 {
        self.due
            .iter()
            .filter(|&&(k, p, _)| (k, p) == (kind, phase))
            .map(|&(_, _, seconds)| seconds)
            .sum()
    }

    /// Seconds for which the worker does nothing in `phase`, for whatever reason.
    pub fn pause(&self, phase: Phase) -> f64 {
        self.seconds(FaultKind::Delay, phase) + self.seconds(FaultKind::Freeze, phase)
    }

    /// What the worker says of its result: a length or times that cannot be.
    pub fn spoil_header(&self, header: &mut Header) {
        if self.has(FaultKind::Corrupt, Phase::Header) {
            header.frame_bytes ^= 1 << 20;
        }
        if self.has(FaultKind::Nan, Phase::Header) {
            header.compute_seconds = f64::NAN;
        }
    }

    /// What is sent: a flipped bit, or a value that is not a number under a checksum that holds.
    pub fn spoil_frame(&self, frame: &mut [u8]) {
        if self.has(FaultKind::Corrupt, Phase::Payload)
            && let Some(byte) = frame.last_mut()
        {
            *byte ^= 1;
        }
        if self.has(FaultKind::Nan, Phase::Payload) {
            nan_in_tail(frame);
        }
    }

    /// Panics if that is due in `phase`.
    pub fn panic_in(&self, phase: Phase) {
        if self.has(FaultKind::Panic, phase) {
            panic!("an injected panic ({phase:?} phase)");
        }
    }
}

/// Replaces the last value of a frame's tail by NaN and makes its checksums hold again
/// (`docs/format.md`, section 1).
fn nan_in_tail(frame: &mut [u8]) {
    const HEADER: usize = 64;
    let length = frame.len();
    if length < HEADER + 4 {
        return;
    }
    frame[length - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let payload = crc_fast::crc32_iscsi(&frame[HEADER..]);
    frame[56..60].copy_from_slice(&payload.to_le_bytes());
    let header = crc_fast::crc32_iscsi(&frame[..60]);
    frame[60..64].copy_from_slice(&header.to_le_bytes());
}

/// Ends this process as `kill -9` does.
pub(crate) fn kill_this_process() -> ! {
    // SAFETY: kill takes no memory; the signal cannot be caught.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::sleep(Duration::from_secs(1)); // until the signal is delivered
    }
}

/// Stops this process, all threads of it, as `kill -STOP` does, and continues it after `seconds`.
pub(crate) fn freeze_this_process(seconds: f64) {
    // A child sends both signals: a stopped process cannot continue itself.
    let process = std::process::id();
    let script = format!("kill -STOP {process}; sleep {seconds:.3}; kill -CONT {process}");
    let child = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .stdin(std::process::Stdio::null())
        .spawn()
        .and_then(|mut child| child.wait());
    if let Err(error) = child {
        eprintln!("gradcode: warning: failed to inject a freeze: run /bin/sh: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(iteration: u64, worker: u32) -> Task {
        Task {
            sequence: iteration + 100,
            iteration,
            worker,
            injected_delay: 0.0,
            deadline: 1.0,
            calibration: false,
            measured: false,
        }
    }

    fn fault(kind: FaultKind, probability: f64) -> Fault {
        Fault {
            kind,
            phase: Phase::Compute,
            workers: Some(vec![1, 3]),
            from: 10,
            to: 19,
            probability,
            seconds: 0.5,
            factor: 1.0,
        }
    }

    #[test]
    fn a_fault_strikes_its_workers_in_its_iterations() {
        let faults = Faults::new(1, vec![fault(FaultKind::Kill, 1.0)]);
        let struck = |iteration, worker| {
            faults
                .of(&task(iteration, worker))
                .has(FaultKind::Kill, Phase::Compute)
        };
        for iteration in 0..30 {
            for worker in 0..5 {
                let wanted = (10..20).contains(&iteration) && [1, 3].contains(&worker);
                assert_eq!(struck(iteration, worker), wanted, "{iteration} {worker}");
            }
        }
        let measured = Task {
            calibration: true,
            ..task(12, 1)
        };
        assert_eq!(faults.of(&measured), Injected::default());
    }

    /// Frequencies within four standard deviations, and no draw depends on the other entries.
    #[test]
    fn draws_are_seeded_and_as_frequent_as_asked() {
        let list = |p| {
            let mut drawn = fault(FaultKind::Delay, p);
            (drawn.from, drawn.to) = (0, u64::MAX);
            drawn
        };
        let hits = |faults: &Faults, seed_offset: u64| -> Vec<bool> {
            (0..2000)
                .map(|t| faults.of(&task(t + seed_offset, 1)).pause(Phase::Compute) > 0.0)
                .collect()
        };
        let faults = Faults::new(1, vec![list(0.25)]);
        let first = hits(&faults, 0);
        let share = first.iter().filter(|hit| **hit).count() as f64 / 2000.0;
        assert!((share - 0.25).abs() < 4.0 * (0.25f64 * 0.75 / 2000.0).sqrt());
        assert_eq!(first, hits(&faults, 0));
        assert_ne!(first, hits(&Faults::new(2, vec![list(0.25)]), 0));
        let longer = Faults::new(1, vec![list(0.25), list(1.0)]);
        let seconds = |t| longer.of(&task(t, 1)).pause(Phase::Compute);
        assert!((0..2000).all(|t| seconds(t) == if first[t as usize] { 1.0 } else { 0.5 }));
    }

    #[test]
    fn one_coordinate_is_spoilt() {
        for (kind, is) in [
            (FaultKind::Nan, f32::is_nan as fn(f32) -> bool),
            (FaultKind::Corrupt, |x: f32| x == 1e30),
        ] {
            let faults = Faults::new(1, vec![fault(kind, 1.0)]);
            let mut message = vec![1.0; 100];
            let task = task(10, 3);
            faults.spoil_message(&task, &faults.of(&task), &mut message);
            assert_eq!(message.iter().filter(|x| is(**x)).count(), 1);
            assert_eq!(message.iter().filter(|x| **x == 1.0).count(), 99);
        }
    }
}
