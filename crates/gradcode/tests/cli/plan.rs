//! `gradcode plan`.

use crate::harness::{Scratch, USAGE, failure, gradcode, json, stdout};

const PAPER: &str = "workers = 10\n[codec]\npreset = \"qsgd\"\n[straggler]\nrate = { linspace = [0.1, 2.0] }\n\
                     [budget]\nscaling = { balanced = 1.0 }\nresidual_bits = 10\n[model]\ndimension = 3440060\n";

#[test]
fn plan_reproduces_the_golden_rows() {
    let scratch = Scratch::new();
    let experiment = scratch.file("paper.toml", PAPER);
    for (set, residual, s, bound) in [
        (
            "budget.residual_bits=10",
            [0, 0, 0, 0, 0, 2, 2, 2, 2, 2],
            0.745010063,
            134.226375,
        ),
        (
            "budget.residual_bits=50",
            [0, 0, 0, 7, 7, 7, 7, 7, 7, 8],
            0.980473978,
            101.991488,
        ),
    ] {
        let object = json(&["plan", &experiment, "--set", set, "--json"]);
        assert!((object["S"].as_f64().unwrap() - s).abs() < 1e-9);
        assert!((object["error_bound"].as_f64().unwrap() - bound).abs() < 1e-6);
        let workers = object["workers"].as_array().unwrap();
        let bits: Vec<i64> = workers
            .iter()
            .map(|w| w["bits"].as_i64().unwrap() - 2)
            .collect();
        assert_eq!(bits, residual);
        // Each partition is fully accounted for: sum_i (1 - p_i) w_i a_ij = 1.
        let mut covered = [0.0; 10];
        for worker in workers {
            let p = worker["straggle_probability"].as_f64().unwrap();
            let weight = worker["decode_weight"].as_f64().unwrap();
            assert!(worker["decode_weight_second"].is_null());
            let partitions = worker["partitions"].as_array().unwrap();
            assert_eq!(worker["load"].as_u64().unwrap() as usize, partitions.len());
            for pair in partitions {
                covered[pair[0].as_u64().unwrap() as usize] +=
                    (1.0 - p) * weight * pair[1].as_f64().unwrap();
            }
        }
        assert!(
            covered.iter().all(|c| (c - 1.0).abs() < 1e-9),
            "{covered:?}"
        );
        assert!(object["computation_load"].as_f64().unwrap() <= 1.9 + 1e-12);
        let offered = object["bits_per_coordinate_offered"].as_f64().unwrap();
        assert!(object["bits_per_iteration"].as_f64().unwrap() >= offered * 3_440_060.0);
    }
}

#[test]
fn two_track_plans_carry_a_second_weight() {
    let scratch = Scratch::new();
    let experiment = scratch.file(
        "adam.toml",
        &format!("{PAPER}[optimizer]\nkind = \"adam\"\ntwo_track = true\n"),
    );
    let object = json(&["plan", &experiment, "--json"]);
    let s = object["S"].as_f64().unwrap();
    for worker in object["workers"].as_array().unwrap() {
        let first = worker["decode_weight"].as_f64().unwrap();
        let second = worker["decode_weight_second"].as_f64().unwrap();
        assert!((second - first * s / (1.0 + s)).abs() < 1e-9 * first);
    }
}

#[test]
fn plan_prints_a_table_for_people() {
    let scratch = Scratch::new();
    let output = gradcode(&["plan", &scratch.file("paper.toml", PAPER)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("0.745010"), "{}", stdout(&output));
}

/// The paper's setting can be planned without its 19 GB of images.
#[test]
fn the_coco_experiment_is_planned_without_data() {
    for (set, total) in [
        ("budget.residual_bits=10", 30.0),
        ("budget.residual_bits=50", 70.0),
    ] {
        let object = json(&[
            "plan",
            "configs/coco-mobilenetv3.toml",
            "--set",
            set,
            "--json",
        ]);
        assert_eq!(object["dimension"], 3_440_060);
        assert_eq!(object["bits_per_coordinate_offered"], total);
    }
}

#[test]
fn plan_chooses_the_deadline_and_shows_the_curve() {
    let scratch = Scratch::new();
    let experiment = scratch.file(
        "exp.toml",
        "workers = 5\nbudget.mean_bits = 5\nmodel = { kind = 'least-squares', dimension = 600 }\n\
         straggler = { rate = [0.5, 1, 1.5, 2, 2.5], deadline = 'optimal' }\n",
    );
    let chosen = json(&["plan", &experiment, "--json"]);
    let deadline = &chosen["deadline"];
    let best = deadline["objective"].as_f64().unwrap();
    assert_eq!(deadline["optimal"], deadline["deadline"]);
    let s = chosen["S"].as_f64().unwrap();
    let tau = deadline["deadline"].as_f64().unwrap();
    assert!((best - tau * (1.0 + 1.0 / s)).abs() < 1e-9);
    let curve = deadline["curve"].as_array().unwrap();
    assert!(curve.len() > 20);
    assert!(
        curve
            .iter()
            .all(|point| point["objective"].as_f64().unwrap() >= best)
    );
    // A number is planned for as it is; the curve is there if asked for, and the same.
    let fixed = [
        "plan",
        &experiment,
        "--set",
        "straggler.deadline=3",
        "--json",
    ];
    let without = json(&fixed);
    assert!(without["deadline"]["curve"].is_null());
    assert_eq!(without["deadline"]["deadline"], 3.0);
    let with = json(&[&fixed[..], &["--deadlines"]].concat());
    assert_eq!(with["deadline"]["curve"], deadline["curve"]);
    assert!(with["deadline"]["objective"].as_f64().unwrap() > best);
    let text = stdout(&gradcode(&["plan", &experiment]));
    assert!(text.contains("<- optimal, planned"), "{text}");
    for (set, wanted) in [
        ("straggler.probabilities=0.1", "by a delay model"),
        ("straggler.shift=0", "no least one"),
    ] {
        let error = failure(USAGE, &["plan", &experiment, "--set", set]);
        assert!(error.contains(wanted), "{error}");
    }
}
