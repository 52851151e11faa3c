//! Where a run's results go: the HDF5 log and the progress display.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cluster::Journal;
use gradient_code::{Decoder, Plan};
use learner::Metric;
use run_log::{IterationRow, PlanRecord, RunLog};

use super::progress::Progress;

/// The journal of rank 0.
pub struct RunJournal {
    log: RunLog,
    progress: Progress,
    /// Seconds that the last iteration's logging took; they count into the next row.
    seconds_log: f64,
    /// Iterations done, those before a resumed checkpoint included.
    pub iterations: u64,
    /// After how many of them the newest checkpoint of this run was written.
    pub checkpoint: Option<u64>,
}

impl RunJournal {
    /// A journal that writes to `log` and shows `progress`; `resumed` is the number of iterations
    /// that the checkpoint has behind it from which the run goes on.
    pub fn new(log: RunLog, progress: Progress, resumed: Option<u64>) -> Self {
        RunJournal {
            log,
            progress,
            seconds_log: 0.0,
            iterations: resumed.unwrap_or(0),
            checkpoint: resumed,
        }
    }

    /// Ends the display and gives the log back for its last commit.
    pub fn into_log(self) -> RunLog {
        self.progress.finish();
        self.log
    }

    fn commit_if_due(&mut self) {
        if let Some(warning) = self.log.maybe_commit() {
            self.progress.warning(&warning.to_string());
        }
    }
}

impl Journal for RunJournal {
    fn iteration(&mut self, mut row: IterationRow) {
        let started = Instant::now();
        row.time = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(f64::NAN, |since| since.as_secs_f64());
        row.seconds_log = self.seconds_log;
        self.iterations = row.iteration + 1;
        self.progress.iteration(&row);
        if let Err(error) = self.log.push(row) {
            self.progress
                .warning(&format!("failed to log an iteration: {error}"));
        }
        self.commit_if_due();
        self.seconds_log = started.elapsed().as_secs_f64();
    }

    fn evaluation(&mut self, iterations: u64, metrics: &[Metric]) {
        self.progress.evaluation(iterations, metrics);
        let named: Vec<(String, f64)> = metrics
            .iter()
            .map(|metric| (metric.name.clone(), metric.value))
            .collect();
        self.log.push_evaluation(iterations, &named);
        self.commit_if_due();
    }

    fn plan(&mut self, start_iteration: u64, plan: &Plan, reason: &str) {
        if let Err(error) = self.log.push_plan(start_iteration, &record(plan, reason)) {
            self.progress
                .warning(&format!("failed to log a plan: {error}"));
        }
    }

    fn note(&mut self, text: &str) {
        self.progress.note(text);
    }

    fn warning(&mut self, text: &str) {
        self.progress.warning(text);
    }

    fn commit(&mut self) -> Result<(), String> {
        self.log.commit().map_err(|error| error.to_string())
    }

    fn checkpoint(&mut self, iterations: u64, seconds: f64) {
        self.checkpoint = Some(iterations);
        self.seconds_log += seconds; // counts into the next row
        self.progress.checkpoint(iterations, seconds);
    }
}

/// A plan as the log keeps it.
fn record(plan: &Plan, reason: &str) -> PlanRecord {
    let each = |value: &dyn Fn(&gradient_code::WorkerPlan) -> i64| {
        plan.workers.iter().map(value).collect()
    };
    PlanRecord {
        reason: reason.to_owned(),
        scheme: plan.scheme.clone(),
        partitions: plan.partitions as u64,
        straggle_probability: plan
            .workers
            .iter()
            .map(|worker| worker.straggle_probability)
            .collect(),
        bits: each(&|worker| i64::from(worker.bits)),
        decode_weight: match &plan.decoder {
            Decoder::Fixed { weights, .. } => weights.clone(),
            Decoder::PerRound(_) => Vec::new(),
        },
        decode_weight_second: plan.decoder.second_weights().unwrap_or_default(),
        load: each(&|worker| worker.load() as i64),
        encoding: plan
            .workers
            .iter()
            .enumerate()
            .flat_map(|(i, worker)| {
                worker
                    .assignment
                    .iter()
                    .map(move |&(j, coefficient)| (i as u64, j as u64, coefficient))
            })
            .collect(),
        scaling_s: plan.prediction.scaling_s,
        error_bound: plan.prediction.error_bound,
        computation_load: plan.prediction.computation_load,
        bits_per_coordinate_offered: plan.prediction.bits_per_coordinate_offered,
        bits_per_coordinate_expected: plan.prediction.bits_per_coordinate_expected,
        json: serde_json::to_string(plan).unwrap_or_default(),
    }
}
