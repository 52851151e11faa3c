//! The shape of the file: creating it, appending to it, cutting it back.
//!
//! All functions work on an image in memory (see `h5`) and know nothing of files and commits.

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group, H5Type};
use ndarray::{Array1, Array2, ArrayView1};

use crate::columns::{Column, IterationRow, PER_WORKER_COLUMNS, Read, SCALAR_COLUMNS};
use crate::h5::{H5Result, attach_scale, describe, make_scale, set_attribute, text};
use crate::{PlanRecord, RunInfo, SCHEMA, SCHEMA_VERSION, Segment, plan};

/// What waits to be appended.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub rows: Vec<IterationRow>,
    pub evaluations: Vec<(u64, Vec<(String, f64)>)>,
    pub plans: Vec<(u64, PlanRecord)>,
    pub segments: Vec<Segment>,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.evaluations.is_empty()
            && self.plans.is_empty()
            && self.segments.is_empty()
    }
}

/// The members of `/evaluation` that are not metrics.
pub(crate) const EVALUATION_AXES: [&str; 2] = ["evaluation", "iteration"];

/// Rows in a chunk: 1024, fewer where a row is so wide that a chunk would exceed 1 MiB.
fn chunk_rows(width: usize) -> usize {
    ((1 << 17) / width.max(1)).clamp(1, 1024)
}

fn growing<T: H5Type + Into<hdf5::types::OwnedDynValue>>(
    group: &Group,
    name: &str,
    fill: T,
) -> H5Result<Dataset> {
    group
        .new_dataset::<T>()
        .fill_value(fill)
        .chunk((1024,))
        .shape((0..,))
        .create(name)
}

fn growing_text(group: &Group, name: &str) -> H5Result<Dataset> {
    group
        .new_dataset::<VarLenUnicode>()
        .chunk((64,))
        .shape((0..,))
        .create(name)
}

/// A data set that never grows.
pub(crate) fn fixed<T: H5Type>(
    group: &Group,
    name: &str,
    values: &[T],
    units: &str,
    long_name: &str,
) -> H5Result<Dataset> {
    let dataset = group
        .new_dataset::<T>()
        .shape((values.len(),))
        .create(name)?;
    dataset.write(ArrayView1::from(values))?;
    describe(&dataset, units, long_name)?;
    Ok(dataset)
}

/// Lays out an empty log.
pub(crate) fn create(file: &File, info: &RunInfo, date_created: &str) -> H5Result<()> {
    for (name, value) in [
        ("Conventions", "CF-1.11".into()),
        ("schema", SCHEMA.into()),
        ("schema_version", SCHEMA_VERSION.into()),
        ("title", info.title.clone().into()),
        ("source", info.source.clone().into()),
        ("git_commit", info.git_commit.clone().into()),
        ("git_dirty", info.git_dirty.into()),
        ("date_created", date_created.into()),
        ("command_line", info.command_line.clone().into()),
        ("seed", info.seed.into()),
        ("workers", info.workers.into()),
        ("dimension", info.dimension.into()),
        ("mpi_ranks", info.segment.ranks.into()),
        ("mpi_library", info.mpi_library.clone().into()),
        ("hosts", info.segment.hosts.clone().into()),
        ("slurm_job_id", info.segment.job_id.clone().into()),
        ("hdf5_version", {
            let (a, b, c) = hdf5::library_version();
            format!("{a}.{b}.{c}").into()
        }),
    ] {
        set_attribute(file, name, &value)?;
    }
    for (name, value) in &info.attributes {
        if file.attr(name).is_ok() {
            file.delete_attr(name)?;
        }
        set_attribute(file, name, value)?;
    }
    file.new_dataset::<VarLenUnicode>()
        .create("config")?
        .write_scalar(&text(&info.config_toml))?;

    let numbers: Vec<i64> = (0..info.workers as i64).collect();
    let worker = fixed(file, "worker", &numbers, "1", "worker")?;
    make_scale(&worker, "worker")?;

    file.create_group("per_worker")?;
    add_missing_columns(file)?;

    let evaluation = file.create_group("evaluation")?;
    // The dimension is not called "iteration": a group's dimension must not hide its parent's.
    let number = growing(&evaluation, "evaluation", 0i64)?;
    describe(&number, "1", "evaluation on held-out data")?;
    make_scale(&number, "evaluation")?;
    let completed = growing(&evaluation, "iteration", 0i64)?;
    describe(
        &completed,
        "1",
        "iterations completed when the model was evaluated",
    )?;
    attach_scale(&completed, &number, 0)?;

    file.create_group("plan")?;

    let segments = file.create_group("segments")?;
    let segment = growing(&segments, "segment", 0i64)?;
    describe(&segment, "1", "start or restart of the run")?;
    make_scale(&segment, "segment")?;
    for (dataset, units, long_name) in [
        (
            growing(&segments, "start_iteration", 0i64)?,
            "1",
            "first iteration of the segment",
        ),
        (
            growing(&segments, "start_time", f64::NAN)?,
            "seconds since 1970-01-01 00:00:00",
            "when it started",
        ),
        (
            growing(&segments, "ranks", 0i64)?,
            "1",
            "MPI ranks, master included",
        ),
        (growing_text(&segments, "job_id")?, "1", "batch job"),
        (growing_text(&segments, "hosts")?, "1", "hosts"),
    ] {
        describe(&dataset, units, long_name)?;
        attach_scale(&dataset, &segment, 0)?;
    }
    Ok(())
}

/// Makes the columns that the file does not have: all of them in a new one, those of later versions in an
/// older one, where the rows there are get what stands for no measurement.
pub(crate) fn add_missing_columns(file: &File) -> H5Result<()> {
    for column in SCALAR_COLUMNS {
        if file.link_exists(column.name) {
            continue;
        }
        let dataset = match column.read {
            Read::Integer(_) => growing(file, column.name, 0i64)?,
            _ => growing(file, column.name, f64::NAN)?,
        };
        describe(&dataset, column.units, column.long_name)?;
        // The first is the dimension scale of the others.
        match file.dataset(SCALAR_COLUMNS[0].name)? {
            _ if column.name == SCALAR_COLUMNS[0].name => make_scale(&dataset, column.name)?,
            scale => {
                dataset.resize((scale.size(),))?;
                attach_scale(&dataset, &scale, 0)?;
            }
        }
    }
    let (per_worker, worker) = (file.group("per_worker")?, file.dataset("worker")?);
    let (iteration, workers) = (file.dataset(SCALAR_COLUMNS[0].name)?, worker.size());
    for column in PER_WORKER_COLUMNS {
        if per_worker.link_exists(column.name) {
            continue;
        }
        let shape = (0.., workers);
        let chunk = (chunk_rows(workers), workers.max(1));
        let dataset = match column.read {
            Read::IntegerPerWorker(_) => per_worker
                .new_dataset::<i64>()
                .chunk(chunk)
                .shape(shape)
                .create(column.name)?,
            _ => per_worker
                .new_dataset::<f64>()
                .fill_value(f64::NAN)
                .chunk(chunk)
                .shape(shape)
                .create(column.name)?,
        };
        describe(&dataset, column.units, column.long_name)?;
        dataset.resize((iteration.size(), workers))?;
        attach_scale(&dataset, &iteration, 0)?;
        attach_scale(&dataset, &worker, 1)?;
    }
    Ok(())
}

/// Appends everything pending; all columns grow alike.
pub(crate) fn append(file: &File, pending: &Pending) -> H5Result<()> {
    append_rows(file, &pending.rows)?;
    append_evaluations(file, &pending.evaluations)?;
    for (start, plan) in &pending.plans {
        plan::write(file, *start, plan)?;
    }
    let segments = file.group("segments")?;
    let list = &pending.segments;
    let first = segments.dataset("segment")?.size();
    extend(
        &segments,
        "segment",
        list.iter().enumerate().map(|(i, _)| (first + i) as i64),
    )?;
    extend(
        &segments,
        "start_iteration",
        list.iter().map(|s| s.start_iteration as i64),
    )?;
    extend(&segments, "start_time", list.iter().map(|s| s.start_time))?;
    extend(&segments, "ranks", list.iter().map(|s| s.ranks as i64))?;
    extend(&segments, "job_id", list.iter().map(|s| text(&s.job_id)))?;
    extend(&segments, "hosts", list.iter().map(|s| text(&s.hosts)))
}

fn extend<T: H5Type>(group: &Group, name: &str, values: impl Iterator<Item = T>) -> H5Result<()> {
    let values: Array1<T> = values.collect();
    if values.is_empty() {
        return Ok(());
    }
    let dataset = group.dataset(name)?;
    let old = dataset.size();
    dataset.resize((old + values.len(),))?;
    dataset.write_slice(&values, old..)
}

fn append_rows(file: &File, rows: &[IterationRow]) -> H5Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let per_worker = file.group("per_worker")?;
    for column in SCALAR_COLUMNS.iter().chain(PER_WORKER_COLUMNS) {
        match column.read {
            Read::Integer(get) => extend(file, column.name, rows.iter().map(get))?,
            Read::Real(get) => extend(file, column.name, rows.iter().map(get))?,
            Read::IntegerPerWorker(get) => extend_2d(
                &per_worker,
                column,
                rows.iter().map(|row| get(&row.per_worker)),
            )?,
            Read::RealPerWorker(get) => extend_2d(
                &per_worker,
                column,
                rows.iter().map(|row| get(&row.per_worker)),
            )?,
        }
    }
    Ok(())
}

fn extend_2d<'a, T: H5Type + Clone>(
    group: &Group,
    column: &Column,
    rows: impl ExactSizeIterator<Item = &'a [T]>,
) -> H5Result<()> {
    let dataset = group.dataset(column.name)?;
    let [old, width] = dataset.shape()[..] else {
        return Err("a per-worker column is not a matrix".into());
    };
    let count = rows.len();
    let values: Vec<T> = rows.flatten().cloned().collect();
    let values =
        Array2::from_shape_vec((count, width), values).map_err(|error| error.to_string())?;
    dataset.resize((old + count, width))?;
    dataset.write_slice(&values, (old.., ..))
}

/// A metric's data set: a slash would make a group of it, and the axes' names are taken.
fn metric_name(metric: &str) -> String {
    let name = metric.replace('/', "_");
    if EVALUATION_AXES.contains(&name.as_str()) {
        format!("{name}_")
    } else {
        name
    }
}

fn append_evaluations(file: &File, evaluations: &[(u64, Vec<(String, f64)>)]) -> H5Result<()> {
    if evaluations.is_empty() {
        return Ok(());
    }
    let group = file.group("evaluation")?;
    let scale = group.dataset("evaluation")?;
    for (_, metrics) in evaluations {
        for (name, _) in metrics {
            let name = metric_name(name);
            if !group.link_exists(&name) {
                let dataset = growing(&group, &name, f64::NAN)?;
                describe(&dataset, "1", &format!("{name} on held-out data"))?;
                attach_scale(&dataset, &scale, 0)?;
            }
        }
    }
    let first = scale.size();
    let completed = evaluations.iter().map(|(completed, _)| *completed as i64);
    extend(
        &group,
        "evaluation",
        (first as i64..).take(evaluations.len()),
    )?;
    extend(&group, "iteration", completed)?;
    let total = first + evaluations.len();
    for name in group
        .member_names()?
        .iter()
        .filter(|name| !EVALUATION_AXES.contains(&name.as_str()))
    {
        let values: Array1<f64> = evaluations
            .iter()
            .map(|(_, metrics)| {
                metrics
                    .iter()
                    .find(|(metric, _)| metric_name(metric) == **name)
                    .map_or(f64::NAN, |m| m.1)
            })
            .collect();
        let dataset = group.dataset(name)?;
        dataset.resize((total,))?;
        dataset.write_slice(&values, first..)?;
    }
    Ok(())
}

/// Last iteration in the log.
pub(crate) fn last_iteration(file: &File) -> H5Result<Option<u64>> {
    Ok(file
        .dataset("iteration")?
        .read_raw::<i64>()?
        .last()
        .map(|&iteration| iteration as u64))
}

/// Drops everything from iteration `keep_before` on: rows, evaluations of later models, later plans.
pub(crate) fn truncate(file: &File, keep_before: u64) -> H5Result<()> {
    add_missing_columns(file)?;
    let iterations = file.dataset("iteration")?.read_raw::<i64>()?;
    let rows = iterations.partition_point(|&iteration| (iteration as u64) < keep_before);
    for column in SCALAR_COLUMNS {
        file.dataset(column.name)?.resize((rows,))?;
    }
    let per_worker = file.group("per_worker")?;
    for column in PER_WORKER_COLUMNS {
        let dataset = per_worker.dataset(column.name)?;
        let width = dataset.shape().get(1).copied().unwrap_or(0);
        dataset.resize((rows, width))?;
    }
    // An evaluation after `keep_before` completed iterations is of the very model that is resumed.
    let evaluation = file.group("evaluation")?;
    let completed = evaluation.dataset("iteration")?.read_raw::<i64>()?;
    let rows = completed.partition_point(|&iteration| iteration as u64 <= keep_before);
    for name in evaluation.member_names()? {
        evaluation.dataset(&name)?.resize((rows,))?;
    }
    let plans = file.group("plan")?;
    for name in plans.member_names()? {
        let start = plans
            .group(&name)?
            .attr("start_iteration")?
            .read_scalar::<i64>()?;
        if start as u64 >= keep_before {
            plans.unlink(&name)?;
        }
    }
    Ok(())
}
