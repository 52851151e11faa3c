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

#[test]
fn every_figure_has_a_file_that_plans() {
    let mut failures = Vec::new();
    let files = [files("paper"), files("traps")].concat();
    for file in &files {
        match dry_run(file) {
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
    let names: Vec<&str> = files
        .iter()
        .filter_map(|file| file.file_stem()?.to_str())
        .collect();
    for wanted in [
        "song-choi-fig1a",
        "song-choi-fig3f-small",
        "osgc-k100-tau1.5",
        "all-schemes",
    ] {
        assert!(names.contains(&wanted), "{wanted}");
    }
    // a figure that needs a cluster has a version that does not
    for name in &names {
        let large = std::fs::read_to_string(&files[names.iter().position(|n| n == name).unwrap()]);
        if large.is_ok_and(|text| text.contains("data/coco/") || text.contains("data/mnist/")) {
            let small = format!("{name}-small");
            assert!(names.contains(&small.as_str()), "{small}");
        }
    }
}
