//! Optimal allocations for any number of workers: a search of the few workers in which an optimal
//! allocation can differ from the break solution.
//!
//! Problem b-SP1 is a multiple-choice knapsack that must be filled exactly. Let `x` be the break
//! solution of its relaxation ([`crate::hull`]), optimal for its own total at the price of a bit,
//! and `R` the bits it leaves over. Every allocation is `x` plus *moves*, one per worker that
//! differs, of deviations `d` that sum to `R`. Let `a` be the largest positive deviation and `b`
//! the largest negative one, in absolute value.
//!
//! 1. **Few moves.** Undoing moves whose deviations sum to zero never loses utility, since `x` is
//!    optimal at a price. So some optimal allocation has no such subset of moves. Order its moves
//!    so that a negative one follows a positive partial sum while there are any, and a positive one
//!    follows otherwise: the partial sums lie in `1-b ..= max(a, R)` and no two are equal, so there
//!    are at most `C = max(a, R) + b - 1` moves.
//! 2. **Few candidates.** Among the workers that could make a move of deviation `d`, only the `C`
//!    with the largest gain matter: when another one moves, one of these `C` does not, and they can
//!    trade. The *core* is what remains: at most `C (a + b)` moves, however many workers there are.
//! 3. **Few sums.** With at most `C` moves, `m` of them positive, the positive deviations sum to at
//!    most `min(m a, (C-m) b + R) <= (a b C + a R) / (a + b)`, and the negative ones to at most
//!    `(a b C - b R) / (a + b)`. A dynamic program over the workers of the core, whose state is the
//!    partial sum of deviations within this window, finds the best moves. (This is the proximity
//!    argument of Eisenbrand & Weismantel 2018 for one constraint, sharpened; the core is
//!    Pisinger's 1995.)
//!
//! Gains are utility differences of single workers and sums of deviations are integers, so neither
//! the price nor the size of the total enters the comparison of two allocations: rounding errors
//! are those of adding at most `C` gains.
//!
//! A first search among the two best moves per deviation almost always finds an optimal allocation.
//! Its distance to the relaxation's bound then excludes nearly all moves from the second, complete
//! search. With widths up to 32 even a complete search without exclusions takes milliseconds; only
//! adversarial tables with hundreds of widths could exceed [`LIMIT`], and are then reported as not
//! proved.

use crate::UtilityTable;
use crate::hull::{self, BreakSolution};

/// Most updates of states in one search: about a second, and at most a byte of memory for each.
pub(crate) const LIMIT: u128 = 1 << 30;

/// What is known after the search.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// An allocation that no other one is better than.
    Optimal(Vec<u8>),
    /// An allocation; the search for a better one was too large.
    Feasible(Vec<u8>),
    /// No allocation has the total.
    Unreachable,
    /// No allocation was found; the search for one was too large: its size.
    GaveUp(u128),
}

/// Some allocation with the total, the best one unless the search was too large.
pub(crate) fn choose(tables: &[&UtilityTable], total: u64) -> Option<Vec<u8>> {
    match solve(tables, total, LIMIT) {
        Outcome::Optimal(choice) | Outcome::Feasible(choice) => Some(choice),
        Outcome::Unreachable | Outcome::GaveUp(_) => None,
    }
}

/// Whether some allocation has the total.
pub(crate) fn reachable(tables: &[&UtilityTable], total: u64) -> bool {
    let worthless: Vec<UtilityTable> = tables
        .iter()
        .map(|table| table.with_values(vec![0.0; table.widths().len()]))
        .collect();
    choose(&worthless.iter().collect::<Vec<_>>(), total).is_some()
}

/// The best allocation, as indices of widths, visiting at most `limit` states per search.
pub(crate) fn solve(tables: &[&UtilityTable], total: u64, limit: u128) -> Outcome {
    let sum = |width: fn(&UtilityTable) -> u8| {
        let widths = tables.iter().map(|table| u64::from(width(table)));
        widths.sum::<u64>()
    };
    let least = sum(UtilityTable::min_width);
    if !(least..=sum(UtilityTable::max_width)).contains(&total) {
        return Outcome::Unreachable;
    }
    let start = BreakSolution::new(tables.len(), &hull::steps(tables), total - least);
    if start.residual == 0 {
        return Outcome::Optimal(start.choice);
    }
    improve(tables, start, limit)
}

/// Fills the residual of the break solution, which is not zero.
fn improve(tables: &[&UtilityTable], start: BreakSolution, limit: u128) -> Outcome {
    let mut best: Option<Moves> = None;
    let mut per_deviation = 2;
    loop {
        let mut core = Core::new(tables, &start, best.as_ref());
        let complete = core.trim(per_deviation);
        let size = core.size();
        if size > limit {
            return match best {
                Some(moves) => Outcome::Feasible(moves.applied(start.choice)),
                None => Outcome::GaveUp(size),
            };
        }
        if let Some(moves) = core.search()
            && best.as_ref().is_none_or(|best| moves.gain > best.gain)
        {
            best = Some(moves);
        }
        if complete {
            return match best {
                Some(moves) => Outcome::Optimal(moves.applied(start.choice)),
                None => Outcome::Unreachable,
            };
        }
        per_deviation = match best {
            Some(_) => usize::MAX,
            None => per_deviation.saturating_mul(4),
        };
    }
}

/// One worker away from its width in the break solution.
#[derive(Clone, Copy, Debug)]
struct Move {
    worker: usize,
    /// Index of its other width.
    to: u8,
    /// Bits gained, not 0.
    deviation: i32,
    /// Utility gained.
    gain: f64,
}

/// Moves that fill the residual.
struct Moves {
    gain: f64,
    moves: Vec<Move>,
}

impl Moves {
    fn applied(self, mut choice: Vec<u8>) -> Vec<u8> {
        for step in self.moves {
            choice[step.worker] = step.to;
        }
        choice
    }
}

/// The moves that an optimal allocation may be made of, by deviation.
struct Core {
    residual: i64,
    by_deviation: Vec<Vec<Move>>,
}

/// Deviations of widths that fit a byte are in `-255..=255`.
const LARGEST_DEVIATION: i32 = u8::MAX as i32;

impl Core {
    /// All moves, except those that no allocation better than `incumbent` contains: with loss
    /// `price d - gain >= 0` for every move, losses sum to less than the incumbent's.
    fn new(tables: &[&UtilityTable], start: &BreakSolution, incumbent: Option<&Moves>) -> Self {
        let residual_cost = start.price * start.residual as f64;
        let mut by_deviation = vec![Vec::new(); 2 * LARGEST_DEVIATION as usize + 1];
        for (worker, (table, &at)) in tables.iter().zip(&start.choice).enumerate() {
            for to in (0..=table.last()).filter(|&to| to != at) {
                let (deviation, gain) = (table.deviation(at, to), table.gain(at, to));
                if let Some(best) = incumbent {
                    let cost = start.price * f64::from(deviation);
                    // Far above the rounding errors of either side.
                    let slack =
                        1e-9 * (cost.abs() + gain.abs() + residual_cost.abs() + best.gain.abs());
                    if cost - gain > residual_cost - best.gain + slack {
                        continue;
                    }
                }
                by_deviation[(deviation + LARGEST_DEVIATION) as usize].push(Move {
                    worker,
                    to,
                    deviation,
                    gain,
                });
            }
        }
        Self {
            // Less than the length of a hull step.
            residual: start.residual as i64,
            by_deviation,
        }
    }

    /// `a` and `b`: the largest positive and negative deviation, 0 without any.
    fn largest_deviations(&self) -> (i64, i64) {
        let present = |d: &i32| !self.by_deviation[(d + LARGEST_DEVIATION) as usize].is_empty();
        let largest = |sign: i32| {
            let deviation = (1..=LARGEST_DEVIATION).rev().find(|d| present(&(sign * d)));
            i64::from(deviation.unwrap_or(0))
        };
        (largest(1), largest(-1))
    }

    /// `C`: an optimal allocation within this core needs no more moves.
    fn most_moves(&self) -> i64 {
        let (a, b) = self.largest_deviations();
        a.max(self.residual) + b.max(1) - 1
    }

    /// Keeps the best moves of every deviation: `per_deviation`, or as many as can matter if those
    /// are fewer. Returns whether no move that can matter is lost.
    fn trim(&mut self, per_deviation: usize) -> bool {
        let matter = self.most_moves() as usize;
        let keep = matter.min(per_deviation);
        let mut complete = true;
        for moves in &mut self.by_deviation {
            complete &= moves.len().min(matter) <= keep;
            if moves.len() > keep {
                moves.select_nth_unstable_by(keep, |a, b| {
                    (b.gain.total_cmp(&a.gain)).then(a.worker.cmp(&b.worker))
                });
                moves.truncate(keep);
            }
        }
        complete
    }

    /// How far partial sums of deviations may fall below 0 and rise above it, in any order of the
    /// workers.
    fn window(&self) -> (i64, i64) {
        let (a, b) = self.largest_deviations();
        let most = self.most_moves();
        let reach = a + b;
        if reach == 0 {
            return (0, 0);
        }
        let below = (a * b * most - b * self.residual) / reach;
        let above = (a * b * most + a * self.residual) / reach;
        (below.max(0), above)
    }

    /// States updated by [`Self::search`], at most.
    fn size(&self) -> u128 {
        let moves: usize = self.by_deviation.iter().map(Vec::len).sum();
        let (below, above) = self.window();
        moves as u128 * (below + above + 1) as u128
    }

    /// The moves of largest total gain that fill the residual; `None` when none do.
    fn search(&self) -> Option<Moves> {
        let (below, above) = self.window();
        if self.residual > above {
            return None;
        }
        let mut moves: Vec<Move> = self.by_deviation.concat();
        moves.sort_unstable_by_key(|m| (m.worker, m.deviation));
        let workers: Vec<&[Move]> = moves.chunk_by(|a, b| a.worker == b.worker).collect();

        // best[s]: largest gain with partial sum s - below; taken[i][s]: 0 where worker i stays in
        // that optimum, else one more than the position of its move.
        let states = (below + above + 1) as usize;
        let mut best = vec![f64::NEG_INFINITY; states];
        best[below as usize] = 0.0;
        let mut taken = vec![0u8; workers.len() * states];
        let mut before = best.clone();
        for (worker, taken) in workers.iter().zip(taken.chunks_exact_mut(states)) {
            before.copy_from_slice(&best);
            for (number, step) in (1..).zip(*worker) {
                let shift = step.deviation.unsigned_abs() as usize;
                if shift >= states {
                    continue;
                }
                let (from, to) = if step.deviation > 0 {
                    (0, shift)
                } else {
                    (shift, 0)
                };
                let length = states - shift;
                let sources = &before[from..from + length];
                let targets = best[to..to + length].iter_mut();
                for ((target, taken), source) in
                    targets.zip(&mut taken[to..to + length]).zip(sources)
                {
                    let gain = source + step.gain;
                    if gain > *target {
                        *target = gain;
                        *taken = number;
                    }
                }
            }
        }

        let mut state = (below + self.residual) as usize;
        let gain = best[state];
        if gain == f64::NEG_INFINITY {
            return None;
        }
        let mut chosen = Vec::new();
        for (worker, taken) in workers.iter().zip(taken.chunks_exact(states)).rev() {
            if let Some(position) = taken[state].checked_sub(1) {
                let step = worker[usize::from(position)];
                state = (state as i64 - i64::from(step.deviation)) as usize;
                chosen.push(step);
            }
        }
        Some(Moves {
            gain,
            moves: chosen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::value;
    use crate::test_tables::{any_tables, refs};
    use crate::{brute_force, dp};
    use proptest::prelude::*;

    /// The dynamic program over everything, which shares no code with the core search.
    fn assert_optimal(tables: &[&UtilityTable], total: u64) {
        match (solve(tables, total, LIMIT), dp::allocate(tables, total)) {
            (Outcome::Optimal(exact), Some(dp)) => {
                let (found, best) = (value(tables, &exact), value(tables, &dp));
                let scale: f64 = tables
                    .iter()
                    .zip(&exact)
                    .map(|(t, &c)| t.values()[usize::from(c)].abs())
                    .sum();
                assert!(
                    (found - best).abs() <= 1e-12 * scale.max(best.abs()),
                    "{found} against {best}"
                );
                let spent: u64 = tables
                    .iter()
                    .zip(&exact)
                    .map(|(t, &c)| u64::from(t.widths()[usize::from(c)]))
                    .sum();
                assert_eq!(spent, total);
            }
            (Outcome::Unreachable, None) => {}
            (exact, dp) => panic!("{exact:?} against {dp:?}"),
        }
    }

    fn total_at(tables: &[&UtilityTable], share: f64) -> u64 {
        let least: u64 = tables.iter().map(|t| u64::from(t.min_width())).sum();
        let most: u64 = tables.iter().map(|t| u64::from(t.max_width())).sum();
        least + (share * (most - least) as f64).round() as u64
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn few_workers_at_every_budget(tables in any_tables(1..6)) {
            let tables = refs(&tables);
            for total in total_at(&tables, 0.0)..=total_at(&tables, 1.0) {
                assert_optimal(&tables, total);
            }
        }

        /// More workers than the core keeps: the pruning rules carry the proof.
        #[test]
        fn many_workers_at_some_budgets(tables in any_tables(20..80), share in 0.0..=1.0) {
            let tables = refs(&tables);
            for total in [0.0, share, 1.0].map(|share| total_at(&tables, share)) {
                for total in total.saturating_sub(3)..=total + 3 {
                    assert_optimal(&tables, total);
                }
            }
        }

        #[test]
        fn tiny_problems_by_brute_force(tables in any_tables(1..4), share in 0.0..=1.0) {
            let tables = refs(&tables);
            let total = total_at(&tables, share);
            let exact = choose(&tables, total).map(|c| value(&tables, &c));
            let best = brute_force::allocate(&tables, total).map(|c| value(&tables, &c));
            prop_assert_eq!(exact.is_some(), best.is_some());
            if let (Some(exact), Some(best)) = (exact, best) {
                prop_assert!((exact - best).abs() <= 1e-12 * (1.0 + best.abs()));
            }
        }
    }

    /// A gain of 1e12 that the budget does not reach sets the price of a bit; the small gains that
    /// it does reach must be compared without it.
    #[test]
    fn a_huge_price_does_not_drown_small_gains() {
        let widths = || vec![2, 3, 4, 5, 6, 7];
        let huge = UtilityTable::new(widths(), vec![0.0, 0.0, 0.0, 0.0, 0.0, 1e12]).unwrap();
        let small = |scale: f64| {
            let values = [0.0, 1.0, 1.5, 1.7, 1.8, 1.85].map(|v| v * scale).to_vec();
            UtilityTable::new(widths(), values).unwrap()
        };
        let tables = [small(1e-6), huge, small(1.1e-6), small(1.2e-6)];
        let tables = refs(&tables);
        for total in 8..=28 {
            assert_optimal(&tables, total);
        }
        assert_eq!(choose(&tables, 11), Some(vec![1, 0, 1, 1]));
    }

    #[test]
    fn a_search_that_is_too_large_is_not_called_optimal() {
        // All the same, so that the bound excludes few of the many moves that tie.
        let values = (2..=16).map(|z| if z >= 9 { 1.0 } else { 0.0 });
        let table = UtilityTable::new((2..=16).collect(), values.collect()).unwrap();
        let tables = vec![&table; 40];
        let Outcome::Optimal(best) = solve(&tables, 202, LIMIT) else {
            panic!("solved without a limit");
        };
        assert_optimal(&tables, 202);
        assert!(matches!(solve(&tables, 202, 10), Outcome::GaveUp(_)));
        // Room for the narrow search, not for the complete one.
        let mut feasible = 0;
        for limit in (4..24).map(|log| 1 << log) {
            match solve(&tables, 202, limit) {
                Outcome::Feasible(choice) => {
                    feasible += 1;
                    assert!(value(&tables, &choice) <= value(&tables, &best) * (1.0 + 1e-12));
                }
                Outcome::Optimal(choice) => {
                    assert_eq!(value(&tables, &choice), value(&tables, &best));
                }
                Outcome::GaveUp(size) => assert!(size > limit),
                Outcome::Unreachable => panic!("202 bits are reachable"),
            }
        }
        assert!(feasible > 0);
    }

    #[test]
    fn reachability_does_not_depend_on_utilities() {
        let even = UtilityTable::new(vec![2, 4, 8], vec![0.0, 5.0, -1.0]).unwrap();
        let tables = vec![&even; 50];
        assert!(reachable(&tables, 100) && reachable(&tables, 400) && reachable(&tables, 222));
        assert!(!reachable(&tables, 223) && !reachable(&tables, 98) && !reachable(&tables, 402));
        // The first step down from 8 bits each is one of 4.
        assert!(!reachable(&tables, 398) && reachable(&tables, 396));
    }
}
