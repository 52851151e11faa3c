//! From the names in a file to those of a model.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What training wrappers put before every name: `DataParallel`, `torch.compile`, Lightning.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// How a library's names become a model's; `None` where a name has no counterpart.
type Convention = fn(&str) -> Option<Cow<'_, str>>;

const CONVENTIONS: [(&str, Convention); 4] = [
    ("", |name| Some(Cow::Borrowed(name))),
    // Hugging Face's files of a base model, without its head.
    ("`transformer.` added", |name| {
        Some(Cow::Owned(format!("transformer.{name}")))
    }),
    ("`transformer.` removed", |name| {
        name.strip_prefix("transformer.").map(Cow::Borrowed)
    }),
    ("Hugging Face's ResNet names", hugging_face_resnet),
];

/// Outputs tied to embeddings: files may have either, or both with equal numbers.
const TIED: [(&str, &str); 1] = [("lm_head.weight", "transformer.wte.weight")];

/// Layers that tell classes apart, by the start of their names.
const HEADS: [&str; 4] = [
    "head.classification_head.",
    "classification_head.",
    "classifier.",
    "fc.",
];

/// Where the tensors of a model are in a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Naming {
    /// By the model's name, the file's.
    pub(super) places: BTreeMap<String, String>,
    /// A second name in the file for a tensor that is tied to that one: (file's name of the tied
    /// one, model's name).
    pub(super) tied: Vec<(String, String)>,
    /// How names were changed, for people; empty if they were not.
    pub(super) change: String,
    /// Names of the file that the model has no use for.
    pub(super) unused: Vec<String>,
}

impl Naming {
    /// Finds the convention under which the file has most of the `model`'s names.
    pub(super) fn find(file: &[&str], model: &[&str]) -> Self {
        let wrapper = wrapper(file);
        let mut best = Self::default();
        let mut prefix = "";
        for candidate in ["", wrapper.as_str()] {
            for (change, convention) in CONVENTIONS {
                let places: BTreeMap<String, String> = file
                    .iter()
                    .filter_map(|name| {
                        let named = convention(name.strip_prefix(candidate)?)?;
                        let known = model.contains(&&*named);
                        known.then(|| (named.into_owned(), (*name).to_owned()))
                    })
                    .collect();
                if places.len() > best.places.len() {
                    best.places = places;
                    change.clone_into(&mut best.change);
                    prefix = candidate;
                }
            }
        }
        if !prefix.is_empty() {
            let removed = format!("`{prefix}` removed");
            best.change = match best.change.as_str() {
                "" => removed,
                more => format!("{removed}, {more}"),
            };
        }
        for (tied, origin) in TIED {
            let tied = format!("{prefix}{tied}");
            if !file.contains(&tied.as_str()) || !model.contains(&origin) {
                continue;
            }
            if best.places.contains_key(origin) {
                best.tied.push((tied, origin.to_owned()));
            } else {
                best.places.insert(origin.to_owned(), tied);
            }
        }
        best.unused = file
            .iter()
            .filter(|name| {
                let taken = best.places.values().any(|place| place == *name)
                    || best.tied.iter().any(|(tied, _)| tied == *name);
                !taken && !is_constant(name)
            })
            .map(|name| (*name).to_owned())
            .collect();
        best
    }
}

/// What training wrappers put before all names.
fn wrapper(file: &[&str]) -> String {
    let mut prefix = String::new();
    let next = |prefix: &str| {
        WRAPPERS
            .iter()
            .map(|wrapper| format!("{prefix}{wrapper}"))
            .find(|whole| !file.is_empty() && file.iter().all(|name| name.starts_with(whole)))
    };
    while let Some(longer) = next(&prefix) {
        prefix = longer;
    }
    prefix
}

/// Whether a tensor belongs to the layers that tell classes apart.
pub(super) fn is_head(name: &str) -> bool {
    HEADS.iter().any(|head| name.starts_with(head))
}

/// What state dicts hold beside parameters and statistics: counters, and GPT-2's causal masks.
fn is_constant(name: &str) -> bool {
    [".num_batches_tracked", ".attn.bias", ".attn.masked_bias"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// `resnet.encoder.stages.0.layers.1.layer.2.normalization.weight` is `layer1.1.bn3.weight`.
fn hugging_face_resnet(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_prefix("resnet.").unwrap_or(name);
    if let Some(leaf) = name.strip_prefix("classifier.1.") {
        return Some(format!("fc.{leaf}").into());
    }
    if let Some(leaf) = name.strip_prefix("embedder.embedder.convolution.") {
        return Some(format!("conv1.{leaf}").into());
    }
    if let Some(leaf) = name.strip_prefix("embedder.embedder.normalization.") {
        return Some(format!("bn1.{leaf}").into());
    }
    let mut parts = name.strip_prefix("encoder.stages.")?.splitn(4, '.');
    let stage: u32 = parts.next()?.parse().ok()?;
    let block = (parts.next()? == "layers").then(|| parts.next())??;
    let mut parts = parts.next()?.split('.');
    let (place, leaf) = match parts.next()? {
        "shortcut" => {
            let layer = match parts.next()? {
                "convolution" => 0,
                "normalization" => 1,
                _ => return None,
            };
            (format!("downsample.{layer}"), parts.next()?)
        }
        "layer" => {
            let number = parts.next()?.parse::<u32>().ok()? + 1;
            let layer = match parts.next()? {
                "convolution" => "conv",
                "normalization" => "bn",
                _ => return None,
            };
            (format!("{layer}{number}"), parts.next()?)
        }
        _ => return None,
    };
    Some(format!("layer{}.{block}.{place}.{leaf}", stage + 1).into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tch::Device;

    use super::*;
    use crate::layers::NormKind;
    use crate::models::resnet::{Depth, ResNet, Stem};
    use crate::store::Store;

    #[test]
    fn hugging_faces_resnets_have_a_name_for_every_tensor() {
        let names: HashMap<u32, Vec<String>> = serde_json::from_str(include_str!(
            "../../tests/data/checkpoints/hugging_face_resnet.json"
        ))
        .unwrap();
        for depth in [Depth::Eighteen, Depth::Fifty] {
            let store = Store::new(Device::Cpu);
            let norm = NormKind::Batch;
            ResNet::new(&store.root(), depth, Stem::Standard, norm, 10).unwrap();
            let (parameters, buffers) = store.into_parts();
            let model: Vec<&str> = parameters
                .iter()
                .map(|parameter| parameter.name.as_str())
                .chain(buffers.iter().map(|buffer| buffer.name.as_str()))
                .collect();
            let file: Vec<&str> = names[&depth.layers()].iter().map(String::as_str).collect();
            let naming = Naming::find(&file, &model);
            assert_eq!(naming.places.len(), model.len());
            assert_eq!(naming.unused, [""; 0]);
            assert_eq!(naming.change, "Hugging Face's ResNet names");
            assert_eq!(
                naming.places["layer1.1.bn2.running_var"],
                "resnet.encoder.stages.0.layers.1.layer.1.normalization.running_var"
            );
        }
    }

    #[test]
    fn wrappers_are_taken_off_one_after_the_other() {
        let file = ["module._orig_mod.fc.weight", "module._orig_mod.fc.bias"];
        let naming = Naming::find(&file, &["fc.weight", "fc.bias"]);
        assert_eq!(naming.places["fc.bias"], file[1]);
        assert_eq!(naming.change, "`module._orig_mod.` removed");
        // A model whose own names begin alike is left alone.
        let naming = Naming::find(&["model.a"], &["model.a"]);
        assert_eq!((naming.places.len(), naming.change.as_str()), (1, ""));
    }
}
