//! `gradcode allocate`.

use serde_json::Value;

use crate::harness::{Scratch, USAGE, failure, gradcode, json, stderr};

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|x| x.as_f64().expect("a number"))
        .collect()
}

/// p = exp(-0.1 psi) for psi = linspace(0.1, 2, 10), the paper's workers at deadline 1.1.
fn paper_probabilities() -> String {
    let p = |i: usize| (-0.1 * (0.1 + 1.9 * i as f64 / 9.0)).exp();
    (0..10)
        .map(|i| p(i).to_string())
        .collect::<Vec<_>>()
        .join(",")
}

#[test]
fn allocate_prints_the_documented_keys_and_the_golden_values() {
    let p = paper_probabilities();
    for (budget, residual, utility) in [
        ("30", [0, 0, 0, 0, 0, 2, 2, 2, 2, 2], 0.745010063),
        ("70", [0, 0, 0, 7, 7, 7, 7, 7, 7, 8], 0.980473978),
    ] {
        for method in ["exact", "dp", "algorithm1", "greedy", "continuous", "equal"] {
            let object = json(&[
                "allocate",
                "--probabilities",
                &p,
                "--budget",
                budget,
                "--dimension",
                "3440060",
                "--scaling",
                "balanced",
                "--method",
                method,
                "--json",
            ]);
            let keys: Vec<&String> = object.as_object().expect("an object").keys().collect();
            assert_eq!(
                keys,
                ["bits", "bound", "method", "optimal", "seconds", "utility"]
            );
            assert_eq!(object["method"], method);
            let bits = floats(&object["bits"]);
            assert_eq!(bits.iter().sum::<f64>().to_string(), budget);
            let (value, bound) = (
                object["utility"].as_f64().unwrap(),
                object["bound"].as_f64().unwrap(),
            );
            assert!(
                value <= utility + 1e-9 && bound >= utility - 1e-9,
                "{method}: {value} {bound}"
            );
            if matches!(method, "exact" | "dp" | "algorithm1") {
                assert!((value - utility).abs() < 1e-9, "{method}: {value}");
                assert_eq!(bits, residual.map(|r| f64::from(r + 2)), "{method}");
            }
            if matches!(method, "exact" | "dp") {
                assert_eq!(object["optimal"], true, "{method}");
                assert!((bound - value).abs() <= 1e-9 * value, "{method}");
            }
        }
    }
}

/// eta is 4 D / l for the D of the golden table; given as a number it must mean the same.
#[test]
fn allocate_takes_probabilities_from_a_file_and_eta_as_a_number() {
    let scratch = Scratch::new();
    let file = format!(
        "@{}",
        scratch.file("p.txt", &paper_probabilities().replace(',', "\n"))
    );
    let eta = (4.0 * 8.117_825 / 1000.0).to_string();
    let object = json(&[
        "allocate",
        "--probabilities",
        &file,
        "--budget",
        "30",
        "--dimension",
        "1000",
        "--scaling",
        &eta,
        "--json",
    ]);
    assert!((object["utility"].as_f64().unwrap() - 0.745010063).abs() < 1e-6);
}

#[test]
fn allocate_proves_ten_thousand_workers_optimal() {
    let scratch = Scratch::new();
    let p = |i: usize| (0.02 + 0.96 * ((i * 7919) % 10_000) as f64 / 10_000.0).to_string();
    let list = (0..10_000).map(p).collect::<Vec<_>>().join("\n");
    let file = format!("@{}", scratch.file("p.txt", &list));
    let object = json(&[
        "allocate",
        "--probabilities",
        &file,
        "--budget",
        "50000",
        "--dimension",
        "1000000",
        "--json",
    ]);
    assert_eq!(object["optimal"], true);
    assert_eq!(floats(&object["bits"]).iter().sum::<f64>(), 50_000.0);
    assert!(object["seconds"].as_f64().unwrap() >= 0.0);
}

#[test]
fn allocate_says_what_would_be_valid() {
    let run = |extra: &[&str]| {
        let mut arguments = vec!["allocate", "--dimension", "100"];
        arguments.extend(extra);
        failure(USAGE, &arguments)
    };
    let error = run(&["--probabilities", "0.5,0.5", "--budget", "3"]);
    assert!(
        error.contains("--budget 3: needs at least 4 (2 bits for each of 2 workers)"),
        "{error}"
    );
    let error = run(&["--probabilities", "0.5,0.5", "--budget", "65"]);
    assert!(error.contains("at most 64"), "{error}");
    let error = run(&["--probabilities", "0.5,1", "--budget", "8"]);
    assert!(error.contains("worker 1 has `1`"), "{error}");
    let error = run(&["--probabilities", "0,0.5", "--budget", "8"]);
    assert!(error.contains("worker 0 has `0`"), "{error}");
    let error = run(&["--probabilities", "@/nowhere/p", "--budget", "8"]);
    assert!(error.contains("/nowhere/p"), "{error}");
    let error = run(&["--probabilities", "0.5", "--budget", "8", "--scaling", "0"]);
    assert!(error.contains("--scaling 0"), "{error}");
    // clap's own errors use the same code.
    let output = gradcode(&[
        "allocate",
        "--probabilities",
        "0.5",
        "--budget",
        "8",
        "--dimension",
        "1",
        "--method",
        "best",
    ]);
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(
        stderr(&output).contains("algorithm1"),
        "{}",
        stderr(&output)
    );
    // Idle workers lower the minimum.
    let object = json(&[
        "allocate",
        "--dimension",
        "100",
        "--probabilities",
        "0.5,0.99",
        "--budget",
        "3",
        "--allow-idle",
        "--json",
    ]);
    assert_eq!(floats(&object["bits"]), [3.0, 0.0]);
}
