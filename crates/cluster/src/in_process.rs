//! The transport in process: every worker is simulated, and time is virtual.
//!
//! A task takes exactly its injected delay on the virtual clock, however long it really computes,
//! so an experiment with a hundred stragglers runs at the speed of one machine's arithmetic. The
//! master's loop, the frames and the bits are those of MPI.

use crate::buffer::{Buffer, Parameters};
use crate::error::TransportError;
use crate::message::{CONTROL_BYTES, Ending, Header, Status, Task};
use crate::transport::{Event, Traffic, Transport};
use crate::worker::{Engine, Timing};
use gradient_code::Plan;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// All workers of a run in the master's own process.
pub struct InProcess {
    engine: Engine,
    /// Virtual seconds since the start.
    clock: f64,
    /// Tasks by the virtual time of their report; the sequence breaks ties in starting order.
    reports: BTreeMap<(OrderedSeconds, u64), (Task, Arc<Parameters>)>,
    started: u64,
    waiting: HashMap<u32, Vec<u8>>,
    events: VecDeque<Event>,
    pool: Vec<Vec<u8>>,
    traffic: Traffic,
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
            clock: 0.0,
            reports: BTreeMap::new(),
            started: 0,
            waiting: HashMap::new(),
            events: VecDeque::new(),
            pool: Vec::new(),
            traffic: Traffic::default(),
        }
    }

    /// The engine, for what it remembers of each worker.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Computes a task whose time has come, and reports it.
    fn run(&mut self, task: &Task, parameters: &Parameters) -> Event {
        let late = task.injected_delay > task.deadline;
        let mut frame = self.pool.pop().unwrap_or_default();
        frame.clear();
        let (status, timing, failure) = if late {
            (Status::Late, Timing::default(), None)
        } else {
            match self.engine.run(task, &parameters.0, &mut frame) {
                Ok(timing) => (Status::Ready, timing, None),
                Err(error) => {
                    frame.clear();
                    let reason = error.to_string();
                    (error.status(), Timing::default(), Some(reason))
                }
            }
        };
        let header = Header {
            sequence: task.sequence,
            worker: task.worker,
            status,
            frame_bytes: frame.len() as u64,
            compute_seconds: timing.compute_seconds,
            encode_seconds: timing.encode_seconds,
        };
        if status == Status::Ready {
            self.waiting.insert(task.worker, frame);
        } else {
            self.pool.push(frame);
        }
        self.traffic.up += CONTROL_BYTES as u64;
        match failure {
            Some(reason) => {
                self.traffic.up += reason.len() as u64;
                Event::Failure { header, reason }
            }
            None => Event::Header(header),
        }
    }
}

impl Transport for InProcess {
    fn now(&self) -> f64 {
        self.clock
    }

    fn real_time(&self) -> bool {
        false
    }

    fn start(&mut self, task: Task, parameters: &Arc<Parameters>) -> Result<(), TransportError> {
        // A delay beyond the deadline is reported at once, as over MPI.
        let late = task.injected_delay > task.deadline;
        let due = self.clock + if late { 0.0 } else { task.injected_delay };
        self.started += 1;
        self.reports.insert(
            (OrderedSeconds(due), self.started),
            (task, parameters.clone()),
        );
        // What a rank of its own would be sent.
        self.traffic.down += (CONTROL_BYTES + (**parameters).as_ref().len()) as u64;
        Ok(())
    }

    fn verdict(&mut self, header: &Header, send: bool) -> Result<(), TransportError> {
        self.traffic.down += CONTROL_BYTES as u64;
        if let Some(memories) = self.engine.memories() {
            memories.settle(header.worker, send);
        }
        let Some(frame) = self.waiting.remove(&header.worker) else {
            return Err(TransportError::Protocol {
                rank: 0,
                what: format!("a verdict on worker {}, which has no frame", header.worker),
            });
        };
        if send {
            self.traffic.up += frame.len() as u64;
            let mut buffer = Buffer::default();
            buffer.resize(frame.len());
            buffer.bytes_mut().copy_from_slice(&frame);
            self.events.push_back(Event::Frame {
                worker: header.worker as usize,
                sequence: header.sequence,
                frame: buffer,
            });
        }
        self.pool.push(frame);
        Ok(())
    }

    fn poll(&mut self, until: f64, events: &mut Vec<Event>) -> Result<(), TransportError> {
        if self.events.is_empty() {
            match self.reports.first_entry() {
                Some(first) if first.key().0.0 <= until => {
                    self.clock = self.clock.max(first.key().0.0);
                    let (task, parameters) = first.remove();
                    let event = self.run(&task, &parameters);
                    self.events.push_back(event);
                }
                _ if until.is_finite() => self.clock = self.clock.max(until),
                _ => {}
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

    fn recycle(&mut self, _frame: Buffer) {}

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn finish(&mut self, code: u8) -> Ending {
        Ending::Clean(code)
    }
}
