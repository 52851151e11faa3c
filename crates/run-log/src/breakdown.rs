//! What a round waited for.

use crate::IterationRow;

impl IterationRow {
    /// Takes `seconds_wait` apart along the last worker in time, on which the round hung: fills in
    /// `seconds_backward`, `seconds_encode` and `seconds_wire` from what is known of the workers.
    ///
    /// ```text
    /// backward = what it computed            encode = what it encoded           (each within what is left of the wait)
    /// wire     = wait - backward - encode - (the rest until its header) - (its header until the deadline)
    /// ```
    ///
    /// The deadline counts only where it ended the round: somebody was late who was not refused, and arrivals are
    /// not `drawn`. A `simulated` round has its workers one after another in the master's process: backward and encode
    /// are sums, and nothing crosses a link.
    pub fn take_wait_apart(&mut self, simulated: bool, drawn: bool) {
        let or_zero = |seconds: f64| if seconds.is_finite() { seconds } else { 0.0 };
        let mut left = or_zero(self.seconds_wait);
        let mut take = |wanted: f64| {
            let taken = or_zero(wanted).clamp(0.0, left);
            left -= taken;
            taken
        };
        let workers = &self.per_worker;
        if simulated {
            let sum = |list: &[f64]| list.iter().copied().map(or_zero).sum::<f64>();
            self.seconds_backward = take(sum(&workers.seconds_compute));
            self.seconds_encode = take(sum(&workers.seconds_encode));
            return;
        }
        let arrivals = workers.arrival_time.iter().copied().enumerate();
        let last = arrivals
            .filter(|(_, arrival)| arrival.is_finite())
            .max_by(|a, b| a.1.total_cmp(&b.1));
        (self.seconds_backward, self.seconds_encode) = (0.0, 0.0);
        let mut arrived = 0.0;
        if let Some((worker, arrival)) = last {
            let (compute, encode) = (
                workers.seconds_compute[worker],
                workers.seconds_encode[worker],
            );
            self.seconds_backward = take(compute);
            self.seconds_encode = take(encode);
            take(arrival - or_zero(compute) - or_zero(encode));
            arrived = arrival;
        }
        if self.late > self.refused && self.deadline.is_finite() && !drawn {
            take(self.deadline - arrived);
        }
        self.seconds_wire = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round() -> IterationRow {
        let mut row = IterationRow::new(3, 3);
        row.seconds_wait = 2.0;
        row.deadline = 1.5;
        row.per_worker.arrival_time = vec![0.5, f64::NAN, 1.0];
        row.per_worker.seconds_compute = vec![0.25, 3.0, 0.5];
        row.per_worker.seconds_encode = vec![0.125, f64::NAN, 0.25];
        row
    }

    fn parts(row: &IterationRow) -> [f64; 3] {
        [row.seconds_backward, row.seconds_encode, row.seconds_wire]
    }

    #[test]
    fn the_last_worker_in_time_counts() {
        let mut row = round();
        row.take_wait_apart(false, false);
        assert_eq!(parts(&row), [0.5, 0.25, 1.0]);
        // Somebody was waited for in vain, until the deadline.
        row.late = 1;
        row.take_wait_apart(false, false);
        assert_eq!(parts(&row), [0.5, 0.25, 0.5]);
        row.take_wait_apart(false, true);
        assert_eq!(parts(&row), [0.5, 0.25, 1.0]);
        // A wait that is shorter than what the worker says it took.
        row.seconds_wait = 0.625;
        row.take_wait_apart(false, false);
        assert_eq!(parts(&row), [0.5, 0.125, 0.0]);
        row.per_worker.arrival_time = vec![f64::NAN; 3];
        row.take_wait_apart(false, false);
        assert_eq!(parts(&row), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn simulated_workers_add_up() {
        let mut row = round();
        row.seconds_wait = 10.0;
        row.take_wait_apart(true, true);
        assert_eq!((row.seconds_backward, row.seconds_encode), (3.75, 0.375));
        assert!(row.seconds_wire.is_nan());
    }
}
