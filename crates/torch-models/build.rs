//! Records where libtorch lies, for this package's tests and examples, and which version it is.

include!("rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=rpath.rs");
    record_libtorch_rpath();
    if let Some(version) = libtorch_version() {
        println!("cargo:rustc-env=GRADCODE_LIBTORCH_VERSION={version}");
    }
}

/// The version that libtorch's files state: `build-version` in the C++ archives, `version.py` in
/// the Python wheels.
fn libtorch_version() -> Option<String> {
    let root = std::path::PathBuf::from(std::env::var_os("LIBTORCH")?);
    if let Ok(version) = std::fs::read_to_string(root.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    let text = std::fs::read_to_string(root.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    Some(line.split('\'').nth(1)?.to_owned())
}
