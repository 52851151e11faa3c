//! Weights files as PyTorch programs leave them: `tools/parity/dump_checkpoints.py` wrote those in
//! `tests/data/checkpoints`.

use std::path::{Path, PathBuf};

use tch::{Device, Tensor};
use torch_models::NormKind;
use torch_models::flat::Flat;
use torch_models::init::Init;
use torch_models::layers::{Activation, ConvNorm, ConvShape, Linear};
use torch_models::store::{Buffer, Store};
use torch_models::weights::{Loaded, Tolerance, load};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/checkpoints")
        .join(name)
}

/// The script's model, with `classes` outputs, and its layers named under `prefix`.
struct Model {
    flat: Flat,
    buffers: Vec<Buffer>,
    values: Vec<f32>,
}

impl Model {
    fn new(prefix: &str, classes: i64) -> Self {
        let store = Store::new(Device::Cpu);
        let root = store.root();
        let shape = ConvShape::dense(3, 4, 3, 1);
        ConvNorm::new(
            &root.sub(format_args!("{prefix}backbone")),
            shape,
            Init::Constant(9.0),
            NormKind::Batch,
            Activation::Relu,
        )
        .unwrap();
        Linear::new(
            &root.sub(format_args!("{prefix}fc")),
            4,
            classes,
            Init::Constant(9.0),
        )
        .unwrap();
        let (parameters, buffers) = store.into_parts();
        let flat = Flat::new(parameters, Device::Cpu).unwrap();
        let values = flat.initial_parameters(1);
        Self {
            flat,
            buffers,
            values,
        }
    }

    fn load(&mut self, path: &Path, tolerance: Tolerance) -> Result<Loaded, String> {
        let (slots, values) = (self.flat.slots(), &mut self.values);
        load(path, slots, values, &mut self.buffers, tolerance).map_err(|error| error.to_string())
    }
}

/// The script's formula for a tensor of its state dict.
fn expected(number: usize, len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((7 * i + 3 * number) % 61) as f32 / 16.0 - 30.0 / 16.0)
        .collect()
}

const STRICT: Tolerance = Tolerance {
    ignore_head: false,
    partial: false,
};

#[test]
fn files_of_torch_and_safetensors_are_read_to_the_bit() {
    for (name, change) in [
        ("state_dict.pt", ""),
        ("reference.pth", "`module.` removed"),
        ("channels_last.pt", ""),
        ("half.safetensors", ""),
        ("bfloat16.safetensors", ""),
    ] {
        let mut model = Model::new("", 3);
        let loaded = model.load(&file(name), STRICT).unwrap();
        assert_eq!(
            (loaded.filled, loaded.change.as_str()),
            (7, change),
            "{name}"
        );
        assert_eq!((loaded.kept.len(), loaded.unused.len()), (0, 0), "{name}");
        // Buffers come between the parameters in a state dict.
        let wanted = [(0, 108), (1, 4), (2, 4), (5, 12), (6, 3)];
        let wanted: Vec<f32> = wanted
            .into_iter()
            .flat_map(|(number, len)| expected(number, len))
            .collect();
        assert_eq!(model.values, wanted, "{name}");
        for (buffer, number) in model.buffers.iter().zip([3, 4]) {
            let values = Vec::<f32>::try_from(&buffer.tensor).unwrap();
            assert_eq!(values, expected(number, 4), "{name}");
        }
    }
}

#[test]
fn a_new_head_and_missing_tensors_are_for_those_who_ask() {
    let mut model = Model::new("", 7);
    let before = model.values.clone();
    let message = model.load(&file("state_dict.pt"), STRICT).unwrap_err();
    for part in [
        "state_dict.pt",
        "fc.weight has shape [3, 4], the model's is [7, 4]",
        "fc.bias has shape [3], the model's is [7]",
        "--init-ignore-head",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(model.values, before);
    let new_head = Tolerance {
        ignore_head: true,
        ..STRICT
    };
    let loaded = model.load(&file("state_dict.pt"), new_head).unwrap();
    assert_eq!(loaded.kept, ["fc.bias", "fc.weight"]);
    assert_eq!(model.values[116..], before[116..]);
    assert_eq!(model.values[..108], expected(0, 108));
    let text = loaded.to_string();
    assert!(
        text.starts_with("5 of 7 tensors from ")
            && text.ends_with("; from the seed: fc.bias, fc.weight"),
        "{text}"
    );

    // Names of another model.
    let mut other = Model::new("other.", 3);
    let message = other.load(&file("state_dict.pt"), STRICT).unwrap_err();
    assert!(
        message.contains("no tensor of this model") && message.contains("other.backbone.0.weight"),
        "{message}"
    );

    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("backbone.safetensors");
    let tensors: Vec<(&str, Tensor)> = vec![
        (
            "backbone.0.weight",
            Tensor::from_slice(&expected(0, 108)).view([4, 3, 3, 3]),
        ),
        ("backbone.1.weight", Tensor::from_slice(&expected(1, 4))),
        ("ema.decay", Tensor::from_slice(&[0.5f32])),
    ];
    Tensor::write_safetensors(&tensors, &path).unwrap();
    let mut model = Model::new("", 3);
    let message = model.load(&path, STRICT).unwrap_err();
    assert!(
        message.contains("lacks 5 of the model's 7 tensors: backbone.1.bias, fc.weight")
            && message.contains("--init-partial"),
        "{message}"
    );
    let partial = Tolerance {
        partial: true,
        ..STRICT
    };
    let loaded = model.load(&path, partial).unwrap();
    assert_eq!((loaded.filled, loaded.kept.len()), (2, 5));
    assert_eq!(loaded.unused, ["ema.decay"]);
}

#[test]
fn files_that_cannot_be_used_say_why() {
    for (name, reason) in [
        ("before_1.6.pt", "from before version 1.6. Convert it"),
        ("module.pt", "save model.state_dict()"),
        (
            "hugging_face_resnet.json",
            "neither a safetensors file nor one of torch.save",
        ),
        ("nothing.pt", "No such file"),
    ] {
        let message = Model::new("", 3).load(&file(name), STRICT).unwrap_err();
        assert!(
            message.contains(name) && message.contains(reason),
            "{message}"
        );
    }
    let scratch = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file("reference.pth")).unwrap();
    let path = scratch.path().join("damaged.pth");
    // Truncated anywhere, or with any byte of the structure changed: an error or a load, no panic.
    for end in (0..whole.len()).step_by(97) {
        std::fs::write(&path, &whole[..end]).unwrap();
        assert!(Model::new("", 3).load(&path, STRICT).is_err());
    }
    for place in (0..whole.len()).step_by(13) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let _ = Model::new("", 3).load(&path, STRICT);
    }
}

/// GPT-2's output layer is its embedding: files hold it under one name, the other, or both.
#[test]
fn tied_tensors_are_taken_once() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("tied.safetensors");
    let tensor = |number| Tensor::from_slice(&expected(number, 12)).view([3, 4]);
    let write = |tensors: &[(&str, Tensor)]| Tensor::write_safetensors(tensors, &path).unwrap();
    let load = || {
        let store = Store::new(Device::Cpu);
        let scope = store.root().sub("transformer.wte");
        let _weight = scope
            .parameter("weight", &[3, 4], Init::Constant(0.0))
            .unwrap();
        let flat = Flat::new(store.into_parts().0, Device::Cpu).unwrap();
        let mut values = flat.initial_parameters(1);
        let loaded = load(&path, flat.slots(), &mut values, &mut [], STRICT);
        loaded
            .map(|loaded| (values, loaded.change))
            .map_err(|error| error.to_string())
    };
    write(&[("wte.weight", tensor(0)), ("h.0.attn.bias", tensor(1))]);
    assert_eq!(
        load().unwrap(),
        (expected(0, 12), "`transformer.` added".into())
    );
    write(&[
        ("lm_head.weight", tensor(0)),
        ("transformer.wte.weight", tensor(0)),
    ]);
    assert_eq!(load().unwrap(), (expected(0, 12), String::new()));
    write(&[
        ("lm_head.weight", tensor(0)),
        ("transformer.wte.weight", tensor(1)),
    ]);
    assert!(load().unwrap_err().contains("differ"));
}
