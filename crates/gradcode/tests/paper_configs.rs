//! The experiment files under `configs/`: every one of them is read, checked and planned.

use std::path::{Path, PathBuf};
use std::process::Command;

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

/// `gradcode simulate FILE --dry-run --json`; the file's points, or what it said on standard error.
fn dry_run(file: &Path) -> Result<serde_json::Value, String> {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gradcode"))
        .arg("simulate")
        .arg(file)
        .args(["--dry-run", "--json", "--out"])
        .arg(scratch.path().join("run"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() || said.contains("has no effect") {
        return Err(format!("{}: {said}", file.display()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{}: {error}", file.display()))
}

/// Every file of `folder` whose name starts with `start`.
fn all_plan(folder: &str, start: &str) {
    let mut failures = Vec::new();
    let mut seen = 0;
    for file in files(folder) {
        if !name(&file).starts_with(start) {
            continue;
        }
        seen += 1;
        match dry_run(&file) {
            Ok(planned) => {
                let points = planned["points"].as_array().map_or(0, Vec::len);
                if points < 2 {
                    failures.push(format!("{}: {points} points", file.display()));
                }
            }
            Err(message) => failures.push(message),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(seen > 0, "no file {folder}/{start}*");
}

fn name(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

#[test]
fn song_and_choi_plans() {
    all_plan("paper", "song-choi-");
}

#[test]
fn osgc_plans() {
    all_plan("paper", "osgc-");
}

#[test]
fn ce_agc_plans() {
    all_plan("paper", "ce-agc-");
}

#[test]
fn coco_ef_and_the_table_over_all_schemes_plan() {
    all_plan("paper", "coco-ef-");
    all_plan("paper", "all-schemes");
}

#[test]
fn traps_plan() {
    all_plan("traps", "");
}

/// A figure that needs data sets of its own has a version that does not.
#[test]
fn large_figures_have_small_versions() {
    let files = files("paper");
    let names: Vec<String> = files.iter().map(|file| name(file)).collect();
    let mut large = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        if text.contains("data/coco/") || text.contains("= \"data/mnist/") {
            large += 1;
            assert!(
                names.contains(&format!("{}-small", name(file))),
                "{}",
                file.display()
            );
        }
    }
    assert!(large >= 16, "{large}");
}
