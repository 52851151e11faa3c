//! Minibatches: which samples an iteration uses, read ahead of the compute.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use learner::{LearnerError, MinibatchOrder, minibatch};

use crate::source::Source;

/// One partition's samples of one iteration: their places in the set, and the samples.
pub type Minibatch<S> = Vec<(u32, Arc<<S as Source>::Item>)>;

/// The training samples: partitions, their minibatches, and a thread that reads ahead.
pub struct TrainingData<S: Source> {
    source: Arc<S>,
    /// The place in the set of every training sample.
    places: Arc<[u32]>,
    order: MinibatchOrder,
    ahead: Ahead<S>,
}

impl<S: Source> TrainingData<S> {
    /// Deals the trainable samples of `source` into `partitions`, with minibatches of `batch` samples
    /// (0 for whole partitions) that `threads` threads read ahead.
    ///
    /// # Errors
    /// [`LearnerError::Setting`] when a partition would be empty.
    pub fn new(
        source: Arc<S>,
        partitions: usize,
        batch: usize,
        seed: u64,
        threads: usize,
    ) -> Result<Self, LearnerError> {
        let places: Arc<[u32]> = source.trainable().into();
        let dealt = minibatch::partition(places.len() as u32, partitions, seed);
        let order = MinibatchOrder::new(dealt, batch, seed)?;
        Ok(Self {
            ahead: Ahead::new(source.clone(), threads),
            source,
            places,
            order,
        })
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.order.partitions()
    }

    /// Samples over all partitions.
    pub fn samples(&self) -> usize {
        self.places.len()
    }

    /// Samples in a minibatch: the configured number, or the largest partition's size where that
    /// is smaller or the number is 0.
    pub fn batch(&self) -> usize {
        let largest = (0..self.partitions())
            .map(|partition| self.order.partition(partition).len())
            .max()
            .unwrap_or(0);
        match self.order.batch() {
            0 => largest,
            batch => batch.min(largest),
        }
    }

    /// The fewest samples any partition's minibatch has.
    pub fn smallest_minibatch(&self) -> usize {
        let smallest = (0..self.partitions())
            .map(|partition| self.order.partition(partition).len())
            .min()
            .unwrap_or(0);
        match self.order.batch() {
            0 => smallest,
            batch => batch.min(smallest),
        }
    }

    /// Where the samples come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Up to `limit` places in the set, spread evenly over the training samples.
    pub fn spread(&self, limit: usize) -> impl Iterator<Item = u32> + '_ {
        let (count, wanted) = (self.places.len(), limit.min(self.places.len()));
        (0..wanted).map(move |i| self.places[i * count / wanted])
    }

    /// The minibatch of each of `partitions` in `iteration`.
    /// Reading of the same partitions' next minibatches starts in the background.
    ///
    /// # Errors
    /// [`LearnerError::UnknownPartition`], and [`LearnerError::Data`] naming the file.
    pub fn minibatches(
        &mut self,
        partitions: &[usize],
        iteration: u64,
    ) -> Result<Vec<Minibatch<S>>, LearnerError> {
        let count = self.partitions();
        if let Some(&partition) = partitions.iter().find(|&&p| p >= count) {
            return Err(LearnerError::UnknownPartition {
                partition,
                partitions: count,
            });
        }
        let needed: Vec<Vec<u32>> = partitions
            .iter()
            .map(|&partition| self.places(partition, iteration))
            .collect();
        let mut read = self.ahead.take();
        let minibatches = needed
            .into_iter()
            .map(|places| {
                places
                    .into_iter()
                    .map(|place| match read.remove(&place) {
                        Some(sample) => Ok((place, sample)),
                        None => Ok((place, self.source.get(place)?)),
                    })
                    .collect()
            })
            .collect::<Result<_, LearnerError>>()?;
        let next = partitions
            .iter()
            .flat_map(|&partition| self.places(partition, iteration + 1))
            .collect();
        self.ahead.request(next);
        Ok(minibatches)
    }

    fn places(&self, partition: usize, iteration: u64) -> Vec<u32> {
        self.order
            .samples(partition, iteration)
            .into_iter()
            .map(|sample| self.places[sample as usize])
            .collect()
    }
}

type ReadAhead<S> = HashMap<u32, Arc<<S as Source>::Item>>;

/// A thread that reads the samples the next iteration will want. It only saves time: samples it
/// could not read, or nobody asks for, are dropped.
struct Ahead<S: Source> {
    /// `None` only while shutting down.
    requests: Option<SyncSender<Vec<u32>>>,
    results: Receiver<ReadAhead<S>>,
    thread: Option<JoinHandle<()>>,
    /// Whether a request is unanswered.
    pending: bool,
}

impl<S: Source> Ahead<S> {
    fn new(source: Arc<S>, threads: usize) -> Self {
        let (requests, incoming) = sync_channel::<Vec<u32>>(1);
        let (outgoing, results) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("read-ahead".into())
            .spawn(move || {
                while let Ok(places) = incoming.recv() {
                    if outgoing.send(read(&*source, &places, threads)).is_err() {
                        return;
                    }
                }
            })
            .ok();
        Self {
            requests: Some(requests),
            results,
            thread,
            pending: false,
        }
    }

    /// What the last request brought; waits for it.
    fn take(&mut self) -> ReadAhead<S> {
        if !std::mem::take(&mut self.pending) {
            return ReadAhead::<S>::new();
        }
        self.results.recv().unwrap_or_default()
    }

    fn request(&mut self, places: Vec<u32>) {
        self.pending = self
            .requests
            .as_ref()
            .is_some_and(|requests| requests.send(places).is_ok());
    }
}

impl<S: Source> Drop for Ahead<S> {
    fn drop(&mut self) {
        // Closing the channel ends the thread; an unread answer fits into its channel.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read<S: Source>(source: &S, places: &[u32], threads: usize) -> ReadAhead<S> {
    let one = |places: &[u32]| -> Minibatch<S> {
        places
            .iter()
            .filter_map(|&place| Some((place, source.get(place).ok()?)))
            .collect()
    };
    let share = places.len().div_ceil(threads.max(1)).max(1);
    if share >= places.len() {
        return one(places).into_iter().collect();
    }
    std::thread::scope(|scope| {
        let readers: Vec<_> = places
            .chunks(share)
            .map(|places| scope.spawn(move || one(places)))
            .collect();
        readers
            .into_iter()
            .flat_map(|reader| reader.join().unwrap_or_default())
            .collect()
    })
}
