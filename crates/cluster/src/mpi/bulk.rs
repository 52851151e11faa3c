//! Bulk data on its way from the master to a rank.

use super::requests::{Requests, Ticket};
use super::{Chunks, tag};
use crate::buffer::Parameters;
use crate::downlink::{Delivery, Halves, Model};
use crate::error::TransportError;
use crate::message::At;
use std::ops::Range;
use std::sync::Arc;

/// A transfer that is sent chunk by chunk.
pub(super) struct Outgoing {
    pub data: Bulk,
    pub chunks: Chunks,
}

/// What is sent.
pub(super) enum Bulk {
    /// The model.
    Parameters(Arc<Parameters>),
    /// The model in half precision.
    Halves(Arc<Halves>),
    /// An update of the model.
    Update(Arc<Vec<u8>>),
    /// A briefing or a plan.
    Text(Arc<Vec<u8>>),
    /// What a worker had still to deliver, from a checkpoint.
    Memory(Arc<Parameters>),
}

impl Bulk {
    /// Posts the send of one chunk.
    pub fn send(
        &self,
        requests: &mut Requests,
        range: Range<usize>,
        rank: usize,
    ) -> Result<Ticket, TransportError> {
        match self {
            Self::Parameters(data) => requests.send_shared(data, range, rank, tag::PARAMETERS),
            Self::Halves(data) => requests.send_shared(data, range, rank, tag::PARAMETERS),
            Self::Update(data) => requests.send_shared(data, range, rank, tag::PARAMETERS),
            Self::Text(data) => requests.send_shared(data, range, rank, tag::TEXT),
            Self::Memory(data) => requests.send_shared(data, range, rank, tag::MEMORY),
        }
    }
}

/// How a delivery is announced, the transfers that it consists of, and the length of each.
pub(super) fn bulk_of(model: &Model, delivery: &Delivery<'_>) -> (At, Vec<Bulk>, usize) {
    let length = model.bytes(delivery);
    let bytes = length as u64;
    match delivery {
        Delivery::Nothing => (At::Last, Vec::new(), 0),
        Delivery::Whole => {
            let bulk = Bulk::Parameters(model.values.clone());
            (At::Whole { bytes }, vec![bulk], length)
        }
        Delivery::Halves(halves) => {
            let bulk = Bulk::Halves((*halves).clone());
            (At::Halves { bytes }, vec![bulk], length)
        }
        Delivery::Updates(updates) => {
            let each = length / updates.len(); // there is one, or the rank would have the model
            let at = At::Updated {
                first: updates[0].iteration,
                count: updates.len() as u32,
                bytes: each as u64,
            };
            let frames = updates.iter().map(|update| update.frame.clone());
            (at, frames.map(Bulk::Update).collect(), each)
        }
    }
}
