//! The loss of one sample as a function of its margin `u = <a, x>` and target `y`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Which loss a convex problem minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// `(1/2) (u - y)^2`.
    LeastSquares,
    /// `log(1 + exp(-y u))`, y in {-1, +1}.
    LogisticRegression,
}

impl Objective {
    /// The loss.
    pub fn loss(self, u: f64, y: f64) -> f64 {
        match self {
            Self::LeastSquares => 0.5 * (u - y) * (u - y),
            // log(1 + exp(-m)) without overflow for very negative m
            Self::LogisticRegression => (-y * u).max(0.0) + (-(y * u).abs()).exp().ln_1p(),
        }
    }

    /// Derivative of the loss in u.
    pub fn slope(self, u: f64, y: f64) -> f64 {
        match self {
            Self::LeastSquares => u - y,
            Self::LogisticRegression => -y / (1.0 + (y * u).exp()),
        }
    }

    /// Second derivative of the loss in u.
    pub fn curvature(self, u: f64, y: f64) -> f64 {
        match self {
            Self::LeastSquares => 1.0,
            Self::LogisticRegression => {
                let sigmoid = 1.0 / (1.0 + (-y * u).exp());
                sigmoid * (1.0 - sigmoid)
            }
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeastSquares => "least squares",
            Self::LogisticRegression => "logistic regression",
        })
    }
}
