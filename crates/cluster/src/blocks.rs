//! What a worker sends: its coded gradient, or with a block code one block that mixes the blocks of
//! its gradients (CE-AGC, Munim & Ramamoorthy 2026, arXiv 2603.22514, section II).

use crate::message::Task;
use gradient_code::{Fold, Plan};
use learner::{Learner, LearnerError, PartitionLoss};

/// Forms the message of a task and hands out where it lies, with the losses of the worker's
/// partitions in the assignment's order.
///
/// `gradient` has the model's d coordinates. Without a block code the message is formed there; with
/// one it is formed in `block`, `ceil(d / m)` long. One backward pass serves all partitions unless
/// the code gives each of them factors of its own.
pub(crate) fn message<'a>(
    learner: &mut dyn Learner,
    plan: &Plan,
    task: &Task,
    parameters: &[f32],
    gradient: &'a mut [f32],
    block: &'a mut Vec<f32>,
) -> Result<(&'a mut [f32], Vec<PartitionLoss>), LearnerError> {
    let (worker, t) = (task.worker as usize, task.iteration);
    let assignment = &plan.workers[worker].assignment;
    match plan.fold(worker, t) {
        Fold::Whole => {
            let losses = learner.coded_gradient(parameters, t, assignment, gradient)?;
            Ok((gradient, losses))
        }
        Fold::Diagonal(factors) => {
            clear(block, plan.message_len(gradient.len()));
            let losses = learner.coded_gradient(parameters, t, assignment, gradient)?;
            add_blocks(gradient, &factors, block);
            Ok((block, losses))
        }
        Fold::PerPartition(factors) => {
            clear(block, plan.message_len(gradient.len()));
            let mut losses = Vec::with_capacity(assignment.len());
            for (held, factors) in assignment.iter().zip(factors.chunks_exact(plan.blocks())) {
                let held = std::slice::from_ref(held);
                losses.extend(learner.coded_gradient(parameters, t, held, gradient)?);
                add_blocks(gradient, factors, block);
            }
            Ok((block, losses))
        }
    }
}

fn clear(block: &mut Vec<f32>, length: usize) {
    block.clear();
    block.resize(length, 0.0);
}

/// `sum += sum_u factors[u] gradient[u]`; the last block may be short, as if zeros followed.
fn add_blocks(gradient: &[f32], factors: &[f64], sum: &mut [f32]) {
    for (block, &factor) in gradient.chunks(sum.len().max(1)).zip(factors) {
        for (sum, &value) in sum.iter_mut().zip(block) {
            *sum += (factor * f64::from(value)) as f32;
        }
    }
}
