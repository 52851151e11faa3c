//! Rows about what was sent, and what compressing it saved and cost.

use run_log::Summary;

use super::super::Run;
use super::super::explain::compression::Verdict;
use super::super::format::{duration, percent, si, significant};
use super::Section;

/// Bits both ways, and whose gradients came in time.
pub fn traffic(runs: &[Run]) -> Section {
    let mut section = Section::new("what was sent");
    let bits = |bits: u64| si(bits as f64, "bit");
    section.row("workers to master", runs, |s| bits(s.totals.bits_up));
    section.row("  of this, quantized gradients", runs, |s| {
        bits(s.totals.bits_up_payload)
    });
    section.row("  had nobody been late", runs, |s| {
        bits(s.totals.bits_up_offered)
    });
    section.row("  the same gradients as f32", runs, |s| {
        s.totals.bits_up_f32.map(bits).unwrap_or_default()
    });
    section.row("master to workers", runs, |s| bits(s.totals.bits_down));
    section.row("gradients on time", runs, |s| {
        let Summary {
            totals,
            responders_mean,
            ..
        } = s;
        format!(
            "{} ({} per iteration)",
            totals.responders,
            significant(*responders_mean, 3)
        )
    });
    section.row("gradients late", runs, |s| {
        let asked = s.totals.responders + s.totals.late + s.totals.refused;
        if asked == 0 {
            return String::new();
        }
        format!(
            "{} ({})",
            s.totals.late,
            percent(s.totals.late as f64 / asked as f64)
        )
    });
    section.row("frames refused", runs, |s| s.totals.refused.to_string());
    section
}

/// What compression saved and cost, in all and in an iteration.
pub fn compression(runs: &[Run]) -> Section {
    let mut section = Section::new("what compression saved and cost");
    section.row("bits saved", runs, |s| match s.totals.compression_saved {
        saved if saved < 0.0 => format!("none (cost {})", percent(-saved)),
        saved => percent(saved),
    });
    let seconds = |value: f64| match value {
        value if value.is_finite() => duration(value),
        _ => String::new(),
    };
    section.row_of_run("measured bandwidth of a frame", runs, |run| {
        let balance = &run.explanation.compression;
        match balance.latency {
            latency if latency > 0.0 => {
                format!(
                    "{} after {}",
                    si(balance.bandwidth, "bit/s"),
                    duration(latency)
                )
            }
            _ => si(balance.bandwidth, "bit/s"),
        }
    });
    section.row_of_run("slowest frame of each round, under way", runs, |run| {
        seconds(run.explanation.compression.wire)
    });
    section.row_of_run("  the same as f32", runs, |run| {
        seconds(run.explanation.compression.wire_f32)
    });
    section.row_of_run("encoding and decoding", runs, |run| {
        let balance = &run.explanation.compression;
        seconds(balance.encode + balance.decode)
    });
    section.row_of_run("on balance", runs, |run| {
        let balance = &run.explanation.compression;
        match balance.verdict {
            Verdict::Uncompressed => "not compressed".to_owned(),
            Verdict::Unknown => String::new(),
            Verdict::Even => "neither saved nor cost time".to_owned(),
            Verdict::Paid => format!("saved {}", duration(balance.net)),
            Verdict::Cost => format!("cost {}", duration(-balance.net)),
        }
    });
    let each = |run: &Run, value: f64| value / run.summary.iterations as f64;
    section.row_of_run("an iteration: bytes saved", runs, |run| {
        let s = &run.summary;
        match s.totals.bits_up_f32 {
            Some(plain) if plain > s.totals.bits_up => {
                si(each(run, (plain - s.totals.bits_up) as f64 / 8.0), "B")
            }
            _ => String::new(),
        }
    });
    section.row_of_run("  seconds of transfer saved", runs, |run| {
        let balance = &run.explanation.compression;
        seconds(each(run, balance.wire_f32 - balance.wire))
    });
    section.row_of_run("  seconds of encoding", runs, |run| {
        seconds(each(run, run.explanation.compression.encode))
    });
    section.row_of_run("  seconds of decoding", runs, |run| {
        seconds(each(run, run.explanation.compression.decode))
    });
    section.row_of_run("noise it adds to that of stragglers", runs, |run| {
        let quantization = &run.explanation.quantization;
        match quantization.noise_over_straggling {
            noise if noise.is_finite() && quantization.all_measured => percent(noise),
            noise if noise.is_finite() => format!("{} (by the plan's phi)", percent(noise)),
            _ => String::new(),
        }
    });
    section.row("pays on links below", runs, |s| {
        match s.totals.compression_pays_below {
            speed if speed > 0.0 && s.totals.seconds.round > 0.0 => si(speed, "bit/s"),
            _ => String::new(),
        }
    });
    section
}
