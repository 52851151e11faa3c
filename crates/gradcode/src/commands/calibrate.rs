//! `gradcode calibrate`: measure the workers under MPI, fit their delays, write a cluster file.

mod file;
mod findings;

use cluster::mpi::MpiTransport;
use cluster::{Calibration, calibrate};
use gradient_code::{Decoder, PASSTHROUGH_BITS, Plan, Prediction, WorkerPlan};
use gradient_codec::Widths;
use learner::Learner;

use self::findings::Findings;
use super::train::{Place, check_answers, launch, options, set_up};
use crate::cli::CalibrateArgs;
use crate::config::planning::PlanInputs;
use crate::config::values::{Inject, UnitSeconds};
use crate::config::{Config, Resolved};
use crate::exit::{DONE, Failure, Outcome};
use crate::output;
use crate::run::downlink;

/// Rounds in which libraries warm up.
const WARMUP: usize = 3;
/// Times that the plans take turns, so that a machine that slows down does so for all of them.
const TURNS: usize = 4;
/// Fewest arrivals of a worker that anything is fitted to.
const LEAST_ARRIVALS: usize = 10;

/// Runs this rank to its end. Returns only where MPI was not started.
///
/// # Errors
/// Started without a launcher, or MPI is not usable.
pub fn run(args: &CalibrateArgs) -> Outcome {
    let workers = || {
        let loaded = args.sources(4).load();
        loaded.map_or(4, |resolved| resolved.config.workers)
    };
    launch("calibrate", workers, None, |place, transport, _| {
        lead(place, transport, args).map(|()| DONE)
    })
}

fn lead(place: &Place, transport: &mut MpiTransport, args: &CalibrateArgs) -> Outcome {
    for path in args.trace.iter().chain([&args.out]) {
        if path.exists() && !args.overwrite {
            return Err(Failure::usage(format!("{} exists already", path.display()))
                .hint("--overwrite replaces it, --out names another file"));
        }
        // Not after minutes of measuring.
        let directory = path.parent().filter(|d| !d.as_os_str().is_empty());
        if let Some(missing) = directory.filter(|directory| !directory.is_dir()) {
            let (file, missing) = (path.display(), missing.display());
            return Err(Failure::usage(format!(
                "failed to write {file}: there is no directory {missing}"
            )));
        }
    }
    let resolved = super::load(&args.sources(place.session.size() - 1))?;
    let config = &resolved.config;
    config.check_ranks(place.session.size())?;
    transport.configure(config.workers, options(config));
    let (learner, answers) = set_up(transport, &resolved, place.node)?;
    let mut learner = learner?;
    let mut hosts = check_answers(answers, learner.dimension())?;
    hosts.sort();
    hosts.dedup();
    let measured = measure(&resolved, transport, &mut *learner, args)?;
    let findings = Findings::new(config, learner.dimension(), measured, args)?;
    let text = file::text(&findings, args, &hosts);
    let file = args.out.display().to_string();
    write(&args.out, &text)?;
    if let Some(path) = &args.trace {
        write(path, &file::trace(&findings))?;
    }
    if args.json {
        return output::json(&file::object(&findings, args));
    }
    eprint!("{}", file::table(&findings));
    eprintln!("next:  mpirun ... gradcode train EXPERIMENT --cluster {file}");
    Ok(())
}

fn write(path: &std::path::Path, text: &str) -> Outcome {
    std::fs::write(path, text)
        .map_err(|error| Failure::environment(format!("write {}", path.display()), &error))
}

/// What was measured, and with which plans.
pub(super) struct Measured {
    plans: Vec<Plan>,
    observations: Vec<cluster::Observation>,
    /// Seconds after which reports were cut; infinite if none were.
    limit: f64,
}

fn measure(
    resolved: &Resolved,
    transport: &mut MpiTransport,
    learner: &mut dyn Learner,
    args: &CalibrateArgs,
) -> Outcome<Measured> {
    let config = &resolved.config;
    let plans = plans(config, learner.dimension());
    let rounds = rounds(args.rounds, plans.len());
    let model = config.delay_model()?;
    let delays = match (config.straggler.inject, config.straggler.unit_seconds) {
        (Inject::Delay, UnitSeconds::Fixed(unit)) => Some((&model, config.seed, unit)),
        (Inject::Delay, UnitSeconds::Auto) => {
            return Err(Failure::usage(
                "failed to calibrate with straggler.inject = \"delay\": delays in units of a measured time are not delays that can be measured",
            )
            .hint("set straggler.unit_seconds to a number, or straggler.inject = \"none\""));
        }
        _ => None,
    };
    let silence_timeout = config.mpi.silence_timeout_seconds;
    let limit = args.limit.unwrap_or(f64::INFINITY);
    eprintln!(
        "measuring {} workers in {} rounds of {} plans ...",
        config.workers,
        rounds.len(),
        plans.len()
    );
    let calibration = Calibration {
        plans: &plans,
        rounds: &rounds,
        warmup: WARMUP,
        limit,
        silence_timeout,
        downlink: downlink(config),
        delays,
    };
    let observations = calibrate(transport, &calibration, &learner.initial_parameters())
        .map_err(|error| Failure::environment("calibrate", &error))?;
    Ok(Measured {
        plans,
        observations,
        limit,
    })
}

/// The plans that are measured: first that of the experiment's load at the mean width, then other
/// loads and other widths, each where there are some.
fn plans(config: &Config, dimension: usize) -> Vec<Plan> {
    let (mean, widths) = match config.preset().widths(dimension) {
        _ if !config.quantizes() => (PASSTHROUGH_BITS, vec![]),
        Widths::Fixed(bits) => (bits, vec![]),
        Widths::Adjustable { min, max } => {
            let total = config.total_bits().unwrap_or(0);
            let max = max.min(config.budget.max_bits);
            let mean = (total / config.workers as u64).clamp(min.into(), max.into()) as u8;
            (mean, vec![min, max])
        }
    };
    let n = config.partitions;
    let load = planned_load(config, dimension).clamp(1, n);
    let mut chosen = vec![(load, mean)];
    let others = [1, 2 * load]
        .map(|load| (load.min(n), mean))
        .into_iter()
        .chain(widths.into_iter().map(|bits| (load, bits)));
    for other in others {
        if !chosen.contains(&other) {
            chosen.push(other);
        }
    }
    chosen
        .into_iter()
        .map(|(load, bits)| uniform(config.workers, n, load, bits))
        .collect()
}

/// Partitions of the workers that hold most under the experiment's own plan, rounded from the mean
/// over those that hold any; 2 where that cannot be planned before anything is measured.
fn planned_load(config: &Config, dimension: usize) -> usize {
    let plan = PlanInputs::new(config, dimension)
        .ok()
        .and_then(|inputs| inputs.plan_without(&[]).ok());
    plan.map_or(2, |plan| {
        let active = plan.active().count().max(1) as f64;
        let held: usize = plan.workers.iter().map(WorkerPlan::load).sum();
        (held as f64 / active).round() as usize
    })
}

/// A plan in which every worker holds `load` consecutive partitions and sends `bits` bits. It decodes
/// nothing sensible, and nobody decodes.
fn uniform(workers: usize, partitions: usize, load: usize, bits: u8) -> Plan {
    let holds = |i: usize| {
        let mut held: Vec<(usize, f64)> = (0..load).map(|j| ((i + j) % partitions, 1.0)).collect();
        held.sort_by_key(|&(partition, _)| partition);
        held
    };
    Plan {
        scheme: "calibration".to_owned(),
        partitions,
        workers: (0..workers)
            .map(|i| WorkerPlan {
                straggle_probability: 0.0,
                bits,
                assignment: holds(i),
            })
            .collect(),
        block_code: None,
        decoder: Decoder::Fixed {
            weights: vec![1.0; workers],
            second: None,
        },
        no_straggling: true,
        incomplete: true,
        prediction: Prediction {
            weights: vec![1.0; workers],
            scaling_s: 0.0,
            eta: 1.0,
            error_bound: 0.0,
            error_bound_unscaled: 0.0,
            computation_load: load as f64,
            bits_per_coordinate_offered: f64::from(bits) * workers as f64,
            bits_per_coordinate_expected: f64::from(bits) * workers as f64,
            unbiased: false,
            phi: Vec::new(),
        },
    }
}

/// Which plan each round has: `rounds` of the first and a quarter as many of each other, in turns, after
/// those that warm up.
fn rounds(rounds: usize, plans: usize) -> Vec<usize> {
    let mut order = vec![0; WARMUP];
    for turn in 0..TURNS {
        let share = |all: usize| all * (turn + 1) / TURNS - all * turn / TURNS;
        order.extend(std::iter::repeat_n(0, share(rounds)));
        for plan in 1..plans {
            order.extend(std::iter::repeat_n(plan, share((rounds / 4).max(TURNS))));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_take_turns() {
        let order = rounds(202, 3);
        let count = |plan| order.iter().filter(|&&p| p == plan).count();
        assert_eq!((count(0), count(1), count(2)), (202 + WARMUP, 50, 50));
        assert!(order[order.len() / 2..].contains(&1) && order[..order.len() / 2].contains(&1));
        assert_eq!(rounds(4, 2).iter().filter(|&&p| p == 1).count(), TURNS);
    }

    #[test]
    fn measured_plans_can_be_run() {
        for (workers, partitions, load) in [(4, 4, 2), (3, 5, 5), (6, 2, 1)] {
            let plan = uniform(workers, partitions, load, 5);
            assert_eq!(plan.validate(), Ok(()));
            assert!(plan.workers.iter().all(|worker| worker.load() == load));
        }
    }
}
