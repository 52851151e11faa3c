//! A run's sections, each with figures and tables.

use super::super::explain::compression::Verdict;
use super::super::explain::findings::Tone;
use super::super::explain::stragglers::{AgainstPlan, Worker};
use super::super::explain::time::Part;
use super::super::figures::{self, Figures, rounds};
use super::super::format::{duration, percent, si, significant};
use super::super::{Run, failure, story};
use super::markup::{Cell, escaped, figure, table};
use crate::exit::Outcome;

/// Sections with their anchors.
pub const NAMES: [(&str, &str); 7] = [
    ("learning", "Learning"),
    ("time", "Time"),
    ("workers", "Workers"),
    ("bits", "Bits"),
    ("gradient", "Gradient"),
    ("plans", "Plans"),
    ("configuration", "Configuration"),
];

/// Rows of the workers' table; of more workers those late most often are shown.
const WORKERS: usize = 200;
/// Rows of the table of partitions and of that of plans.
const LISTED: usize = 40;

/// All sections.
///
/// # Errors
/// Exit code 2 or 30 if the log cannot be read.
pub fn of_run(run: &Run, prefix: &str) -> Outcome<String> {
    let mut text = String::new();
    let bodies = [
        learning(run)?,
        time(run)?,
        workers(run)?,
        bits(run)?,
        gradient(run),
        plans(run),
        configuration(run)?,
    ];
    for ((id, name), body) in NAMES.iter().zip(bodies) {
        text.push_str(&format!(
            "<section id=\"{prefix}{id}\"><h2>{name}</h2>\n{body}</section>\n"
        ));
    }
    Ok(text)
}

/// What stands out.
pub fn findings(run: &Run) -> String {
    let mut text = String::from("<ul class=\"findings\">\n");
    for finding in &run.explanation.findings {
        let (class, mark) = match finding.tone {
            Tone::Warning => ("warning", "<b>Warning.</b> "),
            Tone::Note => ("note", ""),
            Tone::Good => ("good", ""),
        };
        let mut words = finding.text.clone();
        if let Some(first) = words.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        text.push_str(&format!(
            "<li class=\"{class}\">{mark}{}.</li>\n",
            escaped(&words)
        ));
    }
    text.push_str("</ul>\n");
    text
}

/// Figures one below the other, or side by side in a container of a class.
pub fn figures_of(list: Figures, class: &str) -> String {
    let all: String = list
        .iter()
        .map(|(name, svg)| figure(svg, name.trim_end_matches(".svg"), ""))
        .collect();
    match class {
        "" => all,
        class => format!("<div class=\"{class}\">{all}</div>\n"),
    }
}

fn paragraph(text: &str) -> String {
    format!("<p>{text}</p>\n")
}

/// For tables of few columns.
fn narrow(table: &str) -> String {
    format!("<div class=\"narrow\">{table}</div>\n")
}

fn learning(run: &Run) -> Outcome<String> {
    let one = std::slice::from_ref(run);
    let mut losses = figures::losses(one, figures::HALF_PAGE)?;
    losses.truncate(2);
    let mut text = figures_of(losses, "pair");
    text.push_str(&figures_of(figures::evaluations(one)?, ""));
    Ok(text)
}

fn hex(colour: plotters::style::RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

fn time(run: &Run) -> Outcome<String> {
    let time = &run.explanation.time;
    let largest = time
        .parts
        .iter()
        .map(|part| part.share)
        .fold(1e-9, f64::max);
    let row = |part: &Part| {
        let colour = hex(rounds::colour_of(part.activity));
        let label = part.activity.label(&run.explanation.circumstances);
        let cells = vec![
            Cell::Keyed(label.to_owned(), colour.clone()),
            Cell::Number(duration(part.seconds)),
            Cell::Number(percent(part.share)),
            Cell::Bar(part.share / largest, colour),
        ];
        (false, cells)
    };
    let rows: Vec<_> = time
        .parts
        .iter()
        .filter(|part| part.seconds > 0.0)
        .map(row)
        .collect();
    let mut text = paragraph(&format!(
        "From the start to the last iteration: <b>{}</b>, without gaps or overlaps. The wait of a round is taken apart along the last worker in time, on whom it hung.",
        escaped(&duration(time.wall))
    ));
    text.push_str(&table(&["<", "time", "share", "<"], &rows));
    if let Some(svg) = figures::round_times(run)? {
        text.push_str(&figure(
            &svg,
            "seconds per round by what they went into",
            "",
        ));
    }
    let deadline = &run.explanation.deadline;
    if let Some(why) = deadline.why_none(&run.explanation.circumstances) {
        text.push_str("<h3>The deadline</h3>\n");
        let sentence = format!("There is nothing to replay: {why}.");
        text.push_str(&paragraph(&escaped(&sentence)));
    }
    if !deadline.what_if.is_empty() {
        let [least, median, most] = deadline.seconds.map(duration);
        text.push_str("<h3>The deadline, and shorter ones replayed on these arrivals</h3>\n");
        text.push_str(&paragraph(&escaped(&format!(
            "It was {median} in the median, from {least} to {most}. Rounds that ran to it because somebody was missing: {}; that ended when everybody had reported: {}; without any gradient: {}.{} When the late ones would have come nobody knows, so the table has no longer deadlines.",
            deadline.rounds_to_the_deadline,
            deadline.rounds_complete,
            deadline.rounds_empty,
            match deadline.computed_in_vain {
                seconds if seconds > 0.0 => format!(
                    " Late workers computed {} in vain, as far as the rounds heard of it.",
                    duration(seconds)
                ),
                _ => String::new(),
            }
        ))));
        let rows: Vec<_> = deadline
            .what_if
            .iter()
            .map(|other| {
                let cells = vec![
                    Cell::Number(duration(other.deadline)),
                    Cell::Number(percent(other.time_saved)),
                    Cell::Number(percent(other.gradients_kept)),
                    Cell::Number(percent(other.empty)),
                ];
                (false, cells)
            })
            .collect();
        let headings = ["<deadline", "time saved", "gradients kept", "empty rounds"];
        text.push_str(&narrow(&table(&headings, &rows)));
    }
    Ok(text)
}

fn workers(run: &Run) -> Outcome<String> {
    let mut text = String::new();
    if let Some(svg) = figures::arrival_map(run)? {
        let caption = "One row per worker. The darker the blue, the later the gradient came; on the right the share of iterations in which the worker was late.";
        text.push_str(&figure(
            &svg,
            "who made the deadline, worker by iteration",
            caption,
        ));
    }
    if !run.reader.is_empty() {
        let svg = figures::arrival_ranges(run, figures::WORKERS)?;
        text.push_str(&figure(&svg, "arrival times of each worker", ""));
    }
    let (order, partial) = story::shown(&run.explanation.workers, WORKERS);
    if partial {
        text.push_str(&paragraph(&format!(
            "The {WORKERS} of {} workers that were late most often:",
            run.explanation.workers.len()
        )));
    }
    let rows: Vec<_> = order.into_iter().map(|i| worker(run, i)).collect();
    let headings = [
        "<worker", "bits", "parts", "planned", "late", "in a row", "arrival", "90%", "99%",
        "compute", "encode", "wire", "last one", "<remarks",
    ];
    text.push_str(&table(&headings, &rows));
    text.push_str("<p class=\"muted\">late: share of the iterations in which a gradient was expected; in a row: longest streak; arrival: median and quantiles of those in time, from the round's start; compute, encode, wire: means; last one: rounds in which it was the last in time.</p>\n");
    Ok(text)
}

fn worker(run: &Run, i: usize) -> (bool, Vec<Cell>) {
    let (planned, worker): (_, &Worker) = (&run.summary.per_worker[i], &run.explanation.workers[i]);
    let optional =
        |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let late = match worker.asked {
        0 => "not asked".to_owned(),
        _ => percent(worker.late_share),
    };
    let cells = vec![
        Cell::Text(i.to_string()),
        Cell::Number(optional(planned.bits_per_coordinate)),
        Cell::Number(optional(planned.load)),
        Cell::Number(percent(planned.straggle_probability)),
        Cell::Share(late, worker.late_share),
        Cell::Number(worker.longest_streak.to_string()),
        Cell::Number(duration(worker.arrival[1])),
        Cell::Number(duration(worker.arrival[2])),
        Cell::Number(duration(worker.arrival[3])),
        Cell::Number(duration(worker.compute)),
        Cell::Number(duration(worker.encode)),
        Cell::Number(duration(worker.wire)),
        Cell::Number(worker.last.to_string()),
        Cell::Words(story::remark(worker)),
    ];
    let odd = worker.against_plan != AgainstPlan::AsPlanned || worker.changed || worker.bursts;
    (odd, cells)
}

fn bits(run: &Run) -> Outcome<String> {
    let (totals, balance) = (&run.summary.totals, &run.explanation.compression);
    let mut rows = vec![];
    let mut row = |label: &str, value: String| {
        if !value.is_empty() && value != "-" {
            let name = match label.strip_prefix("  ") {
                Some(inner) => Cell::Sub(inner.to_owned()),
                None => Cell::Text(label.to_owned()),
            };
            rows.push((false, vec![name, Cell::Number(value)]));
        }
    };
    let bits = |bits: u64| si(bits as f64, "bit");
    row("workers to master", bits(totals.bits_up));
    row(
        "  of this, quantized gradients",
        bits(totals.bits_up_payload),
    );
    row("  had nobody been late", bits(totals.bits_up_offered));
    row(
        "  what came, as f32",
        totals.bits_up_f32.map(bits).unwrap_or_default(),
    );
    row("master to workers", bits(totals.bits_down));
    row("a frame, on average", si(balance.frame_bits, "bit"));
    row("  the same as f32", si(balance.frame_bits_f32, "bit"));
    row(
        "measured bandwidth of a frame",
        si(balance.bandwidth, "bit/s"),
    );
    if balance.latency > 0.0 {
        row("  after", duration(balance.latency));
    }
    row(
        "slowest frame of each round, added up",
        duration(balance.wire),
    );
    row("  as f32 at that bandwidth", duration(balance.wire_f32));
    row("encoding, as far as waited for", duration(balance.encode));
    row("decoding", duration(balance.decode));
    let verdict = match balance.verdict {
        Verdict::Uncompressed => "not compressed".to_owned(),
        Verdict::Unknown => String::new(),
        Verdict::Even => "neither saved nor cost time".to_owned(),
        Verdict::Paid => format!("saved {}", duration(balance.net)),
        Verdict::Cost => format!("cost {}", duration(-balance.net)),
    };
    row("compression, on balance", verdict);
    row(
        "  pays on links below",
        match totals.compression_pays_below {
            speed if speed > 0.0 && totals.seconds.round > 0.0 => si(speed, "bit/s"),
            _ => String::new(),
        },
    );
    let table = narrow(&table(&["", ""], &rows));
    if run.reader.is_empty() {
        return Ok(table);
    }
    let svg = figures::bits_sent(run)?;
    let by_bits = figures::losses(std::slice::from_ref(run), figures::HALF_PAGE)?.pop();
    let by_bits = by_bits.map_or_else(String::new, |(_, svg)| {
        figure(&svg, "training loss against bits sent", "")
    });
    let sent = figure(&svg, "bits sent by the workers", "");
    Ok(format!(
        "<div class=\"pair\">{sent}{by_bits}</div>\n{table}"
    ))
}

fn gradient(run: &Run) -> String {
    let accuracy = &run.explanation.accuracy;
    let mut text = String::new();
    if accuracy.samples > 0 {
        text.push_str(&paragraph(&escaped(&format!(
            "Compared with the exact gradient in {} iterations, the decoded one was off by {} (root mean square; median {}). The plan's bound is {} for partitions whose gradients are equal; the more they differ, the larger is the error in proportion.{}",
            accuracy.samples,
            percent(accuracy.measured),
            percent(accuracy.measured_median),
            percent(accuracy.predicted),
            if accuracy.error_feedback {
                " Workers remember what was not delivered, so what one round lacks comes in the next ones."
            } else {
                ""
            }
        ))));
    } else {
        text.push_str(&paragraph("The decoded gradient was not compared with the exact one; <code>round.relative_error_every</code> does that."));
    }
    if accuracy.counted.is_empty() {
        return text;
    }
    text.push_str(&paragraph(
        "What each partition's gradient counted on average, by who really came; 1 is unbiased:",
    ));
    let mut counted = accuracy.counted.clone();
    if counted.len() > LISTED {
        let off = |weight: f64| (weight - 1.0).abs();
        counted.sort_by(|a, b| off(b.weight).total_cmp(&off(a.weight)));
        counted.truncate(LISTED);
        text.push_str(&paragraph(&format!(
            "(the {LISTED} of {} furthest from 1)",
            accuracy.counted.len()
        )));
    }
    let rows: Vec<_> = counted
        .iter()
        .map(|counted| {
            let cells = vec![
                Cell::Text(counted.partition.to_string()),
                Cell::Number(format!("{:.4}", counted.weight)),
                Cell::Number(format!("{:.4}", counted.standard_error)),
                Cell::Text(if counted.is_off() { "biased" } else { "" }.to_owned()),
            ];
            (counted.is_off(), cells)
        })
        .collect();
    let headings = ["<partition", "counted", "standard error", "<"];
    text.push_str(&narrow(&table(&headings, &rows)));
    text
}

/// `9 7 6 2`, or the range of many.
fn short_list<T: ToString + Copy + PartialOrd>(values: &[T]) -> String {
    if values.len() <= 12 {
        let words: Vec<String> = values.iter().map(ToString::to_string).collect();
        return words.join(" ");
    }
    let pick = |keep: fn(&T, &T) -> bool| {
        let chosen = values
            .iter()
            .copied()
            .reduce(|a, b| if keep(&b, &a) { b } else { a });
        chosen.map_or_else(String::new, |value| value.to_string())
    };
    format!("{} to {}", pick(|b, a| b < a), pick(|b, a| b > a))
}

fn plans(run: &Run) -> String {
    let events = &run.explanation.events;
    let rows: Vec<_> = events
        .plans
        .iter()
        .take(LISTED)
        .map(|plan| {
            let late: Vec<f64> = plan
                .straggle_probability
                .iter()
                .map(|p| (p * 1e3).round() / 1e3)
                .collect();
            let cells = vec![
                Cell::Text(plan.iteration.to_string()),
                Cell::Text(plan.scheme.clone()),
                Cell::Text(short_list(&late)),
                Cell::Text(short_list(&plan.bits)),
                Cell::Text(short_list(&plan.load)),
                Cell::Number(significant(plan.scaling_s, 4)),
                Cell::Number(significant(plan.error_bound, 4)),
                Cell::Words(plan.reason.clone()),
            ];
            (false, cells)
        })
        .collect();
    let headings = [
        "<from iteration",
        "<scheme",
        "<planned late",
        "<bits per coordinate",
        "<partitions",
        "S",
        "error bound",
        "<why",
    ];
    let mut text = table(&headings, &rows);
    if events.plans.len() > LISTED {
        text.push_str(&paragraph(&format!(
            "and {} more",
            events.plans.len() - LISTED
        )));
    }
    if events.segments.len() > 1 {
        text.push_str("<h3>Starts</h3>\n");
        let rows: Vec<_> = events
            .segments
            .iter()
            .map(|segment| {
                let cells = vec![
                    Cell::Text(segment.start_iteration.to_string()),
                    Cell::Number(segment.ranks.to_string()),
                    Cell::Text(segment.job_id.clone()),
                    Cell::Words(segment.hosts.clone()),
                ];
                (false, cells)
            })
            .collect();
        text.push_str(&table(
            &["<from iteration", "ranks", "<job", "<hosts"],
            &rows,
        ));
    }
    text
}

fn configuration(run: &Run) -> Outcome<String> {
    let config = run.reader.config().map_err(failure)?;
    let rows: Vec<_> = run
        .summary
        .attributes
        .iter()
        .map(|(name, value)| {
            let cells = vec![Cell::Text(name.clone()), Cell::Words(value.to_string())];
            (false, cells)
        })
        .collect();
    Ok(format!(
        "<details><summary>The configuration as run</summary><pre>{}</pre></details>\n<details><summary>What the log says of program and machine</summary>{}</details>\n",
        escaped(config.trim()),
        table(&["", ""], &rows)
    ))
}
