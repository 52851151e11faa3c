//! What compression saved and what it cost: bits against seconds.

use std::collections::BTreeMap;

use run_log::{Summary, quantile};
use serde::Serialize;

use super::Circumstances;
use super::columns::{Columns, or_zero};

/// Whether compressing was worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was compressed.
    Uncompressed,
    /// Nothing crossed a link, or the log does not say how fast.
    Unknown,
    /// Saved time on balance.
    Paid,
    /// Cost time on balance.
    Cost,
    /// Less than a thousandth of the rounds' time either way.
    Even,
}

/// Compression's balance.
#[derive(Clone, Debug, Serialize)]
pub struct Compression {
    /// On the links of this run.
    pub verdict: Verdict,
    /// Mean bits of an accepted frame, headers included.
    pub frame_bits: f64,
    /// Bits of the same message as plain f32.
    pub frame_bits_f32: f64,
    /// Bits per second of a frame's way to the master, from frames of different lengths where there
    /// are any, otherwise from all bits over all seconds; NaN if not logged.
    pub bandwidth: f64,
    /// Seconds of a frame's way that do not depend on its length; 0 if all frames are equally long.
    pub latency: f64,
    /// Seconds of each round's slowest frame, added up.
    pub wire: f64,
    /// The same for f32 frames at that bandwidth.
    pub wire_f32: f64,
    /// Seconds of encoding that the rounds waited for.
    pub encode: f64,
    /// Seconds of decoding. Plain frames would have to be added up too, so this is too much.
    pub decode: f64,
    /// wire_f32 - wire - encode - decode: positive if compression saved time.
    pub net: f64,
}

/// Bits of a frame's head and of the header message, nearly.
const OVERHEAD: f64 = 8.0 * 160.0;
/// A worker's width that means no compression.
const PLAIN: i64 = 32;

/// Weighs compression.
pub fn of(
    columns: &Columns,
    circumstances: &Circumstances,
    summary: &Summary,
    blocks: usize,
    encode: f64,
) -> Compression {
    let dimension = match summary.attributes.get("dimension") {
        Some(run_log::AttributeValue::Integer(l)) if *l > 0 => *l as f64,
        _ => f64::NAN,
    };
    let plain = 32.0 * (dimension / blocks.max(1) as f64).ceil() + OVERHEAD;
    let link = (!circumstances.simulated).then(|| link(columns)).flatten();
    let (latency, bandwidth) = link.unwrap_or((0.0, f64::NAN));
    let (mut wire, mut wire_f32) = (0.0, 0.0);
    let (mut bits, mut frames) = (0.0, 0u64);
    for t in 0..columns.len() {
        let (mut slowest, mut slowest_f32) = (0.0f64, 0.0f64);
        for i in 0..columns.workers {
            let (seconds, size) = (columns.wire[[t, i]], columns.bits[[t, i]]);
            if size > 0.0 {
                bits += size;
                frames += 1;
            }
            if seconds.is_finite() && size > 0.0 {
                slowest = slowest.max(seconds);
                slowest_f32 = slowest_f32.max(seconds + (plain - size) / bandwidth);
            }
        }
        wire += slowest;
        wire_f32 += slowest_f32;
    }
    let decode: f64 = columns.decode.iter().copied().map(or_zero).sum();
    let net = wire_f32 - wire - encode - decode;
    let widths = || {
        summary
            .per_worker
            .iter()
            .filter_map(|worker| worker.bits_per_coordinate)
    };
    let uncompressed = widths().next().is_some() && widths().all(|bits| bits == 0 || bits == PLAIN);
    let rounds = summary.totals.seconds.round;
    Compression {
        verdict: match net {
            _ if uncompressed => Verdict::Uncompressed,
            net if !net.is_finite() || !bandwidth.is_finite() => Verdict::Unknown,
            net if net.abs() < 1e-3 * rounds => Verdict::Even,
            net if net > 0.0 => Verdict::Paid,
            _ => Verdict::Cost,
        },
        frame_bits: bits / frames as f64,
        frame_bits_f32: plain,
        bandwidth,
        latency,
        wire: if bandwidth.is_finite() {
            wire
        } else {
            f64::NAN
        },
        wire_f32: if bandwidth.is_finite() {
            wire_f32
        } else {
            f64::NAN
        },
        encode,
        decode,
        net: if bandwidth.is_finite() { net } else { f64::NAN },
    }
}

/// Frames shorter than this, in bits, tell of latency alone: 64 KiB.
const SHORT: f64 = 8.0 * 65_536.0;

/// (seconds, bits per second) of a frame's way: a line through the median times of frames of equal
/// length, if these differ by half or more; otherwise all bits over all seconds. None where the time
/// does not grow with the length, or all frames are alike and too short to tell.
fn link(columns: &Columns) -> Option<(f64, f64)> {
    let mut by_length: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (&seconds, &bits) in columns.wire.iter().zip(&columns.bits) {
        if seconds.is_finite() && bits > 0.0 {
            by_length.entry(bits as u64).or_default().push(seconds);
        }
    }
    let total: f64 = by_length.values().flatten().sum();
    if total <= 0.0 {
        return None;
    }
    let all = by_length
        .iter()
        .map(|(&bits, list)| bits as f64 * list.len() as f64);
    let plain = (0.0, all.sum::<f64>() / total);
    let points: Vec<(f64, f64, f64)> = by_length
        .iter()
        .map(|(&bits, list)| {
            let median = quantile(list.iter().copied(), 0.5);
            (bits as f64, median, list.len() as f64)
        })
        .collect();
    let (shortest, longest) = (points.first()?.0, points.last()?.0);
    if longest < 1.5 * shortest {
        return (longest >= SHORT).then_some(plain);
    }
    let weight: f64 = points.iter().map(|point| point.2).sum();
    let mean = |value: &dyn Fn(&(f64, f64, f64)) -> f64| {
        points
            .iter()
            .map(|point| point.2 * value(point))
            .sum::<f64>()
            / weight
    };
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let covariance = mean(&|point| (point.0 - x) * (point.1 - y));
    let slope = covariance / mean(&|point| (point.0 - x).powi(2));
    let latency = y - slope * x;
    match slope {
        slope if slope > 0.0 && latency >= 0.0 => Some((latency, 1.0 / slope)),
        slope if slope > 0.0 => Some(plain),
        _ => None,
    }
}
