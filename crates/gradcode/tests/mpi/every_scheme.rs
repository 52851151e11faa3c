//! Every scheme and every compressor over MPI: four to eight workers on four ranks, to the same bits
//! as in process.

use super::harness::Scratch;
use super::same_results::same_everywhere;

/// Least squares for a few iterations; `rest` completes it.
fn experiment(rest: &str) -> String {
    format!(
        "seed = 5\n\
         iterations = 6\n\
         evaluation.every = {{ steps = 3 }}\n\
         compute.threads = 1\n\
         model = {{ kind = \"least-squares\", dimension = 300 }}\n\
         data = {{ samples = 140, batch = 4 }}\n\
         straggler = {{ rate = {{ linspace = [0.5, 2.0] }}, deadline = 1.8, inject = \"erase\" }}\n\
         {rest}"
    )
}

#[track_caller]
fn runs(rest: &str) {
    let results = same_everywhere(&Scratch::new(), &experiment(rest), &[5]);
    assert_eq!(results.counts().0, 6, "{rest}");
}

/// What a scheme needs beside its name: workers, its own keys, and bits unless its compressor has a
/// width of its own. A new scheme is run with the settings of most.
fn settings(kind: &str) -> &'static str {
    match kind {
        "ce-agc" => {
            "workers = 7\nbudget.mean_bits = 4\n\
             scheme = { kind = \"ce-agc\", design = \"bibd\", degree = 3, blocks = 2 }\n"
        }
        "sgd" | "coco" | "coco-ef" | "one-bit-sgc" => "workers = 4\n",
        _ => "workers = 4\nbudget.mean_bits = 4\n",
    }
}

#[test]
fn schemes_with_sgd_and_adam() {
    for kind in gradient_code::schemes::names() {
        let scheme = if kind == "ce-agc" {
            String::new()
        } else {
            format!("scheme.kind = \"{kind}\"\n")
        };
        for optimizer in [
            "optimizer = { learning_rate = 1e-3 }\n",
            "optimizer = { kind = \"adam\", learning_rate = 1e-3 }\n",
        ] {
            runs(&format!("{}{scheme}{optimizer}", settings(kind)));
        }
    }
}

#[test]
fn decoders_that_depend_on_who_answered() {
    for scheme in [
        "workers = 4\nscheme = { kind = \"bgc\", decoding = \"one-step\" }\n",
        "workers = 4\nscheme = { kind = \"ehd\", decoding = \"first-arrival\" }\n",
        "workers = 6\npartitions = 4\nscheme = { kind = \"od\", graph = \"edges\", load = 3 }\n",
        "workers = 8\npartitions = 4\nscheme = { kind = \"ce-agc\", design = \"bi-regular\", degree = 2, code = \"hadamard\" }\n",
    ] {
        runs(&format!("{scheme}budget.mean_bits = 4\n"));
    }
}

#[test]
fn compressors_and_what_workers_remember() {
    for codec in [
        "codec = { preset = \"sign\", error_feedback = \"keep\" }\n",
        "codec = { preset = \"sign\", group = 512, error_feedback = \"lost\" }\n",
        "codec = { preset = \"one-bit\", scale = \"l2\" }\n",
        "codec = { preset = \"top-k\", entries = 20, error_feedback = \"keep\" }\n",
        "codec = { preset = \"rand-k\", entries = 20 }\n",
        "codec = { preset = \"rand-k\" }\nbudget.mean_bits = 3\n",
        "codec = { preset = \"qsgd\", error_feedback = \"keep\", shrink = true }\nbudget.mean_bits = 3\n",
    ] {
        runs(&format!(
            "workers = 4\nscheme.kind = \"sgc\"\n{codec}optimizer = {{ learning_rate = 1e-3 }}\n"
        ));
    }
}
