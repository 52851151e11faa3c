//! The workers' true quantization error: measured on their own messages, pooled by width, and held
//! against what the plan was made with.
//!
//! Every so many iterations each worker decodes the frame that it is about to send and says how far it
//! is from what it encoded, `||Q(x) - x||^2 / ||x||^2`. That is one draw of the quantity whose mean is
//! phi(z) (eq 5 of Song & Choi, arXiv 2605.15890), over the rounding, the rotation and the gradient:
//! the error of this very message, which every compressor has, also those whose expected error has no
//! formula.

use gradient_codec::{Expected, Frame, FrameError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// When the quantization error is measured, and what follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distortion {
    /// In every so many iterations; 0 never.
    pub every: u64,
    /// When the plan is made anew from it; `None` keeps the plan.
    pub refresh: Option<RefreshRules>,
}

impl Distortion {
    /// Whether messages of iteration `t` are measured.
    pub(crate) fn measures(self, t: u64) -> bool {
        self.every > 0 && t.is_multiple_of(self.every)
    }
}

/// When measured errors make a new plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefreshRules {
    /// A width's error may differ from the plan's by a factor of `1 + tolerance` before that counts;
    /// at least 0.
    pub tolerance: f64,
    /// Latest messages of each width that are pooled; at least [`LEAST_MESSAGES`] count.
    pub window: usize,
    /// Least number of iterations between two new plans.
    pub pause: u64,
}

/// Fewer messages of a width say nothing about it.
pub const LEAST_MESSAGES: usize = 4;

/// Standard errors by which a difference must exceed the tolerance.
const STANDARD_ERRORS: f64 = 2.0;

/// `||Q(x) - x||^2 / ||x||^2` of a frame and what was encoded in it; `None` where x is zero.
///
/// A pass over both, and memory for one more vector.
///
/// # Errors
/// [`FrameError`] if the frame is not what is expected.
pub(crate) fn of_message(
    frame: &[u8],
    expected: &Expected,
    x: &[f32],
) -> Result<Option<f64>, FrameError> {
    let mut rest = x.to_vec();
    Frame::parse(frame, expected)?.accumulate(-1.0, &mut rest);
    let energy = |v: &[f32]| v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let norm = energy(x);
    Ok((norm > 0.0).then(|| energy(&rest) / norm))
}

/// The error of messages of one width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredPhi {
    /// Their mean `||Q(x) - x||^2 / ||x||^2`.
    pub phi: f64,
    /// Its standard error, messages taken as independent.
    pub standard_error: f64,
    /// Messages.
    pub messages: usize,
}

impl MeasuredPhi {
    fn of(errors: &VecDeque<f64>) -> Self {
        let n = errors.len() as f64;
        let phi = errors.iter().sum::<f64>() / n;
        let squares = errors.iter().map(|e| (e - phi).powi(2)).sum::<f64>();
        Self {
            phi,
            standard_error: (squares / (n * (n - 1.0).max(1.0))).sqrt(),
            messages: errors.len(),
        }
    }

    /// Whether it is certain to differ from `planned` by more than the tolerance.
    fn differs(&self, planned: f64, tolerance: f64) -> bool {
        let margin = STANDARD_ERRORS * self.standard_error;
        self.messages >= LEAST_MESSAGES
            && (self.phi - margin > planned * (1.0 + tolerance)
                || self.phi + margin < planned / (1.0 + tolerance))
    }
}

/// What widths in use were found to differ, and what is believed now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PhiDrift {
    /// Width, what the plan was made with, and what was measured.
    changes: Vec<(u8, f64, MeasuredPhi)>,
}

impl fmt::Display for PhiDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (bits, planned, now)) in self.changes.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(
                f,
                "{separator}the quantization error at {bits} bits is {:.2e} +- {:.0e} instead of {planned:.2e} ({} messages)",
                now.phi, now.standard_error, now.messages
            )?;
        }
        Ok(())
    }
}

/// Pools the measured errors of a run. Plain data, so that a run can be continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhiMonitor {
    rules: RefreshRules,
    /// Latest errors by width, the newest last.
    errors: BTreeMap<u8, VecDeque<f64>>,
    /// Phi by width, as measured when a plan was last made from it.
    believed: BTreeMap<u8, f64>,
    /// Iteration after which that was.
    last: Option<u64>,
}

impl PhiMonitor {
    pub(crate) fn new(rules: RefreshRules) -> Self {
        Self {
            rules,
            errors: BTreeMap::new(),
            believed: BTreeMap::new(),
            last: None,
        }
    }

    /// Takes in the error of one message.
    pub(crate) fn observe(&mut self, bits: u8, error: f64) {
        let errors = self.errors.entry(bits).or_default();
        while errors.len() >= self.rules.window.max(LEAST_MESSAGES) {
            errors.pop_front();
        }
        errors.push_back(error);
    }

    /// Holds the widths in use, with the phi that their plan was made with, against what was measured
    /// up to iteration `t`. When one differs, everything measured so far is believed from now on, that
    /// of widths no longer in use too, so that two plans cannot take turns.
    pub(crate) fn judge(&mut self, t: u64, planned: &BTreeMap<u8, f64>) -> Option<PhiDrift> {
        if self.last.is_some_and(|last| t < last + self.rules.pause) {
            return None;
        }
        let mut changes = Vec::new();
        for (&bits, &planned) in planned {
            let Some(errors) = self.errors.get(&bits) else {
                continue;
            };
            let planned = self.believed.get(&bits).copied().unwrap_or(planned);
            let now = MeasuredPhi::of(errors);
            if now.differs(planned, self.rules.tolerance) {
                changes.push((bits, planned, now));
            }
        }
        if changes.is_empty() {
            return None;
        }
        self.last = Some(t);
        let known = self
            .errors
            .iter()
            .map(|(&bits, errors)| (bits, MeasuredPhi::of(errors)));
        let believed = known.filter(|(_, now)| now.messages >= LEAST_MESSAGES && now.phi > 0.0);
        self.believed = believed.map(|(bits, now)| (bits, now.phi)).collect();
        Some(PhiDrift { changes })
    }

    /// Phi by width as measured, once it was found to differ from the plan's; empty until then.
    pub fn believed(&self) -> &BTreeMap<u8, f64> {
        &self.believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gradient_codec::{MessageId, Preset};

    const RULES: RefreshRules = RefreshRules {
        tolerance: 0.25,
        window: 8,
        pause: 10,
    };

    #[test]
    fn the_error_of_a_message_is_that_of_what_the_master_decodes() {
        let x: Vec<f32> = (0..3000).map(|i| (i as f32 * 0.37).sin()).collect();
        let compressor = Preset::default().compressor(3, x.len()).unwrap();
        let id = MessageId {
            seed: 5,
            iteration: 2,
            worker: 1,
        };
        let mut frame = Vec::new();
        compressor.encode(&id, &x, &[1.0], &mut frame).unwrap();
        let expected = Expected::new(&id, compressor, 1);
        let error = of_message(&frame, &expected, &x).unwrap().unwrap();
        let phi = compressor.distortion(&x);
        assert!((error / phi - 1.0).abs() < 0.1, "{error} {phi}");
        let zero = vec![0.0; x.len()];
        compressor.encode(&id, &zero, &[1.0], &mut frame).unwrap();
        assert_eq!(of_message(&frame, &expected, &zero).unwrap(), None);
        assert!(of_message(&frame[1..], &expected, &zero).is_err());
    }

    #[test]
    fn a_difference_beyond_tolerance_and_noise_is_told_once() {
        let planned = BTreeMap::from([(4, 1.0), (6, 0.1)]);
        let mut monitor = PhiMonitor::new(RULES);
        for error in [0.5, 0.51, 0.49] {
            monitor.observe(4, error);
        }
        assert_eq!(monitor.judge(0, &planned), None, "too few messages");
        monitor.observe(4, 0.5);
        monitor.observe(6, 0.1);
        let drift = monitor.judge(1, &planned).unwrap();
        assert_eq!(drift.changes.len(), 1);
        let text = drift.to_string();
        assert!(
            text.contains("4 bits is 5.00e-1 +- 4e-3 instead of 1.00e0 (4"),
            "{text}"
        );
        assert_eq!(*monitor.believed(), BTreeMap::from([(4, 0.5)]));
        // What was measured is what the next plan is made with.
        for _ in 0..8 {
            monitor.observe(4, 0.52);
            monitor.observe(6, 0.05);
        }
        assert_eq!(monitor.judge(10, &planned), None, "the pause");
        assert!(monitor.judge(11, &planned).is_some());
        let believed = monitor.believed();
        assert!((believed[&4] - 0.52).abs() < 1e-12 && (believed[&6] - 0.05).abs() < 1e-12);
    }

    #[test]
    fn noisy_errors_are_not_told() {
        let planned = BTreeMap::from([(4, 1.0)]);
        let mut monitor = PhiMonitor::new(RULES);
        for error in [0.1, 4.0, 0.2, 3.0] {
            monitor.observe(4, error);
        }
        assert_eq!(monitor.judge(0, &planned), None);
        let text = serde_json::to_string(&monitor).unwrap();
        assert_eq!(serde_json::from_str::<PhiMonitor>(&text).unwrap(), monitor);
    }
}
