//! Configurations: what is wrong with them, and `gradcode config`.

use serde_json::Value;

use crate::harness::{Scratch, USAGE, failure, gradcode, json, root, stderr, stdout};

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
        (
            "groups",
            &format!("{base}[scheme]\nkind = \"ehd\"\nload = 3\n"),
            "nearest possible: load 2 or 4; decided by `scheme.kind = \"ehd\"` (",
        ),
        (
            "regular",
            &format!("{base}[scheme]\nkind = \"od\"\nload = 2.5\n"),
            "regular.toml:8), `scheme.graph = \"auto\"` (default), `workers = 4` (",
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
