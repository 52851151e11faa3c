//! Reading a run back, while it goes on as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Attribute, Dataset, File, Group, Location};
use ndarray::Array2;
use serde::Serialize;

use crate::h5::{self, H5Result, at};
use crate::layout::EVALUATION_AXES;
use crate::{AttributeValue, LogError, PlanRecord, SCHEMA, SCHEMA_VERSION, Segment, plan};

/// Held-out metrics over the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// Iterations completed at each evaluation.
    pub iteration: Vec<u64>,
    /// Name and value at each evaluation, by name; NaN where an evaluation lacks the metric.
    pub metrics: Vec<(String, Vec<f64>)>,
}

/// A plan and where it starts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanEntry {
    /// First iteration run under it.
    pub start_iteration: u64,
    /// The plan.
    pub plan: PlanRecord,
}

/// An opened run. It shows the run as it was when it was opened.
#[derive(Debug)]
pub struct RunReader {
    path: PathBuf,
    file: File,
    attributes: BTreeMap<String, AttributeValue>,
}

/// Opens an HDF5 file, or the file called `name` of a directory, and reads its attributes.
pub(crate) fn opened(
    path: &Path,
    name: &str,
) -> Result<(PathBuf, File, BTreeMap<String, AttributeValue>), LogError> {
    let mut path = path.to_owned();
    if path.is_dir() {
        path.push(name);
    }
    // The operating system's reason is clearer than the library's.
    fs::File::open(&path).map_err(|source| LogError::Io {
        action: "read",
        path: path.clone(),
        source,
    })?;
    let file = h5::open_readonly(&path).map_err(at(&path))?;
    let attributes = read_attributes(&file).map_err(at(&path))?;
    Ok((path, file, attributes))
}

impl RunReader {
    /// Opens a log, or the `run.h5` of a run directory.
    ///
    /// # Errors
    /// [`LogError::Io`] if it cannot be read, [`LogError::Hdf5`] if it is not an HDF5 file,
    /// [`LogError::NotARun`] and [`LogError::SchemaVersion`] if it is another program's, or another
    /// version's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LogError> {
        let (path, file, attributes) = opened(path.as_ref(), "run.h5")?;
        if attributes.get("schema") != Some(&SCHEMA.into()) {
            return Err(LogError::NotARun { path });
        }
        match attributes.get("schema_version") {
            Some(AttributeValue::Integer(SCHEMA_VERSION)) => {}
            Some(&AttributeValue::Integer(found)) => {
                return Err(LogError::SchemaVersion {
                    path,
                    found,
                    supported: SCHEMA_VERSION,
                });
            }
            _ => return Err(LogError::NotARun { path }),
        }
        Ok(Self {
            path,
            file,
            attributes,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the run says of itself, by name.
    pub fn attributes(&self) -> &BTreeMap<String, AttributeValue> {
        &self.attributes
    }

    /// An integer attribute; `None` if it is missing or negative.
    pub fn count(&self, name: &str) -> Option<u64> {
        match self.attributes.get(name)? {
            AttributeValue::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Logical workers N.
    pub fn workers(&self) -> usize {
        self.file
            .dataset("worker")
            .map_or(0, |dataset| dataset.size())
    }

    /// Iterations in the log, T.
    pub fn len(&self) -> usize {
        self.file
            .dataset("iteration")
            .map_or(0, |dataset| dataset.size())
    }

    /// Whether no iteration was logged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The resolved configuration, TOML.
    ///
    /// # Errors
    /// [`LogError::Hdf5`].
    pub fn config(&self) -> Result<String, LogError> {
        self.file
            .dataset("config")
            .and_then(|dataset| read_text(&dataset))
            .map_err(at(&self.path))
    }

    /// Names of the per-iteration series.
    ///
    /// # Errors
    /// [`LogError::Hdf5`].
    pub fn series_names(&self) -> Result<Vec<String>, LogError> {
        let length = self.len();
        let list = || -> H5Result<Vec<String>> {
            let mut names = vec![];
            for name in self.file.member_names()? {
                if name != "worker"
                    && self
                        .file
                        .dataset(&name)
                        .is_ok_and(|dataset| dataset.shape() == [length])
                {
                    names.push(name);
                }
            }
            Ok(names)
        };
        list().map_err(at(&self.path))
    }

    /// One per-iteration series, integers as reals (exact up to 2^53).
    ///
    /// # Errors
    /// [`LogError::NoSuchSeries`], [`LogError::Hdf5`].
    pub fn series(&self, name: &str) -> Result<Vec<f64>, LogError> {
        let dataset = self.find(&self.file, name, 1, || self.series_names())?;
        read_reals(&dataset).map_err(at(&self.path))
    }

    /// Names of the per-worker series.
    ///
    /// # Errors
    /// [`LogError::Hdf5`].
    pub fn per_worker_names(&self) -> Result<Vec<String>, LogError> {
        self.file
            .group("per_worker")
            .and_then(|group| group.member_names())
            .map_err(at(&self.path))
    }

    /// One per-worker series, iterations x workers, integers as reals.
    ///
    /// # Errors
    /// [`LogError::NoSuchSeries`], [`LogError::Hdf5`].
    pub fn per_worker(&self, name: &str) -> Result<Array2<f64>, LogError> {
        let group = self.file.group("per_worker").map_err(at(&self.path))?;
        let dataset = self.find(&group, name, 2, || self.per_worker_names())?;
        let read = || -> H5Result<Array2<f64>> {
            let shape = (self.len(), self.workers());
            Array2::from_shape_vec(shape, read_reals(&dataset)?)
                .map_err(|error| error.to_string().into())
        };
        read().map_err(at(&self.path))
    }

    fn find(
        &self,
        group: &Group,
        name: &str,
        dimensions: usize,
        available: impl FnOnce() -> Result<Vec<String>, LogError>,
    ) -> Result<Dataset, LogError> {
        match group.dataset(name) {
            Ok(dataset) if dataset.ndim() == dimensions => Ok(dataset),
            _ => Err(LogError::NoSuchSeries {
                path: self.path.clone(),
                name: name.to_owned(),
                available: available()?,
            }),
        }
    }

    /// The evaluations on held-out data.
    ///
    /// # Errors
    /// [`LogError::Hdf5`].
    pub fn evaluation(&self) -> Result<Evaluation, LogError> {
        let read = || -> H5Result<Evaluation> {
            let group = self.file.group("evaluation")?;
            let mut evaluation = Evaluation::default();
            for name in group.member_names()? {
                let dataset = group.dataset(&name)?;
                if name == "iteration" {
                    evaluation.iteration = dataset
                        .read_raw::<i64>()?
                        .into_iter()
                        .map(|i| i as u64)
                        .collect();
                } else if !EVALUATION_AXES.contains(&name.as_str()) {
                    evaluation.metrics.push((name, read_reals(&dataset)?));
                }
            }
            Ok(evaluation)
        };
        read().map_err(at(&self.path))
    }

    /// The plans, in the order they were in force.
    ///
    /// # Errors
    /// [`LogError::Hdf5`].
    pub fn plans(&self) -> Result<Vec<PlanEntry>, LogError> {
        let read = || -> H5Result<Vec<PlanEntry>> {
            let group = self.file.group("plan")?;
            let mut numbers: Vec<u64> = group
                .member_names()?
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect();
            numbers.sort_unstable();
            numbers
                .into_iter()
                .map(|number| plan::read(&group.group(&number.to_string())?))
                .collect()
        };
        read().map_err(at(&self.path))
    }

    /// The starts and restarts of the run.
    ///
    /// # Errors
    /// [`LogError::Hdf5`].
    pub fn segments(&self) -> Result<Vec<Segment>, LogError> {
        let read = || -> H5Result<Vec<Segment>> {
            let group = self.file.group("segments")?;
            let starts = group.dataset("start_iteration")?.read_raw::<i64>()?;
            let times = group.dataset("start_time")?.read_raw::<f64>()?;
            let ranks = group.dataset("ranks")?.read_raw::<i64>()?;
            let jobs = group.dataset("job_id")?.read_raw::<VarLenUnicode>()?;
            let hosts = group.dataset("hosts")?.read_raw::<VarLenUnicode>()?;
            let rest = ranks.into_iter().zip(jobs).zip(hosts);
            Ok(starts
                .into_iter()
                .zip(times)
                .zip(rest)
                .map(|((start, start_time), ((ranks, job_id), hosts))| Segment {
                    start_iteration: start as u64,
                    start_time,
                    ranks: ranks as u64,
                    job_id: job_id.as_str().to_owned(),
                    hosts: hosts.as_str().to_owned(),
                })
                .collect())
        };
        read().map_err(at(&self.path))
    }
}

pub(crate) fn read_text(dataset: &Dataset) -> H5Result<String> {
    Ok(dataset.read_scalar::<VarLenUnicode>()?.as_str().to_owned())
}

fn read_reals(dataset: &Dataset) -> H5Result<Vec<f64>> {
    match dataset.dtype()?.to_descriptor()? {
        TypeDescriptor::Integer(_) => Ok(dataset
            .read_raw::<i64>()?
            .into_iter()
            .map(|value| value as f64)
            .collect()),
        _ => dataset.read_raw::<f64>(),
    }
}

pub(crate) fn read_attributes(on: &Location) -> H5Result<BTreeMap<String, AttributeValue>> {
    let mut attributes = BTreeMap::new();
    for name in on.attr_names()? {
        // Attributes of other types are not ours; a tool may have added them.
        if let Some(value) = read_attribute(&on.attr(&name)?)? {
            attributes.insert(name, value);
        }
    }
    Ok(attributes)
}

fn read_attribute(attribute: &Attribute) -> H5Result<Option<AttributeValue>> {
    if !attribute.is_scalar() {
        return Ok(None);
    }
    Ok(match attribute.dtype()?.to_descriptor()? {
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => {
            Some(attribute.read_scalar::<i64>()?.into())
        }
        TypeDescriptor::Float(_) => Some(attribute.read_scalar::<f64>()?.into()),
        TypeDescriptor::VarLenUnicode => {
            Some(attribute.read_scalar::<VarLenUnicode>()?.as_str().into())
        }
        TypeDescriptor::VarLenAscii => {
            Some(attribute.read_scalar::<VarLenAscii>()?.as_str().into())
        }
        TypeDescriptor::FixedAscii(n) if n <= 64 => {
            Some(attribute.read_scalar::<FixedAscii<64>>()?.as_str().into())
        }
        TypeDescriptor::FixedUnicode(n) if n <= 64 => {
            Some(attribute.read_scalar::<FixedUnicode<64>>()?.as_str().into())
        }
        _ => None,
    })
}
