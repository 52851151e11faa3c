//! Regular graphs as gradient codes, decoded in closed form (Glasgow and Wootters).
//!
//! Partitions are vertices and workers are edges: each worker sends the sum of the two gradients at the
//! ends of its edge. Late workers are missing edges, and the surviving graph decodes component by
//! component. The combinations of the messages of a connected component reach every vector of
//! coefficients if it has an odd cycle; if it is bipartite with sides `L` and `R`, exactly those whose
//! sums over `L` and over `R` are equal (the left null space of a bipartite incidence matrix is spanned by
//! the vector that is 1 on `L` and -1 on `R`). Projecting the all-ones vector gives the coefficients that
//! least squares recovers:
//!
//! * 1 everywhere, if the component is not bipartite;
//! * `2|R| / (|L| + |R|)` on `L` and `2|L| / (|L| + |R|)` on `R`, if it is; so 0 for an isolated vertex.
//!
//! [`recovered`] computes them in `O(n + edges)`. [`decoding_weights`] also finds the weights of least
//! norm that reach them: in linear time for components with at most one cycle, which is all that 2-regular
//! graphs leave, and by a singular value decomposition of the component otherwise.

use std::collections::BTreeSet;

use crate::decoder::{DecodeError, PerRound};
use crate::draw;

/// A simple `degree`-regular graph on `vertices` vertices, as edges `(a, b)` with `a < b`, ascending.
///
/// Drawn from `seed` by pairing the ends of edges at random, keeping what is simple and pairing the rest
/// again (Steger and Wormald 1999), which is close to uniform. For more than half of all edges the
/// complement is drawn. `None` unless `degree < vertices` and `vertices degree` is even, when no such graph
/// exists.
pub fn random_regular(vertices: usize, degree: usize, seed: u64) -> Option<Vec<(usize, usize)>> {
    if degree >= vertices || !(vertices * degree).is_multiple_of(2) {
        return None;
    }
    let complement = 2 * degree >= vertices;
    let drawn_degree = if complement {
        vertices - 1 - degree
    } else {
        degree
    };
    // Each attempt succeeds with a probability that does not vanish with the size of the graph.
    let drawn = (0..).find_map(|attempt| pair(vertices, drawn_degree, seed, attempt))?;
    if !complement {
        return Some(drawn.into_iter().collect());
    }
    let all = (0..vertices).flat_map(|a| (a + 1..vertices).map(move |b| (a, b)));
    Some(all.filter(|edge| !drawn.contains(edge)).collect())
}

/// One attempt: `None` if the ends that are left cannot be paired.
fn pair(
    vertices: usize,
    degree: usize,
    seed: u64,
    attempt: u64,
) -> Option<BTreeSet<(usize, usize)>> {
    let mut random = draw::plan_time(seed, attempt);
    let mut edges = BTreeSet::new();
    let mut ends: Vec<usize> = (0..vertices)
        .flat_map(|vertex| std::iter::repeat_n(vertex, degree))
        .collect();
    while !ends.is_empty() {
        draw::shuffle(&mut ends, &mut random);
        let mut rest = Vec::new();
        for two in ends.chunks_exact(2) {
            let edge = (two[0].min(two[1]), two[0].max(two[1]));
            if edge.0 == edge.1 || !edges.insert(edge) {
                rest.extend_from_slice(two);
            }
        }
        let left: BTreeSet<usize> = rest.iter().copied().collect();
        let suitable = |a: usize| left.range(a + 1..).any(|&b| !edges.contains(&(a, b)));
        if !left.is_empty() && !left.iter().any(|&a| suitable(a)) {
            return None;
        }
        ends = rest;
    }
    Some(edges)
}

/// The coefficient of each vertex in what least squares recovers from `edges`.
///
/// # Panics
/// If an edge names a vertex that does not exist.
pub fn recovered(vertices: usize, edges: &[(usize, usize)]) -> Vec<f64> {
    let mut coefficients = vec![0.0; vertices];
    for component in components(vertices, edges) {
        component.recover(&mut coefficients);
    }
    coefficients
}

/// The weights of least norm whose combination of the edges is [`recovered`]: what the pseudo-inverse
/// gives, in the order of `edges`.
///
/// # Errors
/// [`DecodeError::Solve`] if a singular value decomposition does not converge.
///
/// # Panics
/// If an edge names a vertex that does not exist.
pub fn decoding_weights(
    vertices: usize,
    edges: &[(usize, usize)],
) -> Result<Vec<f64>, DecodeError> {
    let mut coefficients = vec![0.0; vertices];
    let mut weights = vec![0.0; edges.len()];
    let mut cycle = vec![0.0; edges.len()];
    for component in components(vertices, edges) {
        component.recover(&mut coefficients);
        component.solve(edges, &mut coefficients, &mut weights, &mut cycle)?;
    }
    Ok(weights)
}

/// A connected component, as found by a breadth-first search.
struct Component {
    /// The vertices in the order they were found, with the edge they were found by (none for the first)
    /// and whether their distance from the first is odd.
    tree: Vec<(usize, Option<usize>, bool)>,
    /// The other edges.
    rest: Vec<usize>,
    /// Of these, one between vertices of equal parity: the component is not bipartite.
    bipartite: bool,
}

fn components(vertices: usize, edges: &[(usize, usize)]) -> Vec<Component> {
    let mut at = vec![Vec::new(); vertices];
    for (index, &(a, b)) in edges.iter().enumerate() {
        at[a].push(index);
        at[b].push(index);
    }
    let mut parity: Vec<Option<bool>> = vec![None; vertices];
    let mut seen = vec![false; edges.len()];
    let mut components = Vec::new();
    for first in 0..vertices {
        if parity[first].is_some() {
            continue;
        }
        parity[first] = Some(false);
        let mut component = Component {
            tree: vec![(first, None, false)],
            rest: Vec::new(),
            bipartite: true,
        };
        let mut next = 0;
        while let Some(&(vertex, _, odd)) = component.tree.get(next) {
            next += 1;
            for &index in &at[vertex] {
                if std::mem::replace(&mut seen[index], true) {
                    continue;
                }
                let (a, b) = edges[index];
                let other = if a == vertex { b } else { a };
                match parity[other] {
                    None => {
                        parity[other] = Some(!odd);
                        component.tree.push((other, Some(index), !odd));
                    }
                    Some(parity) => {
                        component.rest.push(index);
                        component.bipartite &= parity != odd;
                    }
                }
            }
        }
        components.push(component);
    }
    components
}

impl Component {
    fn recover(&self, coefficients: &mut [f64]) {
        let all = self.tree.len() as f64;
        let odd = self.tree.iter().filter(|&&(_, _, odd)| odd).count() as f64;
        for &(vertex, _, is_odd) in &self.tree {
            coefficients[vertex] = match (self.bipartite, is_odd) {
                (false, _) => 1.0,
                (true, false) => 2.0 * odd / all,
                (true, true) => 2.0 * (all - odd) / all,
            };
        }
    }

    /// Fills in the weights of this component's edges, and clobbers `target` at its vertices and `cycle`
    /// at its edges.
    fn solve(
        &self,
        edges: &[(usize, usize)],
        target: &mut [f64],
        weights: &mut [f64],
        cycle: &mut [f64],
    ) -> Result<(), DecodeError> {
        match *self.rest.as_slice() {
            [] => self.along_the_tree(edges, target, weights),
            [extra] if self.bipartite => {
                // Any solution, less its part along the cycle, on which +1 and -1 alternate.
                self.along_the_tree(edges, target, weights);
                for &(vertex, _, _) in &self.tree {
                    target[vertex] = 0.0;
                }
                let (a, b) = edges[extra];
                (target[a], target[b]) = (-1.0, -1.0);
                self.along_the_tree(edges, target, cycle);
                cycle[extra] = 1.0;
                let along: f64 = self.edges().map(|e| weights[e] * cycle[e]).sum();
                let square: f64 = self.edges().map(|e| cycle[e] * cycle[e]).sum();
                for edge in self.edges() {
                    weights[edge] -= along / square * cycle[edge];
                }
            }
            [extra] => {
                // The alternating sum over the vertices fixes the weight of the edge that closes the odd
                // cycle; what is left is a tree.
                let (a, b) = edges[extra];
                let (mut alternating, mut ends) = (0.0, 0.0);
                for &(vertex, _, odd) in &self.tree {
                    let sign = if odd { -1.0 } else { 1.0 };
                    alternating += sign * target[vertex];
                    ends += sign * f64::from(u8::from(vertex == a) + u8::from(vertex == b));
                }
                weights[extra] = alternating / ends;
                target[a] -= weights[extra];
                target[b] -= weights[extra];
                self.along_the_tree(edges, target, weights);
            }
            _ => self.least_squares(edges, weights)?,
        }
        Ok(())
    }

    /// Solves from the leaves to the root, as if there were no other edges.
    fn along_the_tree(&self, edges: &[(usize, usize)], left: &mut [f64], weights: &mut [f64]) {
        for &(vertex, by, _) in self.tree.iter().rev() {
            if let Some(edge) = by {
                let (a, b) = edges[edge];
                let parent = if a == vertex { b } else { a };
                weights[edge] = left[vertex];
                left[parent] -= left[vertex];
            }
        }
    }

    fn least_squares(
        &self,
        edges: &[(usize, usize)],
        weights: &mut [f64],
    ) -> Result<(), DecodeError> {
        let mut place = std::collections::BTreeMap::new();
        for (index, &(vertex, _, _)) in self.tree.iter().enumerate() {
            place.insert(vertex, index);
        }
        let rows: Vec<Vec<(usize, f64)>> = self
            .edges()
            .map(|edge| {
                let (a, b) = (place[&edges[edge].0], place[&edges[edge].1]);
                vec![(a.min(b), 1.0), (a.max(b), 1.0)]
            })
            .collect();
        let rows: Vec<&[(usize, f64)]> = rows.iter().map(Vec::as_slice).collect();
        let round = PerRound::default().solve(&rows, self.tree.len())?;
        for (edge, weight) in self.edges().zip(round.weights) {
            weights[edge] = weight;
        }
        Ok(())
    }

    fn edges(&self) -> impl Iterator<Item = usize> + '_ {
        let tree = self.tree.iter().filter_map(|&(_, by, _)| by);
        tree.chain(self.rest.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pseudo_inverse(vertices: usize, edges: &[(usize, usize)]) -> Vec<f64> {
        let rows: Vec<[(usize, f64); 2]> =
            edges.iter().map(|&(a, b)| [(a, 1.0), (b, 1.0)]).collect();
        let rows: Vec<&[(usize, f64)]> = rows.iter().map(|row| row.as_slice()).collect();
        PerRound::default()
            .solve(&rows, vertices)
            .expect("the decomposition converges")
            .weights
    }

    fn combine(vertices: usize, edges: &[(usize, usize)], weights: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; vertices];
        for (&(a, b), w) in edges.iter().zip(weights) {
            sums[a] += w;
            sums[b] += w;
        }
        sums
    }

    #[test]
    fn by_hand() {
        // A path of three: L = ends, R = middle. A triangle. An isolated vertex.
        let edges = [(0, 1), (1, 2), (3, 4), (4, 5), (3, 5)];
        assert_eq!(
            recovered(7, &edges),
            [2.0 / 3.0, 4.0 / 3.0, 2.0 / 3.0, 1.0, 1.0, 1.0, 0.0]
        );
        let weights = decoding_weights(7, &edges).expect("no decomposition is needed");
        for (w, expected) in weights.iter().zip([2.0 / 3.0, 2.0 / 3.0, 0.5, 0.5, 0.5]) {
            assert!((w - expected).abs() < 1e-15, "{weights:?}");
        }
        assert_eq!(recovered(2, &[]), [0.0, 0.0]);
        assert_eq!(decoding_weights(2, &[]), Ok(vec![]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// What survives of random regular graphs, and arbitrary graphs.
        #[test]
        fn the_closed_form_is_the_pseudo_inverse(
            vertices in 3usize..24,
            degree in 1usize..5,
            seed: u64,
            late in 0.0..0.9f64,
            lateness in prop::collection::vec(0.0..1.0f64, 120),
            regular: bool,
        ) {
            let all = if regular {
                let degree = degree.min(vertices - 1);
                let degree = if vertices * degree % 2 == 0 { degree } else { degree - 1 };
                random_regular(vertices, degree, seed).expect("it exists")
            } else {
                let all = (0..vertices).flat_map(|a| (a + 1..vertices).map(move |b| (a, b)));
                let mut all: Vec<_> = all.collect();
                draw::shuffle(&mut all, &mut draw::plan_time(seed, 0));
                all.truncate(vertices * degree / 2);
                all
            };
            let edges: Vec<_> = all
                .into_iter()
                .zip(lateness.iter().cycle())
                .filter(|&(_, &u)| u >= late)
                .map(|(edge, _)| edge)
                .collect();
            let least_squares = pseudo_inverse(vertices, &edges);
            let weights = decoding_weights(vertices, &edges).expect("it converges");
            for (closed, solved) in weights.iter().zip(&least_squares) {
                prop_assert!((closed - solved).abs() < 1e-9, "{weights:?} {least_squares:?}");
            }
            let reached = combine(vertices, &edges, &least_squares);
            for (closed, reached) in recovered(vertices, &edges).iter().zip(&reached) {
                prop_assert!((closed - reached).abs() < 1e-9);
            }
        }

        #[test]
        fn graphs_are_simple_and_regular(vertices in 2usize..40, degree in 0usize..40, seed: u64) {
            let exists = degree < vertices && vertices * degree % 2 == 0;
            let graph = random_regular(vertices, degree, seed);
            prop_assert_eq!(graph.is_some(), exists);
            if let Some(edges) = graph {
                prop_assert!(edges.windows(2).all(|w| w[0] < w[1]));
                let mut degrees = vec![0; vertices];
                for (a, b) in edges {
                    prop_assert!(a < b && b < vertices);
                    degrees[a] += 1;
                    degrees[b] += 1;
                }
                prop_assert!(degrees.iter().all(|&d| d == degree));
            }
        }
    }

    /// A path of 200,000 vertices takes no time that depends on its square.
    #[test]
    fn long_paths() {
        let n = 200_000;
        let edges: Vec<_> = (1..n).map(|v| (v - 1, v)).collect();
        let weights = decoding_weights(n, &edges).expect("no decomposition is needed");
        let sums = combine(n, &edges, &weights);
        assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-9));
    }
}
