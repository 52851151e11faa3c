//! Compares GPT-2 with what `tools/parity/dump_transformers.py --full FILE` wrote, element by element:
//!
//! ```sh
//! cargo run --release -p torch-models --example gpt2_parity FILE
//! ```
//!
//! Prints the largest differences of logits, losses and gradients; fails where they are not rounding.

use std::collections::HashMap;
use std::error::Error;

use tch::{Device, Kind, Tensor};
use torch_models::flat::Flat;
use torch_models::models::gpt2::{Gpt2, Gpt2Config};
use torch_models::store::Store;

/// Relative to the largest element.
const TOLERANCE: f64 = 1e-4;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: gpt2_parity FILE (from tools/parity/dump_transformers.py --full FILE)")?;
    tch::set_num_threads(1);
    let file: HashMap<String, Tensor> = Tensor::read_safetensors(&path)?.into_iter().collect();
    let tensor = |name: &str| file.get(name).ok_or_else(|| format!("{path} lacks {name}"));
    let sizes = Vec::<i64>::try_from(tensor("sizes")?)?;
    let &[layers, heads, width, context, vocabulary] = &sizes[..] else {
        return Err(format!("{path} has sizes {sizes:?}").into());
    };
    let config = Gpt2Config {
        layers: layers.try_into()?,
        heads: heads.try_into()?,
        width: width.try_into()?,
        context: context.try_into()?,
        vocabulary: vocabulary.try_into()?,
    };
    let store = Store::new(Device::Cpu);
    let model = Gpt2::new(&store.root(), config)?;
    let mut flat = Flat::new(store.into_parts().0, Device::Cpu)?;
    let mut parameters = vec![0f32; flat.dimension()];
    for slot in flat.slots() {
        let weight = tensor(&format!("weight/{}", slot.name))?;
        if weight.size() != slot.shape {
            return Err(format!("{} is {:?}", slot.name, weight.size()).into());
        }
        weight.copy_data(&mut parameters[slot.offset..][..slot.len], slot.len);
    }
    flat.set_parameters(&parameters)?;

    let window = tensor("window")?;
    let length = window.size2()?.1 - 1;
    let (tokens, targets) = (window.narrow(1, 0, length), window.narrow(1, 1, length));
    let logits = tch::no_grad(|| model.forward(&tokens))?;
    let mut worst = 0f64;
    let mut report = |name: &str, ours: &Tensor, theirs: &Tensor| {
        let largest = |t: &Tensor| t.abs().max().double_value(&[]);
        let (difference, size) = (largest(&(ours - theirs)), largest(theirs));
        worst = worst.max(difference / size);
        println!("{name}: {difference:.1e} of {size:.3}");
        difference / size
    };
    report("logits", &logits, tensor("logits")?);
    drop(logits);
    let losses = model.losses(&tokens, &targets)? / length as f64;
    losses.sum(Kind::Float).backward();
    report("losses", &losses.detach(), tensor("losses")?);
    flat.check()?;
    let mut squares = (0.0, 0.0);
    for slot in flat.slots() {
        let theirs = tensor(&format!("gradient/{}", slot.name))?;
        let ours = flat
            .gradients()
            .narrow(0, slot.offset as i64, slot.len as i64)
            .view(slot.shape.as_slice());
        report(&slot.name, &ours, theirs);
        let square = |t: &Tensor| t.square().sum(Kind::Double).double_value(&[]);
        squares = (
            squares.0 + square(&(&ours - theirs)),
            squares.1 + square(theirs),
        );
    }
    println!(
        "{} parameters; gradient: {:.1e} relative in the l2 norm; largest difference of all: {worst:.1e} of the \
         largest element",
        flat.dimension(),
        (squares.0 / squares.1).sqrt(),
    );
    if worst < TOLERANCE {
        Ok(())
    } else {
        Err("the models differ".into())
    }
}
