//! The decoded gradient, formed while frames arrive.

use gradient_code::{Decoder, Plan, SecondTrack};
use gradient_codec::{Frame, FrameError, Rotation, accumulate_many, accumulate_rotated};
use learner::Second;

use crate::buffer::Buffer;
use crate::expected::Messages;
use crate::norms::{Limits, Norms};

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is not what the plan calls for.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is far larger than others.
    #[error("use a message of size {size:.3e}, where the median is {median:.3e}")]
    Exploded { size: f64, median: f64 },
}

/// ghat / n = (1/n) sum_i I_i w_i Q_i(f_i), eq (2) of Song & Choi, and beside it the second track
/// and the losses that came with the frames.
///
/// Where messages mix m blocks of the gradient (CE-AGC, Munim & Ramamoorthy 2026, arXiv 2603.22514),
/// block u of ghat is `sum_i R(i,u) Q_i(f_i)`.
pub(crate) struct Estimate {
    /// ghat / n: d coordinates, and zeros up to m whole blocks.
    sum: Vec<f32>,
    dimension: usize,
    second: Option<Vec<f32>>,
    /// What all frames of the round are rotated with, and the sums until they are finished.
    rotation: Option<Rotation>,
    /// Frames that wait for the responder set (decoders with per-round weights).
    kept: Vec<Kept>,
    /// Responders: in folding order, and once the round is finished in the order of `weights`.
    pub responders: Vec<usize>,
    /// Per-round decoders: R, the responders' weights, r x m.
    weights: Vec<f64>,
    /// norm(R) of a per-round decoder.
    decoder_norm: f64,
    /// sum_i w_i sum_j a_ij loss_j / n.
    loss_decoded: f64,
    /// Loss of every partition heard of.
    partition_loss: Vec<Option<f64>>,
    /// Per worker: the mean loss over its partitions; NaN when it was not heard of.
    pub worker_loss: Vec<f64>,
    /// Compressed payload bits of the accepted frames.
    pub payload_bits: u64,
}

/// A frame that waits.
struct Kept {
    worker: usize,
    buffer: Buffer,
    /// 1 unless the message is clipped.
    factor: f64,
}

/// What became of a frame.
pub(crate) struct Folded {
    pub worker: usize,
    /// The frame's buffer, unless the decoder has to keep it.
    pub buffer: Option<Buffer>,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
}

impl Estimate {
    pub fn new(plan: &Plan, dimension: usize) -> Self {
        let tracks = matches!(
            plan.decoder,
            Decoder::Fixed {
                second: Some(SecondTrack::Weights(_)),
                ..
            }
        );
        Self {
            sum: vec![0.0; plan.blocks() * plan.message_len(dimension)],
            dimension,
            second: tracks.then(|| vec![0.0; dimension]),
            rotation: None,
            kept: Vec::new(),
            responders: Vec::new(),
            weights: Vec::new(),
            decoder_norm: f64::NAN,
            loss_decoded: 0.0,
            partition_loss: vec![None; plan.partitions],
            worker_loss: vec![f64::NAN; plan.workers.len()],
            payload_bits: 0,
        }
    }

    /// Forgets the last round; the next one's frames share `rotation`, or none.
    pub fn clear(&mut self, rotation: Option<Rotation>) {
        self.rotation = rotation;
        self.sum.fill(0.0);
        if let Some(second) = &mut self.second {
            second.fill(0.0);
        }
        self.kept.clear();
        self.responders.clear();
        self.weights.clear();
        self.decoder_norm = f64::NAN;
        self.loss_decoded = 0.0;
        self.partition_loss.fill(None);
        self.worker_loss.fill(f64::NAN);
        self.payload_bits = 0;
    }

    /// Checks frames (worker and buffer) and folds those in that pass, in the order given, in one pass
    /// over the gradient. The sum has the same bits as if they had come one by one. Says of each what
    /// became of it.
    ///
    /// A frame is refused if it is not exactly what the plan calls for, or exploded: it then changes
    /// nothing.
    pub fn fold(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        iteration: u64,
        frames: Vec<(usize, Buffer)>,
        (norms, limits): (&mut Norms, Limits),
    ) -> Vec<Folded> {
        let mut admitted = Vec::new();
        let mut verdicts = Vec::new();
        for (worker, buffer) in &frames {
            let verdict = messages
                .parse(*worker, iteration, buffer)
                .map_err(Refusal::from)
                .and_then(|frame| {
                    let size = frame.magnitude();
                    let factor = norms
                        .admit(*worker, size, limits)
                        .map_err(|median| Refusal::Exploded { size, median })?;
                    admitted.push((*worker, frame, factor));
                    Ok(factor)
                });
            verdicts.push(verdict);
        }
        for (worker, frame, _) in &admitted {
            self.hear(plan, *worker, frame);
            self.payload_bits += messages.payload_bits(*worker);
        }
        if let Decoder::Fixed { weights, second } = &plan.decoder {
            let n = plan.partitions as f64;
            let weighted = |weights: &[f64]| -> Vec<_> {
                let weight = |worker: usize, factor| (factor * weights[worker] / n) as f32;
                let with_weight = |(worker, frame, factor): &_| (*frame, weight(*worker, *factor));
                admitted.iter().map(with_weight).collect()
            };
            add(self.rotation.as_ref(), &weighted(weights), &mut self.sum);
            if let (Some(SecondTrack::Weights(v)), Some(track)) = (second, &mut self.second) {
                add(self.rotation.as_ref(), &weighted(v), track);
            }
        }
        let keeps = matches!(plan.decoder, Decoder::PerRound(_));
        let outcome = |((worker, buffer), verdict)| {
            let (buffer, refusal) = match verdict {
                Ok(factor) if keeps => {
                    self.kept.push(Kept {
                        worker,
                        buffer,
                        factor,
                    });
                    (None, None)
                }
                Ok(_) => (Some(buffer), None),
                Err(refusal) => (Some(buffer), Some(refusal)),
            };
            Folded {
                worker,
                buffer,
                refusal,
            }
        };
        frames.into_iter().zip(verdicts).map(outcome).collect()
    }

    /// Notes an accepted frame's worker and losses.
    fn hear(&mut self, plan: &Plan, worker: usize, frame: &Frame<'_>) {
        self.responders.push(worker);
        let (mut coded_loss, mut loss_sum) = (0.0, 0.0);
        for (&(partition, coefficient), loss) in
            plan.workers[worker].assignment.iter().zip(losses_of(frame))
        {
            self.partition_loss[partition] = Some(loss);
            coded_loss += coefficient * loss;
            loss_sum += loss;
        }
        self.worker_loss[worker] = loss_sum / plan.workers[worker].load() as f64;
        if let Decoder::Fixed { weights, .. } = &plan.decoder {
            self.loss_decoded += weights[worker] * coded_loss / plan.partitions as f64;
        }
    }

    /// Completes the decoding once the responder set is known, and undoes a shared rotation; hands the
    /// kept buffers back.
    /// `arrivals[i]` is when worker i arrived, on any clock: a decoder may care who came first.
    ///
    /// # Errors
    /// If the decoder has no weights for this set.
    pub fn finish(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        iteration: u64,
        arrivals: &[f64],
    ) -> Result<Vec<Buffer>, String> {
        let kept = match plan.decoder {
            Decoder::Fixed { .. } => Vec::new(),
            Decoder::PerRound(_) => self.decode_kept(plan, messages, iteration, arrivals)?,
        };
        if let Some(rotation) = self.rotation.take() {
            let length = self.sum.len() / plan.blocks();
            let sums = self.sum.chunks_exact_mut(length);
            sums.for_each(|sum| rotation.invert(sum));
            if let Some(track) = &mut self.second {
                rotation.invert(track);
            }
        }
        Ok(kept)
    }

    /// Finds the weights of a per-round decoder and adds the frames that were kept for them.
    fn decode_kept(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        iteration: u64,
        arrivals: &[f64],
    ) -> Result<Vec<Buffer>, String> {
        let arrival = |worker: usize| (arrivals[worker], worker);
        self.responders.sort_by(|&a, &b| {
            let ((a, i), (b, j)) = (arrival(a), arrival(b));
            a.total_cmp(&b).then(i.cmp(&j))
        });
        let round = plan
            .decoder
            .round(&self.responders, plan, iteration)
            .map_err(|error| error.to_string())?;
        self.weights = round.weights;
        self.decoder_norm = round.amplification.sqrt();
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_by_key(|kept| kept.worker); // sums of f32 are made in a fixed order
        let (n, blocks) = (plan.partitions as f64, plan.blocks());
        let length = self.sum.len() / blocks;
        let mut frames = Vec::new();
        for kept in &kept {
            let frame = messages
                .reopen(kept.worker, iteration, &kept.buffer)
                .map_err(|error| error.to_string())?;
            let Some(at) = self.responders.iter().position(|i| *i == kept.worker) else {
                continue; // whoever has a frame here is among them
            };
            let weights = &self.weights[at * blocks..][..blocks];
            frames.push((frame, kept.factor, weights));
            // A loss has no blocks: each block's coefficients decode it, and their mean is taken.
            let fold = plan.fold(kept.worker, iteration);
            let held = plan.workers[kept.worker].assignment.iter();
            for (at, (&(_, coefficient), loss)) in held.zip(losses_of(&frame)).enumerate() {
                let factors = (0..blocks).map(|u| weights[u] * fold.factor(at, u, blocks));
                let decoded = factors.sum::<f64>() * coefficient * loss;
                self.loss_decoded += decoded / (n * blocks as f64);
            }
        }
        for (u, sum) in self.sum.chunks_exact_mut(length).enumerate() {
            let weighted = frames
                .iter()
                .map(|(frame, factor, weights)| (*frame, (factor * weights[u] / n) as f32));
            add(self.rotation.as_ref(), &weighted.collect::<Vec<_>>(), sum);
        }
        Ok(kept.into_iter().map(|kept| kept.buffer).collect())
    }

    /// ghat / n, d coordinates.
    pub fn gradient(&self) -> &[f32] {
        &self.sum[..self.dimension]
    }

    /// Each responder's weight in each of the m blocks, in the order of `responders`; once finished.
    pub fn weights(&self, plan: &Plan) -> Vec<Vec<f64>> {
        match &plan.decoder {
            Decoder::Fixed { weights, .. } => self
                .responders
                .iter()
                .map(|&worker| vec![weights[worker]])
                .collect(),
            Decoder::PerRound(_) => self
                .weights
                .chunks_exact(plan.blocks())
                .map(<[f64]>::to_vec)
                .collect(),
        }
    }

    /// Frobenius norm of the weights of a per-round decoder, 0 in an empty round; NaN where weights
    /// are the same in every round.
    pub fn decoder_norm(&self) -> f64 {
        self.decoder_norm
    }

    /// What the optimizer's second moment sees.
    pub fn second<'a>(&'a self, plan: &Plan) -> Second<'a> {
        match (&plan.decoder, &self.second) {
            (_, Some(track)) => Second::Track(track),
            (
                Decoder::Fixed {
                    second: Some(SecondTrack::Scaled(kappa)),
                    ..
                },
                None,
            ) => Second::Scaled(*kappa as f32),
            _ => Second::Same,
        }
    }

    /// Mean loss over the partitions heard of; NaN in an empty round.
    pub fn loss(&self) -> f64 {
        let heard = || self.partition_loss.iter().flatten();
        heard().sum::<f64>() / heard().count() as f64
    }

    /// Decoded estimate of the mean loss over all partitions; NaN in an empty round.
    pub fn loss_decoded(&self) -> f64 {
        if self.responders.is_empty() {
            f64::NAN
        } else {
            self.loss_decoded
        }
    }
}

/// `sum += weight * Q(f)` for every frame in one pass, in the coordinates of the shared rotation if
/// there is one.
fn add(rotation: Option<&Rotation>, frames: &[(Frame<'_>, f32)], sum: &mut [f32]) {
    match rotation {
        Some(shared) => accumulate_rotated(shared, frames, sum),
        None => accumulate_many(frames, sum),
    }
}

/// The losses in a frame's tail, in the order of the assignment; each is followed by its number of
/// samples.
fn losses_of(frame: &Frame<'_>) -> impl Iterator<Item = f64> {
    frame.tail().step_by(2).map(f64::from)
}
