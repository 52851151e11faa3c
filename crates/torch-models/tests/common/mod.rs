//! What the tests of learners share. Each test program takes some of it.
#![allow(dead_code)]

pub mod gradients;
pub mod models;
pub mod rounds;
pub mod shapes;
