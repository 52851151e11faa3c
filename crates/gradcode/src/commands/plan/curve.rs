//! What deadlines promise: `tau (1 + 1/S(tau))` by tau, and which one was chosen.

use gradient_code::{Criterion, DeadlineChoice, DeadlinePoint, Plan};
use serde_json::{Value, json};

use crate::config::planning::PlanInputs;

/// Rows of the table, beside the chosen deadline.
const ROWS: usize = 12;
/// Characters of the longest bar.
const BAR: f64 = 40.0;

/// One object: the deadline that is planned for, and the curve if it was looked at.
pub fn object(inputs: &PlanInputs, plan: &Plan, criterion: Criterion) -> Value {
    let own = DeadlinePoint::of(inputs.deadline, plan, criterion);
    let mut object = point(&own);
    if let Some(choice) = &inputs.choice {
        object["optimal"] = json!(choice.best.deadline);
        object["curve"] = choice.curve.iter().map(point).collect();
    }
    object
}

fn point(point: &DeadlinePoint) -> Value {
    json!({
        "deadline": point.deadline,
        "objective": point.objective,
        "S": point.scaling_s,
        "answers": point.answers,
        "bits_per_coordinate_offered": point.bits,
    })
}

/// A table with a bar per row; nothing where no other deadline was looked at.
pub fn text(inputs: &PlanInputs, plan: &Plan, criterion: Criterion) -> String {
    let Some(choice) = &inputs.choice else {
        return String::new();
    };
    let own = DeadlinePoint::of(inputs.deadline, plan, criterion);
    let mut rows = thinned(choice);
    if !rows.iter().any(|row| row.deadline == own.deadline) {
        rows.push(own);
        rows.sort_by(|a, b| a.deadline.total_cmp(&b.deadline));
    }
    let most = rows.iter().map(|row| row.objective).fold(0.0, f64::max);
    let formula = match criterion {
        Criterion::WorstCase => "tau (1 + 1/S)",
        Criterion::Sampling => "tau (1 + sampling noise)",
    };
    let mut text = format!(
        "deadline {:.4} has the least {}, {:.4}; units of the delay model\n  {:>9} {:>8} {:>9} {:>7}  {}\n",
        choice.best.deadline,
        formula,
        choice.best.objective,
        "tau",
        "answers",
        "S",
        "bits",
        formula
    );
    for row in rows {
        let bar = "#".repeat((BAR * row.objective / most).round().max(1.0) as usize);
        let mark = match (
            row.deadline == choice.best.deadline,
            row.deadline == own.deadline,
        ) {
            (true, true) => " <- optimal, planned",
            (true, false) => " <- optimal",
            (false, true) => " <- planned",
            (false, false) => "",
        };
        text.push_str(&format!(
            "  {:>9.4} {:>8.2} {:>9.4} {:>7}  {bar} {:.4}{mark}\n",
            row.deadline, row.answers, row.scaling_s, row.bits, row.objective
        ));
    }
    text
}

/// Some points of the curve, evenly spread in deadline among those not far above the best, the best
/// among them.
fn thinned(choice: &DeadlineChoice) -> Vec<DeadlinePoint> {
    let near: Vec<&DeadlinePoint> = choice
        .curve
        .iter()
        .filter(|point| point.objective <= 4.0 * choice.best.objective)
        .collect();
    let (Some(first), Some(last)) = (near.first(), near.last()) else {
        return vec![choice.best];
    };
    let step = (last.deadline - first.deadline) / ROWS as f64;
    let mut rows: Vec<DeadlinePoint> = Vec::new();
    for point in near {
        let apart = rows
            .last()
            .is_none_or(|row| point.deadline - row.deadline >= step);
        if apart || *point == choice.best {
            rows.push(*point);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(deadline: f64) -> DeadlinePoint {
        DeadlinePoint {
            deadline,
            objective: deadline + 1.0 / (deadline - 1.0),
            scaling_s: 1.0,
            answers: 2.0,
            bits: 20.0,
        }
    }

    #[test]
    fn the_best_is_among_few_rows() {
        let curve: Vec<DeadlinePoint> = (1..400).map(|i| at(1.0 + f64::from(i) / 100.0)).collect();
        let best = curve[99];
        let rows = thinned(&DeadlineChoice { best, curve });
        assert!(rows.len() <= ROWS + 2, "{}", rows.len());
        assert!(rows.contains(&best) && rows.windows(2).all(|w| w[0].deadline < w[1].deadline));
    }
}
