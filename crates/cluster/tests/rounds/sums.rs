//! Sums that are made elsewhere: what the master asks of a device, and what it does without one.

use crate::common::*;
use cluster::{Engine, InProcess, RunError, Settings};
use gradient_code::{Decoder, Plan, Scaling, SchemeConfig, SecondTrack, Setting};
use gradient_codec::{Compressor, Frame, Preset, Rotation, accumulate_many, accumulate_rotated};
use learner::optimizer::AdamConfig;
use learner::{LearnerError, OptimizerConfig, Sums};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What is asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Clear,
    Add,
    Finish,
}

/// A device that has memory of its own: what it sums is seen from `finish` on alone.
#[derive(Default)]
struct Remote {
    sums: Vec<Vec<f32>>,
    values: Vec<f32>,
    calls: Arc<Mutex<Vec<Call>>>,
    /// Refuses compressors from this call on.
    refuses: Option<Arc<AtomicUsize>>,
    /// Fails at the n-th call of this kind, counted from 0.
    fails: Option<(Call, usize)>,
}

impl Remote {
    fn called(&self, call: Call) -> Result<(), LearnerError> {
        let mut calls = self.calls.lock().expect("one thread at a time");
        let before = calls.iter().filter(|c| **c == call).count();
        calls.push(call);
        if self.fails == Some((call, before)) {
            return Err(LearnerError::Backend("out of memory".to_owned()));
        }
        Ok(())
    }
}

impl Sums for Remote {
    fn device(&self) -> String {
        "remote:3".to_owned()
    }

    fn adds(&mut self, _compressor: &Compressor) -> Result<(), String> {
        let Some(left) = &self.refuses else {
            return Ok(());
        };
        let take = |left: usize| left.checked_sub(1);
        let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map_or(Err("it has had enough".to_owned()), |_| Ok(()))
    }

    fn clear(&mut self, count: usize, length: usize) -> Result<(), LearnerError> {
        self.called(Call::Clear)?;
        self.values.clear();
        self.sums = vec![vec![0.0; length]; count];
        Ok(())
    }

    fn add(
        &mut self,
        shared: Option<&Rotation>,
        frames: &[(Frame<'_>, Vec<f32>)],
    ) -> Result<(), LearnerError> {
        self.called(Call::Add)?;
        let count = self.sums.len();
        assert!(frames.iter().all(|(_, weights)| weights.len() == count));
        for (r, sum) in self.sums.iter_mut().enumerate() {
            for (frame, weights) in frames {
                match shared {
                    Some(shared) => accumulate_rotated(shared, &[(*frame, weights[r])], sum),
                    None => accumulate_many(&[(*frame, weights[r])], sum),
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, shared: Option<&Rotation>) -> Result<(), LearnerError> {
        self.called(Call::Finish)?;
        for sum in &mut self.sums {
            if let Some(rotation) = shared {
                rotation.invert(sum);
            }
        }
        self.values = self.sums.concat();
        Ok(())
    }

    fn values(&self) -> &[f32] {
        &self.values
    }
}

/// A plan of `scheme` with `two_track`'s Lambda.
fn plan(scheme: &str, preset: &Preset, two_track: Option<f64>) -> Plan {
    let setting = Setting {
        partitions: WORKERS,
        straggle_probabilities: &delays().straggle_probabilities(TAU),
        phi: &|bits| preset.phi(bits, 20),
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: preset.unbiased(),
        seed: 0,
    };
    let budget = budget_for(preset, WORKERS, 48, 20);
    gradient_code::plan(&SchemeConfig::new(scheme), &setting, &budget, two_track).expect("a plan")
}

fn train(
    settings: &Settings,
    plan: &Plan,
    optimizer: OptimizerConfig,
    sums: Option<Remote>,
) -> Run {
    let engine = Engine::new(Box::new(problem()), settings.preset, settings.seed);
    let kept = Kept {
        sums: sums.map(|sums| Box::new(sums) as Box<dyn Sums>),
        ..Kept::default()
    };
    run_kept(
        &mut problem(),
        settings,
        &mut InProcess::new(engine),
        plan.clone(),
        optimizer,
        kept,
    )
    .expect("a master")
}

/// What was logged of every round, and the last parameters, as bits.
fn bits((_, record, parameters): &Run) -> (Vec<[u64; 4]>, Vec<u32>) {
    let row = |row: &run_log::IterationRow| {
        let norm = row.gradient_norm.to_bits();
        [
            norm,
            row.loss.to_bits(),
            row.loss_decoded.to_bits(),
            row.responders,
        ]
    };
    let rows = record.rows.iter().map(row).collect();
    (rows, parameters.iter().map(|x| x.to_bits()).collect())
}

#[test]
fn runs_are_the_same_wherever_sums_are_made() {
    let adam = OptimizerConfig::Adam(AdamConfig::default());
    let sgd = OptimizerConfig::default();
    for (scheme, preset, two_track, optimizer) in [
        ("joint", "qsgd-bucketed", None, sgd),
        ("joint", "rotated", Some(0.5), adam),
        ("sgc", "eden", Some(0.5), adam),
        ("bgc", "qsgd", None, sgd),
        ("sgd", "f32", None, sgd),
    ] {
        let preset: Preset = preset.parse().expect("a preset");
        let plan = plan(scheme, &preset, two_track);
        let separate = matches!(
            plan.decoder,
            Decoder::Fixed {
                second: Some(SecondTrack::Weights(_)),
                ..
            }
        );
        assert_eq!(separate, scheme == "sgc", "it has two sums");
        let settings = Settings {
            preset,
            ..settings(erase(), 30)
        };
        let remote = Remote::default();
        let calls = remote.calls.clone();
        let here = train(&settings, &plan, optimizer, None);
        let there = train(&settings, &plan, optimizer, Some(remote));
        there.0.as_ref().expect("a complete run");
        assert_eq!(bits(&here), bits(&there), "{scheme} {preset:?}");
        assert!(there.1.warnings.is_empty(), "{:?}", there.1.warnings);
        let calls = calls.lock().expect("it has ended");
        let count = |call| calls.iter().filter(|c| **c == call).count();
        // Once to make sure that there is room.
        assert_eq!((count(Call::Clear), count(Call::Finish)), (31, 30));
        assert!(count(Call::Add) >= 25, "{}", count(Call::Add));
    }
}

#[test]
fn blocks_are_summed_elsewhere_too() {
    let preset: Preset = "qsgd-bucketed".parse().expect("a preset");
    let mut plan = plan("joint", &preset, None);
    plan.decoder = per_round();
    plan.block_code = Some(gradient_code::BlockCode::RandomDiagonal {
        blocks: 3,
        epsilon: 0.2,
        seed: 3,
    });
    plan.validate().expect("a plan that can be run");
    let settings = settings(erase(), 30);
    let here = train(&settings, &plan, OptimizerConfig::default(), None);
    let remote = Some(Remote::default());
    let there = train(&settings, &plan, OptimizerConfig::default(), remote);
    there.0.as_ref().expect("a complete run");
    assert_eq!(bits(&here), bits(&there));
}

/// At the start, or when a new plan calls for what the device has not.
#[test]
fn what_a_device_cannot_add_the_cpu_adds_from_then_on() {
    let plan = plan("joint", &preset(), None);
    let settings = settings(erase(), 20);
    let here = train(&settings, &plan, OptimizerConfig::default(), None);
    let calls = |able, fails| {
        let remote = Remote {
            refuses: Some(Arc::new(AtomicUsize::new(able))),
            fails,
            ..Remote::default()
        };
        let calls = remote.calls.clone();
        let run = train(&settings, &plan, OptimizerConfig::default(), Some(remote));
        run.0.as_ref().expect("a complete run");
        assert_eq!(bits(&here), bits(&run));
        let calls = calls.lock().expect("it has ended").clone();
        (run.1.warnings, calls)
    };
    let (warnings, asked) = calls(2, None);
    assert_eq!(
        warnings,
        ["gradients are decoded by the CPU's loops and not on remote:3, because it has had enough"]
    );
    assert!(asked.is_empty());
    let (warnings, asked) = calls(100, Some((Call::Clear, 0)));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].ends_with("out of memory"), "{warnings:?}");
    assert_eq!(asked, [Call::Clear]);
}

/// Worker 2 dies in iteration 10; the device takes the first plan's six compressors and no more.
#[test]
fn a_new_plan_is_tried_like_the_first() {
    use cluster::{Fault, FaultKind, Faults, Phase};
    let kill = Fault {
        kind: FaultKind::Kill,
        phase: Phase::Compute,
        workers: Some(vec![2]),
        from: 10,
        to: 10,
        probability: 1.0,
        seconds: 0.0,
        factor: 1.0,
    };
    let settings = settings(everybody_in_time(), 20);
    let run = |able: Option<usize>| {
        let engine = Engine::new(Box::new(problem()), preset(), 3)
            .with_faults(Faults::new(3, vec![kill.clone()]));
        let sums = able.map(|able| Remote {
            refuses: Some(Arc::new(AtomicUsize::new(able))),
            ..Remote::default()
        });
        let calls = sums.as_ref().map(|sums| sums.calls.clone());
        let kept = Kept {
            sums: sums.map(|sums| Box::new(sums) as Box<dyn Sums>),
            ..Kept::default()
        };
        let run = run_kept(
            &mut problem(),
            &settings,
            &mut InProcess::new(engine),
            plan_for(&[]),
            OptimizerConfig::default(),
            kept,
        )
        .expect("a master");
        run.0.as_ref().expect("a complete run");
        assert_eq!(run.1.plans.len(), 2);
        let finished = |calls: Arc<Mutex<Vec<Call>>>| {
            let calls = calls.lock().expect("it has ended");
            calls.iter().filter(|c| **c == Call::Finish).count()
        };
        (bits(&run), run.1.warnings, calls.map(finished))
    };
    let (here, before, _) = run(None);
    let (there, warnings, rounds) = run(Some(WORKERS));
    assert_eq!(here, there);
    let on_device = rounds.expect("a device");
    assert!((10..20).contains(&on_device), "{on_device}");
    assert_eq!(warnings.len(), before.len() + 1, "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("had enough")));
}

/// Half a sum is never used, and the run says which device it was.
#[test]
fn a_device_that_fails_ends_the_run() {
    let plan = plan("joint", &preset(), None);
    let settings = settings(everybody_in_time(), 20);
    for (call, at) in [(Call::Clear, 4), (Call::Add, 5), (Call::Finish, 3)] {
        let remote = Remote {
            fails: Some((call, at)),
            ..Remote::default()
        };
        let (outcome, record, _) =
            train(&settings, &plan, OptimizerConfig::default(), Some(remote));
        let error = outcome.expect_err("it cannot go on");
        let RunError::Sums {
            iteration, device, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(device, "remote:3");
        assert_eq!(*iteration as usize, record.rows.len());
        assert!(*iteration < 6);
        let text = error.to_string();
        assert!(
            text.contains("remote:3") && text.contains("out of memory"),
            "{text}"
        );
    }
}
