//! `gradcode simulate` on a model of one's own.

use crate::harness::{Scratch, failure, json};

/// A `.npy` file of little-endian numbers.
fn npy(scratch: &Scratch, name: &str, kind: &str, shape: &str, bytes: &[u8]) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(bytes);
    std::fs::write(scratch.path(name), file).unwrap();
}

#[test]
fn a_torchscript_model_learns_from_arrays() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("arrays")).unwrap();
    // The sign of the first coordinate is the class.
    let places = (0..256u32).map(|k| (k * 97 % 256) as f32 / 128.0 - 1.0);
    let points: Vec<u8> = places
        .clone()
        .flat_map(|x| [x, 0.5])
        .flat_map(f32::to_le_bytes)
        .collect();
    let classes: Vec<u8> = places
        .flat_map(|x| i64::from(x > 0.0).to_le_bytes())
        .collect();
    npy(&scratch, "arrays/points.npy", "<f4", "256, 2", &points);
    npy(&scratch, "arrays/spiral.npy", "<i8", "256,", &classes);
    let arrays = scratch.path("arrays");
    let out = scratch.path("run");
    let simulate = |held_out: &str| {
        let set = [
            "model.file=crates/torch-models/tests/data/spirals.pt".to_owned(),
            format!("data.train_arrays={arrays}"),
            format!("data.validation_arrays={held_out}"),
            "iterations=60".to_owned(),
            "data.batch=16".to_owned(),
        ];
        let command = [
            "simulate",
            "configs/torchscript.toml",
            "--json",
            "--overwrite",
            "--out",
        ];
        let mut arguments: Vec<String> = command.map(str::to_owned).into();
        arguments.push(out.clone());
        arguments.extend(set.into_iter().flat_map(|set| ["--set".to_owned(), set]));
        arguments
    };
    let good = simulate(&arrays);
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    let ended = json(&good);
    let loss = ended["metrics"]["loss"].as_f64().unwrap();
    assert!(loss < 0.4, "{ended}");
    let bad = simulate("none.npz");
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert!(failure(30, &bad).contains("none.npz"));
}
