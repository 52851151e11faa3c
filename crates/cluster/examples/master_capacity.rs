//! What one master can do: its own time per round, workers and network left out.
//!
//! ```text
//! cargo run --release -p cluster --example master_capacity [-- WORKERS PARAMETERS BITS]...
//! ```
//!
//! Runs the master's loop over the in-process transport and takes off the time spent inside the
//! transport, where the workers are simulated. What is left is what a master does in every round:
//! publish the model, check and fold every frame, step. Everybody answers, which is the most work
//! there can be. Prints one line per setting and the constants that `docs/scaling.md` calculates with.

use cluster::{
    Belief, Buffer, Downlink, Ending, Engine, Event, Header, InProcess, Journal, Master, Memory,
    Model, Parts, Settings, Signals, Straggling, Task, Traffic, Transport, TransportError,
};
use gradient_code::{Budget, Plan, Scaling, SchemeConfig, Setting};
use gradient_codec::Preset;
use learner::{Description, Learner, LearnerError, Metric, OptimizerConfig, PartitionLoss};
use run_log::IterationRow;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use straggler::{DelayModel, WorkerDelay};

/// Rounds measured, after one that warms up.
const ROUNDS: u64 = 9;

/// A model whose gradient costs nothing.
#[derive(Clone)]
struct Still {
    gradient: Vec<f32>,
    partitions: usize,
}

impl Learner for Still {
    fn dimension(&self) -> usize {
        self.gradient.len()
    }
    fn partitions(&self) -> usize {
        self.partitions
    }
    fn initial_parameters(&mut self) -> Vec<f32> {
        vec![0.0; self.gradient.len()]
    }
    fn coded_gradient(
        &mut self,
        _parameters: &[f32],
        _iteration: u64,
        assignment: &[(usize, f64)],
        gradient: &mut [f32],
    ) -> Result<Vec<PartitionLoss>, LearnerError> {
        gradient.copy_from_slice(&self.gradient);
        Ok(assignment
            .iter()
            .map(|&(partition, _)| PartitionLoss {
                partition,
                loss: 1.0,
                samples: 1.0,
            })
            .collect())
    }
    fn evaluate(&mut self, _parameters: &[f32]) -> Result<Vec<Metric>, LearnerError> {
        Ok(Vec::new())
    }
    fn describe(&self) -> Description {
        Description {
            parameters: self.gradient.len(),
            ..Description::default()
        }
    }
}

/// Adds up the time spent inside the transport.
struct Metered {
    inner: InProcess,
    spent: Rc<Cell<Duration>>,
}

impl Metered {
    fn metered<R>(&mut self, work: impl FnOnce(&mut InProcess) -> R) -> R {
        let started = Instant::now();
        let result = work(&mut self.inner);
        self.spent.set(self.spent.get() + started.elapsed());
        result
    }
}

impl Transport for Metered {
    fn now(&self) -> f64 {
        self.inner.now()
    }
    fn real_time(&self) -> bool {
        false
    }
    fn start(&mut self, task: Task, model: &Model) -> Result<(), TransportError> {
        self.metered(|inner| inner.start(task, model))
    }
    fn verdict(&mut self, header: &Header, send: bool) -> Result<(), TransportError> {
        self.metered(|inner| inner.verdict(header, send))
    }
    fn poll(&mut self, until: f64, events: &mut Vec<Event>) -> Result<(), TransportError> {
        self.metered(|inner| inner.poll(until, events))
    }
    fn progress(&mut self) -> Result<(), TransportError> {
        Ok(())
    }
    fn publish(&mut self, plan: &Plan) -> Result<(), TransportError> {
        self.metered(|inner| inner.publish(plan))
    }
    fn recall(&mut self, worker: usize) -> Result<(), TransportError> {
        self.inner.recall(worker)
    }
    fn restore(&mut self, memory: Memory) -> Result<(), TransportError> {
        self.inner.restore(memory)
    }
    fn recycle(&mut self, frame: Buffer) {
        self.inner.recycle(frame);
    }
    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }
    fn finish(&mut self, code: u8) -> Ending {
        self.inner.finish(code)
    }
}

/// Keeps the rows, each with the seconds since the last one that the transport did not take.
struct Rows {
    rows: Vec<(IterationRow, f64)>,
    spent: Rc<Cell<Duration>>,
    last: Instant,
}

impl Journal for Rows {
    fn iteration(&mut self, row: IterationRow) {
        let seconds = self.last.elapsed().saturating_sub(self.spent.take());
        self.rows.push((row, seconds.as_secs_f64()));
        self.last = Instant::now();
    }
    fn warning(&mut self, text: &str) {
        eprintln!("{text}");
    }
}

/// Seconds per round: all of the master's, and of those folding and stepping.
struct Cost {
    total: f64,
    decode: f64,
    step: f64,
    bytes_up: f64,
    bytes_down: f64,
}

fn measure(
    workers: usize,
    parameters: usize,
    bits: u8,
    downlink: Downlink,
) -> Result<Cost, Box<dyn std::error::Error>> {
    let preset = Preset::default();
    let p = vec![0.1; workers];
    let setting = Setting {
        partitions: workers,
        straggle_probabilities: &p,
        by_width: None,
        phi: &|bits| preset.phi(bits, parameters),
        scaling: Scaling::Factor(1.0),
        compressor_unbiased: true,
        seed: 0,
    };
    let budget = Budget {
        total_bits: u64::from(bits) * workers as u64,
        min_bits: 2,
        max_bits: 16,
    };
    let plan = gradient_code::plan(&SchemeConfig::new("is-sgd"), &setting, &budget, None)?;
    let model = DelayModel::new(vec![WorkerDelay::Exponential { rate: 1.0 }; workers])?;
    let everybody = Straggling::Erase {
        model,
        deadline: 1e9,
        bandwidth: None,
        unit_seconds: 1.0,
    };
    let settings = Settings {
        seed: 1,
        downlink,
        max_empty_rounds: 1,
        silence_timeout: 1e9,
        ..Settings::plain(preset, everybody, ROUNDS + 1, 1e-3)
    };
    let gradient = (0..parameters)
        .map(|m| ((m * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0)
        .collect();
    let mut learner = Still {
        gradient,
        partitions: workers,
    };
    let engine = Engine::new(Box::new(learner.clone()), preset, 1);
    let mut transport = Metered {
        inner: InProcess::new(engine),
        spent: Rc::default(),
    };
    let mut rows = Rows {
        rows: Vec::new(),
        spent: transport.spent.clone(),
        last: Instant::now(),
    };
    let mut replanner = |_: &Belief| Err("nobody is lost here".to_owned());
    let optimizer = OptimizerConfig::Sgd {
        momentum: 0.9,
        nesterov: false,
        weight_decay: 0.0,
    };
    Master::new(Parts {
        settings: &settings,
        transport: &mut transport,
        journal: &mut rows,
        replanner: &mut replanner,
        signals: Signals::default(),
        learner: &mut learner,
        sums: None,
        optimizer: optimizer.build(parameters)?,
        plan,
        checkpoints: None,
        resume: None,
    })?
    .run()?;
    let mean = |value: &dyn Fn(&(IterationRow, f64)) -> f64| {
        rows.rows.iter().skip(1).map(value).sum::<f64>() / ROUNDS as f64
    };
    Ok(Cost {
        total: mean(&|(_, seconds)| *seconds),
        decode: mean(&|(row, _)| row.seconds_decode),
        step: mean(&|(row, _)| row.seconds_step),
        bytes_up: mean(&|(row, _)| row.bits_up as f64 / 8.0),
        bytes_down: mean(&|(row, _)| row.bits_down as f64 / 8.0),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<usize> = std::env::args()
        .skip(1)
        .map(|word| word.parse())
        .collect::<Result<_, _>>()?;
    let mut settings: Vec<(usize, usize, u8)> = arguments
        .chunks_exact(3)
        .map(|three| (three[0], three[1], three[2] as u8))
        .collect();
    if settings.is_empty() {
        settings = vec![
            (16, 100_000, 4),
            (256, 100_000, 4),
            (16, 3_440_060, 2),
            (16, 3_440_060, 4),
            (16, 3_440_060, 8),
            (64, 3_440_060, 4),
            (256, 3_440_060, 4),
            (16, 25_600_000, 4),
        ];
    }
    println!(
        "workers  parameters  bits  downlink  master ms/round   decode    step   ns/(frame coordinate)  MB up  MB down"
    );
    for (workers, parameters, bits) in settings {
        for (name, downlink) in [
            ("f32", Downlink::F32),
            ("bf16", Downlink::Bf16),
            ("delta 8", Downlink::Delta { bits: 8 }),
        ] {
            let cost = measure(workers, parameters, bits, downlink)?;
            println!(
                "{workers:7}  {parameters:10}  {bits:4}  {name:8}  {:15.3}  {:7.3} {:7.3}  {:22.4}  {:5.1}  {:7.1}",
                1e3 * cost.total,
                1e3 * cost.decode,
                1e3 * cost.step,
                1e9 * cost.decode / (workers * parameters) as f64,
                cost.bytes_up / 1e6,
                cost.bytes_down / 1e6,
            );
        }
    }
    Ok(())
}
