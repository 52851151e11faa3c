//! Measuring workers: how long they compute, encode and send, at several loads and widths.
//!
//! The rounds are those of training up to the header: everybody gets a task at the same moment, and
//! computes beside the others. Frames are fetched one by one after the last header, so that sending
//! disturbs no arrival and is measured alone. Nothing is learnt.

use crate::downlink::{Downlink, Model, Publisher};
use crate::error::RunError;
use crate::message::{Header, Status, Task};
use crate::transport::{Event, Transport};
use gradient_code::Plan;
use straggler::DelayModel;

/// What is measured.
pub struct Calibration<'a> {
    /// Plans whose loads and widths are measured.
    pub plans: &'a [Plan],
    /// Which plan each round has, in order; numbers of `plans`.
    pub rounds: &'a [usize],
    /// First rounds whose observations are dropped, because libraries warm up in them.
    pub warmup: usize,
    /// Reports that take longer than this are cut: seconds.
    pub limit: f64,
    /// A worker that is silent for so long is an error: seconds.
    pub silence_timeout: f64,
    /// How models are sent down; every round sends one, as in training.
    pub downlink: Downlink,
    /// Delays that workers really sleep in rounds of plan 0, with the seed they are drawn with and the
    /// seconds of their unit.
    pub delays: Option<(&'a DelayModel, u64, f64)>,
}

/// One task of one worker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Which of the plans.
    pub plan: usize,
    /// Which of the rounds.
    pub round: usize,
    /// Logical worker i.
    pub worker: usize,
    /// Seconds from the start of the round to the header; `None` if that took longer than the limit.
    pub arrival: Option<f64>,
    /// Seconds of forward and backward passes; NaN if cut.
    pub compute: f64,
    /// Seconds of quantizing and packing; NaN if cut.
    pub encode: f64,
    /// Seconds from asking for the frame to its last byte; NaN if it was not fetched.
    pub transfer: f64,
    /// Bits of the frame; 0 if cut.
    pub frame_bits: u64,
}

/// A round in progress.
struct Round {
    number: usize,
    plan: usize,
    sequence: u64,
    started: f64,
}

/// Runs the rounds of `calibration` and returns what was seen, in the order of the reports.
///
/// # Errors
/// [`RunError::Transport`] for a transport that fails, [`RunError::Calibration`] for workers that stay
/// silent, are lost or cannot compute.
pub fn calibrate(
    transport: &mut dyn Transport,
    calibration: &Calibration<'_>,
    parameters: &[f32],
) -> Result<Vec<Observation>, RunError> {
    let refused = |reason: String| RunError::Calibration {
        workers: "0 and all others".to_owned(),
        reason,
    };
    let mut publisher = Publisher::new(calibration.downlink, parameters.len(), 0)
        .map_err(|error| refused(error.to_string()))?;
    let workers = calibration.plans.first().map_or(0, Plan::k);
    let mut state = Measuring {
        transport,
        calibration,
        busy: vec![None; workers],
        observations: Vec::new(),
        events: Vec::new(),
    };
    let mut published = None;
    for (number, &plan) in calibration.rounds.iter().enumerate() {
        if published != Some(plan) {
            state.transport.publish(&calibration.plans[plan])?;
            published = Some(plan);
        }
        let model = publisher
            .publish(parameters, number as u64)
            .map_err(|error| refused(error.to_string()))?;
        state.round(number, plan, &model)?;
    }
    state.drain()?;
    Ok(state.observations)
}

struct Measuring<'a, 'b> {
    transport: &'a mut dyn Transport,
    calibration: &'a Calibration<'b>,
    /// Per worker the sequence of the task it has not reported on.
    busy: Vec<Option<u64>>,
    observations: Vec<Observation>,
    events: Vec<Event>,
}

impl Measuring<'_, '_> {
    fn round(&mut self, number: usize, plan: usize, model: &Model) -> Result<(), RunError> {
        while self.busy.iter().all(Option::is_some) {
            self.wait("everybody is busy")?; // for whoever is ready first
        }
        let round = Round {
            number,
            plan,
            sequence: number as u64 + 1,
            started: self.transport.now(),
        };
        for worker in 0..self.busy.len() {
            let holds_data = !self.calibration.plans[plan].workers[worker].is_idle();
            if self.busy[worker].is_none() && holds_data {
                self.start(&round, worker, model)?;
            }
        }
        let patience = self.calibration.silence_timeout;
        let until = round.started + self.calibration.limit.min(patience);
        let mut ready = Vec::new();
        while self.busy.contains(&Some(round.sequence)) && self.transport.now() < until {
            self.listen(until, Some((&round, &mut ready)))?;
        }
        let out = self.out(round.sequence);
        if !out.is_empty() && self.calibration.limit > patience {
            return Err(failed(&out, &format!("silent for {patience:.0} s")));
        }
        self.cut(&round);
        for (header, at) in ready {
            self.fetch(header, at)?;
        }
        Ok(())
    }

    fn start(&mut self, round: &Round, worker: usize, model: &Model) -> Result<(), RunError> {
        let delay = |&(model, seed, unit): &(&DelayModel, u64, f64)| {
            unit * model.delay(seed, round.number as u64, worker)
        };
        let delays = self.calibration.delays.as_ref();
        let task = Task {
            sequence: round.sequence,
            iteration: round.number as u64,
            worker: worker as u32,
            injected_delay: delays.filter(|_| round.plan == 0).map_or(0.0, delay),
            deadline: self.calibration.limit,
            calibration: true,
            measured: false,
        };
        self.transport.start(task, model)?;
        self.busy[worker] = Some(round.sequence);
        Ok(())
    }

    /// Takes events in until `until`, or until there are some. Headers of `round` that have a frame go
    /// to its list; those of earlier rounds are late, their frames are not wanted.
    fn listen(
        &mut self,
        until: f64,
        mut round: Option<(&Round, &mut Vec<(Header, usize)>)>,
    ) -> Result<(), RunError> {
        let mut events = std::mem::take(&mut self.events);
        self.transport.poll(until, &mut events)?;
        for event in events.drain(..) {
            let (header, reason) = match event {
                Event::Header(header) => (header, None),
                Event::Failure { header, reason } => (header, Some(reason)),
                Event::Lost { worker, reason } => return Err(failed(&[worker], &reason)),
                Event::Frame { frame, .. } => {
                    self.transport.recycle(frame);
                    continue;
                }
                Event::Memory { .. } => continue,
            };
            let worker = header.worker as usize;
            if self.busy.get(worker) != Some(&Some(header.sequence)) {
                continue;
            }
            let own = round
                .as_mut()
                .filter(|(r, _)| r.sequence == header.sequence);
            match (header.status, own) {
                (Status::Ready, Some((r, _)))
                    if self.transport.now() - r.started > self.calibration.limit =>
                {
                    // The same poll ended beyond the limit.
                    self.observe(r, worker, None);
                    self.busy[worker] = None;
                    self.transport.verdict(&header, false)?;
                }
                (Status::Ready, Some((r, ready))) => {
                    let arrival = self.transport.now() - r.started;
                    let at = self.observations.len();
                    self.observe(
                        r,
                        worker,
                        Some((arrival.min(self.calibration.limit), &header)),
                    );
                    // It is busy until its frame is fetched, but waited for no longer.
                    self.busy[worker] = None;
                    ready.push((header, at));
                }
                (Status::Ready, None) => {
                    self.busy[worker] = None;
                    self.transport.verdict(&header, false)?;
                }
                (Status::Late, Some((r, _))) => {
                    self.busy[worker] = None;
                    self.observe(r, worker, None);
                }
                (Status::Late, None) => self.busy[worker] = None,
                (Status::NotFinite | Status::Failed | Status::NoData, _) => {
                    let reason = reason.unwrap_or_else(|| "it cannot compute".to_owned());
                    return Err(failed(&[worker], &reason));
                }
            }
        }
        self.events = events;
        Ok(())
    }

    fn observe(&mut self, round: &Round, worker: usize, seen: Option<(f64, &Header)>) {
        self.observations.push(Observation {
            plan: round.plan,
            round: round.number,
            worker,
            arrival: seen.map(|(arrival, _)| arrival),
            compute: seen.map_or(f64::NAN, |(_, header)| header.compute_seconds),
            encode: seen.map_or(f64::NAN, |(_, header)| header.encode_seconds),
            transfer: f64::NAN,
            frame_bits: seen.map_or(0, |(_, header)| 8 * header.frame_bytes),
        });
    }

    /// Counts those who have not reported in time as cut; they stay busy until they do.
    fn cut(&mut self, round: &Round) {
        for worker in self.out(round.sequence) {
            self.observe(round, worker, None);
        }
    }

    /// Workers that have not reported on the tasks of this round.
    fn out(&self, sequence: u64) -> Vec<usize> {
        let is_out = |&worker: &usize| self.busy[worker] == Some(sequence);
        (0..self.busy.len()).filter(is_out).collect()
    }

    /// Fetches one frame and notes how long that took.
    fn fetch(&mut self, header: Header, at: usize) -> Result<(), RunError> {
        let asked = self.transport.now();
        let until = asked + self.calibration.silence_timeout;
        self.transport.verdict(&header, true)?;
        let mut events = Vec::new();
        loop {
            self.transport.poll(until, &mut events)?;
            let mut fetched = false;
            for event in events.drain(..) {
                match event {
                    Event::Frame { worker, frame, .. } => {
                        fetched |= worker == header.worker as usize;
                        self.transport.recycle(frame);
                    }
                    // Somebody who was cut reports meanwhile.
                    Event::Header(late) | Event::Failure { header: late, .. } => {
                        let worker = late.worker as usize;
                        if self.busy.get(worker) == Some(&Some(late.sequence)) {
                            self.busy[worker] = None;
                            if late.status == Status::Ready {
                                self.transport.verdict(&late, false)?;
                            }
                        }
                    }
                    Event::Lost { worker, reason } => return Err(failed(&[worker], &reason)),
                    Event::Memory { .. } => {}
                }
            }
            let now = self.transport.now();
            if fetched {
                self.observations[at].transfer = now - asked;
                return Ok(());
            }
            if now >= until {
                return Err(failed(
                    &[header.worker as usize],
                    "its message does not come",
                ));
            }
        }
    }

    /// Waits until somebody is free, for `silence_timeout` at most.
    fn wait(&mut self, why: &str) -> Result<(), RunError> {
        let before = self.busy.clone();
        let until = self.transport.now() + self.calibration.silence_timeout;
        while self.busy == before {
            self.listen(until, None)?;
            if self.busy == before && self.transport.now() >= until {
                let busy: Vec<usize> = (0..before.len()).filter(|&i| before[i].is_some()).collect();
                return Err(failed(&busy, why));
            }
        }
        Ok(())
    }

    /// Waits until nobody is busy, so that the run can end.
    fn drain(&mut self) -> Result<(), RunError> {
        while self.busy.iter().any(Option::is_some) {
            self.wait("it has not reported on its last task")?;
        }
        let warmup = self.calibration.warmup;
        self.observations.retain(|seen| seen.round >= warmup);
        Ok(())
    }
}

fn failed(workers: &[usize], why: &str) -> RunError {
    let named: Vec<String> = workers.iter().map(ToString::to_string).collect();
    RunError::Calibration {
        workers: named.join(", "),
        reason: why.to_owned(),
    }
}
