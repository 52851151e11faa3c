//! The columns of a run: one table says what each is called, what it means and in which unit.
//!
//! [`IterationRow`] is what the master fills in once per iteration; the table turns it into HDF5
//! datasets of the same names. Adding a column is one line here, and nothing elsewhere names it.

/// How a column's value is read from a row.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    /// One integer per iteration, stored as `i64`.
    Integer(fn(&IterationRow) -> i64),
    /// One real per iteration, stored as `f64`; NaN where there is no value.
    Real(fn(&IterationRow) -> f64),
    /// One integer per worker and iteration, stored as `i64` in `/per_worker`.
    IntegerPerWorker(fn(&PerWorkerRow) -> &[i64]),
    /// One real per worker and iteration, stored as `f64` in `/per_worker`.
    RealPerWorker(fn(&PerWorkerRow) -> &[f64]),
}

/// One column of the log.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Data set name, the field's own.
    pub name: &'static str,
    /// Unit as UDUNITS writes it ("1" for counts and ratios).
    pub units: &'static str,
    /// What it is, in one phrase.
    pub long_name: &'static str,
    /// How to get it out of a row.
    pub read: Read,
}

macro_rules! read {
    (u64, $field:ident) => {
        Read::Integer(|row| i64::try_from(row.$field).unwrap_or(i64::MAX))
    };
    (f64, $field:ident) => {
        Read::Real(|row| row.$field)
    };
}

macro_rules! scalar_columns {
    ($( $field:ident: $kind:tt, $units:literal, $long_name:literal; )*) => {
        /// What the master logs once per iteration.
        ///
        /// A real that was not measured stays NaN, its value in [`IterationRow::new`].
        #[derive(Clone, Debug, PartialEq)]
        pub struct IterationRow {
            $( #[doc = concat!($long_name, ". Unit: ", $units, ".")] pub $field: $kind, )*
            /// What was seen of each worker.
            pub per_worker: PerWorkerRow,
        }

        impl IterationRow {
            /// An empty row for `iteration` with `workers` workers: reals are NaN, counts 0, and
            /// every worker stands as not asked.
            pub fn new(iteration: u64, workers: usize) -> Self {
                let mut row = Self {
                    $( $field: scalar_columns!(@empty $kind), )*
                    per_worker: PerWorkerRow::new(workers),
                };
                row.iteration = iteration;
                row
            }
        }

        /// The per-iteration columns (T), in file order; the first is the dimension scale.
        pub const SCALAR_COLUMNS: &[Column] = &[
            $( Column { name: stringify!($field), units: $units, long_name: $long_name, read: read!($kind, $field) }, )*
        ];
    };
    (@empty u64) => { 0 };
    (@empty f64) => { f64::NAN };
}

macro_rules! per_worker_columns {
    ($( $field:ident: $kind:tt = $empty:expr, $units:literal, $long_name:literal; )*) => {
        /// What the master logs of each worker once per iteration; every vector has one entry
        /// per worker.
        #[derive(Clone, Debug, PartialEq)]
        pub struct PerWorkerRow {
            $( #[doc = concat!($long_name, ". Unit: ", $units, ".")] pub $field: Vec<$kind>, )*
        }

        impl PerWorkerRow {
            /// Nobody asked, nothing heard.
            pub fn new(workers: usize) -> Self {
                Self { $( $field: vec![$empty; workers], )* }
            }
        }

        /// The per-worker columns (T x N) of `/per_worker`, in file order.
        pub const PER_WORKER_COLUMNS: &[Column] = &[
            $( Column { name: stringify!($field), units: $units, long_name: $long_name,
                read: per_worker_columns!(@read $kind, $field) }, )*
        ];
    };
    (@read i64, $field:ident) => { Read::IntegerPerWorker(|row| &row.$field) };
    (@read f64, $field:ident) => { Read::RealPerWorker(|row| &row.$field) };
}

scalar_columns! {
    iteration: u64, "1", "training iteration";
    time: f64, "seconds since 1970-01-01 00:00:00", "wall clock at the end of the iteration";
    loss: f64, "1", "mean minibatch loss over the partitions heard of";
    loss_decoded: f64, "1", "unbiased estimate of the mean minibatch loss, decoded like the gradient";
    learning_rate: f64, "1", "learning rate of the step";
    gradient_norm: f64, "1", "Euclidean norm of the decoded gradient";
    bits_up: u64, "bit", "bits received from the workers, headers and refused frames included";
    bits_up_payload: u64, "bit", "quantized payload bits of the accepted frames";
    bits_up_offered: u64, "bit", "bits all workers would have sent had nobody been late";
    bits_down: u64, "bit", "bits sent to the workers, headers included";
    responders: u64, "1", "workers whose gradient entered the step";
    late: u64, "1", "workers that were asked, or still busy, and did not make the deadline";
    refused: u64, "1", "messages refused: damaged, not finite, exploded, of the wrong length, or of a task that failed";
    clipped: u64, "1", "messages scaled down because they were much larger than others";
    foreign: u64, "1", "messages of a round in which their worker was not asked; always 0 unless the protocol is broken";
    deadline: f64, "s", "deadline of the round, from its start";
    seconds_round: f64, "s", "duration of the whole iteration";
    seconds_virtual: f64, "s", "duration of the round by the drawn delays, where arrivals are drawn: until all have arrived, at most the deadline";
    seconds_open: f64, "s", "time the master prepared and addressed the model, and waited for an idle worker";
    seconds_wait: f64, "s", "time the master waited for workers";
    seconds_backward: f64, "s", "of seconds_wait: until the last worker in time had computed its gradient";
    seconds_encode: f64, "s", "of seconds_wait: while it quantized and packed";
    seconds_wire: f64, "s", "of seconds_wait: for frames under way; NaN where nothing crosses a link";
    seconds_decode: f64, "s", "time the master unpacked, dequantized and accumulated";
    seconds_check: f64, "s", "time of the exact gradient that relative_error compares with; NaN where none was computed";
    seconds_step: f64, "s", "time of the optimizer step";
    seconds_evaluate: f64, "s", "time of the evaluation before this iteration; NaN where there was none";
    seconds_checkpoint: f64, "s", "time of the checkpoint before this iteration; NaN where there was none";
    seconds_log: f64, "s", "time spent on this log and on progress";
    decoder_norm: f64, "1", "Frobenius norm of the decoding weights, where they depend on who answered";
    relative_error: f64, "1", "norm(decoded - exact) / norm(exact) of the gradient, where sampled";
}

per_worker_columns! {
    arrival_time: f64 = f64::NAN, "s", "arrival of the worker's header from the start of the round; NaN if not before the deadline";
    late_iterations: i64 = -1, "1", "iterations the worker is behind: 0 on time, 1 late for this one, 2 for this and the one before, ...; -1 not asked";
    seconds_compute: f64 = f64::NAN, "s", "time the worker computed its coded gradient";
    seconds_encode: f64 = f64::NAN, "s", "time the worker quantized and packed";
    seconds_wire: f64 = f64::NAN, "s", "time from the master's request for the worker's frame to the frame's last byte";
    quantization_error: f64 = f64::NAN, "1", "norm(Q(x) - x)^2 / norm(x)^2 of the worker's message, where sampled";
    bits: i64 = 0, "bit", "bits received from the worker";
    refused: i64 = 0, "1", "messages of the worker that were refused";
    loss: f64 = f64::NAN, "1", "mean minibatch loss over the worker's partitions";
}
