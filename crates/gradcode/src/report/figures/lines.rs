//! Lines as points: smoothing, gaps, condensing, and room for their names.

/// Points of a drawn line; more are condensed, which no screen shows.
const POINTS: usize = 1600;

/// Average with exponentially falling weights to both sides, of the same total weight as the one-sided
/// exponential average over `span`: unlike that one it does not lag behind. NaN entries are skipped.
pub fn centred_average(values: &[f64], span: f64) -> Vec<f64> {
    let keep = 1.0 - 2.0 / (span.max(1.0) / 2.0 + 1.0).max(2.0);
    let sweep = |values: &mut dyn Iterator<Item = &f64>| -> Vec<(f64, f64)> {
        let add = |state: &mut (f64, f64), &value: &f64| {
            let (value, weight) = if value.is_finite() {
                (value, 1.0)
            } else {
                (0.0, 0.0)
            };
            *state = (keep * state.0 + value, keep * state.1 + weight);
            Some(*state)
        };
        values.scan((0.0, 0.0), add).collect()
    };
    let before = sweep(&mut values.iter());
    let after = sweep(&mut values.iter().rev());
    let own = |&value: &f64| {
        if value.is_finite() {
            (value, 1.0)
        } else {
            (0.0, 0.0)
        }
    };
    let joined = before
        .iter()
        .zip(after.iter().rev())
        .zip(values.iter().map(own));
    joined
        .map(|((a, b), own)| (a.0 + b.0 - own.0) / (a.1 + b.1 - own.1))
        .collect()
}

/// The line without its gaps, condensed to the extremes of neighbours where it has too many points.
pub fn pieces(x: &[f64], y: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let points: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
    let stride = 2 * points.len().div_ceil(POINTS);
    points
        .split(|(_, y)| !y.is_finite())
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            if points.len() <= POINTS {
                piece.to_vec()
            } else {
                condensed(piece, stride)
            }
        })
        .collect()
}

/// Of every `stride` points the lowest and the highest, in their order, and the last one of all.
fn condensed(points: &[(f64, f64)], stride: usize) -> Vec<(f64, f64)> {
    let mut kept = vec![];
    for group in points.chunks(stride.max(1)) {
        let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(&low), Some(&high)) = (group.iter().min_by(by_y), group.iter().max_by(by_y))
        else {
            continue;
        };
        match low.0.total_cmp(&high.0) {
            std::cmp::Ordering::Less => kept.extend([low, high]),
            std::cmp::Ordering::Greater => kept.extend([high, low]),
            std::cmp::Ordering::Equal => kept.push(low),
        }
    }
    kept.extend(points.last().filter(|last| kept.last() != Some(last)));
    kept
}

/// Positions as near to the given ones as can be, but at least `gap` apart and inside `range`, unless
/// that is too short for them all.
pub fn spread(wanted: &[f64], gap: f64, range: std::ops::Range<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    // Groups of labels that touch, each centred on what its members want: (sum wanted, members).
    let mut groups: Vec<(f64, Vec<usize>)> = vec![];
    let middle = |(sum, members): &(f64, Vec<usize>)| {
        let half = gap * (members.len() - 1) as f64 / 2.0;
        let (low, high) = (range.start + half, range.end - half);
        let wanted = sum / members.len() as f64;
        if low <= high {
            wanted.clamp(low, high)
        } else {
            (low + high) / 2.0
        }
    };
    for i in order {
        groups.push((wanted[i], vec![i]));
        while let [.., a, b] = &groups[..] {
            let apart = gap * (a.1.len() + b.1.len()) as f64 / 2.0;
            if middle(b) - middle(a) >= apart {
                break;
            }
            let Some((sum, members)) = groups.pop() else {
                break;
            };
            if let Some(last) = groups.last_mut() {
                last.0 += sum;
                last.1.extend(members);
            }
        }
    }
    let mut placed = vec![0.0; wanted.len()];
    for group in groups {
        let middle = middle(&group);
        let members = group.1;
        for (k, &i) in members.iter().enumerate() {
            placed[i] = middle + gap * (k as f64 - (members.len() - 1) as f64 / 2.0);
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_spread_and_keep_their_order() {
        let wide = f64::NEG_INFINITY..f64::INFINITY;
        assert_eq!(spread(&[10.0, 100.0], 17.0, wide.clone()), [10.0, 100.0]);
        let placed = spread(&[100.0, 101.0, 99.0, 10.0], 20.0, wide);
        assert_eq!(placed, [100.0, 120.0, 80.0, 10.0]);
    }

    #[test]
    fn labels_stay_in_the_plot() {
        let placed = spread(&[0.0, 1.0, 2.0, 95.0, 99.0], 10.0, 0.0..100.0);
        assert_eq!(placed, [0.0, 10.0, 20.0, 90.0, 100.0]);
        // More than fit stand out on both sides alike.
        assert_eq!(spread(&[5.0, 5.0, 5.0], 10.0, 0.0..10.0), [-5.0, 5.0, 15.0]);
    }

    #[test]
    fn condensing_keeps_extremes_and_the_end() {
        let mut points: Vec<(f64, f64)> = (0..10_000)
            .map(|i| (f64::from(i), (f64::from(i) * 0.01).sin()))
            .collect();
        points[5000].1 = 7.0;
        points[7001].1 = -3.0;
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        let kept = pieces(&x, &y);
        assert_eq!(kept.len(), 1);
        assert!(kept[0].len() <= POINTS + 2, "{}", kept[0].len());
        assert!(kept[0].contains(&(5000.0, 7.0)) && kept[0].contains(&(7001.0, -3.0)));
        assert_eq!(kept[0].last(), points.last());
        assert!(kept[0].windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn the_centred_average_neither_lags_nor_shifts() {
        let line: Vec<f64> = (0..200).map(f64::from).collect();
        let average = centred_average(&line, 20.0);
        assert!(
            (60..140).all(|i| (average[i] - line[i]).abs() < 1e-3),
            "{:?}",
            &average[95..105]
        );
        let mut constant = vec![2.5; 50];
        constant[10] = f64::NAN;
        assert!(
            centred_average(&constant, 8.0)
                .iter()
                .all(|value| (value - 2.5).abs() < 1e-12)
        );
        assert!(centred_average(&[f64::NAN], 8.0)[0].is_nan());
        assert_eq!(centred_average(&[1.0, 2.0], 1.0), [1.0, 2.0]);
    }

    #[test]
    fn gaps_interrupt_the_line() {
        let kept = pieces(&[0.0, 1.0, 2.0, 3.0], &[1.0, f64::NAN, 2.0, 3.0]);
        assert_eq!(kept, [vec![(0.0, 1.0)], vec![(2.0, 2.0), (3.0, 3.0)]]);
    }
}
