//! Against torchvision's views of the same random numbers, and its distribution.

use super::*;
use counter_rng::{Purpose, rng};
use rand::RngExt;
use serde::Deserialize;

/// Made by `tools/parity/dump_augmentation.py`.
const TORCHVISION: &str = include_str!("torchvision.json");

#[derive(Deserialize)]
struct Reference {
    /// Left, top, width, height.
    views: Vec<[i64; 4]>,
    /// Of every box, 1 if its centre is in the view.
    kept: Vec<Vec<u8>>,
    /// Share of crops whose area is within each tenth of the image's.
    areas: Vec<f64>,
}

/// splitmix64, as multiples of 2^-24.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    }

    /// Below `n`, in double precision as Python has it.
    fn below(&mut self, n: i64) -> i64 {
        (f64::from(self.next()) * n as f64) as i64
    }
}

fn reference() -> Reference {
    serde_json::from_str(TORCHVISION).unwrap()
}

#[test]
fn views_are_torchvisions() {
    let reference = reference();
    assert_eq!(reference.views.len(), 200);
    let (mut cropped, mut zoomed) = (0, 0);
    for (seed, (theirs, kept)) in reference.views.iter().zip(&reference.kept).enumerate() {
        let mut draws = Draws(seed as u64);
        let (width, height) = (40 + draws.below(600), 40 + draws.below(440));
        let count = 1 + draws.below(6);
        let boxes: Vec<[f32; 4]> = (0..count)
            .map(|_| {
                let (w, h) = (4 + draws.below(width - 8), 4 + draws.below(height - 8));
                let (x, y) = (draws.below(width - w), draws.below(height - h));
                [x, y, x + w, y + h].map(|v| v as f32)
            })
            .collect();
        let whole = View::whole(width as u32, height as u32);
        let canvas = whole.zoomed_out(|| draws.next());
        let view = canvas.cropped(&boxes, || draws.next());
        assert_eq!(
            [view.left, view.top, view.width, view.height],
            *theirs,
            "seed {seed}"
        );
        if view != canvas {
            let mine: Vec<u8> = boxes.iter().map(|b| u8::from(view.has_centre(b))).collect();
            assert_eq!(mine, *kept, "seed {seed}");
            cropped += 1;
        }
        zoomed += usize::from(canvas != whole);
    }
    assert!(cropped > 100 && zoomed > 60, "{cropped} {zoomed}");
}

#[test]
fn areas_are_distributed_as_torchvisions() {
    let shares = reference().areas;
    let object = [[160.0, 120.0, 480.0, 360.0]];
    let count = 20_000u32;
    let mut ours = [0.0; 10];
    for sample in 0..count {
        let mut rng = rng(1, Purpose::Augmentation, 0, u64::from(sample));
        let view = View::whole(640, 480).cropped(&object, || rng.random());
        let area = (view.width * view.height) as f64 / f64::from(640 * 480);
        ours[((area * 10.0).ceil() as usize - 1).min(9)] += 1.0 / f64::from(count);
    }
    for (tenth, (mine, theirs)) in ours.iter().zip(shares).enumerate() {
        // five standard errors of both samples
        let error = 5.0 * (2.0 * theirs.max(1e-3) / f64::from(count)).sqrt();
        assert!(
            (mine - theirs).abs() < error,
            "tenth {tenth}: {mine} against {theirs}"
        );
    }
}

#[test]
fn boxes_follow_the_view() {
    let view = View {
        left: 10,
        top: -20,
        width: 100,
        height: 200,
    };
    let [x1, y1, x2, y2] = view.squeezed(&[0.0, 0.0, 60.0, 80.0], 50).unwrap();
    assert_eq!([x1, y1, x2, y2], [0.0, 5.0, 25.0, 25.0]);
    assert_eq!(
        view.squeezed(&[0.0, 0.0, 20.0, 80.0], 50),
        None,
        "its centre is on the edge"
    );
}
