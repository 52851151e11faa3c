//! Gradient codes: assignments, encoding coefficients, decoders, error bounds, and the joint design of code and bits
