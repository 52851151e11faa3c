use bit_allocation::AllocationError;
use gradient_code::{Decoding, PlanFault};

use super::super::testing;
use super::*;
use crate::config::planning::plan;

const BASE: &str = "workers = 6\nbudget.mean_bits = 4\n";

fn config(text: &str) -> Config {
    testing::config(&format!("{BASE}{text}"))
}

/// What is said of a configuration that cannot be planned.
fn refusal(text: &str) -> String {
    match plan(&config(text), 1000) {
        Ok(_) => panic!("planned: {text}"),
        Err(error) => error.to_string(),
    }
}

/// Every kind that a configuration can bring about: what is wrong, what would be valid, and the keys with
/// their values, files and lines.
#[test]
fn a_plan_that_cannot_be_names_the_keys_that_decide_it() {
    for (text, wanted) in [
        (
            "scheme = { kind = 'ehd', load = 4 }",
            &[
                "plan scheme ehd: place 6 partitions at 6 workers with load 4",
                "nearest possible: load 3 or 6",
                "decided by `scheme.kind = \"ehd\"` (x.toml:3), `scheme.load = 4.0` (x.toml:3), `workers = 6` (x.toml:1) \
                 and `partitions = 6` (derived)",
            ][..],
        ),
        (
            "scheme.kind = 'sgc'\nscheme.assignment = 'pairwise-balanced'\npartitions = 7",
            &[
                "nearest possible",
                "`scheme.load = 2.0` (default)",
                "`scheme.assignment = \"pairwise-balanced\"` (x.toml:4)",
                "`partitions = 7` (x.toml:5)",
            ],
        ),
        (
            "scheme.kind = 'od'\nscheme.graph = 'adjacency'\nscheme.load = 2.5",
            &[
                "a regular graph needs a whole load",
                "`scheme.load = 2.5` (x.toml:5)",
                "`scheme.graph = \"adjacency\"` (x.toml:4)",
            ],
        ),
        (
            "scheme = { kind = 'bgc', load = 0.01 }",
            &[
                "a larger load or another seed may",
                "`scheme.load = 0.01` (x.toml:3)",
                "`seed = 1` (default)",
            ],
        ),
        (
            "scheme.kind = 'bgc'\nscheme.decoding = 'first-arrival'",
            &[
                "it can be decoded by plain, one-step or optimal",
                "`scheme.decoding = \"first-arrival\"` (x.toml:4)",
            ],
        ),
        (
            "scheme.kind = 'bgc'\nscheme.decoding = 'optimal'\noptimizer = { kind = 'adam', two_track = true }",
            &[
                "its weights depend on who answered",
                "`optimizer.two_track = true` (x.toml:5)",
                "`scheme.decoding = \"optimal\"` (x.toml:4)",
            ],
        ),
        (
            "scheme.kind = 'osgc'\nscheme.construction = 'scheme-1'\npartitions = 4",
            &[
                "it needs at least as many partitions as workers",
                "`scheme.construction = \"scheme-1\"` (x.toml:4)",
                "`workers = 6` (x.toml:1) and `partitions = 4` (x.toml:5)",
            ],
        ),
        (
            "scheme.kind = 'ce-agc'\nscheme.design = 'paley'",
            &[
                "the nearest are",
                "`scheme.design = \"paley\"` (x.toml:4)",
                "`workers = 6` (x.toml:1)",
            ],
        ),
        (
            "straggler = { deadline = 1.5, bandwidth = 1.0 }",
            &[
                "all 6 have straggle probability 1",
                "`straggler.deadline = 1.5` (x.toml:3)",
                "`straggler.shift = 1.0` (default)",
                "`straggler.bandwidth = 1.0` (x.toml:3)",
            ],
        ),
        (
            "straggler = { model = 'exponential', deadline = 'optimal' }",
            &[
                "delays need a shortest time above 0 (straggler.shift)",
                "`straggler.deadline = \"optimal\"` (x.toml:3)",
                "`straggler.model = \"exponential\"` (x.toml:3)",
            ],
        ),
        (
            "straggler.deadline = 'optimal'\nscheme = { kind = 'ehd', load = 4 }",
            &[
                "there is no plan for any of",
                "nearest possible: load 3 or 6",
                "`straggler.deadline = \"optimal\"` (x.toml:3)",
                "`scheme.kind = \"ehd\"` (x.toml:4)",
                "`workers = 6` (x.toml:1)",
            ],
        ),
    ] {
        let said = refusal(text);
        for part in wanted {
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}

#[test]
fn what_plans_need_to_know_names_its_keys_too() {
    // exp(-2 x 999) is 0 in floating point.
    let said = refusal("straggler.deadline = 1000\nstraggler.rate = 2");
    for part in [
        "worker 0",
        "must lie strictly between 0 and 1",
        "decided by `straggler.deadline = 1000.0` (x.toml:3)",
        "`straggler.rate = 2.0` (x.toml:4)",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let said = refusal("codec.phi = { file = 'nowhere.json' }");
    assert!(
        said.contains("nowhere.json") && said.contains("(x.toml:3)"),
        "{said}"
    );
    let files = tempfile::tempdir().unwrap();
    let broken = files.path().join("broken.json");
    std::fs::write(&broken, "{").unwrap();
    let broken = broken.display();
    for (text, part) in [
        (
            format!("model.kind = 'torchscript'\nmodel.file = '{broken}'"),
            format!("`model.file = \"{broken}\"` (x.toml:4)"),
        ),
        (
            format!("data.train_annotations = '{broken}'\ndata.train_images = 'images'"),
            format!("`data.train_annotations = \"{broken}\"` (x.toml:3)"),
        ),
    ] {
        let Err(error) = config(&text).dimension() else {
            panic!("counted: {text}")
        };
        assert!(error.to_string().contains(&part), "{error}");
    }
}

/// Kinds that checks of single keys forestall, or that need numbers nobody writes: their keys are known
/// all the same.
#[test]
fn every_kind_of_refusal_has_keys() {
    let config = config("scheme.kind = 'osgc'");
    let keys = |error: PlanError| {
        let ConfigError::Plan { keys, .. } = config.refused_plan(&error) else {
            panic!("{error}")
        };
        keys.to_string()
    };
    let scheme = || "osgc".to_owned();
    let delays = "`straggler.deadline = 1.1` (default), `straggler.shift = 1.0` (default)";
    for (error, wanted) in [
        (
            PlanError::UnknownScheme {
                name: scheme(),
                known: String::new(),
            },
            "`scheme.kind = \"osgc\"` (x.toml:3)",
        ),
        (
            PlanError::UnknownWorker {
                worker: 9,
                workers: 6,
            },
            "`workers = 6` (x.toml:1)",
        ),
        (
            SettingError::Empty {
                workers: 0,
                partitions: 6,
            }
            .into(),
            "`workers = 6` (x.toml:1) and `partitions = 6` (derived)",
        ),
        (
            SettingError::NeverLate {
                worker: 1,
                scheme: scheme(),
            }
            .into(),
            delays,
        ),
        (
            SettingError::Widths {
                min_bits: 0,
                max_bits: 40,
            }
            .into(),
            "`budget.max_bits = 16` (default)",
        ),
        (
            SettingError::BudgetTooSmall {
                total_bits: 6,
                workers: 6,
                min_bits: 2,
                least: 12,
            }
            .into(),
            "`budget.mean_bits = 4.0` (x.toml:2), `workers = 6` (x.toml:1)",
        ),
        (
            SettingError::Variance {
                bits: 4,
                value: -1.0,
            }
            .into(),
            "`codec.preset = \"qsgd-bucketed\"`",
        ),
        (
            SettingError::Scaling { value: 0.0 }.into(),
            "`budget.scaling",
        ),
        (
            SettingError::Lambda { value: 0.0 }.into(),
            "`optimizer.lambda = 1.0` (default)",
        ),
        (CodeError::NoContribution.into(), delays),
        (
            DesignError::NullSpace { block: 0 }.into(),
            "`seed = 1` (default)",
        ),
        (
            DesignError::NoDraw { attempts: 9 }.into(),
            "`scheme.degree = 0` (default)",
        ),
        (
            DesignError::Hadamard {
                workers: 6,
                partitions: 6,
                blocks: 2,
            }
            .into(),
            "`scheme.blocks = 2` (default)",
        ),
        (
            AllocationError::NoWorkers.into(),
            "`budget.mean_bits = 4.0` (x.toml:2) and `budget.max_bits = 16` (default)",
        ),
        (
            PlanError::TwoTrackCertain { worker: 0 },
            "`optimizer.two_track = false` (default)",
        ),
        (
            PlanError::Decoding {
                scheme: scheme(),
                given: Decoding::Optimal,
                possible: "plain only",
            },
            "`scheme.kind = \"osgc\"` (x.toml:3)",
        ),
        (PlanError::Unsettled { scheme: scheme() }, delays),
        (
            PlanFault::Unassigned { partition: 0 }.into(),
            "`scheme.kind = \"osgc\"` (x.toml:3), `workers = 6` (x.toml:1)",
        ),
    ] {
        let said = keys(error);
        assert!(said.contains(wanted), "{said}, not {wanted}");
    }
    for (error, wanted) in [
        (DelayError::NoWorkers, "`workers = 6` (x.toml:1)"),
        (
            DelayError::RateInterval {
                low: 2.0,
                high: 1.0,
            },
            "`straggler.rate",
        ),
        (
            DelayError::Parameter {
                worker: 0,
                field: "shift",
                value: -1.0,
                valid: "at least 0",
            },
            "`straggler.shift = 1.0` (default)",
        ),
    ] {
        let said = config.refused_delays(&error).to_string();
        assert!(said.contains(wanted), "{said}");
    }
}
