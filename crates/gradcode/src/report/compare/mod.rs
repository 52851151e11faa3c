//! `gradcode report --compare`: schemes beside one another, from studies of many runs or from runs.
//!
//! [`source`] reads the files ([`runs`] those of single runs), [`quantity`] knows what can stand on an
//! axis, [`groups`] says what is compared with what, [`measure`] takes the numbers, [`reach`] says what was asked for and is not
//! in them, [`panels`] decides
//! which figures are drawn and [`lines`] with which lines, [`table`] (of [`columns`]) and [`export`] write for people and programs.

mod columns;
mod export;
mod groups;
mod lines;
mod measure;
mod panels;
mod quantity;
mod reach;
mod runs;
mod source;
mod table;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

use clap::Args;
use run_log::study::Study;

use super::figures::scale::Choice;
use super::{ReportArgs, figures};
use crate::config::quoted;
use crate::exit::{Failure, Outcome};
use crate::output;
use groups::Terms;
use panels::Wanted;
use quantity::{Abscissa, RECEIVED};
use source::Comparison;

/// Options of `gradcode report --compare`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Comparing (with --compare)")]
pub struct CompareArgs {
    /// Compare schemes: studies written by `gradcode simulate` (study.h5), or single runs; runs that
    /// differ in nothing but the seed are averaged.
    #[arg(long)]
    pub compare: bool,
    /// What runs to the right in the figures: iteration (or the study's own axis, e.g. stragglers),
    /// bits, bits-offered (had nobody been late), or a swept key, with the result at the end against
    /// it. Without it, one figure for each that has data. bits-offered also decides what "equal bits"
    /// means in the table, and seconds makes it equal time by the delay model.
    #[arg(long, value_name = "iteration|bits|seconds|KEY", requires = "compare")]
    pub x: Option<String>,
    /// The metric that is compared, e.g. loss, accuracy, relative_error; default: the loss, or what
    /// the study measures.
    #[arg(long, value_name = "METRIC", requires = "compare")]
    pub y: Option<String>,
    /// The x axis: auto, linear or log.
    #[arg(
        long,
        value_name = "KIND",
        value_enum,
        default_value = "auto",
        requires = "compare"
    )]
    pub x_scale: Choice,
    /// The y axis: auto (logarithmic where values span more than a factor of 30), linear or log.
    #[arg(
        long,
        value_name = "KIND",
        value_enum,
        default_value = "auto",
        requires = "compare"
    )]
    pub y_scale: Choice,
    /// The scheme that ratios are against; default: the first.
    #[arg(long, value_name = "LABEL", requires = "compare")]
    pub baseline: Option<String>,
    /// Compare at this many bits (with --x seconds: seconds); default: as many as every scheme spent.
    #[arg(long, value_name = "BITS", requires = "compare", value_parser = bits, allow_negative_numbers = true)]
    pub at_bits: Option<f64>,
    /// Count the bits until the metric is this good; default: what the median scheme
    /// reaches at equal bits.
    #[arg(long, value_name = "VALUE", requires = "compare", value_parser = finite,
        allow_negative_numbers = true)]
    pub target: Option<f64>,
}

fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("must be a number".into()),
    }
}

fn bits(text: &str) -> Result<f64, String> {
    match finite(text) {
        Ok(bits) if bits > 0.0 => Ok(bits),
        _ => Err("must be a number above 0".into()),
    }
}

/// Prints the comparison, and draws the figures if asked to.
///
/// # Errors
/// Exit code 2 if a file is missing or of another kind or version, or has no such metric, axis or
/// label; 30 if something cannot be read or written.
pub fn run(args: &ReportArgs) -> Outcome {
    let options = &args.comparing;
    let comparison = Comparison::open(&args.runs)?;
    let wanted = Wanted {
        x: options
            .x
            .as_deref()
            .map(|text| Abscissa::parse(text, &comparison))
            .transpose()?,
        y: options.y.clone(),
        x_choice: options.x_scale,
        y_choice: options.y_scale,
    };
    let terms = terms(options, &comparison, &wanted)?;
    known_series(&comparison, &args.series)?;

    let csv = || export::csv(&comparison, &args.series);
    match args.csv.as_deref() {
        Some("-") => output::print(&csv())?,
        _ if args.json => output::json(&export::json(&comparison, &terms, &args.series))?,
        _ => output::print(&table::render(&comparison, &terms))?,
    }
    if let Some(file) = args.csv.as_deref().filter(|file| *file != "-") {
        super::write_csv(file, &csv())?;
    }
    if let Some(directory) = &args.svg {
        let drawn = panels::figures(&comparison, &wanted);
        let mut files = vec![];
        for (name, figure) in &drawn.figures {
            if !figure.panels.is_empty() {
                let svg = figures::drawn(figures::bands::draw(figure))?;
                files.push((format!("{name}.svg"), svg));
            }
        }
        figures::announce(&figures::save(files, directory)?);
        if drawn.left_out > 0 {
            eprintln!(
                "warning: {} panels are not drawn; compare fewer sweep values, or use --x KEY",
                drawn.left_out
            );
        }
    }
    Ok(())
}

/// Whether one of the files is a study, which other reports cannot read.
pub fn any_study(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| Study::open(path).is_ok())
}

fn terms(options: &CompareArgs, comparison: &Comparison, wanted: &Wanted) -> Outcome<Terms> {
    let metrics = quantity::metrics(comparison);
    let metric = match &options.y {
        Some(name) => {
            known_series(comparison, std::slice::from_ref(name))?;
            name.clone()
        }
        None => metrics.first().cloned().unwrap_or_default(),
    };
    let labels = comparison.labels();
    match &options.baseline {
        Some(label) if !labels.contains(&label.as_str()) => Err(Failure::usage(format!(
            "failed to compare with {label}: no scheme of this label"
        ))
        .hint(format!("one of {}", quoted(&labels)))),
        baseline => Ok(Terms {
            metric,
            bits: match wanted.x {
                Some(Abscissa::Bits(cost)) => cost,
                _ => RECEIVED,
            },
            baseline: baseline.clone(),
            at_bits: options.at_bits,
            target: options.target,
        }),
    }
}

fn known_series(comparison: &Comparison, wanted: &[String]) -> Outcome {
    let mut known: Vec<String> = comparison
        .series_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let bounds = comparison
        .points
        .iter()
        .flat_map(|entry| entry.point.bounds.keys());
    known.extend(bounds.map(|name| format!("bound/{name}")));
    match wanted.iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => {
            known.dedup();
            Err(
                Failure::usage(format!("failed to report {name}: there is no such series"))
                    .hint(format!("one of {}", known.join(", "))),
            )
        }
    }
}
