//! Which metrics are shown where there is room for a few. The log, `--json` and `eval` have all.

use coco::AveragePrecision;
use learner::Metric;

/// Metrics of a detector that come first: AP, AP50, AP75.
const LEADING: usize = 3;

/// Whether the metric of this name is one of COCO's nine that few look at: APs, ..., ARl.
pub fn is_detail(name: &str) -> bool {
    AveragePrecision::NAMES[LEADING..].contains(&name)
}

/// The others, on one line.
pub fn line(metrics: &[Metric]) -> String {
    let words: Vec<String> = metrics
        .iter()
        .filter(|metric| !is_detail(&metric.name))
        .map(|metric| format!("{} {:.4}", metric.name, metric.value))
        .collect();
    words.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_leads_and_the_loss() {
        let names = ["AP", "AP75", "APs", "AR100", "loss", "F1"];
        let metrics = names.map(|name| Metric::new(name, 0.5));
        assert_eq!(
            line(&metrics),
            "AP 0.5000  AP75 0.5000  loss 0.5000  F1 0.5000"
        );
    }
}
