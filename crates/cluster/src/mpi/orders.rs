//! What the master sends: orders, the bulk data that they announce, briefings, signs of life.

use super::bulk::{Bulk, Outgoing};
use super::master::MpiTransport;
use super::peer::{Peer, Purpose};
use super::{Chunks, pause, tag};
use crate::error::TransportError;
use crate::message::{CONTROL_BYTES, Order, encode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An idle master sends each rank a sign of life this often, so that workers can tell a master
/// that evaluates from one that died.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What a rank answered to its briefing: a text, or its exit code and the reason for it.
pub type Answer = Result<String, (u8, String)>;

impl MpiTransport {
    /// Sends every rank what it must know to set itself up.
    pub fn brief(&mut self, briefing: &str) {
        let text = Arc::new(briefing.as_bytes().to_vec());
        for rank in self.worker_ranks() {
            let bytes = text.len() as u64;
            self.order(rank, Order::Briefing { bytes });
            self.send_bulk(rank, Bulk::Text(text.clone()), text.len());
        }
    }

    /// Waits until every rank has answered its briefing; entry r is rank r's answer.
    ///
    /// A rank that stays silent beyond the start-up timeout answers, in effect, that it failed.
    pub fn answers(&mut self) -> Result<Vec<(usize, Answer)>, TransportError> {
        let until = Instant::now() + self.options.startup_timeout;
        loop {
            self.pump()?;
            let open = |peer: &Peer| peer.answered.is_none() && peer.lost.is_none();
            if !self.ranks[1..].iter().any(open) || Instant::now() >= until {
                break;
            }
            pause(false);
        }
        let seconds = self.options.startup_timeout.as_secs();
        Ok(self
            .worker_ranks()
            .map(|rank| {
                let peer = &mut self.ranks[rank];
                let answer = peer.answered.take().unwrap_or_else(|| {
                    let reason = peer
                        .lost
                        .get_or_insert_with(|| format!("no answer within {seconds} s of start-up"));
                    Err((30, reason.clone()))
                });
                (rank, answer)
            })
            .collect())
    }

    /// Sends an order. A rank that cannot be sent anything is lost, and no reason for the run to end.
    pub(super) fn order(&mut self, rank: usize, order: Order) {
        if self.ranks[rank].lost.is_some() {
            return;
        }
        match self.requests.send_control(encode(&order), rank, tag::ORDER) {
            Ok(ticket) => {
                self.purposes.insert(ticket, Purpose::Order);
                self.traffic.down += CONTROL_BYTES as u64;
                self.ranks[rank].last_order = Some(Instant::now());
            }
            Err(error) => self.lose(rank, error.to_string()),
        }
    }

    /// Sends what an order has announced; see [`Self::order`] for a rank that is lost.
    pub(super) fn send_bulk(&mut self, rank: usize, data: Bulk, bytes: usize) {
        if self.ranks[rank].lost.is_some() {
            return;
        }
        self.traffic.down += bytes as u64;
        let chunks = Chunks::new(bytes);
        self.ranks[rank]
            .outgoing
            .push_back(Outgoing { data, chunks });
        if let Err(error) = self.push_chunks(rank) {
            self.lose(rank, error.to_string());
        }
    }

    /// Posts the next chunks of the first unfinished transfer to `rank`.
    pub(super) fn push_chunks(&mut self, rank: usize) -> Result<(), TransportError> {
        let peer = &mut self.ranks[rank];
        while peer
            .outgoing
            .front()
            .is_some_and(|first| first.chunks.is_complete())
        {
            peer.outgoing.pop_front();
        }
        let Some(first) = peer.outgoing.front_mut() else {
            return Ok(());
        };
        while let Some(range) = first.chunks.next() {
            let ticket = first.data.send(&mut self.requests, range, rank)?;
            self.purposes.insert(ticket, Purpose::Chunk);
        }
        Ok(())
    }

    /// Sends a sign of life to every rank that was sent nothing for a while.
    pub(super) fn keep_alive(&mut self) {
        if self.over {
            return; // nobody listens after that
        }
        let now = Instant::now();
        for rank in self.worker_ranks() {
            let peer = &self.ranks[rank];
            let due = peer
                .last_order
                .is_none_or(|last| now.duration_since(last) >= KEEP_ALIVE);
            if due && peer.lost.is_none() {
                self.order(rank, Order::KeepAlive);
            }
        }
    }
}
