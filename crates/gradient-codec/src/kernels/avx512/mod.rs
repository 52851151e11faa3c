//! Loops with AVX-512, VBMI2 and VAES in intrinsics: of plain Rust the compiler makes several times
//! as many instructions here.

pub mod decode;
pub mod encode;
pub mod hadamard;
pub mod nearest;
mod pack;
mod table;
