//! What every plan promises, for any probabilities and budgets.

use gradient_code::{
    Budget, Decoder, Decoding, PerRound, Plan, PlanError, Scaling, SchemeConfig, SecondTrack,
    Setting, plan,
};
use proptest::prelude::*;

use super::{any_probabilities, every_scheme, fixed, is_redundant, is_unbiased, setting};

proptest! {
    #[test]
    fn plans_are_what_they_promise(
        p in any_probabilities(),
        more in 0usize..9,
        mean_bits in 2.0..14.0f64,
        lambda in prop_oneof![Just(None), (0.1..5.0f64).prop_map(Some)],
    ) {
        let partitions = p.len() + more;
        let setting = setting(&p, partitions);
        let budget = Budget::mean(mean_bits, p.len(), 2, 16);
        let alive = p.iter().filter(|&&p| p < 1.0).count();
        for scheme in every_scheme(p.len(), partitions) {
            let per_round = ["od", "ce-agc"].contains(&scheme.kind.as_str())
                || !matches!(scheme.decoding, Decoding::Default | Decoding::Plain);
            if per_round && lambda.is_some() {
                let refused = plan(&scheme, &setting, &budget, lambda);
                let why = matches!(refused, Err(PlanError::TwoTrackPerRound { .. }));
                prop_assert!(why);
                continue;
            }
            let plan = plan(&scheme, &setting, &budget, lambda).expect("a valid setting");
            prop_assert_eq!(plan.validate(), Ok(()));
            prop_assert_eq!(matches!(plan.decoder, Decoder::PerRound(_)), per_round);
            if !per_round {
                let (_, second) = fixed(&plan);
                prop_assert_eq!(second.is_some(), lambda.is_some());
                let coefficients = plan.expected_coefficients().expect("fixed weights");
                let off = coefficients.iter().map(|c| (c - 1.0).abs()).fold(0.0, f64::max);
                // (Others are by chance: two replicas with p = 1/2 count 1 together.)
                prop_assert!(plan.prediction.unbiased || !is_unbiased(&scheme));
                if plan.prediction.unbiased {
                    prop_assert!(off < 1e-10, "{} {off}", plan.scheme); // eq 12
                }
            }
            for (worker, &p) in plan.workers.iter().zip(&p) {
                prop_assert!(p < 1.0 || (worker.is_idle() && worker.bits == 0));
            }
            prop_assert!(scheme.kind == "bgc" || plan.unassigned().is_empty());
            let nnz: usize = plan.workers.iter().map(|w| w.load()).sum();
            let load = plan.prediction.computation_load;
            prop_assert_eq!(load, nnz as f64 / partitions as f64);
            if !is_redundant(&scheme) {
                prop_assert!(nnz < partitions + alive);
                prop_assert!(load <= 1.0 + (alive as f64 - 1.0) / partitions as f64 + 1e-12);
            } else if !["bgc", "ce-agc"].contains(&scheme.kind.as_str()) {
                prop_assert!(load <= scheme.load + 0.5 / partitions as f64);
                if alive == p.len() {
                    prop_assert!((load - scheme.load).abs() <= 0.5 / partitions as f64 + 1e-12);
                }
            }

            // Exactly the budget, or what those who hold something can use of it.
            if scheme.kind != "sgd" {
                let bits: u64 = plan.workers.iter().map(|w| u64::from(w.bits)).sum();
                let holders = if scheme.allow_idle { alive } else { plan.active().count() };
                // Shorter messages may have more of them per coordinate.
                let offered = plan.blocks() as u64 * budget.total_bits;
                prop_assert_eq!(bits, offered.min(16 * holders as u64));
            }

            let text = serde_json::to_string(&plan).expect("a plan is serializable");
            let back: Plan = serde_json::from_str(&text).expect("and can be read");
            prop_assert_eq!(&back, &plan);
        }
    }

    #[test]
    fn the_joint_design_is_optimally_structured(
        p in any_probabilities(),
        partitions in 1usize..20,
        mean_bits in 2.0..14.0f64,
        lambda in 0.1..5.0f64,
        balanced in 0.005..2.0f64,
    ) {
        let setting = Setting { scaling: Scaling::Balanced(balanced), ..setting(&p, partitions) };
        let budget = Budget::mean(mean_bits, p.len(), 2, 16);
        let plan = plan(&SchemeConfig::default(), &setting, &budget, Some(lambda)).expect("a valid setting");
        let n = partitions as f64;
        let s = plan.prediction.scaling_s;
        let (w, second) = fixed(&plan);
        for (worker, &c) in plan.workers.iter().zip(&plan.prediction.weights) {
            prop_assert!(worker.assignment.iter().all(|&(_, a)| a > 0.0));
            prop_assert!((worker.row_sum() - n / (c * s)).abs() < 1e-11); // eq 20
        }
        prop_assert!((plan.prediction.error_bound * s / (n * n) - 1.0).abs() < 1e-10); // eq 21
        // Two tracks are one track and a scalar.
        let kappa = lambda * s / (1.0 + lambda * s);
        prop_assert_eq!(second, Some(&SecondTrack::Scaled(kappa)));
        let v = gradient_code::two_track::second_weights(
            &plan.workers, partitions, &plan.prediction.weights, lambda,
        );
        for ((v, w), worker) in v.iter().zip(w).zip(&plan.workers) {
            // An edge that is moved onto an integer changes a row sum by up to 1e-12.
            let tolerance = 1e-12 * worker.row_sum().recip().max(1.0);
            prop_assert!(worker.is_idle() || (v / (kappa * w) - 1.0).abs() <= tolerance);
        }
    }

    /// Idle workers free their two bits: the bound can only fall.
    #[test]
    fn idling_is_never_worse(p in any_probabilities(), mean_bits in 2.0..8.0f64) {
        let setting = setting(&p, p.len());
        let budget = Budget::mean(mean_bits, p.len(), 2, 16);
        let busy = plan(&SchemeConfig::default(), &setting, &budget, None).expect("valid");
        let idle = SchemeConfig { allow_idle: true, ..SchemeConfig::default() };
        let idle = plan(&idle, &setting, &budget, None).expect("valid");
        prop_assert!(idle.prediction.error_bound <= busy.prediction.error_bound * (1.0 + 1e-12));
    }

    /// When everybody answers, least squares finds what the fixed weights would be without stragglers;
    /// for any set it is at least as good as they are.
    #[test]
    fn per_round_weights_are_at_least_as_good(
        p in prop::collection::vec(0.05..0.9f64, 1..8),
        set in any::<u8>(),
    ) {
        let n = p.len();
        let mut plan = plan(&SchemeConfig::default(), &setting(&p, n), &Budget::mean(6.0, n, 2, 16), None)
            .expect("valid");
        let residual = |plan: &Plan, responders: &[usize]| -> f64 {
            let weights = plan.decoder.round(responders, plan, 0).expect("valid responders").weights;
            let mut sums = vec![-1.0; n];
            for (&i, w) in responders.iter().zip(weights) {
                for &(j, a) in &plan.workers[i].assignment {
                    sums[j] += w * a;
                }
            }
            sums.iter().map(|s| s * s).sum()
        };
        let responders: Vec<usize> = plan.active().filter(|i| set >> i & 1 == 1).collect();
        let everybody: Vec<usize> = plan.active().collect();
        let fixed = residual(&plan, &responders);
        plan.decoder = Decoder::PerRound(PerRound::default());
        prop_assert!(residual(&plan, &responders) <= fixed + 1e-9);
        prop_assert!(residual(&plan, &everybody) < 1e-12);
    }
}
