//! One run of the campaign.

use counter_rng::{Purpose, rng};
use rand::RngExt;

/// The faults that `[[inject]]` knows, with the phases in which they can happen.
pub const FAULTS: &[(&str, &[&str])] = &[
    ("kill", PHASES),
    ("freeze", PHASES),
    ("delay", PHASES),
    ("corrupt", PHASES),
    ("nan", PHASES),
    ("panic", PHASES),
    ("memory", &["compute"]),
    ("drop", &["compute", "header"]),
];

/// The phases of a task.
pub const PHASES: &[&str] = &["compute", "header", "payload"];

/// How long a round waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// So long, always.
    Fixed,
    /// As the last reports suggest.
    Quantile,
}

/// How a run has to end, and what has to be seen of its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// With 0, and without the victim.
    Lost,
    /// With 0, with everybody; the victim is late, or a round long.
    Slow,
    /// With 0, with everybody; the victim's messages of those iterations are refused.
    Refused,
}

/// One run: what goes wrong, and everything else about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The word of `inject.fault`.
    pub fault: &'static str,
    /// The word of `inject.phase`.
    pub phase: &'static str,
    /// How long rounds wait.
    pub deadline: Deadline,
    /// The run's seed.
    pub seed: u64,
    /// Which worker.
    pub victim: usize,
    /// First iteration in which it happens.
    pub at: u64,
    /// Whether frames have two chunks, so that there is a half-way; else one small one.
    pub large: bool,
}

/// Seconds that a delay or a freeze lasts; beyond every deadline.
pub const LASTS: f64 = 0.6;
/// Seconds of silence after which a worker is given up; beyond every delay.
const GIVE_UP: f64 = 1.5;

/// Every fault in every phase in which it can happen, under both deadlines, of the kinds in `kinds`
/// (all if empty).
pub fn combinations(kinds: &[String]) -> Vec<(&'static str, &'static str, Deadline)> {
    let mut all = Vec::new();
    for (fault, phases) in FAULTS {
        if !kinds.is_empty() && !kinds.iter().any(|kind| kind == fault) {
            continue;
        }
        for phase in *phases {
            for deadline in [Deadline::Fixed, Deadline::Quantile] {
                all.push((*fault, *phase, deadline));
            }
        }
    }
    all
}

impl Case {
    /// A case of a combination, whose victim and moment are drawn with `seed`; with large frames only
    /// where the fault is in the payload.
    pub fn new(
        (fault, phase, deadline): (&'static str, &'static str, Deadline),
        seed: u64,
        large: bool,
    ) -> Self {
        let mut draws = rng(seed, Purpose::Fault, 0, 0);
        let large = large && phase == "payload";
        Self {
            fault,
            phase,
            deadline,
            seed,
            victim: draws.random_range(0..4),
            at: if large {
                draws.random_range(8..16)
            } else {
                draws.random_range(25..60)
            },
            large,
        }
    }

    /// MPI ranks: a master and four workers.
    pub fn ranks(&self) -> usize {
        5
    }

    /// Iterations of the run.
    pub fn iterations(&self) -> u64 {
        if self.large { 60 } else { 300 }
    }

    /// Last iteration in which it happens. Messages are spoilt a few times, so that one of them at
    /// least is in time; what happens once at most waits for its occasion, since a frame that is
    /// late is not sent.
    pub fn to(&self) -> u64 {
        match self.expectation() {
            Expectation::Refused => self.at + 2,
            Expectation::Slow => self.at,
            Expectation::Lost => self.at + 20,
        }
    }

    /// How the run has to end.
    pub fn expectation(&self) -> Expectation {
        match (self.fault, self.phase) {
            ("kill" | "drop", _) => Expectation::Lost,
            ("freeze" | "delay", _) => Expectation::Slow,
            // Outside the computation: the rank ends itself.
            ("panic", "payload") => Expectation::Lost,
            _ => Expectation::Refused,
        }
    }

    /// The experiment file. A convex model; every task takes at least 10 ms, so that the run lasts
    /// long enough for silence to be noticed.
    pub fn experiment(&self) -> String {
        let (dimension, codec, rate) = if self.large {
            (600_000, "codec.preset = \"f32\"", "1e-8")
        } else {
            (2000, "budget.mean_bits = 6.0", "1e-4")
        };
        let deadline = match self.deadline {
            Deadline::Fixed => "deadline.seconds = 0.3",
            Deadline::Quantile => {
                "deadline.quantile = { q = 0.9, factor = 3.0, warmup = 5, window = 40 }"
            }
        };
        let seconds = match self.fault {
            "delay" | "freeze" => format!(", seconds = {LASTS}"),
            _ => String::new(),
        };
        let give_up = if self.expectation() == Expectation::Lost {
            GIVE_UP
        } else {
            30.0 // a busy machine's hiccup must not look like death
        };
        let Self {
            fault,
            phase,
            victim,
            at,
            seed,
            ..
        } = self;
        let (to, iterations) = (self.to(), self.iterations());
        let pace = if self.large { 0.05 } else { 0.01 };
        format!(
            "seed = {seed}\niterations = {iterations}\nworkers = 4\n{codec}\n\
             evaluation.every = \"never\"\ncompute.threads = 1\noptimizer.learning_rate = {rate}\n\
             model = {{ kind = \"least-squares\", dimension = {dimension} }}\n\
             data = {{ samples = 16, batch = 2 }}\n{deadline}\n\
             straggler = {{ inject = \"none\", probabilities = 0.1 }}\n\
             round = {{ give_up_after = 5, give_up_seconds = {give_up} }}\n\
             mpi.goodbye_timeout_seconds = 10\nreplan.on_drift = \"never\"\n\
             [[inject]]\nfault = \"delay\"\nseconds = {pace}\n\
             [[inject]]\nfault = \"{fault}\"\nphase = \"{phase}\"\nworkers = [{victim}]\n\
             from = {at}\nto = {to}{}\n",
            seconds.replace(", ", "\n")
        )
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let deadline = match self.deadline {
            Deadline::Fixed => "fixed",
            Deadline::Quantile => "quantile",
        };
        let frame = if self.large { ", large frames" } else { "" };
        write!(
            f,
            "{} in {} of worker {} at {} ({deadline} deadline, seed {}{frame})",
            self.fault, self.phase, self.victim, self.at, self.seed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_42_combinations_and_kinds_select() {
        assert_eq!(combinations(&[]).len(), 2 * (6 * 3 + 1 + 2));
        let some = combinations(&["kill".to_owned(), "memory".to_owned()]);
        assert_eq!(some.len(), 2 * (3 + 1));
    }

    #[test]
    fn victims_are_drawn_with_the_seed() {
        let combination = combinations(&[])[4];
        let case = |seed| Case::new(combination, seed, seed % 2 == 0);
        assert_eq!(case(3), case(3));
        let victims: std::collections::BTreeSet<usize> = (0..20).map(|s| case(s).victim).collect();
        assert_eq!(victims.len(), 4);
        assert!((0..20).all(|s| case(s).to() < case(s).iterations()));
    }
}
