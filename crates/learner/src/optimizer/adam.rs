//! Adam and AdamW, single and two-track.

use super::{
    AdamConfig, DecayGroups, Optimizer, OptimizerError, OptimizerState, Second, check_lengths,
    checked_vectors, in_range,
};

/// Where Adam's weight decay acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDecay {
    /// Added to the gradient of both tracks, as an l2 penalty is (Adam).
    Penalty,
    /// Shrinks the parameters before the step, outside the moments (AdamW).
    Decoupled,
}

/// Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019).
///
/// ```text
/// chi <- beta1 chi + (1 - beta1) ghat(w)
/// nu  <- beta2 nu  + (1 - beta2) ghat(v)^2          (Song & Choi 2026; ghat(v) = ghat(w) in plain Adam)
/// x   <- x - rate / (1 - beta1^t) * chi / ( sqrt(nu) / sqrt(1 - beta2^t) + epsilon )
/// ```
/// Bias corrections are computed in f64 and rounded once; moments are f32.
#[derive(Clone, Debug)]
pub struct Adam {
    config: AdamConfig,
    decay: WeightDecay,
    groups: DecayGroups,
    first: Vec<f32>,
    second: Vec<f32>,
    step: u64,
}

impl Adam {
    /// Adam for the parameters of `groups`.
    ///
    /// # Errors
    /// [`OptimizerError::OutOfRange`] unless both betas are in [0, 1), epsilon is positive and the
    /// weight decay at least 0.
    pub fn new(
        groups: DecayGroups,
        config: AdamConfig,
        decay: WeightDecay,
    ) -> Result<Self, OptimizerError> {
        for (key, beta) in [("beta1", config.beta1), ("beta2", config.beta2)] {
            in_range(key, beta, (0.0..1.0).contains(&beta), "0 <= beta < 1")?;
        }
        let (epsilon, weight_decay) = (config.epsilon, config.weight_decay);
        in_range(
            "epsilon",
            f64::from(epsilon),
            epsilon > 0.0 && epsilon.is_finite(),
            "epsilon > 0 (the smallest f32 is 1e-45)",
        )?;
        in_range(
            "weight_decay",
            f64::from(weight_decay),
            weight_decay >= 0.0 && weight_decay.is_finite(),
            "weight_decay >= 0",
        )?;
        Ok(Self {
            config,
            decay,
            first: vec![0.0; groups.dimension()],
            second: vec![0.0; groups.dimension()],
            groups,
            step: 0,
        })
    }

    fn kind(&self) -> &'static str {
        match self.decay {
            WeightDecay::Penalty => "adam",
            WeightDecay::Decoupled => "adamw",
        }
    }
}

/// The scalars of one step, rounded to f32 once.
#[derive(Clone, Copy)]
struct Coefficients {
    /// Factor on the gradient of both tracks.
    scale: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    /// `rate / (1 - beta1^t)`.
    rate: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    root_correction: f32,
    epsilon: f32,
    /// `1 - rate * weight_decay` when decoupled, else 1.
    shrink: f32,
    /// The weight decay when a penalty, else 0.
    penalty: f32,
}

impl Coefficients {
    /// The same step where weight decay does not act.
    fn without_decay(self) -> Self {
        Self {
            shrink: 1.0,
            penalty: 0.0,
            ..self
        }
    }
}

/// One element: `g` enters the first moment, `h` the second.
#[inline(always)]
fn update(c: &Coefficients, x: &mut f32, chi: &mut f32, nu: &mut f32, g: f32, h: f32) {
    let g = g + c.penalty * *x;
    let h = h + c.penalty * *x;
    *chi = c.beta1 * *chi + c.one_minus_beta1 * g;
    *nu = c.beta2 * *nu + c.one_minus_beta2 * (h * h);
    let denominator = nu.sqrt() * c.root_correction + c.epsilon;
    *x = c.shrink * *x - c.rate * (*chi / denominator);
}

impl Optimizer for Adam {
    fn step_scaled(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        scale: f32,
        second: Second<'_>,
        learning_rate: f32,
    ) {
        check_lengths(self.first.len(), parameters, gradient, &second);
        self.step += 1;
        let (beta1, beta2) = (self.config.beta1, self.config.beta2);
        let t = self.step as f64;
        let rate = f64::from(learning_rate);
        let decay = f64::from(self.config.weight_decay);
        let c = Coefficients {
            scale,
            beta1: beta1 as f32,
            one_minus_beta1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            one_minus_beta2: (1.0 - beta2) as f32,
            rate: (rate / (1.0 - beta1.powf(t))) as f32,
            root_correction: (1.0 / (1.0 - beta2.powf(t)).sqrt()) as f32,
            epsilon: self.config.epsilon,
            shrink: match self.decay {
                WeightDecay::Decoupled => (1.0 - rate * decay) as f32,
                WeightDecay::Penalty => 1.0,
            },
            penalty: match self.decay {
                WeightDecay::Decoupled => 0.0,
                WeightDecay::Penalty => self.config.weight_decay,
            },
        };
        for (span, decays) in self.groups.spans() {
            let c = if decays { c } else { c.without_decay() };
            let gradient = &gradient[span.clone()];
            let elements = parameters[span.clone()]
                .iter_mut()
                .zip(&mut self.first[span.clone()])
                .zip(&mut self.second[span.clone()])
                .zip(gradient);
            match second {
                Second::Same => {
                    for (((x, chi), nu), g) in elements {
                        let g = c.scale * g;
                        update(&c, x, chi, nu, g, g);
                    }
                }
                Second::Scaled(kappa) => {
                    for (((x, chi), nu), g) in elements {
                        let g = c.scale * g;
                        update(&c, x, chi, nu, g, kappa * g);
                    }
                }
                Second::Track(track) => {
                    for ((((x, chi), nu), g), h) in elements.zip(&track[span]) {
                        update(&c, x, chi, nu, c.scale * g, c.scale * h);
                    }
                }
            }
        }
    }

    fn has_second_moment(&self) -> bool {
        true
    }

    fn state(&self) -> OptimizerState {
        OptimizerState {
            kind: self.kind().to_owned(),
            step: self.step,
            vectors: vec![
                ("first_moment".to_owned(), self.first.clone()),
                ("second_moment".to_owned(), self.second.clone()),
            ],
        }
    }

    fn restore(&mut self, state: OptimizerState) -> Result<(), OptimizerError> {
        let step = state.step;
        let names = ["first_moment", "second_moment"];
        let [first, second] = checked_vectors(state, self.kind(), names, self.first.len())?;
        (self.first, self.second, self.step) = (first, second, step);
        Ok(())
    }
}
