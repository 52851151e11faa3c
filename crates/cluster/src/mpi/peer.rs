//! What the master knows of a worker rank.

use super::bulk::Outgoing;
use super::incoming::Incoming;
use super::orders::Answer;
use super::recall::Recalled;
use crate::buffer::Landing;
use crate::message::Header;
use std::collections::VecDeque;
use std::time::Instant;

/// A worker rank as the master sees it. Index 0 of the list is the master itself, never used.
#[derive(Default)]
pub(super) struct Peer {
    /// The version of the model sent last.
    pub(super) model: Option<u64>,
    /// Bulk data on its way to it, in order.
    pub(super) outgoing: VecDeque<Outgoing>,
    /// Frames that it was asked for, in order.
    pub(super) incoming: VecDeque<Incoming>,
    /// Failed tasks whose reason is on its way.
    pub(super) failures: VecDeque<(Header, Landing)>,
    /// A memory on its way to a checkpoint.
    pub(super) recalled: Option<Recalled>,
    /// Its answer to the briefing, on its way.
    pub(super) answer: Option<Landing>,
    /// The answer.
    pub(super) answered: Option<Answer>,
    /// When it was sent something last.
    pub(super) last_order: Option<Instant>,
    /// Why nothing more can be expected of it.
    pub(super) lost: Option<String>,
    /// Its workers that the master has given up and that have not reported since.
    pub(super) given_up: Vec<usize>,
    /// It has confirmed the end of the run.
    pub(super) goodbye: bool,
}

impl Peer {
    /// Whether nothing can be expected of the rank: it failed, or a worker of it is silent.
    pub(super) fn is_missing(&self) -> bool {
        self.lost.is_some() || !self.given_up.is_empty()
    }
}

/// What a request in flight is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Order,
    Chunk,
    Report,
    Answer,
    Reason,
    Frame,
    Memory,
}
