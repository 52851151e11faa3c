//! `gradcode allocate`: bits for workers, given their straggle probabilities.

use std::fmt::Write;
use std::time::Instant;

use bit_allocation::{Allocation, Problem, allocate, utility};
use serde_json::json;

use crate::cli::AllocateArgs;
use crate::exit::{Failure, Outcome};
use crate::output;
use bit_allocation::Method;

/// Solves b-SP1 (eq 23, 24) with the paper's utility `h(z) = (1 - p) / (p + eta phi(z))`.
///
/// # Errors
/// Exit code 2 for arguments that make no sense.
pub fn run(args: &AllocateArgs) -> Outcome {
    let probabilities = probabilities(&args.probabilities)?;
    let method = args.method;
    if args.dimension == 0 {
        return Err(Failure::usage(
            "failed to use --dimension 0: needs at least 1 coordinate",
        ));
    }
    check_budget(args, probabilities.len() as u64)?;
    let dimension = args.dimension as f64;
    let eta = scaling(&args.scaling, &probabilities, args.budget, dimension)?;

    let start = Instant::now();
    let phi = |bits: u8| eta * utility::qsgd_phi(bits, dimension);
    let tables = utility::tables(&probabilities, &phi, 2..=args.max_bits, args.allow_idle)
        .map_err(|error| Failure::usage(format!("failed to state the problem: {error}")))?;
    let problem = Problem {
        tables,
        total_bits: args.budget,
    };
    let allocation = allocate(&problem, method)
        .map_err(|error| Failure::usage(format!("failed to allocate by {method}: {error}")))?;
    let seconds = start.elapsed().as_secs_f64();

    if args.json {
        return output::json(&json!({
            "method": method,
            "bits": allocation.bits,
            "utility": allocation.utility,
            "bound": allocation.bound,
            "optimal": allocation.optimal,
            "seconds": seconds,
        }));
    }
    output::print(&table(method, &probabilities, &allocation, eta, seconds))
}

fn table(
    method: Method,
    probabilities: &[f64],
    allocation: &Allocation,
    eta: f64,
    seconds: f64,
) -> String {
    let total: u64 = allocation.bits.iter().map(|&bits| u64::from(bits)).sum();
    let mut text = format!(
        "method {method}, eta {eta:.6e}, {seconds:.3} s\n\
         utility F {:.9}, no allocation has more than {:.9}{}\n\
         {total} bits per coordinate\n\nworker  straggles  bits\n",
        allocation.utility,
        allocation.bound,
        if allocation.optimal { ": optimal" } else { "" },
    );
    for (worker, (p, bits)) in probabilities.iter().zip(&allocation.bits).enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{worker:>6}  {p:>9.6}  {bits:>4}");
    }
    text
}

/// The sum must be reachable: said here in the terms of the flags.
fn check_budget(args: &AllocateArgs, workers: u64) -> Outcome {
    let least = if args.allow_idle { 2 } else { 2 * workers };
    let most = u64::from(args.max_bits) * workers;
    if args.budget < least {
        let why = if args.allow_idle {
            "2 bits for at least one worker".into()
        } else {
            format!("2 bits for each of {workers} workers")
        };
        return Err(Failure::usage(format!(
            "failed to use --budget {}: needs at least {least} ({why})",
            args.budget
        )));
    }
    if args.budget > most {
        return Err(Failure::usage(format!(
            "failed to use --budget {}: can be at most {most} ({} bits for each of {workers} workers)",
            args.budget, args.max_bits
        )));
    }
    Ok(())
}

/// A list, or `@FILE`; between commas or white space.
fn probabilities(argument: &str) -> Outcome<Vec<f64>> {
    let (name, text) = match argument.strip_prefix('@') {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!(
                    "failed to read --probabilities {argument}: {error}"
                ))
            })?;
            (argument, text)
        }
        None => ("--probabilities", argument.to_owned()),
    };
    let mut probabilities = Vec::new();
    for word in text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
    {
        let worker = probabilities.len();
        match word.parse::<f64>() {
            Ok(p) if p > 0.0 && p < 1.0 => probabilities.push(p),
            _ => {
                return Err(Failure::usage(format!(
                    "failed to use {name}: worker {worker} has `{word}`; every probability must be a number \
                     strictly between 0 and 1"
                )));
            }
        }
    }
    if probabilities.is_empty() {
        return Err(Failure::usage(format!(
            "failed to use {name}: it lists no probability"
        )));
    }
    Ok(probabilities)
}

/// Eta: a number, `balanced` (eq 33) or `balanced*X`.
fn scaling(argument: &str, probabilities: &[f64], budget: u64, dimension: f64) -> Outcome<f64> {
    let wrong = || {
        Failure::usage(format!(
            "failed to use --scaling {argument}: expected a number above 0, `balanced` or `balanced*X`"
        ))
    };
    let baseline = || {
        let mean_bits = budget as f64 / probabilities.len() as f64;
        utility::balanced_scaling(probabilities, mean_bits, dimension)
    };
    let eta = match argument.strip_prefix("balanced") {
        Some("") => baseline(),
        Some(rest) => {
            let factor: f64 = rest
                .strip_prefix('*')
                .and_then(|x| x.parse().ok())
                .ok_or_else(wrong)?;
            factor * baseline()
        }
        None => argument.parse().map_err(|_| wrong())?,
    };
    if eta > 0.0 && eta.is_finite() {
        Ok(eta)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_come_from_lists_and_files() {
        assert_eq!(probabilities("0.5, 0.25").unwrap(), [0.5, 0.25]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.txt");
        std::fs::write(&path, "0.5\n0.25,0.125\n").unwrap();
        assert_eq!(
            probabilities(&format!("@{}", path.display())).unwrap(),
            [0.5, 0.25, 0.125]
        );
        for wrong in ["0.5,1", "0", "0.5,x", "", "nan", "@/nowhere"] {
            assert_eq!(
                probabilities(wrong).unwrap_err().code,
                crate::exit::USAGE,
                "{wrong}"
            );
        }
        assert!(
            probabilities("0.5,1")
                .unwrap_err()
                .message
                .contains("worker 1 has `1`")
        );
    }

    #[test]
    fn scaling_is_a_number_or_a_multiple_of_the_baseline() {
        // eq 33: mean p x 4 (2^(mean bits - 1) - 1)^2 / l = 0.5 x 4 x 9 / 100.
        let eta = |argument| scaling(argument, &[0.25, 0.75], 6, 100.0);
        assert_eq!(eta("0.5").unwrap(), 0.5);
        assert!((eta("balanced").unwrap() - 0.18).abs() < 1e-15);
        assert!((eta("balanced*0.005").unwrap() - 0.0009).abs() < 1e-15);
        for wrong in [
            "0",
            "-1",
            "inf",
            "x",
            "balanced*x",
            "balancedx",
            "balanced*-1",
        ] {
            assert!(eta(wrong).is_err(), "{wrong}");
        }
    }
}
