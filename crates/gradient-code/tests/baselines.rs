//! The schemes that the joint design is compared with: what they hold, how biased they are, and that
//! their bounds hold.

use counter_rng::{Purpose, rng};
use gradient_code::{
    Assignment, Budget, CompressorTraits, CompressorWidths, Decoder, Decoding, Graph, PerRound,
    Plan, PlanError, Scaling, SchemeConfig, Setting, error, plan, replan_without, schemes,
};
use proptest::prelude::*;
use rand::RngExt;

fn setting(p: &[f64], partitions: usize, seed: u64) -> Setting<'_> {
    Setting {
        partitions,
        straggle_probabilities: p,
        phi: &|z| 512.0 / (4.0 * (f64::from(z - 1).exp2() - 1.0).powi(2)),
        scaling: Scaling::Factor(1.0),
        by_width: None,
        compressor_unbiased: true,
        seed,
    }
}

fn planned(scheme: &SchemeConfig, setting: &Setting) -> Result<Plan, PlanError> {
    let k = setting.straggle_probabilities.len();
    plan(scheme, setting, &Budget::mean(5.0, k, 2, 16), None)
}

fn with_load(kind: &str, load: f64) -> SchemeConfig {
    SchemeConfig {
        load,
        ..SchemeConfig::new(kind)
    }
}

fn held(plan: &Plan) -> Vec<Vec<usize>> {
    let row = |w: &gradient_code::WorkerPlan| w.assignment.iter().map(|&(j, _)| j).collect();
    plan.workers.iter().map(row).collect()
}

fn weights(plan: &Plan) -> &[f64] {
    match &plan.decoder {
        Decoder::Fixed { weights, .. } => weights,
        Decoder::PerRound(_) => panic!("{} has weights per round", plan.scheme),
    }
}

/// `E||g - ghat||^2` for equal partition gradients of norm 1, without quantization.
fn aligned_error(plan: &Plan) -> f64 {
    let gradients = vec![[1.0]; plan.partitions];
    error::exact(&plan.workers, weights(plan), &gradients, |_, _| 0.0).total()
}

#[test]
fn fractional_repetition() {
    let p = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
    let plan = planned(&SchemeConfig::new("ehd"), &setting(&p, 6, 0)).expect("2 divides 6");
    assert_eq!(
        held(&plan),
        [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]
    );
    let coefficients = plan.expected_coefficients().expect("fixed weights");
    for (c, expected) in coefficients.iter().zip([1.7, 1.7, 1.3, 1.3, 0.9, 0.9]) {
        assert!((c - expected).abs() < 1e-12);
    }
    assert!(!plan.prediction.unbiased && plan.prediction.computation_load == 2.0);
    assert!(
        plan.to_string()
            .contains("a partition counts 0.9000 to 1.7000")
    );
    // Other numbers of partitions: sizes differ by one.
    let plan = planned(&with_load("ehd", 3.0), &setting(&p, 5, 0)).expect("3 divides 6");
    assert_eq!(held(&plan)[2..4], [vec![0, 1], vec![2, 3, 4]]);
    // The living share the groups.
    let scheme = SchemeConfig::new("ehd");
    let budget = Budget::mean(5.0, 6, 2, 16);
    let rest = replan_without(&[0, 1, 2], &scheme, &setting(&p, 6, 0), &budget, None)
        .expect("three are left");
    assert_eq!(held(&rest)[3..], [[0, 1], [2, 3], [4, 5]]);
    assert!(rest.unassigned().is_empty());
}

#[test]
fn stochastic_gradient_coding() {
    let p = [0.2, 0.5, 0.75, 0.9];
    let cyclic = SchemeConfig {
        assignment: Assignment::Cyclic,
        ..SchemeConfig::new("sgc")
    };
    let plan = planned(&cyclic, &setting(&p, 4, 0)).expect("valid");
    assert_eq!(held(&plan), [[0, 3], [0, 1], [1, 2], [2, 3]]);
    for (worker, p) in plan.workers.iter().zip(p) {
        assert!(
            worker
                .assignment
                .iter()
                .all(|&(_, a)| a == 1.0 / (2.0 * (1.0 - p)))
        );
    }
    // Balanced where it is possible: 3 partitions at 2 of 4 workers, any two at 1.
    for assignment in [Assignment::Auto, Assignment::PairwiseBalanced] {
        let scheme = SchemeConfig {
            assignment,
            ..SchemeConfig::new("sgc")
        };
        for seed in 0..20 {
            let plan = planned(&scheme, &setting(&p, 3, seed)).expect("valid");
            for a in 0..3 {
                for b in 0..3 {
                    let both = |row: &&Vec<usize>| row.contains(&a) && row.contains(&b);
                    let common = held(&plan).iter().filter(both).count();
                    assert_eq!(common, if a == b { 2 } else { 1 });
                }
            }
        }
    }
    // A run that asked for balance goes on when a worker is lost.
    let scheme = SchemeConfig {
        assignment: Assignment::PairwiseBalanced,
        ..SchemeConfig::new("sgc")
    };
    let budget = Budget::mean(5.0, 4, 2, 16);
    let rest = replan_without(&[1], &scheme, &setting(&p, 3, 0), &budget, None);
    let rest = rest.expect("three are left");
    assert!(rest.unassigned().is_empty() && rest.prediction.unbiased);
    assert_eq!(rest.prediction.computation_load, 2.0);
    // Otherwise it depends on the seed.
    let random = |seed| {
        let plan = planned(&SchemeConfig::new("sgc"), &setting(&[0.5; 12], 12, seed));
        held(&plan.expect("valid"))
    };
    assert_eq!(random(1), random(1));
    assert_ne!(random(1), random(2));
}

#[test]
fn a_bernoulli_code_may_lose_partitions_and_says_so() {
    let p = [0.5; 12];
    let lost: Vec<usize> = (0..400)
        .map(|seed| {
            let plan = planned(&SchemeConfig::new("bgc"), &setting(&p, 12, seed)).expect("valid");
            let lost = plan.unassigned();
            let coefficients = plan.expected_coefficients().expect("fixed weights");
            for &j in &lost {
                assert_eq!(coefficients[j], 0.0);
            }
            // Each lost partition counts as bias of the whole gradient.
            let bias: f64 = coefficients.iter().map(|c| (1.0 - c).abs()).sum();
            assert!(bias >= lost.len() as f64);
            assert!(plan.prediction.error_bound_unscaled >= bias * bias);
            assert!(!plan.prediction.unbiased && plan.incomplete);
            assert_eq!(plan.to_string().contains("nobody holds"), !lost.is_empty());
            lost.len()
        })
        .collect();
    // 12 partitions, each lost with probability (5/6)^12 = 0.112.
    let mean = lost.iter().sum::<usize>() as f64 / 400.0;
    assert!(
        (mean - 1.346).abs() < 4.0 * (12.0 * 0.112 * 0.888 / 400.0f64).sqrt(),
        "{mean}"
    );
    // With d = k everybody holds everything.
    let all = planned(&with_load("bgc", 12.0), &setting(&p, 12, 0)).expect("valid");
    assert_eq!(all.prediction.computation_load, 12.0);
}

#[test]
fn regular_graphs() {
    let p = [0.3; 6];
    let auto = SchemeConfig::new("od");
    // Two regular: a union of cycles, workers as edges.
    let plan = planned(&auto, &setting(&p, 6, 3)).expect("k = n d / 2");
    assert!(held(&plan).iter().all(|row| row.len() == 2));
    assert_eq!(plan.prediction.computation_load, 2.0);
    // 3-regular on 4 vertices: 6 edges, all pairs.
    let plan = planned(&with_load("od", 3.0), &setting(&p, 4, 3)).expect("k = n d / 2");
    assert_eq!(
        held(&plan),
        [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    );
    // 3-regular on 6 vertices has 9 edges: the adjacency matrix, which is symmetric without a diagonal.
    let plan = planned(&with_load("od", 3.0), &setting(&p, 6, 3)).expect("k = n");
    let rows = held(&plan);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row.len(), 3);
        assert!(row.iter().all(|&j| j != i && rows[j].contains(&i)));
    }
    // A partition whose two workers die goes to a third.
    let budget = Budget::mean(5.0, 6, 2, 16);
    for (a, b) in (0..6).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let rest = replan_without(&[a, b], &auto, &setting(&p, 6, 3), &budget, None)
            .expect("four are left");
        assert!(rest.unassigned().is_empty());
    }
}

/// The weights of every round, in arrival order, by hand.
#[test]
fn weights_per_round() {
    let p = [0.3; 6];
    let decoded = |scheme: &SchemeConfig, responders: &[usize]| {
        let plan = planned(scheme, &setting(&p, 6, 1)).expect("valid");
        let round = plan.decoder.round(responders, &plan, 0).expect("decodable");
        (round.weights, round.residual)
    };
    let with = |kind, decoding| SchemeConfig {
        decoding,
        ..SchemeConfig::new(kind)
    };
    // n / (r s) with s = d n / k = 2.
    let (weights, _) = decoded(&with("bgc", Decoding::OneStep), &[5, 0]);
    assert_eq!(weights, [1.5, 1.5]);
    // Groups 0-1, 2-3, 4-5: whoever came first.
    let first = with("ehd", Decoding::FirstArrival);
    assert_eq!(
        decoded(&first, &[3, 0, 2, 1]),
        (vec![1.0, 1.0, 0.0, 0.0], 2.0)
    );
    let (weights, residual) = decoded(&with("ehd", Decoding::Optimal), &[3, 0, 2]);
    assert!((residual - 2.0).abs() < 1e-12);
    for (weight, expected) in weights.iter().zip([0.5, 1.0, 0.5]) {
        assert!((weight - expected).abs() < 1e-12);
    }
    // The closed form against least squares, for every set of responders of a graph.
    for seed in 0..8 {
        for load in [2.0, 3.0] {
            let n = if load == 2.0 { 6 } else { 4 };
            let plan = planned(&with_load("od", load), &setting(&p, n, seed)).expect("valid");
            let mut dense = plan.clone();
            dense.decoder = Decoder::PerRound(PerRound::default());
            assert_ne!(plan.decoder, dense.decoder);
            for set in 0..1 << 6 {
                let responders: Vec<usize> = (0..6).rev().filter(|i| set >> i & 1 == 1).collect();
                let closed = plan
                    .decoder
                    .round(&responders, &plan, 0)
                    .expect("decodable");
                let solved = dense
                    .decoder
                    .round(&responders, &dense, 0)
                    .expect("decodable");
                assert!((closed.residual - solved.residual).abs() < 1e-10);
                for (closed, solved) in closed.weights.iter().zip(&solved.weights) {
                    assert!((closed - solved).abs() < 1e-10);
                }
            }
        }
    }
}

/// First arrivals of heterogeneous groups: the mean coefficient is the probability that one answers.
#[test]
fn the_first_arrival_counts_once() {
    let p = [0.1, 0.9, 0.5, 0.5, 0.8, 0.7];
    let scheme = SchemeConfig {
        decoding: Decoding::FirstArrival,
        ..SchemeConfig::new("ehd")
    };
    let plan = planned(&scheme, &setting(&p, 6, 1)).expect("valid");
    let mut mean = [0.0; 6];
    for set in 0..1u32 << 6 {
        let (responders, late): (Vec<usize>, Vec<usize>) = (0..6).partition(|i| set >> i & 1 == 1);
        let probability: f64 = responders.iter().map(|&i| 1.0 - p[i]).product::<f64>()
            * late.iter().map(|&i| p[i]).product::<f64>();
        let round = plan
            .decoder
            .round(&responders, &plan, 0)
            .expect("decodable");
        for (&i, w) in responders.iter().zip(&round.weights) {
            for &(j, a) in &plan.workers[i].assignment {
                mean[j] += probability * w * a;
            }
        }
    }
    for (j, mean) in mean.iter().enumerate() {
        let expected = 1.0 - p[j / 2 * 2] * p[j / 2 * 2 + 1];
        assert!((mean - expected).abs() < 1e-12);
    }
}

#[test]
fn impossible_parameters_name_the_nearest() {
    let p = vec![0.5; 10];
    let refused = |scheme: &SchemeConfig, n| {
        planned(scheme, &setting(&p, n, 0))
            .expect_err("this must be refused")
            .to_string()
    };
    let decoding = |kind, decoding| SchemeConfig {
        decoding,
        ..SchemeConfig::new(kind)
    };
    let graph = |graph, load| SchemeConfig {
        graph,
        ..with_load("od", load)
    };
    let balanced = SchemeConfig {
        assignment: Assignment::PairwiseBalanced,
        ..SchemeConfig::new("sgc")
    };
    for (message, expected) in [
        (
            refused(&with_load("ehd", 3.0), 10),
            "nearest possible: load 2 or 5",
        ),
        (
            refused(&with_load("ehd", 2.5), 10),
            "nearest possible: load 2 or 5",
        ),
        (
            refused(&with_load("ehd", 20.0), 10),
            "nearest possible: load 10",
        ),
        (
            refused(&with_load("sgc", 0.5), 10),
            "nearest possible: load 1",
        ),
        (
            refused(&with_load("coco", 11.0), 10),
            "in scheme \"coco\": the load must be 1 to the number of workers; nearest possible: load 10",
        ),
        (
            refused(&with_load("bgc", 0.0), 10),
            "nearest possible: load 10",
        ),
        (refused(&with_load("bgc", f64::NAN), 10), "load NaN"),
        (
            refused(&balanced, 10),
            "nearest possible: load 10 with any number",
        ),
        (
            refused(&with_load("od", 3.0), 7),
            "nearest possible: load 3 with 10 partitions",
        ),
        (
            refused(&graph(Graph::Edges, 4.0), 10),
            "nearest possible: load 2",
        ),
        (
            refused(&graph(Graph::Adjacency, 2.5), 10),
            "nearest possible: load 2",
        ),
        (
            refused(&graph(Graph::Edges, 4.0), 4),
            "nearest possible: load 4 with 5 partitions",
        ),
        (
            refused(&graph(Graph::Edges, 1e300), 9),
            "nearest possible: load 4 with 5 partitions",
        ),
        (
            refused(&decoding("od", Decoding::Plain), 10),
            "decode scheme \"od\" by plain: it can be decoded by optimal only",
        ),
        (
            refused(&decoding("bgc", Decoding::FirstArrival), 10),
            "decoded by plain",
        ),
        (
            refused(&decoding("ehd", Decoding::OneStep), 10),
            "decoded by plain",
        ),
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn compressors_that_do_not_fit_are_refused() {
    let sign = CompressorTraits {
        name: "sign".to_owned(),
        unbiased: false,
        contractive: true,
        widths: CompressorWidths::Fixed(1),
        error_feedback: false,
    };
    let qsgd = CompressorTraits {
        name: "qsgd".to_owned(),
        unbiased: true,
        contractive: false,
        widths: CompressorWidths::Adjustable,
        error_feedback: false,
    };
    let remembering = |compressor: &CompressorTraits| CompressorTraits {
        error_feedback: true,
        ..compressor.clone()
    };
    let allowed = |kind: &str, compressor: &CompressorTraits| {
        let scheme = schemes::find(kind).expect("it is registered");
        scheme.allows(&SchemeConfig::new(kind), compressor)
    };
    for scheme in schemes::all() {
        let (name, feedback) = (scheme.name(), scheme.error_feedback());
        // Biased ones without memory.
        let no = ["joint", "one-bit-sgc", "coco-ef"].contains(&name);
        assert_eq!(allowed(name, &sign).is_err(), no, "{name}");
        // Unbiased ones go with all that do not need a memory.
        assert_eq!(allowed(name, &qsgd).is_err(), feedback, "{name}");
        // A memory needs fixed weights.
        let no = ["od", "one-bit-sgc", "coco", "ce-agc"].contains(&name);
        assert_eq!(allowed(name, &remembering(&sign)).is_err(), no, "{name}");
    }
    // And a contraction where the scheme is defined by it.
    assert!(allowed("coco-ef", &remembering(&qsgd)).is_err());
    let bgc = schemes::find("bgc").expect("it is registered");
    let one_step = SchemeConfig {
        decoding: Decoding::OneStep,
        ..SchemeConfig::new("bgc")
    };
    assert!(bgc.allows(&one_step, &qsgd).is_ok());
    let why = bgc
        .allows(&one_step, &remembering(&qsgd))
        .expect_err("weights per round");
    assert!(why.starts_with("one-step decoding"), "{why}");
}

/// k = n = 12 at tau = 1.5. The published example gives the errors for aligned gradients (IS-SGD 66,
/// ErasureHead 25, BGC 24, SGC 54, OSGC 19.0) and the coefficients of `E[ghat]` (IS-SGD .07 to .61,
/// ErasureHead .27 to 1.09, BGC 0 to 1.44, SGC 1), but not the draw of `psi ~ U(0.1, 2)` they are for. Here
/// `psi` has the published ends and a curvature that gives OSGC's error; the rest must then fall into
/// place: the errors of IS-SGD and ErasureHead, which depend on the sums of `p` and `p (1 - p)` only, and
/// the others' within their spread over orders of the workers and seeds.
#[test]
fn the_published_example_of_twelve_workers() {
    let p: Vec<f64> = (0..12)
        .map(|i| {
            let psi = 0.145 + (1.883 - 0.145) * (f64::from(i) / 11.0).powf(GAMMA);
            (-0.5 * psi).exp()
        })
        .collect();
    let s: f64 = p.iter().map(|p| (1.0 - p) / p).sum();
    assert!((144.0 / s - 19.0).abs() < 0.05, "{}", 144.0 / s);

    let osgc = planned(&SchemeConfig::new("osgc"), &setting(&p, 12, 0)).expect("valid");
    assert!((aligned_error(&osgc) - 144.0 / s).abs() < 1e-9);
    let is_sgd = planned(&SchemeConfig::new("is-sgd"), &setting(&p, 12, 0)).expect("valid");
    let error = aligned_error(&is_sgd);
    assert!((error - 66.0).abs() < 1.0, "{error}");
    let (least, most) = range(&is_sgd);
    assert!((least - 0.07).abs() < 0.005 && (most - 0.61).abs() < 0.005);

    for (kind, published, least, most) in [
        ("ehd", 25.0, 0.27, 1.09),
        ("bgc", 24.0, 0.0, 1.44),
        ("sgc", 54.0, 1.0, 1.0),
    ] {
        let mut plans: Vec<(f64, f64, f64)> = (0..400)
            .map(|seed| {
                let mut random = rng(seed, Purpose::Synthesis, 0, 0);
                let mut order: Vec<(u64, f64)> = p.iter().map(|&p| (random.random(), p)).collect();
                order.sort_by_key(|&(key, _)| key);
                let p: Vec<f64> = order.into_iter().map(|(_, p)| p).collect();
                let plan = planned(&SchemeConfig::new(kind), &setting(&p, 12, seed));
                let plan = plan.expect("valid");
                let (least, most) = range(&plan);
                (aligned_error(&plan), least, most)
            })
            .collect();
        plans.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (low, high) = (plans[20].0, plans[380].0);
        let mean = plans.iter().map(|plan| plan.0).sum::<f64>() / 400.0;
        println!("{kind}: published {published}, here {mean:.1}, 90 % in {low:.1} to {high:.1}");
        // ErasureHead's error depends on the same two sums as IS-SGD's, whatever the order.
        assert!(low - 0.6 <= published && published <= high + 0.6);
        let within = |x: f64, of: fn(&(f64, f64, f64)) -> f64| {
            plans.iter().any(|plan| of(plan) <= x + 1e-9)
                && plans.iter().any(|plan| of(plan) >= x - 1e-9)
        };
        assert!(within(least, |plan| plan.1) && within(most, |plan| plan.2));
    }
}
const GAMMA: f64 = 1.3413405;

fn range(plan: &Plan) -> (f64, f64) {
    let coefficients = plan.expected_coefficients().expect("fixed weights");
    let least = coefficients.iter().copied().fold(f64::INFINITY, f64::min);
    let most = coefficients.iter().copied().fold(0.0, f64::max);
    (least, most)
}

fn fixed_weight_schemes() -> impl Strategy<Value = (SchemeConfig, u64)> {
    let kinds = prop::sample::select(vec![
        "joint",
        "osgc",
        "is-sgd",
        "bgc",
        "ehd",
        "sgc",
        "one-bit-sgc",
        "coco",
        "coco-ef",
    ]);
    (kinds, any::<u64>()).prop_map(|(kind, seed)| (SchemeConfig::new(kind), seed))
}

/// Gradients of norm at most 1, often aligned or opposed to each other.
fn gradients() -> impl Strategy<Value = Vec<[f64; 2]>> {
    let vector = prop_oneof![
        Just((1.0, 0.0)),
        Just((1.0, std::f64::consts::PI)),
        (0.0..1.0f64, 0.0..std::f64::consts::TAU),
    ];
    prop::collection::vec(
        vector.prop_map(|(r, angle)| [r * angle.cos(), r * angle.sin()]),
        8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// The exact error, which the Monte Carlo tests check, never exceeds the predicted bound; for a
    /// compressor that attains its variance.
    #[test]
    fn bounds_hold(
        p in prop::collection::vec(0.01..0.98f64, 8),
        (scheme, seed) in fixed_weight_schemes(),
        gradients in gradients(),
    ) {
        let setting = setting(&p, 8, seed);
        let plan = planned(&scheme, &setting).expect("valid");
        let phi = |i: usize| setting.variance(plan.workers[i].bits);
        let error = error::exact(&plan.workers, weights(&plan), &gradients, |i, f| {
            phi(i) * f.iter().map(|x| x * x).sum::<f64>()
        });
        let bound = plan.prediction.error_bound_unscaled;
        prop_assert!(error.total() <= bound * (1.0 + 1e-9), "{} {}", error.total(), bound);
    }

    /// The same for compressors that err by `sqrt(phi) ||x||` in a direction of their own, the same in
    /// every round: the worst for a sum.
    #[test]
    fn bounds_hold_for_biased_compressors(
        p in prop::collection::vec(0.01..0.98f64, 8),
        (scheme, seed) in fixed_weight_schemes(),
        gradients in gradients(),
        direction in 0.0..std::f64::consts::TAU,
        together: bool,
    ) {
        let setting = Setting { compressor_unbiased: false, ..setting(&p, 8, seed) };
        let plan = planned(&scheme, &setting).expect("valid");
        prop_assert!(!plan.prediction.unbiased);
        let full = gradients.iter().fold([0.0; 2], |sum, g| [sum[0] + g[0], sum[1] + g[1]]);
        let (mut missing, mut spread) = (full, 0.0);
        for (i, (worker, w)) in plan.workers.iter().zip(weights(&plan)).enumerate() {
            if worker.is_idle() {
                continue;
            }
            let f = worker.encode(&gradients);
            let size = (setting.variance(worker.bits) * (f[0] * f[0] + f[1] * f[1])).sqrt();
            let angle = if together { direction } else { direction + i as f64 };
            let sent = [f[0] + size * angle.cos(), f[1] + size * angle.sin()];
            let p = worker.straggle_probability;
            spread += p * (1.0 - p) * w * w * (sent[0] * sent[0] + sent[1] * sent[1]);
            missing = [missing[0] - (1.0 - p) * w * sent[0], missing[1] - (1.0 - p) * w * sent[1]];
        }
        let error = missing[0] * missing[0] + missing[1] * missing[1] + spread;
        let bound = plan.prediction.error_bound_unscaled;
        prop_assert!(error <= bound * (1.0 + 1e-9), "{error} {bound}");
    }
}
