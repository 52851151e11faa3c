//! How many coordinates the model has, without training data where that is possible.

use std::path::Path;

use super::error::ConfigError;
use super::settings::{Architecture, CocoPaths, Config};

/// What a model's size follows from.
const KEYS: [&str; 3] = ["model.kind", "model.side", "model.classes"];

impl Config {
    /// l where no file is needed to know it: as set, or by the model's own size.
    pub fn known_dimension(&self) -> Option<usize> {
        let convex = || self.convex_problem().map(|problem| problem.dimension);
        let mlp = || {
            let problem = self.mlp()?;
            Some(learner::mlp::parameter_count(problem.hidden))
        };
        let language_model = || {
            let Architecture::Gpt2(sizes) = self.model.architecture else {
                return None;
            };
            Some(self.gpt2(sizes.vocab?)?.parameters())
        };
        self.model
            .planned_dimension
            .or_else(convex)
            .or_else(mlp)
            .or_else(language_model)
    }

    /// l, the model's coordinates, without its data: `model.dimension` if set, else counted from the
    /// model with `model.classes`, or with the classes of the training images.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when the number of classes cannot be known, [`ConfigError::Plan`] when the
    /// annotation file is malformed or the model has no such size. Of a language model, as
    /// [`Config::vocabulary`]; of a TorchScript model, as [`Config::script`] and [`ConfigError::Plan`] when
    /// the file cannot be read.
    pub fn dimension(&self) -> Result<usize, ConfigError> {
        if let Some(dimension) = self.known_dimension() {
            return Ok(dimension);
        }
        match self.model.architecture {
            Architecture::Gpt2(_) => {
                let model = self.gpt2(self.vocabulary()?);
                return Ok(model.map_or(0, |model| model.parameters()));
            }
            Architecture::TorchScript => {
                let counted = torch_models::scripted_parameters(self.script()?);
                return counted.map_err(|error| self.refused(error, &["model.file"]));
            }
            _ => {}
        }
        let Some(model) = self.torch_model() else {
            return Err(self.refused("the model is unknown", &["model.kind"]));
        };
        model
            .parameters(self.classes()?)
            .map_err(|error| self.refused(error, &KEYS))
    }

    /// Classes of the images, the background among them.
    fn classes(&self) -> Result<usize, ConfigError> {
        let stated = self.model.classes.map(|classes| classes as usize);
        match (&self.data.train_folder, stated, &self.data.train) {
            // A classifier has no background.
            (Some(_), Some(outputs), _) => Ok(outputs + 1),
            (Some(folder), None, _) => folder_classes(folder).map(|outputs| outputs + 1),
            (None, Some(classes), _) => Ok(classes),
            (None, None, Some(paths)) => self.annotated_classes(paths),
            (None, None, None) => Err(no_classes(
                "set model.classes, model.dimension, data.train_annotations or data.train_folder",
            )),
        }
    }

    fn annotated_classes(&self, paths: &CocoPaths) -> Result<usize, ConfigError> {
        let path = &paths.annotations;
        if let Err(source) = std::fs::File::open(path) {
            return Err(no_classes(&format!(
                "{} cannot be read ({source}); set model.classes or model.dimension, or make the data set first",
                path.display()
            )));
        }
        coco::Annotations::read(path)
            .and_then(|lists| coco::Dataset::new(lists, path, &paths.images))
            .and_then(|data| data.with_labels(self.labels()))
            .map(|data| data.classes())
            .map_err(|error| self.refused(error, &["data.train_annotations", "model.labels"]))
    }
}

fn folder_classes(folder: &Path) -> Result<usize, ConfigError> {
    let classes = coco::folder::classes(folder).map_err(|error| {
        no_classes(&format!(
            "data.train_folder cannot be used ({error}); set model.classes or model.dimension, or make the folder first"
        ))
    })?;
    Ok(classes.len())
}

fn no_classes(instead: &str) -> ConfigError {
    ConfigError::Missing {
        key: "model.classes".into(),
        valid: format!("the model's size depends on its classes: {instead}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::config;

    #[test]
    fn sizes_are_known_without_data() {
        let base = "workers = 4\nbudget.mean_bits = 4\n";
        let size = |text: &str| config(&format!("{base}{text}")).dimension();
        assert_eq!(size("model.dimension = 12").unwrap(), 12);
        assert_eq!(
            size("model.kind = 'least-squares'\nmodel.dimension = 7").unwrap(),
            7
        );
        assert_eq!(size("model.kind = 'mlp'").unwrap(), 101_770);
        // torchvision's ssdlite320_mobilenet_v3_large with 91 classes.
        assert_eq!(
            size("model.kind = 'ssdlite'\nmodel.classes = 91").unwrap(),
            3_440_060
        );
        let gpt2 = |text: &str| size(&format!("model.kind = 'gpt2'\n{text}"));
        assert_eq!(
            gpt2("model.size = 'small'\nmodel.vocab = 50257").unwrap(),
            124_439_808
        );
        assert_eq!(gpt2("model.vocab = 256").unwrap(), 120_576);
        let error = gpt2("data.train_tokens = 'none.bin'").unwrap_err();
        assert!(error.to_string().contains("model.vocab"), "{error}");
        assert!(size("").unwrap_err().to_string().contains("model.classes"));
    }
}
