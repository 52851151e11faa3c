//! The transport in process: every worker is simulated, and time is virtual.
//!
//! A task takes exactly its injected delay on the virtual clock, however long it really computes,
//! so an experiment with a hundred stragglers runs at the speed of one machine's arithmetic. The
//! master's loop, the frames and the bits are those of MPI.
//!
//! Injected faults happen in virtual time too. Workers have no processes here: one that is killed is
//! never heard of again, and one that is frozen is delayed.

use crate::buffer::{Buffer, Parameters};
use crate::downlink::Model;
use crate::error::TransportError;
use crate::faults::{FaultKind, Injected, Phase};
use crate::memory::Memory;
use crate::message::{CONTROL_BYTES, Ending, Header, Status, Task};
use crate::transport::{Event, Traffic, Transport};
use crate::worker::{Engine, Timing};
use gradient_code::Plan;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// All workers of a run in the master's own process.
pub struct InProcess {
    engine: Engine,
    /// Per worker: the model it was sent last.
    known: HashMap<u32, u64>,
    /// Virtual seconds since the start.
    clock: f64,
    /// What is to happen, by its virtual time; a counter breaks ties in the order of planning.
    agenda: BTreeMap<(OrderedSeconds, u64), Due>,
    planned: u64,
    /// Frames that wait for the master's verdict, and what is to go wrong with them.
    waiting: HashMap<u32, (Vec<u8>, Injected)>,
    /// Workers that an injected fault has killed.
    dead: BTreeSet<u32>,
    events: VecDeque<Event>,
    pool: Vec<Vec<u8>>,
    traffic: Traffic,
}

/// Something that happens at a moment of virtual time.
enum Due {
    /// A task is done: compute it and report.
    Report(Task, Arc<Parameters>),
    /// A message arrives that was held up.
    Arrival(Event),
}

/// Seconds with a total order.
#[derive(Clone, Copy, PartialEq)]
struct OrderedSeconds(f64);

impl Eq for OrderedSeconds {}
impl Ord for OrderedSeconds {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl PartialOrd for OrderedSeconds {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl InProcess {
    /// A transport whose workers all compute with `engine`.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            known: HashMap::new(),
            clock: 0.0,
            agenda: BTreeMap::new(),
            planned: 0,
            waiting: HashMap::new(),
            dead: BTreeSet::new(),
            events: VecDeque::new(),
            pool: Vec::new(),
            traffic: Traffic::default(),
        }
    }

    /// The engine, for what it remembers of each worker.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn plan(&mut self, at: f64, due: Due) {
        self.planned += 1;
        self.agenda.insert((OrderedSeconds(at), self.planned), due);
    }

    /// Passes an event on after `pause` more seconds.
    fn deliver(&mut self, event: Event, pause: f64) {
        if pause > 0.0 {
            self.plan(self.clock + pause, Due::Arrival(event));
        } else {
            self.events.push_back(event);
        }
    }

    /// Whether an injected fault keeps the worker from going on in this phase.
    fn falls_silent(&mut self, worker: u32, phase: Phase, injected: &Injected) -> bool {
        if injected.has(FaultKind::Kill, phase) {
            self.dead.insert(worker);
        }
        self.dead.contains(&worker) || injected.has(FaultKind::Drop, phase)
    }

    /// Computes a task whose time has come, and reports it.
    fn run(&mut self, task: &Task, parameters: &Parameters) {
        let injected = self.engine.faults().of(task);
        let late = task.injected_delay > task.deadline;
        let mut frame = self.pool.pop().unwrap_or_default();
        frame.clear();
        let (status, timing, failure) = if late {
            (Status::Late, Timing::default(), None)
        } else {
            match self.engine.attempt(task, &parameters.0, &mut frame) {
                Ok(timing) => (Status::Ready, timing, None),
                Err(error) => {
                    frame.clear();
                    let reason = error.to_string();
                    (error.status(), Timing::default(), Some(reason))
                }
            }
        };
        let mut header = Header {
            sequence: task.sequence,
            worker: task.worker,
            status,
            frame_bytes: frame.len() as u64,
            compute_seconds: timing.compute_seconds,
            encode_seconds: timing.encode_seconds,
            quantization_error: timing.quantization_error,
        };
        if self.falls_silent(task.worker, Phase::Header, &injected) {
            self.pool.push(frame);
            return;
        }
        let pause = injected.pause(Phase::Header);
        if status == Status::Ready {
            injected.spoil_header(&mut header);
            self.waiting.insert(task.worker, (frame, injected));
        } else {
            self.pool.push(frame);
        }
        self.traffic.up += CONTROL_BYTES as u64;
        let event = match failure {
            Some(reason) => {
                self.traffic.up += reason.len() as u64;
                Event::Failure { header, reason }
            }
            None => Event::Header(header),
        };
        self.deliver(event, pause);
    }
}

impl Transport for InProcess {
    fn now(&self) -> f64 {
        self.clock
    }

    fn real_time(&self) -> bool {
        false
    }

    fn start(&mut self, task: Task, model: &Model) -> Result<(), TransportError> {
        // What a rank of its own would be sent.
        let known = self.known.insert(task.worker, model.version);
        let bytes = model.bytes(&model.delivery(known));
        self.traffic.down += (CONTROL_BYTES + bytes) as u64;
        let injected = self.engine.faults().of(&task);
        if self.falls_silent(task.worker, Phase::Compute, &injected) {
            return Ok(());
        }
        // A delay beyond the deadline is reported at once, as over MPI.
        let late = task.injected_delay > task.deadline;
        let takes = if late { 0.0 } else { task.injected_delay };
        // As over MPI, where the drawn delay is the least that a task takes.
        let due = self.clock + takes.max(injected.pause(Phase::Compute));
        self.plan(due, Due::Report(task, model.values.clone()));
        Ok(())
    }

    fn verdict(&mut self, header: &Header, send: bool) -> Result<(), TransportError> {
        self.traffic.down += CONTROL_BYTES as u64;
        if let Some(memories) = self.engine.memories() {
            memories.settle(header.worker, send);
        }
        let Some((mut frame, injected)) = self.waiting.remove(&header.worker) else {
            return Err(TransportError::Protocol {
                rank: 0,
                what: format!("a verdict on worker {}, which has no frame", header.worker),
            });
        };
        if send && !self.falls_silent(header.worker, Phase::Payload, &injected) {
            injected.panic_in(Phase::Payload);
            injected.spoil_frame(&mut frame);
            self.traffic.up += frame.len() as u64;
            let mut buffer = Buffer::default();
            buffer.resize(frame.len());
            buffer.bytes_mut().copy_from_slice(&frame);
            let event = Event::Frame {
                worker: header.worker as usize,
                sequence: header.sequence,
                frame: buffer,
            };
            self.deliver(event, injected.pause(Phase::Payload));
        }
        self.pool.push(frame);
        Ok(())
    }

    fn poll(&mut self, until: f64, events: &mut Vec<Event>) -> Result<(), TransportError> {
        // A task may end in silence; then whatever is next comes first.
        while self.events.is_empty() {
            match self.agenda.first_entry() {
                Some(first) if first.key().0.0 <= until => {
                    self.clock = self.clock.max(first.key().0.0);
                    match first.remove() {
                        Due::Report(task, parameters) => self.run(&task, &parameters),
                        Due::Arrival(event) => self.events.push_back(event),
                    }
                }
                _ => {
                    if until.is_finite() {
                        self.clock = self.clock.max(until);
                    }
                    break;
                }
            }
        }
        events.extend(self.events.drain(..));
        Ok(())
    }

    fn progress(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    fn publish(&mut self, plan: &Plan) -> Result<(), TransportError> {
        self.engine.set_plan(Arc::new(plan.clone()));
        Ok(())
    }

    fn recall(&mut self, worker: usize) -> Result<(), TransportError> {
        let memory = self.engine.memory(worker as u32);
        self.events.push_back(Event::Memory { worker, memory });
        Ok(())
    }

    fn restore(&mut self, memory: Memory) -> Result<(), TransportError> {
        if let Some(memories) = self.engine.memories() {
            memories.restore(memory);
        }
        Ok(())
    }

    fn recycle(&mut self, _frame: Buffer) {}

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn finish(&mut self, code: u8) -> Ending {
        Ending::Clean(code)
    }
}
