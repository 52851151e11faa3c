//! Quantizers, bit packing and frames: gradients as exactly z bits per coordinate, decoded straight into an accumulator
