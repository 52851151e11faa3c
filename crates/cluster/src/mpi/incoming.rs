//! What the worker ranks send: reports, and the frames and texts that these announce.

use super::master::{MpiTransport, protocol};
use super::peer::Purpose;
use super::{Chunks, host_of, tag};
use crate::buffer::{Buffer, Landing};
use crate::error::TransportError;
use crate::message::{Header, Report};
use crate::transport::Event;

/// Length of the longest text that a worker rank may send.
const TEXT_LIMIT: usize = 16 << 20;

/// A frame on its way from a rank.
pub(super) struct Incoming {
    pub(super) worker: usize,
    pub(super) sequence: u64,
    pub(super) landing: Landing,
    pub(super) chunks: Chunks,
}

impl MpiTransport {
    /// Takes in what a rank says.
    pub(super) fn report(
        &mut self,
        rank: usize,
        report: Option<Report>,
    ) -> Result<(), TransportError> {
        match report {
            Some(Report::Goodbye) => {
                self.ranks[rank].goodbye = true;
                return Ok(()); // the last message of the rank: expect no other
            }
            Some(Report::Ready { bytes }) => {
                let landing = self.expect_text(rank, bytes, tag::ANSWER, Purpose::Answer)?;
                self.ranks[rank].answer = Some(landing);
            }
            Some(Report::Header(header)) => {
                self.heard_of(rank, &header)?;
                self.events.push_back(Event::Header(header));
            }
            Some(Report::Failure { header, bytes }) => {
                self.heard_of(rank, &header)?;
                let landing = self.expect_text(rank, bytes, tag::REASON, Purpose::Reason)?;
                self.ranks[rank].failures.push_back((header, landing));
            }
            Some(Report::Memory(head)) => self.expect_memory(rank, head)?,
            None => return Err(protocol(rank, "a control message of another version")),
        }
        self.expect_report(rank)
    }

    /// Checks that a report is of a worker that lives on this rank.
    fn heard_of(&mut self, rank: usize, header: &Header) -> Result<(), TransportError> {
        let worker = header.worker as usize;
        if worker >= self.workers || host_of(worker, self.ranks.len()) != rank {
            return Err(protocol(rank, "a header of a worker it does not host"));
        }
        self.ranks[rank].given_up.retain(|&given| given != worker);
        Ok(())
    }

    /// Posts the receive of a short text.
    fn expect_text(
        &mut self,
        rank: usize,
        bytes: u64,
        tag: i32,
        purpose: Purpose,
    ) -> Result<Landing, TransportError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > TEXT_LIMIT {
            return Err(protocol(rank, "a text longer than 16 MiB"));
        }
        let landing = Landing::new(Buffer::zeroed(bytes));
        let ticket = self.requests.receive_into(&landing, 0, bytes, rank, tag)?;
        self.purposes.insert(ticket, purpose);
        Ok(landing)
    }

    /// Passes on the failures whose reasons are complete, in the order in which they came.
    pub(super) fn failed(&mut self, rank: usize) -> Result<(), TransportError> {
        let failures = &mut self.ranks[rank].failures;
        while let Some((header, landing)) = failures.pop_front() {
            match landing.finish() {
                Ok(text) => {
                    let reason = String::from_utf8_lossy(text.bytes()).into_owned();
                    self.events.push_back(Event::Failure { header, reason });
                }
                Err(landing) => {
                    failures.push_front((header, landing));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Counts a chunk of a frame as received, and passes the frame on when it is whole.
    pub(super) fn frame_chunk(&mut self, rank: usize) -> Result<(), TransportError> {
        let incoming = &mut self.ranks[rank].incoming;
        let complete = incoming
            .front_mut()
            .is_some_and(|first| first.chunks.complete_one());
        if complete && let Some(first) = incoming.pop_front() {
            let frame = first
                .landing
                .finish()
                .map_err(|_| protocol(rank, "a frame that is still being received"))?;
            self.events.push_back(Event::Frame {
                worker: first.worker,
                sequence: first.sequence,
                frame,
            });
        }
        self.pull_chunks(rank)
    }

    /// Posts the next chunk receives of the first granted frame of `rank`.
    pub(super) fn pull_chunks(&mut self, rank: usize) -> Result<(), TransportError> {
        let Some(first) = self.ranks[rank].incoming.front_mut() else {
            return Ok(());
        };
        while let Some(range) = first.chunks.next() {
            let ticket = self.requests.receive_into(
                &first.landing,
                range.start,
                range.len(),
                rank,
                tag::FRAME,
            )?;
            self.purposes.insert(ticket, Purpose::Frame);
        }
        Ok(())
    }
}
