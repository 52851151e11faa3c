//! The layout of `study.h5`.
//!
//! ```text
//! /                attributes: format="gradcode-study" format_version=1 kind title config_toml created_utc source
//! /points/0000     attributes: label, scheme, sweep (a JSON object), axis, and every scalar result
//!   at [E]                     positions along the axis
//!   outcome [R]                -2 pending, -1 finished, else the first position without values
//!   runs/<series> [R, E], mean/<series> [E], standard_error/<series> [E]
//!   per_run/<name> [R]         numbers of each run, summarised by the attributes of the same names
//!   bound/<name> [E]           theoretical curves
//!   document/<name>            texts: the resolved configuration, the plan as JSON
//! ```

use std::fmt;
use std::path::Path;

use hdf5::types::VarLenUnicode;
use hdf5::{File, Group};
use ndarray::Array2;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Outcome, Point, STUDY_FORMAT, STUDY_VERSION, Series, Study};
use crate::h5::{self, H5Result, at, set_attribute, text};
use crate::reader::{opened, read_attributes, read_text};
use crate::{AttributeValue, LogError};

/// Attributes of a point that are fields of [`Point`].
const FIELDS: [&str; 4] = ["label", "scheme", "sweep", "axis"];

const PENDING: i64 = -2;
const FINISHED: i64 = -1;

/// The bytes of `study` as a file; `path` only names it.
pub(super) fn image(study: &Study, path: &Path) -> H5Result<Vec<u8>> {
    let file = h5::create_image(path)?;
    for (name, value) in [
        ("format", STUDY_FORMAT),
        ("kind", &study.kind),
        ("title", &study.title),
        ("config_toml", &study.config_toml),
        ("created_utc", &study.created_utc),
        ("source", &study.source),
    ] {
        set_attribute(&file, name, &value.into())?;
    }
    set_attribute(&file, "format_version", &STUDY_VERSION.into())?;
    let points = file.create_group("points")?;
    for (number, point) in study.points.iter().enumerate() {
        write_point(&points.create_group(&format!("{number:04}"))?, point)?;
    }
    h5::image(&file)
}

fn write_point(group: &Group, point: &Point) -> H5Result<()> {
    for (name, value) in [
        ("label", point.label.clone()),
        ("scheme", point.scheme.clone()),
        ("sweep", sweep_text(&point.sweep)),
        ("axis", point.axis.clone()),
    ] {
        set_attribute(group, name, &value.into())?;
    }
    for (name, value) in &point.attributes {
        if !FIELDS.contains(&name.as_str()) {
            set_attribute(group, name, value)?;
        }
    }
    reals(group, "at", &point.at)?;
    let outcomes: Vec<i64> = point.outcomes.iter().map(outcome_code).collect();
    group
        .new_dataset::<i64>()
        .shape(outcomes.len())
        .create("outcome")?
        .write_raw(&outcomes)?;
    let parts = [
        "runs",
        "mean",
        "standard_error",
        "per_run",
        "bound",
        "document",
    ];
    let [runs, mean, standard_error, per_run, bound, document] =
        parts.map(|name| group.create_group(name));
    let (runs, mean, standard_error) = (runs?, mean?, standard_error?);
    for (name, series) in &point.series {
        runs.new_dataset::<f64>()
            .shape(series.runs.dim())
            .create(name.as_str())?
            .write(series.runs.as_standard_layout().view())?;
        reals(&mean, name, &series.mean)?;
        reals(&standard_error, name, &series.standard_error)?;
    }
    let per_run = per_run?;
    for (name, values) in &point.facts {
        reals(&per_run, name, values)?;
    }
    let bound = bound?;
    for (name, values) in &point.bounds {
        reals(&bound, name, values)?;
    }
    let document = document?;
    for (name, content) in &point.documents {
        document
            .new_dataset::<VarLenUnicode>()
            .create(name.as_str())?
            .write_scalar(&text(content))?;
    }
    Ok(())
}

fn reals(group: &Group, name: &str, values: &[f64]) -> H5Result<()> {
    group
        .new_dataset::<f64>()
        .shape(values.len())
        .create(name)?
        .write_raw(values)
}

fn outcome_code(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Pending => PENDING,
        Outcome::Finished => FINISHED,
        Outcome::Diverged { from } => i64::try_from(*from).unwrap_or(i64::MAX),
    }
}

fn outcome(code: i64) -> Outcome {
    match code {
        FINISHED => Outcome::Finished,
        code => usize::try_from(code).map_or(Outcome::Pending, |from| Outcome::Diverged { from }),
    }
}

/// A JSON object whose members keep their order.
fn sweep_text(sweep: &[(String, serde_json::Value)]) -> String {
    let members: Vec<String> = sweep
        .iter()
        .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// Reads what [`sweep_text`] wrote.
fn parse_sweep(text: &str) -> Result<Vec<(String, serde_json::Value)>, serde_json::Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, serde_json::Value)>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = vec![];
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(text).deserialize_map(Members)
}

impl Study {
    /// Reads a study, or the `study.h5` of a directory.
    ///
    /// # Errors
    /// [`LogError::Io`] if it cannot be read, [`LogError::Hdf5`] if it is not an HDF5 file or
    /// damaged, [`LogError::NotAStudy`] and [`LogError::StudyVersion`] if it is something else or
    /// another version's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LogError> {
        let (path, file, attributes) = opened(path.as_ref(), "study.h5")?;
        if attributes.get("format") != Some(&STUDY_FORMAT.into()) {
            return Err(LogError::NotAStudy { path });
        }
        match attributes.get("format_version") {
            Some(AttributeValue::Integer(STUDY_VERSION)) => {}
            Some(&AttributeValue::Integer(found)) => {
                return Err(LogError::StudyVersion {
                    path,
                    found,
                    supported: STUDY_VERSION,
                });
            }
            _ => return Err(LogError::NotAStudy { path }),
        }
        let text = |name: &str| match attributes.get(name) {
            Some(AttributeValue::Text(text)) => text.clone(),
            _ => String::new(),
        };
        Ok(Self {
            kind: text("kind"),
            title: text("title"),
            config_toml: text("config_toml"),
            created_utc: text("created_utc"),
            source: text("source"),
            points: read_points(&file).map_err(at(&path))?,
        })
    }
}

fn read_points(file: &File) -> H5Result<Vec<Point>> {
    let group = file.group("points")?;
    let mut numbers: Vec<(usize, String)> = group
        .member_names()?
        .into_iter()
        .filter_map(|name| Some((name.parse().ok()?, name)))
        .collect();
    numbers.sort_unstable();
    numbers
        .iter()
        .map(|(_, name)| read_point(&group.group(name)?))
        .collect()
}

fn read_point(group: &Group) -> H5Result<Point> {
    let mut attributes = read_attributes(group)?;
    let [label, scheme, sweep, axis] = FIELDS.map(|name| match attributes.remove(name) {
        Some(AttributeValue::Text(text)) => text,
        _ => String::new(),
    });
    let mut point = Point {
        label,
        scheme,
        sweep: parse_sweep(&sweep).map_err(|error| format!("attribute sweep: {error}"))?,
        attributes,
        axis,
        at: group.dataset("at")?.read_raw()?,
        outcomes: group
            .dataset("outcome")?
            .read_raw::<i64>()?
            .into_iter()
            .map(outcome)
            .collect(),
        ..Point::default()
    };
    let runs = group.group("runs")?;
    for name in runs.member_names()? {
        let shape = (point.outcomes.len(), point.at.len());
        let series = Series {
            runs: Array2::from_shape_vec(shape, runs.dataset(&name)?.read_raw()?)
                .map_err(|error| format!("runs/{name}: {error}"))?,
            mean: read_values(group, "mean", &name, point.at.len())?,
            standard_error: read_values(group, "standard_error", &name, point.at.len())?,
        };
        point.series.insert(name, series);
    }
    for name in group.group("per_run")?.member_names()? {
        let values = read_values(group, "per_run", &name, point.outcomes.len())?;
        point.facts.insert(name, values);
    }
    let bounds = group.group("bound")?;
    for name in bounds.member_names()? {
        let values = read_values(group, "bound", &name, point.at.len())?;
        point.bounds.insert(name, values);
    }
    let documents = group.group("document")?;
    for name in documents.member_names()? {
        let content = read_text(&documents.dataset(&name)?)?;
        point.documents.insert(name, content);
    }
    Ok(point)
}

fn read_values(group: &Group, part: &str, name: &str, length: usize) -> H5Result<Vec<f64>> {
    let values: Vec<f64> = group.group(part)?.dataset(name)?.read_raw()?;
    if values.len() == length {
        Ok(values)
    } else {
        Err(format!("{part}/{name}: {} values instead of {length}", values.len()).into())
    }
}
