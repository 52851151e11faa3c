//! The decoded gradient, formed while frames arrive.

use gradient_code::{Decoder, Plan, SecondTrack};
use gradient_codec::{Frame, FrameError, Rotation};
use learner::{LearnerError, Second};

use crate::buffer::Buffer;
use crate::expected::Messages;
use crate::norms::{Limits, Norms};
use crate::sums::Summing;

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

/// Why a round cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Undecoded {
    /// The responders have no weights.
    #[error("{0}")]
    Weights(String),
    /// The device that adds up the frames failed.
    #[error(transparent)]
    Sums(#[from] LearnerError),
}

/// ghat / n = (1/n) sum_i I_i w_i Q_i(f_i), eq (2) of Song & Choi, and beside it the second track
/// and the losses that came with the frames.
///
/// Where messages mix m blocks of the gradient (CE-AGC, Munim & Ramamoorthy 2026, arXiv 2603.22514),
/// block u of ghat is `sum_i R(i,u) Q_i(f_i)`.
pub(crate) struct Estimate {
    /// ghat / n: d coordinates, and zeros up to m whole blocks, each of them a sum; or one sum of d
    /// coordinates, and the second track as another.
    sums: Summing,
    /// How many sums, and coordinates in each.
    shape: (usize, usize),
    dimension: usize,
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
    pub fn new(plan: &Plan, dimension: usize, sums: Summing) -> Self {
        Self {
            sums,
            shape: match second_weights(plan) {
                Some(_) => (2, dimension),
                None => (plan.blocks(), plan.message_len(dimension)),
            },
            dimension,
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

    /// The estimate of another plan, summed in the same place.
    pub fn turn_to(&mut self, plan: &Plan, dimension: usize) {
        let sums = std::mem::replace(&mut self.sums, Summing::new(None));
        *self = Self::new(plan, dimension, sums);
    }

    /// Makes sure that the plan's messages can be added where the sums are: [`Summing::prepare`].
    pub fn prepare(&mut self, messages: &Messages) -> Option<String> {
        let (count, length) = self.shape;
        self.sums.prepare(messages, count, length)
    }

    /// Where the sums are made.
    pub fn device(&self) -> String {
        self.sums.device()
    }

    /// Whether [`Estimate::finish`] has work to do on every coordinate.
    pub fn finishing_takes_time(&self, plan: &Plan) -> bool {
        let added = matches!(plan.decoder, Decoder::Fixed { .. });
        !added || self.rotation.is_some() || self.sums.on_device()
    }

    /// Forgets the last round; the next one's frames share `rotation`, or none.
    pub fn clear(&mut self, rotation: Option<Rotation>) -> Result<(), LearnerError> {
        let (count, length) = self.shape;
        self.sums.get().clear(count, length)?;
        self.rotation = rotation;
        self.kept.clear();
        self.responders.clear();
        self.weights.clear();
        self.decoder_norm = f64::NAN;
        self.loss_decoded = 0.0;
        self.partition_loss.fill(None);
        self.worker_loss.fill(f64::NAN);
        self.payload_bits = 0;
        Ok(())
    }

    /// Checks frames (worker and buffer) and folds those in that pass, in the order given, in one pass
    /// over the gradient. The sum has the same bits as if they had come one by one. Says of each what
    /// became of it.
    ///
    /// A frame is refused if it is not exactly what the plan calls for, or exploded: it then changes
    /// nothing.
    ///
    /// # Errors
    /// If the device that adds them up fails; the round is lost then.
    pub fn fold(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        iteration: u64,
        frames: Vec<(usize, Buffer)>,
        (norms, limits): (&mut Norms, Limits),
    ) -> Result<Vec<Folded>, LearnerError> {
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
        if let Decoder::Fixed { weights, .. } = &plan.decoder {
            let n = plan.partitions as f64;
            let tracks = || std::iter::once(weights).chain(second_weights(plan));
            let frames = admitted.iter().map(|(worker, frame, factor)| {
                let weight = |weights: &Vec<f64>| (factor * weights[*worker] / n) as f32;
                (*frame, tracks().map(weight).collect())
            });
            let frames: Vec<_> = frames.collect();
            self.sums.get().add(self.rotation.as_ref(), &frames)?;
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
        Ok(frames.into_iter().zip(verdicts).map(outcome).collect())
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
    /// If the decoder has no weights for this set, or the device that adds up the frames fails.
    pub fn finish(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        iteration: u64,
        arrivals: &[f64],
    ) -> Result<Vec<Buffer>, Undecoded> {
        let kept = match plan.decoder {
            Decoder::Fixed { .. } => Vec::new(),
            Decoder::PerRound(_) => self.decode_kept(plan, messages, iteration, arrivals)?,
        };
        self.sums.get().finish(self.rotation.take().as_ref())?;
        Ok(kept)
    }

    /// Finds the weights of a per-round decoder and adds the frames that were kept for them.
    fn decode_kept(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        iteration: u64,
        arrivals: &[f64],
    ) -> Result<Vec<Buffer>, Undecoded> {
        let arrival = |worker: usize| (arrivals[worker], worker);
        self.responders.sort_by(|&a, &b| {
            let ((a, i), (b, j)) = (arrival(a), arrival(b));
            a.total_cmp(&b).then(i.cmp(&j))
        });
        let round = plan
            .decoder
            .round(&self.responders, plan, iteration)
            .map_err(|error| Undecoded::Weights(error.to_string()))?;
        self.weights = round.weights;
        self.decoder_norm = round.amplification.sqrt();
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_by_key(|kept| kept.worker); // sums of f32 are made in a fixed order
        let (n, blocks) = (plan.partitions as f64, plan.blocks());
        let mut frames = Vec::new();
        for kept in &kept {
            let frame = messages
                .reopen(kept.worker, iteration, &kept.buffer)
                .map_err(|error| Undecoded::Weights(error.to_string()))?;
            let Some(at) = self.responders.iter().position(|i| *i == kept.worker) else {
                continue; // whoever has a frame here is among them
            };
            let weights = &self.weights[at * blocks..][..blocks];
            let scaled = weights.iter().map(|w| (kept.factor * w / n) as f32);
            frames.push((frame, scaled.collect()));
            // A loss has no blocks: each block's coefficients decode it, and their mean is taken.
            let fold = plan.fold(kept.worker, iteration);
            let held = plan.workers[kept.worker].assignment.iter();
            for (at, (&(_, coefficient), loss)) in held.zip(losses_of(&frame)).enumerate() {
                let factors = (0..blocks).map(|u| weights[u] * fold.factor(at, u, blocks));
                let decoded = factors.sum::<f64>() * coefficient * loss;
                self.loss_decoded += decoded / (n * blocks as f64);
            }
        }
        self.sums.get().add(self.rotation.as_ref(), &frames)?;
        Ok(kept.into_iter().map(|kept| kept.buffer).collect())
    }

    /// ghat / n, d coordinates.
    pub fn gradient(&self) -> &[f32] {
        &self.sums.values()[..self.dimension]
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
        match &plan.decoder {
            Decoder::Fixed {
                second: Some(SecondTrack::Weights(_)),
                ..
            } => Second::Track(&self.sums.values()[self.dimension..]),
            Decoder::Fixed {
                second: Some(SecondTrack::Scaled(kappa)),
                ..
            } => Second::Scaled(*kappa as f32),
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

/// The weights of a second track that is decoded beside the gradient.
fn second_weights(plan: &Plan) -> Option<&Vec<f64>> {
    match &plan.decoder {
        Decoder::Fixed {
            second: Some(SecondTrack::Weights(weights)),
            ..
        } => Some(weights),
        _ => None,
    }
}

/// The losses in a frame's tail, in the order of the assignment; each is followed by its number of
/// samples.
fn losses_of(frame: &Frame<'_>) -> impl Iterator<Item = f64> {
    frame.tail().step_by(2).map(f64::from)
}
