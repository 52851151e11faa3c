//! One experiment, any number of ranks: with drawn arrivals the results are equal to the last bit,
//! and equal to those of the same run in one process.

use super::harness::{Launch, Scratch, simulate, train};
use super::log::Results;

/// Runs `experiment` in process and on each number of ranks, and compares.
#[track_caller]
pub fn same_everywhere(scratch: &Scratch, experiment: &str, ranks: &[usize]) -> Results {
    let experiment = scratch.file("experiment.toml", experiment);
    let alone = scratch.path("in-process");
    simulate(scratch, &experiment, &alone);
    let alone = Results::read(&alone);
    for &ranks in ranks {
        let out = scratch.path(&format!("ranks-{ranks}"));
        let job = Launch::train(scratch, ranks, &train(&experiment, &out)).run();
        job.expect_code(0);
        Results::read(&out).expect_equal(&alone, &format!("{ranks} ranks\n{}", job.output));
    }
    alone
}

/// Five unequal workers, drawn arrivals; `rest` completes it.
fn convex(rest: &str) -> String {
    format!(
        "seed = 11\n\
         iterations = 24\n\
         workers = 5\n\
         evaluation.every = {{ steps = 10 }}\n\
         round.relative_error_every = 8\n\
         compute.threads = 1\n\
         [data]\n\
         samples = 200\n\
         batch = 8\n\
         [straggler]\n\
         rate = [2.0, 1.5, 1.0, 0.7, 0.5]\n\
         deadline = 1.8\n\
         inject = \"erase\"\n\
         {rest}"
    )
}

#[track_caller]
fn convex_is_the_same(rest: &str) {
    let results = same_everywhere(&Scratch::new(), &convex(rest), &[2, 3, 5]);
    assert_eq!(results.counts(), (24, 3));
    assert!(results.straggled());
}

#[test]
fn the_joint_scheme_with_momentum() {
    convex_is_the_same(
        "[model]\nkind = \"least-squares\"\ndimension = 1300\n\
         [budget]\nmean_bits = 4.0\n\
         [optimizer]\nlearning_rate = 0.001\nmomentum = 0.9\n",
    );
}

/// Plans that follow what the workers measure of their own messages.
#[test]
fn plans_of_the_measured_quantization_error() {
    let rest = "[model]\nkind = \"least-squares\"\ndimension = 1300\n\
         [budget]\nmean_bits = 3.0\n\
         [codec]\nphi_every = 2\n\
         [replan]\non_phi = true\npause = 4\n\
         [optimizer]\nlearning_rate = 0.001\n";
    let scratch = Scratch::new();
    let results = same_everywhere(&scratch, &convex(rest), &[2, 3, 5]);
    assert_eq!(results.counts(), (24, 3));
    let log = run_log::RunReader::open(scratch.path("ranks-3")).expect("a log");
    let plans = log.plans().expect("plans");
    assert!(plans.len() > 1, "the closed form is far from true");
    let reason = &plans[1].plan.reason;
    assert!(reason.contains("quantization error"), "{reason}");
}

/// The same with memories, whose meaning hangs on the plan's weights; and broken off after the new plan, to go
/// on with other ranks.
#[test]
fn plans_of_the_measured_quantization_error_with_memories() {
    let rest = "[model]\nkind = \"least-squares\"\ndimension = 1300\n\
         [budget]\nmean_bits = 3.0\n\
         [codec]\nphi_every = 2\nerror_feedback = \"lost\"\nshrink = true\n\
         [replan]\non_phi = true\npause = 4\n\
         [optimizer]\nlearning_rate = 0.001\n";
    let text = convex(rest).replace(
        "evaluation.every = { steps = 10 }",
        "evaluation = { every = { steps = 10 }, at_end = false }",
    );
    let scratch = Scratch::new();
    let results = same_everywhere(&scratch, &text, &[2, 3, 5]);
    assert!(results.straggled());
    let log = run_log::RunReader::open(scratch.path("ranks-3")).expect("a log");
    let plans = log.plans().expect("plans");
    let new = plans.get(1).expect("the closed form is far from true");
    let reason = &new.plan.reason;
    assert!(reason.contains("quantization error"), "{reason}");
    assert_ne!(plans[0].plan.encoding, new.plan.encoding);

    let out = scratch.path("resumed");
    for (ranks, iterations) in [(3, new.start_iteration + 1), (5, 24)] {
        let text = text.replace("iterations = 24", &format!("iterations = {iterations}"));
        let file = scratch.file("part.toml", &text);
        let mut words = train(&file, &out);
        words.extend(["--resume", "auto"].map(str::to_owned));
        let job = Launch::train(&scratch, ranks, &words).run();
        job.expect_code(0);
    }
    Results::read(&out).expect_equal(&results, "broken off and resumed");
}

#[test]
fn adam_with_two_tracks() {
    convex_is_the_same(
        "[model]\nkind = \"logistic-regression\"\ndimension = 700\nl2 = 0.01\n\
         [budget]\nresidual_bits = 9\n\
         [codec]\npreset = \"qsgd\"\n\
         [optimizer]\nkind = \"adam\"\ntwo_track = true\nlambda = 0.5\nlearning_rate = 0.01\n",
    );
}

#[test]
fn the_scheme_for_unquantized_gradients() {
    convex_is_the_same(
        "[scheme]\nkind = \"osgc\"\n\
         [model]\nkind = \"least-squares\"\ndimension = 600\n\
         [budget]\ntotal_bits = 20\n\
         [optimizer]\nlearning_rate = 0.001\nschedule = \"cosine\"\n",
    );
}

#[test]
fn a_model_in_half_precision() {
    convex_is_the_same(
        "[model]\nkind = \"least-squares\"\ndimension = 1300\n\
         [budget]\nmean_bits = 4.0\n\
         [downlink]\nform = \"bf16\"\n\
         [optimizer]\nlearning_rate = 0.001\n",
    );
}

/// Ranks that host many workers are sent more updates than those that host few.
#[test]
fn a_model_in_quantized_updates() {
    convex_is_the_same(
        "[model]\nkind = \"least-squares\"\ndimension = 1300\n\
         [budget]\nmean_bits = 4.0\n\
         [downlink]\nform = \"delta\"\nbits = 6\n\
         [optimizer]\nlearning_rate = 0.001\nmomentum = 0.9\n",
    );
}

#[test]
fn stragglers_ignored() {
    convex_is_the_same(
        "[scheme]\nkind = \"is-sgd\"\n\
         [model]\nkind = \"least-squares\"\ndimension = 600\n\
         [budget]\nmean_bits = 3.0\n\
         [optimizer]\nlearning_rate = 0.001\nclip_norm = 1.0\n",
    );
}

/// The baseline without stragglers: everybody is waited for.
#[test]
fn centralised_descent() {
    let experiment = convex(
        "[scheme]\nkind = \"sgd\"\n\
         [model]\nkind = \"least-squares\"\ndimension = 600\n\
         [optimizer]\nlearning_rate = 0.001\n",
    );
    let results = same_everywhere(&Scratch::new(), &experiment, &[2, 3, 5]);
    assert!(!results.straggled());
}

/// More workers than ranks, not a multiple of them, and frames longer than a chunk.
#[test]
fn thirteen_workers_on_two_ranks() {
    let experiment = "iterations = 4\n\
         workers = 13\n\
         partitions = 9\n\
         compute.threads = 1\n\
         evaluation = { every = \"never\", at_end = false }\n\
         [model]\nkind = \"least-squares\"\ndimension = 1500000\n\
         [data]\nsamples = 9\nbatch = 1\n\
         [budget]\nmean_bits = 13.0\n\
         [optimizer]\nlearning_rate = 1e-7\n\
         [straggler]\nrate = { linspace = [0.3, 3.0] }\ndeadline = 2.0\ninject = \"erase\"\n";
    let results = same_everywhere(&Scratch::new(), experiment, &[3]);
    assert!(results.straggled());
}

/// Four workers who share a detector's data; `codec` is what the section says.
fn detector(scratch: &Scratch, codec: &str) -> String {
    format!(
        "iterations = 5\n\
         workers = 4\n\
         evaluation.every = {{ steps = 3 }}\n\
         compute = {{ threads = 1, device = \"cpu\" }}\n\
         model = {{ kind = \"tiny-ssd\", width = 8, side = 64 }}\n\
         budget.mean_bits = 6.0\n\
         codec = {{ {codec} }}\n\
         optimizer = {{ kind = \"adamw\", learning_rate = 2e-3 }}\n\
         straggler = {{ rate = [3.0, 2.0, 1.0, 0.5], deadline = 1.8, inject = \"erase\" }}\n\
         {}",
        scratch.shapes()
    )
}

#[test]
fn a_detector() {
    let scratch = Scratch::new();
    let results = same_everywhere(&scratch, &detector(&scratch, ""), &[2, 3, 5]);
    assert_eq!(results.counts(), (5, 2));
    assert!(results.straggled());
}

/// Gradients that are packed where they were computed, and summed where the master's model is.
#[test]
fn a_detector_whose_codec_runs_on_devices() {
    let run = |decode_device: &str, ranks: &[usize]| {
        let scratch = Scratch::new();
        let codec = "preset = \"rotated\", phi_every = 4, device = \"model\"";
        let codec = format!("{codec}, decode_device = \"{decode_device}\"");
        same_everywhere(&scratch, &detector(&scratch, &codec), ranks)
    };
    let on_device = run("model", &[3]);
    assert_eq!(on_device.counts(), (5, 2));
    assert!(on_device.straggled());
    on_device.expect_equal(&run("cpu", &[]), "decoded on the CPU");
}

/// Messages that a device cannot sum are summed without it, and that is said once.
#[test]
fn sparse_messages_are_not_summed_on_devices() {
    let run = |decode_device: &str| {
        let scratch = Scratch::new();
        let codec = "preset = \"rand-k\", entries = 900";
        let codec = format!("{codec}, decode_device = \"{decode_device}\"");
        let experiment = detector(&scratch, &codec).replace("budget.mean_bits = 6.0\n", "");
        let (file, out) = (
            scratch.file("sparse.toml", &experiment),
            scratch.path("out"),
        );
        let job = Launch::train(&scratch, 3, &train(&file, &out)).run();
        job.expect_code(0);
        (Results::read(&out), job.output)
    };
    let (results, output) = run("model");
    let said = "not on cpu, because they are sparse";
    assert_eq!(output.matches(said).count(), 1, "{output}");
    let (on_cpu, output) = run("cpu");
    assert!(!output.contains(said), "{output}");
    results.expect_equal(&on_cpu, "decoded on the CPU");
}
