//! `gradcode plan`: the code, the bits, the loads and what the theory predicts.

mod curve;

use std::collections::BTreeMap;

use gradient_code::{Criterion, Decoder, PASSTHROUGH_BITS, Plan, SecondTrack};
use serde_json::{Value, json};

use crate::cli::PlanArgs;
use crate::config::planning::PlanInputs;
use crate::config::values::PlannedDeadline;
use crate::config::{Config, lateness, planning};
use crate::exit::{BUG, Failure, Outcome};
use crate::output;

use super::load;

/// Plans an experiment without training it.
///
/// # Errors
/// What is wrong with the configuration, exit code 2.
pub fn run(args: &PlanArgs) -> Outcome {
    let config = load(&args.experiment.sources())?.config;
    let dimension = config.dimension()?;
    let mut inputs = PlanInputs::new(&config, dimension)?;
    let plan = planning::plan_of(&config, &inputs)?;
    if args.deadlines && inputs.choice.is_none() {
        inputs.choice = Some(lateness::choose(&config, &inputs, Criterion::default())?);
    }
    let warnings = [
        planning::left_out(&plan),
        planning::shortfall(&config, &plan),
    ];
    for warning in warnings.into_iter().flatten() {
        eprintln!("gradcode: warning: {warning}");
    }
    let criterion = match config.straggler.deadline {
        PlannedDeadline::Optimal(criterion) => criterion,
        PlannedDeadline::Units(_) => Criterion::default(),
    };
    let bits = Bits::of(&plan, &config, dimension)?;
    if args.json {
        let mut object = object(&plan, &config, dimension, &bits);
        object["phi"] = json!({ "source": inputs.phi.source, "per_worker": plan.prediction.phi });
        object["deadline"] = curve::object(&inputs, &plan, criterion);
        return output::json(&object);
    }
    output::print(&format!(
        "{}: {} with {dimension} parameters, codec {}{}\n{plan}\
         payload per iteration: {} bits if nobody is late, {:.0} bits expected ({:.2} MB; f32 from as many workers {:.2} MB)\n{}",
        config.title,
        config.model.architecture.kind(),
        config.codec_text(),
        match config.quantizes() {
            true => format!(", phi {}{}", inputs.phi.source, phi_in_use(&plan)),
            false => String::new(),
        },
        bits.offered,
        bits.expected,
        bits.expected / 8e6,
        bits.unquantized_expected / 8e6,
        curve::text(&inputs, &plan, criterion),
    ))
}

/// phi at the plan's widths: `: 4 bits 0.0361, 6 bits 0.00187`.
fn phi_in_use(plan: &Plan) -> String {
    let workers = plan.workers.iter().zip(&plan.prediction.phi);
    let by_width: BTreeMap<u8, f64> = workers
        .filter(|(worker, _)| !worker.is_idle())
        .map(|(worker, &phi)| (worker.bits, phi))
        .collect();
    let words: Vec<String> = (by_width.iter())
        .map(|(bits, phi)| format!("{phi:.3e} at {bits} bits"))
        .collect();
    format!(": {}", words.join(", "))
}

/// Payload bits per iteration, headers apart.
struct Bits {
    /// If nobody is late.
    offered: u64,
    /// With each worker's probability to be in time.
    expected: f64,
    /// The same if the same workers sent f32.
    unquantized_expected: f64,
}

impl Bits {
    fn of(plan: &Plan, config: &Config, dimension: usize) -> Outcome<Self> {
        let preset = config.preset();
        let mut sums = Bits {
            offered: 0,
            expected: 0.0,
            unquantized_expected: 0.0,
        };
        for worker in plan.workers.iter().filter(|worker| !worker.is_idle()) {
            let compressor = preset
                .compressor(worker.bits, plan.message_len(dimension))
                .map_err(|error| {
                    Failure::new(BUG, format!("failed to {error}, which the plan asks for"))
                })?;
            let bits = compressor.payload_bits();
            let in_time = 1.0 - worker.straggle_probability;
            sums.offered += bits;
            sums.expected += in_time * bits as f64;
            sums.unquantized_expected += in_time * f64::from(PASSTHROUGH_BITS) * dimension as f64;
        }
        Ok(sums)
    }
}

fn object(plan: &Plan, config: &Config, dimension: usize, bits: &Bits) -> Value {
    let (first, second) = match &plan.decoder {
        Decoder::Fixed { weights, second } => (Some(weights), second.as_ref()),
        Decoder::PerRound(_) => (None, None),
    };
    let workers: Vec<Value> = plan
        .workers
        .iter()
        .enumerate()
        .map(|(i, worker)| {
            let weight = first.map(|weights| weights[i]);
            let weight_second = match second {
                Some(SecondTrack::Scaled(kappa)) => weight.map(|weight| kappa * weight),
                Some(SecondTrack::Weights(weights)) => Some(weights[i]),
                None => None,
            };
            json!({
                "straggle_probability": worker.straggle_probability,
                "bits": worker.bits,
                "decode_weight": weight,
                "decode_weight_second": weight_second,
                "load": worker.load(),
                "partitions": worker.assignment,
            })
        })
        .collect();
    let prediction = &plan.prediction;
    json!({
        "title": config.title,
        "scheme": plan.scheme,
        "codec": config.codec_text(),
        "blocks": plan.blocks(),
        "message_coordinates": plan.message_len(dimension),
        "dimension": dimension,
        "workers": workers,
        "partitions": plan.partitions,
        "S": prediction.scaling_s,
        "eta": prediction.eta,
        "error_bound": prediction.error_bound,
        "error_bound_unscaled": prediction.error_bound_unscaled,
        "computation_load": prediction.computation_load,
        "bits_per_coordinate_offered": prediction.bits_per_coordinate_offered,
        "bits_per_coordinate_expected": prediction.bits_per_coordinate_expected,
        "bits_per_iteration": bits.offered,
        "bits_per_iteration_expected": bits.expected,
        "unbiased": prediction.unbiased,
    })
}
