//! One round of the protocol: tasks out, headers in until the deadline, frames of those in time.
//!
//! ```text
//! worker:  idle --task--> computing --header--> [verdict: send] --frame--> idle
//!                                        \----> [verdict: drop] ---------> idle
//! ```
//!
//! Arrival means header before the deadline. A late header is answered with "drop" at once, so a
//! late gradient never crosses the wire and its worker is free for the newest model; a worker that
//! is still busy when a round opens is not sent that round's model and counts as late.

use crate::buffer::Buffer;
use crate::downlink::Model;
use crate::error::RunError;
use crate::estimate::{Refusal, Undecoded};
use crate::master::Master;
use crate::message::{Header, Task};
use crate::straggling::RoundTiming;
use crate::transport::beside_if_large;
use gradient_codec::FrameError;
use learner::LearnerError;
use run_log::IterationRow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A round that is open.
pub(crate) struct Round {
    pub(crate) sequence: u64,
    pub(crate) iteration: u64,
    /// Start on the transport's clock.
    pub(crate) started: f64,
    pub(crate) timing: RoundTiming,
    /// Workers that were sent this round's task, ascending.
    pub(crate) asked: Vec<usize>,
    /// Per worker: rounds before this one for whose task it was still busy when this one opened.
    pub(crate) behind: Vec<u64>,
}

impl Round {
    fn deadline(&self) -> f64 {
        self.started + self.timing.deadline
    }
}

/// The state of gathering.
#[derive(Default)]
pub(crate) struct Gathering {
    /// Asked workers that have not reported.
    pub(crate) unreported: Vec<usize>,
    /// Headers in time that wait for a grant, in the order in which they may be granted.
    pub(crate) in_time: VecDeque<Header>,
    /// Workers whose frame was granted and has not been folded, in granting order.
    pub(crate) granted: VecDeque<usize>,
    /// When each worker's frame was granted, on the transport's clock.
    pub(crate) granted_at: BTreeMap<usize, f64>,
    /// Frames that have arrived, by worker, until their turn to be folded.
    pub(crate) arrived: BTreeMap<usize, Buffer>,
    /// No further header counts.
    pub(crate) closed: bool,
}

impl Master<'_> {
    /// Sends iteration t's task to every idle worker that has data and is not erased (to the erased
    /// too, where they remember what they computed in vain). When nobody is idle, waits for the
    /// first late one instead of spinning through empty rounds.
    ///
    /// `None` when the run is told to stop meanwhile.
    pub(crate) fn open_round(&mut self, t: u64, beta: &Model) -> Result<Option<Round>, RunError> {
        self.give_up_silent(t)?;
        if !self.wait_for_an_idle_worker(t)? {
            return Ok(None);
        }
        let timing = if self.plan.no_straggling {
            self.clockwork.calibration() // nobody is delayed, everybody is waited for
        } else {
            self.clockwork.round(t)
        };
        self.ask(t, timing, beta, false).map(Some)
    }

    /// Runs the rounds in which only times are learnt: everybody is waited for, nothing is sent up.
    pub(crate) fn calibrate(&mut self) -> Result<(), RunError> {
        if self.clockwork.calibration_rounds() == 0 {
            return Ok(());
        }
        let beta = self.publish_model(self.first)?;
        for c in 0..self.clockwork.calibration_rounds() {
            let timing = self.clockwork.calibration();
            let mut round = self.ask(c, timing, &beta, true)?;
            round.timing.deadline = f64::NEG_INFINITY; // every header is late: drop its frame
            let mut events = Vec::new();
            while round
                .asked
                .iter()
                .any(|&i| self.roster.busy_with(i).is_some())
            {
                if self.must_stop() {
                    return Ok(()); // before the first iteration
                }
                let until = round.started + self.settings.silence_timeout;
                self.transport.poll(self.until(until), &mut events)?;
                let quiet = events.is_empty();
                for event in events.drain(..) {
                    self.receive(event, &round, None, &mut IterationRow::new(0, 0))?;
                }
                if quiet && self.transport.now() >= until {
                    self.lose_unheard(&round, "silent during calibration");
                }
            }
            self.check_alive(0)?;
            self.clockwork.calibrated(c);
        }
        Ok(())
    }

    fn ask(
        &mut self,
        t: u64,
        timing: RoundTiming,
        beta: &Model,
        calibration: bool,
    ) -> Result<Round, RunError> {
        self.sequence += 1;
        let started = self.transport.now();
        let mut asked = Vec::new();
        let busy_with = |i| self.roster.busy_with(i).unwrap_or(self.sequence);
        let behind = (0..self.plan.workers.len())
            .map(|i| self.sequence - busy_with(i))
            .collect();
        for i in 0..self.plan.workers.len() {
            let wanted = !timing.erased[i] || self.settings.remembers_the_late();
            if self.plan.workers[i].is_idle() || !self.roster.is_idle(i) || !wanted {
                continue;
            }
            // Who is drawn late and asked all the same is refused for it, not for being late.
            let drawn = self.clockwork.drawn();
            let sleeps = !(drawn && (self.transport.real_time() || timing.erased[i]));
            let task = Task {
                sequence: self.sequence,
                iteration: t,
                worker: i as u32,
                injected_delay: if sleeps { timing.delays[i] } else { 0.0 },
                deadline: timing.deadline,
                calibration,
                measured: !calibration && self.settings.distortion.measures(t),
            };
            self.transport.start(task, beta)?;
            self.roster.begin(i, self.sequence, started);
            asked.push(i);
        }
        Ok(Round {
            sequence: self.sequence,
            iteration: t,
            started,
            timing,
            asked,
            behind,
        })
    }

    /// Gathers the round: ghat is complete in `self.estimate` when this returns. Returns the
    /// seconds spent waiting for workers; `None` when the run was told to stop and the round would
    /// have kept it waiting for too long.
    pub(crate) fn gather(
        &mut self,
        round: &Round,
        row: &mut IterationRow,
    ) -> Result<Option<f64>, RunError> {
        let rotation = self.messages.shared_rotation(round.iteration);
        let cleared = self.estimate.clear(rotation);
        cleared.map_err(|source| self.device_failed(round.iteration, source))?;
        self.not_finite = false;
        row.deadline = round.timing.deadline;
        let mut state = Gathering {
            unreported: round.asked.clone(),
            ..Gathering::default()
        };
        let mut events = Vec::new();
        let (mut waited, mut decoded) = (0.0, 0.0);
        let mut last_event = self.transport.now();
        let mut moved = self.transport.traffic().up;
        loop {
            // Whenever something has changed, be it that a worker was given up.
            let folding = Instant::now();
            self.fold(&mut state, round, row)?;
            decoded += folding.elapsed().as_secs_f64();
            state.closed |= state.unreported.is_empty();
            if state.closed && state.in_time.is_empty() && state.granted.is_empty() {
                break;
            }
            self.grant(&mut state)?; // after folding, which makes room
            let patience = last_event + self.patience(&state, round);
            // Drawn arrivals have no deadline: the workers that were asked are the ones that come.
            let deadline = if state.closed || self.clockwork.drawn() {
                f64::INFINITY
            } else {
                round.deadline()
            };
            let polled = Instant::now();
            if self.abandons(round) {
                return Ok(None);
            }
            self.transport
                .poll(self.until(deadline.min(patience)), &mut events)?;
            waited += polled.elapsed().as_secs_f64();
            let now = self.transport.now();
            let traffic = self.transport.traffic().up;
            if !events.is_empty() || traffic != moved {
                (last_event, moved) = (now, traffic);
            }
            for event in events.drain(..) {
                self.receive(event, round, Some(&mut state), row)?;
            }
            if now >= deadline {
                state.closed = true;
            }
            if now >= patience && last_event < now {
                if now - last_event >= self.settings.silence_timeout {
                    self.lose_waited_for(&mut state, round);
                } else if state.closed {
                    self.leave_behind(&mut state, row);
                }
                last_event = now;
            }
        }
        let finishing = Instant::now();
        // Drawn workers arrive when the draw says so, in whatever order they really computed.
        let arrivals = match self.clockwork.drawn() {
            true => &round.timing.delays,
            false => &row.per_worker.arrival_time,
        };
        let (estimate, plan, messages) = (&mut self.estimate, &self.plan, &self.messages);
        let coordinates = match estimate.finishing_takes_time(plan) {
            true => self.parameters.len(),
            false => 0,
        };
        let work = || estimate.finish(plan, messages, round.iteration, arrivals);
        let (finished, moved) = beside_if_large(coordinates, self.transport, work);
        moved?;
        let kept = finished.map_err(|error| match error {
            Undecoded::Sums(source) => self.device_failed(round.iteration, source),
            Undecoded::Weights(reason) => RunError::Decode {
                iteration: round.iteration,
                reason,
            },
        })?;
        for buffer in kept {
            self.transport.recycle(buffer);
        }
        row.seconds_decode = decoded + finishing.elapsed().as_secs_f64();
        self.fill_per_worker(round, row);
        self.judge(round.iteration);
        let every = self.settings.relative_error_every;
        if every > 0 && round.iteration.is_multiple_of(every) {
            let checking = Instant::now();
            row.relative_error = self.relative_error(round.iteration)?;
            row.seconds_check = checking.elapsed().as_secs_f64();
        }
        Ok(Some(waited))
    }

    /// Grants frames while there is room, in arrival order; in worker order when arrivals are
    /// drawn, so that sums are reproducible to the bit.
    fn grant(&mut self, state: &mut Gathering) -> Result<(), RunError> {
        if self.clockwork.drawn() {
            state
                .in_time
                .make_contiguous()
                .sort_by_key(|header| header.worker);
        }
        while state.granted.len() < self.settings.grants.max(1)
            && let Some(next) = state.in_time.front()
        {
            let worker = next.worker as usize;
            if self.clockwork.drawn() && state.unreported.iter().any(|&i| i < worker) {
                break; // a lower worker will come first
            }
            let header = *next;
            state.in_time.pop_front();
            state.granted.push_back(worker);
            state.granted_at.insert(worker, self.transport.now());
            self.transport.verdict(&header, true)?;
        }
        Ok(())
    }

    /// Folds the frames whose turn it is into the estimate, all that have arrived in one pass.
    fn fold(
        &mut self,
        state: &mut Gathering,
        round: &Round,
        row: &mut IterationRow,
    ) -> Result<(), RunError> {
        let t = round.iteration;
        let frames = state.take_ready(self.clockwork.drawn());
        if frames.is_empty() {
            return Ok(());
        }
        for (worker, frame) in &frames {
            row.per_worker.bits[*worker] = 8 * frame.bytes().len() as i64;
        }
        let coordinates = self.parameters.len();
        let (estimate, plan, messages) = (&mut self.estimate, &self.plan, &self.messages);
        let norms = (&mut self.norms, self.settings.limits);
        let work = || estimate.fold(plan, messages, t, frames, norms);
        // Other frames move on meanwhile; folding itself takes all the cores.
        let (folded, moved) = beside_if_large(coordinates, self.transport, work);
        moved?;
        let folded = folded.map_err(|source| self.device_failed(t, source))?;
        for frame in folded {
            if let Some(reason) = frame.refusal {
                use FrameError::{Iteration, Worker};
                if let Refusal::Frame(Iteration { .. } | Worker { .. }) = reason {
                    self.offences.foreign();
                }
                row.per_worker.arrival_time[frame.worker] = f64::NAN;
                self.refuse(frame.worker, t, format!("failed to {reason}"));
            }
            if let Some(buffer) = frame.buffer {
                self.transport.recycle(buffer);
            }
            self.roster.release(frame.worker);
        }
        Ok(())
    }

    fn device_failed(&self, iteration: u64, source: LearnerError) -> RunError {
        RunError::Sums {
            iteration,
            device: self.estimate.device(),
            source,
        }
    }

    /// Fills in who was late and by how much, and what had to be refused since the last iteration.
    fn fill_per_worker(&mut self, round: &Round, row: &mut IterationRow) {
        row.foreign = self.offences.take_foreign();
        row.clipped = self.norms.take_clipped();
        let answered = &self.estimate.responders;
        for worker in 0..self.plan.workers.len() {
            let refused = self.offences.now(worker);
            row.refused += refused;
            row.per_worker.refused[worker] = refused as i64;
            if self.plan.workers[worker].is_idle() || self.roster.is_lost(worker) {
                continue;
            }
            row.per_worker.loss[worker] = self.estimate.worker_loss[worker];
            row.per_worker.late_iterations[worker] = if answered.contains(&worker) {
                0
            } else {
                row.late += 1;
                1 + round.behind[worker] as i64
            };
        }
    }
}

impl Gathering {
    /// Takes the frames whose turn it is, in granting order: all that have arrived, or if the order is
    /// kept those before the first that has not.
    fn take_ready(&mut self, in_order: bool) -> Vec<(usize, Buffer)> {
        let mut ready = Vec::new();
        let mut waiting = VecDeque::new();
        while let Some(worker) = self.granted.pop_front() {
            let held_up = in_order && !waiting.is_empty();
            match self.arrived.remove(&worker) {
                Some(frame) if !held_up => ready.push((worker, frame)),
                Some(frame) => {
                    self.arrived.insert(worker, frame);
                    waiting.push_back(worker);
                }
                None => waiting.push_back(worker),
            }
        }
        self.granted = waiting;
        ready
    }

    /// Expects nothing more of a worker.
    pub(crate) fn forget(&mut self, worker: usize) {
        self.unreported.retain(|&i| i != worker);
        self.in_time
            .retain(|header| header.worker as usize != worker);
        self.granted.retain(|&i| i != worker);
        self.granted_at.remove(&worker);
        self.arrived.remove(&worker);
    }
}
