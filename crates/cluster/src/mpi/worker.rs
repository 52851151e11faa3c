//! A worker rank: its main thread talks to the master, one thread beside it computes.

use super::compute::{Finished, Job, compute};
use super::inbox::{Bulk, Inbox};
use super::outgoing::{Outgoing, Payload};
use super::requests::{Completion, Done, Requests, Ticket};
use super::session::Session;
use super::{pause, tag};
use crate::buffer::{Buffer, Parameters};
use crate::downlink::Receiver;
use crate::error::TransportError;
use crate::faults::{FaultKind, Injected, Phase, freeze_this_process, kill_this_process};
use crate::memory::{Memory, SharedMemories};
use crate::message::{At, Ending, MemoryHead, Order, Report, Status, decode, encode};
use crate::worker::Engine;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender, channel};
use std::time::{Duration, Instant};

/// A worker rank's connection to the master.
pub struct WorkerRank {
    pub(super) requests: Requests,
    rank: usize,
    /// How long the master may be silent.
    patience: Duration,
    last_heard: Instant,
    pub(super) inbox: VecDeque<Inbox>,
    outbox: VecDeque<Outgoing>,
    /// Frames that wait for the master's verdict, by worker.
    waiting: HashMap<u32, Waiting>,
    /// Where verdicts are settled, with error feedback.
    memories: Option<SharedMemories>,
    /// Chunks of the head of the outbox that are in flight.
    outgoing_chunks: Vec<Ticket>,
    /// The parameters received last, and older ones that a task may still read.
    parameters: Option<Arc<Buffer>>,
    retired: Vec<Arc<Buffer>>,
    completions: Vec<Completion>,
    /// There will be no more tasks.
    finishing: bool,
    /// The master's last word.
    stop: Option<Ending>,
}

/// A frame that waits for the master's verdict.
struct Waiting {
    sequence: u64,
    frame: Vec<u8>,
    /// What is to go wrong once it is sent.
    injected: Injected,
}

impl WorkerRank {
    /// Opens the connection of this rank.
    ///
    /// `patience` bounds every wait for the master; a master that works sends a sign of life every
    /// few seconds.
    pub fn new(session: &Session, patience: Duration) -> Result<Self, TransportError> {
        let mut link = Self {
            requests: Requests::new(session.raw()),
            rank: session.rank(),
            patience,
            last_heard: Instant::now(),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            waiting: HashMap::new(),
            memories: None,
            outgoing_chunks: Vec::new(),
            parameters: None,
            retired: Vec::new(),
            completions: Vec::new(),
            finishing: false,
            stop: None,
        };
        link.requests.receive_control(0, tag::ORDER)?;
        Ok(link)
    }

    /// Waits for the master's briefing; `Err` within `Ok` is an order to end at once.
    pub fn briefing(&mut self) -> Result<Result<String, Ending>, TransportError> {
        loop {
            let moved = self.pump()?;
            if self.finishing {
                return self.goodbye().map(Err);
            }
            if let Some((Bulk::Briefing, text)) = self.take_bulk()? {
                return Ok(Ok(String::from_utf8_lossy(text.bytes()).into_owned()));
            }
            self.check_patience("its briefing")?;
            if !moved {
                pause(false);
            }
        }
    }

    /// Tells the master how this rank's set-up went.
    pub fn answer(&mut self, answer: &super::Answer) -> Result<(), TransportError> {
        let text = serde_json::to_vec(answer).map_err(|error| TransportError::Protocol {
            rank: self.rank,
            what: format!("an answer that cannot be written: {error}"),
        })?;
        let bytes = text.len();
        let report = Report::Ready {
            bytes: bytes as u64,
        };
        self.requests
            .send_control(encode(&report), 0, tag::REPORT)?;
        self.requests
            .send_shared(&Arc::new(text), 0..bytes, 0, tag::ANSWER)?;
        self.last_heard = Instant::now(); // setting up took its time
        Ok(())
    }

    /// Waits for the order to end; for a rank that could not set itself up.
    pub fn await_stop(&mut self) -> Result<Ending, TransportError> {
        while !self.finishing {
            let moved = self.pump()?;
            self.check_patience("the end of the run")?;
            if !moved {
                pause(false);
            }
        }
        self.goodbye()
    }

    /// Changes the patience to what the configuration says.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Serves the master until it ends the run, and confirms the end once the task at hand is done:
    /// all ranks that finalize MPI wait for this one. A master that does not want to wait for so long
    /// ends the job.
    ///
    /// # Errors
    /// If MPI fails or the master stays silent beyond this rank's patience. A computation may still be
    /// under way then, on a thread of its own.
    pub fn serve(&mut self, engine: Engine, receiver: Receiver) -> Result<Ending, TransportError> {
        let (jobs, todo) = channel();
        let (done, results) = channel();
        self.memories = engine.memories();
        let over = Arc::new(AtomicBool::new(false));
        // Not scoped: no error of this thread may wait for a computation that hangs.
        let computing = {
            let over = over.clone();
            std::thread::spawn(move || compute(engine, &todo, &done, &over))
        };
        self.exchange(&jobs, &results, receiver)?;
        over.store(true, Ordering::Relaxed);
        drop(jobs);
        while self.stop.is_none() && !computing.is_finished() {
            self.pump()?;
            self.check_patience("the end of the run")?;
            pause(false);
        }
        self.goodbye()
    }

    fn exchange(
        &mut self,
        jobs: &Sender<Job>,
        results: &mpsc::Receiver<Finished>,
        receiver: Receiver,
    ) -> Result<(), TransportError> {
        let mut pending: Vec<Finished> = Vec::new();
        let mut frames: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut moved = self.pump()?;
            if self.finishing {
                return Ok(());
            }
            match self.take_bulk()? {
                Some((Bulk::Parameters, buffer)) => self.replace_parameters(buffer),
                Some((Bulk::Halves, halves)) => {
                    let mut buffer = self.spare_buffer();
                    buffer.resize(2 * halves.bytes().len());
                    Receiver::expand(halves.bytes(), buffer.f32s_mut())
                        .map_err(|what| self.protocol(what))?;
                    self.replace_parameters(buffer);
                }
                Some((Bulk::Update { iteration }, frame)) => {
                    // In place, unless a task still reads them.
                    if self
                        .parameters
                        .as_mut()
                        .is_none_or(|last| Arc::get_mut(last).is_none())
                    {
                        let mut copy = self.spare_buffer();
                        if let Some(last) = &self.parameters {
                            copy.resize(last.bytes().len());
                            copy.bytes_mut().copy_from_slice(last.bytes());
                        }
                        self.replace_parameters(copy);
                    }
                    let last = self.parameters.as_mut().and_then(Arc::get_mut);
                    let values = last.map(Buffer::f32s_mut).unwrap_or_default();
                    receiver
                        .apply(frame.bytes(), iteration, values)
                        .map_err(|what| self.protocol(what))?;
                }
                Some((Bulk::Plan, text)) => {
                    let plan = serde_json::from_slice(text.bytes())
                        .map_err(|error| self.protocol(format!("an unreadable plan: {error}")))?;
                    let _ = jobs.send(Job::Plan(Arc::new(plan)));
                }
                Some((Bulk::Memory(head), buffer)) => {
                    if let Some(memories) = &self.memories {
                        memories.restore(Memory {
                            worker: head.worker,
                            rate: head.rate,
                            weight: head.weight,
                            residual: buffer.f32s().to_vec(),
                        });
                    }
                }
                Some((Bulk::Briefing, _)) | None => {}
            }
            while let Some(&Inbox::Task(task, received)) = self.inbox.front() {
                self.inbox.pop_front();
                moved = true;
                let parameters = self
                    .parameters
                    .clone()
                    .ok_or_else(|| self.protocol("a task without parameters".to_owned()))?;
                let frame = frames.pop().unwrap_or_default();
                // A send fails only when the compute thread is gone, which a panic hook reports.
                let _ = jobs.send(Job::Task {
                    task,
                    received,
                    parameters,
                    frame,
                });
            }
            pending.extend(results.try_iter());
            let now = Instant::now();
            let mut k = 0;
            while k < pending.len() {
                if pending[k].due <= now {
                    let finished = pending.swap_remove(k);
                    self.report(finished, &mut frames)?;
                    moved = true;
                } else {
                    k += 1;
                }
            }
            self.push_chunks(&mut frames)?;
            self.check_patience("an order")?;
            if !moved {
                let moving = |first: &Outgoing| !first.is_held();
                let bulk = self.outbox.front().is_some_and(moving)
                    || matches!(self.inbox.front(), Some(Inbox::Bulk(..)));
                pause(bulk);
            }
        }
    }

    fn report(
        &mut self,
        finished: Finished,
        frames: &mut Vec<Vec<u8>>,
    ) -> Result<(), TransportError> {
        let (header, injected) = (finished.header, finished.injected);
        if injected.has(FaultKind::Kill, Phase::Header) {
            kill_this_process();
        }
        if injected.has(FaultKind::Freeze, Phase::Header) {
            freeze_this_process(injected.seconds(FaultKind::Freeze, Phase::Header));
        }
        let report = match &finished.failure {
            None => Report::Header(header),
            Some(reason) => Report::Failure {
                header,
                bytes: reason.len() as u64,
            },
        };
        self.requests
            .send_control(encode(&report), 0, tag::REPORT)?;
        if let Some(reason) = finished.failure {
            let text = Arc::new(reason.into_bytes());
            self.requests
                .send_shared(&text, 0..text.len(), 0, tag::REASON)?;
        }
        if header.status == Status::Ready {
            let waiting = Waiting {
                sequence: header.sequence,
                frame: finished.frame,
                injected,
            };
            self.waiting.insert(header.worker, waiting);
        } else {
            frames.push(finished.frame); // the master has nothing to decide
        }
        Ok(())
    }

    /// Handles everything that is complete now; true when there was something.
    fn pump(&mut self) -> Result<bool, TransportError> {
        let mut completions = std::mem::take(&mut self.completions);
        self.requests.poll(&mut completions)?;
        let any = !completions.is_empty();
        for completion in completions.drain(..) {
            match completion.outcome? {
                Done::Control(bytes) => {
                    self.last_heard = Instant::now();
                    let order = decode(&bytes[..])
                        .ok_or_else(|| self.protocol("an order of another version".to_owned()))?;
                    self.obey(order)?;
                }
                Done::Landed(_) => {
                    self.last_heard = Instant::now();
                    if let Some(Inbox::Bulk(_, _, chunks)) = self.inbox.front_mut() {
                        chunks.complete_one();
                    }
                }
                Done::Sent => {
                    let chunk = self
                        .outgoing_chunks
                        .iter()
                        .position(|&ticket| ticket == completion.ticket);
                    if let (Some(k), Some(first)) = (chunk, self.outbox.front_mut()) {
                        self.outgoing_chunks.swap_remove(k);
                        first.chunks.complete_one();
                    }
                }
            }
        }
        self.completions = completions;
        self.pull_chunks()?;
        Ok(any)
    }

    fn obey(&mut self, order: Order) -> Result<(), TransportError> {
        match order {
            Order::Compute { task, at } => {
                match at {
                    At::Last => {}
                    At::Whole { bytes } => self.expect_bulk(Bulk::Parameters, bytes)?,
                    At::Halves { bytes } => self.expect_bulk(Bulk::Halves, bytes)?,
                    At::Updated {
                        first,
                        count,
                        bytes,
                    } => {
                        for iteration in first..first.saturating_add(u64::from(count)) {
                            self.expect_bulk(Bulk::Update { iteration }, bytes)?;
                        }
                    }
                }
                self.inbox.push_back(Inbox::Task(task, Instant::now()));
            }
            Order::Briefing { bytes } => self.expect_bulk(Bulk::Briefing, bytes)?,
            Order::Plan { bytes } => self.expect_bulk(Bulk::Plan, bytes)?,
            Order::Verdict {
                worker,
                sequence,
                send,
            } => {
                let matches = self
                    .waiting
                    .get(&worker)
                    .is_some_and(|waiting| waiting.sequence == sequence);
                if !matches {
                    return Err(self.protocol(format!(
                        "a verdict on round {sequence} of worker {worker}, which has no such frame"
                    )));
                }
                if let Some(memories) = &self.memories {
                    memories.settle(worker, send); // a worker has no other task by now
                }
                if let Some(mut waiting) = self.waiting.remove(&worker)
                    && send
                {
                    waiting.injected.panic_in(Phase::Payload); // takes the whole job along
                    waiting.injected.spoil_frame(&mut waiting.frame);
                    let outgoing = Outgoing::frame(waiting.frame, &waiting.injected);
                    self.outbox.push_back(outgoing);
                }
            }
            Order::Recall { worker } => self.send_memory(worker)?,
            Order::Memory(head) => self.expect_bulk(Bulk::Memory(head), head.bytes)?,
            Order::KeepAlive => {}
            Order::Finish => self.finishing = true,
            Order::Stop(ending) => {
                self.finishing = true;
                self.stop = Some(ending);
                return Ok(()); // the master's last word: expect no other
            }
        }
        self.requests.receive_control(0, tag::ORDER)?;
        Ok(())
    }

    /// Tells the master what a worker has still to deliver.
    fn send_memory(&mut self, worker: u32) -> Result<(), TransportError> {
        let memory = self.memories.as_ref().and_then(|held| held.get(worker));
        let memory = memory.unwrap_or_default();
        let residual = Arc::new(Parameters(memory.residual));
        let length = (*residual).as_ref().len();
        let report = Report::Memory(MemoryHead {
            worker,
            rate: memory.rate,
            weight: memory.weight,
            bytes: length as u64,
        });
        self.requests
            .send_control(encode(&report), 0, tag::REPORT)?;
        if length > 0 {
            self.outbox.push_back(Outgoing::memory(residual, length));
        }
        Ok(())
    }

    fn replace_parameters(&mut self, buffer: Buffer) {
        self.retired
            .extend(self.parameters.replace(Arc::new(buffer)));
    }

    /// A buffer of retired parameters that no task reads any more, or a new one.
    pub(super) fn spare_buffer(&mut self) -> Buffer {
        let free = |buffer: &Arc<Buffer>| Arc::strong_count(buffer) == 1;
        self.retired
            .iter()
            .position(free)
            .and_then(|k| Arc::try_unwrap(self.retired.swap_remove(k)).ok())
            .unwrap_or_default()
    }

    /// Posts the next chunks of the first transfer on its way out, and recycles the frames that are
    /// out.
    fn push_chunks(&mut self, frames: &mut Vec<Vec<u8>>) -> Result<(), TransportError> {
        while self
            .outbox
            .front()
            .is_some_and(|first| first.chunks.is_complete())
        {
            if let Some(first) = self.outbox.pop_front()
                && let Payload::Frame(frame) = first.payload
            {
                frames.extend(Arc::try_unwrap(frame));
            }
        }
        if let Some(first) = self.outbox.front_mut() {
            while let Some(range) = first.next_chunk() {
                let ticket = match &first.payload {
                    Payload::Frame(data) => {
                        self.requests.send_shared(data, range, 0, tag::FRAME)?
                    }
                    Payload::Memory(data) => {
                        self.requests.send_shared(data, range, 0, tag::MEMORY)?
                    }
                };
                self.outgoing_chunks.push(ticket);
            }
        }
        Ok(())
    }

    /// Says that nothing is left to do, and waits for the master's last word on how the rank has to end.
    fn goodbye(&mut self) -> Result<Ending, TransportError> {
        self.requests
            .send_control(encode(&Report::Goodbye), 0, tag::REPORT)?;
        let ending = loop {
            if let Some(ending) = self.stop {
                break ending;
            }
            self.pump()?;
            self.check_patience("the end of the run")?;
            pause(false);
        };
        let until = Instant::now() + Duration::from_secs(10);
        while self.requests.active() > 0 && Instant::now() < until {
            let mut done = Vec::new();
            self.requests.poll(&mut done)?;
            pause(false);
        }
        Ok(ending)
    }

    fn check_patience(&self, what: &str) -> Result<(), TransportError> {
        let silent = self.last_heard.elapsed();
        if silent > self.patience {
            return Err(TransportError::Silent {
                rank: 0,
                waiting: self.rank,
                seconds: silent.as_secs_f64(),
                what: what.to_owned(),
            });
        }
        Ok(())
    }

    pub(super) fn protocol(&self, what: String) -> TransportError {
        TransportError::Protocol { rank: 0, what }
    }
}
