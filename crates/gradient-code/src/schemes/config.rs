//! The options of all schemes.

use std::fmt;

use bit_allocation::Method;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which scheme, and its options. Options that a scheme does not list in
/// [`Scheme::options`](super::Scheme::options) are ignored by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchemeConfig {
    /// Name of the scheme.
    pub kind: String,
    /// How bits are allocated (`joint`).
    pub method: Method,
    /// Whether a worker may get no bits and no data (`joint`), which is never worse in the predicted
    /// error.
    pub allow_idle: bool,
    /// How the code is laid out (`osgc`).
    pub construction: Construction,
    /// `d`, how many workers hold the average partition (`bgc`, `ehd`, `sgc`, `od`, `one-bit-sgc`,
    /// `coco`, `coco-ef`).
    pub load: f64,
    /// Which workers hold a partition (`sgc`, `one-bit-sgc`, `coco`, `coco-ef`).
    pub assignment: Assignment,
    /// How the master decodes (`bgc`, `ehd`, `od`).
    pub decoding: Decoding,
    /// What the random regular graph connects (`od`).
    pub graph: Graph,
    /// The regular assignment (`ce-agc`).
    pub design: BlockDesign,
    /// `delta`, how many partitions a worker holds (`ce-agc`); 0 leaves the choice to the design.
    pub degree: usize,
    /// `m`, how many blocks gradients are cut into (`ce-agc`).
    pub blocks: usize,
    /// How far the factors of random diagonals are from +-1 (`ce-agc`).
    pub epsilon: f64,
    /// How messages mix the blocks (`ce-agc`).
    pub code: CodeKind,
    /// The penalty on large decoding weights (`ce-agc`).
    pub ridge: Ridge,
    /// Whether the estimate is divided by its mean coefficient `alpha` (`ce-agc` with random diagonals),
    /// which makes it unbiased where that is possible.
    pub normalise: bool,
}

impl Default for SchemeConfig {
    /// The joint design with exactly optimal bits.
    fn default() -> Self {
        Self::new("joint")
    }
}

impl SchemeConfig {
    /// The scheme called `kind` with default options.
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            method: Method::Exact,
            allow_idle: false,
            construction: Construction::default(),
            load: 2.0,
            assignment: Assignment::default(),
            decoding: Decoding::default(),
            graph: Graph::default(),
            design: BlockDesign::default(),
            degree: 0,
            blocks: 2,
            epsilon: 0.0,
            code: CodeKind::default(),
            ridge: Ridge::default(),
            normalise: true,
        }
    }
}

/// How a code with the row sums of Theorem 1 is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Construction {
    /// Eq 22 of Song & Choi 2026: non-negative coefficients ([`crate::overlap`]).
    #[default]
    #[serde(rename = "overlap")]
    Overlap,
    /// OSGC's Scheme I: one partition shared by all ([`crate::osgc_construction`]).
    #[serde(rename = "scheme-1")]
    SchemeOne,
    /// OSGC's Scheme II: a chain ([`crate::osgc_construction`]).
    #[serde(rename = "scheme-2")]
    SchemeTwo,
}

/// Which workers hold a partition in stochastic gradient coding ([`crate::assignment`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assignment {
    /// Pairwise-balanced where such an assignment is known for the parameters, else random.
    #[default]
    Auto,
    /// Every two partitions share exactly `d^2 / k` workers.
    PairwiseBalanced,
    /// Each partition at workers drawn uniformly, independently of other partitions.
    Random,
    /// Each partition at consecutive workers.
    Cyclic,
}

/// How the master turns messages into a gradient, for schemes that leave a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decoding {
    /// As the comparisons in Song & Choi 2026 decode the scheme.
    #[default]
    Default,
    /// Weight 1 for every message.
    Plain,
    /// The same weight for every message, `n / (r s)` when `r` workers answered that hold `s` partitions
    /// each.
    OneStep,
    /// Of each group of replicas, the first message only.
    FirstArrival,
    /// Least squares over those that answered.
    Optimal,
}

impl fmt::Display for Decoding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Plain => "plain",
            Self::OneStep => "one-step",
            Self::FirstArrival => "first-arrival",
            Self::Optimal => "optimal",
        })
    }
}

/// What a random regular graph says about who holds what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Graph {
    /// Edges where `k = n d / 2`, else the adjacency matrix, which needs `k = n`.
    #[default]
    Auto,
    /// Partitions are vertices and workers are edges: every worker holds the two ends of its edge
    /// (Glasgow and Wootters).
    Edges,
    /// Workers and partitions are vertices: worker `i` holds the neighbours of vertex `i`.
    Adjacency,
}

/// A family of regular assignments ([`crate::designs`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockDesign {
    /// A symmetric block design; `k = n`.
    #[default]
    Bibd,
    /// A Paley graph; `k = n`.
    Paley,
    /// A coset bipartite graph; `k` a multiple of `n`.
    Coset,
    /// A random bi-regular graph.
    BiRegular,
}

/// How messages mix the blocks of gradients ([`crate::ce_agc`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CodeKind {
    /// Random factors, drawn anew in every iteration.
    #[default]
    RandomDiagonal,
    /// Hadamard products with null-space constraints; `k = m n`.
    Hadamard,
    /// The sum of the blocks, a baseline.
    Stacked,
}

/// The penalty on large decoding weights ([`crate::PerRound`]). Written as a number, or `"noise"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ridge {
    /// The same for all workers; 0 for none.
    Value(f64),
    /// What the variance of each worker's messages asks for: `phi(z_i) ||B(:,i)||^2`.
    Noise,
}

const NOISE: &str = "noise";

impl Serialize for Ridge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => serializer.serialize_f64(*value),
            Self::Noise => serializer.serialize_str(NOISE),
        }
    }
}

impl<'de> Deserialize<'de> for Ridge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RidgeVisitor)
    }
}

struct RidgeVisitor;

impl de::Visitor<'_> for RidgeVisitor {
    type Value = Ridge;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a number or \"{NOISE}\"")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Ridge, E> {
        Ok(Ridge::Value(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Ridge, E> {
        Ok(Ridge::Value(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Ridge, E> {
        Ok(Ridge::Value(value as f64))
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Ridge, E> {
        match word {
            NOISE => Ok(Ridge::Noise),
            _ => Err(E::invalid_value(de::Unexpected::Str(word), &self)),
        }
    }
}

impl Default for Ridge {
    fn default() -> Self {
        Self::Value(0.0)
    }
}
