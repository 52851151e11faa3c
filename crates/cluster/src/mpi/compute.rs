//! The compute thread of a worker rank: tasks in, results out.

use crate::buffer::Buffer;
use crate::faults::{FaultKind, Injected, Phase, freeze_this_process, kill_this_process};
use crate::message::{Header, Status, Task};
use crate::worker::{Engine, Timing};
use gradient_code::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

/// What the main thread asks of the compute thread.
pub(super) enum Job {
    Task {
        task: Task,
        received: Instant,
        parameters: Arc<Buffer>,
        frame: Vec<u8>,
    },
    Plan(Arc<Plan>),
}

/// A task's result, with the moment from which it may be reported.
pub(super) struct Finished {
    pub header: Header,
    pub frame: Vec<u8>,
    /// Why there is no frame, if the task failed.
    pub failure: Option<String>,
    pub due: Instant,
    /// What is to go wrong with reporting and sending it.
    pub injected: Injected,
}

/// Serves the main thread until it hangs up, or says that it is `over`: tasks that wait then are left.
pub(super) fn compute(
    mut engine: Engine,
    todo: &Receiver<Job>,
    done: &Sender<Finished>,
    over: &AtomicBool,
) {
    while let Ok(job) = todo.recv() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        match job {
            Job::Plan(plan) => engine.set_plan(plan),
            Job::Task {
                task,
                received,
                parameters,
                mut frame,
            } => {
                frame.clear();
                let finished = run(&mut engine, &task, received, &parameters, frame);
                if let Some(finished) = finished
                    && done.send(finished).is_err()
                {
                    return;
                }
            }
        }
    }
}

/// Runs one task and applies its injected delay. Nothing comes of a task that an injected fault
/// makes the worker forget.
///
/// The delay is the task's whole duration: a result that took less is held back until then. A
/// delay beyond the deadline means that the master would drop the result, so none is computed and
/// the lateness is reported at once; the master lets the round run to its deadline all the same,
/// and the worker is free for the next one, as a worker whose delays are independent from round to
/// round must be.
fn run(
    engine: &mut Engine,
    task: &Task,
    received: Instant,
    parameters: &Buffer,
    mut frame: Vec<u8>,
) -> Option<Finished> {
    let injected = engine.faults().of(task);
    if injected.has(FaultKind::Kill, Phase::Compute) {
        kill_this_process();
    }
    if injected.has(FaultKind::Freeze, Phase::Compute) {
        freeze_this_process(injected.seconds(FaultKind::Freeze, Phase::Compute));
    }
    std::thread::sleep(seconds(injected.seconds(FaultKind::Delay, Phase::Compute)));
    if injected.has(FaultKind::Drop, Phase::Compute) {
        return None;
    }
    let late = task.injected_delay > task.deadline;
    let (begun, slowness) = (Instant::now(), injected.slowness());
    let (status, timing, failure) = if late {
        (Status::Late, Timing::default(), None)
    } else {
        match engine.attempt(task, parameters.f32s(), &mut frame) {
            Ok(timing) => (Status::Ready, timing, None),
            Err(error) => {
                frame.clear();
                let reason = error.to_string();
                (error.status(), Timing::default(), Some(reason))
            }
        }
    };
    if injected.has(FaultKind::Drop, Phase::Header) {
        return None;
    }
    let mut header = Header {
        sequence: task.sequence,
        worker: task.worker,
        status,
        frame_bytes: frame.len() as u64,
        compute_seconds: slowness * timing.compute_seconds,
        encode_seconds: timing.encode_seconds,
        quantization_error: timing.quantization_error,
    };
    if status == Status::Ready {
        injected.spoil_header(&mut header);
    }
    let hold = if late { 0.0 } else { task.injected_delay };
    let pause = injected.seconds(FaultKind::Delay, Phase::Header);
    Some(Finished {
        header,
        frame,
        failure,
        due: (received + seconds(hold))
            .max(begun + begun.elapsed().mul_f64(slowness))
            .max(Instant::now() + seconds(pause)),
        injected,
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.max(0.0))
}
