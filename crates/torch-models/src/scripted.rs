//! A model of the user's own: a TorchScript file whose `forward` returns the loss.
//!
//! `forward` takes one tensor per array of the data set, the rows of a minibatch first, and returns
//! either every sample's loss, `[N]`, or their mean, a number. It is compiled Python, so nothing is
//! known of it: every partition goes through by itself, as batch norm wants it; whatever it draws
//! (dropout) comes from libtorch's generator, which is seeded for every partition and iteration; and
//! before an evaluation the module is loaded afresh, so that no buffer that training moved is used.
//!
//! The executor runs the graph as it was saved, without profiling: optimized graphs would compute other
//! bits after the first few calls, and a resumed run others than an uninterrupted one.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use counter_rng::{Purpose, rng};
use learner::{Learner, LearnerError, Metric};
use rand::Rng;
use tch::{CModule, Device, Kind, Tensor};

use crate::arrays::{Arrays, Column, Row, stack};
use crate::config::TorchConfig;
use crate::data::TrainingData;
use crate::engine::{Task, TorchLearner};
use crate::error::TorchError;
use crate::init::Init;
use crate::losses::weigh;
use crate::precision::Precision;
use crate::store::{Parameter, Store};

/// A TorchScript module that learns.
pub struct Scripted {
    path: PathBuf,
    device: Device,
    seed: u64,
    precision: Precision,
    columns: Vec<Column>,
    samples_per_pass: usize,
    /// The file, which may change or go away during a run.
    file: Vec<u8>,
    training: RefCell<CModule>,
    /// The same parameters, other buffers; none before the first evaluation, which workers never make.
    evaluating: RefCell<Option<CModule>>,
}

/// Rows as `forward` takes them.
pub struct Inputs {
    tensors: Vec<Tensor>,
    samples: usize,
    /// What the pass draws with.
    seed: i64,
}

/// Builds a learner from the TorchScript file `model` that trains on the arrays called `names` of
/// `train` and is evaluated on those of `validation` (of `train` where there is none).
///
/// # Errors
/// [`LearnerError::Data`] naming the file that cannot be read or has nothing to train, and as
/// [`Arrays::open`] and [`TrainingData::new`].
pub fn build_scripted(
    config: &TorchConfig,
    model: &Path,
    train: &Path,
    validation: Option<&Path>,
    names: &[String],
) -> Result<Box<dyn Learner>, LearnerError> {
    tch::set_num_threads(config.threads.max(1) as i32);
    let train = Arc::new(Arrays::open(train, names)?);
    let columns = train.columns();
    let validation = match validation {
        Some(path) => {
            let held_out = Arrays::open(path, names)?;
            if held_out.columns() != columns {
                return Err(LearnerError::Data {
                    path: path.to_owned(),
                    what: format!(
                        "its rows are {}, those of the training arrays {}",
                        describe(&held_out.columns()),
                        describe(&columns)
                    ),
                });
            }
            Some(Arc::new(held_out))
        }
        None => None,
    };
    let data = TrainingData::new(
        train,
        config.partitions,
        config.batch,
        config.seed,
        config.loader_threads,
    )?;
    let store = Store::new(config.device);
    let task = Scripted::load(model, &store, config, columns, data.batch())?;
    let name = format!("torchscript {}", model.display());
    let learner = TorchLearner::new(task, name, store, config, data, validation)?;
    Ok(Box::new(learner))
}

/// Trainable parameters of a TorchScript file.
///
/// # Errors
/// As [`build_scripted`].
pub fn scripted_parameters(model: &Path) -> Result<usize, TorchError> {
    let (_, trained) = parse(&read(model)?, model, Device::Cpu)?;
    Ok(trained.iter().map(|(_, tensor)| tensor.numel()).sum())
}

fn describe(columns: &[Column]) -> String {
    let one = |c: &Column| format!("{} {:?} {:?}", c.name, c.kind, c.shape);
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn read(path: &Path) -> Result<Vec<u8>, TorchError> {
    std::fs::read(path).map_err(|error| TorchError::Weights {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The module in `file`, which was read from `path`, and its trainable parameters under their dotted
/// names.
fn parse(
    mut file: &[u8],
    path: &Path,
    device: Device,
) -> Result<(CModule, Vec<(String, Tensor)>), TorchError> {
    let refused = |reason: String| TorchError::Weights {
        path: path.to_owned(),
        reason,
    };
    let module = CModule::load_data_on_device(&mut file, device).map_err(|error| {
        refused(format!(
            "libtorch cannot read it as TorchScript (torch.jit.script(model).save(...) writes it): {}",
            first_line(&error)
        ))
    })?;
    let mut parameters = module.named_parameters()?;
    parameters.retain(|(_, tensor)| tensor.requires_grad());
    if let Some((name, tensor)) = parameters.iter().find(|(_, t)| t.kind() != Kind::Float) {
        return Err(refused(format!(
            "{name} has type {:?}; trained parameters have to be f32",
            tensor.kind()
        )));
    }
    if parameters.is_empty() {
        return Err(refused(
            "it has no parameter that requires a gradient".to_owned(),
        ));
    }
    Ok((module, parameters))
}

fn first_line(error: &tch::TchError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

impl Scripted {
    fn load(
        path: &Path,
        store: &Store,
        config: &TorchConfig,
        columns: Vec<Column>,
        samples_per_pass: usize,
    ) -> Result<Self, TorchError> {
        let file = read(path)?;
        let (mut training, parameters) = parse(&file, path, config.device)?;
        training.f_set_train()?;
        for (name, tensor) in parameters {
            store.register(Parameter {
                name,
                init: Init::Kept,
                tensor,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            device: config.device,
            seed: config.seed,
            precision: config.precision,
            columns,
            samples_per_pass,
            file,
            evaluating: RefCell::default(),
            training: RefCell::new(training),
        })
    }

    /// The module as it was saved, with the parameters that are trained.
    fn fresh(&self) -> Result<CModule, TorchError> {
        let (fresh, own) = parse(&self.file, &self.path, self.device)?;
        let trained = self.training.borrow().named_parameters()?;
        let trained = trained.iter().filter(|(_, tensor)| tensor.requires_grad());
        tch::no_grad(|| {
            for ((_, mut own), (_, shared)) in own.into_iter().zip(trained) {
                own.f_set_data(shared)?;
            }
            Ok::<(), TorchError>(())
        })?;
        Ok(fresh)
    }

    /// Runs `pass` with the module that evaluates.
    fn evaluating<T>(
        &self,
        pass: impl FnOnce(&mut CModule) -> Result<T, TorchError>,
    ) -> Result<T, TorchError> {
        let mut module = match self.evaluating.take() {
            Some(module) => module,
            None => self.fresh()?,
        };
        let result = pass(&mut module);
        self.evaluating.replace(Some(module));
        result
    }

    /// The weighted sum of the losses, and each of them.
    fn losses(
        &self,
        module: &CModule,
        inputs: &Inputs,
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError> {
        let refused = |reason: String| TorchError::Weights {
            path: self.path.clone(),
            reason,
        };
        tch::jit::f_set_graph_executor_optimize(false)?;
        // One generator serves the whole process: nobody may draw between the seed and the last draw.
        static GENERATOR: Mutex<()> = Mutex::new(());
        let drawing = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(inputs.seed);
        let out = self.precision.run(self.device, || {
            module.forward_ts(&inputs.tensors).map_err(|error| {
                let arguments = describe(&self.columns);
                refused(format!("forward({arguments}) fails: {error}"))
            })
        })?;
        drop(drawing);
        let out = out.f_to_kind(Kind::Float)?;
        let samples = inputs.samples as i64;
        match out.size().as_slice() {
            [] => {
                let loss = f64::try_from(out.f_detach()?)?;
                let total = out.f_mul_scalar(weights.iter().sum::<f64>())?;
                Ok((total, vec![loss; inputs.samples]))
            }
            [n] if *n == samples => weigh(&out, weights),
            other => Err(refused(format!(
                "forward returned shape {other:?} for {samples} samples; expected a loss for each, \
                 [{samples}], or their mean, []"
            ))),
        }
    }
}

impl Task for Scripted {
    type Source = Arrays;
    type Batch = Inputs;
    /// The loss alone.
    type Evaluation = ();

    fn assemble(
        &self,
        samples: &[(u32, Arc<Row>)],
        iteration: Option<u64>,
    ) -> Result<Inputs, TorchError> {
        let first = samples.first().map_or(0, |(place, _)| u64::from(*place));
        let mut draws = rng(
            self.seed,
            Purpose::Dropout,
            iteration.unwrap_or(u64::MAX),
            first,
        );
        Ok(Inputs {
            tensors: stack(&self.columns, samples, self.device)?,
            samples: samples.len(),
            seed: draws.next_u64() as i64,
        })
    }

    fn weighted_loss(
        &self,
        batch: &Inputs,
        weights: &[f64],
    ) -> Result<(Tensor, Vec<f64>), TorchError> {
        self.losses(&self.training.borrow(), batch, weights)
    }

    fn forget_statistics(&self) -> Result<(), TorchError> {
        self.evaluating.take();
        Ok(())
    }

    fn calibrate(&self, batch: &Inputs, _: f64) -> Result<(), TorchError> {
        self.evaluating(|module| {
            module.f_set_train()?;
            let _ = self.losses(module, batch, &vec![0.0; batch.samples])?;
            Ok(())
        })
    }

    /// The module's own momentum, usually 0.1, cannot be changed: after so many updates what it started
    /// from weighs 0.2 %.
    fn calibration_passes(&self, batches: usize) -> usize {
        batches.max(60)
    }

    /// Nobody can tell.
    fn is_per_sample(&self) -> bool {
        false
    }

    fn samples_per_pass(&self) -> usize {
        self.samples_per_pass
    }

    fn observe(&self, (): &mut (), batch: &Inputs, _: &[u32]) -> Result<Vec<f64>, TorchError> {
        self.evaluating(|module| {
            module.f_set_eval()?;
            Ok(self.losses(module, batch, &vec![1.0; batch.samples])?.1)
        })
    }

    fn metrics(&self, (): (), _: &Arrays) -> Result<Vec<Metric>, LearnerError> {
        Ok(Vec::new())
    }
}
