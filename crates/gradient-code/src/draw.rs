//! What is drawn when a plan is made.

use counter_rng::{CounterRng, Purpose, rng};
use rand::Rng;

/// The generator of one stream of plan-time draws. They are filed under an iteration that no run
/// reaches, so they share nothing with codes that are redrawn in every iteration.
pub(crate) fn plan_time(seed: u64, stream: u64) -> CounterRng {
    rng(seed, Purpose::Code, u64::MAX, stream)
}

/// Fisher-Yates with our own bounded draw, so that codes do not change with the `rand` crate.
pub(crate) fn shuffle<T>(values: &mut [T], random: &mut CounterRng) {
    for last in (1..values.len()).rev() {
        let high = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        values.swap(last, high as usize);
    }
}
