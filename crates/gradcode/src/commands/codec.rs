//! `gradcode codec phi`: what quantization errors really are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use gradient_codec::{EncodeError, Preset};
use serde_json::json;

use crate::cli::PhiArgs;
use crate::config::Sources;
use crate::config::planning::{self, PlanInputs};
use crate::exit::{ENVIRONMENT, Failure, Outcome};
use crate::output;
use crate::phi::estimate::{Plan, estimate};
use crate::phi::reference::{Reference, vector};
use crate::phi::table::{Measurement, PhiTable};
use crate::phi::widths;
use crate::run::{build_learner, threads};

use super::load;

/// The widest codes that are measured.
const MOST_BITS: u8 = 16;

/// The quantizers, measured where nothing else is asked for.
const PRESETS: [&str; 5] = [
    "qsgd",
    "qsgd-bucketed:max:512",
    "qsgd-bucketed:l2:512",
    "rotated",
    "eden",
];

/// Vectors of one kind.
struct Vectors {
    on: &'static str,
    source: String,
    list: Vec<Vec<f32>>,
}

/// Measures phi by preset and width, prints it and writes the table.
///
/// # Errors
/// Exit code 2 for arguments that make no sense, 30 for files that cannot be read or written.
pub fn phi(args: &PhiArgs) -> Outcome {
    refuse_existing(args)?;
    let (given, own) = match (args.sources(), &args.vector) {
        (Some(sources), _) => {
            gradients(&sources, args).map(|(v, preset)| (Some(v), Some(preset)))?
        }
        (None, Some(path)) => (Some(from_file(path, args.array.as_deref())?), None),
        (None, None) => (None, None),
    };
    let laws: &[Reference] = match (&args.reference[..], &given) {
        ([], None) => &[Reference::Normal, Reference::HeavyTailed],
        (laws, _) => laws,
    };
    let presets: Vec<Preset> = match (&args.preset[..], own) {
        ([], Some(own)) => vec![own],
        ([], None) => (PRESETS.iter())
            .map(|text| text.parse().expect("a preset"))
            .collect(),
        (presets, _) => presets.to_vec(),
    };
    let mut measurements = Vec::new();
    let drawn = laws.iter().map(|&law| reference(law, args));
    for vectors in given.into_iter().chain(drawn) {
        for preset in &presets {
            measurements.push(measure(preset, &vectors, args)?);
        }
    }
    let table = PhiTable::new(measurements);
    match &args.json {
        Some(path) if path == Path::new("-") => return output::json(&json!(table)),
        Some(path) => write(path, &table)?,
        None => {}
    }
    output::print(&text(&table))
}

fn refuse_existing(args: &PhiArgs) -> Outcome {
    match &args.json {
        Some(path) if path.exists() && !args.overwrite => Err(Failure::usage(format!(
            "failed to write {}: it exists",
            path.display()
        ))
        .hint("--overwrite replaces it")),
        _ => Ok(()),
    }
}

fn write(path: &Path, table: &PhiTable) -> Outcome {
    let mut text = serde_json::to_string_pretty(table).expect("a table is JSON");
    text.push('\n');
    std::fs::write(path, text)
        .map_err(|error| Failure::environment(format!("write {}", path.display()), &error))
}

fn reference(law: Reference, args: &PhiArgs) -> Vectors {
    let one = |number: u32| vector(law, args.dimension, args.seed, u64::from(number));
    Vectors {
        on: law.word(),
        source: format!("{} reference vectors", law.word()),
        list: (0..args.vectors).map(one).collect(),
    }
}

fn from_file(path: &Path, array: Option<&str>) -> Outcome<Vectors> {
    let vector = torch_models::arrays::vector(path, array)
        .map_err(|error| Failure::environment("read a vector", &error))?;
    let refused = |what: &str| {
        let path = path.display();
        Failure::new(
            ENVIRONMENT,
            format!("failed to use the vector in {path}: {what}"),
        )
    };
    if vector.iter().all(|&x| x == 0.0) {
        return Err(refused("it is zero, which has no relative error"));
    }
    if let Some(i) = vector.iter().position(|x| !x.is_finite()) {
        return Err(refused(&format!("coordinate {i} is not finite")));
    }
    let array = array.map_or_else(String::new, |name| format!(", array {name}"));
    Ok(Vectors {
        on: "vector",
        source: format!("{}{array}", path.display()),
        list: vec![vector],
    })
}

/// The coded gradients of the experiment's workers at its initial point, and its preset.
fn gradients(sources: &Sources, args: &PhiArgs) -> Outcome<(Vectors, Preset)> {
    let config = load(sources)?.config;
    let mut learner = build_learner(&config, 0, threads(&config, 1))?;
    let inputs = PlanInputs::new(&config, learner.dimension())?;
    let plan = planning::plan_of(&config, &inputs)?;
    if plan.blocks() > 1 {
        return Err(Failure::usage(format!(
            "failed to measure scheme {}: its messages mix blocks of gradients",
            plan.scheme
        ))
        .hint("measure with scheme.kind = \"joint\": blocks are quantized like whole gradients"));
    }
    let parameters = learner.initial_parameters();
    let mut list = Vec::new();
    for iteration in 0..args.iterations {
        for worker in plan.active().take(args.vectors as usize) {
            let mut gradient = vec![0.0; learner.dimension()];
            let assignment = &plan.workers[worker].assignment;
            learner
                .coded_gradient(&parameters, iteration, assignment, &mut gradient)
                .map_err(|error| Failure::environment("compute a gradient", &error))?;
            list.push(gradient);
        }
    }
    if list.iter().flatten().all(|&x| x == 0.0) {
        return Err(Failure::usage(
            "failed to measure the gradients at the initial point: they are zero, which has no relative error",
        ));
    }
    let vectors = Vectors {
        on: "gradient",
        source: format!(
            "coded gradients of {} at the initial point",
            sources.experiment.display()
        ),
        list,
    };
    Ok((vectors, config.preset()))
}

fn measure(preset: &Preset, vectors: &Vectors, args: &PhiArgs) -> Outcome<Measurement> {
    let dimension = vectors.list[0].len();
    let plan = Plan {
        seed: args.seed,
        messages: args.messages as usize,
    };
    let there = widths(preset, dimension, MOST_BITS);
    let wanted = |bits: &u8| args.bits.is_empty() || args.bits.contains(bits);
    let mut found = BTreeMap::new();
    for bits in there.iter().copied().filter(wanted) {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::usage(format!(
                "failed to measure {preset} at {bits} bits: {error}"
            ))
        };
        let compressor = preset
            .compressor(bits, dimension)
            .map_err(|error| failed(&error))?;
        let one = estimate(&compressor, &vectors.list, plan);
        found.insert(bits, one.map_err(|error: EncodeError| failed(&error))?);
    }
    if found.is_empty() {
        let there: Vec<String> = there.iter().map(ToString::to_string).collect();
        return Err(Failure::usage(format!(
            "failed to measure {preset} at the bits of --bits: it has {}",
            there.join(", ")
        )));
    }
    Ok(Measurement {
        preset: preset.to_string(),
        on: vectors.on.to_owned(),
        source: vectors.source.clone(),
        dimension,
        vectors: vectors.list.len(),
        messages: plan.messages / 2 * 2,
        seed: args.seed,
        widths: found,
    })
}

fn text(table: &PhiTable) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for one in &table.measurements {
        let _ = writeln!(
            text,
            "{} on {}: {} coordinates, {} vector{}, {} messages each\n  bits          phi   std error       bias^2   std error",
            one.preset,
            one.source,
            one.dimension,
            one.vectors,
            if one.vectors == 1 { "" } else { "s" },
            one.messages
        );
        for (bits, e) in &one.widths {
            let _ = writeln!(
                text,
                "{bits:>6}  {:>11.4e}  {:>10.1e}  {:>11.2e}  {:>10.1e}",
                e.phi, e.standard_error, e.squared_bias, e.squared_bias_standard_error
            );
        }
        text.push('\n');
    }
    text
}
