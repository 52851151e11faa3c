//! How a [`Master`] is put together: from nothing, or from a checkpoint.

use crate::arrivals;
use crate::distortion::PhiMonitor;
use crate::downlink::Publisher;
use crate::error::RunError;
use crate::estimate::Estimate;
use crate::expected::Messages;
use crate::master::{Between, Journal, Master, Replanner};
use crate::norms::Norms;
use crate::offences::Offences;
use crate::roster::Roster;
use crate::saving::{Checkpoints, Saving};
use crate::settings::Settings;
use crate::signals::Signals;
use crate::snapshot::Resume;
use crate::straggling::Clockwork;
use crate::sums::Summing;
use crate::transport::Transport;
use gradient_code::{Decoder, Plan};
use learner::{Learner, Optimizer, Sums};
use straggler::Monitor;

/// Everything a [`Master`] is made of.
pub struct Parts<'a> {
    /// The rules.
    pub settings: &'a Settings,
    /// The workers.
    pub transport: &'a mut dyn Transport,
    /// Where results go.
    pub journal: &'a mut dyn Journal,
    /// Plans without the lost.
    pub replanner: &'a mut Replanner<'a>,
    /// What is asked for from outside.
    pub signals: Signals,
    /// The master's own model and data, for evaluation.
    pub learner: &'a mut dyn Learner,
    /// Adds up the gradients on a device instead of the CPU, for as long as it can add all that plans call for.
    pub sums: Option<Box<dyn Sums>>,
    /// The update rule.
    pub optimizer: Box<dyn Optimizer>,
    /// The plan to begin with; a resumed run takes the checkpoint's.
    pub plan: Plan,
    /// Where and when to write checkpoints, if at all.
    pub checkpoints: Option<Checkpoints>,
    /// What to go on from, instead of the learner's initial parameters.
    pub resume: Option<Resume>,
}

impl<'a> Master<'a> {
    /// A master at iteration 0 with the learner's initial parameters, or where a checkpoint left off.
    ///
    /// # Errors
    /// If the plan's widths do not fit the compressor, or its decoder not the error feedback, or if
    /// the checkpoint is of another optimizer.
    pub fn new(mut parts: Parts<'a>) -> Result<Self, RunError> {
        let dimension = parts.learner.dimension();
        let mut parameters = parts.learner.initial_parameters();
        let (mut first, mut empty_rounds) = (0, 0);
        let (mut monitor, mut plan_reason) = (None, "start".to_owned());
        let mut phi_monitor = None;
        if let Some(resume) = &mut parts.resume {
            parameters = std::mem::take(&mut resume.parameters);
            let state = std::mem::take(&mut resume.optimizer);
            parts.optimizer.restore(state)?;
            parts.plan = resume.state.plan.clone();
            (first, empty_rounds) = (resume.state.iterations, resume.state.empty_rounds);
            plan_reason.clone_from(&resume.state.plan_reason);
            phi_monitor = resume.state.phi_monitor.take();
            monitor = resume.state.monitor.take();
            if let Some(monitor) = &mut monitor {
                Monitor::set_rounds(monitor, parts.settings.iterations);
            }
        }
        if parts.settings.error_feedback.is_some()
            && matches!(parts.plan.decoder, Decoder::PerRound(_))
        {
            let scheme = parts.plan.scheme.clone();
            return Err(RunError::FeedbackPerRound { scheme });
        }
        let messages = Messages::new(&parts.plan, parts.settings, dimension)
            .map_err(|error| RunError::Replan(error.to_string()))?;
        let mut estimate = Estimate::new(&parts.plan, dimension, Summing::new(parts.sums));
        if let Some(warning) = estimate.prepare(&messages) {
            parts.journal.warning(&warning);
        }
        let workers = parts.plan.workers.len();
        let mut clockwork = Clockwork::new(
            parts.settings.straggling.clone(),
            parts.settings.seed,
            workers,
        );
        clockwork.messages(messages.all_payload_bits());
        let settings = parts.settings;
        let mut publisher = Publisher::new(settings.downlink, dimension, settings.seed)
            .map_err(|error| RunError::Replan(error.to_string()))?;
        if let Some(resume) = &mut parts.resume {
            publisher.restore(
                std::mem::take(&mut resume.shadow),
                resume.state.shadow_iteration,
            );
        }
        Ok(Self {
            settings: parts.settings,
            transport: parts.transport,
            journal: parts.journal,
            replanner: parts.replanner,
            signals: parts.signals,
            parameters,
            learner: parts.learner,
            optimizer: parts.optimizer,
            estimate,
            messages,
            clockwork,
            roster: Roster::new(workers),
            offences: Offences::new(workers),
            norms: Norms::default(),
            monitor: monitor.or_else(|| arrivals::monitor(parts.settings, &parts.plan)),
            phi_monitor: phi_monitor.or_else(|| settings.distortion.refresh.map(PhiMonitor::new)),
            plan: parts.plan,
            publisher,
            sequence: 0,
            first,
            empty_rounds,
            evaluation_due: (parts.resume.as_ref())
                .is_some_and(|resume| resume.state.evaluation_due),
            plan_reason,
            saving: Saving::new(parts.checkpoints, parts.resume.is_some().then_some(first)),
            resume: parts.resume,
            replan_due: false,
            planned_with_lost: 0,
            not_finite: false,
            exact: Vec::new(),
            metrics: Vec::new(),
            between: Between::default(),
        })
    }
}
