//! Records where libtorch lies, so that the program runs without LD_LIBRARY_PATH, and which commit
//! it was built from, for the log of every run.

use std::process::Command;

include!("../torch-models/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../torch-models/rpath.rs");
    record_libtorch_rpath();
    record_commit();
}

/// Sets `GRADCODE_GIT_COMMIT`, and `GRADCODE_GIT_DIRTY` to 1 if sources differ from it. A build
/// outside a git checkout has neither.
fn record_commit() {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else {
        return;
    };
    println!("cargo:rustc-env=GRADCODE_GIT_COMMIT={commit}");
    // Whatever may change the answer: a commit, and an edit of any crate.
    for part in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", part]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    println!("cargo:rerun-if-changed=..");
    let dirty = git(&["status", "--porcelain", "--untracked-files=no", "--", ".."])
        .is_some_and(|text| !text.is_empty());
    println!("cargo:rustc-env=GRADCODE_GIT_DIRTY={}", u8::from(dirty));
}
