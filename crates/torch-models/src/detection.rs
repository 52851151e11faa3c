//! What turns a network's outputs into a loss and into boxes: default boxes, matching, box codes,
//! the single-shot loss as a sum over samples, and non-maximum suppression.
//!
//! Everything but the loss itself is plain Rust on the host, so targets and detections do not
//! depend on the device. The arithmetic is torchvision's, in f32, in its order of operations.

pub mod anchors;
pub mod box_coder;
pub mod loss;
pub mod matcher;
pub mod postprocess;

/// A box `[x1, y1, x2, y2]` in pixels of the network's input.
pub type Corners = [f32; 4];

/// Area of a box; 0 when it is empty.
fn area(b: &Corners) -> f32 {
    (b[2] - b[0]) * (b[3] - b[1])
}

/// Intersection over union.
fn iou(a: &Corners, area_a: f32, b: &Corners, area_b: f32) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let intersection = width * height;
    intersection / (area_a + area_b - intersection)
}
