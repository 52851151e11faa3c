//! Boxes relative to anchors (Girshick et al. 2014, appendix C), with SSD's weights.
//!
//! A code is `(10 dx / w, 10 dy / h, 5 ln(W / w), 5 ln(H / h))` where (dx, dy) is the offset of
//! the centres, (w, h) the anchor's size and (W, H) the box's.

use super::Corners;

const CENTRE_WEIGHT: f32 = 10.0;
const SIZE_WEIGHT: f32 = 5.0;

/// Sizes never grow beyond 1000 / 16 of the anchor's, so that `exp` cannot overflow.
fn largest_log_ratio() -> f32 {
    (1000.0f64 / 16.0).ln() as f32
}

/// Centre and size along one axis.
fn span(low: f32, high: f32) -> (f32, f32) {
    let size = high - low;
    (low + 0.5 * size, size)
}

/// The code of `target` relative to `anchor`.
pub fn encode(target: &Corners, anchor: &Corners) -> [f32; 4] {
    let mut code = [0.0; 4];
    for axis in 0..2 {
        let (centre, size) = span(anchor[axis], anchor[axis + 2]);
        let (target_centre, target_size) = span(target[axis], target[axis + 2]);
        code[axis] = CENTRE_WEIGHT * (target_centre - centre) / size;
        code[axis + 2] = SIZE_WEIGHT * (target_size / size).ln();
    }
    code
}

/// The box that `code` describes relative to `anchor`.
pub fn decode(code: &[f32; 4], anchor: &Corners) -> Corners {
    let mut corners = [0.0; 4];
    for axis in 0..2 {
        let (centre, size) = span(anchor[axis], anchor[axis + 2]);
        let target_centre = code[axis] / CENTRE_WEIGHT * size + centre;
        let log_ratio = (code[axis + 2] / SIZE_WEIGHT).min(largest_log_ratio());
        let half = 0.5 * (log_ratio.exp() * size);
        corners[axis] = target_centre - half;
        corners[axis + 2] = target_centre + half;
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decoding_inverts_encoding(
            anchor in (0f32..200.0, 0f32..200.0, 4f32..200.0, 4f32..200.0),
            target in (0f32..200.0, 0f32..200.0, 4f32..200.0, 4f32..200.0),
        ) {
            let corners = |(x, y, w, h): (f32, f32, f32, f32)| [x, y, x + w, y + h];
            let (anchor, target) = (corners(anchor), corners(target));
            let back = decode(&encode(&target, &anchor), &anchor);
            for (a, b) in back.iter().zip(target) {
                prop_assert!((a - b).abs() < 2e-3, "{back:?} {target:?}");
            }
        }
    }

    #[test]
    fn huge_codes_stay_finite() {
        let corners = decode(&[0.0, 0.0, 1e30, f32::MAX], &[0.0, 0.0, 16.0, 16.0]);
        assert!(
            (corners[2] - corners[0] - 1000.0).abs() < 0.1,
            "{corners:?}"
        );
    }
}
