//! How often the drift test is wrong, and how soon it is right: the tables of `docs/replanning.md`.
//!
//! ```sh
//! cargo run --release -p straggler --example drift
//! ```
//!
//! Ten workers, 1000 rounds, one false alarm in a hundred runs allowed.

use counter_rng::{Purpose, rng};
use rand::RngExt;
use straggler::{Estimator, Monitor, Rules, Trial};

const WORKERS: usize = 10;
const ROUNDS: u64 = 1000;
const CHANGE: u64 = 300;

fn rules(false_alarms: f64, tolerance: f64) -> Rules {
    Rules {
        false_alarms,
        tolerance,
        window: 200,
        pause: 20,
        estimator: Estimator::Frequency,
    }
}

/// A worker that is late with some tasks. After each it stays busy, for `burst` rounds in the mean
/// (geometric, the late one included), and `p` is the share of all rounds that it misses.
struct Worker {
    p: f64,
    burst: f64,
    missing: bool,
}

impl Worker {
    fn round(&mut self, uniform: f64) -> Trial {
        let stay = 1.0 - 1.0 / self.burst;
        let odds = self.p / (1.0 - self.p) / self.burst;
        let before = std::mem::replace(&mut self.missing, false);
        if before && uniform < stay {
            self.missing = true;
            return Trial::Busy;
        }
        // The rest of the uniform is a new one.
        let rest = if before {
            (uniform - stay) / (1.0 - stay)
        } else {
            uniform
        };
        self.missing = rest < odds / (1.0 + odds);
        match self.missing {
            true => Trial::Late(1.0),
            false => Trial::Arrived(0.5),
        }
    }
}

/// The round of the first drift of a run; worker i misses rounds with `p(i, round)`.
fn first_drift(rules: Rules, seed: u64, burst: f64, p: impl Fn(usize, u64) -> f64) -> Option<u64> {
    let planned: Vec<f64> = (0..WORKERS).map(|worker| p(worker, 0)).collect();
    let mut monitor = Monitor::new(rules, &planned, ROUNDS);
    let worker = |&p: &f64| Worker {
        p,
        burst,
        missing: false,
    };
    let mut workers: Vec<Worker> = planned.iter().map(worker).collect();
    let mut draws: Vec<_> = (0..WORKERS as u64)
        .map(|worker| rng(seed, Purpose::Delay, 0, worker))
        .collect();
    (0..ROUNDS).find(|&round| {
        for (worker, (state, draws)) in workers.iter_mut().zip(&mut draws).enumerate() {
            state.p = p(worker, round);
            monitor.observe(worker, state.round(draws.random()));
        }
        monitor.end_round(1.0).is_some()
    })
}

fn main() {
    let levels = [0.05, 0.2, 0.5, 0.8, 0.95];
    let planned = |worker: usize| levels[worker % levels.len()];

    println!("False alarms: runs without a change in which there is a drift, of 5000\n");
    println!("| allowed | tolerance | seen |\n|---|---|---|");
    for allowed in [0.2, 0.05, 0.01] {
        for tolerance in [0.0, 0.1] {
            let runs = 5000;
            let wrong = (0..runs)
                .filter(|&seed| {
                    first_drift(rules(allowed, tolerance), seed, 1.0, |worker, _| {
                        planned(worker)
                    })
                    .is_some()
                })
                .count();
            println!(
                "| {allowed} | {tolerance} | {:.4} |",
                wrong as f64 / runs as f64
            );
        }
    }

    println!("\nRounds until a change at round {CHANGE} of one worker is found, of 500 runs\n");
    println!("| from | to | found | median | 90 % |\n|---|---|---|---|---|");
    for (from, to) in [
        (0.05, 0.1),
        (0.05, 0.2),
        (0.05, 0.5),
        (0.05, 0.95),
        (0.2, 0.3),
        (0.2, 0.5),
        (0.2, 0.725),
        (0.2, 0.95),
        (0.2, 0.02),
        (0.5, 0.6),
        (0.5, 0.75),
        (0.5, 0.95),
        (0.5, 0.2),
        (0.9, 0.95),
        (0.9, 0.98),
        (0.9, 0.5),
        (0.9, 0.1),
    ] {
        let runs = 500;
        let mut delays: Vec<u64> = (0..runs)
            .filter_map(|seed| {
                first_drift(rules(0.01, 0.1), seed, 1.0, |worker, round| match worker {
                    0 if round >= CHANGE => to,
                    0 => from,
                    _ => planned(worker),
                })
            })
            .map(|round| (round + 1).saturating_sub(CHANGE))
            .collect();
        delays.sort_unstable();
        // Runs in which it is not found count as longer than any.
        let quantile = |q: f64| {
            let rank = (q * runs as f64).ceil() as usize - 1;
            delays.get(rank).map_or("-".to_owned(), u64::to_string)
        };
        println!(
            "| {from} | {to} | {:.3} | {} | {} |",
            delays.len() as f64 / runs as f64,
            quantile(0.5),
            quantile(0.9)
        );
    }

    println!(
        "\nRounds missed in bursts: a late task costs b rounds in the mean; nothing changes\n"
    );
    println!("| p | b | runs with a drift, of 2000 |\n|---|---|---|");
    for p in [0.1, 0.3] {
        for burst in [1.0, 2.0, 3.0, 5.0] {
            let runs = 2000;
            let wrong = (0..runs)
                .filter(|&seed| first_drift(rules(0.01, 0.1), seed, burst, |_, _| p).is_some())
                .count();
            println!("| {p} | {burst} | {:.3} |", wrong as f64 / runs as f64);
        }
    }
}
