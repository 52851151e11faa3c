//! Bad input on several ranks: one clear error, the documented code on every rank, and soon.

use std::fs;
use std::path::PathBuf;

use super::harness::{Finished, Group, Launch, PROGRAM, Scratch, in_shell, train};

const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 30;

/// Runs the command it is given and notes the exit code, as `codes/RANK`.
const NOTE_CODE: &str =
    "\"$@\"; code=$?; echo $code > codes/${OMPI_COMM_WORLD_RANK:-$PMI_RANK}; exit $code";

const GOOD: &str = "iterations = 5\nworkers = 4\nbudget.mean_bits = 4.0\n\
    model = { kind = \"least-squares\", dimension = 50 }\ndata.samples = 100\n";

/// Runs `experiment` on `ranks` ranks; it must fail with `code` on every rank and with one error
/// that contains all of `words`.
#[track_caller]
fn fails(scratch: &Scratch, ranks: usize, experiment: &str, code: i32, words: &[&str]) {
    let file = scratch.file("experiment.toml", experiment);
    let arguments = train(&file, &scratch.path("out"));
    let command = in_shell(NOTE_CODE, &arguments);
    fails_with(scratch, vec![(ranks, command)], code, words);
}

#[track_caller]
fn fails_with(scratch: &Scratch, groups: Vec<Group>, code: i32, words: &[&str]) -> Finished {
    let ranks: usize = groups.iter().map(|(ranks, _)| ranks).sum();
    let codes = scratch.directory("codes");
    let job = Launch::groups(scratch, groups).survive_exits().run();
    let error = job.error();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in\n{}", job.output);
    }
    assert!(job.seconds < 30.0, "{} s", job.seconds);
    for rank in 0..ranks {
        let noted = fs::read_to_string(codes.join(rank.to_string())).unwrap_or_default();
        assert_eq!(
            noted.trim(),
            code.to_string(),
            "rank {rank}\n{}",
            job.output
        );
    }
    job
}

#[test]
fn files_that_are_not_configurations() {
    let scratch = Scratch::new();
    fails(
        &scratch,
        3,
        "workers = \n",
        USAGE,
        &["experiment.toml", "line 1"],
    );
    let typo = format!("{GOOD}[optimizer]\nlearning_rat = 0.1\n");
    fails(
        &scratch,
        3,
        &typo,
        USAGE,
        &["experiment.toml", "unknown field `learning_rat`"],
    );
    fs::remove_file(scratch.path("experiment.toml")).expect("it is there");
    let arguments = train(&scratch.path("experiment.toml"), &scratch.path("out"));
    let command = in_shell(NOTE_CODE, &arguments);
    fails_with(
        &scratch,
        vec![(3, command)],
        USAGE,
        &["read ", "experiment.toml"],
    );
    assert!(!scratch.path("out").exists());
}

#[test]
fn values_that_no_run_can_have() {
    let scratch = Scratch::new();
    let few = GOOD.replace("mean_bits = 4.0", "total_bits = 7");
    let words = [
        "`budget.total_bits = 7`",
        "experiment.toml:3",
        "2 bits for each of 4 workers",
    ];
    fails(&scratch, 3, &few, USAGE, &words);
    for p in ["0.0", "1.0"] {
        let sure = format!("{GOOD}straggler.probabilities = [0.1, {p}, 0.1, 0.1]\n");
        let words = [
            "straggler.probabilities",
            "worker 1 has",
            "strictly between 0 and 1",
        ];
        fails(&scratch, 3, &sure, USAGE, &words);
    }
    assert!(!scratch.path("out").exists());
}

#[test]
fn too_many_ranks_and_too_few() {
    let scratch = Scratch::new();
    let many = GOOD.replace("workers = 4", "workers = 1");
    fails(
        &scratch,
        3,
        &many,
        USAGE,
        &["3 MPI ranks", "2 to 2 are valid for 1 worker"],
    );
    fails(
        &scratch,
        1,
        GOOD,
        USAGE,
        &["at least 2 MPI ranks", "hint: mpirun -n 5"],
    );
}

#[test]
fn a_run_that_is_there_already_is_left_alone() {
    let scratch = Scratch::new();
    let file = scratch.file("experiment.toml", GOOD);
    let arguments = train(&file, &scratch.path("out"));
    Launch::train(&scratch, 3, &arguments).run().expect_code(0);
    let read = |name: &str| fs::read(scratch.path("out").join(name)).expect("a run's file");
    let before = ["run.h5", "status.json", "config.toml", "model.safetensors"].map(read);
    fails(
        &scratch,
        3,
        GOOD,
        USAGE,
        &["holds a run already", "--overwrite"],
    );
    let after = ["run.h5", "status.json", "config.toml", "model.safetensors"].map(read);
    assert!(before == after);
    let mut again = arguments;
    again.push("--overwrite".to_owned());
    Launch::train(&scratch, 3, &again).run().expect_code(0);
}

fn detector(scratch: &Scratch) -> (PathBuf, String) {
    let text = format!(
        "iterations = 8\nworkers = 2\nbudget.mean_bits = 4.0\n\
         compute = {{ threads = 1, device = \"cpu\" }}\n\
         model = {{ kind = \"tiny-ssd\", width = 8, side = 64 }}\n\
         straggler = {{ rate = 5.0, deadline = 2.0 }}\n{}",
        scratch.shapes()
    );
    (scratch.file("experiment.toml", &text), text)
}

/// The data set is where the paths say, except for rank 2.
#[test]
fn data_that_one_rank_does_not_see() {
    let scratch = Scratch::new();
    let (file, _) = detector(&scratch);
    let elsewhere = scratch.directory("elsewhere");
    let arguments = train(&file, &scratch.path("out"));
    let codes = scratch.path("codes");
    let lost = format!(
        "cd {} && {}",
        elsewhere.display(),
        NOTE_CODE.replace("codes/", &format!("{}/", codes.display()))
    );
    let groups = vec![
        (2, in_shell(NOTE_CODE, &arguments)),
        (1, in_shell(&lost, &arguments)),
    ];
    let words = ["rank 2", "shapes/instances_train.json does not exist"];
    fails_with(&scratch, groups, ENVIRONMENT, &words);
}

#[test]
fn annotations_cut_short() {
    let scratch = Scratch::new();
    let (_, text) = detector(&scratch);
    let path = scratch.path("shapes/instances_train.json");
    let annotations = fs::read(&path).expect("annotations");
    fs::write(&path, &annotations[..annotations.len() / 2]).expect("a smaller file");
    fails(
        &scratch,
        3,
        &text,
        ENVIRONMENT,
        &["instances_train.json, line ", "column "],
    );
}

/// Found while training, by whoever needs the picture first.
#[test]
fn a_damaged_picture() {
    let scratch = Scratch::new();
    let (_, text) = detector(&scratch);
    let pictures = fs::read_dir(scratch.path("shapes/train")).expect("pictures");
    for picture in pictures.flatten() {
        let bytes = fs::read(picture.path()).expect("a picture");
        fs::write(picture.path(), &bytes[..bytes.len() / 3]).expect("a smaller file");
    }
    fails(&scratch, 3, &text, ENVIRONMENT, &["shapes/train/", ".jpg"]);
}

/// The program alone, without mpirun, says how to launch it.
#[test]
fn no_launcher() {
    let scratch = Scratch::new();
    let file = scratch.file("experiment.toml", GOOD);
    let output = std::process::Command::new(PROGRAM)
        .args(train(&file, &scratch.path("out")))
        .env_clear() // no launcher's variables
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(USAGE), "{text}");
    assert!(text.contains("hint: mpirun -n 5"), "{text}");
}
