//! Memories of error feedback on their way to the master, for a checkpoint.

use super::master::{MpiTransport, protocol};
use super::peer::Purpose;
use super::{Chunks, tag};
use crate::buffer::{Buffer, Landing};
use crate::error::TransportError;
use crate::memory::Memory;
use crate::message::MemoryHead;
use crate::transport::Event;

/// A worker's memory on its way from a rank.
pub(super) struct Recalled {
    head: MemoryHead,
    landing: Landing,
    chunks: Chunks,
}

impl MpiTransport {
    /// Posts the next chunk receives of a recalled memory.
    fn pull_memory(&mut self, rank: usize) -> Result<(), TransportError> {
        let Some(recalled) = &mut self.ranks[rank].recalled else {
            return Ok(());
        };
        while let Some(range) = recalled.chunks.next() {
            let ticket = self.requests.receive_into(
                &recalled.landing,
                range.start,
                range.len(),
                rank,
                tag::MEMORY,
            )?;
            self.purposes.insert(ticket, Purpose::Memory);
        }
        Ok(())
    }

    /// Takes in a worker's answer to a recall.
    pub(super) fn expect_memory(
        &mut self,
        rank: usize,
        head: MemoryHead,
    ) -> Result<(), TransportError> {
        if head.bytes == 0 {
            let worker = head.worker as usize;
            let memory = None;
            self.events.push_back(Event::Memory { worker, memory });
            return Ok(());
        }
        let bytes = usize::try_from(head.bytes).unwrap_or(usize::MAX);
        if bytes > self.longest_memory || self.ranks[rank].recalled.is_some() {
            return Err(protocol(rank, "a memory longer than the model"));
        }
        self.ranks[rank].recalled = Some(Recalled {
            head,
            landing: Landing::new(Buffer::zeroed(bytes)),
            chunks: Chunks::new(bytes),
        });
        self.pull_memory(rank)
    }

    /// Counts a chunk of a memory as received, and passes the memory on when it is whole.
    pub(super) fn memory_chunk(&mut self, rank: usize) -> Result<(), TransportError> {
        let recalled = &mut self.ranks[rank].recalled;
        let complete = recalled
            .as_mut()
            .is_some_and(|recalled| recalled.chunks.complete_one());
        if complete && let Some(recalled) = recalled.take() {
            let buffer = recalled
                .landing
                .finish()
                .map_err(|_| protocol(rank, "a memory that is still being received"))?;
            let memory = Memory {
                worker: recalled.head.worker,
                rate: recalled.head.rate,
                weight: recalled.head.weight,
                residual: buffer.f32s().to_vec(),
            };
            self.events.push_back(Event::Memory {
                worker: recalled.head.worker as usize,
                memory: Some(memory),
            });
        }
        self.pull_memory(rank)
    }
}
