//! GPT-2 against Hugging Face's `GPT2LMHeadModel`: compared are names and shapes of all parameters,
//! logits, losses and all gradients. The example `gpt2_parity` compares a whole 124 M model.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use torch_models::flat::Flat;
use torch_models::models::gpt2::{Gpt2, Gpt2Config};
use torch_models::store::Store;

use crate::reference::{
    ParameterDump, Report, Strided, fill_parameters, host, relative, same_layout, uniform,
};

#[derive(Deserialize)]
struct Dump {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    layers: u32,
    heads: u32,
    width: u32,
    context: u32,
    vocabulary: u32,
    samples: i64,
    length: i64,
    logits: Strided,
    losses: Vec<f64>,
    parameters: Vec<ParameterDump>,
}

fn check(case: &Case) {
    tch::set_num_threads(1);
    let mut report = Report::default();
    let config = Gpt2Config {
        layers: case.layers,
        heads: case.heads,
        width: case.width,
        context: case.context,
        vocabulary: case.vocabulary,
    };
    let store = Store::new(Device::Cpu);
    let net = Gpt2::new(&store.root(), config).unwrap();
    let mut flat = Flat::new(store.into_parts().0, Device::Cpu).unwrap();
    same_layout(&flat, &case.parameters);
    fill_parameters(&mut flat, |_, _, _| 0.3);

    let count = case.samples * (case.length + 1);
    let window: Vec<i64> = (0..count as u32)
        .map(|i| ((f64::from(uniform(5000, i)) + 1.0) / 2.0 * f64::from(case.vocabulary)) as i64)
        .collect();
    let window = Tensor::from_slice(&window).view([case.samples, case.length + 1]);
    let tokens = window.narrow(1, 0, case.length);
    let targets = window.narrow(1, 1, case.length);
    report.compare(
        "logits",
        &host(&net.forward(&tokens).unwrap()),
        &case.logits,
    );
    let losses = net.losses(&tokens, &targets).unwrap() / case.length as f64;
    assert_eq!(losses.size(), [case.samples]);
    for (found, expected) in host(&losses).iter().zip(&case.losses) {
        report.limit("loss", relative(f64::from(*found), *expected));
    }
    losses.sum(Kind::Float).backward();
    report.gradients(&mut flat, &case.parameters);
    report.print(&format!("{config:?}"));
}

#[test]
fn gpt2_equals_transformers() {
    let dump: Dump = serde_json::from_str(include_str!("../data/transformers.json")).unwrap();
    assert_eq!(dump.cases.len(), 2);
    dump.cases.iter().for_each(check);
}
