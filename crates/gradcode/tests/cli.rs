//! The program as a user or a script meets it: output, errors, exit codes. Nothing here needs MPI.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const USAGE: i32 = 2;

/// The repository, which configurations' paths are relative to.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn gradcode(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradcode"))
        .args(arguments)
        .current_dir(root())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Runs a command that succeeds and prints one JSON object.
fn json(arguments: &[&str]) -> Value {
    let output = gradcode(arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}\n{}",
        stderr(&output)
    );
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", stdout(&output)))
}

/// Runs a command that fails with `code` and one error on standard error, which is returned.
fn failure(code: i32, arguments: &[&str]) -> String {
    let output = gradcode(arguments);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{error}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert_eq!(error.matches("gradcode: error: ").count(), 1, "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// A file in a directory that lives as long as the test.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Scratch(tempfile::tempdir().expect("a temporary directory"))
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

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
    let seconds = object["seconds"].as_f64().unwrap();
    assert!(seconds < 10.0, "{seconds} s");
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

/// What is wrong, where, and what would be valid, in one message with exit code 2.
#[test]
fn wrong_configurations_are_explained() {
    let scratch = Scratch::new();
    let base = "workers = 4\n[budget]\ntotal_bits = 20\n[model]\ndimension = 100\n";
    for (name, text, wanted) in [
        (
            "budget",
            "workers = 4\n[budget]\ntotal_bits = 7\n",
            "budget.toml:3): needs at least 8 (2 bits for each of 4 workers)",
        ),
        (
            "nobudget",
            "workers = 4\n",
            "at least 2 bits for each of 4 workers",
        ),
        (
            "two",
            "workers = 4\n[budget]\ntotal_bits = 8\nmean_bits = 2.0\n",
            "exactly one of the budget keys",
        ),
        (
            "typo",
            "workers = 4\n[budgt]\ntotal_bits = 20\n",
            "line 2, column 2",
        ),
        (
            "key",
            "workers = 4\n[budget]\ntotl_bits = 20\n",
            "unknown field `totl_bits`",
        ),
        ("type", "workers = \"four\"\n", "line 1, column 11"),
        ("syntax", "workers = \n", "line 1"),
        (
            "zero",
            &format!("{base}[straggler]\nprobabilities = [0.1, 0.0, 0.1, 0.1]\n"),
            "worker 1 has 0",
        ),
        (
            "one",
            &format!("{base}[straggler]\nprobabilities = 1.0\n"),
            "strictly between 0 and 1",
        ),
        (
            "never",
            &format!("{base}[straggler]\ndeadline = 1.0\n"),
            "every p_i = 1",
        ),
        (
            "always",
            &format!("{base}[straggler]\ndeadline = 1e6\nrate = 1.0\n"),
            "worker 0",
        ),
        (
            "length",
            &format!("{base}[straggler]\nrate = [1.0, 2.0]\n"),
            "2 values are listed for 4 workers",
        ),
        (
            "pair",
            &format!("{base}[optimizer]\ntwo_track = true\n"),
            "optimizer.two_track",
        ),
        (
            "square",
            &format!("partitions = 3\n{base}[scheme]\nkind = \"is-sgd\"\n"),
            "set partitions = 4",
        ),
        (
            "noworkers",
            "[budget]\ntotal_bits = 20\n",
            "--set workers=4",
        ),
        (
            "trace",
            &format!("{base}[straggler]\nmodel = \"trace\"\ntrace = \"/nowhere/t\"\n"),
            "/nowhere/t",
        ),
    ] {
        let file = scratch.file(&format!("{name}.toml"), text);
        let error = failure(USAGE, &["plan", &file]);
        assert!(error.contains(wanted), "{name}: {error}");
    }
    let error = failure(USAGE, &["plan", "nowhere.toml"]);
    assert!(
        error.contains("read nowhere.toml") && error.contains("hint: "),
        "{error}"
    );
    let file = scratch.file("good.toml", base);
    let error = failure(USAGE, &["plan", &file, "--set", "budget.totl=3"]);
    assert!(
        error.contains("--set budget.totl=3: unknown field `totl`"),
        "{error}"
    );
    let error = failure(USAGE, &["plan", &file, "--set", "budget.total_bits=3"]);
    assert!(
        error.contains("(--set budget.total_bits=3): needs at least 8"),
        "{error}"
    );
    let error = failure(USAGE, &["plan", &file, "--cluster", "nowhere.toml"]);
    assert!(error.contains("read nowhere.toml"), "{error}");
    let binary = scratch.path("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert!(failure(USAGE, &["plan", &binary]).contains("binary.toml"));
}

#[test]
fn later_layers_win_and_origins_are_told() {
    let scratch = Scratch::new();
    let experiment = scratch.file(
        "exp.toml",
        "workers = 4\nseed = 2\n[budget]\nmean_bits = 4.0\n",
    );
    let cluster = scratch.file("cluster.toml", "seed = 3\n[compute]\nthreads = 2\n");
    let output = gradcode(&[
        "config",
        "show",
        &experiment,
        "--cluster",
        &cluster,
        "--set",
        "iterations=7",
        "--set",
        "title=a b",
        "--origin",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let line = |start: &str| {
        text.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start}: {text}"))
    };
    assert!(line("seed = 3 ").ends_with("cluster.toml:1"));
    assert!(line("workers = 4 ").ends_with("exp.toml:1"));
    assert!(line("partitions = 4 ").ends_with("# derived"));
    assert!(line("iterations = 7 ").ends_with("# --set iterations=7"));
    assert!(line("title = \"a b\" ").ends_with("# --set title=a b"));
    assert!(line("mean_bits = 4.0 ").ends_with("exp.toml:4"));
    assert!(line("momentum = 0.0 ").ends_with("# default"));
}

/// What a run stores is itself an experiment that means the same.
#[test]
fn shown_configurations_can_be_run_again() {
    let scratch = Scratch::new();
    let shown = stdout(&gradcode(&["config", "show", "configs/quickstart.toml"]));
    let file = scratch.file("quickstart.toml", &shown);
    assert_eq!(stdout(&gradcode(&["config", "show", &file])), shown);
    let object = json(&["config", "show", &file, "--json"]);
    assert_eq!(object["model"]["kind"], "tiny-ssd");
    assert_eq!(object["evaluation"]["every"]["steps"], 150);
}

#[test]
fn the_default_configuration_is_the_reference() {
    let output = gradcode(&["config", "default"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for word in ["[model]", "[straggler]", "learning_rate = ", "#workers = "] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn every_committed_configuration_is_valid() {
    let list = |directory: &str| -> Vec<String> {
        let entries =
            std::fs::read_dir(root().join(directory)).expect("the configurations are there");
        entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("UTF-8")
            })
            .filter(|name| name.ends_with(".toml"))
            .map(|name| format!("{directory}/{name}"))
            .collect()
    };
    let (experiments, clusters) = (list("configs"), list("configs/clusters"));
    assert!(experiments.len() >= 3 && clusters.len() >= 3);
    for experiment in &experiments {
        let object = json(&["config", "check", experiment, "--json"]);
        assert_eq!(
            (&object["valid"], &object["warnings"]),
            (&Value::Bool(true), &Value::Array(vec![])),
            "{experiment}"
        );
        for cluster in &clusters {
            let object = json(&[
                "config",
                "check",
                experiment,
                "--cluster",
                cluster,
                "--json",
            ]);
            assert_eq!(
                object["warnings"],
                Value::Array(vec![]),
                "{experiment} on {cluster}"
            );
        }
    }
}

#[test]
fn text_becomes_token_files_once() {
    let scratch = Scratch::new();
    for (name, text) in [("a", "one\n"), ("b", "two\n"), ("c", "three\n")] {
        scratch.file(name, text);
    }
    let texts = ["a", "b", "c"].map(|name| scratch.path(name));
    let out = scratch.path("tokens");
    let mut arguments = vec!["data", "tokenize", "--out", &out, "--json"];
    arguments.extend(texts.iter().map(String::as_str));
    let object = json(&arguments);
    assert_eq!(
        (&object["train_tokens"], &object["validation_tokens"]),
        (&Value::from(10), &Value::from(7))
    );
    assert_eq!(object["vocabulary"], 256);
    let again = failure(USAGE, &arguments);
    assert!(again.contains("--overwrite"), "{again}");
    arguments.push("--overwrite");
    assert_eq!(json(&arguments), object);

    let train = format!("data.train_tokens={}", object["train"].as_str().unwrap());
    let plan = |set: &[&str]| {
        let mut arguments = vec!["plan", "configs/nano-gpt.toml", "--json", "--set", &train];
        arguments.extend(set.iter().flat_map(|set| ["--set", set]));
        json(&arguments)["dimension"].clone()
    };
    assert_eq!(plan(&[]), 120_576);
    assert_eq!(plan(&["model.vocab=50257"]), 120_576 + 64 * (50_257 - 256));
    let missing = scratch.path("nowhere");
    let error = failure(30, &["data", "tokenize", &missing, "--out", &out]);
    assert!(error.contains("nowhere"), "{error}");
}

/// The paper's setting can be planned without its 19 GB of images.
/// A `.npy` file of little-endian numbers.
fn npy(scratch: &Scratch, name: &str, kind: &str, shape: &str, bytes: &[u8]) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    std::fs::write(scratch.path(name), file).unwrap();
}

#[test]
fn a_torchscript_model_learns_from_arrays() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("arrays")).unwrap();
    // The sign of the first coordinate is the class.
    let places = (0..256u32).map(|k| (k * 97 % 256) as f32 / 128.0 - 1.0);
    let points: Vec<u8> = places
        .clone()
        .flat_map(|x| [x, 0.5])
        .flat_map(f32::to_le_bytes)
        .collect();
    let classes: Vec<u8> = places
        .flat_map(|x| i64::from(x > 0.0).to_le_bytes())
        .collect();
    npy(&scratch, "arrays/points.npy", "<f4", "256, 2", &points);
    npy(&scratch, "arrays/spiral.npy", "<i8", "256,", &classes);
    let arrays = scratch.path("arrays");
    let out = scratch.path("run");
    let simulate = |held_out: &str| {
        let set = [
            "model.file=crates/torch-models/tests/data/spirals.pt".to_owned(),
            format!("data.train_arrays={arrays}"),
            format!("data.validation_arrays={held_out}"),
            "iterations=60".to_owned(),
            "data.batch=16".to_owned(),
        ];
        let command = [
            "simulate",
            "configs/torchscript.toml",
            "--json",
            "--overwrite",
            "--out",
        ];
        let mut arguments: Vec<String> = command.map(str::to_owned).into();
        arguments.push(out.clone());
        arguments.extend(set.into_iter().flat_map(|set| ["--set".to_owned(), set]));
        arguments
    };
    let good = simulate(&arrays);
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    let ended = json(&good);
    let loss = ended["metrics"]["loss"].as_f64().unwrap();
    assert!(loss < 0.4, "{ended}");
    let bad = simulate("none.npz");
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert!(failure(30, &bad).contains("none.npz"));
}

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

/// A small data set, and a detector trained on it for two iterations: the set, and the run's output.
fn a_trained_detector(scratch: &Scratch) -> (String, String, Value) {
    let shapes = scratch.path("shapes");
    json(&[
        "data",
        "synth",
        "--out",
        &shapes,
        "--images",
        "8",
        "--validation",
        "2",
        "--side",
        "64",
        "--json",
    ]);
    let experiment = scratch.file(
        "exp.toml",
        &format!(
            "workers = 2\niterations = 2\nbudget.mean_bits = 4\nstraggler.deadline = 3\n\
             checkpoint.every = {{ steps = 1 }}\ncheckpoint.keep = 2\n\
             [model]\nkind = 'tiny-ssd'\nwidth = 8\nside = 64\n\
             [data]\ntrain_annotations = '{shapes}/instances_train.json'\ntrain_images = '{shapes}/train'\n\
             validation_annotations = '{shapes}/instances_val.json'\nvalidation_images = '{shapes}/val'\n"
        ),
    );
    let out = scratch.path("run");
    let done = json(&["simulate", &experiment, "--out", &out, "--json"]);
    (shapes, out, done)
}

#[test]
fn eval_repeats_the_evaluation_of_training_and_of_its_own_detections() {
    let scratch = Scratch::new();
    let (shapes, out, done) = a_trained_detector(&scratch);
    let detections = scratch.path("detections.json");
    let evaluated = json(&["eval", &out, "--detections", &detections, "--json"]);
    let model = &evaluated["evaluations"][0];
    assert_eq!(model["metrics"], done["metrics"], "to the last bit");
    assert_eq!(model["metrics"].as_object().unwrap().len(), 13);
    assert_eq!(model["categories"].as_array().unwrap().len(), 5);

    // what it found, by way of a file, without the model
    let annotations = format!("{shapes}/instances_val.json");
    let again = json(&[
        "eval",
        "--results",
        &detections,
        "--annotations",
        &annotations,
        "--json",
    ]);
    let file = &again["evaluations"][0];
    assert_eq!(file["categories"], model["categories"]);
    for (name, value) in file["metrics"].as_object().unwrap() {
        assert_eq!(value, &model["metrics"][name], "{name}");
    }

    // a checkpoint, beside the end of the run
    let checkpoint = format!("{out}/checkpoints/2");
    let end = format!("{out}/checkpoints/1");
    let both = json(&["eval", &checkpoint, &end, &out, "--json"]);
    let all = both["evaluations"].as_array().unwrap();
    assert_eq!(all[0]["label"], "run@2");
    assert_eq!(all[0]["metrics"], all[2]["metrics"]);
    assert_ne!(all[1]["metrics"]["loss"], all[2]["metrics"]["loss"]);
    let table = stdout(&gradcode(&["eval", &out, "--per-class"]));
    assert!(
        table.contains("AP50") && table.contains("square"),
        "{table}"
    );

    let nowhere = failure(USAGE, &["eval", &scratch.path("nowhere")]);
    assert!(nowhere.contains("config.toml"), "{nowhere}");
    let alone = gradcode(&["eval", "--results", &detections]);
    assert_eq!(alone.status.code(), Some(USAGE));
    assert!(stderr(&alone).contains("--annotations"));
    let blind = failure(USAGE, &["eval", &out, "--annotations", &annotations]);
    assert!(blind.contains("--images"), "{blind}");
}

#[test]
fn detect_draws_what_a_run_has_learned() {
    let scratch = Scratch::new();
    let (_, out, _) = a_trained_detector(&scratch);
    let pictures = scratch.path("pictures");
    let arguments = [
        "detect", &out, &out, "--images", "1", "--score", "0", "--out", &pictures, "--json",
    ];
    let found = json(&arguments);
    let image = &found["images"][0];
    assert_eq!(image["runs"].as_array().unwrap().len(), 2);
    let first = &image["runs"][0]["detections"][0];
    assert_eq!(first["bbox"].as_array().unwrap().len(), 4);
    // The annotations and one panel per run, of 384 pixels and the space around them.
    let png = std::fs::read(image["picture"].as_str().unwrap()).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    assert_eq!(png[16..20], (3 * 384 + 4 * 12u32).to_be_bytes());

    // the same by the logs, as shapes
    let log = format!("{out}/run.h5");
    let compared = json(&[
        "detect",
        "--compare",
        &log,
        &log,
        "--format",
        "svg",
        "--images",
        "1",
        "--score",
        "0",
        "--out",
        &pictures,
        "--json",
    ]);
    let again = &compared["images"][0]["runs"][0]["detections"];
    assert!(*again == image["runs"][0]["detections"]);
    let svg = compared["images"][0]["picture"].as_str().unwrap();
    let svg = std::fs::read_to_string(svg).unwrap();
    assert_eq!(svg.matches("<use href=\"#image\"").count(), 3);
    assert_eq!(svg.matches("data:image/jpeg;base64,").count(), 1);

    let nowhere = failure(USAGE, &["detect", &scratch.path("nowhere")]);
    assert!(nowhere.contains("config.toml"), "{nowhere}");
    let beyond = failure(
        USAGE,
        &["detect", &out, "--images", "2", "--out", &pictures],
    );
    assert!(beyond.contains("image"), "{beyond}");
}

#[test]
fn data_is_made_checked_and_planned_with() {
    let scratch = Scratch::new();
    let out = scratch.path("shapes");
    let make = [
        "data",
        "synth",
        "--out",
        &out,
        "--images",
        "6",
        "--validation",
        "2",
        "--side",
        "64",
        "--json",
    ];
    let made = json(&make);
    let (annotations, images) = (
        made["train_annotations"].as_str().unwrap(),
        made["train_images"].as_str().unwrap(),
    );
    let report = json(&[
        "data",
        "check",
        "--annotations",
        annotations,
        "--images",
        images,
        "--json",
    ]);
    assert_eq!(
        (&report["usable"], &report["images"]),
        (&Value::Bool(true), &Value::from(6))
    );
    assert!(failure(USAGE, &make).contains("hint: "));

    // The number of classes, and with it the model's size, comes from the annotation file.
    let experiment = scratch.file("exp.toml", "workers = 4\n[budget]\nmean_bits = 4.0\n");
    let (first, second) = (
        format!("data.train_annotations={annotations}"),
        format!("data.train_images={images}"),
    );
    let plan = |extra: &[&str]| {
        let mut arguments = vec!["plan", &experiment, "--json"];
        arguments.extend(extra);
        json(&arguments)["dimension"].as_u64().unwrap()
    };
    let categories = report["categories"].as_array().unwrap().len();
    let classes = format!("model.classes={}", categories + 1);
    assert_eq!(
        plan(&["--set", &first, "--set", &second]),
        plan(&["--set", &classes])
    );

    // A broken image is found, and the exit code says so.
    let victim = std::fs::read_dir(images)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::write(&victim, b"not a picture").unwrap();
    let output = gradcode(&[
        "data",
        "check",
        "--annotations",
        annotations,
        "--images",
        images,
    ]);
    assert_eq!(output.status.code(), Some(30));
    assert!(
        stdout(&output).contains("1 unreadable files"),
        "{}",
        stdout(&output)
    );
    let error = failure(
        30,
        &[
            "data",
            "check",
            "--annotations",
            "nowhere.json",
            "--images",
            images,
        ],
    );
    assert!(error.contains("nowhere.json"), "{error}");
}

#[test]
fn doctor_looks_at_everything() {
    let output = gradcode(&["doctor", "--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for key in [
        "mpi_library",
        "mpirun",
        "libtorch",
        "gpus",
        "hdf5",
        "cpus",
        "omp_num_threads",
        "simd",
        "locked_memory",
    ] {
        let state = object[key]["state"]
            .as_str()
            .unwrap_or_else(|| panic!("{key} in {object}"));
        assert!(["ok", "warn", "fail"].contains(&state));
    }
    assert_eq!(
        output.status.code(),
        Some(if object["ready"] == true { 0 } else { 30 })
    );
    assert_eq!(object["omp_num_threads"]["value"], "1");
}

#[test]
fn help_is_there_for_every_command() {
    for command in [
        vec!["--help"],
        vec!["train", "--help"],
        vec!["simulate", "--help"],
        vec!["plan", "--help"],
        vec!["allocate", "--help"],
        vec!["report", "--help"],
        vec!["eval", "--help"],
        vec!["detect", "--help"],
        vec!["data", "synth", "--help"],
        vec!["data", "check", "--help"],
        vec!["codec", "phi", "--help"],
        vec!["doctor", "--help"],
        vec!["config", "show", "--help"],
    ] {
        let output = gradcode(&command);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(stdout(&output).contains("Usage: gradcode"), "{command:?}");
    }
    assert_eq!(gradcode(&["tarin"]).status.code(), Some(USAGE));
    assert_eq!(gradcode(&[]).status.code(), Some(USAGE));
}

/// `gradcode config default | head -1` must end quietly.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let program = env!("CARGO_BIN_EXE_gradcode");
    let script = format!("'{program}' config default | head -n 1; echo ${{PIPESTATUS[0]}}");
    let output = Command::new("bash")
        .args(["-c", &script])
        .output()
        .expect("bash");
    assert_eq!(stderr(&output), "");
    assert!(stdout(&output).ends_with("\n0\n"), "{}", stdout(&output));
}
