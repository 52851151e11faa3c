//! What the rounds' time went into, as the run went on: stacked bars over the iterations.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::super::explain::time::{Activity, Split};
use super::canvas::{self, DrawError, INK, MUTED, Size, svg};
use super::plot::Plot;
use super::scale::{Choice, Scale};

/// Bars across the figure.
const BARS: usize = 150;

const WIDTH: u32 = 1100;
const HEIGHT: u32 = 380;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 112.0;
const BOTTOM: f64 = 52.0;

/// Activities that are drawn as one, from the bottom up: name, colour, which.
pub const GROUPS: [(&str, RGBColor, &[Activity]); 8] = [
    ("backward", RGBColor(0, 114, 178), &[Activity::Compute]),
    ("encoding", RGBColor(86, 180, 233), &[Activity::Encode]),
    (
        "delays and messages",
        RGBColor(178, 192, 204),
        &[Activity::Travel],
    ),
    (
        "in vain until the deadline",
        RGBColor(213, 94, 0),
        &[Activity::InVain],
    ),
    ("frames", RGBColor(204, 121, 167), &[Activity::Frames]),
    ("decoding", RGBColor(0, 158, 115), &[Activity::Decode]),
    ("optimizer", RGBColor(230, 180, 30), &[Activity::Step]),
    (
        "rest",
        RGBColor(120, 120, 120),
        &[Activity::Open, Activity::Check, Activity::Round],
    ),
];

/// Colour of an activity; grey for what happens outside of rounds.
pub fn colour_of(activity: Activity) -> RGBColor {
    let group = GROUPS.iter().find(|(_, _, list)| list.contains(&activity));
    group.map_or(RGBColor(150, 150, 150), |(_, colour, _)| *colour)
}

/// Draws seconds per round by what they went into; `rounds` in the order of iterations, the first of
/// which is `first`.
///
/// # Errors
/// None in practice: the drawing goes to memory.
pub fn draw(label: &str, first: f64, rounds: &[Split]) -> Result<String, DrawError> {
    let bars = BARS.min(rounds.len()).max(1);
    let bounds = |bar: usize| bar * rounds.len() / bars;
    let means: Vec<[f64; GROUPS.len()]> = (0..bars)
        .map(|bar| {
            let list = &rounds[bounds(bar)..bounds(bar + 1)];
            GROUPS.map(|(_, _, activities)| {
                let one = |split: &Split| -> f64 {
                    activities
                        .iter()
                        .map(|&activity| split[activity as usize])
                        .sum()
                };
                list.iter().map(one).sum::<f64>() / list.len().max(1) as f64
            })
        })
        .collect();
    let highest = means.iter().map(|groups| groups.iter().sum::<f64>());
    let highest = highest.fold(0.0, f64::max).max(1e-9);
    let (factor, unit) = if highest < 0.5 {
        (1e3, "ms")
    } else {
        (1.0, "s")
    };
    let y = Scale::roomy([0.0, highest * factor].into_iter(), Choice::Linear);
    let x = Scale::tight(
        [first, first + rounds.len().max(1) as f64].into_iter(),
        Choice::Linear,
    );
    svg((WIDTH, HEIGHT), |area| {
        let title = format!("What a round's time went into: {label}");
        canvas::write(area, &title, (14, 22), Size::Title, INK, HPos::Left)?;
        let caption = match rounds.len() > bars {
            true => "mean of neighbouring rounds",
            false => "each round",
        };
        canvas::write(area, caption, (14, 44), Size::Label, MUTED, HPos::Left)?;
        let mut at = 14;
        for (k, (name, colour, _)) in GROUPS.iter().enumerate() {
            // What never took a thousandth of a round needs no name.
            let most = means.iter().map(|groups| groups[k]).fold(0.0, f64::max);
            if most < 1e-3 * highest {
                continue;
            }
            area.draw(&Rectangle::new([(at, 60), (at + 12, 72)], colour.filled()))?;
            canvas::write(area, name, (at + 17, 66), Size::Label, INK, HPos::Left)?;
            at += 17 + Size::Label.width(name) + 16;
        }
        let (Some(x), Some(y)) = (x, y) else {
            return Ok(());
        };
        let plot = Plot {
            left: LEFT,
            right: f64::from(WIDTH) - RIGHT,
            top: TOP,
            bottom: f64::from(HEIGHT) - BOTTOM,
            x,
            y,
        };
        plot.draw_axes(area, "iterations", &format!("seconds per round, {unit}"))?;
        for (bar, groups) in means.iter().enumerate() {
            let edge = |bar: usize| first + bounds(bar) as f64;
            let mut sum = 0.0;
            for (value, (_, colour, _)) in groups.iter().zip(&GROUPS) {
                let (left, bottom) = plot.at((edge(bar), sum * factor));
                sum += value;
                let (right, top) = plot.at((edge(bar + 1), sum * factor));
                let (top, bottom) = (top.round() as i32, bottom.round() as i32);
                if top < bottom {
                    // A pixel more to the right and down, so that no hairlines are left between bars.
                    let down = i32::from(bottom < plot.bottom.round() as i32);
                    let corners = [
                        (left.round() as i32, top),
                        (right.round() as i32 + 1, bottom + down),
                    ];
                    area.draw(&Rectangle::new(corners, colour.filled()))?;
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::explain::time::ACTIVITIES;
    use super::*;

    #[test]
    fn every_activity_of_a_round_is_drawn_once() {
        use Activity::{Between, Checkpoint, Evaluate, Log, Start};
        for activity in ACTIVITIES {
            let groups = GROUPS
                .iter()
                .filter(|(_, _, list)| list.contains(&activity));
            let outside = [Start, Evaluate, Checkpoint, Log, Between].contains(&activity);
            assert_eq!(groups.count(), usize::from(!outside), "{activity:?}");
        }
    }

    #[test]
    fn bars_are_as_high_as_the_rounds_are_long() {
        let mut split = [0.0; ACTIVITIES.len()];
        split[Activity::Compute as usize] = 0.2;
        split[Activity::InVain as usize] = 0.1;
        let svg = draw("a", 0.0, &vec![split; 600]).unwrap();
        let bars = |colour: &str| svg.matches(&format!("fill=\"{colour}\"")).count();
        // One for the legend and one for each bar; nothing of what took no time.
        assert_eq!((bars("#0072B2"), bars("#D55E00")), (BARS + 1, BARS + 1));
        assert_eq!(bars("#009E73"), 0);
        assert!(svg.contains("ms"));
        draw("empty", 0.0, &[]).unwrap();
    }
}
