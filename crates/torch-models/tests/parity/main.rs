//! Networks against torchvision 0.26 and Hugging Face's transformers, forward and backward.
//!
//! `tests/data/torchvision.json` and `resnet.json` are what `tools/parity/dump_torchvision.py` and
//! `dump_resnet.py` computed, `transformers.json` what `dump_transformers.py` did; both sides fill weights and images by the same integer hash. With the
//! same libtorch on one thread the two agree to the last bit or nearly so; the tolerance leaves room
//! for another CPU's convolution kernels.

mod gpt2;
mod reference;
mod resnet;
mod ssdlite;
