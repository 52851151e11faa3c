//! Decoding errors by the number of stragglers, and their bounds.

use gradient_code::ce_agc::{CeAgc, Construction, bounds};
use gradient_code::designs::{bi_regular, bibd, coset, paley};
use gradient_code::{BlockDesign, Budget, CodeKind, Ridge, Scaling, SchemeConfig, Setting, plan};

use super::{SIGNS, bound, code, config, fano, mean, members, planned, study};

#[test]
fn the_stacked_code_misses_what_remark_3_says_whoever_is_late() {
    for m in [2, 3] {
        let mut plan = planned(&config(BlockDesign::Bibd, CodeKind::Stacked), 7, 7, 0.25);
        plan.block_code = Some(
            code(fano(), m, Construction::Stacked)
                .block_code(0)
                .expect("no draw"),
        );
        for bits in 0..1 << 7 {
            let set = members(bits, 7);
            let round = plan.decoder.round(&set, &plan, 0).expect("it decodes");
            let expected = bounds::bibd_stacked(7, 7, 3, 1, m, 7 - set.len());
            assert!((round.residual - expected).abs() < 1e-9, "{set:?}");
        }
    }
    // The same through the fast solver, on larger designs.
    for design in [bibd(91, Some(10)), bibd(15, Some(7)), bibd(27, Some(13))] {
        let design = design.expect("it exists");
        let n = design.workers();
        let study = study(
            &code(design, 2, Construction::Stacked),
            &[0, 1, n / 2, n],
            2,
            3,
        );
        for at in 0..4 {
            for value in [mean(&study.error, at).0, study.worst[0][at]] {
                assert!((value - bound(&study, "mean", at)).abs() < 1e-8);
            }
        }
    }
}

#[test]
fn random_diagonals_keep_their_bounds_on_average() {
    let eps = Construction::RandomDiagonal { epsilon: 0.1 };
    for (assignment, construction, stragglers) in [
        (fano(), SIGNS, vec![0, 1, 2, 4]),
        (fano(), eps, vec![0, 2]),
        (bibd(13, Some(4)).expect("a plane"), SIGNS, vec![0, 3, 6]),
        (bibd(11, Some(5)).expect("squares"), SIGNS, vec![0, 3, 6]),
        (paley(13, None).expect("it exists"), SIGNS, vec![0, 3]),
        (paley(9, None).expect("it exists"), SIGNS, vec![0, 3]),
        (coset(18, 9, 2).expect("it exists"), eps, vec![0, 4, 8]),
        (
            bi_regular(20, 10, 3, 1).expect("it exists"),
            eps,
            vec![0, 5],
        ),
    ] {
        for m in [2, 3] {
            let code = code(assignment.clone(), m, construction);
            let study = study(&code, &stragglers, 200, 5);
            for (at, &s) in stragglers.iter().enumerate() {
                let (error, noise) = mean(&study.error, at);
                let lemma = bound(&study, "lemma-1", at);
                // Lemma 1 is averaged over other sets than the error; where it varies, by little.
                assert!(
                    error <= lemma * 1.02 + 4.0 * noise,
                    "{error} {lemma} {code:?}"
                );
                if let Some(closed) = bounds::closed(&code, s) {
                    assert!(lemma <= closed + 1e-9, "{lemma} {closed}");
                    assert!(error <= closed + 4.0 * noise);
                }
            }
        }
    }
}

/// On a BIBD Lemma 1 does not depend on who is late, and is eq 10.
#[test]
fn lemma_1_is_eq_10() {
    for epsilon in [0.0, 0.3] {
        let code = code(fano(), 3, Construction::RandomDiagonal { epsilon });
        let lemma = bounds::Lemma1::new(&code).expect("the diagonals are random");
        for bits in 0..1 << 7 {
            let set = members(bits, 7);
            let closed = bounds::closed(&code, 7 - set.len()).expect("a BIBD");
            assert!((lemma.at(&set).expect("solved") - closed).abs() < 1e-9);
        }
    }
}

#[test]
fn some_set_reaches_the_lower_bound() {
    let kinds = [
        SIGNS,
        Construction::RandomDiagonal { epsilon: 0.5 },
        Construction::Stacked,
    ];
    for construction in kinds {
        let code = code(fano(), 2, construction);
        let mut plan = planned(&config(BlockDesign::Bibd, CodeKind::Stacked), 7, 7, 0.25);
        plan.block_code = Some(code.block_code(3).expect("no draw"));
        for iteration in 0..3 {
            let mut worst = [0.0f64; 8];
            for bits in 0..1u32 << 7 {
                let set = members(bits, 7);
                let round = plan
                    .decoder
                    .round(&set, &plan, iteration)
                    .expect("it decodes");
                let s = 7 - set.len();
                worst[s] = worst[s].max(round.residual);
            }
            for (s, worst) in worst.iter().enumerate().take(6) {
                assert!(*worst >= bounds::lower(7, 7, 3, 2, s) - 1e-9, "{s} {worst}");
            }
        }
    }
}

/// Means over many diagonals and sets that another program found.
#[test]
fn decoding_errors_of_the_paper_s_codes() {
    let check = |code: &CeAgc, table: &[(usize, f64)], codes, sets, tolerance: f64| {
        let stragglers: Vec<usize> = table.iter().map(|(s, _)| *s).collect();
        let study = study(code, &stragglers, codes, sets);
        for (at, (s, expected)) in table.iter().enumerate() {
            let (error, noise) = mean(&study.error, at);
            assert!(
                (error - expected).abs() < tolerance + 4.0 * noise,
                "{s} stragglers: {error} +- {noise}, not {expected}"
            );
        }
        study
    };
    let plane = code(bibd(91, Some(10)).expect("it exists"), 2, SIGNS);
    let table = [
        (1, 15.45),
        (9, 18.46),
        (10, 18.66),
        (13, 19.99),
        (22, 23.76),
    ];
    check(&plane, &table, 24, 20, 0.25);
    let graph = code(paley(29, None).expect("it exists"), 2, SIGNS);
    check(&graph, &[(0, 2.18), (7, 3.56)], 200, 10, 0.05);
    let circulant = code(
        coset(54, 27, 5).expect("it exists"),
        2,
        Construction::RandomDiagonal { epsilon: 0.1 },
    );
    let study = check(&circulant, &[(13, 0.39)], 60, 20, 0.1);
    assert!((bound(&study, "lemma-1", 0) - 6.71).abs() < 0.1);
}

#[test]
fn coset_codes_with_diagonals_that_are_not_signs_are_invertible() {
    for (workers, partitions, degree) in [(54, 27, 5), (18, 9, 2), (15, 5, 3)] {
        let mut config = config(BlockDesign::Coset, CodeKind::RandomDiagonal);
        (config.degree, config.epsilon, config.normalise) = (degree, 0.1, false);
        config.blocks = workers / partitions;
        let plan = planned(&config, workers, partitions, 0.25);
        let everybody: Vec<usize> = (0..workers).collect();
        for iteration in 0..5 {
            let round = plan
                .decoder
                .round(&everybody, &plan, iteration)
                .expect("it decodes");
            assert_eq!(round.rank, workers);
            assert!(round.residual < 1e-16, "{}", round.residual);
        }
    }
    // Signs alone are often singular, which must not upset the decoder.
    let mut config = config(BlockDesign::Coset, CodeKind::RandomDiagonal);
    (config.degree, config.normalise) = (5, false);
    let plan = planned(&config, 54, 27, 0.25);
    let everybody: Vec<usize> = (0..54).collect();
    let round = plan
        .decoder
        .round(&everybody, &plan, 0)
        .expect("it decodes");
    assert!(round.rank < 54, "{}", round.rank);
    assert!(round.residual.is_finite() && round.amplification < 1e3);
}

#[test]
fn hadamard_codes_recover_everything_when_nobody_is_late() {
    for (workers, partitions, m, degree) in [(40, 20, 2, 3), (30, 10, 3, 3)] {
        let mut config = config(BlockDesign::BiRegular, CodeKind::Hadamard);
        (config.blocks, config.degree) = (m, degree);
        let plan = planned(&config, workers, partitions, 0.1);
        let everybody: Vec<usize> = (0..workers).collect();
        let round = plan
            .decoder
            .round(&everybody, &plan, 0)
            .expect("it decodes");
        assert!(round.residual < 1e-20, "{}", round.residual);
        assert!(!plan.prediction.unbiased);
    }
    let graph = bi_regular(40, 20, 3, 2).expect("it exists");
    let study = study(&code(graph, 2, Construction::Hadamard), &[0, 4], 40, 40);
    let (none, _) = mean(&study.error, 0);
    let (four, noise) = mean(&study.error, 1);
    assert!(none < 1e-6, "{none}");
    assert!(
        (four - 0.31).abs() < 0.15 + 4.0 * noise,
        "{four} +- {noise}"
    );
    // Eq 20 holds for every set, so also for means and maxima.
    let (mean_bound, largest) = (bound(&study, "eq-20", 1), bound(&study, "eq-20-largest", 1));
    assert!(four <= mean_bound && mean_bound <= largest);
    assert!(study.worst.iter().all(|worst| worst[1] <= largest + 1e-9));
    assert!((10.0..17.0).contains(&mean_bound), "{mean_bound}");
}

#[test]
fn what_is_not_proved_is_not_claimed() {
    let unbiased = |config: &SchemeConfig, p: &[f64], compressor_unbiased: bool, bits: f64| {
        let setting = Setting {
            partitions: 7,
            straggle_probabilities: p,
            phi: &|z| f64::from(z).recip(),
            scaling: Scaling::Factor(1.0),
            by_width: None,
            compressor_unbiased,
            seed: 0,
        };
        plan(config, &setting, &Budget::mean(bits, 7, 2, 16), None)
            .expect("a plan")
            .prediction
            .unbiased
    };
    let good = config(BlockDesign::Bibd, CodeKind::RandomDiagonal);
    let equal = [0.3; 7];
    assert!(unbiased(&good, &equal, true, 4.0));
    assert!(!unbiased(&good, &equal, false, 4.0));
    assert!(!unbiased(
        &good,
        &[0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.2],
        true,
        4.0
    ));
    let with = |change: &dyn Fn(&mut SchemeConfig)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };
    assert!(!unbiased(
        &with(&|c| c.normalise = false),
        &equal,
        true,
        4.0
    ));
    assert!(!unbiased(
        &with(&|c| c.code = CodeKind::Stacked),
        &equal,
        true,
        4.0
    ));
    assert!(!unbiased(
        &with(&|c| c.design = BlockDesign::BiRegular),
        &equal,
        true,
        4.0
    ));
    // A noise-aware decoder trusts workers with more bits more, which breaks the symmetry.
    let noise = with(&|c| c.ridge = Ridge::Noise);
    assert!(unbiased(&noise, &equal, true, 4.0));
    assert!(!unbiased(&noise, &equal, true, 4.1));
    assert!(unbiased(&good, &equal, true, 4.1));
}
