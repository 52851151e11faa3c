//! Running the program, and what tests say of its output.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

pub const USAGE: i32 = 2;

/// The repository, which configurations' paths are relative to.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

pub fn gradcode(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradcode"))
        .args(arguments)
        .current_dir(root())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("the program starts")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Runs a command that succeeds and prints one JSON object.
pub fn json(arguments: &[&str]) -> Value {
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
pub fn failure(code: i32, arguments: &[&str]) -> String {
    let output = gradcode(arguments);
    let error = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{error}");
    assert_eq!(stdout(&output), "", "{arguments:?}");
    assert_eq!(error.matches("gradcode: error: ").count(), 1, "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// A file in a directory that lives as long as the test.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Scratch(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a temporary file");
        path.display().to_string()
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}
