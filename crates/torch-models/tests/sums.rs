//! Runs whose master decodes on a device have the bits of runs whose master decodes on the CPU: every dense
//! compressor, every kind of decoder. The device is libtorch's CPU.

mod common;

use cluster::{Belief, Engine, InProcess, Master, Parts, Signals};
use common::rounds::{self, Rows};
use gradient_code::{
    BlockCode, Budget, Decoder, PerRound, Plan, Scaling, SchemeConfig, SecondTrack, Setting,
};
use gradient_codec::{Generator, Preset, Widths};
use learner::convex::{ConvexConfig, ConvexProblem};
use learner::optimizer::AdamConfig;
use learner::{Learner, OptimizerConfig, Sums};
use tch::Device;
use torch_models::DeviceSums;

/// Coordinates: buckets, blocks and halves of them are all partial.
const DIMENSION: usize = 1301;
const LATE: [f64; 4] = [0.05, 0.2, 0.3, 0.4];
const SEED: u64 = 3;

fn problem() -> ConvexProblem {
    let config = ConvexConfig {
        dimension: DIMENSION,
        samples: 80,
        partitions: LATE.len(),
        noise: 0.1,
        seed: 7,
        ..ConvexConfig::default()
    };
    ConvexProblem::new(&config).expect("a valid problem")
}

fn plan(scheme: &str, preset: &Preset, two_track: Option<f64>) -> Plan {
    let setting = Setting {
        partitions: LATE.len(),
        straggle_probabilities: &LATE,
        phi: &|bits| preset.phi(bits, DIMENSION),
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: preset.unbiased(),
        seed: 0,
    };
    let workers = LATE.len() as u64;
    let (total_bits, min_bits, max_bits) = match preset.widths(DIMENSION) {
        Widths::Adjustable { min, max } => (5 * workers, min, max),
        Widths::Fixed(bits) => (u64::from(bits) * workers, bits, bits),
    };
    let budget = Budget {
        total_bits,
        min_bits,
        max_bits,
    };
    gradient_code::plan(&SchemeConfig::new(scheme), &setting, &budget, two_track).expect("a plan")
}

/// What was logged and the last parameters, as bits, and the warnings.
fn run(
    plan: &Plan,
    preset: Preset,
    optimizer: OptimizerConfig,
    on_device: bool,
) -> (Vec<[u64; 3]>, Vec<u32>, Vec<String>) {
    let settings = rounds::settings(preset, Generator::default(), SEED, 8, &LATE);
    let mut transport = InProcess::new(Engine::new(Box::new(problem()), preset, SEED));
    let mut rows = Rows::default();
    let mut replanner = |_: &Belief| Err("nobody is lost".to_owned());
    let sums = || Box::new(DeviceSums::new(Device::Cpu, 1)) as Box<dyn Sums>;
    let mut learner = problem();
    let mut master = Master::new(Parts {
        settings: &settings,
        transport: &mut transport,
        journal: &mut rows,
        replanner: &mut replanner,
        signals: Signals::default(),
        sums: on_device.then(sums),
        learner: &mut learner,
        optimizer: optimizer.build(DIMENSION).expect("an optimizer"),
        plan: plan.clone(),
        checkpoints: None,
        resume: None,
    })
    .expect("a master");
    master.run().expect("a complete run");
    let parameters = master.parameters().iter().map(|p| p.to_bits()).collect();
    drop(master);
    let row = |row: &run_log::IterationRow| {
        let bits = [row.gradient_norm, row.loss].map(f64::to_bits);
        [bits[0], bits[1], row.responders]
    };
    let logged = rows.rows.iter().map(row).collect();
    (logged, parameters, rows.warnings)
}

#[track_caller]
fn same(plan: &Plan, preset: Preset, optimizer: OptimizerConfig) {
    let (rows, parameters, _) = run(plan, preset, optimizer, false);
    let (found, there, warnings) = run(plan, preset, optimizer, true);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(rows, found, "{} {preset:?}", plan.scheme);
    assert!(parameters == there, "{} {preset:?}", plan.scheme);
    let start = problem().initial_parameters();
    let moved = there.iter().zip(&start).filter(|(p, s)| **p != s.to_bits());
    assert!(moved.count() > DIMENSION / 2, "nothing was learnt");
}

const DENSE: [&str; 10] = [
    "qsgd",
    "qsgd-bucketed:max:512",
    "qsgd-bucketed:l2:4096",
    "rotated",
    "rotated:512:message",
    "eden",
    "eden:4096:round",
    "one-bit:max",
    "sign",
    "f32",
];

/// Fixed weights, which sum as frames arrive.
#[test]
fn every_compressor_with_fixed_weights() {
    for text in DENSE {
        let preset: Preset = text.parse().expect("a preset");
        same(
            &plan("sgc", &preset, None),
            preset,
            OptimizerConfig::default(),
        );
    }
}

/// Messages of half the coordinates, weighed once all have come.
#[test]
fn every_compressor_with_blocks_and_weights_per_round() {
    for text in DENSE {
        let preset: Preset = text.parse().expect("a preset");
        let mut plan = plan("sgc", &preset, None);
        plan.decoder = Decoder::PerRound(PerRound::default());
        plan.block_code = Some(BlockCode::RandomDiagonal {
            blocks: 2,
            epsilon: 0.3,
            seed: 3,
        });
        plan.validate().expect("a plan that can be run");
        same(&plan, preset, OptimizerConfig::default());
    }
}

/// Two sums of the same frames.
#[test]
fn the_track_of_the_second_moment() {
    for text in ["qsgd", "rotated", "eden"] {
        let preset: Preset = text.parse().expect("a preset");
        let plan = plan("sgc", &preset, Some(0.5));
        assert!(matches!(
            plan.decoder,
            Decoder::Fixed {
                second: Some(SecondTrack::Weights(_)),
                ..
            }
        ));
        same(&plan, preset, OptimizerConfig::Adam(AdamConfig::default()));
    }
}

/// Sparse messages are added by the CPU for the whole run, which is said once.
#[test]
fn what_devices_cannot_add() {
    let preset: Preset = "rand-k:40".parse().expect("a preset");
    let plan = plan("sgc", &preset, None);
    let (rows, parameters, _) = run(&plan, preset, OptimizerConfig::default(), false);
    let (found, there, warnings) = run(&plan, preset, OptimizerConfig::default(), true);
    assert!(rows == found && parameters == there);
    assert_eq!(
        warnings,
        ["gradients are decoded by the CPU's loops and not on cpu, because they are sparse"]
    );
}
