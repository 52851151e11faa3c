//! How large accepted messages are, to tell an exploded one and to clip the largest.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Messages over which the median is taken.
const WINDOW: usize = 200;
/// Messages that must be known before anything is judged.
const LEAST: usize = 10;

/// What is done about large messages; multiples of the running median of all workers' accepted
/// messages, as [`gradient_codec::Frame::magnitude`] measures them. 0 switches either off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// A larger message is refused.
    pub refuse: f64,
    /// A larger message is scaled down to it. This biases the estimate.
    pub clip: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            refuse: 1e6,
            clip: 0.0,
        }
    }
}

/// The sizes of the last accepted messages. Part of what a run has to know when it goes on later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Norms {
    accepted: VecDeque<f64>,
    /// Worker and size of the messages refused since the last accepted one.
    exploded: Vec<(usize, f64)>,
    /// Messages clipped since the last call of [`Norms::take_clipped`].
    clipped: u64,
}

impl Norms {
    /// The factor with which a worker's message of this size is used; `Err` with the median that it
    /// exceeds beyond all measure.
    ///
    /// When nothing else comes any more, from several workers, it is the model that has exploded and
    /// not a worker: then such messages are the new measure.
    pub(crate) fn admit(&mut self, worker: usize, size: f64, limits: Limits) -> Result<f64, f64> {
        if limits.refuse <= 0.0 && limits.clip <= 0.0 {
            return Ok(1.0);
        }
        let mut median = self.median();
        if let Some(before) = median.filter(|_| limits.refuse > 0.0)
            && size > limits.refuse * before
        {
            self.exploded.push((worker, size));
            let several = self.exploded.iter().any(|(other, _)| *other != worker);
            if self.exploded.len() < LEAST || !several {
                self.exploded.truncate(WINDOW); // one worker that does nothing else
                return Err(before);
            }
            self.accepted = self.exploded.iter().map(|(_, size)| *size).collect();
            median = self.median();
        }
        self.exploded.clear();
        let factor = match median {
            Some(median) if limits.clip > 0.0 && size > limits.clip * median => {
                self.clipped += 1;
                limits.clip * median / size
            }
            _ => 1.0,
        };
        if self.accepted.len() == WINDOW {
            self.accepted.pop_front();
        }
        self.accepted.push_back(factor * size);
        Ok(factor)
    }

    /// Messages clipped since the last call.
    pub(crate) fn take_clipped(&mut self) -> u64 {
        std::mem::take(&mut self.clipped)
    }

    /// The median, once enough is known; none where most messages are zero.
    fn median(&self) -> Option<f64> {
        if self.accepted.len() < LEAST {
            return None;
        }
        let mut sorted: Vec<f64> = self.accepted.iter().copied().collect();
        let (_, median, _) = sorted.select_nth_unstable_by(self.accepted.len() / 2, f64::total_cmp);
        Some(*median).filter(|median| *median > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(limits: Limits) -> Norms {
        let mut norms = Norms::default();
        for i in 0..LEAST {
            assert_eq!(norms.admit(0, 1.0 + 0.01 * i as f64, limits), Ok(1.0));
        }
        norms
    }

    #[test]
    fn an_exploded_message_is_refused_and_moves_nothing() {
        let limits = Limits::default();
        let mut norms = known(limits);
        for _ in 0..2 * WINDOW {
            assert_eq!(norms.admit(0, 1e30, limits), Err(1.05));
        }
        assert_eq!(norms.admit(0, 1e5, limits), Ok(1.0));
        assert_eq!(norms.exploded, []);
    }

    #[test]
    fn a_model_that_explodes_is_followed() {
        let limits = Limits::default();
        let mut norms = known(limits);
        for i in 0..LEAST - 1 {
            assert!(norms.admit(i % 2, 1e10, limits).is_err());
        }
        assert_eq!(norms.admit(3, 1e10, limits), Ok(1.0));
        assert_eq!(norms.admit(0, 2e10, limits), Ok(1.0));
        assert!(norms.admit(0, 1e18, limits).is_err());
    }

    #[test]
    fn a_large_message_is_scaled_down_to_the_limit() {
        let limits = Limits {
            refuse: 0.0,
            clip: 2.0,
        };
        let mut norms = known(limits);
        let factor = norms.admit(0, 21.0, limits).expect("nothing is refused");
        assert!((factor * 21.0 - 2.0 * 1.05).abs() < 1e-12);
        assert_eq!((norms.take_clipped(), norms.take_clipped()), (1, 0));
        assert_eq!(norms.admit(0, 2.0, limits), Ok(1.0));
    }

    /// Sizes that grow tenfold pass in time, because clipped messages move the median too.
    #[test]
    fn the_limit_follows_growing_messages() {
        let limits = Limits {
            refuse: 1e6,
            clip: 3.0,
        };
        let mut norms = known(limits);
        let clipped = (0..2 * WINDOW)
            .filter(|_| norms.admit(0, 10.0, limits).expect("not exploded") < 1.0)
            .count();
        assert!(clipped < WINDOW, "{clipped}");
        assert_eq!(norms.admit(0, 10.0, limits), Ok(1.0));
    }

    #[test]
    fn nothing_is_judged_before_enough_is_known_or_where_messages_are_zero() {
        let limits = Limits {
            refuse: 10.0,
            clip: 2.0,
        };
        let mut norms = Norms::default();
        assert_eq!(norms.admit(0, 1e9, limits), Ok(1.0));
        let mut zeros = Norms::default();
        for _ in 0..WINDOW {
            assert_eq!(zeros.admit(0, 0.0, limits), Ok(1.0));
        }
        assert_eq!(zeros.admit(0, 5.0, limits), Ok(1.0));
    }
}
