//! Polylines in pixels: cut at the edges of the plot, and dashed.

/// A point in pixels.
pub type Point = (f64, f64);

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    Solid,
    Dashed,
    Dotted,
    DashDot,
    LongDash,
}

impl Stroke {
    /// The `i`-th cycle of colours takes the `i`-th of these, so that lines differ by more than colour.
    pub const CYCLE: [Self; 4] = [Self::Solid, Self::Dashed, Self::DashDot, Self::Dotted];

    /// Pixels on and off, in turn; empty for a solid line.
    fn pattern(self) -> &'static [f64] {
        match self {
            Self::Solid => &[],
            Self::Dashed => &[8.0, 5.0],
            Self::Dotted => &[2.0, 4.0],
            Self::DashDot => &[9.0, 4.0, 2.0, 4.0],
            Self::LongDash => &[15.0, 5.0],
        }
    }

    /// The pieces of `line` that are drawn.
    pub fn pieces(self, line: &[Point]) -> Vec<Vec<Point>> {
        let pattern = self.pattern();
        if pattern.is_empty() {
            return vec![line.to_vec()];
        }
        let mut pieces = vec![];
        let mut current = line.first().copied().into_iter().collect::<Vec<_>>();
        let (mut phase, mut left) = (0, pattern[0]);
        for pair in line.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let mut done = 0.0;
            while length - done > left {
                done += left;
                let share = done / length;
                let at = (
                    from.0 + share * (to.0 - from.0),
                    from.1 + share * (to.1 - from.1),
                );
                if phase % 2 == 0 {
                    current.push(at);
                    pieces.push(std::mem::take(&mut current));
                } else {
                    current = vec![at];
                }
                phase = (phase + 1) % pattern.len();
                left = pattern[phase];
            }
            left -= length - done;
            if phase % 2 == 0 {
                current.push(to);
            }
        }
        if current.len() > 1 {
            pieces.push(current);
        }
        pieces
    }
}

/// The parts of `line` between the heights `top` and `bottom` (`top` is the smaller: pixels count
/// downwards), each ending on the edge where it leaves.
pub fn within(line: &[Point], top: f64, bottom: f64) -> Vec<Vec<Point>> {
    let inside = |y: f64| (top..=bottom).contains(&y);
    let crossing = |a: Point, b: Point, y: f64| {
        let share = (y - a.1) / (b.1 - a.1);
        (a.0 + share * (b.0 - a.0), y)
    };
    let mut parts = vec![];
    let mut current: Vec<Point> = line
        .first()
        .copied()
        .filter(|p| inside(p.1))
        .into_iter()
        .collect();
    for pair in line.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        // Where the segment meets the two edges, in the order of travel.
        let mut meets: Vec<Point> = [top, bottom]
            .into_iter()
            .filter(|&y| (a.1 < y) != (b.1 < y) && a.1 != y && b.1 != y)
            .map(|y| crossing(a, b, y))
            .collect();
        if b.1 < a.1 {
            meets.reverse();
        }
        for at in meets {
            if current.is_empty() {
                current.push(at);
            } else {
                current.push(at);
                parts.push(std::mem::take(&mut current));
            }
        }
        if inside(b.1) {
            if current.is_empty() && inside(a.1) {
                current.push(a);
            }
            current.push(b);
        } else if !current.is_empty() {
            // It left through a vertex that lies on the edge.
            parts.push(std::mem::take(&mut current));
        }
    }
    if !current.is_empty() {
        parts.push(current);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_their_share_of_the_line() {
        let line: Vec<Point> = (0..=100).map(|i| (f64::from(i) * 1.3, 0.0)).collect();
        for stroke in [
            Stroke::Dashed,
            Stroke::Dotted,
            Stroke::DashDot,
            Stroke::LongDash,
        ] {
            let pattern = stroke.pattern();
            let drawn: f64 = stroke
                .pieces(&line)
                .iter()
                .flat_map(|piece| piece.windows(2).map(|pair| pair[1].0 - pair[0].0))
                .sum();
            let on: f64 = pattern.iter().step_by(2).sum();
            let share = on / pattern.iter().sum::<f64>();
            assert!((drawn / 130.0 - share).abs() < 0.08, "{stroke:?}: {drawn}");
        }
        assert_eq!(Stroke::Solid.pieces(&line), std::slice::from_ref(&line));
        assert!(Stroke::Dashed.pieces(&[]).is_empty());
    }

    #[test]
    fn lines_are_cut_where_they_leave_the_plot() {
        let line = [
            (0.0, 5.0),
            (10.0, -5.0),
            (20.0, -5.0),
            (30.0, 15.0),
            (40.0, 5.0),
        ];
        assert_eq!(
            within(&line, 0.0, 10.0),
            [
                vec![(0.0, 5.0), (5.0, 0.0)],
                vec![(22.5, 0.0), (27.5, 10.0)],
                vec![(35.0, 10.0), (40.0, 5.0)]
            ]
        );
        assert_eq!(within(&line[..1], 0.0, 10.0), [vec![(0.0, 5.0)]]);
        assert!(within(&[(0.0, -1.0), (1.0, -2.0)], 0.0, 10.0).is_empty());
        // Along the edge counts as inside.
        let edge = [(0.0, 0.0), (1.0, 0.0), (2.0, -3.0), (3.0, 0.0), (4.0, 1.0)];
        let cut = within(&edge, 0.0, 10.0);
        assert_eq!(cut[0], [(0.0, 0.0), (1.0, 0.0)]);
        assert_eq!(cut.last().unwrap(), &[(3.0, 0.0), (4.0, 1.0)]);
    }
}
