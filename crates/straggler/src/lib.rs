//! Delay models of workers, the deadline's straggle probabilities, and estimators for both
