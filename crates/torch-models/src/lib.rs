//! Detectors and classifiers over libtorch whose parameters and gradients are views of flat vectors
