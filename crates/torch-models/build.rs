//! Records where libtorch lies, for this package's tests and examples, and which version it is.

include!("rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=rpath.rs");
    record_libtorch_rpath();
    compile_autocast();
    if let Some(version) = libtorch_version() {
        println!("cargo:rustc-env=GRADCODE_LIBTORCH_VERSION={version}");
    }
}

/// The few lines of C++ that switch mixed precision on. Without $LIBTORCH there is nothing to compile
/// against; torch-sys has said so by then.
fn compile_autocast() {
    println!("cargo:rerun-if-changed=src/autocast.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let root = std::env::var_os("LIBTORCH_INCLUDE").or_else(|| std::env::var_os("LIBTORCH"));
    let Some(root) = root else { return };
    let include = std::path::Path::new(&root).join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(include)
        .file("src/autocast.cpp")
        .compile("gradcode_autocast");
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
