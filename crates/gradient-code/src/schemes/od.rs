//! OD: random regular graphs with optimal decoding (Glasgow and Wootters 2021, arXiv 2006.09638).
//!
//! Two readings of "a random `d`-regular graph", both with `a = 1`:
//!
//! * edges (the original): partitions are the `n` vertices and workers the `k = n d / 2` edges, so
//!   everybody holds two partitions; decoded in closed form ([`crate::graph`]);
//! * adjacency (the runs of Song & Choi 2026): workers and partitions are both the vertices, `k = n`, and
//!   worker `i` holds the neighbours of vertex `i`; decoded by least squares.
//!
//! The graph is over all workers. When some die, their edges or vertices are taken out of it, and a
//! partition whose holders are all dead goes to the living worker that holds least, from when on least
//! squares decodes. The weights depend on who answers, so nothing is claimed about bias. Equal
//! bits.

use super::allows::fixed_weights_under_feedback;
use super::{CompressorTraits, Decoding, Graph, Scheme, SchemeConfig};
use crate::code::CodeMatrix;
use crate::decoder::{Decoder, PerRound, Rule};
use crate::graph;
use crate::planner::{Design, PlanError};
use crate::setting::{Budget, Setting};

pub(super) struct Od;

impl Scheme for Od {
    fn name(&self) -> &'static str {
        "od"
    }

    fn summary(&self) -> &'static str {
        "a random regular graph, decoded by least squares in every round, equal bits"
    }

    fn options(&self) -> &'static [&'static str] {
        &["load", "decoding", "graph"]
    }

    fn allows(&self, config: &SchemeConfig, compressor: &CompressorTraits) -> Result<(), String> {
        let _ = config;
        fixed_weights_under_feedback(compressor, Decoding::Optimal)
    }

    fn design(
        &self,
        config: &SchemeConfig,
        setting: &Setting,
        budget: &Budget,
    ) -> Result<Design, PlanError> {
        if !matches!(config.decoding, Decoding::Default | Decoding::Optimal) {
            return Err(PlanError::Decoding {
                scheme: self.name().to_owned(),
                given: config.decoding,
                possible: "optimal only",
            });
        }
        let k = setting.straggle_probabilities.len();
        let n = setting.partitions;
        let (degree, kind) = self.shape(config, k, n)?;
        let edges = graph::random_regular(n, degree, setting.seed)
            .ok_or_else(|| self.impossible(config, k, n))?;
        let mut holders = vec![Vec::new(); n];
        for (index, &(a, b)) in edges.iter().enumerate() {
            let (first, second) = match kind {
                Shape::Edges => (index, index),
                Shape::Adjacency => (b, a),
            };
            holders[a].push(first);
            holders[b].push(second);
        }
        let adopted = adopt_orphans(&mut holders, setting);
        let code = CodeMatrix::from_holders(k, &holders, |_, _| 1.0)?;
        let rule = match kind {
            Shape::Edges if adopted == 0 => Rule::Graph,
            _ => Rule::LeastSquares,
        };
        let decoder = Decoder::PerRound(PerRound::rule(rule));
        Design::with_equal_bits(code, decoder, setting, budget)
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Edges,
    Adjacency,
}

impl Od {
    /// The degree, and which reading the parameters allow.
    fn shape(
        &self,
        config: &SchemeConfig,
        workers: usize,
        partitions: usize,
    ) -> Result<(usize, Shape), PlanError> {
        let load = config.load;
        let degree = load as usize;
        let exists = degree as f64 == load
            && degree >= 1
            && degree < partitions
            && (partitions * degree).is_multiple_of(2);
        let edges = exists && partitions * degree == 2 * workers;
        let adjacency = exists && partitions == workers;
        match config.graph {
            Graph::Auto | Graph::Edges if edges => Ok((degree, Shape::Edges)),
            Graph::Auto | Graph::Adjacency if adjacency => Ok((degree, Shape::Adjacency)),
            _ => Err(self.impossible(config, workers, partitions)),
        }
    }

    fn impossible(&self, config: &SchemeConfig, workers: usize, partitions: usize) -> PlanError {
        let regular =
            "a regular graph needs a whole load below the number of partitions, and an even n d";
        let edges = "its edges k = n d / 2";
        let adjacency = "its adjacency matrix k = n";
        let requirement = match config.graph {
            Graph::Auto => format!("{regular}; {edges}, {adjacency}"),
            Graph::Edges => format!("{regular}; {edges}"),
            Graph::Adjacency => format!("{regular}; {adjacency}"),
        };
        PlanError::Parameters {
            scheme: self.name().to_owned(),
            load: config.load,
            workers,
            partitions,
            requirement,
            nearest: nearest(config, workers, partitions),
        }
    }
}

/// The nearest possible load with these workers and partitions; if there is none, the nearest numbers of
/// partitions with this load or one that is near.
fn nearest(config: &SchemeConfig, workers: usize, partitions: usize) -> String {
    let fits = |n: usize, d: usize| {
        let edges = n * d == 2 * workers && config.graph != Graph::Adjacency;
        let adjacency = n == workers && config.graph != Graph::Edges;
        d >= 1 && d < n && (n * d).is_multiple_of(2) && (edges || adjacency)
    };
    let distance = |d: &usize| (*d as f64 - config.load).abs();
    let load = (1..partitions)
        .filter(|&d| fits(partitions, d))
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    if let Some(load) = load {
        return format!("load {load}");
    }
    // Some load always fits n = k or n = 2 k / d.
    let degree = config.load.round().max(1.0).min(2.0 * workers as f64) as usize;
    let mut other: Vec<(usize, usize)> = (2..=2 * workers)
        .flat_map(|n| {
            let near = [degree - 1, degree, degree + 1];
            let loads = near.into_iter().chain([2 * workers / n, n - 1]);
            loads.filter(move |&d| fits(n, d)).map(move |d| (n, d))
        })
        .collect();
    other.sort_by_key(|&(n, d)| (d.abs_diff(degree), n.abs_diff(partitions)));
    match other.first() {
        Some((n, d)) => format!("load {d} with {n} partitions"),
        None => "none with so few workers".to_owned(),
    }
}

/// Takes out the dead, and gives partitions that they alone held to the living worker that holds least.
/// Returns how many: if none, what is left is the graph without some edges.
fn adopt_orphans(holders: &mut [Vec<usize>], setting: &Setting) -> usize {
    let p = setting.straggle_probabilities;
    for line in holders.iter_mut() {
        line.retain(|&worker| p[worker] < 1.0);
        line.sort_unstable();
    }
    let mut held = vec![0; p.len()];
    for &worker in holders.iter().flatten() {
        held[worker] += 1;
    }
    let alive = setting.alive();
    let mut adopted = 0;
    for line in holders.iter_mut().filter(|line| line.is_empty()) {
        adopted += 1;
        if let Some(&worker) = alive.iter().min_by_key(|&&worker| held[worker]) {
            line.push(worker);
            held[worker] += 1;
        }
    }
    adopted
}
