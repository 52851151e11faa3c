//! gradcode: coded, quantized distributed training over MPI
fn main() {}
