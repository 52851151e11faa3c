//! Minibatches as tensors: which samples, decoded ahead of the compute, changed, and assembled.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use coco::{Dataset, Sample, SampleCache};
use learner::{LearnerError, MinibatchOrder, minibatch};
use tch::{Device, Kind, Tensor};

use crate::augment::Augmentation;
use crate::error::TorchError;

/// The ground truth of one image as the network sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// `[x1, y1, x2, y2]` in pixels of the network's input.
    pub boxes: Vec<[f32; 4]>,
    /// Class of each box, from 1.
    pub labels: Vec<i64>,
}

/// Images and their ground truth, ready for a pass.
pub struct Batch {
    /// `[N, 3, side, side]`, f32 in [-1, 1], on the computing device.
    pub images: Tensor,
    /// Ground truth of each image.
    pub truths: Vec<Truth>,
}

/// One partition's samples of one iteration: image index and decoded sample.
pub type Minibatch = Vec<(u32, Arc<Sample>)>;

/// Turns samples into a [`Batch`] on `device`.
///
/// # Errors
/// When libtorch fails.
pub fn assemble<'a>(
    samples: impl ExactSizeIterator<Item = (&'a Sample, Augmentation)>,
    side: u32,
    device: Device,
) -> Result<Batch, TorchError> {
    let (count, side) = (samples.len(), side as usize);
    let image = 3 * side * side;
    let mut planes = vec![0u8; count * image];
    let mut truths = Vec::with_capacity(count);
    for ((sample, change), planes) in samples.zip(planes.chunks_exact_mut(image)) {
        change.pixels(sample, side, planes);
        truths.push(Truth {
            boxes: change.boxes(&sample.boxes, side),
            labels: sample.labels.clone(),
        });
    }
    // Bytes travel to the device, floats are made there.
    let size = [count as i64, 3, side as i64, side as i64];
    let images = Tensor::f_from_data_size(&planes, &size, Kind::Uint8)?
        .f_to_device(device)?
        .f_to_kind(Kind::Float)?
        .f_mul_scalar_(1.0 / 127.5)?
        .f_sub_scalar_(1.0)?;
    Ok(Batch { images, truths })
}

/// The training samples: partitions, their minibatches, and a thread that decodes ahead.
pub struct TrainingData {
    cache: Arc<SampleCache>,
    /// Image index of every sample.
    images: Arc<[u32]>,
    order: MinibatchOrder,
    ahead: Ahead,
}

impl TrainingData {
    /// Deals the trainable images of `dataset` into `partitions` and decodes them to `side`
    /// pixels, keeping up to `cache_bytes` of them, with `threads` decoding threads.
    ///
    /// # Errors
    /// [`LearnerError::Setting`] when a partition would be empty.
    pub fn new(
        dataset: Arc<Dataset>,
        partitions: usize,
        batch: usize,
        seed: u64,
        side: u32,
        cache_bytes: u64,
        threads: usize,
    ) -> Result<Self, LearnerError> {
        let images: Arc<[u32]> = dataset.trainable_images().into();
        let dealt = minibatch::partition(images.len() as u32, partitions, seed);
        let order = MinibatchOrder::new(dealt, batch, seed)?;
        let cache = Arc::new(SampleCache::new(dataset, side, cache_bytes));
        Ok(Self {
            ahead: Ahead::new(cache.clone(), threads),
            cache,
            images,
            order,
        })
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.order.partitions()
    }

    /// Samples over all partitions.
    pub fn samples(&self) -> usize {
        self.images.len()
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

    /// The data set.
    pub fn dataset(&self) -> &Arc<Dataset> {
        self.cache.dataset()
    }

    /// Up to `limit` image indices spread evenly over the training images.
    pub fn spread(&self, limit: usize) -> impl Iterator<Item = u32> + '_ {
        let (count, wanted) = (self.images.len(), limit.min(self.images.len()));
        (0..wanted).map(move |i| self.images[i * count / wanted])
    }

    /// The decoded sample of an image.
    ///
    /// # Errors
    /// [`LearnerError::Data`] naming the file.
    pub fn sample(&self, image: u32) -> Result<Arc<Sample>, LearnerError> {
        Ok(self.cache.get(image as usize)?)
    }

    /// The minibatch of each of `partitions` in `iteration`: (image index, decoded sample).
    /// Decoding of the same partitions' next minibatches starts in the background.
    ///
    /// # Errors
    /// [`LearnerError::UnknownPartition`], and [`LearnerError::Data`] naming the file.
    pub fn minibatches(
        &mut self,
        partitions: &[usize],
        iteration: u64,
    ) -> Result<Vec<Minibatch>, LearnerError> {
        let count = self.partitions();
        if let Some(&partition) = partitions.iter().find(|&&p| p >= count) {
            return Err(LearnerError::UnknownPartition {
                partition,
                partitions: count,
            });
        }
        let needed: Vec<Vec<u32>> = partitions
            .iter()
            .map(|&partition| self.image_indices(partition, iteration))
            .collect();
        let mut decoded = self.ahead.take();
        let minibatches = needed
            .into_iter()
            .map(|images| {
                images
                    .into_iter()
                    .map(|image| match decoded.remove(&image) {
                        Some(sample) => Ok((image, sample)),
                        None => Ok((image, self.sample(image)?)),
                    })
                    .collect()
            })
            .collect::<Result<_, LearnerError>>()?;
        let next = partitions
            .iter()
            .flat_map(|&partition| self.image_indices(partition, iteration + 1))
            .collect();
        self.ahead.request(next);
        Ok(minibatches)
    }

    fn image_indices(&self, partition: usize, iteration: u64) -> Vec<u32> {
        self.order
            .samples(partition, iteration)
            .into_iter()
            .map(|sample| self.images[sample as usize])
            .collect()
    }
}

type Decoded = HashMap<u32, Arc<Sample>>;

/// A thread that decodes the samples the next iteration will want. It only saves time: samples it
/// could not decode, or nobody asks for, are dropped.
struct Ahead {
    /// `None` only while shutting down.
    requests: Option<SyncSender<Vec<u32>>>,
    results: Receiver<Decoded>,
    thread: Option<JoinHandle<()>>,
    /// Whether a request is unanswered.
    pending: bool,
}

impl Ahead {
    fn new(cache: Arc<SampleCache>, threads: usize) -> Self {
        let (requests, incoming) = sync_channel::<Vec<u32>>(1);
        let (outgoing, results) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("decode".into())
            .spawn(move || {
                while let Ok(images) = incoming.recv() {
                    if outgoing.send(decode(&cache, &images, threads)).is_err() {
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
    fn take(&mut self) -> Decoded {
        if !std::mem::take(&mut self.pending) {
            return Decoded::new();
        }
        self.results.recv().unwrap_or_default()
    }

    fn request(&mut self, images: Vec<u32>) {
        self.pending = self
            .requests
            .as_ref()
            .is_some_and(|requests| requests.send(images).is_ok());
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Closing the channel ends the thread; an unread answer fits into its channel.
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn decode(cache: &SampleCache, images: &[u32], threads: usize) -> Decoded {
    let one = |images: &[u32]| -> Minibatch {
        images
            .iter()
            .filter_map(|&image| Some((image, cache.get(image as usize).ok()?)))
            .collect()
    };
    let share = images.len().div_ceil(threads.max(1)).max(1);
    if share >= images.len() {
        return one(images).into_iter().collect();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = images
            .chunks(share)
            .map(|images| scope.spawn(move || one(images)))
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_default())
            .collect()
    })
}
