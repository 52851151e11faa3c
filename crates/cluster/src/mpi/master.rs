//! The master's side of MPI: everything that is on its way, and what is done when it is there.

use super::bulk::{Bulk, bulk_of};
use super::incoming::Incoming;
use super::peer::{Peer, Purpose};
use super::requests::{Completion, Done, Requests, Ticket};
use super::session::Session;
use super::{Chunks, host_of, pause, tag};
use crate::buffer::{Buffer, Landing, Parameters};
use crate::downlink::Model;
use crate::error::TransportError;
use crate::memory::Memory;
use crate::message::{CONTROL_BYTES, Ending, Header, MemoryHead, Order, Task, decode};
use crate::transport::{Event, Traffic, Transport};
use gradient_code::Plan;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Patience of the MPI transport.
#[derive(Clone, Copy, Debug)]
pub struct MpiOptions {
    /// How long the ranks may take to set themselves up.
    pub startup_timeout: Duration,
    /// How long workers may take to confirm the end of the run before they count as lost.
    pub goodbye_timeout: Duration,
}

impl Default for MpiOptions {
    fn default() -> Self {
        Self {
            startup_timeout: Duration::from_secs(600),
            goodbye_timeout: Duration::from_secs(60),
        }
    }
}

/// Time without a completed message after which bulk data counts as standing still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Time for the last order to reach the ranks, and to be heard by one that did not finish in time.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The [`Transport`] over MPI, at rank 0.
pub struct MpiTransport {
    pub(super) requests: Requests,
    pub(super) options: MpiOptions,
    pub(super) workers: usize,
    pub(super) ranks: Vec<Peer>,
    /// What each request in flight is for.
    pub(super) purposes: HashMap<Ticket, Purpose>,
    pub(super) events: VecDeque<Event>,
    pool: Vec<Buffer>,
    started: Instant,
    /// When a message was completed last.
    last_moved: Instant,
    pub(super) traffic: Traffic,
    completions: Vec<Completion>,
    /// The ranks have been told that the run is over.
    pub(super) over: bool,
    /// Bytes of the parameters: no memory is longer.
    pub(super) longest_memory: usize,
}

impl MpiTransport {
    /// Opens the transport for `workers` logical workers on the session's worker ranks.
    ///
    /// # Errors
    /// If there is no worker rank, or a receive cannot be posted.
    pub fn new(
        session: &Session,
        workers: usize,
        options: MpiOptions,
    ) -> Result<Self, TransportError> {
        if session.size() < 2 {
            return Err(TransportError::Initialization(
                "there is no worker rank: start at least 2 ranks".to_owned(),
            ));
        }
        let mut transport = Self {
            requests: Requests::new(session.raw()),
            options,
            workers,
            ranks: (0..session.size()).map(|_| Peer::default()).collect(),
            purposes: HashMap::new(),
            events: VecDeque::new(),
            pool: Vec::new(),
            started: Instant::now(),
            last_moved: Instant::now(),
            traffic: Traffic::default(),
            completions: Vec::new(),
            over: false,
            longest_memory: 0,
        };
        for rank in transport.worker_ranks() {
            transport.expect_report(rank)?;
        }
        Ok(transport)
    }

    /// Sets the number of logical workers and the patience, once the configuration is known.
    pub fn configure(&mut self, workers: usize, options: MpiOptions) {
        self.workers = workers;
        self.options = options;
    }

    pub(super) fn worker_ranks(&self) -> std::ops::Range<usize> {
        1..self.ranks.len()
    }

    /// The logical workers hosted by `rank`.
    fn hosted(&self, rank: usize) -> impl Iterator<Item = usize> + use<> {
        let ranks = self.ranks.len();
        (0..self.workers).filter(move |&worker| host_of(worker, ranks) == rank)
    }

    pub(super) fn expect_report(&mut self, rank: usize) -> Result<(), TransportError> {
        let ticket = self.requests.receive_control(rank, tag::REPORT)?;
        self.purposes.insert(ticket, Purpose::Report);
        Ok(())
    }

    /// Handles everything that is complete now; true when there was something.
    pub(super) fn pump(&mut self) -> Result<bool, TransportError> {
        let mut completions = std::mem::take(&mut self.completions);
        self.requests.poll(&mut completions)?;
        let any = !completions.is_empty();
        if any {
            self.last_moved = Instant::now();
        }
        for completion in completions.drain(..) {
            let purpose = self.purposes.remove(&completion.ticket);
            let rank = completion.rank;
            let handled = match completion.outcome {
                Ok(done) => self.handle(rank, purpose, done),
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                self.lose(rank, error.to_string());
            }
        }
        self.completions = completions;
        self.keep_alive();
        Ok(any)
    }

    fn handle(
        &mut self,
        rank: usize,
        purpose: Option<Purpose>,
        done: Done,
    ) -> Result<(), TransportError> {
        match (purpose, done) {
            (Some(Purpose::Report), Done::Control(bytes)) => {
                self.traffic.up += CONTROL_BYTES as u64;
                self.report(rank, decode(&bytes[..]))
            }
            (Some(Purpose::Frame), Done::Landed(bytes)) => {
                self.traffic.up += bytes as u64;
                self.frame_chunk(rank)
            }
            (Some(Purpose::Memory), Done::Landed(bytes)) => {
                self.traffic.up += bytes as u64;
                self.memory_chunk(rank)
            }
            (Some(Purpose::Chunk), Done::Sent) => {
                if let Some(first) = self.ranks[rank].outgoing.front_mut() {
                    first.chunks.complete_one();
                }
                self.push_chunks(rank)
            }
            (Some(Purpose::Reason), Done::Landed(bytes)) => {
                self.traffic.up += bytes as u64;
                self.failed(rank)
            }
            (Some(Purpose::Answer), Done::Landed(_)) => {
                let landing = self.ranks[rank].answer.take();
                let text = landing.and_then(|landing| landing.finish().ok());
                let answer = text.and_then(|text| serde_json::from_slice(text.bytes()).ok());
                self.ranks[rank].answered =
                    Some(answer.ok_or_else(|| {
                        protocol(rank, "an answer to the briefing that is not JSON")
                    })?);
                Ok(())
            }
            (Some(Purpose::Order), Done::Sent) => Ok(()),
            _ => Err(protocol(rank, "a completion nobody asked for")),
        }
    }

    /// Marks a rank as lost: its workers will not be heard of again.
    pub(super) fn lose(&mut self, rank: usize, reason: String) {
        if rank >= self.ranks.len() || self.ranks[rank].lost.is_some() {
            return;
        }
        for worker in self.hosted(rank) {
            let reason = format!("rank {rank}: {reason}");
            self.events.push_back(Event::Lost { worker, reason });
        }
        self.ranks[rank].lost = Some(reason);
    }

    /// Moves messages until every rank that can be expected to has said goodbye.
    fn await_goodbyes(&mut self, until: Instant) {
        let waiting = |peer: &Peer| !peer.goodbye && !peer.is_missing();
        self.pump_while(until, |all| all.ranks[1..].iter().any(waiting));
    }

    fn pump_while(&mut self, until: Instant, goes_on: impl Fn(&Self) -> bool) {
        while Instant::now() < until && goes_on(self) {
            if !matches!(self.pump(), Ok(true)) {
                pause(self.bulk_moves());
            }
        }
    }

    /// Whether bulk data is on its way and arrives. What lies before a silent rank does not count:
    /// waiting for it must not cost a core.
    fn bulk_moves(&self) -> bool {
        let under_way = |peer: &Peer| {
            !peer.outgoing.is_empty() || !peer.incoming.is_empty() || peer.recalled.is_some()
        };
        self.last_moved.elapsed() < STANDSTILL
            && (self.ranks.iter()).any(|peer| !peer.is_missing() && under_way(peer))
    }
}

impl Transport for MpiTransport {
    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn start(&mut self, task: Task, model: &Model) -> Result<(), TransportError> {
        let rank = host_of(task.worker as usize, self.ranks.len());
        self.longest_memory = (*model.values).as_ref().len();
        let known = self.ranks[rank].model.replace(model.version);
        let (at, bulk, bytes) = bulk_of(model, &model.delivery(known));
        self.order(rank, Order::Compute { task, at });
        for bulk in bulk {
            self.send_bulk(rank, bulk, bytes);
        }
        Ok(())
    }

    fn verdict(&mut self, header: &Header, send: bool) -> Result<(), TransportError> {
        let worker = header.worker as usize;
        let rank = host_of(worker, self.ranks.len());
        let (worker_id, sequence) = (header.worker, header.sequence);
        self.order(
            rank,
            Order::Verdict {
                worker: worker_id,
                sequence,
                send,
            },
        );
        if send && self.ranks[rank].lost.is_none() {
            let bytes = usize::try_from(header.frame_bytes).unwrap_or(usize::MAX);
            let mut buffer = self.pool.pop().unwrap_or_default();
            buffer.resize(bytes);
            self.ranks[rank].incoming.push_back(Incoming {
                worker,
                sequence,
                landing: Landing::new(buffer),
                chunks: Chunks::new(bytes),
            });
            if let Err(error) = self.pull_chunks(rank) {
                self.lose(rank, error.to_string());
            }
        }
        Ok(())
    }

    fn poll(&mut self, until: f64, events: &mut Vec<Event>) -> Result<(), TransportError> {
        loop {
            let any = self.pump()?;
            if !self.events.is_empty() {
                events.extend(self.events.drain(..));
                return Ok(());
            }
            // Only a quiet poll ends the wait: what has arrived before the deadline counts.
            if !any && self.now() >= until {
                return Ok(());
            }
            if !any {
                pause(self.bulk_moves());
            }
        }
    }

    fn progress(&mut self) -> Result<(), TransportError> {
        while self.pump()? {}
        Ok(())
    }

    fn real_time(&self) -> bool {
        true
    }

    fn publish(&mut self, plan: &Plan) -> Result<(), TransportError> {
        let text = serde_json::to_vec(plan).map_err(|error| TransportError::Protocol {
            rank: 0,
            what: format!("a plan that cannot be written: {error}"),
        })?;
        let text = Arc::new(text);
        for rank in self.worker_ranks() {
            if self.ranks[rank].lost.is_none() {
                let bytes = text.len() as u64;
                self.order(rank, Order::Plan { bytes });
                self.send_bulk(rank, Bulk::Text(text.clone()), text.len());
            }
        }
        Ok(())
    }

    fn recall(&mut self, worker: usize) -> Result<(), TransportError> {
        let rank = host_of(worker, self.ranks.len());
        let worker = worker as u32;
        self.order(rank, Order::Recall { worker });
        Ok(())
    }

    fn restore(&mut self, memory: Memory) -> Result<(), TransportError> {
        let rank = host_of(memory.worker as usize, self.ranks.len());
        let residual = Arc::new(Parameters(memory.residual));
        let bytes = (*residual).as_ref().len();
        // It may be recalled before anybody was sent a model.
        self.longest_memory = self.longest_memory.max(bytes);
        let head = MemoryHead {
            worker: memory.worker,
            rate: memory.rate,
            weight: memory.weight,
            bytes: bytes as u64,
        };
        self.order(rank, Order::Memory(head));
        self.send_bulk(rank, Bulk::Memory(residual), bytes);
        Ok(())
    }

    fn give_up(&mut self, worker: usize) {
        let rank = host_of(worker, self.ranks.len());
        self.ranks[rank].given_up.push(worker);
    }

    fn recycle(&mut self, frame: Buffer) {
        self.pool.push(frame);
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn finish(&mut self, code: u8) -> Ending {
        let until = Instant::now() + self.options.goodbye_timeout;
        let missing = |all: &[Peer]| all.iter().any(Peer::is_missing);
        if !missing(&self.ranks[1..]) {
            for rank in self.worker_ranks() {
                self.order(rank, Order::Finish);
            }
            self.await_goodbyes(until);
        }
        // Only now is it known whether MPI can be finalized, and no rank has begun to.
        let accounted_for = self.ranks[1..].iter().all(|peer| peer.goodbye);
        let ending = match accounted_for && !missing(&self.ranks[1..]) {
            true => Ending::Clean(code),
            false => Ending::Lost(code),
        };
        for rank in self.worker_ranks() {
            self.order(rank, Order::Stop(ending));
        }
        self.over = true;
        let soon = Instant::now() + LAST_WORD;
        self.await_goodbyes(until.max(soon));
        let is_order = |purpose: &Purpose| matches!(purpose, Purpose::Order);
        self.pump_while(soon, |all| all.purposes.values().any(is_order));
        ending
    }
}

pub(super) fn protocol(rank: usize, what: &str) -> TransportError {
    TransportError::Protocol {
        rank,
        what: what.to_owned(),
    }
}
