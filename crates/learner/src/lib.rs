//! What a rank computes with: the Learner trait, optimizers and schedules on flat vectors, minibatches, and convex problems that need no libtorch
