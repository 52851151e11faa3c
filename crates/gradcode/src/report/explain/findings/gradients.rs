//! What coding and quantization did to the gradients and to the time, in sentences.

use run_log::Summary;

use super::super::super::format::{duration, percent, si, significant};
use super::super::Explanation;
use super::super::compression::Verdict;
use super::{Findings, Tone};

/// What quantization does to the decoded gradient, beside stragglers.
fn added_noise(run: &Explanation) -> String {
    let quantization = &run.quantization;
    match quantization.noise_over_straggling {
        noise if noise.is_finite() => format!(
            "; quantization adds {} to the squared error that stragglers make ({})",
            percent(noise),
            match quantization.all_measured {
                true => "measured",
                false => "by the plan's phi",
            }
        ),
        _ => String::new(),
    }
}

/// What compression saved and cost.
pub fn compression(list: &mut Findings, run: &Explanation, summary: &Summary) {
    let balance = &run.compression;
    let saved = summary.totals.compression_saved;
    let bits = if saved.is_finite() && saved > 0.0 {
        format!(
            "compression saved {} of the bits of plain f32",
            percent(saved)
        )
    } else {
        "compression saved no bits".to_owned()
    };
    let cost = balance.encode + balance.decode;
    let wire = balance.wire_f32 - balance.wire;
    let speed = si(balance.bandwidth, "bit/s");
    let pays_below = summary.totals.compression_pays_below;
    let each = |seconds: f64| duration(seconds / summary.iterations as f64);
    let an_iteration = format!(
        "; an iteration: {} less on the wire, {} saved, {} of encoding and {} of decoding{}",
        si(
            summary.totals.bits_up_f32.map_or(f64::NAN, |plain| {
                (plain as f64 - summary.totals.bits_up as f64) / 8.0 / summary.iterations as f64
            }),
            "B"
        ),
        each(wire.max(0.0)),
        each(balance.encode),
        each(balance.decode),
        added_noise(run)
    );
    match balance.verdict {
        Verdict::Uncompressed => {}
        Verdict::Unknown if pays_below > 0.0 => list.add(
            Tone::Note,
            "compression",
            format!(
                "{bits}; encoding and decoding it pays on links below {}{}",
                si(pays_below, "bit/s"),
                added_noise(run)
            ),
        ),
        Verdict::Unknown => {
            let noise = added_noise(run);
            list.add(Tone::Note, "compression", format!("{bits}{noise}"));
        }
        Verdict::Paid | Verdict::Even => list.add(
            Tone::Good,
            "compression",
            format!(
                "{bits}; at the measured {speed} that is {} of transfer saved for {} of encoding and decoding{an_iteration}",
                duration(wire),
                duration(cost)
            ),
        ),
        Verdict::Cost => {
            let hosts = summary.attributes.get("hosts").map(ToString::to_string);
            let one_host = hosts.is_some_and(|hosts| !hosts.contains(','));
            let (tone, advice) = if one_host {
                let speed = si(pays_below, "bit/s");
                (Tone::Note, format!("all ranks shared one host; compression pays on links below {speed}"))
            } else {
                (Tone::Warning, "on this link plain f32 would be faster".to_owned())
            };
            let text = format!(
                "{bits}, but cost time: {} of encoding and decoding for {} of transfer saved at the measured {speed}; {advice}{an_iteration}",
                duration(cost),
                duration(wire)
            );
            list.add(tone, "compression", text);
        }
    }
}

/// Measured quantization errors beside the planned ones.
pub fn quantization(list: &mut Findings, run: &Explanation) {
    let measured = run.quantization.widths.iter();
    // Of the last plan, whose numbers can still be changed.
    let last = measured.clone().map(|width| width.from).max();
    let off: Vec<String> = measured
        .filter(|width| Some(width.from) == last && width.is_off())
        .map(|width| {
            format!(
                "{} times the planned {} at {} bits",
                significant(width.measured / width.planned, 2),
                significant(width.planned, 3),
                width.bits
            )
        })
        .collect();
    if !off.is_empty() {
        let text = format!(
            "quantization errors were {}: bits and data would be spread otherwise (codec.phi, replan.on_phi)",
            off.join(", ")
        );
        list.add(Tone::Note, "quantization", text);
    }
}

/// How far decoded gradients were off, and whether they were biased.
pub fn accuracy(list: &mut Findings, run: &Explanation) {
    let accuracy = &run.accuracy;
    if accuracy.samples > 0 {
        let mut text = format!(
            "the decoded gradient was off by {} (root mean square of {} comparisons)",
            percent(accuracy.measured),
            accuracy.samples
        );
        if accuracy.predicted.is_finite() {
            text.push_str(&format!(
                "; the plan's bound is {} for partitions with equal gradients",
                percent(accuracy.predicted)
            ));
        }
        list.add(Tone::Note, "accuracy", text);
    }
    let off: Vec<f64> = accuracy
        .counted
        .iter()
        .filter(|counted| counted.is_off())
        .map(|counted| counted.weight)
        .collect();
    if let (Some(least), Some(most)) = (
        off.iter().copied().reduce(f64::min),
        off.iter().copied().reduce(f64::max),
    ) {
        let text = format!(
            "the gradient was biased: {} of {} partitions counted {} instead of 1, because workers were not late as often as planned",
            off.len(),
            accuracy.counted.len(),
            if off.len() == 1 {
                significant(least, 3)
            } else {
                format!("{} to {}", significant(least, 3), significant(most, 3))
            }
        );
        list.add(Tone::Warning, "accuracy", text);
    }
}
