//! What the master sends to a rank, in its order: tasks, and the bulk data between them.

use super::worker::WorkerRank;
use super::{Chunks, tag};
use crate::buffer::{Buffer, Landing};
use crate::error::TransportError;
use crate::message::{MemoryHead, Task};
use std::time::Instant;

/// What the master has sent, in its order; bulk data is received for the first entry only.
pub(super) enum Inbox {
    Task(Task, Instant),
    Bulk(Bulk, Landing, Chunks),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Bulk {
    Parameters,
    Halves,
    Update { iteration: u64 },
    Briefing,
    Plan,
    Memory(MemoryHead),
}

/// Bulk data a briefing or plan may at most hold; parameters are bounded by the plan instead.
const TEXT_LIMIT: u64 = 1 << 30;

impl WorkerRank {
    /// Makes room for what an order has announced.
    pub(super) fn expect_bulk(&mut self, kind: Bulk, bytes: u64) -> Result<(), TransportError> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if matches!(kind, Bulk::Briefing | Bulk::Plan) && bytes > TEXT_LIMIT {
            return Err(self.protocol(format!("a text of {bytes} bytes")));
        }
        let mut buffer = match kind {
            Bulk::Parameters => self.spare_buffer(),
            _ => Buffer::default(),
        };
        buffer.resize(length);
        let landing = Landing::new(buffer);
        let chunks = Chunks::new(length);
        self.inbox.push_back(Inbox::Bulk(kind, landing, chunks));
        Ok(())
    }

    /// Posts the next receives of the bulk data at the head of the inbox.
    pub(super) fn pull_chunks(&mut self) -> Result<(), TransportError> {
        if let Some(Inbox::Bulk(kind, landing, chunks)) = self.inbox.front_mut() {
            let tag = match kind {
                Bulk::Parameters | Bulk::Halves | Bulk::Update { .. } => tag::PARAMETERS,
                Bulk::Briefing | Bulk::Plan => tag::TEXT,
                Bulk::Memory(_) => tag::MEMORY,
            };
            while let Some(range) = chunks.next() {
                self.requests
                    .receive_into(landing, range.start, range.len(), 0, tag)?;
            }
        }
        Ok(())
    }

    /// The bulk data at the head of the inbox, once it is complete.
    pub(super) fn take_bulk(&mut self) -> Result<Option<(Bulk, Buffer)>, TransportError> {
        match self.inbox.front() {
            Some(Inbox::Bulk(_, _, chunks)) if chunks.is_complete() => {}
            _ => return Ok(None),
        }
        let Some(Inbox::Bulk(kind, landing, _)) = self.inbox.pop_front() else {
            return Ok(None);
        };
        let buffer = landing
            .finish()
            .map_err(|_| self.protocol("bulk data that is still being received".to_owned()))?;
        self.pull_chunks()?;
        Ok(Some((kind, buffer)))
    }
}
