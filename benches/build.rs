//! Records where libtorch lies, so that the benches run without LD_LIBRARY_PATH.

include!("../crates/torch-models/rpath.rs");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../crates/torch-models/rpath.rs");
    record_libtorch_rpath();
}
