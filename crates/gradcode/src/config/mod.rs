//! The configuration: layers of TOML, merged, checked, typed.
//!
//! Default -> experiment file -> cluster file -> `--set`: every layer is parsed on its own into a
//! struct whose keys are all optional ([`layer`]), so that a mistake is reported with file, line and
//! caret; then they are merged, remembering who set what ([`source`], [`origin`]); then the whole
//! is checked and typed ([`resolve`], [`settings`]). An experiment file may also be a study of many
//! ([`document`], [`study`]). `convert`, `delays`, `learning` and [`planning`] turn it into what the other crates take,
//! [`lateness`] says who is late how often, and [`phi`] how large quantization errors are. `deciding` says which
//! keys it follows from that there is no plan.
//!
//! Paths in a configuration are relative to the working directory.

mod check;
mod convert;
mod deciding;
mod delays;
mod document;
mod effect;
pub mod error;
pub mod lateness;
pub mod layer;
mod learning;
pub mod origin;
pub mod phi;
pub mod planning;
mod render;
pub mod resolve;
pub mod settings;
mod size;
pub mod source;
pub mod study;
#[cfg(test)]
mod testing;
pub mod values;

pub use error::{ConfigError, quoted};
pub use learning::Images;
pub use resolve::Resolved;
pub use settings::Config;
pub use source::{DEFAULT, Sources, from_text};
pub use study::{PointConfig, StudyConfig, StudySettings};
