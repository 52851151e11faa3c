//! The compressor, and what goes with it.

use gradient_code::schemes::{CompressorTraits, CompressorWidths};
use gradient_codec::Widths;

use super::super::error::ConfigError;
use super::super::resolve::Merged;
use super::super::settings::Config;
use super::super::values::{CodecPreset, Feedback, Inject, Ridge};
use super::{Checked, non_negative, positive, require};

/// Coordinates to judge a compressor by where the model's size is not known yet.
const SOME_DIMENSION: usize = 1_000_000;

impl Config {
    /// Whether messages are unbiased: shrunk ones are not, nor those that carry a memory.
    pub fn sends_unbiased(&self) -> bool {
        !self.quantizes()
            || (self.preset().unbiased()
                && !self.codec.shrink
                && self.codec.error_feedback == Feedback::None)
    }

    /// The compressor with what is wrapped around it, for messages.
    pub fn codec_text(&self) -> String {
        let mut text = self.preset().to_string();
        if self.codec.shrink {
            text.push_str(", shrunk");
        }
        if self.codec.error_feedback != Feedback::None {
            text.push_str(&format!(
                ", error feedback \"{}\"",
                self.codec.error_feedback
            ));
        }
        text
    }

    /// Whether the scheme goes with the compressor, for a model of `dimension` coordinates.
    ///
    /// # Errors
    /// Why not.
    pub fn pair(&self, dimension: usize) -> Result<(), String> {
        self.pair_with(dimension, self.codec.error_feedback)
    }

    fn pair_with(&self, dimension: usize, feedback: Feedback) -> Result<(), String> {
        let inputs = &self.scheme.options;
        let traits = self.compressor_traits(dimension, feedback);
        self.scheme.kind.scheme().allows(inputs, &traits)
    }

    fn compressor_traits(&self, dimension: usize, feedback: Feedback) -> CompressorTraits {
        let preset = self.preset();
        let (widths, bits) = match preset.widths(dimension) {
            Widths::Fixed(bits) => (CompressorWidths::Fixed(bits), bits),
            // Judged by the mean width.
            Widths::Adjustable { min, max } => {
                let mean = self.total_bits().unwrap_or(0) / self.workers as u64;
                let bits = u8::try_from(mean).unwrap_or(max).clamp(min, max);
                (CompressorWidths::Adjustable, bits)
            }
        };
        let shrunk = self.codec.shrink && preset.unbiased();
        CompressorTraits {
            name: preset.name().to_owned(),
            unbiased: preset.unbiased() && !shrunk,
            contractive: shrunk || preset.contractive(bits, dimension),
            widths,
            error_feedback: feedback != Feedback::None,
        }
    }

    /// What to know of a memory that may grow without bound; `None` if it cannot.
    pub(in crate::config) fn unstable_feedback(&self) -> Option<String> {
        let dimension = self.known_dimension().unwrap_or(SOME_DIMENSION);
        let feedback = self.codec.error_feedback;
        let unstable = self.quantizes()
            && feedback != Feedback::None
            && !self.compressor_traits(dimension, feedback).contractive;
        unstable.then(|| {
            format!(
                "error feedback with {} may diverge: in the worst case a message leaves out more than it carries; \
                 codec.shrink = true keeps the memory bounded",
                self.preset()
            )
        })
    }
}

pub(super) fn codec(config: &Config, merged: &Merged) -> Checked {
    let codec = &config.codec;
    let bucket = codec.bucket;
    require(
        merged,
        "codec.bucket",
        bucket.is_power_of_two() && (512..=8192).contains(&bucket),
        "must be 512, 1024, 2048, 4096 or 8192",
    )?;
    let group = codec.group;
    require(
        merged,
        "codec.group",
        group == 0 || (group.is_power_of_two() && (512..=65536).contains(&group)),
        "must be a power of two from 512 to 65536, or 0 for the whole vector",
    )?;
    let known = config.known_dimension();
    let sparse = matches!(codec.preset, CodecPreset::TopK | CodecPreset::RandK);
    if let (true, Some(dimension)) = (sparse, known) {
        require(
            merged,
            "codec.entries",
            codec.entries <= dimension as u64,
            &format!("can be at most the {dimension} coordinates of the model"),
        )?;
    }
    if codec.error_feedback == Feedback::Lost && config.straggler.inject == Inject::Delay {
        return Err(merged.conflict(
            "codec.error_feedback",
            "straggler.inject",
            "\"lost\" remembers what late workers computed, and under \"delay\" they do not compute; take \
             inject = \"erase\", or error_feedback = \"keep\"",
        ));
    }
    if !config.quantizes() {
        return Ok(());
    }
    let dimension = known.unwrap_or(SOME_DIMENSION);
    config.pair(dimension).map_err(|reason| {
        let other = match codec.error_feedback {
            Feedback::None => Feedback::Keep,
            Feedback::Keep | Feedback::Lost => Feedback::None,
        };
        // The key that was set and whose change would help.
        let set = merged.origins.contains("codec.error_feedback");
        let key = match config.pair_with(dimension, other) {
            Ok(()) if set => "codec.error_feedback",
            _ => "codec.preset",
        };
        merged.conflict("scheme.kind", key, reason)
    })
}

/// Options of schemes that make no sense whatever the scheme.
pub(super) fn scheme(config: &Config, merged: &Merged) -> Result<(), ConfigError> {
    let scheme = &config.scheme.options;
    require(
        merged,
        "scheme.load",
        positive(scheme.load),
        "must be a number above 0",
    )?;
    require(
        merged,
        "scheme.blocks",
        scheme.blocks >= 1,
        "needs at least 1",
    )?;
    require(
        merged,
        "scheme.epsilon",
        (0.0..1.0).contains(&scheme.epsilon),
        "must be at least 0 and below 1",
    )?;
    let ridge = match scheme.ridge {
        Ridge::Value(ridge) => ridge,
        Ridge::Noise => 0.0,
    };
    require(
        merged,
        "scheme.ridge",
        non_negative(ridge),
        "must be a number, at least 0, or \"noise\"",
    )
}
