//! Error feedback: what compression and lateness kept from being delivered, worker by worker.
//!
//! Algorithm 1 of COCO-EF (Li, Skoglund and Xiao 2026, arXiv 2603.16353), for the update
//! `beta_{t+1} = beta_t - gamma_t (1/n) sum_i I_i w_i c_i` with the memory `e_i` in units of the
//! parameters, as there:
//!
//! ```text
//! x_i = gamma_t f_i + e_i;   send C(x_i)                          eq 4
//! in time:  e_i <- x_i - C(x_i)                                   eq 7
//! late:     e_i unchanged (keep), or e_i <- x_i (lost)
//! ```
//!
//! A message carries `x_i / gamma_t` instead of `x_i`, so that what travels is in units of the
//! gradient with any compressor, and the master's step multiplies by gamma_t. For a compressor with
//! `C(a x) = a C(x)`, as all of ours are up to rounding, this is eq 4. The virtual iterate
//! `beta_t - (1/n) sum_i w_i e_i` then moves by `-gamma_t (1/n) sum_i I_i w_i f_i` exactly, whatever
//! the compressor did.
//!
//! "In time" is the master's verdict "send". A frame that the master refuses after that verdict, or
//! leaves behind on its way, is lost although its worker counts it as delivered.
//!
//! The identity is one of plain SGD with fixed weights. Momentum, Adam and clipping work on what is
//! decoded as on any other gradient.

use learner::{Schedule, learning_rate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// That workers remember what was not delivered, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFeedback {
    /// What becomes of the gradient of a worker that computed it but was late.
    pub on_straggling: OnStraggling,
}

/// What becomes of a coded gradient that was computed in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStraggling {
    /// It is discarded and the memory stays as it is: COCO-EF's rule.
    #[default]
    Keep,
    /// It is remembered in full. Only a worker that computes can remember: under
    /// [`crate::Straggling::Erase`] the master asks everybody and refuses the workers drawn late;
    /// under [`crate::Straggling::Delay`] a worker whose delay passes the deadline computes nothing,
    /// and its memory stays as it is.
    Lost,
}

/// One worker's memory, as data: `e_i = rate * residual`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Logical worker i.
    pub worker: u32,
    /// Learning rate at which the residual was left, rescaled since where w_i has changed.
    pub rate: f64,
    /// The decoding weight w_i that e_i is to be delivered with; 0 where no plan has said it.
    pub weight: f64,
    /// What was not delivered, in units of the gradient; as long as the worker's messages.
    pub residual: Vec<f32>,
}

impl Memory {
    /// e_i in units of the parameters.
    pub fn in_parameter_units(&self) -> Vec<f64> {
        self.residual
            .iter()
            .map(|&r| self.rate * f64::from(r))
            .collect()
    }

    /// Rescales e_i for another decoding weight, so that w_i e_i stays what it was. A worker that a
    /// plan leaves out (weight 0) keeps its memory for the next plan that does not.
    pub(crate) fn rescale(&mut self, weight: f64) {
        rescale(&mut self.rate, &mut self.weight, weight);
    }
}

fn rescale(rate: &mut f64, weight: &mut f64, new: f64) {
    if new == 0.0 {
        return;
    }
    if *weight != 0.0 && *weight != new {
        *rate *= *weight / new;
    }
    *weight = new;
}

/// A handle on the memories of an engine's workers, so that verdicts are settled and memories are
/// read and restored while the engine computes on another thread. Clones share the memories.
#[derive(Clone)]
pub struct SharedMemories(Arc<Mutex<Memories>>);

impl SharedMemories {
    pub(crate) fn new(feedback: ErrorFeedback, schedule: Schedule, iterations: u64) -> Self {
        let memories = Memories::new(feedback, schedule, iterations);
        Self(Arc::new(Mutex::new(memories)))
    }

    /// The memories themselves. Each of their methods leaves them whole even if what it calls
    /// panics, so a poisoned lock is as good as another.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Memories> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns the master's verdict on the frame of `worker` that was computed last. Call it for
    /// every frame, before the worker's next task.
    pub fn settle(&self, worker: u32, accepted: bool) {
        self.lock().settle(worker, accepted);
    }

    /// What `worker` has still to deliver; `None` before its first verdict.
    pub fn get(&self, worker: u32) -> Option<Memory> {
        self.lock().get(worker).cloned()
    }

    /// Continues with a memory exported by [`SharedMemories::get`].
    pub fn restore(&self, memory: Memory) {
        self.lock().restore(memory);
    }
}

/// The memories of the workers that an engine computes for.
pub(crate) struct Memories {
    rule: OnStraggling,
    schedule: Schedule,
    iterations: u64,
    /// Decoding weights of the plan in force; none before the first.
    weights: Vec<f64>,
    held: BTreeMap<u32, Memory>,
    /// Workers whose frame waits for the verdict.
    pending: BTreeMap<u32, Pending>,
    spare: Vec<Vec<f32>>,
}

/// A memory to be, by verdict.
struct Pending {
    rate: f64,
    weight: f64,
    /// (x - C(x)) / gamma_t.
    delivered: Vec<f32>,
    /// x / gamma_t, where a late gradient is remembered.
    lost: Option<Vec<f32>>,
}

impl Memories {
    pub fn new(feedback: ErrorFeedback, schedule: Schedule, iterations: u64) -> Self {
        Self {
            rule: feedback.on_straggling,
            schedule,
            iterations,
            weights: Vec::new(),
            held: BTreeMap::new(),
            pending: BTreeMap::new(),
            spare: Vec::new(),
        }
    }

    fn rate(&self, iteration: u64) -> f64 {
        f64::from(learning_rate(&self.schedule, iteration, self.iterations))
    }

    /// `f_i` -> `f_i + e_i / gamma_t`, the vector to compress. At a rate of 0 the message moves
    /// nothing and the memory waits.
    pub fn add(&self, worker: u32, iteration: u64, gradient: &mut [f32]) {
        let rate = self.rate(iteration);
        let Some(memory) = self.held.get(&worker).filter(|_| rate != 0.0) else {
            return;
        };
        let scale = (memory.rate / rate) as f32; // 1 while the rate is constant
        for (x, &residual) in gradient.iter_mut().zip(&memory.residual) {
            *x += scale * residual;
        }
    }

    /// Holds the two outcomes of a message ready: it carried `x`, and `subtract` takes off what the
    /// receiver reads in it.
    pub fn sent<E>(
        &mut self,
        worker: u32,
        iteration: u64,
        x: &[f32],
        subtract: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.forget_pending(worker);
        let rate = self.rate(iteration);
        if rate == 0.0 {
            return Ok(());
        }
        let mut delivered = self.copy(x);
        subtract(&mut delivered)?;
        let lost = (self.rule == OnStraggling::Lost).then(|| self.copy(x));
        let pending = Pending {
            rate,
            weight: self.weight(worker),
            delivered,
            lost,
        };
        self.pending.insert(worker, pending);
        Ok(())
    }

    /// Takes the verdict on the worker's last message. Does nothing for one without consequences.
    pub fn settle(&mut self, worker: u32, accepted: bool) {
        let Some(pending) = self.pending.remove(&worker) else {
            return;
        };
        let (next, other) = if accepted {
            (Some(pending.delivered), pending.lost)
        } else {
            (pending.lost, Some(pending.delivered))
        };
        self.spare.extend(other);
        if let Some(residual) = next {
            let memory = Memory {
                worker,
                rate: pending.rate,
                weight: pending.weight,
                residual,
            };
            let before = self.held.insert(worker, memory);
            self.spare.extend(before.map(|memory| memory.residual));
        }
    }

    /// Drops what waits for a verdict that changes nothing.
    pub fn forget_pending(&mut self, worker: u32) {
        if let Some(pending) = self.pending.remove(&worker) {
            self.spare.push(pending.delivered);
            self.spare.extend(pending.lost);
        }
    }

    /// Rescales all memories for a plan's decoding weights: w_i e_i stays what it was.
    pub fn set_weights(&mut self, weights: &[f64]) {
        self.weights = weights.to_vec();
        for (&worker, memory) in &mut self.held {
            memory.rescale(weight_in(weights, worker));
        }
        for (&worker, pending) in &mut self.pending {
            let new = weight_in(weights, worker);
            rescale(&mut pending.rate, &mut pending.weight, new);
        }
    }

    fn weight(&self, worker: u32) -> f64 {
        weight_in(&self.weights, worker)
    }

    pub fn get(&self, worker: u32) -> Option<&Memory> {
        self.held.get(&worker)
    }

    pub fn restore(&mut self, mut memory: Memory) {
        self.forget_pending(memory.worker);
        memory.rescale(self.weight(memory.worker));
        self.held.insert(memory.worker, memory);
    }

    fn copy(&mut self, x: &[f32]) -> Vec<f32> {
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(x);
        copy
    }
}

/// A worker's weight; 0 for one that the list does not have.
pub(crate) fn weight_in(weights: &[f64], worker: u32) -> f64 {
    weights.get(worker as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use learner::ScheduleShape;
    use std::convert::Infallible;

    fn memories(on_straggling: OnStraggling, shape: ScheduleShape) -> Memories {
        let schedule = Schedule {
            base: 0.5,
            shape,
            warmup: 0,
            end: 0.0,
        };
        Memories::new(ErrorFeedback { on_straggling }, schedule, 4)
    }

    /// Sends `f` with the memory and a compressor that keeps the first coordinate.
    fn send(memories: &mut Memories, t: u64, f: [f32; 2]) -> [f32; 2] {
        let mut x = f;
        memories.add(3, t, &mut x);
        let done: Result<(), Infallible> = memories.sent(3, t, &x, |rest| {
            rest[0] -= x[0];
            Ok(())
        });
        let Ok(()) = done;
        x
    }

    #[test]
    fn a_delivered_message_leaves_what_the_compressor_dropped() {
        let mut memories = memories(OnStraggling::Keep, ScheduleShape::Constant);
        assert_eq!(send(&mut memories, 0, [1.0, 2.0]), [1.0, 2.0]);
        memories.settle(3, true);
        assert_eq!(send(&mut memories, 1, [1.0, 2.0]), [1.0, 4.0]);
        memories.settle(3, true);
        let memory = memories.get(3).expect("it has one");
        assert_eq!(memory.in_parameter_units(), [0.0, 2.0]);
        assert!(memories.get(2).is_none());
    }

    #[test]
    fn a_late_gradient_is_discarded_or_remembered() {
        for (rule, expected) in [
            (OnStraggling::Keep, [1.0, 4.0]),
            (OnStraggling::Lost, [2.0, 6.0]),
        ] {
            let mut memories = memories(rule, ScheduleShape::Constant);
            send(&mut memories, 0, [1.0, 2.0]);
            memories.settle(3, true);
            send(&mut memories, 1, [1.0, 2.0]);
            memories.settle(3, false);
            assert_eq!(send(&mut memories, 2, [1.0, 2.0]), expected, "{rule:?}");
        }
    }

    #[test]
    fn a_memory_keeps_its_size_in_parameters_when_the_rate_falls() {
        let mut memories = memories(OnStraggling::Keep, ScheduleShape::InverseTime);
        send(&mut memories, 0, [0.0, 2.0]); // rate 1/2
        memories.settle(3, true);
        assert_eq!(send(&mut memories, 1, [0.0, 0.0]), [0.0, 4.0]); // rate 1/4
        memories.settle(3, true);
        let memory = memories.get(3).expect("it has one");
        assert_eq!(memory.in_parameter_units(), [0.0, 1.0]);
    }

    #[test]
    fn nothing_happens_to_a_memory_at_rate_zero() {
        let mut memories = memories(OnStraggling::Lost, ScheduleShape::Cosine);
        send(&mut memories, 0, [0.0, 2.0]);
        memories.settle(3, true);
        let before = memories.get(3).cloned();
        for accepted in [true, false] {
            assert_eq!(send(&mut memories, 4, [1.0, 1.0]), [1.0, 1.0]); // the end of the cosine
            memories.settle(3, accepted);
            assert_eq!(memories.get(3).cloned(), before);
        }
    }

    #[test]
    fn a_memory_survives_export_and_a_change_of_weight() {
        let mut memories = memories(OnStraggling::Keep, ScheduleShape::Constant);
        send(&mut memories, 0, [0.0, 2.0]);
        memories.settle(3, true);
        let memory = memories.get(3).cloned().expect("it has one");
        let text = serde_json::to_string(&memory).expect("plain data");
        let restored = || -> Memory { serde_json::from_str(&text).expect("what was written") };
        let weigh = |weight| [0.0, 0.0, 0.0, weight];
        // Whichever comes first, the plan or the memory.
        for plan_first in [true, false] {
            let mut other = super::tests::memories(OnStraggling::Keep, ScheduleShape::Constant);
            if plan_first {
                other.set_weights(&weigh(2.0));
            }
            other.restore(Memory {
                weight: 6.0,
                ..restored()
            });
            other.set_weights(&weigh(2.0));
            assert_eq!(send(&mut other, 1, [0.0, 0.0]), [0.0, 6.0]);
        }
    }

    /// A plan without the worker is in between: its memory waits, and is worth the same later.
    #[test]
    fn a_memory_outlives_a_plan_that_leaves_its_worker_idle() {
        let mut memories = memories(OnStraggling::Lost, ScheduleShape::Constant);
        memories.set_weights(&[1.0, 1.0, 1.0, 4.0]);
        send(&mut memories, 0, [0.0, 2.0]);
        memories.settle(3, true);
        send(&mut memories, 1, [0.0, 1.0]); // its verdict comes under another plan
        for weight in [0.0, 2.0] {
            memories.set_weights(&[1.0, 1.0, 1.0, weight]);
        }
        let memory = memories.get(3).expect("it has one");
        assert_eq!((memory.rate, memory.weight), (1.0, 2.0));
        memories.settle(3, false);
        assert_eq!(send(&mut memories, 2, [0.0, 0.0]), [0.0, 6.0]);
    }
}
