//! What reaches the master, event by event: what counts, what is late, what is refused.

use crate::error::RunError;
use crate::gather::{Gathering, Round};
use crate::master::Master;
use crate::message::{Header, Status};
use crate::transport::Event;
use run_log::IterationRow;

impl Master<'_> {
    /// Takes in one event. Without a gathering every header counts as late.
    pub(crate) fn receive(
        &mut self,
        event: Event,
        round: &Round,
        state: Option<&mut Gathering>,
        row: &mut IterationRow,
    ) -> Result<(), RunError> {
        match event {
            Event::Header(header) => self.header(header, None, round, state, row),
            Event::Failure { header, reason } => {
                self.header(header, Some(&reason), round, state, row)
            }
            Event::Frame {
                worker,
                sequence,
                frame,
            } => {
                match state {
                    Some(state)
                        if sequence == round.sequence && state.granted.contains(&worker) =>
                    {
                        state.arrived.insert(worker, frame);
                        if let Some(granted_at) = state.granted_at.remove(&worker) {
                            row.per_worker.seconds_wire[worker] = self.transport.now() - granted_at;
                        }
                    }
                    // It was left behind: nobody wants it, but its worker is free now.
                    _ => {
                        self.transport.recycle(frame);
                        if self.roster.busy_with(worker) == Some(sequence) {
                            self.roster.release(worker);
                        } else if !self.roster.is_lost(worker) {
                            self.foreign("frame", worker, sequence, round.iteration);
                        }
                    }
                }
                Ok(())
            }
            // Recalled for a checkpoint that was given up meanwhile.
            Event::Memory { .. } => Ok(()),
            Event::Lost { worker, reason } => {
                self.lose(worker, round.iteration, &reason);
                if let Some(state) = state {
                    state.forget(worker);
                }
                self.check_alive(round.iteration)
            }
        }
    }

    fn header(
        &mut self,
        header: Header,
        reason: Option<&str>,
        round: &Round,
        mut state: Option<&mut Gathering>,
        row: &mut IterationRow,
    ) -> Result<(), RunError> {
        let worker = header.worker as usize;
        if self.roster.busy_with(worker) != Some(header.sequence) {
            // Given up, or out of step: whatever it has is not wanted.
            if !self.roster.is_lost(worker) {
                self.foreign("header", worker, header.sequence, round.iteration);
            }
            if header.status == Status::Ready {
                self.transport.verdict(&header, false)?;
            }
            return Ok(());
        }
        let now = self.transport.now();
        let taken = now - self.roster.busy_since(worker).unwrap_or(now);
        self.clockwork.observe(taken, header.compute_seconds);
        let of_this_round = header.sequence == round.sequence;
        if of_this_round && let Some(state) = state.as_deref_mut() {
            // An injected delay beyond the deadline is known early, but must not end the round early.
            if header.status != Status::Late {
                state.unreported.retain(|&i| i != worker);
            }
            if header.compute_seconds > 0.0 {
                row.per_worker.seconds_compute[worker] = header.compute_seconds;
                row.per_worker.seconds_encode[worker] = header.encode_seconds;
            }
        }
        if !header.is_plausible() {
            let said = "its header says numbers that cannot be".to_owned();
            self.refuse(worker, round.iteration, said);
            if header.status == Status::Ready {
                self.transport.verdict(&header, false)?;
            }
            self.roster.release(worker);
            return Ok(());
        }
        if let Some(error) = header.quantization_error
            && of_this_round
            && state.is_some()
        {
            row.per_worker.quantization_error[worker] = error;
        }
        match header.status {
            Status::Ready => {}
            Status::Late => {
                self.roster.release(worker);
                return Ok(());
            }
            Status::NoData => {
                return Err(RunError::WorkerData {
                    worker,
                    iteration: round.iteration,
                    reason: reason
                        .unwrap_or("its data are missing or damaged")
                        .to_owned(),
                });
            }
            Status::NotFinite | Status::Failed => {
                self.not_finite |= header.status == Status::NotFinite;
                let what = match header.status {
                    Status::NotFinite => "its gradient is not finite",
                    _ => "it could not compute",
                };
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                self.refuse(worker, round.iteration, format!("{what}{reason}"));
                self.roster.release(worker);
                return Ok(());
            }
        }
        // The round closes after the first poll that ends beyond the deadline. A header found by that
        // poll may have waited for the master to fold a frame, and has the benefit of the doubt.
        let in_time = of_this_round
            && !round.timing.erased[worker]
            && state.as_ref().is_some_and(|state| !state.closed);
        let expected = self.messages.frame_bytes(worker) as u64 == header.frame_bytes;
        match state {
            Some(state) if in_time && expected => {
                let arrival = now - round.started;
                row.per_worker.arrival_time[worker] = if self.clockwork.drawn() {
                    arrival
                } else {
                    arrival.min(round.timing.deadline)
                };
                state.in_time.push_back(header);
            }
            _ => {
                if in_time && !expected {
                    let bytes = header.frame_bytes;
                    let said =
                        format!("its frame has {bytes} bytes, which is not what was planned");
                    self.refuse(worker, round.iteration, said);
                }
                self.transport.verdict(&header, false)?;
                self.roster.release(worker);
            }
        }
        Ok(())
    }

    /// Counts a message that cannot be used; its worker is late.
    pub(crate) fn refuse(&mut self, worker: usize, t: u64, reason: String) {
        let text = format!("worker {worker} counts as late at iteration {t}: {reason}");
        if let Some(count) = self.offences.refuse(worker, reason) {
            let so_far = match count {
                1 => String::new(),
                _ => format!(" ({count} refused so far)"),
            };
            self.journal.warning(&format!("{text}{so_far}"));
        }
    }

    /// Notes a message that no correct worker sends.
    fn foreign(&mut self, what: &str, worker: usize, sequence: u64, t: u64) {
        self.offences.foreign();
        self.journal.warning(&format!(
            "worker {worker} sent a {what} of round {sequence}, in which it was not asked (iteration {t}); it is dropped"
        ));
    }

    /// Gives up the workers of which too much had to be refused.
    pub(crate) fn judge(&mut self, t: u64) {
        let responders = &self.estimate.responders;
        let beyond = self.offences.judge(responders, self.settings.tolerance);
        for (worker, reason) in beyond {
            self.lose(worker, t, &reason);
        }
    }
}
