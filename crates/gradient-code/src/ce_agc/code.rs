//! A code of the paper: an assignment, a number of blocks, and a construction.

use crate::block_code::{BlockCode, column};
use crate::ce_agc::hadamard;
use crate::designs::{self, DesignError, RegularAssignment};
use crate::schemes::{BlockDesign, CodeKind, SchemeConfig};

/// More of them only exhaust the memory: `m n` block gradients cannot come out of `k` messages.
const MOST_BLOCKS: usize = 1024;

/// How the blocks are mixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Construction {
    /// Eq 7: random factors, uniform on `[-1-eps, -1+eps]` and `[1-eps, 1+eps]`, drawn anew in every
    /// iteration.
    RandomDiagonal {
        /// `eps`, from 0 to below 1.
        epsilon: f64,
    },
    /// Algorithm 1 ([`hadamard`]); needs `m` times as many workers as partitions.
    Hadamard,
    /// The baseline of eq 11: the sum of all blocks.
    Stacked,
}

/// A communication-efficient approximate gradient code.
#[derive(Clone, Debug, PartialEq)]
pub struct CeAgc {
    assignment: RegularAssignment,
    blocks: usize,
    construction: Construction,
}

impl CeAgc {
    /// The code with `blocks` blocks on this assignment.
    ///
    /// # Errors
    /// [`DesignError::Parameter`] for 0 blocks or more than 1024, or an `epsilon` outside of `[0, 1)`;
    /// [`DesignError::Hadamard`] if that construction does not fit the sizes.
    pub fn new(
        assignment: RegularAssignment,
        blocks: usize,
        construction: Construction,
    ) -> Result<Self, DesignError> {
        let (workers, partitions) = (assignment.workers(), assignment.partitions());
        if !(1..=MOST_BLOCKS).contains(&blocks) {
            return Err(DesignError::Parameter {
                what: "number of blocks",
                value: blocks as f64,
                rule: "lie within 1 and 1024",
            });
        }
        match construction {
            Construction::RandomDiagonal { epsilon } if !(0.0..1.0).contains(&epsilon) => {
                return Err(DesignError::Parameter {
                    what: "epsilon of the random diagonals",
                    value: epsilon,
                    rule: "lie in [0, 1)",
                });
            }
            Construction::Hadamard if workers != blocks * partitions => {
                return Err(DesignError::Hadamard {
                    workers,
                    partitions,
                    blocks,
                });
            }
            _ => {}
        }
        Ok(Self {
            assignment,
            blocks,
            construction,
        })
    }

    /// The code that the options of scheme `ce-agc` ask for: `design`, `degree`, `blocks`, `epsilon` and
    /// `code`. The seed is that of random bi-regular graphs.
    ///
    /// # Errors
    /// As [`Self::new`] and the constructors in [`crate::designs`]; [`DesignError::Sizes`] for a design
    /// that needs as many partitions as workers and does not get them.
    pub fn from_config(
        config: &SchemeConfig,
        workers: usize,
        partitions: usize,
        seed: u64,
    ) -> Result<Self, DesignError> {
        let degree = Some(config.degree).filter(|&degree| degree > 0);
        let square = matches!(config.design, BlockDesign::Bibd | BlockDesign::Paley);
        if square && workers != partitions {
            return Err(DesignError::Sizes {
                design: "symmetric block design or Paley graph",
                workers,
                partitions,
                required: "as many partitions as workers; bi-regular graphs do not".to_owned(),
            });
        }
        let assignment = match config.design {
            BlockDesign::Bibd => designs::bibd(workers, degree)?,
            BlockDesign::Paley => designs::paley(workers, degree)?,
            BlockDesign::Coset => {
                let degree = degree.unwrap_or_else(|| designs::default_coset_degree(partitions));
                designs::coset(workers, partitions, degree)?
            }
            BlockDesign::BiRegular => {
                let degree = degree.unwrap_or_else(|| designs::default_degree(workers, partitions));
                designs::bi_regular(workers, partitions, degree, seed)?
            }
        };
        let construction = match config.code {
            CodeKind::RandomDiagonal => Construction::RandomDiagonal {
                epsilon: config.epsilon,
            },
            CodeKind::Hadamard => Construction::Hadamard,
            CodeKind::Stacked => Construction::Stacked,
        };
        Self::new(assignment, config.blocks, construction)
    }

    /// Who holds what.
    pub fn assignment(&self) -> &RegularAssignment {
        &self.assignment
    }

    /// `m`.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// How the blocks are mixed.
    pub fn construction(&self) -> Construction {
        self.construction
    }

    /// The code as workers and master use it. The random diagonals follow from the seed and the
    /// iteration; a Hadamard code is drawn here.
    ///
    /// # Errors
    /// As [`hadamard::construct`].
    pub fn block_code(&self, seed: u64) -> Result<BlockCode, DesignError> {
        let blocks = self.blocks;
        Ok(match self.construction {
            Construction::RandomDiagonal { epsilon } => BlockCode::RandomDiagonal {
                blocks,
                epsilon,
                seed,
            },
            Construction::Hadamard => BlockCode::Fixed {
                blocks,
                coefficients: hadamard::construct(&self.assignment, blocks, seed)?.coefficients,
            },
            Construction::Stacked => BlockCode::Fixed {
                blocks,
                coefficients: self
                    .assignment
                    .held()
                    .iter()
                    .map(|held| vec![1.0; held.len() * blocks])
                    .collect(),
            },
        })
    }

    /// The columns of `B` in `iteration`, one per worker: `(u n + j, value)` as in
    /// [`crate::Plan::column`].
    ///
    /// # Panics
    /// If `block_code` is not one of [`Self::block_code`].
    pub fn columns(&self, block_code: &BlockCode, iteration: u64) -> Vec<Vec<(usize, f64)>> {
        self.assignment
            .held()
            .iter()
            .enumerate()
            .map(|(worker, held)| {
                let held: Vec<(usize, f64)> = held.iter().map(|&j| (j, 1.0)).collect();
                let fold = block_code.fold(worker, held.len(), iteration);
                column(&fold, &held, self.assignment.partitions(), self.blocks)
            })
            .collect()
    }
}
