//! What the comparisons with torchvision share: the hash that fills both sides, tensors as their norm
//! and some values, and differences with their tolerances.

use serde::Deserialize;
use tch::Tensor;
use torch_models::flat::Flat;
use torch_models::store::Buffer;

/// Relative, in the l2 norm.
pub const TOLERANCE: f64 = 1e-5;
/// The same for one tensor's gradient: batch norm over the four pixels of the last maps amplifies
/// rounding, differently on each kind of CPU.
pub const TENSOR_TOLERANCE: f64 = 1e-3;

/// The norm of a tensor, and every `(len / count)`-th value of it.
#[derive(Deserialize)]
pub struct Strided {
    pub norm: f64,
    pub values: Vec<f32>,
}

#[derive(Deserialize)]
pub struct ParameterDump {
    pub name: String,
    pub shape: Vec<i64>,
    pub gradient: Strided,
}

#[derive(Deserialize)]
pub struct RunningDump {
    pub name: String,
    #[serde(flatten)]
    pub value: Strided,
}

/// Multiples of 2^-23 in [-1, 1): the hash of the Python side.
pub fn uniform(stream: u32, index: u32) -> f32 {
    let mut x = index
        .wrapping_mul(0x9E37_79B1)
        .wrapping_add(stream.wrapping_mul(0x85EB_CA77).wrapping_add(0x1656_67B1));
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^= x >> 16;
    (x >> 8) as f32 * 2f32.powi(-23) - 1.0
}

pub fn filled(stream: u32, len: usize, centre: f64, scale: f64) -> Vec<f32> {
    (0..len as u32)
        .map(|index| centre as f32 + scale as f32 * uniform(stream, index))
        .collect()
}

/// Fills parameters as the Python side does: weights of two dimensions and more about 0, scaled by
/// `scale_of(name, shape, fan-in)`, those of norms about 1, biases about 0.
pub fn fill_parameters(flat: &mut Flat, scale_of: impl Fn(&str, &[i64], f64) -> f64) {
    let mut values = Vec::with_capacity(flat.dimension());
    for (stream, slot) in (0u32..).zip(flat.slots()) {
        let shape = slot.shape.as_slice();
        let (centre, scale) = match shape {
            [outputs, _, ..] => {
                let fan_in = (slot.len as i64 / outputs) as f64;
                (0.0, scale_of(&slot.name, shape, fan_in))
            }
            // Of one-dimensional weights only those of norms exist; everything else is a bias.
            _ if slot.name.ends_with(".weight") => (1.0, 0.1),
            _ => (0.0, 0.1),
        };
        values.extend(filled(stream, slot.len, centre, scale));
    }
    flat.set_parameters(&values).unwrap();
}

/// Images of `side` pixels as the Python side fills them.
pub fn images(count: usize, side: i64, scale: f64) -> Tensor {
    let values = filled(5000, count * 3 * (side * side) as usize, 0.0, scale);
    Tensor::from_slice(&values).view([count as i64, 3, side, side])
}

/// Fills running statistics: means about 0, variances about 1.
pub fn reset_statistics(buffers: &mut [Buffer]) {
    for (stream, buffer) in (1000u32..).zip(buffers) {
        let variance = buffer.name.ends_with("var");
        let (centre, scale) = if variance { (1.0, 0.5) } else { (0.0, 0.1) };
        let values = filled(stream, buffer.tensor.numel(), centre, scale);
        buffer.tensor.copy_(&Tensor::from_slice(&values));
    }
}

/// Collects the largest differences for the printout.
#[derive(Default)]
pub struct Report(Vec<(String, f64)>);

impl Report {
    /// Relative l2 difference of the samples and of the norms.
    pub fn compare(&mut self, what: &str, found: &[f32], expected: &Strided) {
        let (samples, norms) = differences(found, expected);
        self.limit(what, samples / expected.norm);
        self.limit(&format!("norm of {what}"), norms / expected.norm);
    }

    pub fn limit(&mut self, what: &str, difference: f64) {
        self.limit_to(TOLERANCE, what, difference);
    }

    pub fn limit_to(&mut self, tolerance: f64, what: &str, difference: f64) {
        assert!(
            difference <= tolerance,
            "{what}: relative difference {difference:e}"
        );
        self.0.push((what.to_owned(), difference));
    }

    /// The accumulated gradient: the whole of it, and of every tensor. Some are zero but for rounding,
    /// such as that of a shift which a following batch norm removes: hence the floor.
    pub fn gradients(&mut self, flat: &mut Flat, expected: &[ParameterDump]) {
        flat.check().unwrap();
        let mut gradient = vec![0f32; flat.dimension()];
        flat.read_gradients(&mut gradient).unwrap();
        let whole = norm(&gradient);
        let mut squares = 0.0;
        for (slot, expected) in flat.slots().iter().zip(expected) {
            let values = &gradient[slot.offset..slot.offset + slot.len];
            let (samples, norms) = differences(values, &expected.gradient);
            squares += samples.powi(2);
            let size = expected.gradient.norm.max(1e-3 * whole);
            let name = format!("gradient of {}", slot.name);
            self.limit_to(TENSOR_TOLERANCE, &name, samples.max(norms) / size);
        }
        self.limit("whole gradient", squares.sqrt() / whole);
    }

    pub fn print(mut self, title: &str) {
        self.0.sort_by(|a, b| b.1.total_cmp(&a.1));
        let (name, worst) = &self.0[0];
        let exact = self.0.iter().filter(|entry| entry.1 == 0.0).count();
        println!(
            "{title}: {} comparisons, {exact} equal to the last digit, \
             largest relative difference {worst:.1e} ({name})",
            self.0.len()
        );
    }
}

/// The l2 difference of a tensor to what was expected, estimated from the samples, and the
/// difference of the norms.
pub fn differences(found: &[f32], expected: &Strided) -> (f64, f64) {
    let count = expected.values.len();
    let step = (found.len() / count).max(1);
    let squares = found
        .iter()
        .step_by(step)
        .zip(&expected.values)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum::<f64>();
    let samples = (squares * found.len() as f64 / count as f64).sqrt();
    (samples, (norm(found) - expected.norm).abs())
}

pub fn norm(values: &[f32]) -> f64 {
    values
        .iter()
        .map(|&v| f64::from(v).powi(2))
        .sum::<f64>()
        .sqrt()
}

pub fn host(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().reshape([-1])).unwrap()
}

/// Names, order and shapes of the parameters are PyTorch's.
pub fn same_layout(flat: &Flat, expected: &[ParameterDump]) {
    let found: Vec<_> = flat
        .slots()
        .iter()
        .map(|slot| (slot.name.as_str(), slot.shape.as_slice()))
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|p| (p.name.as_str(), p.shape.as_slice()))
        .collect();
    assert_eq!(found, expected, "state_dict names, order and shapes");
}

pub fn relative(found: f64, expected: f64) -> f64 {
    (found - expected).abs() / expected.abs()
}
