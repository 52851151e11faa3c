// Shared by the build scripts of every package that links libtorch (`include!`d, so that none of
// them needs a build dependency): records where libtorch lies in the binaries, tests and examples,
// so that they run without LD_LIBRARY_PATH.

/// Gives every binary, test and example of the including package an rpath to `$LIBTORCH/lib`.
///
/// The link is resolved first: libtorch_cuda finds NVIDIA's libraries relative to its own
/// location, which only works from the real directory.
fn record_libtorch_rpath() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=LIBTORCH_LIB");
    let root = std::env::var_os("LIBTORCH_LIB").or_else(|| std::env::var_os("LIBTORCH"));
    let Some(root) = root else { return };
    match std::path::Path::new(&root).join("lib").canonicalize() {
        Ok(lib) => println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display()),
        Err(error) => println!(
            "cargo:warning=no libtorch at {}: {error}; run jobs/setup.sh",
            std::path::Path::new(&root).display()
        ),
    }
}
