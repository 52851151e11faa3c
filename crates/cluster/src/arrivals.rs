//! Who arrives, held against the plan, and the plan made anew where it no longer holds.
//!
//! Every round is a trial of every worker that the plan wants something of. [`straggler::Monitor`]
//! tests them; this module says what its trials are, and acts on what it finds between two rounds. What
//! the workers measure of their quantization error is held against the plan in the same place.

use crate::distortion::PhiDrift;
use crate::error::RunError;
use crate::expected::Messages;
use crate::gather::Round;
use crate::master::{Belief, Master};
use crate::settings::Settings;
use gradient_code::Plan;
use run_log::IterationRow;
use std::collections::BTreeMap;
use straggler::{Drift, Monitor, Trial};

/// Watches the arrivals of a run that begins with `plan`, if it should and there is anything to see.
pub(crate) fn monitor(settings: &Settings, plan: &Plan) -> Option<Monitor> {
    let rules = settings.replan.filter(|_| !plan.no_straggling)?;
    let planned: Vec<f64> = plan
        .workers
        .iter()
        .map(|worker| worker.straggle_probability)
        .collect();
    Some(Monitor::new(rules, &planned, settings.iterations))
}

impl Master<'_> {
    /// Holds a complete round against the plan; what has changed, if anything has.
    pub(crate) fn watch(&mut self, round: &Round, row: &IterationRow) -> Option<Drift> {
        let deadline = round.timing.deadline;
        let monitor = self.monitor.as_mut().filter(|_| deadline.is_finite())?;
        // Where arrivals are drawn, the draws are what the deadline is held against.
        let arrivals = match self.clockwork.drawn() {
            true => &round.timing.delays,
            false => &row.per_worker.arrival_time,
        };
        for (worker, &behind) in row.per_worker.late_iterations.iter().enumerate() {
            let trial = match behind {
                ..0 => continue, // idle or lost: nothing was wanted of it
                0 => Trial::Arrived(arrivals[worker]),
                1 => Trial::Late(deadline),
                2.. => Trial::Busy,
            };
            monitor.observe(worker, trial);
        }
        monitor.end_round(deadline)
    }

    /// Holds the quantization error of a round's messages against the plan; what differs, if anything
    /// does.
    pub(crate) fn watch_phi(&mut self, t: u64, row: &IterationRow) -> Option<PhiDrift> {
        let monitor = self.phi_monitor.as_mut()?;
        let workers = self.plan.workers.iter();
        let mut any = false;
        for (i, worker) in workers.clone().enumerate() {
            let error = row.per_worker.quantization_error[i];
            // Only of messages that were used: what else a worker says that was refused is not believed.
            if error.is_finite() && row.per_worker.loss[i].is_finite() {
                monitor.observe(worker.bits, error);
                any = true;
            }
        }
        let active = workers.zip(&self.plan.prediction.phi);
        let planned: BTreeMap<u8, f64> = active
            .filter(|(worker, _)| !worker.is_idle())
            .map(|(worker, &phi)| (worker.bits, phi))
            .collect();
        any.then(|| monitor.judge(t, &planned)).flatten()
    }

    /// Makes the plan anew from iteration `t` on, without the lost and with what has been learnt of
    /// the others. A drift that no plan can be made for leaves the old one in force.
    pub(crate) fn replan(
        &mut self,
        t: u64,
        drift: Option<&Drift>,
        phi: Option<&PhiDrift>,
    ) -> Result<(), RunError> {
        let found: Vec<String> = (drift.map(Drift::to_string).into_iter())
            .chain(phi.map(PhiDrift::to_string))
            .collect();
        self.check_alive(t)?;
        let learnt = self.monitor.as_ref().filter(|monitor| monitor.has_learnt());
        let belief = Belief {
            dead: self.roster.dead(),
            probabilities: learnt.map(Monitor::probabilities),
            phi: (self.phi_monitor.as_ref())
                .map(|monitor| monitor.believed().clone())
                .unwrap_or_default(),
        };
        let dimension = self.parameters().len();
        let made = self.ask_for_a_plan(&belief).and_then(|plan| {
            let messages = Messages::new(&plan, self.settings, dimension);
            Ok((messages.map_err(|error| error.to_string())?, plan))
        });
        let (messages, plan) = match made {
            Ok(made) => made,
            Err(reason) if !self.replan_due && !found.is_empty() => {
                let found = found.join("; ");
                self.journal.warning(&format!(
                    "the plan stays as it is at iteration {t}, since there is no other: {reason}; {found}"
                ));
                return Ok(());
            }
            Err(reason) => return Err(RunError::Replan(reason)),
        };
        let reason = self.reason_to_replan(&found);
        if !found.is_empty() {
            self.journal
                .note(&format!("a new plan from iteration {t} on: {reason}"));
        }
        self.messages = messages;
        self.clockwork.messages(self.messages.all_payload_bits());
        self.estimate.turn_to(&plan, dimension);
        if let Some(warning) = self.estimate.prepare(&self.messages) {
            self.journal.warning(&warning);
        }
        self.transport.publish(&plan)?;
        self.journal.plan(t, &plan, &reason);
        self.plan_reason = reason;
        self.planned_with_lost = self.roster.lost().len();
        self.plan = plan;
        self.replan_due = false;
        Ok(())
    }

    /// Who was lost since the last plan and why, and what else was found.
    fn reason_to_replan(&self, found: &[String]) -> String {
        let lost = self.roster.lost().iter().skip(self.planned_with_lost);
        if lost.len() == 0 && found.is_empty() {
            return "all workers are back".to_owned();
        }
        lost.map(|lost| format!("worker {} is lost: {}", lost.worker, lost.reason))
            .chain(found.iter().cloned())
            .collect::<Vec<_>>()
            .join("; ")
    }
}
