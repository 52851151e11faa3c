//! Presets as text.

use super::{BucketNorm, Preset, Widths};
use crate::quantizer::{OneBitScale, Sharing};
use std::fmt;
use std::str::FromStr;

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Qsgd
            | Self::F32
            | Self::Sign { group: 0 }
            | Self::TopK { entries: None }
            | Self::RandK { entries: None } => f.write_str(self.name()),
            Self::Sign { group } => write!(f, "{}:{group}", self.name()),
            Self::TopK { entries: Some(k) } | Self::RandK { entries: Some(k) } => {
                write!(f, "{}:{k}", self.name())
            }
            Self::OneBit { scale } => {
                let scale = match scale {
                    OneBitScale::Max => "max",
                    OneBitScale::L2 => "l2",
                };
                write!(f, "{}:{scale}", self.name())
            }
            Self::Rotated { bucket, sharing } | Self::Eden { bucket, sharing } => {
                let sharing = match sharing {
                    Sharing::Round => "round",
                    Sharing::Message => "message",
                };
                write!(f, "{}:{bucket}:{sharing}", self.name())
            }
            Self::QsgdBucketed { norm, bucket } => {
                let norm = match norm {
                    BucketNorm::Max => "max",
                    BucketNorm::L2 => "l2",
                };
                write!(f, "{}:{norm}:{bucket}", self.name())
            }
        }
    }
}

/// A text that names no preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "read preset `{text}`: use qsgd, f32, qsgd-bucketed, rotated, eden, sign, one-bit, top-k, rand-k, or with \
     settings e.g. qsgd-bucketed:max:512, rotated:512:round, eden:4096:message, sign:512, one-bit:l2, \
     top-k:20, rand-k:20"
)]
pub struct PresetError {
    /// The text.
    pub text: String,
}

impl FromStr for Preset {
    type Err = PresetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PresetError { text: text.into() };
        let preset = match text.split(':').collect::<Vec<_>>()[..] {
            ["qsgd"] => Self::Qsgd,
            ["f32"] => Self::F32,
            ["qsgd-bucketed"] => Self::default(),
            ["qsgd-bucketed", norm, bucket] => Self::QsgdBucketed {
                norm: match norm {
                    "max" => BucketNorm::Max,
                    "l2" => BucketNorm::L2,
                    _ => return Err(error()),
                },
                bucket: bucket.parse().map_err(|_| error())?,
            },
            ["rotated"] => Self::ROTATED,
            ["eden"] => Self::EDEN,
            [name @ ("rotated" | "eden"), bucket, sharing] => {
                let bucket = bucket.parse().map_err(|_| error())?;
                let sharing = match sharing {
                    "round" => Sharing::Round,
                    "message" => Sharing::Message,
                    _ => return Err(error()),
                };
                match name {
                    "rotated" => Self::Rotated { bucket, sharing },
                    _ => Self::Eden { bucket, sharing },
                }
            }
            ["sign"] => Self::Sign { group: 0 },
            ["sign", group] => Self::Sign {
                group: group.parse().map_err(|_| error())?,
            },
            ["one-bit"] | ["one-bit", "max"] => Self::OneBit {
                scale: OneBitScale::Max,
            },
            ["one-bit", "l2"] => Self::OneBit {
                scale: OneBitScale::L2,
            },
            ["top-k"] => Self::TopK { entries: None },
            ["rand-k"] => Self::RandK { entries: None },
            ["top-k", k] => Self::TopK {
                entries: Some(k.parse().map_err(|_| error())?),
            },
            ["rand-k", k] => Self::RandK {
                entries: Some(k.parse().map_err(|_| error())?),
            },
            _ => return Err(error()),
        };
        // Settings that no vector could have; the most coordinates refuse no number of entries.
        let bits = match preset.widths(usize::MAX) {
            Widths::Fixed(bits) => bits,
            Widths::Adjustable { min, .. } => min,
        };
        match preset.compressor(bits, u32::MAX as usize) {
            Ok(_) => Ok(preset),
            Err(_) => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for text in [
            "qsgd",
            "f32",
            "rotated:512:round",
            "rotated:8192:message",
            "eden:4096:message",
            "qsgd-bucketed:max:512",
            "qsgd-bucketed:l2:8192",
            "sign",
            "sign:512",
            "sign:65536",
            "one-bit:max",
            "one-bit:l2",
            "top-k",
            "top-k:2",
            "rand-k",
            "rand-k:4000000000",
        ] {
            assert_eq!(text.parse::<Preset>().unwrap().to_string(), text);
        }
        assert_eq!("qsgd-bucketed".parse(), Ok(Preset::default()));
        assert_eq!("rotated".parse(), Ok(Preset::ROTATED));
        assert_eq!("eden".parse(), Ok(Preset::EDEN));
        let scale = OneBitScale::Max;
        assert_eq!("one-bit".parse(), Ok(Preset::OneBit { scale }));
        for text in [
            "",
            "QSGD",
            "qsgd:max:512",
            "rotated:100:round",
            "rotated:512",
            "eden:512:worker",
            "qsgd-bucketed:max:513",
            "qsgd-bucketed:l1:512",
            "sign:0x200",
            "sign:513",
            "sign:max",
            "one-bit:l1",
            "top-k:0",
            "rand-k:-1",
            "rand-k:4294967296",
        ] {
            assert!(text.parse::<Preset>().is_err(), "{text}");
        }
    }
}
