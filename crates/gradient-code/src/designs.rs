//! Which worker holds which partition, such that any of them can be late: the regular assignments of
//! Munim & Ramamoorthy 2026 (arXiv 2603.22514, sections II and IV to VI).
//!
//! In a regular assignment every worker holds `delta` partitions and every partition lies at `gamma`
//! workers. The better any two workers' partitions are spread, the less depends on who is late:
//!
//! * [`bibd`]: symmetric block designs, any two workers share exactly `lambda` partitions;
//! * [`paley`]: strongly regular graphs, `lambda` or `mu`;
//! * [`coset`]: circulants repeated, made for exact recovery when nobody is late;
//! * [`bi_regular`]: at random, for all other sizes.
//!
//! Every constructor checks what it built. For sizes that do not exist it names the nearest that do.

mod bi_regular;
mod bibd;
mod coset;
mod field;
mod paley;

pub use bi_regular::{bi_regular, default_degree};
pub use bibd::{bibd, difference_set};
pub use coset::{coset, default_coset_degree};
pub use paley::paley;

use thiserror::Error;

/// A regular assignment of partitions to workers.
#[derive(Clone, Debug, PartialEq)]
pub struct RegularAssignment {
    partitions: usize,
    held: Vec<Vec<usize>>,
    family: Family,
}

/// The kind of an [`RegularAssignment`], with the parameters that its error bounds need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A symmetric balanced incomplete block design.
    Bibd {
        /// Partitions that any two workers share.
        lambda: usize,
    },
    /// A strongly regular graph; worker `i` holds the neighbours of vertex `i`.
    StronglyRegular {
        /// Common neighbours of two neighbours.
        lambda: usize,
        /// Common neighbours of two others.
        mu: usize,
    },
    /// A coset bipartite graph: `copies` circulants side by side.
    Coset {
        /// `m` in the paper: workers per partition index.
        copies: usize,
    },
    /// A random bi-regular bipartite graph.
    BiRegular,
}

impl RegularAssignment {
    /// `k` in the paper.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// `n` in the paper.
    pub fn workers(&self) -> usize {
        self.held.len()
    }

    /// The partitions of each worker, ascending.
    pub fn held(&self) -> &[Vec<usize>] {
        &self.held
    }

    /// `delta`, the number of partitions of a worker.
    pub fn degree(&self) -> usize {
        self.held.first().map_or(0, Vec::len)
    }

    /// `gamma`, the number of workers that hold a partition.
    pub fn copies(&self) -> usize {
        self.workers() * self.degree() / self.partitions
    }

    /// Its kind.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether a group of symmetries moves any partition to any other, as in every family but the
    /// random one: rotations of the difference set, translations of the field, or rotations of the
    /// circulants.
    pub fn is_transitive(&self) -> bool {
        self.family != Family::BiRegular
    }

    /// The workers of each partition, ascending.
    pub fn holders(&self) -> Vec<Vec<usize>> {
        let mut holders = vec![Vec::new(); self.partitions];
        for (worker, held) in self.held.iter().enumerate() {
            for &partition in held {
                holders[partition].push(worker);
            }
        }
        holders
    }

    /// Checks regularity, and the law of the family, before anybody sees the assignment.
    fn checked(
        partitions: usize,
        mut held: Vec<Vec<usize>>,
        family: Family,
        degree: usize,
    ) -> Result<Self, DesignError> {
        for row in &mut held {
            row.sort_unstable();
        }
        let assignment = Self {
            partitions,
            held,
            family,
        };
        let broken = |law| DesignError::Broken { family, law };
        let distinct = |row: &Vec<usize>| {
            row.len() == degree
                && row.windows(2).all(|pair| pair[0] < pair[1])
                && row.iter().all(|&j| j < partitions)
        };
        if !assignment.held.iter().all(distinct) {
            return Err(broken("every worker holds delta different partitions"));
        }
        let copies = assignment.copies();
        if assignment.holders().iter().any(|h| h.len() != copies) {
            return Err(broken("every partition lies at gamma workers"));
        }
        match family {
            Family::Bibd { lambda } => {
                if !assignment.all_pairs(|_, _, shared| shared == lambda) {
                    return Err(broken("two workers share lambda partitions"));
                }
            }
            Family::StronglyRegular { lambda, mu } => {
                // A^2 = delta I + lambda A + mu (J - I - A), for a symmetric A without loops.
                let adjacent = |i: usize, j: usize| assignment.held[i].binary_search(&j).is_ok();
                let symmetric = (0..partitions)
                    .all(|i| !adjacent(i, i) && assignment.held[i].iter().all(|&j| adjacent(j, i)));
                let law = |i, j, shared| shared == if adjacent(i, j) { lambda } else { mu };
                if !(symmetric && assignment.all_pairs(law)) {
                    return Err(broken("two vertices share lambda or mu neighbours"));
                }
            }
            Family::Coset { copies } => {
                let same =
                    |worker: usize| assignment.held[worker] == assignment.held[worker % partitions];
                let workers = assignment.workers();
                if workers != copies * partitions || !(0..workers).all(same) {
                    return Err(broken("the circulant repeats"));
                }
            }
            Family::BiRegular => {}
        }
        Ok(assignment)
    }

    /// Whether `law(i, j, shared partitions)` holds for all pairs of workers.
    fn all_pairs(&self, law: impl Fn(usize, usize, usize) -> bool) -> bool {
        let holders = self.holders();
        let mut shared = vec![0; self.workers()];
        (0..self.workers()).all(|i| {
            shared.fill(0);
            for &partition in &self.held[i] {
                for &j in &holders[partition] {
                    shared[j] += 1;
                }
            }
            (0..i).all(|j| law(i, j, shared[j]))
        })
    }
}

/// Why there is no such assignment. Messages read after "failed to".
#[derive(Clone, Debug, Error, PartialEq)]
#[allow(missing_docs)] // the fields are what the messages print
pub enum DesignError {
    #[error(
        "find a {design} for {workers} workers with {degree} partitions each: the nearest are {nearest}"
    )]
    NotThere {
        design: &'static str,
        workers: usize,
        degree: Degree,
        nearest: String,
    },
    #[error(
        "use a {design} for {workers} workers and {partitions} partitions: it needs {required}"
    )]
    Sizes {
        design: &'static str,
        workers: usize,
        partitions: usize,
        required: String,
    },
    #[error(
        "use a {design} in which each of {workers} workers holds {degree} of {partitions} partitions: {required}"
    )]
    Degree {
        design: &'static str,
        workers: usize,
        partitions: usize,
        degree: usize,
        required: String,
    },
    #[error("build {family:?}: the result breaks the law that {law}")]
    Broken { family: Family, law: &'static str },
    #[error(
        "construct a Hadamard code of {blocks} blocks for {workers} workers and {partitions} partitions: it needs {} workers for {partitions} partitions",
        blocks * partitions
    )]
    Hadamard {
        workers: usize,
        partitions: usize,
        blocks: usize,
    },
    #[error(
        "find a vector for block {block} of a Hadamard code that no partition misses: try another design, degree or seed"
    )]
    NullSpace { block: usize },
    #[error("use {value} as {what}: it must {rule}")]
    Parameter {
        what: &'static str,
        value: f64,
        rule: &'static str,
    },
    #[error("draw a bi-regular graph without repeated edges in {attempts} attempts")]
    NoDraw { attempts: usize },
}

/// A number of partitions that a user asked for, or left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degree(pub Option<usize>);

impl std::fmt::Display for Degree {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.0 {
            Some(degree) => write!(f, "{degree}"),
            None => f.write_str("any number of"),
        }
    }
}
