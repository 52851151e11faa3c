//! Exact and approximate allocation of quantizer bits to workers (Song & Choi 2026, problem b-SP1)
