//! What can be wrong with a delay model or with the observations behind an estimate.

/// A delay model that cannot be built. Reads after "failed to".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DelayError {
    /// The model would have no workers.
    #[error("build a delay model without workers: at least one is needed")]
    NoWorkers,
    /// A parameter of one worker's distribution is out of range.
    #[error("accept {field} = {value} of worker {worker}: it must be {valid}")]
    Parameter {
        /// Index of the worker, from 0.
        worker: usize,
        /// Which parameter.
        field: &'static str,
        /// What was given.
        value: f64,
        /// What would be accepted.
        valid: &'static str,
    },
    /// A worker's trace has no entries.
    #[error("accept the trace of worker {worker}: it is empty, at least one delay is needed")]
    EmptyTrace {
        /// Index of the worker, from 0.
        worker: usize,
    },
    /// An entry of a worker's trace is not a delay.
    #[error(
        "accept entry {position} = {value} of the trace of worker {worker}: a delay must be finite and >= 0"
    )]
    TraceEntry {
        /// Index of the worker, from 0.
        worker: usize,
        /// Index of the entry in the trace, from 0.
        position: usize,
        /// What was given.
        value: f64,
    },
    /// A slowdown that cannot be.
    #[error("slow worker {worker} down by {factor} from iteration {from} until {to}: {valid}")]
    Slowdown {
        /// Index of the worker, from 0.
        worker: usize,
        /// By what its delays would be multiplied.
        factor: f64,
        /// First iteration.
        from: u64,
        /// First iteration after it.
        to: u64,
        /// What is wrong, or would be right.
        valid: String,
    },
    /// The interval that rates are drawn from is not one.
    #[error("draw rates from U({low}, {high}): it must hold that 0 < low <= high < infinity")]
    RateInterval {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
}

/// Observations from which nothing can be estimated. Reads after "failed to".
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EstimateError {
    /// No task was observed.
    #[error("estimate from 0 tasks: at least one is needed")]
    NoTasks,
    /// More tasks were counted late, or on time, than there were tasks.
    #[error("estimate from {counted} {what} tasks out of {tasks}: more than there were")]
    MoreThanTasks {
        /// `"late"` or `"on-time"`.
        what: &'static str,
        /// How many were counted.
        counted: u64,
        /// How many tasks there were.
        tasks: u64,
    },
    /// Nothing arrived before the deadline, so neither shift nor rate is identified.
    #[error(
        "fit a shifted exponential to {tasks} tasks of which none was on time: at least one arrival is needed"
    )]
    NothingOnTime {
        /// How many tasks there were, all late.
        tasks: u64,
    },
    /// The deadline is not a number above zero.
    #[error("fit a shifted exponential with deadline {value}: it must be finite and > 0")]
    Deadline {
        /// What was given.
        value: f64,
    },
    /// An on-time delay is negative, not finite, or later than the deadline.
    #[error(
        "accept on-time delay {value} at position {position}: it must lie in 0..={deadline}, the deadline"
    )]
    Delay {
        /// Index in the list of on-time delays, from 0.
        position: usize,
        /// What was given.
        value: f64,
        /// The deadline it was censored at.
        deadline: f64,
    },
    /// No task is known to have taken longer than the earliest: the likelihood grows without bound
    /// with the rate.
    #[error(
        "fit a shifted exponential to {tasks} tasks: every arrival was at {value} and none is known to be later, at least two distinct instants are needed"
    )]
    Degenerate {
        /// How many tasks there were.
        tasks: u64,
        /// The instant of every arrival.
        value: f64,
    },
}
