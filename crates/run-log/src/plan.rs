//! Plans in the file: `/plan/0`, `/plan/1`, ..., one group each.

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group};

use crate::h5::{H5Result, attach_scale, make_scale, set_attribute, text};
use crate::layout::fixed;
use crate::reader::read_text;
use crate::{PlanEntry, PlanRecord};

/// Adds the plan in force from `start_iteration` on as the next numbered group.
pub(crate) fn write(file: &File, start_iteration: u64, plan: &PlanRecord) -> H5Result<()> {
    let plans = file.group("plan")?;
    let index = plans
        .member_names()?
        .iter()
        .filter_map(|name| name.parse::<u64>().ok())
        .max()
        .map_or(0, |last| last + 1);
    let group = plans.create_group(&index.to_string())?;
    for (name, value) in [
        ("start_iteration", start_iteration.into()),
        ("reason", plan.reason.clone().into()),
        ("scheme", plan.scheme.clone().into()),
        ("partitions", plan.partitions.into()),
        ("scaling_s", plan.scaling_s.into()),
        ("error_bound", plan.error_bound.into()),
        ("computation_load", plan.computation_load.into()),
        (
            "bits_per_coordinate_offered",
            plan.bits_per_coordinate_offered.into(),
        ),
        (
            "bits_per_coordinate_expected",
            plan.bits_per_coordinate_expected.into(),
        ),
    ] {
        set_attribute(&group, name, &value)?;
    }
    let worker = file.dataset("worker")?;
    let along_workers = |dataset: Dataset| attach_scale(&dataset, &worker, 0);
    along_workers(fixed(
        &group,
        "straggle_probability",
        &plan.straggle_probability,
        "1",
        "probability of not arriving before the deadline",
    )?)?;
    along_workers(fixed(
        &group,
        "bits",
        &plan.bits,
        "bit",
        "bits per coordinate; 0 idle, 32 uncompressed",
    )?)?;
    along_workers(fixed(
        &group,
        "load",
        &plan.load,
        "1",
        "partitions computed",
    )?)?;
    if !plan.decode_weight.is_empty() {
        along_workers(fixed(
            &group,
            "decode_weight",
            &plan.decode_weight,
            "1",
            "decoding weight",
        )?)?;
    }
    if !plan.decode_weight_second.is_empty() {
        along_workers(fixed(
            &group,
            "decode_weight_second",
            &plan.decode_weight_second,
            "1",
            "decoding weight of the second track",
        )?)?;
    }
    let (mut workers, mut partitions, mut coefficients) = (vec![], vec![], vec![]);
    for &(worker, partition, coefficient) in &plan.encoding {
        workers.push(worker as i64);
        partitions.push(partition as i64);
        coefficients.push(coefficient);
    }
    let entries: Vec<i64> = (0..plan.encoding.len() as i64).collect();
    let entry = fixed(
        &group,
        "entry",
        &entries,
        "1",
        "nonzero of the encoding matrix",
    )?;
    make_scale(&entry, "entry")?;
    for dataset in [
        fixed(
            &group,
            "encoding_worker",
            &workers,
            "1",
            "row of the nonzero: worker",
        )?,
        fixed(
            &group,
            "encoding_partition",
            &partitions,
            "1",
            "column of the nonzero: partition",
        )?,
        fixed(
            &group,
            "encoding_coefficient",
            &coefficients,
            "1",
            "value of the nonzero: encoding coefficient",
        )?,
    ] {
        attach_scale(&dataset, &entry, 0)?;
    }
    group
        .new_dataset::<VarLenUnicode>()
        .create("json")?
        .write_scalar(&text(&plan.json))
}

/// Reads one numbered group.
pub(crate) fn read(group: &Group) -> H5Result<PlanEntry> {
    let real = |name: &str| group.attr(name)?.read_scalar::<f64>();
    let count = |name: &str| H5Result::Ok(group.attr(name)?.read_scalar::<i64>()? as u64);
    let reals = |name: &str| {
        if group.link_exists(name) {
            group.dataset(name)?.read_raw::<f64>()
        } else {
            Ok(vec![])
        }
    };
    let integers = |name: &str| group.dataset(name)?.read_raw::<i64>();
    let word = |name: &str| {
        let value = group.attr(name)?.read_scalar::<VarLenUnicode>()?;
        H5Result::Ok(value.as_str().to_owned())
    };
    // Logs written before there were reasons have none.
    let reasoned = group.attr_names()?.iter().any(|name| name == "reason");
    let positions = integers("encoding_worker")?
        .into_iter()
        .zip(integers("encoding_partition")?);
    Ok(PlanEntry {
        start_iteration: count("start_iteration")?,
        plan: PlanRecord {
            reason: match reasoned {
                true => word("reason")?,
                false => String::new(),
            },
            scheme: word("scheme")?,
            partitions: count("partitions")?,
            straggle_probability: reals("straggle_probability")?,
            bits: integers("bits")?,
            decode_weight: reals("decode_weight")?,
            decode_weight_second: reals("decode_weight_second")?,
            load: integers("load")?,
            encoding: positions
                .zip(reals("encoding_coefficient")?)
                .map(|((worker, partition), coefficient)| {
                    (worker as u64, partition as u64, coefficient)
                })
                .collect(),
            scaling_s: real("scaling_s")?,
            error_bound: real("error_bound")?,
            computation_load: real("computation_load")?,
            bits_per_coordinate_offered: real("bits_per_coordinate_offered")?,
            bits_per_coordinate_expected: real("bits_per_coordinate_expected")?,
            json: read_text(&group.dataset("json")?)?,
        },
    })
}
