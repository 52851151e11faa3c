//! Bulk data on its way to the master, and the injected faults that may meet it there.

use super::Chunks;
use crate::buffer::Parameters;
use crate::faults::{FaultKind, Injected, Phase, freeze_this_process, kill_this_process};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a worker sends.
pub(super) enum Payload {
    /// A coded gradient.
    Frame(Arc<Vec<u8>>),
    /// What the worker has still to deliver, for a checkpoint.
    Memory(Arc<Parameters>),
}

/// Bulk data that is sent chunk by chunk.
pub(super) struct Outgoing {
    pub payload: Payload,
    pub chunks: Chunks,
    /// What is to happen half-way.
    fault: Option<Halfway>,
    /// No further chunk before this moment.
    held_until: Option<Instant>,
}

/// A fault that strikes after the first of several chunks, or before the only one.
enum Halfway {
    Kill,
    Freeze(f64),
    Delay(Duration),
}

impl Outgoing {
    /// A memory of `bytes` bytes.
    pub fn memory(memory: Arc<Parameters>, bytes: usize) -> Self {
        Self {
            chunks: Chunks::new(bytes),
            payload: Payload::Memory(memory),
            fault: None,
            held_until: None,
        }
    }

    /// A frame, with what is to go wrong on its way.
    pub fn frame(frame: Vec<u8>, injected: &Injected) -> Self {
        let seconds = |kind| injected.seconds(kind, Phase::Payload);
        let has = |kind| injected.has(kind, Phase::Payload);
        let fault = if has(FaultKind::Kill) {
            Some(Halfway::Kill)
        } else if has(FaultKind::Freeze) {
            Some(Halfway::Freeze(seconds(FaultKind::Freeze)))
        } else if has(FaultKind::Delay) {
            let delay = Duration::from_secs_f64(seconds(FaultKind::Delay).max(0.0));
            Some(Halfway::Delay(delay))
        } else {
            None
        };
        Self {
            chunks: Chunks::new(frame.len()),
            payload: Payload::Frame(Arc::new(frame)),
            fault,
            held_until: None,
        }
    }

    /// Whether an injected delay keeps it where it is.
    pub fn is_held(&self) -> bool {
        self.held_until.is_some_and(|until| Instant::now() < until)
    }

    /// The next chunk to send, if it is time for one.
    pub fn next_chunk(&mut self) -> Option<Range<usize>> {
        if self.is_held() {
            return None;
        }
        if self.fault.is_some() && self.chunks.is_half_way() {
            match self.fault.take() {
                Some(Halfway::Kill) => kill_this_process(),
                Some(Halfway::Freeze(seconds)) => freeze_this_process(seconds),
                Some(Halfway::Delay(delay)) => {
                    self.held_until = Some(Instant::now() + delay);
                    return None;
                }
                None => {}
            }
        }
        if self.fault.is_some() && self.chunks.in_flight > 0 {
            return None; // the first chunk goes out alone
        }
        self.chunks.next()
    }
}
