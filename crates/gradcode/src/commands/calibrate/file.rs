//! What was found, as a cluster file, a trace, a table and JSON.

use std::fmt::Write;

use serde_json::{Value, json};
use straggler::fit::{Family, Interval};

use super::findings::{Findings, Worker};
use crate::cli::CalibrateArgs;

/// The cluster file.
pub fn text(findings: &Findings, args: &CalibrateArgs, hosts: &[String]) -> String {
    let percent = 100.0 * args.confidence;
    let mut text = format!(
        "# Measured by `gradcode calibrate {}`: {} rounds of {} workers on {},\n\
         # {} partitions and {} bits per coordinate each, {} coordinates. Times are seconds.\n",
        args.experiment.experiment.display(),
        findings.rounds,
        findings.workers.len(),
        hosts.join(", "),
        findings.load,
        findings.bits,
        findings.dimension,
    );
    if findings.limit.is_finite() {
        let _ = writeln!(text, "# Reports were cut after {} s.", findings.limit);
    }
    if findings.injected {
        text.push_str("# The experiment injected delays: these are theirs, not the machines'.\n");
    }
    for line in table(findings).lines() {
        let _ = writeln!(text, "# {line}");
    }
    let rejected = rejected(findings);
    if !rejected.is_empty() {
        let _ = writeln!(
            text,
            "# The delays of worker {} are not of this family (D above its 5 % point): p_i below the deadline are\n\
             # rough. A trace (--trace FILE, straggler.model = \"trace\") has no family.",
            rejected.join(", ")
        );
    }
    let model = match findings.family {
        Family::ShiftedExponential => "shifted-exponential",
        Family::Exponential => "exponential",
    };
    let of = |value: fn(&Worker) -> Interval| {
        let values: Vec<String> = findings
            .workers
            .iter()
            .map(|w| number(value(w).value))
            .collect();
        let intervals: Vec<String> = findings
            .workers
            .iter()
            .map(|w| format!("{} .. {}", short(value(w).low), short(value(w).high)))
            .collect();
        (values.join(", "), intervals.join(" | "))
    };
    let _ = writeln!(
        text,
        "\n[straggler]\nmodel = \"{model}\"\nunit_seconds = 1.0"
    );
    if findings.family == Family::ShiftedExponential {
        let (values, intervals) = of(|worker| worker.fit.shift);
        let _ = writeln!(text, "# {percent} %: {intervals}\nshift = [{values}]");
    }
    let (values, intervals) = of(|worker| worker.fit.rate);
    let _ = writeln!(text, "# {percent} %: {intervals}\nrate = [{values}]");
    let bandwidth: Option<Vec<String>> = findings
        .workers
        .iter()
        .map(|worker| worker.bandwidth().map(number))
        .collect();
    match bandwidth {
        Some(values) => {
            let _ = writeln!(
                text,
                "# Bits per second of single messages. Real deadlines are about what comes before them.\nbandwidth = [{}]",
                values.join(", ")
            );
        }
        None => text.push_str(
            "# No bandwidth: wider messages did not take measurably longer from every worker.\n",
        ),
    }
    let (deadline, why) = &findings.deadline;
    let _ = writeln!(
        text,
        "# {}\ndeadline = {}",
        why.replace('\n', " "),
        number(*deadline)
    );
    if findings.injected {
        text.push_str("# inject: as in the experiment, whose delays were measured.\n");
    } else {
        text.push_str("inject = \"none\"\n");
    }
    text.push_str("\n[deadline]\nseconds = \"planned\"\n");
    text
}

fn rejected(findings: &Findings) -> Vec<String> {
    let workers = findings.workers.iter().enumerate();
    workers
        .filter(|(_, worker)| !worker.fit.fits())
        .map(|(i, _)| i.to_string())
        .collect()
}

/// A line per worker.
pub fn table(findings: &Findings) -> String {
    let mut text = format!(
        "{:>6} {:>6} {:>5} {:>12} {:>12} {:>12} {:>12} {:>12} {:>7} {:>7}\n",
        "worker",
        "tasks",
        "cut",
        "s/partition",
        "s besides",
        "s encode",
        "Mbit/s",
        "s latency",
        "D",
        "5 %"
    );
    for (i, worker) in findings.workers.iter().enumerate() {
        let fit = &worker.fit;
        let speed = worker.bandwidth().map_or(f64::NAN, |bits| bits / 1e6);
        let _ = writeln!(
            text,
            "{i:>6} {:>6} {:>5} {:>12} {:>12} {:>12} {:>12} {:>12} {:>7.4} {:>7.4}",
            fit.tasks,
            fit.tasks - fit.arrived,
            short(worker.compute.slope.value),
            short(worker.compute.offset),
            short(worker.encode),
            short(speed),
            short(worker.transfer.offset),
            fit.distance,
            fit.critical,
        );
    }
    let _ = writeln!(
        text,
        "deadline {} s: {}",
        short(findings.deadline.0),
        findings.deadline.1
    );
    text
}

/// Arrivals of the fitted rounds, a line per round.
pub fn trace(findings: &Findings) -> String {
    let mut text = format!(
        "# seconds from the start of a round to a worker's report; a column per worker, {} rounds\n",
        findings.rounds
    );
    for round in &findings.arrivals {
        let line: Vec<String> = round.iter().map(|time| format!("{time:.9}")).collect();
        let _ = writeln!(text, "{}", line.join(","));
    }
    text
}

/// One object.
pub fn object(findings: &Findings, args: &CalibrateArgs) -> Value {
    let interval = |interval: Interval| json!([interval.low, interval.high]);
    let workers: Vec<Value> = findings
        .workers
        .iter()
        .map(|worker| {
            let fit = &worker.fit;
            json!({
                "tasks": fit.tasks,
                "cut": fit.tasks - fit.arrived,
                "shift": fit.shift.value,
                "shift_interval": interval(fit.shift),
                "rate": fit.rate.value,
                "rate_interval": interval(fit.rate),
                "distance": fit.distance,
                "distance_critical": fit.critical,
                "fits": fit.fits(),
                "seconds_per_partition": worker.compute.slope.value,
                "seconds_besides": worker.compute.offset,
                "seconds_encode": worker.encode,
                "bandwidth": worker.bandwidth(),
                "seconds_per_bit": worker.transfer.slope.value,
                "seconds_per_bit_interval": interval(worker.transfer.slope),
                "seconds_latency": worker.transfer.offset,
            })
        })
        .collect();
    json!({
        "model": match findings.family {
            Family::ShiftedExponential => "shifted-exponential",
            Family::Exponential => "exponential",
        },
        "confidence": args.confidence,
        "rounds": findings.rounds,
        "load": findings.load,
        "bits": findings.bits,
        "dimension": findings.dimension,
        "limit": findings.limit.is_finite().then_some(findings.limit),
        "injected": findings.injected,
        "deadline": findings.deadline.0,
        "deadline_reason": findings.deadline.1,
        "workers": workers,
        "file": args.out,
        "trace": args.trace,
    })
}

/// Six digits, in a form that TOML reads as a float.
fn number(value: f64) -> String {
    let text = format!("{value:.6e}");
    let parsed: f64 = text.parse().unwrap_or(value);
    format!("{parsed:?}")
}

fn short(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else if (0.01..1e5).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        format!("{value:.2e}")
    }
}
