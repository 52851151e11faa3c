//! Records where libtorch lies, for this package's tests.

include!("../torch-models/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../torch-models/rpath.rs");
    record_libtorch_rpath();
}
