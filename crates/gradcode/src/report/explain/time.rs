//! Where the time went, from the first start to the last iteration, without gaps or overlaps.

use run_log::Segment;
use serde::Serialize;

use super::Circumstances;
use super::columns::{Columns, or_zero, sum};

/// What a part of the time was spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// From the start of the program's log to the first round: measuring rounds, mostly.
    Start,
    /// The master prepared and addressed the model, and waited for an idle worker.
    Open,
    /// Waited for the round's last on-time worker while it computed.
    Compute,
    /// The same while it quantized and packed.
    Encode,
    /// The rest of the wait for it: the model on its way, injected delays, several workers on a rank.
    Travel,
    /// Waited until the deadline for workers that did not come.
    InVain,
    /// Waited for frames already asked for.
    Frames,
    /// Unpacked, dequantized, accumulated.
    Decode,
    /// The exact gradient that the decoded one is compared with.
    Check,
    /// The optimizer.
    Step,
    /// The rest of the rounds.
    Round,
    /// Evaluations.
    Evaluate,
    /// Checkpoints.
    Checkpoint,
    /// Log and progress.
    Log,
    /// The rest of the time between rounds.
    Between,
}

/// All activities in the order of a run.
pub const ACTIVITIES: [Activity; 15] = [
    Activity::Start,
    Activity::Open,
    Activity::Compute,
    Activity::Encode,
    Activity::Travel,
    Activity::InVain,
    Activity::Frames,
    Activity::Decode,
    Activity::Check,
    Activity::Step,
    Activity::Round,
    Activity::Evaluate,
    Activity::Checkpoint,
    Activity::Log,
    Activity::Between,
];

impl Activity {
    /// A short name, for people.
    pub fn label(self, circumstances: &Circumstances) -> &'static str {
        match (self, circumstances.simulated) {
            (Self::Start, _) => "before the first round",
            (Self::Open, _) => "sending the model out",
            (Self::Compute, false) => "waiting for backward passes",
            (Self::Compute, true) => "backward passes, one worker after another",
            (Self::Encode, false) => "waiting for encoding",
            (Self::Encode, true) => "encoding, one worker after another",
            (Self::Travel, false) if circumstances.delayed => {
                "waiting for injected delays, model under way"
            }
            (Self::Travel, false) => "waiting for model and header under way",
            (Self::Travel, true) => "rest of the simulation",
            (Self::InVain, _) => "waiting for those who missed the deadline",
            (Self::Frames, _) => "waiting for frames under way",
            (Self::Decode, _) => "decoding",
            (Self::Check, _) => "exact gradients for comparison",
            (Self::Step, _) => "optimizer steps",
            (Self::Round, _) => "rest of the rounds",
            (Self::Evaluate, _) => "evaluations",
            (Self::Checkpoint, _) => "checkpoints",
            (Self::Log, _) => "log and progress",
            (Self::Between, _) => "between rounds",
        }
    }
}

/// One part of the time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Part {
    /// What it was spent on.
    pub activity: Activity,
    /// How long.
    pub seconds: f64,
    /// Of the wall time.
    pub share: f64,
}

/// Where the time went.
#[derive(Clone, Debug, Serialize)]
pub struct Time {
    /// From the start to the last iteration; between a stop and a resume no time passes.
    pub wall: f64,
    /// All rounds.
    pub rounds: f64,
    /// Without gaps or overlaps, in the order of a run; together the wall time.
    pub parts: Vec<Part>,
    /// Every frame's way, added up, most of which the master does not wait for; NaN if not logged.
    pub wire_total: f64,
}

impl Time {
    /// Seconds spent on one activity.
    pub fn seconds(&self, activity: Activity) -> f64 {
        let part = self.parts.iter().find(|part| part.activity == activity);
        part.map_or(0.0, |part| part.seconds)
    }
}

/// Seconds of one round by activity, in the order of [`ACTIVITIES`].
pub type Split = [f64; ACTIVITIES.len()];

/// Takes one round apart.
pub fn round(columns: &Columns, circumstances: &Circumstances, t: usize) -> Split {
    let mut split = [0.0; ACTIVITIES.len()];
    let mut left = or_zero(columns.wait[t]);
    let mut take = |activity: Activity, wanted: f64| {
        let taken = or_zero(wanted).clamp(0.0, left);
        left -= taken;
        split[activity as usize] = taken;
    };
    if circumstances.simulated {
        take(Activity::Compute, sum(columns.compute.row(t)));
        take(Activity::Encode, sum(columns.encode.row(t)));
        take(Activity::Travel, f64::MAX);
    } else {
        let last = columns.last_on_time(t);
        let mut arrived = 0.0;
        if let Some((worker, arrival)) = last {
            let (compute, encode) = (columns.compute[[t, worker]], columns.encode[[t, worker]]);
            take(Activity::Compute, compute);
            take(Activity::Encode, encode);
            take(
                Activity::Travel,
                arrival - or_zero(compute) - or_zero(encode),
            );
            arrived = arrival;
        }
        if columns.closed_by_deadline(circumstances, t) {
            take(Activity::InVain, columns.deadline[t] - arrived);
        }
        take(Activity::Frames, f64::MAX);
    }
    split[Activity::Open as usize] = or_zero(columns.open[t]);
    split[Activity::Decode as usize] = or_zero(columns.decode[t]);
    split[Activity::Check as usize] = or_zero(columns.check[t]);
    split[Activity::Step as usize] = or_zero(columns.step[t]);
    let named: f64 = split.iter().sum();
    split[Activity::Round as usize] = (or_zero(columns.round[t]) - named).max(0.0);
    split
}

impl Columns {
    /// Whether round `t` ended because its time was up, and not because everybody had reported.
    pub fn closed_by_deadline(&self, circumstances: &Circumstances, t: usize) -> bool {
        let missing = self.late[t] > or_zero(self.refused[t]);
        missing && self.deadline[t].is_finite() && !circumstances.drawn && !circumstances.simulated
    }
}

/// Adds everything up.
pub fn of(columns: &Columns, circumstances: &Circumstances, segments: &[Segment]) -> Time {
    let mut sums = [0.0; ACTIVITIES.len()];
    for t in 0..columns.len() {
        for (sum, part) in sums.iter_mut().zip(round(columns, circumstances, t)) {
            *sum += part;
        }
    }
    let rounds = sum(&columns.round);
    let (start, between) = around(columns, segments);
    sums[Activity::Start as usize] = start;
    let mut left = between;
    for (activity, column) in [
        (Activity::Evaluate, &columns.evaluate),
        (Activity::Checkpoint, &columns.checkpoint),
        (Activity::Log, &columns.log),
    ] {
        let taken = sum(column).min(left);
        left -= taken;
        sums[activity as usize] = taken;
    }
    sums[Activity::Between as usize] = left;
    let wall: f64 = sums.iter().sum();
    let part = |activity: Activity| Part {
        activity,
        seconds: sums[activity as usize],
        share: if wall > 0.0 {
            sums[activity as usize] / wall
        } else {
            0.0
        },
    };
    let measured = columns.wire.iter().any(|seconds| seconds.is_finite());
    Time {
        wall,
        rounds,
        parts: ACTIVITIES.into_iter().map(part).collect(),
        wire_total: if measured {
            sum(&columns.wire)
        } else {
            f64::NAN
        },
    }
}

/// Seconds before the first round of each segment, and between rounds.
fn around(columns: &Columns, segments: &[Segment]) -> (f64, f64) {
    let (mut start, mut between) = (0.0, 0.0);
    for t in 0..columns.len() {
        let began = columns.time[t] - or_zero(columns.round[t]);
        let first = segments
            .iter()
            .rfind(|segment| segment.start_iteration as f64 == columns.iteration[t]);
        match (first, t) {
            (Some(segment), _) => start += or_zero(began - segment.start_time).max(0.0),
            (None, 0) => {}
            (None, _) => between += or_zero(began - columns.time[t - 1]).max(0.0),
        }
    }
    (start, between)
}
