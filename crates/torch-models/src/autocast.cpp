// Automatic mixed precision in bfloat16, which tch cannot switch on: its own autocast is float16 on CUDA alone.

#include <ATen/autocast_mode.h>

extern "C" {

// Operations of this thread that gain from it take bfloat16 operands from here on. Returns whether they did before,
// or -1 when libtorch refuses.
int gradcode_autocast_begin(int cuda) {
  try {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    const bool before = at::autocast::is_autocast_enabled(device);
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::increment_nesting();
    return before;
  } catch (...) {
    return -1;
  }
}

// The end of what began; `before` is what beginning returned.
void gradcode_autocast_end(int cuda, int before) {
  try {
    // Parameters are cast once; the copies are of no use once the parameters have moved.
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(cuda ? at::kCUDA : at::kCPU, before != 0);
  } catch (...) {
  }
}
}
