use std::path::Path;

use crate::config::from_text;
use crate::config::testing::config;
use crate::config::values::{CodecPreset, Feedback};

fn error(text: &str) -> String {
    match from_text(text, Path::new("x.toml")) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_defaults_lack_only_workers_and_a_budget() {
    let resolved = from_text("workers = 4\nbudget.total_bits = 20", Path::new("x")).unwrap();
    assert_eq!(resolved.config.partitions, 4);
    assert_eq!(resolved.warnings, Vec::<String>::new());
    assert!(error("budget.total_bits = 20").contains("find `workers`"));
    assert!(error("workers = 4").contains("find `budget.total_bits`"));
}

#[test]
fn workers_follow_lists() {
    let base = "budget.mean_bits = 4\n";
    assert_eq!(
        config(&format!("{base}straggler.rate = [1, 2, 3]")).workers,
        3
    );
    assert_eq!(
        config(&format!("{base}straggler.probabilities = [0.1, 0.2]")).workers,
        2
    );
    let text = error(&format!("{base}workers = 4\nstraggler.rate = [1, 2, 3]"));
    assert!(
        text.contains(
            "`straggler.rate` (x.toml:3) and `workers` (x.toml:2): 3 values are listed for 4"
        ),
        "{text}"
    );
}

#[test]
fn budgets_are_the_same_bits_however_stated() {
    for stated in ["total_bits = 22", "residual_bits = 14", "mean_bits = 5.5"] {
        assert_eq!(
            config(&format!("workers = 4\nbudget.{stated}")).total_bits(),
            Some(22)
        );
    }
    assert_eq!(
        config("workers = 4\ncodec.preset = 'f32'").total_bits(),
        None
    );
    assert_eq!(
        config("workers = 4\nscheme.kind = 'sgd'").total_bits(),
        None
    );
}

/// Each pair: what is written, and what the message must say.
#[test]
fn nonsense_is_refused_with_what_would_be_valid() {
    let base = "workers = 4\nbudget.total_bits = 20\n";
    for (text, wanted) in [
        (
            "workers = 4\nbudget.total_bits = 7".into(),
            "`budget.total_bits = 7` (x.toml:2): needs at least 8 (2 bits for each of 4 workers)",
        ),
        (
            "workers = 4\nbudget.mean_bits = 1.8".into(),
            "needs at least 2 (2 bits",
        ),
        (
            "workers = 4\nbudget.total_bits = 65".into(),
            "at most 64 (16 bits",
        ),
        (
            "workers = 4\nbudget.residual_bits = 57".into(),
            "at most 56",
        ),
        (
            "workers = 4\nbudget.mean_bits = nan".into(),
            "must be a number above 0",
        ),
        (
            "workers = 4\n[budget]\ntotal_bits = 8\nmean_bits = 2.0".into(),
            "`budget.total_bits` (x.toml:3) and `budget.mean_bits` (x.toml:4): exactly one",
        ),
        (
            "workers = 0\nbudget.total_bits = 20".into(),
            "`workers = 0` (x.toml:1): needs at least 1",
        ),
        (
            format!("{base}straggler.probabilities = [0.5, 1.0, 0.1, 0.2]"),
            "worker 1 has 1; every probability must lie strictly between 0 and 1",
        ),
        (
            format!("{base}straggler.probabilities = 0"),
            "must lie strictly between 0 and 1",
        ),
        (format!("{base}straggler.deadline = 1.0"), "every p_i = 1"),
        (
            format!("{base}straggler.rate = [1, 2, 0, 1]"),
            "rates must be numbers above 0",
        ),
        (
            format!("{base}straggler.model = 'trace'"),
            "find `straggler.trace`",
        ),
        (
            format!("{base}optimizer.two_track = true"),
            "`optimizer.two_track` (x.toml:3) and `optimizer.kind` (default)",
        ),
        (
            format!("{base}scheme.kind = 'is-sgd'\npartitions = 3"),
            "set partitions = 4",
        ),
        (
            format!("{base}codec.bucket = 1000"),
            "must be 512, 1024, 2048, 4096 or 8192",
        ),
        (
            format!("{base}model.kind = 'least-squares'"),
            "find `model.dimension`",
        ),
        (
            format!("{base}model.kind = 'ssdlite'\ndata.batch = 1"),
            "at least 2 images per partition",
        ),
        (
            format!("{base}data.train_images = 'a'"),
            "find `data.train_annotations`",
        ),
        (format!("{base}compute.device = 'gpu'"), "\"cuda:N\""),
        (
            format!("{base}evaluation.every = {{ steps = 0 }}"),
            "above 0",
        ),
        (
            format!("{base}straggler.inject = 'none'\ndeadline.seconds = 1"),
            "straggler.unit_seconds",
        ),
        (format!("{base}sede = 3"), "line 3, column 1"),
    ] {
        let message = error(&text);
        assert!(
            message.contains(wanted),
            "{text}\n -> {message}\n wanted {wanted}"
        );
    }
}

#[test]
fn a_scheme_brings_its_own_compressor_and_memory() {
    let codec = |text: &str| config(&format!("workers = 4\nbudget.mean_bits = 4\n{text}")).codec;
    let coco_ef = codec("scheme.kind = 'coco-ef'");
    assert_eq!(coco_ef.preset, CodecPreset::Sign);
    assert_eq!(coco_ef.error_feedback, Feedback::Keep);
    let coco = codec("scheme.kind = 'coco'");
    assert_eq!(coco.preset, CodecPreset::Sign);
    assert_eq!(coco.error_feedback, Feedback::None);
    assert_eq!(
        codec("scheme.kind = 'one-bit-sgc'").preset,
        CodecPreset::OneBit
    );
    assert_eq!(
        codec("scheme.kind = 'sgc'").preset,
        CodecPreset::QsgdBucketed
    );
    let top =
        codec("scheme.kind = 'coco-ef'\ncodec.preset = 'top-k'\ncodec.error_feedback = 'lost'");
    assert_eq!(
        (top.preset, top.error_feedback),
        (CodecPreset::TopK, Feedback::Lost)
    );
}

#[test]
fn presets_of_one_width_need_no_budget() {
    for text in [
        "scheme.kind = 'coco-ef'",
        "scheme.kind = 'one-bit-sgc'",
        "scheme.kind = 'sgc'\ncodec.preset = 'rand-k'\ncodec.entries = 2",
    ] {
        assert_eq!(config(&format!("workers = 4\n{text}")).total_bits(), None);
    }
    let sparse = "workers = 4\nscheme.kind = 'sgc'\ncodec.preset = 'rand-k'\n";
    assert!(error(sparse).contains("find `budget.total_bits`"));
    assert_eq!(
        config(&format!("{sparse}budget.total_bits = 4")).total_bits(),
        Some(4)
    );
}

/// Each pair: what is written, and what the message must say.
#[test]
fn impossible_pairs_say_why() {
    let base =
        "workers = 4\nbudget.mean_bits = 4\nmodel.kind = 'least-squares'\nmodel.dimension = 1000\n";
    for (text, wanted) in [
        (
            "scheme.kind = 'joint'\ncodec.preset = 'sign'",
            "`scheme.kind` (x.toml:5) and `codec.preset` (x.toml:6): its bits and code minimise an error bound \
             that holds for unbiased compressors only",
        ),
        (
            "scheme.kind = 'coco-ef'\ncodec.error_feedback = 'none'",
            "`codec.error_feedback` (x.toml:6): coco-ef without error feedback is coco",
        ),
        (
            "scheme.kind = 'coco-ef'\ncodec.preset = 'rand-k'\ncodec.entries = 10",
            "`codec.preset` (x.toml:6): \"rand-k\" may leave out more than it is given",
        ),
        (
            "scheme.kind = 'od'\ncodec.error_feedback = 'keep'",
            "`codec.error_feedback` (x.toml:6): optimal decoding weighs a worker differently in every round",
        ),
        (
            "scheme.kind = 'one-bit-sgc'\ncodec.preset = 'sign'",
            "\"sign\" is biased; coco and coco-ef are the same code",
        ),
        (
            "scheme.kind = 'coco-ef'\ncodec.error_feedback = 'lost'\nstraggler.inject = 'delay'",
            "`codec.error_feedback` (x.toml:6) and `straggler.inject` (x.toml:7): \"lost\" remembers",
        ),
        ("codec.group = 100", "must be a power of two from 512"),
        (
            "codec.preset = 'top-k'\nscheme.kind = 'sgc'\ncodec.entries = 1001",
            "at most the 1000 coordinates",
        ),
        ("scheme.load = 0", "must be a number above 0"),
        (
            "scheme.kind = 'sgd2'",
            "unknown scheme `sgd2`, expected one of `joint`",
        ),
        ("scheme.decoding = 'best'", "unknown variant `best`"),
    ] {
        let message = error(&format!("{base}{text}"));
        assert!(
            message.contains(wanted),
            "{text}\n -> {message}\n wanted {wanted}"
        );
    }
    // Shrunk, it is a contraction.
    let text =
        "scheme.kind = 'coco-ef'\ncodec.preset = 'rand-k'\ncodec.entries = 10\ncodec.shrink = true";
    config(&format!("{base}{text}"));
    // Not refused, but said: the memory may diverge.
    let text = "scheme.kind = 'sgc'\ncodec.preset = 'qsgd'\ncodec.error_feedback = 'keep'";
    let resolved = from_text(&format!("{base}{text}"), Path::new("x")).unwrap();
    assert!(
        resolved.warnings[0].contains("may diverge"),
        "{:?}",
        resolved.warnings
    );
}

#[test]
fn keys_without_effect_are_named() {
    let text = "workers = 4\ncodec.preset = 'f32'\nbudget.total_bits = 20";
    let resolved = from_text(text, Path::new("x.toml")).unwrap();
    assert_eq!(
        resolved.warnings,
        ["`budget.total_bits` (x.toml:3) has no effect with nothing to quantize"]
    );
}

#[test]
fn ranks_are_between_two_and_one_more_than_the_workers() {
    let config = config("workers = 4\nbudget.total_bits = 20");
    assert!((2..=5).all(|ranks| config.check_ranks(ranks).is_ok()));
    assert!(config.check_ranks(1).is_err());
    let message = config.check_ranks(6).unwrap_err().to_string();
    assert!(
        message.contains("start 6 MPI ranks: 2 to 5 are valid for 4 workers"),
        "{message}"
    );
    assert!(message.contains("`workers` may be set to 5"), "{message}");
}

/// What a run stores must give the same configuration again, for every shape a value can have.
#[test]
fn stored_configurations_are_read_back_unchanged() {
    let base = "workers = 4\n";
    for text in [
        "budget.total_bits = 20",
        "budget.residual_bits = 3\nmodel.kind = 'ssdlite'\nmodel.side = 160\nmodel.norm = 'group'",
        "budget.mean_bits = 4.3\nbudget.scaling = { balanced = 0.005 }\nmodel.kind = 'cnn'\nmodel.classes = 11",
        "scheme.kind = 'sgd'\nmodel.kind = 'least-squares'\nmodel.dimension = 7\ntitle = 'a \"b\" \\\\ c'",
        "codec.preset = 'f32'\nmodel.dimension = 12\nstraggler.rate = [1, 2, 3, 4.25e-7]\nevaluation.every = 'never'",
        "budget.total_bits = 20\nstraggler.probabilities = [0.1, 0.2, 0.3, 0.4]\nstraggler.unit_seconds = 0.1\n\
         straggler.inject = 'none'\ndeadline.seconds = 0.5\nevaluation.every = { seconds = 60 }",
        "scheme.kind = 'sgc'\nscheme.load = 3.5\nscheme.assignment = 'cyclic'\ncodec.preset = 'top-k'\ncodec.entries = 7\n\
         codec.error_feedback = 'lost'\ncodec.shrink = true",
        "scheme.kind = 'coco-ef'\ncodec.group = 512",
        "scheme.kind = 'ce-agc'\nscheme.ridge = 'noise'\nscheme.code = 'stacked'\nscheme.epsilon = 0.1\nbudget.mean_bits = 3.0",
        "scheme.kind = 'od'\nscheme.graph = 'adjacency'\nscheme.decoding = 'optimal'\nbudget.mean_bits = 3.0",
        "budget.total_bits = 20\nstraggler.model = 'trace'\nstraggler.trace = 'd.csv'\nstraggler.rate = { linspace = [1, 2] }\n\
         data.train_annotations = 'a.json'\ndata.train_images = 'b'\ndeadline.quantile = { q = 0.5 }",
    ] {
        let first = config(&format!("{base}{text}"));
        let stored = first.to_toml();
        assert_eq!(config(&stored), first, "{stored}");
        assert_eq!(config(&stored).to_toml(), stored);
    }
}

#[test]
fn injected_faults_are_read_written_and_checked() {
    let base = "workers = 4\niterations = 100\nbudget.mean_bits = 4\n";
    let text = format!(
        "{base}[[inject]]\nfault = \"kill\"\nworkers = [1, 2]\nat = 10\nphase = \"payload\"\n\
         [[inject]]\nfault = \"delay\"\nprobability = 0.5\nseconds = 0.25\n"
    );
    let read = config(&text);
    assert_eq!(read.inject.len(), 2);
    assert_eq!(read.inject[0].iterations(), (10, 10));
    assert_eq!(config(&read.to_toml()), read, "{}", read.to_toml());
    for (entry, wanted) in [
        ("fault = 'explode'", "unknown variant `explode`"),
        ("fault = 'kill'\nwho = 1", "unknown field `who`"),
        ("fault = 'kill'\nworkers = [4]", "inject[0].workers = [4]"),
        ("fault = 'slow'", "inject[0].factor = (not set)"),
        ("fault = 'slow'\nfactor = 0", "inject[0].factor = 0"),
        (
            "fault = 'slow'\nfactor = 5\nprobability = 0.5",
            "inject[0].probability = 0.5",
        ),
        (
            "fault = 'slow'\nfactor = 5\nphase = 'header'",
            "inject[0].phase = \"header\"",
        ),
        (
            "fault = 'slow'\nfactor = 5\nseconds = 1",
            "inject[0].seconds = 1",
        ),
        ("fault = 'kill'\nfactor = 5", "inject[0].factor = 5"),
        (
            "fault = 'kill'\nworkers = []",
            "a list of workers from 0 to 3",
        ),
        (
            "fault = 'kill'\nat = 3\nto = 4",
            "either it, or `from` and `to`",
        ),
        (
            "fault = 'kill'\nfrom = 100",
            "the run ends before: iterations = 100",
        ),
        (
            "fault = 'kill'\nfrom = 9\nto = 8",
            "must be at least `from` = 9",
        ),
        ("fault = 'kill'\nprobability = 0", "above 0 and at most 1"),
        ("fault = 'kill'\nseconds = 1", "\"kill\" does not last"),
        ("fault = 'delay'", "\"delay\" needs seconds above 0"),
        ("fault = 'freeze'\nseconds = -1", "must be above 0"),
        ("fault = 'drop'\nphase = 'payload'", "MPI loses no message"),
        ("fault = 'memory'\nphase = 'header'", "for \"compute\" only"),
    ] {
        let text = error(&format!("{base}[[inject]]\n{entry}"));
        assert!(text.contains(wanted), "{entry}: {text}");
    }
    let text = error(&format!("{base}[[inject]]\nfault = 'delay'"));
    assert!(text.contains("(x.toml:4)"), "{text}");
    assert!(error(&format!("{base}round.clip_norm = 0.5")).contains("above 1, or 0"));
    let text = error(&format!("{base}round.clip_norm = 5\nround.refuse_norm = 4"));
    assert!(text.contains("what is refused is never clipped"), "{text}");
}
