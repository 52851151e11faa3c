use std::path::PathBuf;

use super::*;

fn sources(dir: &Path, text: &str, set: &[&str]) -> Sources {
    let experiment: PathBuf = dir.join("fig.toml");
    std::fs::write(&experiment, text).unwrap();
    Sources {
        experiment,
        set: set.iter().map(|s| (*s).to_owned()).collect(),
        ..Sources::default()
    }
}

const STUDY: &str = "\
model.kind = 'least-squares'
model.dimension = 10
workers = 4
budget.mean_bits = 4
[study]
runs = 3
[sweep]
optimizer.learning_rate = [0.1, 0.2]
budget = [3, 5]
[[scheme]]
kind = 'joint'
[[scheme]]
label = 'OSGC, slow'
kind = 'osgc'
with.optimizer.momentum = 0.5
with.seed = 7
";

#[test]
fn every_scheme_meets_every_combination_of_swept_values() {
    let dir = tempfile::tempdir().unwrap();
    let study = sources(dir.path(), STUDY, &[])
        .load_study(false)
        .unwrap()
        .unwrap();
    let names: Vec<String> = study.points.iter().map(PointConfig::name).collect();
    assert_eq!(names.len(), 8);
    assert_eq!(
        names[1],
        "joint, optimizer.learning_rate = 0.1, budget.mean_bits = 5"
    );
    assert_eq!(
        names[6],
        "OSGC, slow, optimizer.learning_rate = 0.2, budget.mean_bits = 3"
    );
    let config = &study.points[6].config;
    assert_eq!(config.scheme.kind.name(), "osgc");
    assert_eq!(config.optimizer.learning_rate, 0.2);
    assert_eq!((config.optimizer.momentum, config.seed), (0.5, 7));
    assert_eq!(config.total_bits(), Some(12));
    assert_eq!(study.points[0].config.optimizer.momentum, 0.0);
    assert_eq!(
        (study.settings.runs, study.settings.kind),
        (3, StudyKind::Training)
    );
    assert_eq!(study.title, "fig");
}

#[test]
fn the_stored_study_gives_the_same_study() {
    let dir = tempfile::tempdir().unwrap();
    let set = ["iterations=9", "study.runs=4"];
    let first = sources(dir.path(), STUDY, &set)
        .load_study(false)
        .unwrap()
        .unwrap();
    assert_eq!(first.settings.runs, 4);
    let second = sources(dir.path(), &first.toml, &[])
        .load_study(false)
        .unwrap()
        .unwrap();
    assert_eq!(second.toml, first.toml);
    assert_eq!(second.settings, first.settings);
    for (a, b) in first.points.iter().zip(&second.points) {
        assert_eq!(a.name(), b.name());
        assert_eq!(a.config, b.config);
    }
}

#[test]
fn a_plain_file_is_no_study_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let plain =
        "model.kind = 'least-squares'\nmodel.dimension = 10\nworkers = 2\nbudget.mean_bits = 4\n";
    let sources = sources(dir.path(), plain, &[]);
    assert!(sources.load_study(false).unwrap().is_none());
    let forced = sources.load_study(true).unwrap().unwrap();
    assert_eq!(forced.points.len(), 1);
    assert_eq!(forced.points[0].name(), "joint");
}

#[test]
fn one_scheme_of_a_study_is_an_experiment() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(dir.path(), STUDY, &[]);
    let error = sources.load().unwrap_err().to_string();
    assert!(
        error.contains("it is a study of `joint`, `OSGC, slow`"),
        "{error}"
    );
    sources.scheme = Some("OSGC, slow".into());
    let config = sources.load().unwrap().config;
    assert_eq!(config.scheme.kind.name(), "osgc");
    assert_eq!(config.optimizer.learning_rate, 0.1, "the first swept value");
    assert_eq!(config.total_bits(), Some(12));
    sources.set = vec!["optimizer.learning_rate=0.3".into()];
    assert_eq!(sources.load().unwrap().config.optimizer.learning_rate, 0.3);
    sources.scheme = Some("sgc".into());
    let error = sources.load().unwrap_err().to_string();
    assert!(
        error.contains("no scheme `sgc`; its labels are `joint`"),
        "{error}"
    );
}

#[test]
fn allocation_studies_have_a_point_per_allocator() {
    let dir = tempfile::tempdir().unwrap();
    let text = "model.kind = 'least-squares'\nmodel.dimension = 10\nworkers = 4\nbudget.mean_bits = 4\n\
                study.kind = 'allocation'\nstudy.residual_bits = [4, 8]\n";
    let study = sources(dir.path(), text, &[])
        .load_study(false)
        .unwrap()
        .unwrap();
    let labels: Vec<&str> = study.points.iter().map(|p| p.label.as_str()).collect();
    assert_eq!(
        labels,
        ["exact", "dp", "algorithm1", "continuous", "greedy", "equal"]
    );
}

/// Each pair: what is written, and what the message must say.
#[test]
fn mistakes_are_shown_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let base = "model.kind = 'least-squares'\nmodel.dimension = 10\nworkers = 4\n";
    for (text, wanted) in [
        ("study.rums = 3", "line 4, column 7"),
        ("study.runs = 0", "`study.runs = 0` ("),
        (
            "[[scheme]]\nkind = 'joynt'",
            "unknown scheme `joynt`, expected one of `joint`",
        ),
        (
            "[[scheme]]\nkind = 'joint'\nwith.optimiser.lr = 1",
            "line 6, column 6",
        ),
        (
            "[[scheme]]\nkind = 'joint'\nwith.scheme.method = 'dp'",
            "not under `with`",
        ),
        ("scheme = [1]", "each entry must be a table"),
        ("sweep.seed = 1", "line 4: sweep.seed must be a list"),
        ("sweep.seed = []", "sweep.seed must be a list"),
        (
            "sweep.sede = [1]",
            "line 4: sweep.sede = 1: unknown field `sede`",
        ),
        (
            "sweep.workers = [-1]",
            "sweep.workers = -1: invalid value: integer `-1`, expected a whole number from 0",
        ),
        ("sweep.optimizer = [0]", "expected a table"),
        ("sweep.seed = [1, 2]", "line 4 sweeps `seed`, which is not"),
        ("sweep.scheme.kind = ['sgc']", "list schemes as [[scheme]]"),
        ("study.stragglers = [3, 3]", "`study.stragglers = [3, 3]` ("),
        (
            "budget.mean_bits = 4\n[[scheme]]\nkind = 'sgc'\nlabel = ''",
            "a label is empty",
        ),
        (
            "budget.mean_bits = 4\n[[scheme]]\nkind = 'od'\nwith.codec.error_feedback = 'keep'",
            "(in the study's point od)",
        ),
        (
            "sweep.budget = [4]",
            "sweep.budget needs to know in which terms",
        ),
        (
            "budget.mean_bits = 4\nscheme = [{ kind = 'joint' }, { kind = 'joint' }]",
            "two points are called `joint`",
        ),
        (
            "budget.mean_bits = 4\nsweep.budget.mean_bits = [4, 1]",
            "needs at least 2 (2 bits for each of 4 workers) (in the study's point",
        ),
        (
            "budget.mean_bits = 4\nstudy.runs = 2\nevaluation.every = { seconds = 1 }",
            "averaged by iteration",
        ),
        (
            "budget.mean_bits = 4\nstudy.kind = 'allocation'",
            "find `study.residual_bits`",
        ),
    ] {
        let error = sources(dir.path(), &format!("{base}{text}"), &[])
            .load_study(false)
            .map(|study| study.map(|study| study.points.len()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(wanted),
            "{text}\n -> {error}\n wanted {wanted}"
        );
    }
    let error = sources(dir.path(), STUDY, &["budget.mean_bits=4"])
        .load_study(false)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("--set budget.mean_bits=4 fixes what line"),
        "{error}"
    );
}

#[test]
fn keys_of_another_kind_of_study_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let text = "model.kind = 'least-squares'\nmodel.dimension = 10\nworkers = 4\nbudget.mean_bits = 4\n\
                study.stragglers = [1]\nstudy.probe = 5\n";
    let study = sources(dir.path(), text, &[]).load_study(false);
    let warnings = study.unwrap().unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("`study.stragglers` ("));
    assert!(warnings[0].ends_with("fig.toml:5) has no effect with study.kind = \"training\""));
}
