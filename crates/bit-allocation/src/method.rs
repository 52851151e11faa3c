//! The methods by name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How bits are allocated.
///
/// Where several allocations are equally good the choice among them is fixed by the order of the
/// workers, so every method is deterministic. *More reliable* means, here and below, a larger
/// utility at the largest width (then at the next smaller one, then the lower index): for
/// `h = (1-p)/(p+phi)` that is the order of increasing `p`. Workers may be given in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Optimal, with proof, for any tables and any number of workers: the multiple-choice knapsack
    /// is relaxed to upper concave hulls, whose solution differs from an optimal one in a few
    /// workers only, and a dynamic program over those few closes the gap. Time
    /// `O(k w log(k w))` for `k` workers of `w` widths, plus a term that does not depend on `k`.
    #[default]
    Exact,
    /// Optimal: the dynamic program of Song & Choi 2026, eq 25. Time `O(k w Z)`, memory `k Z`
    /// bytes, with `Z` the bits above the smallest widths; refused above 2^30 bytes.
    Dp,
    /// Algorithm 1 of Song & Choi 2026 in a deterministic variant, time `O(k^2 w)`. For every
    /// number of active workers, most reliable first, a Lagrangian and an equal allocation are
    /// tried and improved by swapping bits; the others stay at their smallest width (idle, where
    /// that is 0).
    Algorithm1,
    /// From the smallest widths up (idle, where that is 0), always the step to the next width with
    /// the largest gain per bit. Steps that no longer fit are passed over; should bits be left that
    /// no single step can take, the nearest allocation (least squares) that spends them is taken.
    Greedy,
    /// The continuous relaxation, rounded. Real widths and the upper concave envelope of each
    /// table make a concave problem whose value, the tightest of that kind, is an upper bound
    /// ([`crate::relax`]). At most one worker has a fractional width in its solution: that one is
    /// rounded down to the next vertex of its envelope and the bits left over go as in
    /// [`Method::Greedy`].
    Continuous,
    /// Regardless of utility, as equal as the widths allow: the smallest sum of squared widths,
    /// with the larger ones at the more reliable workers. When all have the same widths without
    /// gaps that is `Z div k` each and one more for the `Z mod k` most reliable. With idling
    /// allowed, workers idle only where the budget is too small for all.
    Equal,
    /// Optimal: every combination of widths is tried. For tests; refused above 10^8 combinations.
    BruteForce,
}

impl Method {
    /// All methods, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Exact,
        Self::Dp,
        Self::Algorithm1,
        Self::Greedy,
        Self::Continuous,
        Self::Equal,
        Self::BruteForce,
    ];

    /// The name by which configurations and the command line call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Dp => "dp",
            Self::Algorithm1 => "algorithm1",
            Self::Greedy => "greedy",
            Self::Continuous => "continuous",
            Self::Equal => "equal",
            Self::BruteForce => "brute-force",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no method's. Reads after "failed to".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("find allocation method {name:?}: there are {}", Method::ALL.map(Method::name).join(", "))]
pub struct UnknownMethod {
    /// The name given.
    pub name: String,
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, UnknownMethod> {
        Self::ALL
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| UnknownMethod {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_agree_everywhere() {
        for method in Method::ALL {
            assert_eq!(method.to_string().parse(), Ok(method));
            let json = serde_json::to_string(&method).unwrap();
            assert_eq!(json, format!("\"{method}\""));
            assert_eq!(serde_json::from_str::<Method>(&json).unwrap(), method);
        }
        let message = "best".parse::<Method>().unwrap_err().to_string();
        assert!(message.contains("\"best\"") && message.contains("exact, dp, algorithm1"));
    }
}
