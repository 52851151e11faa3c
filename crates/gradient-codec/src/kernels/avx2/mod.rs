//! The loops of [`super::avx512`] on half rows, for CPUs with AVX2 and AES.

pub mod decode;
pub mod encode;
pub mod hadamard;
pub mod nearest;
mod pack;
mod table;
