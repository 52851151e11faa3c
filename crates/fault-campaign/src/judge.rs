//! Whether a run ended as promised.

use crate::case::{Case, Expectation, LASTS};
use crate::launch::Ended;
use run_log::RunReader;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// What became of a case.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Everything that is not as promised; empty for a good run.
    pub violations: Vec<String>,
    /// How long the job took, seconds.
    pub seconds: f64,
    /// `exit_code` in status.json.
    pub exit_code: Option<i64>,
    /// What the launcher returned.
    pub launcher_code: Option<i32>,
    /// Iterations in the log.
    pub iterations: usize,
    /// Messages of the victim that were refused.
    pub refused: u64,
    /// Messages of other workers that were refused.
    pub refused_of_others: u64,
    /// Workers given up.
    pub lost: usize,
    /// Messages of another round.
    pub foreign: u64,
}

/// Judges the job that ran `case` with run directory `out`; `told` says whether the launcher tells the
/// master of deaths.
pub fn judge(case: &Case, told: bool, ended: &Ended, out: &Path) -> Verdict {
    let mut verdict = Verdict {
        seconds: ended.seconds,
        launcher_code: ended.code,
        ..Verdict::default()
    };
    let mut wrong = Vec::new();
    if ended.hung {
        wrong.push(format!("hung: not over after {:.0} s", ended.seconds));
    }
    if !ended.orphans.is_empty() {
        wrong.push(format!("left processes behind: {:?}", ended.orphans));
    }
    match status(out) {
        Ok(status) => {
            judge_status(case, ended, &status, &mut verdict, &mut wrong);
            if told && case.fault == "kill" {
                judge_notice(case, &status, &mut wrong);
            }
        }
        Err(error) => wrong.push(format!("status.json: {error}")),
    }
    match RunReader::open(out) {
        Ok(log) => {
            if let Err(error) = judge_log(case, &log, &mut verdict, &mut wrong) {
                wrong.push(format!("run.h5: {error}"));
            }
        }
        Err(error) => wrong.push(format!("run.h5: {error}")),
    }
    verdict.violations = wrong;
    verdict
}

fn status(out: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(out.join("status.json")).map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

fn judge_status(
    case: &Case,
    ended: &Ended,
    status: &Value,
    verdict: &mut Verdict,
    wrong: &mut Vec<String>,
) {
    verdict.exit_code = status["exit_code"].as_i64();
    let lost = status["lost_workers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    verdict.lost = lost.len();
    let mut expect = |what: &str, found: &Value, wanted: Value| {
        if *found != wanted {
            wrong.push(format!("status.json: {what} is {found}, not {wanted}"));
        }
    };
    expect("outcome", &status["outcome"], "done".into());
    expect("exit_code", &status["exit_code"], 0.into());
    expect(
        "iterations_done",
        &status["iterations_done"],
        case.iterations().into(),
    );
    let victims: Vec<&Value> = lost.iter().map(|lost| &lost["worker"]).collect();
    let wanted: Vec<Value> = match case.expectation() {
        Expectation::Lost => vec![case.victim.into()],
        _ => vec![],
    };
    if victims != wanted.iter().collect::<Vec<_>>() {
        wrong.push(format!(
            "status.json: lost workers are {lost:?}, not {wanted:?}"
        ));
    }
    // After a loss launchers return what they like.
    if case.expectation() != Expectation::Lost && ended.code != Some(0) {
        wrong.push(format!("the launcher returned {:?}, not 0", ended.code));
    }
}

/// The master was told of the death, in the very iteration or the next.
fn judge_notice(case: &Case, status: &Value, wrong: &mut Vec<String>) {
    let lost = &status["lost_workers"][0];
    let reason = lost["reason"].as_str().unwrap_or_default();
    let iteration = lost["iteration"].as_u64().unwrap_or(u64::MAX);
    if !reason.contains("MPI_ERR_PROC_FAILED") || iteration > case.at + 1 {
        wrong.push(format!("the master was not told at once: {lost}"));
    }
}

/// The columns that the judgement needs.
struct Columns {
    late: Rows,
    refused: Rows,
    responders: Vec<f64>,
    seconds: Vec<f64>,
}

/// A per-worker column, row by row.
type Rows = Vec<Vec<f64>>;

fn rows_of(log: &RunReader, name: &str) -> Result<Rows, run_log::LogError> {
    let values = log.per_worker(name)?;
    Ok(values.outer_iter().map(|row| row.to_vec()).collect())
}

fn judge_log(
    case: &Case,
    log: &RunReader,
    verdict: &mut Verdict,
    wrong: &mut Vec<String>,
) -> Result<(), run_log::LogError> {
    let rows = log.len();
    verdict.iterations = rows;
    for name in log.series_names()? {
        let length = log.series(&name)?.len();
        if length != rows {
            wrong.push(format!("run.h5: {name} has {length} rows of {rows}"));
        }
    }
    for name in log.per_worker_names()? {
        let shape = log.per_worker(&name)?.dim();
        if shape != (rows, log.workers()) {
            wrong.push(format!("run.h5: {name} is {shape:?} of {rows} rows"));
        }
    }
    let iterations = log.series("iteration")?;
    if iterations.iter().enumerate().any(|(t, i)| t as f64 != *i) {
        wrong.push("run.h5: iterations are not 0, 1, 2, ...".to_owned());
    }
    verdict.foreign = log.series("foreign")?.iter().sum::<f64>() as u64;
    if verdict.foreign > 0 {
        wrong.push(format!("{} messages of another round", verdict.foreign));
    }
    let columns = Columns {
        late: rows_of(log, "late_iterations")?,
        refused: rows_of(log, "refused")?,
        responders: log.series("responders")?,
        seconds: log.series("seconds_round")?,
    };
    for (t, late) in columns.late.iter().enumerate() {
        let answered = late.iter().filter(|late| **late == 0.0).count();
        if answered as f64 != columns.responders[t] {
            wrong.push(format!(
                "run.h5: {answered} workers in time in row {t}, and not as many responders"
            ));
            break;
        }
    }
    let total = |mine: bool| -> u64 {
        let row = |row: &Vec<f64>| {
            let counted = row.iter().enumerate();
            counted
                .filter(|(worker, _)| (*worker == case.victim) == mine)
                .map(|(_, refused)| refused)
                .sum::<f64>()
        };
        columns.refused.iter().map(row).sum::<f64>() as u64
    };
    verdict.refused = total(true);
    verdict.refused_of_others = total(false);
    if verdict.refused_of_others > 0 {
        wrong.push(format!(
            "{} messages of others are refused",
            verdict.refused_of_others
        ));
    }
    if rows as u64 != case.iterations() {
        wrong.push(format!("run.h5: {rows} rows of {}", case.iterations()));
        return Ok(());
    }
    judge_visibility(case, log, &columns, verdict.refused, wrong)
}

/// Every fault can be seen in the log, where and when it happened.
fn judge_visibility(
    case: &Case,
    log: &RunReader,
    columns: &Columns,
    refused: u64,
    wrong: &mut Vec<String>,
) -> Result<(), run_log::LogError> {
    let (at, to) = (case.at as usize, case.to() as usize);
    let late = |t: usize| columns.late[t][case.victim];
    let plans = log.plans()?;
    let replanned = plans.len() > 1;
    match case.expectation() {
        Expectation::Lost => {
            if plans.len() != 2 || plans[1].plan.load[case.victim] != 0 {
                wrong.push(format!(
                    "run.h5: {} plans, the last not without the victim",
                    plans.len()
                ));
            }
            let after = columns.late.len() - 1;
            if late(after) != -1.0 {
                wrong.push("run.h5: the lost worker is still asked in the end".to_owned());
            }
        }
        Expectation::Slow => {
            // A frame that is held up is awaited; anything else is late.
            let seen = (at..(at + 3).min(columns.late.len()))
                .any(|t| late(t) >= 1.0 || columns.seconds[t] >= 0.8 * LASTS);
            if !seen {
                wrong.push("run.h5: nobody is late and no round long".to_owned());
            }
            let back = (at..columns.late.len()).any(|t| late(t) == 0.0);
            if !back {
                wrong.push("run.h5: the victim never answers again".to_owned());
            }
        }
        Expectation::Refused => {
            if (at..=to).any(|t| late(t) == 0.0) {
                wrong.push("run.h5: a spoilt message entered the estimate".to_owned());
            }
            // A busy machine may make all of them late, and then nobody looks at them.
            if refused == 0 && !(at..=to).all(|t| late(t) >= 1.0) {
                wrong.push("run.h5: nothing is refused".to_owned());
            }
            if refused > (to - at + 1) as u64 {
                wrong.push(format!(
                    "run.h5: {refused} messages of the victim are refused"
                ));
            }
            if !(to + 1..columns.late.len()).any(|t| late(t) == 0.0) {
                wrong.push("run.h5: the victim never answers again".to_owned());
            }
        }
    }
    if replanned && case.expectation() != Expectation::Lost {
        wrong.push("run.h5: a plan was made although nobody is lost".to_owned());
    }
    Ok(())
}
