//! What is trained, and on what.

use super::super::error::ConfigError;
use super::super::resolve::Merged;
use super::super::settings::{Architecture, Config, Gpt2};
use super::super::values::{Norm, Stem};
use super::{Checked, non_negative, positive, require};

pub(super) fn model_and_data(config: &Config, merged: &Merged) -> Checked {
    let data = &config.data;
    require(
        merged,
        "data.loader_threads",
        data.loader_threads >= 1,
        "needs at least 1",
    )?;
    require(
        merged,
        "model.l2",
        non_negative(config.model.l2),
        "must be a number, at least 0",
    )?;
    require(
        merged,
        "data.noise",
        non_negative(data.noise),
        "must be a number, at least 0",
    )?;
    require(
        merged,
        "data.feature_sd",
        positive(data.feature_sd),
        "must be a number above 0",
    )?;
    require(
        merged,
        "data.initial_sd",
        non_negative(data.initial_sd),
        "must be a number, at least 0 (0 starts at the origin)",
    )?;
    require(
        merged,
        "model.dimension",
        config.model.planned_dimension != Some(0),
        "needs at least 1",
    )?;
    require(
        merged,
        "model.classes",
        config.model.classes.is_none_or(|c| c >= 2),
        "needs at least 2: the background and one more",
    )?;
    image_source(config, merged)?;
    match config.model.architecture {
        Architecture::TinySsd { width, side } => {
            let even = (4..=1024).contains(&width) && width % 2 == 0;
            require(
                merged,
                "model.width",
                even,
                "must be an even number from 4 to 1024",
            )?;
            let multiple = (32..=4096).contains(&side) && side % 32 == 0;
            require(
                merged,
                "model.side",
                multiple,
                "must be a multiple of 32 from 32 to 4096 pixels",
            )
        }
        Architecture::Cnn { width, side } => {
            require(
                merged,
                "model.width",
                (4..=1024).contains(&width),
                "must be from 4 to 1024",
            )?;
            require(
                merged,
                "model.side",
                (16..=4096).contains(&side),
                "must be from 16 to 4096 pixels",
            )
        }
        Architecture::SsdLite { side, norm } => {
            require(
                merged,
                "model.side",
                (32..=4096).contains(&side),
                "must be from 32 to 4096 pixels",
            )?;
            norm_fits(norm, config, merged)
        }
        Architecture::ResNet18 { side, norm, stem }
        | Architecture::ResNet50 { side, norm, stem } => {
            let least = if stem == Stem::Small { 16 } else { 32 };
            require(
                merged,
                "model.side",
                (least..=4096).contains(&side),
                &format!("must be from {least} to 4096 pixels"),
            )?;
            norm_fits(norm, config, merged)
        }
        Architecture::LeastSquares { dimension }
        | Architecture::LogisticRegression { dimension } => {
            require(
                merged,
                "model.dimension",
                dimension >= 1,
                "needs at least 1",
            )?;
            enough_samples(config, merged)
        }
        Architecture::Gpt2(sizes) => {
            let length = data.length.unwrap_or(sizes.context);
            require(
                merged,
                "data.length",
                (1..=sizes.context).contains(&length),
                &format!("must be from 1 to the context, {}", sizes.context),
            )?;
            gpt2(sizes, merged)
        }
        Architecture::TorchScript => Ok(()),
        Architecture::Mlp { hidden, .. } => {
            require(merged, "model.hidden", hidden >= 1, "needs at least 1")?;
            if data.train.is_some() {
                return Ok(());
            }
            enough_samples(config, merged)
        }
    }
}

fn gpt2(sizes: Gpt2, merged: &Merged) -> Checked {
    for (key, value, most) in [
        ("model.layers", sizes.layers, 1000),
        ("model.heads", sizes.heads, 1000),
        ("model.width", sizes.width, 1 << 16),
        ("model.context", sizes.context, 1 << 20),
        (
            "model.vocab",
            sizes.vocab.unwrap_or(1),
            tokens::LARGEST_VOCABULARY,
        ),
    ] {
        let valid = format!("must be from 1 to {most}");
        require(merged, key, (1..=most).contains(&value), &valid)?;
    }
    if !sizes.width.is_multiple_of(sizes.heads) {
        return Err(merged.conflict(
            "model.width",
            "model.heads",
            format!(
                "{} heads do not divide a width of {}",
                sizes.heads, sizes.width
            ),
        ));
    }
    Ok(())
}

/// Whether batch norm has samples to normalize over, and frozen batch norm statistics.
fn norm_fits(norm: Norm, config: &Config, merged: &Merged) -> Checked {
    if norm == Norm::Batch && config.data.batch == 1 {
        return Err(merged.conflict(
            "data.batch",
            "model.norm",
            "batch norm needs at least 2 images per partition, better 8; or take norm = \"group\"",
        ));
    }
    if norm == Norm::Frozen && config.model.weights.is_none() {
        return Err(ConfigError::Missing {
            key: "model.weights".into(),
            valid: "frozen batch norm keeps the statistics of a weights file; without one take \
                        norm = \"group\" or \"batch\""
                .into(),
        });
    }
    Ok(())
}

/// Images come from annotations or from folders, and folders are for classifiers.
fn image_source(config: &Config, merged: &Merged) -> Checked {
    let data = &config.data;
    let pairs = [
        (
            "data.train_folder",
            "data.train_annotations",
            &data.train_folder,
            &data.train,
        ),
        (
            "data.validation_folder",
            "data.validation_annotations",
            &data.validation_folder,
            &data.validation,
        ),
    ];
    for (folder, annotations, in_folder, annotated) in pairs {
        if in_folder.is_some() && annotated.is_some() {
            return Err(merged.conflict(
                folder,
                annotations,
                "images come from a directory per class or from annotations, not from both",
            ));
        }
    }
    let architecture = &config.model.architecture;
    let detector = architecture.sees_images() && !architecture.classifies_images();
    if detector && data.train_folder.is_some() {
        return Err(merged.conflict(
            "data.train_folder",
            "model.kind",
            "folders say what is in an image, not where: take resnet50, resnet18 or cnn, or set \
             data.train_annotations and data.train_images",
        ));
    }
    require(
        merged,
        "data.validation_folder",
        data.validation_folder.is_none()
            || data.train_folder.is_some()
            || !architecture.classifies_images(),
        "needs data.train_folder: both sets are of one kind",
    )?;
    require(
        merged,
        "data.validation_annotations",
        data.validation.is_none()
            || data.train_folder.is_none()
            || !architecture.classifies_images(),
        "cannot go with data.train_folder: both sets are of one kind; set data.validation_folder",
    )
}

fn enough_samples(config: &Config, merged: &Merged) -> Checked {
    let (data, batch) = (&config.data, config.data.batch.max(1));
    let least = config.partitions.saturating_mul(batch as usize);
    require(
        merged,
        "data.samples",
        data.samples as usize >= least,
        &format!(
            "needs at least {least}: {} partitions with a batch of {batch}",
            config.partitions
        ),
    )
}
