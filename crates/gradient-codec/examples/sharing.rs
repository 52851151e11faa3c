//! What sharing a rotation does to the error of a sum: the normalised error of the mean of k workers'
//! messages, against the error of one message divided by k, which independent errors give.
//!
//! ```text
//! cargo run --release -p gradient-codec --example sharing
//! ```
//!
//! Worker i sends `sqrt(r) g + sqrt(1 - r) h_i`: normal vectors with correlation r, as gradients of
//! overlapping partitions have. The table is the one in docs/rotation.md.

use gradient_codec::{Expected, Frame, MessageId, Preset, accumulate_many};
use rand::RngExt;
use rand_distr::StandardNormal;

const N: usize = 1 << 17;
const WORKERS: u32 = 10;
const ITERATIONS: u64 = 20;

fn normal(stream: u64) -> Vec<f32> {
    let mut rng = counter_rng::rng(1, counter_rng::Purpose::Synthesis, 0, stream);
    (0..N).map(|_| rng.sample(StandardNormal)).collect()
}

fn squares(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum()
}

/// Squared error of the mean of all messages over the mean squared norm of one vector, and the same of
/// single messages; both as the mean over iterations.
fn errors(
    preset: Preset,
    bits: u8,
    vectors: &[Vec<f32>],
) -> Result<[f64; 2], Box<dyn std::error::Error>> {
    let compressor = preset.compressor(bits, N)?;
    let energy = vectors.iter().map(|x| squares(x)).sum::<f64>() / vectors.len() as f64;
    let (mut of_mean, mut of_one) = (0.0, 0.0);
    for iteration in 0..ITERATIONS {
        let mut total = vec![0f32; N];
        for (worker, x) in vectors.iter().enumerate() {
            let id = MessageId {
                seed: 3,
                iteration,
                worker: worker as u32,
            };
            let mut bytes = Vec::new();
            compressor.encode(&id, x, &[], &mut bytes)?;
            let frame = Frame::parse(&bytes, &Expected::new(&id, compressor, 0))?;
            let mut error: Vec<f32> = x.iter().map(|v| -v).collect();
            accumulate_many(&[(frame, 1.0)], &mut error);
            of_one += squares(&error) / f64::from(WORKERS);
            total
                .iter_mut()
                .zip(&error)
                .for_each(|(t, e)| *t += e / WORKERS as f32);
        }
        of_mean += squares(&total);
    }
    Ok([of_mean, of_one].map(|error| error / energy / ITERATIONS as f64))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "| preset | bits | correlation | error of one | error of the mean of {WORKERS} | over independent errors |"
    );
    println!("|---|---|---|---|---|---|");
    let common = normal(0);
    for text in [
        "rotated:512:round",
        "rotated:512:message",
        "eden:4096:round",
        "eden:4096:message",
    ] {
        let preset: Preset = text.parse()?;
        for bits in [1, 2, 4] {
            for correlation in [0.0f32, 0.5, 0.9, 1.0] {
                let worker = |worker: u32| {
                    let own = normal(u64::from(worker) + 1);
                    let (a, b) = (correlation.sqrt(), (1.0 - correlation).sqrt());
                    common.iter().zip(own).map(|(g, h)| a * g + b * h).collect()
                };
                let vectors: Vec<Vec<f32>> = (0..WORKERS).map(worker).collect();
                let [of_mean, of_one] = errors(preset, bits, &vectors)?;
                println!(
                    "| `{text}` | {bits} | {correlation} | {of_one:.4} | {of_mean:.5} | {:.2} |",
                    of_mean / of_one * f64::from(WORKERS)
                );
            }
        }
    }
    Ok(())
}
