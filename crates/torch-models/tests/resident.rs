//! Training whose gradients are encoded where they are computed, and decoded where the master's model is, gives
//! the bits of training whose gradients are encoded with the same generator and decoded on the CPU.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::{
    Belief, Engine, ErrorFeedback, InProcess, Master, OnStraggling, Parts, Settings, Signals, Task,
    TaskError,
};
use common::models::{TINY_SSD, image_config};
use common::rounds::{self, Rows};
use common::shapes::{Shapes, shapes};
use gradient_code::{Budget, Plan, Scaling, SchemeConfig, Setting};
use gradient_codec::{EncodeError, Generator, Preset};
use learner::{
    Description, Learner, LearnerError, Metric, OptimizerConfig, PartitionLoss, ResidentGradient,
    Sums,
};
use torch_models::build;

const WORKERS: usize = 3;
const ITERATIONS: u64 = 6;
const SEED: u64 = 5;
const LATE: [f64; WORKERS] = [0.05, 0.2, 0.4];

/// A learner that counts how often its gradients stay where they are, and may keep that to itself.
struct Counted {
    inner: Box<dyn Learner>,
    kept: Arc<AtomicU64>,
}

impl Learner for Counted {
    fn dimension(&self) -> usize {
        self.inner.dimension()
    }
    fn partitions(&self) -> usize {
        self.inner.partitions()
    }
    fn initial_parameters(&mut self) -> Vec<f32> {
        self.inner.initial_parameters()
    }
    fn coded_gradient(
        &mut self,
        parameters: &[f32],
        iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        self.inner
            .coded_gradient(parameters, iteration, assignment, gradient)
    }
    fn resident(&mut self) -> Option<&mut dyn ResidentGradient> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.inner.resident()
    }
    fn sums(&self) -> Option<Box<dyn Sums>> {
        self.inner.sums()
    }
    fn evaluate(&mut self, parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        self.inner.evaluate(parameters)
    }
    fn describe(&self) -> Description {
        self.inner.describe()
    }
    fn export(&self, parameters: &[f32], path: &Path) -> Result<(), LearnerError> {
        self.inner.export(parameters, path)
    }
}

fn learner(data: &Shapes, kept: &Arc<AtomicU64>) -> Box<dyn Learner> {
    let mut config = image_config(TINY_SSD, WORKERS, 2);
    config.torch.seed = SEED;
    let inner = build(&config, data.train.clone(), Some(data.validation.clone())).unwrap();
    Box::new(Counted {
        inner,
        kept: kept.clone(),
    })
}

fn preset(text: &str) -> Preset {
    text.parse().unwrap()
}

/// Three workers of different widths, two of them sometimes late.
fn plan(preset: &Preset, dimension: usize) -> Plan {
    let phi = |bits: u8| preset.phi(bits, dimension);
    let setting = Setting {
        partitions: WORKERS,
        straggle_probabilities: &LATE,
        phi: &phi,
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed: 0,
    };
    let budget = Budget {
        total_bits: 17,
        min_bits: 2,
        max_bits: 16,
    };
    gradient_code::plan(&SchemeConfig::new("joint"), &setting, &budget, None).unwrap()
}

fn settings(preset: Preset, generator: Generator) -> Settings {
    rounds::settings(preset, generator, SEED, ITERATIONS, &LATE)
}

/// The last parameters of a run, and the bits that travelled and losses that were logged. `summed`: the master
/// decodes on its model's device.
fn run(
    data: &Shapes,
    preset: Preset,
    engine: impl Fn(Engine) -> Engine,
    summed: bool,
) -> (Vec<u32>, Vec<u64>) {
    let kept = Arc::default();
    let mut master = learner(data, &kept);
    let sums = master.sums().filter(|_| summed);
    assert_eq!(sums.is_some(), summed);
    let plan = plan(&preset, master.dimension());
    let workers = Engine::new(learner(data, &kept), preset, SEED);
    let settings = settings(preset, Generator::Philox);
    let mut transport = InProcess::new(engine(workers.with_generator(Generator::Philox)));
    let mut rows = Rows::default();
    let mut replanner = |_: &Belief| Err("nobody is lost".to_owned());
    let optimizer = OptimizerConfig::default();
    let optimizer = optimizer.build(master.dimension()).unwrap();
    let mut master = Master::new(Parts {
        settings: &settings,
        transport: &mut transport,
        journal: &mut rows,
        replanner: &mut replanner,
        signals: Signals::default(),
        sums,
        learner: &mut *master,
        optimizer,
        plan,
        checkpoints: None,
        resume: None,
    })
    .unwrap();
    master.run().unwrap();
    let parameters = master.parameters().iter().map(|p| p.to_bits()).collect();
    drop(master);
    assert!(rows.warnings.is_empty(), "{:?}", rows.warnings);
    let logged = rows
        .rows
        .iter()
        .flat_map(|row| [row.bits_up, row.loss.to_bits(), row.responders])
        .collect();
    (parameters, logged)
}

#[test]
fn training_gives_the_same_bits_wherever_gradients_are_encoded_and_summed() {
    let data = shapes(16, 64);
    for text in ["qsgd-bucketed:max:512", "qsgd", "rotated"] {
        let kept = Arc::default();
        let mut learner = learner(&data, &kept);
        let compressor = preset(text).compressor(5, learner.dimension()).unwrap();
        let compressor = compressor.with_generator(Generator::Philox);
        let resident = learner.resident().unwrap();
        assert_eq!(resident.encodes(&compressor), Ok(()));

        let on_cpu = run(&data, preset(text), |engine| engine, false);
        for summed in [false, true] {
            let resident = run(&data, preset(text), Engine::with_resident_gradients, summed);
            assert!(on_cpu == resident, "{text} {summed}");
        }
        assert_eq!(on_cpu.1.len(), 3 * ITERATIONS as usize);
    }
}

/// One worker's frame, from an engine that is asked to leave gradients where they are, and how often it
/// looked for a way to.
fn frame(
    data: &Shapes,
    text: &str,
    prepare: impl Fn(Engine) -> Engine,
    break_it: bool,
) -> (Result<Vec<u8>, TaskError>, u64) {
    let kept: Arc<AtomicU64> = Arc::default();
    let mut learner = learner(data, &kept);
    let mut parameters = learner.initial_parameters();
    if break_it {
        parameters[100] = f32::NAN;
    }
    let plan = plan(&preset(text), learner.dimension());
    let mut engine = prepare(Engine::new(learner, preset(text), SEED));
    engine.set_plan(Arc::new(plan));
    let task = Task {
        sequence: 1,
        iteration: 2,
        worker: 1,
        injected_delay: 0.0,
        deadline: 1.0,
        calibration: false,
        measured: false,
    };
    let mut frame = Vec::new();
    let outcome = engine.run(&task, &parameters, &mut frame);
    (outcome.map(|_| frame), kept.load(Ordering::Relaxed))
}

#[test]
fn what_needs_the_cpu_is_encoded_there() {
    let data = shapes(8, 64);
    let text = "qsgd-bucketed";
    let resident = |engine: Engine| {
        engine
            .with_generator(Generator::Philox)
            .with_resident_gradients()
    };
    let (kept, asked) = frame(&data, text, resident, false);
    assert!(asked > 0);
    let remembering = |engine: Engine| {
        let feedback = ErrorFeedback {
            on_straggling: OnStraggling::Keep,
        };
        let rate = settings(preset(text), Generator::Philox).learning_rate;
        resident(engine).with_error_feedback(feedback, rate, ITERATIONS)
    };
    // An empty memory adds nothing.
    let (remembered, asked) = frame(&data, text, remembering, false);
    assert_eq!(asked, 0);
    assert!(kept.unwrap() == remembered.unwrap());
    // The fast generator of CPUs.
    let ars = |engine: Engine| engine.with_resident_gradients();
    let (found, _) = frame(&data, text, ars, false);
    let (wanted, asked) = frame(&data, text, |engine| engine, false);
    assert_eq!(asked, 0);
    assert!(found.unwrap() == wanted.unwrap());
    // Shrunk messages need their own error.
    let shrunk = |engine: Engine| resident(engine).with_shrink(true);
    assert!(frame(&data, text, shrunk, false).0.is_ok());
}

#[test]
fn a_gradient_that_is_not_finite_is_reported() {
    let data = shapes(8, 64);
    let resident = |engine: Engine| {
        engine
            .with_generator(Generator::Philox)
            .with_resident_gradients()
    };
    let error = frame(&data, "qsgd", resident, true).0.unwrap_err();
    assert!(
        matches!(
            error,
            TaskError::Learner(LearnerError::NotFinite { .. })
                | TaskError::Encode(EncodeError::NotFinite { .. })
        ),
        "{error}"
    );
}
