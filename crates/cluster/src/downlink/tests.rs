use super::*;

const DIMENSION: usize = 3000;

/// A model on its way: each coordinate drifts at its own pace.
fn beta(t: u64) -> Vec<f32> {
    (0..DIMENSION)
        .map(|m| (0.1 * t as f32 + m as f32).sin() + 1e-3 * m as f32)
        .collect()
}

/// A rank that is sent a model at some iterations only.
struct Rank {
    receiver: Receiver,
    known: Option<u64>,
    values: Vec<f32>,
    bytes: usize,
}

impl Rank {
    fn new(downlink: Downlink) -> Self {
        Self {
            receiver: Receiver::new(downlink, DIMENSION).expect("a width that exists"),
            known: None,
            values: vec![0.0; DIMENSION],
            bytes: 0,
        }
    }

    fn take(&mut self, model: &Model) {
        let delivery = model.delivery(self.known);
        self.bytes += model.bytes(&delivery);
        match delivery {
            Delivery::Nothing => {}
            Delivery::Whole => self.values.copy_from_slice(&model.values.0),
            Delivery::Halves(halves) => {
                Receiver::expand((**halves).as_ref(), &mut self.values).expect("the length");
            }
            Delivery::Updates(updates) => {
                for update in updates {
                    self.receiver
                        .apply(&update.frame, update.iteration, &mut self.values)
                        .expect("an update");
                }
            }
        }
        self.known = Some(model.version);
    }
}

fn error(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let distance: f64 = a.iter().zip(b).map(|(a, b)| square(a - b)).sum();
    distance.sqrt()
}

#[test]
fn every_rank_has_the_masters_idea_of_it_whatever_it_missed() {
    for downlink in [
        Downlink::F32,
        Downlink::Bf16,
        Downlink::Delta { bits: 4 },
        Downlink::Delta { bits: 8 },
    ] {
        let mut publisher = Publisher::new(downlink, DIMENSION, 1).expect("a width that exists");
        let mut ranks: Vec<Rank> = (0..4).map(|_| Rank::new(downlink)).collect();
        for t in 0..40 {
            let model = publisher.publish(&beta(t), t).expect("finite");
            for (r, rank) in ranks.iter_mut().enumerate() {
                // Always, every third time, rarely, and twice in a row.
                if [true, t % 3 == 0, t % 17 == 1, t % 10 < 2][r] {
                    rank.take(&model);
                    let equal = rank.values.iter().zip(&model.values.0);
                    assert!(
                        equal.clone().all(|(a, b)| a.to_bits() == b.to_bits()),
                        "{downlink:?}"
                    );
                    rank.take(&model);
                }
            }
        }
        let whole = 4 * DIMENSION;
        let always = ranks[0].bytes;
        match downlink {
            Downlink::F32 => assert_eq!(always, 40 * whole),
            Downlink::Bf16 => assert_eq!(always, 20 * whole),
            Downlink::Delta { bits } => {
                let update = Preset::default()
                    .compressor(bits, DIMENSION)
                    .expect("valid");
                assert_eq!(always, whole + 39 * update.frame_len(0));
                assert!(ranks[2].bytes <= 3 * whole, "no more than the model itself");
                assert!(
                    ranks[1].bytes < 14 * whole,
                    "missed updates are shorter than it"
                );
            }
        }
    }
}

#[test]
fn what_an_update_drops_comes_with_the_next() {
    let mut publisher =
        Publisher::new(Downlink::Delta { bits: 3 }, DIMENSION, 1).expect("a width that exists");
    publisher.publish(&beta(0), 0).expect("finite");
    let target = beta(30);
    let errors: Vec<f64> = (1..=12)
        .map(|t| {
            error(
                &publisher.publish(&target, t).expect("finite").values.0,
                &target,
            )
        })
        .collect();
    // The target stands still, so that errors shrink geometrically.
    assert!(
        errors.windows(2).all(|pair| pair[1] < 0.8 * pair[0]),
        "{errors:?}"
    );
    assert!(errors[11] < 1e-3 * error(&beta(0), &target));
}

#[test]
fn half_precision_rounds_to_nearest_even() {
    let mut publisher = Publisher::new(Downlink::Bf16, 4, 1).expect("no width");
    // Between 1 and 1 + 2^-7: the tie goes to the even one.
    let x = [1.0, 1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8), -3.0e38];
    let model = publisher.publish(&x, 0).expect("finite");
    let expected = [
        1.0,
        1.0,
        1.0 + 2f32.powi(-6),
        bf16::from_f32(-3.0e38).to_f32(),
    ];
    assert_eq!(model.values.0, expected);
}

#[test]
fn a_shadow_from_a_checkpoint_goes_on_to_the_bit() {
    let downlink = Downlink::Delta { bits: 4 };
    let mut whole = Publisher::new(downlink, DIMENSION, 1).expect("a width that exists");
    let mut models = Vec::new();
    let mut shadow = Vec::new();
    for t in 0..10 {
        models.push(whole.publish(&beta(t), t).expect("finite"));
        if t == 5 {
            shadow = whole.shadow().to_vec();
        }
    }
    let mut resumed = Publisher::new(downlink, DIMENSION, 1).expect("a width that exists");
    resumed.restore(shadow, Some(5));
    for t in 6..10 {
        let model = resumed.publish(&beta(t), t).expect("finite");
        assert_eq!(model.values, models[t as usize].values);
        assert!(matches!(model.delivery(None), Delivery::Whole));
    }
}

/// A round that was begun, broken off and begun again in another process has one update.
#[test]
fn an_iteration_that_is_begun_again_has_no_second_update() {
    let downlink = Downlink::Delta { bits: 4 };
    let mut whole = Publisher::new(downlink, DIMENSION, 1).expect("a width that exists");
    whole.publish(&beta(0), 0).expect("finite");
    let model = whole.publish(&beta(1), 1).expect("finite");
    let again = whole.publish(&beta(1), 1).expect("finite");
    assert_eq!(
        (again.version, &again.values),
        (model.version, &model.values)
    );
    assert!(matches!(
        again.delivery(Some(model.version)),
        Delivery::Nothing
    ));
    let mut resumed = Publisher::new(downlink, DIMENSION, 1).expect("a width that exists");
    resumed.restore(whole.shadow().to_vec(), whole.published());
    let first = resumed.publish(&beta(1), 1).expect("finite");
    assert_eq!(first.values, model.values);
    let next = resumed.publish(&beta(2), 2).expect("finite");
    let known = Some(first.version);
    assert!(matches!(next.delivery(known), Delivery::Updates([update]) if update.iteration == 2));
    assert_eq!(
        next.values,
        whole.publish(&beta(2), 2).expect("finite").values
    );
}

#[test]
fn buffers_are_used_again() {
    let mut publisher = Publisher::new(Downlink::Bf16, 10, 1).expect("no width");
    let held = publisher.publish(&[1.0; 10], 0).expect("finite");
    for t in 1..20 {
        let model = publisher.publish(&[2.0; 10], t).expect("finite");
        assert_eq!(model.values.0, [2.0; 10]);
    }
    assert_eq!(held.values.0, [1.0; 10]);
    assert!(publisher.values.len() == 2 && publisher.halves.len() == 2);
}
