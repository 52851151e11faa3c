//! The decoded gradient, formed while frames arrive.

use gradient_code::{Decoder, Plan, SecondTrack};
use gradient_codec::{Expected, Frame, FrameError, Preset, QuantizerError};
use learner::Second;

use crate::buffer::Buffer;
use crate::worker::tail_len;

/// ghat / n = (1/n) sum_i I_i w_i Q_i(f_i), eq (2) of Song & Choi, and beside it the second track
/// and the losses that came with the frames.
pub(crate) struct Estimate {
    /// ghat / n, d coordinates.
    pub gradient: Vec<f32>,
    second: Option<Vec<f32>>,
    /// Frames that wait for the responder set, in arrival order (decoders with per-round weights).
    kept: Vec<(usize, Buffer)>,
    /// Responders so far, in folding order.
    pub responders: Vec<usize>,
    /// sum_i w_i sum_j a_ij loss_j / n.
    loss_decoded: f64,
    /// Loss of every partition heard of.
    partition_loss: Vec<Option<f64>>,
    /// Per worker: sum_j a_ij loss_j.
    coded_loss: Vec<f64>,
    /// Per worker: the mean loss over its partitions; NaN when it was not heard of.
    pub worker_loss: Vec<f64>,
    /// Compressed payload bits of the accepted frames.
    pub payload_bits: u64,
}

/// The per-message quantities of a plan that the master needs again and again.
pub(crate) struct Messages {
    expected: Vec<Option<Expected>>,
    payload_bits: Vec<u64>,
    frame_bytes: Vec<usize>,
}

impl Messages {
    /// The frames that `plan` calls for, for a model of `dimension` coordinates.
    pub fn new(plan: &Plan, preset: &Preset, dimension: usize) -> Result<Self, QuantizerError> {
        let mut messages = Self {
            expected: Vec::new(),
            payload_bits: Vec::new(),
            frame_bytes: Vec::new(),
        };
        for (i, worker) in plan.workers.iter().enumerate() {
            if worker.is_idle() {
                messages.expected.push(None);
                messages.payload_bits.push(0);
                messages.frame_bytes.push(0);
                continue;
            }
            let compressor = preset.compressor(worker.bits, dimension)?;
            let tail = tail_len(worker.assignment.len());
            messages.expected.push(Some(Expected {
                iteration: 0,
                worker: i as u32,
                compressor,
                tail,
            }));
            messages.payload_bits.push(compressor.payload_bits());
            messages.frame_bytes.push(compressor.frame_len(tail));
        }
        Ok(messages)
    }

    /// Length of worker i's frame in bytes; 0 for an idle worker.
    pub fn frame_bytes(&self, worker: usize) -> usize {
        self.frame_bytes[worker]
    }

    /// Bits that all workers would send in one round had nobody been late.
    pub fn offered_bits(&self) -> u64 {
        self.payload_bits.iter().sum()
    }

    fn parse<'a>(
        &self,
        worker: usize,
        iteration: u64,
        frame: &'a Buffer,
    ) -> Result<Frame<'a>, FrameError> {
        let expected = Expected {
            iteration,
            ..self.expected[worker].expect("idle workers are never asked")
        };
        Frame::parse(frame.bytes(), &expected)
    }
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
            gradient: vec![0.0; dimension],
            second: tracks.then(|| vec![0.0; dimension]),
            kept: Vec::new(),
            responders: Vec::new(),
            loss_decoded: 0.0,
            partition_loss: vec![None; plan.partitions],
            coded_loss: vec![0.0; plan.workers.len()],
            worker_loss: vec![f64::NAN; plan.workers.len()],
            payload_bits: 0,
        }
    }

    /// Forgets the last round.
    pub fn clear(&mut self) {
        self.gradient.fill(0.0);
        if let Some(second) = &mut self.second {
            second.fill(0.0);
        }
        self.kept.clear();
        self.responders.clear();
        self.loss_decoded = 0.0;
        self.partition_loss.fill(None);
        self.worker_loss.fill(f64::NAN);
        self.payload_bits = 0;
    }

    /// Checks a frame and folds it in; hands the buffer back unless the decoder has to keep it.
    ///
    /// # Errors
    /// If the frame is not exactly what the plan calls for: it is refused and changes nothing.
    pub fn fold(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        worker: usize,
        iteration: u64,
        buffer: Buffer,
    ) -> Result<Option<Buffer>, (FrameError, Buffer)> {
        let frame = match messages.parse(worker, iteration, &buffer) {
            Ok(frame) => frame,
            Err(error) => return Err((error, buffer)),
        };
        self.responders.push(worker);
        self.payload_bits += messages.payload_bits[worker];
        let (mut coded_loss, mut loss_sum) = (0.0, 0.0);
        let losses = frame.tail().step_by(2); // each is followed by its number of samples
        for (&(partition, coefficient), loss) in plan.workers[worker].assignment.iter().zip(losses)
        {
            let loss = f64::from(loss);
            self.partition_loss[partition] = Some(loss);
            coded_loss += coefficient * loss;
            loss_sum += loss;
        }
        self.coded_loss[worker] = coded_loss;
        self.worker_loss[worker] = loss_sum / plan.workers[worker].load() as f64;
        match &plan.decoder {
            Decoder::Fixed { weights, second } => {
                let n = plan.partitions as f64;
                self.loss_decoded += weights[worker] * coded_loss / n;
                frame.accumulate((weights[worker] / n) as f32, &mut self.gradient);
                if let (Some(SecondTrack::Weights(v)), Some(track)) = (second, &mut self.second) {
                    frame.accumulate((v[worker] / n) as f32, track);
                }
                Ok(Some(buffer))
            }
            Decoder::PerRound(_) => {
                self.kept.push((worker, buffer));
                Ok(None)
            }
        }
    }

    /// Completes the decoding once the responder set is known; hands the kept buffers back.
    ///
    /// # Errors
    /// If the decoder has no weights for this set.
    pub fn finish(
        &mut self,
        plan: &Plan,
        messages: &Messages,
        iteration: u64,
    ) -> Result<Vec<Buffer>, String> {
        if self.kept.is_empty() {
            return Ok(Vec::new());
        }
        // The decoder may care who came first; the sums of f32 are made in a fixed order.
        let round = plan
            .decoder
            .round(&self.responders, plan, iteration)
            .map_err(|error| error.to_string())?;
        let mut weights = vec![0.0; plan.workers.len()];
        for (&worker, weight) in self.responders.iter().zip(round.weights) {
            weights[worker] = weight;
        }
        self.kept.sort_by_key(|(worker, _)| *worker);
        let n = plan.partitions as f64;
        let kept = std::mem::take(&mut self.kept);
        for (worker, buffer) in &kept {
            let weight = weights[*worker];
            let frame = messages
                .parse(*worker, iteration, buffer)
                .map_err(|error| error.to_string())?;
            frame.accumulate((weight / n) as f32, &mut self.gradient);
            self.loss_decoded += weight * self.coded_loss[*worker] / n;
        }
        Ok(kept.into_iter().map(|(_, buffer)| buffer).collect())
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
