//! What may be asked of a running master from outside: to stop, or to write a checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Requests to the master's loop, which looks at them between rounds. Clones share the flags.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Raised when the run should stop, with a checkpoint where it has them.
    pub stop: Arc<AtomicBool>,
    /// Raised when a checkpoint should be written; lowered by writing it.
    pub checkpoint: Arc<AtomicBool>,
    /// When the job's time is over: the run stops before, early enough to write a checkpoint.
    pub until: Option<Instant>,
}

impl Signals {
    /// Whether the run should stop now. The last step before `until` must leave `reserve` of it.
    pub(crate) fn stop(&self, reserve: Duration) -> bool {
        let late = self
            .until
            .is_some_and(|until| Instant::now() + reserve >= until);
        late || self.stop.load(Ordering::Relaxed)
    }

    /// Whether a checkpoint was asked for since the last call.
    pub(crate) fn take_checkpoint(&self) -> bool {
        self.checkpoint.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stops_when_it_is_told_or_when_its_time_would_not_suffice() {
        let mut signals = Signals::default();
        let reserve = Duration::from_secs(60);
        assert!(!signals.stop(reserve));
        signals.until = Some(Instant::now() + Duration::from_secs(3600));
        assert!(!signals.stop(reserve) && signals.stop(Duration::from_secs(3600)));
        signals.clone().stop.store(true, Ordering::Relaxed);
        assert!(signals.stop(reserve));
    }

    #[test]
    fn a_checkpoint_is_written_once_per_request() {
        let signals = Signals::default();
        signals.checkpoint.store(true, Ordering::Relaxed);
        assert!(signals.take_checkpoint() && !signals.take_checkpoint());
    }
}
